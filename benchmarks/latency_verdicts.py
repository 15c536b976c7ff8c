"""Is slower told right? Thousands of made-up matrices, in the real order of rounds, judged by the real code.

Made-up numbers, for the judge alone: nothing here is shown as measured. Of cell e in round k at place
j of its round (j in the order that `trt_matrix.core.turns` makes):

    ln seconds = slowdown_e + round_k + place_j + noise_ek

The families are what is known to go wrong with latencies; all of them but `fixed order` are measured in
the tool's order. A matrix is *wrong* where a cell is called slower that is not. Usage:
python -m benchmarks.latency_verdicts
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from tests.unit.only_fields import only_fields
from trt_matrix.core.cells import Pass, Precision, Status
from trt_matrix.core.records import LatencySamples, Measurement, Record, Start
from trt_matrix.core.rules import Rules
from trt_matrix.core.turns import turns
from trt_matrix.core.verdicts.latency import latency_verdicts
from trt_matrix.core.verdicts.verdict import Kind

Floats = np.ndarray
FP32 = Pass(precision=Precision.FP32)
GUILTY, SLOWER = 1, 0.10
"""Row of the cell that is slower where one is; by how much."""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 10.0
"""Each job takes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Attributes: places: (cells, rounds), the place of each cell in each round, from 0."""

    places: Floats
    generator: np.random.Generator

    @property
    def size(self) -> tuple[int, int]:
        cells, rounds = self.places.shape
        return cells, rounds

    @property
    def along(self) -> Floats:
        """Returns where in its round each is, 0 to 1."""
        along: Floats = self.places / max(len(self.places) - 1, 1)
        return along

    @property
    def jobs(self) -> Floats:
        """Returns how many jobs were before each, from the first of the run on."""
        jobs: Floats = self.places + len(self.places) * np.arange(self.size[1])
        return jobs

    def noise(self, deviation: float = 0.02) -> Floats:
        return self.generator.normal(0, deviation, self.size)

    def rounds(self, deviation: float) -> Floats:
        return self.generator.normal(0, deviation, (1, self.size[1]))


Family = Callable[[Shape], Floats]
"""From the shape to ln seconds beside slowdowns, shape (cells, rounds)."""


def _one(shape: Shape, row: int, deviation: float) -> Floats:
    logs = shape.noise()
    logs[row] = shape.generator.normal(0, deviation, shape.size[1])
    return logs


def _states(shape: Shape, share: float, apart: float) -> Floats:
    """Every job is slow with this chance, whoever's it is: kernels chosen anew, memory elsewhere."""
    return shape.noise(0.01) + apart * (shape.generator.random(shape.size) < share)


def _walk(shape: Shape) -> Floats:
    """What the machine does from job to job: a random walk over time, 3 % a step."""
    steps = shape.generator.normal(0, 0.03, shape.places.size)
    walk: Floats = np.cumsum(steps)[shape.jobs.astype(int)]
    return walk


