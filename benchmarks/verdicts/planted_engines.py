"""Something is wrong: engines. The kinds that a family allows are what is true of its guilty cells.

A version whose kernels lose at the same scales also loses against its own simulation, so `engine_loss` is true
of it beside `engine_regression`; the other way round, where all versions lose alike, no version is worse than
another and `engine_regression` is the wrong cause.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from benchmarks.verdicts.family import Family, Make
from benchmarks.verdicts.made import BASELINE, Made, Matrix
from benchmarks.verdicts.world import (
    DB,
    IMPLICIT,
    IMPLICIT_OWN,
    LIMIT,
    OWN,
    SAME_BITS,
    SHARED,
    Builds,
    Design,
    World,
    drawn_design,
)

SIZES = (1.0, 3.0, 6.0, 20.0)
LEAST = 0.5 * DB
IMAGES = 0.3
"""How an effect varies over images, as a share of it."""

ENGINE = ("engine_regression",)
ALSO = ("engine_loss",)


def findable(size_db: float, sd: float, design: Design, *, fixed: bool = False) -> bool:
    """Whether the effect is 5 standard errors beyond the least effect, with builds and images to know it."""
    if design.images < 16 or design.repeats < (1 if fixed else 3):
        return False
    images = (IMAGES * (1 - math.exp(-size_db * DB))) ** 2 * 1.6 / design.images
    error = math.sqrt(2 * sd**2 / design.repeats + images + 0.002 / design.images)
    return size_db * DB - LEAST >= 5 * error


def _sd(generator: np.random.Generator) -> float:
    return float(generator.choice((0.0, 0.005, 0.02, 0.1)))


def _versions_bad(which: str, size: float, generator: np.random.Generator, repeats: int) -> Matrix:
    world = World(drawn_design(generator, repeats, small=True), generator)
    world.table("t")
    others = list(world.versions[1:])
    if which == "one":
        bad = [others[generator.integers(len(others))]]
    elif which == "several":
        bad = [other for other in others if generator.random() < 0.5] or others
    else:  # from one on
        bad = others[generator.integers(len(others)) :]
    heads = _some_heads(world)
    sd = _sd(generator)
    fp32 = generator.random() < 0.5
    for version in world.versions:
        if fp32:
            world.cell(version, "fp32", None, nmse=1e-12)
        if version not in bad:
            world.cell(version, SHARED, "t", Builds(sd), share=1.0)
            continue
        hit = world.effect(size, heads)
        cell = world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=1.0)
        world.plant([cell], heads, ENGINE, size, findable=findable(size, sd, world.design))
        world.allow([cell], heads, ALSO)
    return world.matrix()


def _some_heads(world: World) -> list[int]:
    """Returns one head, or some, or all."""
    count = int(world.generator.integers(1, world.design.heads + 1))
    return sorted(int(one) for one in world.generator.permutation(world.design.heads)[:count])


def _all_alike(
    pass_: str, gate: str, size: float, generator: np.random.Generator, repeats: int
) -> Matrix:
    """Every version is beyond its own simulation, by the same."""
    world = World(drawn_design(generator, repeats, small=True), generator)
    world.table("t")
    heads, sd = _some_heads(world), _sd(generator)
    hit = world.effect(size, heads)
    for version in world.versions:
        table = "t"
        if "-own" in pass_:
            table = world.table(f"own-{version}", LIMIT, 0.03)
        world.cell(version, pass_, table, Builds(sd), effect=hit, share=1.0)
    world.plant(
        world.cells, heads, ("engine_loss",), size, findable=findable(size, sd, world.design)
    )
    if gate:
        between = {"fails": size / 2, "holds": size + 3}[gate]
        world.gates = dict.fromkeys(world.heads, LIMIT * 10 ** (between / 10))
    return world.matrix()


def _baseline_bad(size: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """The baseline alone loses: the others are what they must be, and better than it."""
    world = World(drawn_design(generator, repeats, small=True), generator)
    world.table("t")
    heads, sd = _some_heads(world), _sd(generator)
    for version in world.versions:
        hit = world.effect(size, heads) if version == BASELINE else 0.0
        cell = world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=1.0)
        if version == BASELINE:
            named = ("engine_loss", "engine_regression")
            world.plant([cell], heads, named, size, findable=findable(size, sd, world.design))
    return world.matrix()


def _implicit(where: str, size: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """One table costs more as implicit scales than by Q/DQ nodes, in all versions or in one."""
    world = World(drawn_design(generator, repeats, small=True), generator)
    world.table("t")
    heads, sd = _some_heads(world), _sd(generator)
    one = world.versions[generator.integers(1, len(world.versions))]
    bad: list[Made] = []
    for version in world.versions:
        guilty = where == "all" or version == one
        world.cell(version, SHARED, "t", Builds(float(generator.choice((0.0, 0.005)))), share=1.0)
        hit = world.effect(size, heads) if guilty else 0.0
        cell = world.cell(version, IMPLICIT, "t", Builds(sd), effect=hit, share=1.0)
        if guilty:
            bad.append(cell)
    named = ("implicit_regression",)
    world.plant(bad, heads, named, size, findable=findable(size, sd, world.design))
    world.allow(bad, heads, ALSO if where == "all" else (*ALSO, *ENGINE))
    return world.matrix()


def _two_causes(which: str, size: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """A table that is bad everywhere, or a baseline or a version in float, beside one bad engine."""
    design = drawn_design(generator, repeats, small=True)
    world = World(Design(max(3, design.versions), design.heads, design.images, repeats), generator)
    sd = _sd(generator)
    everywhere = range(world.design.heads)
    world.table("t", LIMIT * 4 if which == "table" else LIMIT)
    world.table("good")
    bad, other = (
        world.versions[int(one)] for one in generator.permutation(range(1, len(world.versions)))[:2]
    )
    for version in world.versions:
        share, hit = 1.0, np.zeros(world.shape)
        if which == "fallback" and version == other:
            share, hit = 0.6, world.effect(-3.0, everywhere)
        if version == bad:
            hit = hit + world.effect(size, (0,))
        cell = world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=share)
        if version == bad:
            world.plant([cell], (0,), ENGINE, size, findable=findable(size, sd, world.design))
            world.allow([cell], (0,), ALSO)
        if share < 1:
            world.plant([cell], everywhere, ("precision_fallback",), -3.0, findable=False)
    if which == "table":
        world.plant(
            world.cells, everywhere, ("calibration_problem",), 6.0,
            findable=world.design.images >= 16,
        )  # fmt: skip
    return world.matrix()


def _few_images(images: int, generator: np.random.Generator, repeats: int) -> Matrix:
    """10 dB worse on 5 % of the images: 1.6 dB worse over all."""
    world = World(Design(5, 3, images, repeats), generator)
    world.table("t")
    bad = world.versions[generator.integers(1, 5)]
    for version in world.versions:
        hit = np.zeros(world.shape)
        if version == bad:
            chosen = generator.permutation(images)[: max(1, round(images * 0.05))]
            hit[0, chosen] = math.log(10)
        cell = world.cell(version, SHARED, "t", Builds(0.02), effect=hit, share=1.0)
        if version == bad:
            world.plant([cell], (0,), ENGINE, 1.6, findable=images >= 512 and repeats >= 3)
            world.allow([cell], (0,), (*ALSO, "unexplained_loss"))
    return world.matrix()


def _loud(
    sd: float, size: float, generator: np.random.Generator, repeats: int, *, images: int = 16
) -> Matrix:
    """One version is worse, and all builds scatter: what the issue wants to be found."""
    world = World(Design(5, 3, images, repeats), generator)
    world.table("t")
    bad = world.versions[generator.integers(1, 5)]
    for version in world.versions:
        hit = world.effect(size, (0,)) if version == bad else 0.0
        cell = world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=1.0)
        if version == bad:
            world.plant([cell], (0,), ENGINE, size, findable=findable(size, sd, world.design))
            world.allow([cell], (0,), ALSO)
    return world.matrix()


def _fixed(
    size: float, scatter: float, generator: np.random.Generator, repeats: int, *, images: int = 32
) -> Matrix:
    """Builds cannot differ, repeats have the same bits, one version is worse."""
    world = World(Design(5, 3, images, repeats), generator, fixed=True, scatter=scatter)
    world.table("t")
    bad = world.versions[generator.integers(1, 5)]
    for version in world.versions:
        hit = world.effect(size, (0,), vary=0.1) if version == bad else 0.0
        cell = world.cell(version, SHARED, "t", SAME_BITS, effect=hit, share=1.0)
        if version == bad:
            world.plant([cell], (0,), ENGINE, size, findable=True)
            world.allow([cell], (0,), ALSO)
    return world.matrix()


def sized(make: Callable[..., Matrix], sizes: Iterable[float] = SIZES) -> dict[str, Make]:
    return {f"{size:g} dB": partial(make, size) for size in sizes}


FAMILIES = (
    Family(
        name="engine-one",
        about="One version's kernels lose at the same scales. `engine_loss` is true of it too.",
        variants=sized(partial(_versions_bad, "one")),
        climbs=True,
    ),
    Family(
        name="engine-several",
        about="Several versions do.",
        variants=sized(partial(_versions_bad, "several")),
        climbs=True,
    ),
    Family(
        name="engine-step",
        about="All versions from one on do.",
        variants=sized(partial(_versions_bad, "step")),
        climbs=True,
    ),
    Family(
        name="all-alike",
        about="Every version is beyond its own simulation, by the same: `engine_loss`; that a version is worse "
        "than another is the wrong cause.",
        variants={
            f"{size:g} dB{f', gate {gate}' if gate else ''}": partial(
                _all_alike, SHARED, gate, size
            )
            for size in SIZES
            for gate in ("", "fails", "holds")
        },
    ),
    Family(
        name="implicit-own-alone",
        about="The same with implicit scales of each version's own calibration, and no Q/DQ twin.",
        variants=sized(partial(_all_alike, IMPLICIT_OWN, "")),
        climbs=True,
    ),
    Family(
        name="own-alone",
        about="The same with Q/DQ nodes and each version's own table.",
        variants=sized(partial(_all_alike, OWN, "")),
        climbs=True,
    ),
    Family(
        name="baseline-bad",
        about="The baseline alone loses against its simulation: never the others' fault.",
        variants=sized(_baseline_bad),
        climbs=True,
    ),
    Family(
        name="implicit-all",
        about="Implicit scales lose against Q/DQ nodes with the same table, in all versions; `engine_loss` is "
        "true of these cells too, a regression of one version is not.",
        variants=sized(partial(_implicit, "all")),
        climbs=True,
    ),
    Family(
        name="implicit-one",
        about="The same in one version: also a regression of that version's implicit pass.",
        variants=sized(partial(_implicit, "one")),
        climbs=True,
    ),
    Family(
        name="table-and-engine",
        about="A table that is 6 dB worse than another one, everywhere, and one version's engine.",
        variants=sized(partial(_two_causes, "table")),
        climbs=True,
    ),
    Family(
        name="fallback-and-engine",
        about="One version ran in float, another one's engine loses.",
        variants=sized(partial(_two_causes, "fallback")),
        climbs=True,
    ),
    Family(
        name="few-images",
        about="10 dB worse on 5 % of the images in one version.",
        variants={f"{images} images": partial(_few_images, images) for images in (32, 128, 512)},
        repeats=(3, 5, 10),
        climbs=True,
    ),
    Family(
        name="loud",
        about="One of 5 versions is worse beside the noise of all, 16 images: what must be found.",
        variants={
            "sd 0.02, 1 dB": partial(_loud, 0.02, 1.0),
            "sd 0.1, 3 dB": partial(_loud, 0.1, 3.0),
            "sd 0.6, 20 dB": partial(_loud, 0.6, 20.0),
            "sd 0.7, 40 dB": partial(_loud, 0.7, 40.0),
        },
        power={
            ("sd 0.1, 3 dB", 5): 0.9,
            ("sd 0.6, 20 dB", 5): 0.95,
            ("sd 0.7, 40 dB", 5): 0.95,
        },
    ),
    Family(
        name="loud-images",
        about="The same at sd 0.1, 3 dB over 16 to 256 images.",
        variants={
            f"{images} images": partial(_loud, 0.1, 3.0, images=images) for images in (16, 64, 256)
        },
        climbs=True,
        power={("64 images", 5): 0.9, ("256 images", 5): 0.9},
    ),
    Family(
        name="fixed",
        about="Builds cannot differ and have the same bits; one version is 1 dB worse.",
        variants={
            f"1 dB, scatter {scatter:g}, {images} images": partial(
                _fixed, 1.0, scatter, images=images
            )
            for scatter, images in ((0.02, 16), (0.02, 64), (0.05, 32))
        },
        repeats=(2, 3),
        power={
            ("1 dB, scatter 0.02, 16 images", 2): 0.99,
            ("1 dB, scatter 0.02, 64 images", 2): 0.99,
            ("1 dB, scatter 0.05, 32 images", 2): 0.99,
        },
    ),
)
