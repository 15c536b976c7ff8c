"""Are the verdicts right? Thousands of made-up matrices whose cause is known, judged by the real code.

Made-up numbers, for the judge alone: nothing here is shown as measured. A matrix has a baseline and
four other environments, three heads, one shared and one own table. The generative model:

    energy r(i)             log-normal over images
    simulation s_T(i)       = S_T · r(i) · g(i),  g log-normal: images differ, tables share the pattern
    repeat k of a cell      = s_T(i) · (1 + cause · h(i) + build_k + jitter_k(i))

`build_k` is normal with the noise's deviation: one draw for all images of a build. h(i) varies over
images with mean 1: a cause does not hit all images alike. The effect is in noise floors of one build;
that of `limit`, which is between exact simulations and a gate, in those of its images' mean, since no
build moves it. Usage: python -m benchmarks.verdicts
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from runner.core.rules import Rules
from runner.core.verdicts.cell_errors import CellError, HeadErrors
from runner.core.verdicts.decisions import verdicts
from runner.core.verdicts.effects import Sample
from runner.core.verdicts.verdict import Kind, Verdict

HEADS = ("large", "medium", "small")
ENVIRONMENTS = ("v0", "v1", "v2", "v3", "v4")
BASELINE, GUILTY = "v0", "v2"
LIMIT = 0.004
"""NMSE of the best table."""
ENERGY_SPREAD, PATTERN_SPREAD = 0.5, 0.4
"""Deviations of ln r(i) and of ln g(i)."""
FLOOR = 1.96 * math.sqrt(2)
"""Noise floor in deviations (ISO 5725-6)."""

CAUSES = {
    "none": None,
    "engine": Kind.ENGINE_REGRESSION,
    "loss": Kind.ENGINE_LOSS,
    "implicit": Kind.IMPLICIT_REGRESSION,
    "calibrator": Kind.CALIBRATOR_REGRESSION,
    "calibration": Kind.CALIBRATION_PROBLEM,
    "limit": Kind.INT8_LIMIT,
    "fallback": Kind.PRECISION_FALLBACK,
    "fp32": Kind.FP32_REGRESSION,
}
"""Cause put into one environment's small head (those of `EVERYWHERE`: into all) → right verdict."""

EVERYWHERE = frozenset({"loss", "implicit", "calibration", "limit"})

COMPLAINTS = frozenset(Kind) - {Kind.OK, Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE}


@dataclass(frozen=True, slots=True)
class Setting:
    images: int
    repeats: int
    noise: float
    """Relative deviation of one build."""
    effect: float
    """Size of the cause in noise floors."""

    @property
    def spread_of_images(self) -> float:
        """Relative standard error of a simulation's NMSE: of a ratio of log-normal sums."""
        weights, pattern = math.exp(ENERGY_SPREAD**2), math.exp(PATTERN_SPREAD**2) - 1
        return math.sqrt(weights * pattern / self.images)


def matrix(cause: str, setting: Setting, generator: np.random.Generator) -> tuple[HeadErrors, ...]:
    """Returns one made-up matrix."""
    size = setting.effect * setting.noise * FLOOR
    return tuple(
        _head(head, cause if head == "small" else "none", size, setting, generator)
        for head in HEADS
    )


def _head(
    head: str, cause: str, size: float, setting: Setting, generator: np.random.Generator
) -> HeadErrors:
    energy = generator.lognormal(3, ENERGY_SPREAD, setting.images)
    pattern = generator.lognormal(0, PATTERN_SPREAD, setting.images)
    pattern /= (pattern * energy).sum() / energy.sum()

    def exact(nmse: float) -> np.ndarray:
        return nmse * energy * pattern

    own = dict.fromkeys(ENVIRONMENTS, LIMIT * 1.0)
    shared = LIMIT
    gate = 0.01
    if cause == "calibrator":
        own[GUILTY] = LIMIT * (1 + max(size, 0.05))
    if cause == "calibration":
        shared = 0.02
    if cause == "limit":
        above = setting.effect * FLOOR * setting.spread_of_images
        gate = LIMIT * max(1 - above, 0.05)  # an NMSE, so 8 images cannot have 3 floors
    if cause == "loss":
        gate = LIMIT * (1 + size / 2)  # the table holds it, the engine does not
    tables = {"shared": shared} | {f"own-{name}": error for name, error in own.items()}
    simulations = {
        ("engine", table): Sample(exact(error)[None], energy, exact=True)
        for table, error in tables.items()
    }
    cells = []
    for name in ENVIRONMENTS:
        hit = name == GUILTY
        cells.append(
            _cell(name, "fp32", None, energy, pattern, _fp32(hit, cause), setting, generator)
        )
        engine = {"engine": size, "fallback": -size}.get(cause, 0.0) if hit else 0.0
        engine += size if cause == "loss" else 0.0
        share = 0.7 if hit and cause == "fallback" else 1.0
        for table, own_table in (("shared", False), (f"own-{name}", True)):
            cells.append(
                _cell(
                    name, "int8-own" if own_table else "int8-shared", table, energy, pattern,
                    (tables[table], engine), setting, generator, share,
                )
            )  # fmt: skip
        implicit = size if cause == "implicit" else 0.0
        if cause in ("implicit", "none"):
            cell = _cell(
                name, "int8-implicit-shared", "shared", energy, pattern, (shared, implicit),
                setting, generator, 1.0,
            )  # fmt: skip
            cells.append(replace(cell, implicit=True))
    return HeadErrors(head=head, cells=cells, simulations=simulations, gate_nmse=gate)