FAMILIES: Mapping[str, Family] = {
    "noise 0.5 %": lambda shape: shape.noise(0.005),
    "noise 2 %": lambda shape: shape.noise(),
    "noise 10 %": lambda shape: shape.noise(0.1),
    "places 0 to 8 %": lambda shape: shape.noise() + 0.08 * shape.along,
    "places 0 to 8 %, noise 0.2 %": lambda shape: shape.noise(0.002) + 0.08 * shape.along,
    "first place 8 % slow": lambda shape: shape.noise(0.005) + 0.08 * (shape.places == 0),
    "first place 8 % fast": lambda shape: shape.noise(0.005) - 0.08 * (shape.places == 0),
    "8 % slow after one cell": lambda shape: (
        shape.noise(0.005) + 0.08 * (shape.places == shape.places[-1] + 1)
    ),
    "rounds drift 10 %": lambda shape: shape.noise() + shape.rounds(0.1),
    "10 % up within rounds": lambda shape: shape.noise(0.005) + 0.1 * shape.along,
    "clocks fall 20 %": lambda shape: (
        shape.noise() + 0.2 * (1 - np.exp(-shape.jobs / max(shape.size[0], 1)))
    ),
    "clocks fall to the end": lambda shape: (
        shape.noise(0.005) + 0.3 * shape.jobs / shape.jobs.max()
    ),
    "random walk 3 % a job": _walk,
    "heavy tails 2 %": lambda shape: 0.02 * shape.generator.standard_t(3, shape.size),
    "heavy tails 10 %": lambda shape: 0.1 * shape.generator.standard_t(3, shape.size),
    "5 % of jobs 30 % slow": lambda shape: (
        shape.noise() + 0.3 * (shape.generator.random(shape.size) < 0.05)
    ),
    "one cell 10 % noisy": lambda shape: _one(shape, GUILTY, 0.1),
    "one cell 30 % noisy": lambda shape: _one(shape, GUILTY, 0.3),
    "baseline 10 % noisy": lambda shape: _one(shape, 0, 0.1),
    "baseline 30 % noisy": lambda shape: _one(shape, 0, 0.3),
    "each its own noise": lambda shape: (
        shape.noise(1.0) * np.exp(shape.generator.uniform(-5.3, -1.2, (shape.size[0], 1)))
    ),
    "20 % slow state, half": lambda shape: _states(shape, 0.5, 0.2),
    "20 % slow state, seldom": lambda shape: _states(shape, 0.1, 0.2),
    "20 % slow state, mostly": lambda shape: _states(shape, 0.9, 0.2),
    "70 % slow state, half": lambda shape: _states(shape, 0.5, 0.7),
    "70 % slow state, a third": lambda shape: _states(shape, 0.3, 0.7),
    "bimodal rounds": lambda shape: (
        shape.noise() + 0.3 * (shape.generator.random((1, shape.size[1])) < 0.5)
    ),
}


def places(cells: int, rounds: int, *, seed: str | None) -> Floats:
    """Returns the place of each cell in each round, (cells, rounds); without a seed in fixed order."""
    found = np.empty((cells, rounds))
    names = [str(cell) for cell in range(cells)]
    for number in range(rounds):
        order = names if seed is None else turns(names, number, seed=seed, earlier={})
        for place, name in enumerate(order):
            found[int(name), number] = place
    return found


def records(logs: Floats, jobs: Floats) -> list[Record]:
    """Returns what a run would have stored of these ln seconds; the first cell is the baseline's.

    Args:
        logs: Shape (cells, rounds).
        jobs: How many jobs were before each, the same shape.
    """
    return [
        Record.model_construct(
            cell=f"v{cell}/cpu/fp32", environment=f"v{cell}", device="cpu", pass_=FP32,
            status=Status.OK,
            measurements=tuple(
                _measurement(f"v{cell}", number, float(log), float(job))
                for number, (log, job) in enumerate(zip(row, before, strict=True))
            ),
        )
        for cell, (row, before) in enumerate(zip(logs, jobs, strict=True))
    ]  # fmt: skip


def _measurement(environment: str, repeat: int, log: float, job: float) -> Measurement:
    started = (BEGAN + timedelta(seconds=SECONDS * job)).isoformat()
    return only_fields(
        Measurement, fingerprint=f"{environment}-{repeat}", name="fp32", repeat=repeat, status=Status.OK,
        latency=only_fields(LatencySamples, batch=1, samples_s=(0.01 * float(np.exp(log)),), warm_up=1),
        start=only_fields(Start, environment=environment, started=started, disturbed=None),
    )  # fmt: skip


def outcome(
    family: Family,
    cells: int,
    rounds: int,
    slower: float,
    fixed: bool,
    generator: np.random.Generator,
) -> str:
    """Returns what is told of one matrix: right, undecided, missed, or wrong.

    Args:
        family: What goes wrong.
        cells: Versions, the baseline with them.
        rounds: Repeats.
        slower: Share by which one cell is; 0 for a matrix without a cause.
        fixed: Whether every round has the same order.
        generator: Of the made-up numbers.
    """
    seed = None if fixed else str(generator.integers(1 << 62))
    shape = Shape(places(cells, rounds, seed=seed), generator)
    logs = family(shape)
    logs[GUILTY] += np.log1p(slower)
    verdicts = latency_verdicts(records(logs, shape.jobs), "v0", Rules())
    guilty = f"v{GUILTY}/cpu/fp32"
    accused = {
        cell for cell, verdict in verdicts.items() if verdict.kind is Kind.LATENCY_REGRESSION
    }
    if accused - ({guilty} if slower else set()):
        return "wrong"
    if accused:
        return "right"
    if slower:
        return "undecided" if guilty in verdicts else "missed"
    return "undecided" if verdicts else "right"


