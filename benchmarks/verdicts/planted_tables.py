"""Something is wrong: tables, 8 bits themselves, floats.

A calibrator that makes a worse table than the baseline's has also made a table that costs more than the best one
known: `calibration_problem` is true of its cells beside `calibrator_regression`. A version that is wrong in fp32
loses in int8 too: `engine_regression` and `engine_loss` are true of its int8 cells, but do not name the cause.
"""

from functools import partial

import numpy as np

from benchmarks.verdicts.family import Family
from benchmarks.verdicts.made import Matrix
from benchmarks.verdicts.planted_engines import sized
from benchmarks.verdicts.world import (
    LIMIT,
    OWN,
    SHARED,
    Builds,
    World,
    drawn_design,
)


def _world(generator: np.random.Generator, repeats: int) -> World:
    return World(drawn_design(generator, repeats, small=True), generator)


def _enough(size: float, images: int) -> bool:
    return size >= 3 and images >= 16


def _calibrator(size: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """One version's calibrator makes a bad table; the engine is innocent."""
    world = _world(generator, repeats)
    world.table("t", LIMIT, 0.05)
    bad = world.versions[generator.integers(1, len(world.versions))]
    heads = range(world.design.heads)
    sd = float(generator.choice((0.0, 0.02, 0.1)))
    for version in world.versions:
        worse = 10 ** (size / 10) if version == bad else 1.0
        world.table(f"own-{version}", LIMIT * worse, 0.05)
        world.cell(version, SHARED, "t", Builds(sd), share=1.0)
        cell = world.cell(version, OWN, f"own-{version}", Builds(sd), share=1.0)
        if version == bad:
            enough = _enough(size, world.design.images)
            world.plant([cell], heads, ("calibrator_regression",), size, findable=enough)
            world.allow([cell], heads, ("calibration_problem",))
    return world.matrix()


def _table(size: float, gate: str, generator: np.random.Generator, repeats: int) -> Matrix:
    """The shared table is worse than others, in every version alike."""
    world = _world(generator, repeats)
    world.table("t", LIMIT * 10 ** (size / 10), 0.1)
    for name in ("entropy of the evaluation images", "minmax", "mse"):
        world.table(name, LIMIT * float(generator.uniform(1, 1.05)), 0.1)
    heads = range(world.design.heads)
    sd = float(generator.choice((0.0, 0.02, 0.1)))
    own = generator.random() < 0.5
    bad = []
    for version in world.versions:
        bad.append(world.cell(version, SHARED, "t", Builds(sd), share=1.0))
        if own:
            world.table(f"own-{version}", LIMIT, 0.05)
            world.cell(version, OWN, f"own-{version}", Builds(sd), share=1.0)
    enough = _enough(size, world.design.images)
    world.plant(bad, heads, ("calibration_problem",), size, findable=enough)
    if gate:
        between = {"fails": size / 2, "holds": size + 3}[gate]
        world.gates = dict.fromkeys(world.heads, LIMIT * 10 ** (between / 10))
    return world.matrix()


def _limit(size: float, generator: np.random.Generator, repeats: int, *, held: bool) -> Matrix:
    """The best table is beyond the gate; as a control, every cell holds it, since it ran in float."""
    world = _world(generator, repeats)
    world.table("t", LIMIT, 0.05)
    world.table("other", LIMIT * 1.02, 0.05)
    world.gates = dict.fromkeys(world.heads, LIMIT * 10 ** (-size / 10))
    heads = range(world.design.heads)
    sd = float(generator.choice((0.0, 0.02)))
    for version in world.versions:
        hit = world.effect(-size - 3, heads) if held else 0.0
        world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=0.5 if held else 1.0)
    enough = size >= 3 and world.design.images >= 16
    if held:
        world.plant(world.cells, heads, ("precision_fallback",), -size, findable=False)
    else:
        world.plant(world.cells, heads, ("int8_limit",), size, findable=enough)
    return world.matrix()


NORMAL = {"fp32": 1e-12, "tf32": 2e-7, "fp16": 1e-6}


def _floats(
    precision: str, nmse: float, everywhere: bool, generator: np.random.Generator, repeats: int
) -> Matrix:
    """fp32, fp16 or tf32 is wrong in one version or in all; with fp32, int8 is wrong too."""
    world = _world(generator, repeats)
    world.table("t")
    heads = (0,)
    one = world.versions[generator.integers(1, len(world.versions))]
    sd = float(generator.choice((0.0, 0.02)))
    size = 10 * float(np.log10(nmse / NORMAL[precision]))
    for version in world.versions:
        guilty = everywhere or version == one
        for name in dict.fromkeys(("fp32", precision)):
            level = np.zeros(world.shape)
            if guilty and name == precision:
                level[list(heads)] = np.log(nmse / NORMAL[name])
            cell = world.cell(version, name, None, Builds(sd), nmse=NORMAL[name], effect=level)
            if guilty and name == precision:
                known = repeats >= 3 and world.design.images >= 16
                world.plant([cell], heads, (f"{precision}_regression",), size, findable=known)
        lost = np.zeros(world.shape)
        if guilty and precision == "fp32":
            lost[list(heads)] = np.log1p(nmse / LIMIT)
        int8 = world.cell(version, SHARED, "t", Builds(sd), effect=lost, share=1.0)
        if guilty and precision == "fp32":
            world.allow([int8], heads, ("engine_regression", "engine_loss", "fp32_regression"))
    return world.matrix()


FAMILIES = (
    Family(
        name="calibrator",
        about="One version's calibrator makes a worse table; `calibration_problem` is true of it too.",
        variants=sized(_calibrator),
        climbs=True,
    ),
    Family(
        name="table",
        about="The shared table is worse than others that are known, in every version alike.",
        variants={
            f"{size:g} dB{f', gate {gate}' if gate else ''}": partial(_table, size, gate)
            for size in (1.0, 3.0, 6.0, 20.0)
            for gate in ("", "fails", "holds")
        },
    ),
    Family(
        name="limit",
        about="The best table known is beyond the gate, and so is every cell.",
        variants=sized(partial(_limit, held=False)),
        climbs=True,
    ),
    Family(
        name="limit-held",
        about="The best table known is beyond the gate, and every cell holds it, since it ran in float: "
        "`int8_limit` must not be said.",
        variants=sized(partial(_limit, held=True), (1.0, 6.0)),
    ),
    Family(
        name="floats",
        about="fp32, fp16 or tf32 is wrong in one version or in all. Of a wrong fp32 `engine_regression` and "
        "`engine_loss` are true in int8, but name nothing.",
        variants={
            f"{precision} {-10 * np.log10(nmse):.0f} dB in {'all' if everywhere else 'one'}": partial(
                _floats, precision, nmse, everywhere
            )
            for precision, nmse in (
                ("fp32", 1e-4), ("fp32", 1e-2), ("fp16", 1e-2), ("fp16", 0.1), ("tf32", 1e-2),
            )
            for everywhere in (False, True)
        },
        repeats=(2, 3, 5),
    ),
)  # fmt: skip