def _fp32(hit: bool, cause: str) -> tuple[float, float]:
    return (1e-4 if hit and cause == "fp32" else 1e-12, 0.0)


def _cell(
    environment: str,
    pass_: str,
    table: str | None,
    energy: np.ndarray,
    pattern: np.ndarray,
    error: tuple[float, float],
    setting: Setting,
    generator: np.random.Generator,
    share: float | None = None,
) -> CellError:
    nmse, cause = error
    images = len(energy)
    varied = np.clip(generator.normal(1, 0.5, images), 0, None)
    builds = generator.normal(0, setting.noise, (setting.repeats, 1))
    jitter = generator.normal(0, setting.noise, (setting.repeats, images))
    factor = np.clip(1 + cause * varied + builds + jitter, 0, None)
    return CellError(
        cell=f"{environment}/cpu/{pass_}",
        environment=environment,
        device="cpu",
        pass_=pass_,
        int8=table is not None,
        sample=Sample(nmse * energy * pattern * factor, energy),
        placement="engine" if table else None,
        table=table,
        own=bool(table and table != "shared"),
        integer_share=share,
    )


def outcome(cause: str, told: tuple[Verdict, ...]) -> str:
    """Returns right, inconclusive, missed, or wrong (a complaint that nothing caused)."""
    wanted = CAUSES[cause]
    complaints = {
        (one.kind, one.head, one.cell.split("/")[0]) for one in told if one.kind in COMPLAINTS
    }
    guilty = ENVIRONMENTS if cause in EVERYWHERE else (GUILTY,)
    allowed = {(wanted, "small", name) for name in guilty}
    if complaints - allowed:
        return "wrong"
    if wanted is None or complaints:
        return "right"
    small = [one.kind for one in told if one.head == "small"]
    return "inconclusive" if Kind.INCONCLUSIVE in small else "missed"


def settings(noise: float = 0.02) -> Iterator[tuple[str, Setting]]:
    """Yields the rows: a cause, and how it is measured."""
    for cause in CAUSES:
        for images, repeats in ((8, 3), (32, 1), (32, 2), (32, 3), (32, 5), (128, 3), (256, 5)):
            for size in (0.0,) if cause == "none" else (0.5, 1.0, 3.0):
                yield cause, Setting(images, repeats, noise, size)


def row(cause: str, setting: Setting, count: int, seed: int = 1) -> Counter[str]:
    """Returns how many of `count` matrices had which outcome."""
    number = list(CAUSES).index(cause)
    generator = np.random.default_rng(
        [seed, number, setting.images, setting.repeats, int(10 * setting.effect)]
    )
    return Counter(
        outcome(cause, verdicts(matrix(cause, setting, generator), BASELINE, Rules()))
        for _ in range(count)
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count",
        type=int,
        default=300,
        help="matrices for each row; without a cause 5 times as many",
    )
    options = parser.parse_args(arguments)
    rows = [
        (cause, setting, options.count * (1 if CAUSES[cause] else 5))
        for cause, setting in settings()
    ]
    print("| cause | images | repeats | effect / noise | right | inconclusive | missed | wrong |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor() as pool:
        counted = pool.map(row, *zip(*rows, strict=True))
        for (cause, setting, count), counts in zip(rows, counted, strict=True):
            shares = " | ".join(
                f"{100 * counts[name] / count:.1f} %"
                for name in ("right", "inconclusive", "missed", "wrong")
            )
            size = f"{setting.effect:g}" if CAUSES[cause] else ""
            print(f"| {cause} | {setting.images} | {setting.repeats} | {size} | {shares} |")


if __name__ == "__main__":
    main()