def row(
    family: str, cells: int, rounds: int, slower: float, fixed: bool, count: int, seed: int = 1
) -> Counter[str]:
    """Returns how many of `count` matrices had which outcome."""
    number = list(FAMILIES).index(family)
    generator = np.random.default_rng([seed, number, cells, rounds, int(slower * 100), fixed])
    return Counter(
        outcome(FAMILIES[family], cells, rounds, slower, fixed, generator) for _ in range(count)
    )


ROUNDS, POWER_ROUNDS = (2, 3, 5, 10, 20), (2, 3, 5, 7, 10)
VERSIONS = (2, 5, 12)
WIDE = (
    "noise 2 %",
    "places 0 to 8 %",
    "random walk 3 % a job",
    "each its own noise",
    "20 % slow state, seldom",
)
"""Also with 3 and 40 versions, and at 20 repeats."""
IN_FIXED_ORDER = ("places 0 to 8 %", "10 % up within rounds", "clocks fall to the end")
POWER = (
    "noise 0.5 %", "noise 2 %", "rounds drift 10 %", "places 0 to 8 %", "clocks fall 20 %",
    "heavy tails 2 %",
)  # fmt: skip

Row = tuple[str, int, int, float, bool]


def rows() -> Iterator[Row]:
    """Yields family, versions, repeats, slowdown, whether in fixed order."""
    for family in FAMILIES:
        for cells in (*VERSIONS, 3, 40) if family in WIDE else VERSIONS:
            chosen = ROUNDS if family in WIDE else ROUNDS[:-1]
            yield from ((family, cells, rounds, 0.0, False) for rounds in chosen)
    for family in IN_FIXED_ORDER:
        yield from ((family, 5, rounds, 0.0, True) for rounds in ROUNDS)
    for family in POWER:
        for cells in VERSIONS:
            yield from ((family, cells, rounds, SLOWER, False) for rounds in POWER_ROUNDS)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count", type=int, default=1000, help="matrices each (40 versions: a tenth)"
    )
    parser.add_argument("--quick", action="store_true", help="2 matrices each")
    options = parser.parse_args(arguments)
    count = 2 if options.quick else options.count
    wanted = list(rows())
    counts = [max(count // (10 if one[1] > 12 else 1), 2) for one in wanted]
    with ProcessPoolExecutor() as pool:
        found = dict(zip(wanted, pool.map(row, *zip(*wanted, strict=True), counts), strict=True))
    number = dict(zip(wanted, counts, strict=True))

    def shares(one: Row, *names: str) -> str:
        if one not in found:
            return ""
        return " / ".join(f"{100 * found[one][name] / number[one]:.3g}" for name in names)

    print("No cell is slower: % of matrices that accuse / that have something undecided\n")
    for fixed, title in ((False, ""), (True, " (fixed order)")):
        null = dict.fromkeys(one[:2] for one in wanted if not one[3] and one[4] is fixed)
        print(f"| family{title} | versions | " + " | ".join(f"K = {k}" for k in ROUNDS) + " |")
        print("| --- " * (2 + len(ROUNDS)) + "|")
        for family, cells in null:
            told = (shares((family, cells, k, 0.0, fixed), "wrong", "undecided") for k in ROUNDS)
            print(f"| {family} | {cells} | {' | '.join(told)} |")
        print()
    print(f"One cell is {100 * SLOWER:.0f} % slower: % found / undecided / wrong\n")
    print("| family | versions | " + " | ".join(f"K = {k}" for k in POWER_ROUNDS) + " |")
    print("| --- " * (2 + len(POWER_ROUNDS)) + "|")
    for family in POWER:
        for cells in VERSIONS:
            told = (
                shares((family, cells, k, SLOWER, False), "right", "undecided", "wrong")
                for k in POWER_ROUNDS
            )
            print(f"| {family} | {cells} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
