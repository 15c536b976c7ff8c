"""Nothing is wrong: families whose images, tables, gates or precisions mislead. Any claim is false,
but that a cell ran in float where it did."""

from functools import partial

import numpy as np

from benchmarks.verdicts.family import Family
from benchmarks.verdicts.made import Floats, Matrix
from benchmarks.verdicts.world import (
    BASELINE,
    LIMIT,
    OWN,
    SAME_BITS,
    SHARED,
    Builds,
    World,
    all_passes,
    drawn_design,
    some_passes,
)

ABOVE = "0.3 dB above the simulation"


def _dominated(values: Floats, share: float) -> Floats:
    """Returns the same with one image that has this share of the sum."""
    changed = values.copy()
    rest = changed[:, 1:].sum(axis=1)
    changed[:, 0] = rest * share / (1 - share)
    return changed


def _one_image(
    share: float, of: str, scatter: float, generator: np.random.Generator, repeats: int
) -> Matrix:
    world = World(drawn_design(generator, repeats), generator, scatter=scatter)
    if of == "energy":
        world.energy = _dominated(world.energy, share)
    else:
        world.pattern = _dominated(world.energy * world.pattern, share) / world.energy
    builds = dict.fromkeys(world.versions, Builds(float(generator.choice((0.005, 0.05)))))
    all_passes(world, builds, passes=some_passes(world))
    return world.matrix()


def _heavy_images(scatter: float, generator: np.random.Generator, repeats: int) -> Matrix:
    world = World(
        drawn_design(generator, repeats), generator, energy_spread=2.0, pattern_spread=1.5,
        scatter=scatter,
    )  # fmt: skip
    all_passes(world, dict.fromkeys(world.versions, Builds(0.02)), passes=some_passes(world))
    return world.matrix()


def _unlike_images(generator: np.random.Generator, repeats: int) -> Matrix:
    """What kernels round otherwise has heavy tails over images: most alike, a few far off."""
    world = World(drawn_design(generator, repeats), generator, scatter=0.0)
    world.table("t")
    for version in world.versions:
        apart = 0.1 * np.clip(generator.standard_t(2, world.shape), -20, 20)
        world.cell(version, SHARED, "t", Builds(0.02), effect=apart, share=1.0)
    return world.matrix()


def _empty_images(error: bool, generator: np.random.Generator, repeats: int) -> Matrix:
    """In some images the reference is exactly zero; the versions' outputs are too, or nearly."""
    world = World(drawn_design(generator, repeats), generator)
    count = world.design.images
    empty = generator.random(count) < 0.3
    empty[: max(2, count // 3)] = False
    all_passes(world, dict.fromkeys(world.versions, Builds(0.02)), passes=some_passes(world))
    world.energy[:, empty] = 0.0
    for cell in world.cells:
        cell.errors[..., empty] *= 1e-3 if error else 0.0
    for simulated in world.simulations.values():
        simulated[..., empty] *= 1e-3 if error else 0.0
    return world.matrix()


def _rounding(scatter: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """Engines whose builds cannot differ: equal bits in all repeats, other rounding in each version."""
    world = World(drawn_design(generator, repeats), generator, fixed=True, scatter=scatter)
    all_passes(world, dict.fromkeys(world.versions, SAME_BITS), passes=some_passes(world))
    return world.matrix()


def _common(scatter: float, fixed: bool, generator: np.random.Generator, repeats: int) -> Matrix:
    """All versions round image by image as no simulation does, alike, and lose nothing by it on average."""
    world = World(drawn_design(generator, repeats), generator, fixed=fixed, scatter=0.0)
    world.table("t")
    alike = generator.normal(0, scatter, world.shape) - scatter**2 / 2
    for version in world.versions:
        builds = SAME_BITS if fixed else Builds(float(generator.choice((0.0, 0.02))))
        world.cell(version, SHARED, "t", builds, effect=alike, share=1.0)
    return world.matrix()


def _tables(count: int, spread: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """Many tables that are equally good, each with other images that it does well; one was shared."""
    world = World(drawn_design(generator, repeats, small=True), generator)
    world.table("t", LIMIT, spread)
    for version in world.versions:
        world.table(f"own-{version}", LIMIT, spread)
    for number in range(count - 1 - len(world.versions)):
        world.table(f"candidate-{number}", LIMIT, spread)
    all_passes(world, dict.fromkeys(world.versions, Builds(0.02)), passes=(SHARED, OWN))
    return world.matrix()


def _gate_at(where: str, generator: np.random.Generator, repeats: int) -> Matrix:
    """Gates exactly at a value, or a hair above what 8 bits cost, so that some builds fail by chance."""
    world = World(drawn_design(generator, repeats), generator)
    above = where == ABOVE
    builds = Builds(0.1 if above else 0.02)
    all_passes(world, dict.fromkeys(world.versions, builds), passes=some_passes(world))
    for head, name in enumerate(world.heads):
        first = world.cells[0].errors[head].mean(axis=0)
        errors = first if where == "the first cell's error" else world.simulations["t"][head]
        world.gates[name] = float(errors.sum() / world.energy[head].sum()) * (1.07 if above else 1)
    return world.matrix()


def _fallback(
    which: str, gain: float, generator: np.random.Generator, repeats: int, *, gated: bool
) -> Matrix:
    """Some versions ran layers in float and are better than 8 bits; the others cost what they must."""
    world = World(drawn_design(generator, repeats), generator)
    world.table("t")
    heads = range(world.design.heads)
    fell = [BASELINE]
    if which == "half":
        fell = [v for v in world.versions[1:] if generator.random() < 0.5] or [world.versions[-1]]
    sd = float(generator.choice((0.0, 0.02, 0.1)))
    for version in world.versions:
        if version in fell:
            hit = world.effect(-gain, heads)
            cell = world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=0.6)
            findable = gain >= 3 and sd <= 0.02 and repeats >= 3 and world.design.images >= 16
            world.plant([cell], heads, ("precision_fallback",), -gain, findable=findable)
        else:
            world.cell(version, SHARED, "t", Builds(sd), share=1.0)
    if gated:  # between float and 8 bits: those that did not fall back are beyond it
        world.gates = dict.fromkeys(world.heads, LIMIT * 10 ** (-gain / 20))
        world.allow(world.cells, heads, ("int8_limit",))
        # In a cell that holds its gate nothing is too little.
        for cell in world.cells:
            if cell.environment in fell:
                for head in world.heads:
                    world.allowed[cell.id, head] = frozenset({"precision_fallback"})
    return world.matrix()


FAMILIES = (
    Family(
        name="one-image",
        about="One image has most of the energy, or of the error alone; kernels round 5 or 30 % otherwise.",
        variants={
            f"{share:.0%} of the {of}, scatter {scatter:g}": partial(_one_image, share, of, scatter)
            for share in (0.5, 0.9, 0.99)
            for of in ("energy", "error")
            for scatter in (0.05, 0.3)
        },
    ),
    Family(
        name="heavy-images",
        about="Energies and errors of images spread over decades.",
        variants={f"scatter {one:g}": partial(_heavy_images, one) for one in (0.03, 0.3)},
    ),
    Family(
        name="unlike-images",
        about="Versions differ image by image, with heavy tails and no direction.",
        variants={"t2": _unlike_images},
    ),
    Family(
        name="empty-images",
        about="In a third of the images there is nothing: the reference is zero there.",
        variants={
            "no error there": partial(_empty_images, False),
            "some error there": partial(_empty_images, True),
        },
        equal=True,
    ),
    Family(
        name="rounding",
        about="Engines whose builds cannot differ, bit-identical repeats, other rounding in each version.",
        variants={f"scatter {one:g}": partial(_rounding, one) for one in (0.02, 0.05)},
        equal=True,
    ),
    Family(
        name="common-rounding",
        about="All versions round image by image as no simulation does, and alike, by 10 or 30 %, with no direction.",
        variants={
            f"scatter {scatter:g}{', fixed' if fixed else ''}": partial(_common, scatter, fixed)
            for scatter in (0.1, 0.3)
            for fixed in (True, False)
        },
    ),
    Family(
        name="many-tables",
        about="Many equally good tables: which of them is the best is chance, and none is a problem.",
        variants={
            f"{count} tables, spread {spread:g}": partial(_tables, count, spread)
            for count in (4, 14, 87)
            for spread in (0.05, 0.2)
        },
        repeats=(2, 5),
        equal=True,
    ),
    Family(
        name="gate-at-value",
        about="Gates exactly at what was simulated or measured: there is no cause to be found.",
        variants={
            where: partial(_gate_at, where)
            for where in ("the simulation", "the first cell's error", ABOVE)
        },
    ),
    Family(
        name="baseline-fell-back",
        about="Nothing but `precision_fallback` of the baseline may be said: the others are correct. With a "
        "gate between float and 8 bits, `int8_limit` is true of those beyond it.",
        variants={
            f"{gain:g} dB{', gate' if gated else ''}": partial(
                _fallback, "baseline", gain, gated=gated
            )
            for gain, gated in (
                (1.0, False),
                (3.0, False),
                (6.0, False),
                (20.0, False),
                (6.0, True),
            )
        },
    ),
    Family(
        name="half-fell-back",
        about="Half of the versions ran layers in float, the baseline did not; nobody is worse than it must be.",
        variants={
            f"{gain:g} dB": partial(_fallback, "half", gain, gated=False) for gain in (1.0, 6.0)
        },
    ),
)
