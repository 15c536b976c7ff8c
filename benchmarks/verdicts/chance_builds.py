"""Nothing is wrong: families in which builds differ by chance alone. Any claim is false."""

from functools import partial

import numpy as np

from benchmarks.verdicts.family import Family
from benchmarks.verdicts.made import Matrix
from benchmarks.verdicts.world import (
    BASELINE,
    IMPLICIT,
    LIMIT,
    SHARED,
    Builds,
    Design,
    World,
    all_passes,
    drawn_design,
    some_passes,
)


def _alike(builds: Builds, generator: np.random.Generator, repeats: int) -> Matrix:
    world = World(drawn_design(generator, repeats), generator)
    all_passes(world, dict.fromkeys(world.versions, builds), passes=some_passes(world))
    return world.matrix()


def _one_loud(
    quiet: float, loud: float, generator: np.random.Generator, repeats: int, *, baseline: bool
) -> Matrix:
    world = World(drawn_design(generator, repeats), generator)
    version = BASELINE if baseline else world.versions[generator.integers(1, len(world.versions))]
    builds = dict.fromkeys(world.versions, Builds(quiet)) | {version: Builds(loud)}
    all_passes(world, builds, passes=some_passes(world))
    return world.matrix()


def _each_its_own(generator: np.random.Generator, repeats: int) -> Matrix:
    world = World(drawn_design(generator, repeats), generator)
    builds = {
        version: Builds(float(np.exp(generator.uniform(np.log(0.005), np.log(0.3)))))
        for version in world.versions
    }
    all_passes(world, builds, passes=some_passes(world))
    return world.matrix()


def _two_states(
    apart: float, generator: np.random.Generator, repeats: int, *, together: bool, centred: bool
) -> Matrix:
    """All versions draw from one mixture.

    The simulation is as good as the better state, so that builds of the worse one do lose (a true
    `engine_loss`, or `implicit_regression`), or it is as good as their mean and nothing is lost.
    """
    world = World(drawn_design(generator, repeats), generator)
    share = 0.5 if centred else float(generator.choice((0.1, 0.25, 0.5, 0.75, 0.9)))
    builds = Builds(0.01, "two", apart, share, together)
    loss = builds.mean if centred else 0.0
    world.table("t", LIMIT * np.exp(loss))
    implicit = not centred and generator.random() < 0.3
    for version in world.versions:
        world.cell(version, SHARED, "t", builds, effect=-loss, share=1.0)
        if implicit:
            world.cell(version, IMPLICIT, "t", builds, effect=-loss, share=1.0)
    if not centred:
        heads = range(world.design.heads)
        world.allow(world.cells, heads, ("engine_loss",))
        world.allow(
            [cell for cell in world.cells if cell.implicit], heads, ("implicit_regression",)
        )
    return world.matrix()


def _flips(layers: int, generator: np.random.Generator, repeats: int) -> Matrix:
    """Every build decides for each layer; a layer costs some heads something. Alike in all versions."""
    world = World(drawn_design(generator, repeats), generator)
    world.table("t")
    costs = generator.exponential(1.5 / layers, (layers, world.design.heads))
    costs *= generator.random(costs.shape) < 0.6
    chance = generator.uniform(0.1, 0.9, layers)
    for version in world.versions:
        chosen = generator.random((repeats, layers)) < chance
        cell = world.cell(version, SHARED, "t", Builds(0.005), share=1.0)
        cell.errors[...] *= np.exp(chosen @ costs).T[:, :, None]
    world.allow(world.cells, range(world.design.heads), ("engine_loss",))
    return world.matrix()


def _unlike_passes(generator: np.random.Generator, repeats: int) -> Matrix:
    """One way to int8 with the same bits or nearly, one with loud builds, and floats."""
    world = World(drawn_design(generator, repeats, small=True), generator)
    world.table("t")
    quiet = float(generator.choice((0.0, 0.005)))
    loud = float(generator.choice((0.1, 0.3)))
    for version in world.versions:
        world.cell(version, "fp32", None, nmse=1e-12)
        world.cell(version, "fp16", None, Builds(0.02), nmse=1e-6)
        world.cell(version, SHARED, "t", Builds(quiet), share=1.0)
        world.cell(version, IMPLICIT, "t", Builds(loud), share=1.0)
    return world.matrix()


def _size(versions: int, heads: int, generator: np.random.Generator, repeats: int) -> Matrix:
    images = int(generator.choice((4, 8, 16, 32, 64, 128)))
    world = World(Design(versions, heads, images, repeats), generator)
    builds = Builds(float(generator.choice((0.005, 0.02, 0.1, 0.3))))
    all_passes(world, dict.fromkeys(world.versions, builds))
    return world.matrix()


def _slightly(effect: float, sd: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """Some versions are worse by less than the least effect that is worth telling."""
    world = World(drawn_design(generator, repeats), generator)
    world.table("t")
    for version in world.versions:
        size = effect if version != BASELINE and generator.random() < 0.5 else 0.0
        hit = world.effect(size, range(world.design.heads), vary=0.3)
        world.cell(version, SHARED, "t", Builds(sd), effect=hit, share=1.0)
    return world.matrix()


def _one_better(effect: float, generator: np.random.Generator, repeats: int) -> Matrix:
    """One version is better than exact arithmetic, by luck of its kernels; the others are as they must be."""
    world = World(drawn_design(generator, repeats), generator)
    world.table("t")
    lucky = world.versions[generator.integers(1, len(world.versions))]
    for version in world.versions:
        gain = -effect if version == lucky else 0.0
        hit = world.effect(gain, range(world.design.heads))
        world.cell(version, SHARED, "t", Builds(0.02), effect=hit, share=1.0)
    return world.matrix()


LOUD = ((0.0, 0.005), (0.0, 0.1), (0.005, 0.1), (0.005, 0.3), (0.02, 0.3))

FAMILIES = (
    Family(
        name="equal",
        about="Builds of all versions scatter alike. Nothing may be claimed.",
        variants={f"sd {sd:g}": partial(_alike, Builds(sd)) for sd in (0.005, 0.02, 0.1, 0.3)},
        equal=True,
    ),
    Family(
        name="one-noisy",
        about="One version's builds scatter more; 0 are bit-identical ones that could differ.",
        variants={
            f"{quiet:g} beside {loud:g}": partial(_one_loud, quiet, loud, baseline=False)
            for quiet, loud in LOUD
        },
    ),
    Family(
        name="noisy-baseline",
        about="The baseline's builds scatter more than all others.",
        variants={
            f"{quiet:g} beside {loud:g}": partial(_one_loud, quiet, loud, baseline=True)
            for quiet, loud in LOUD
        },
    ),
    Family(
        name="each-its-own",
        about="Every version scatters by its own, 0.5 to 30 %.",
        variants={"0.005 to 0.3": _each_its_own},
    ),
    Family(
        name="t3",
        about="Builds with heavy tails: Student's t with 3 degrees.",
        variants={f"sd {sd:g}": partial(_alike, Builds(sd, "t3")) for sd in (0.02, 0.1, 0.3)},
    ),
    Family(
        name="skewed",
        about="Most builds alike, some much worse: log-normal in ln NMSE.",
        variants={f"sd {sd:g}": partial(_alike, Builds(sd, "skewed")) for sd in (0.02, 0.1, 0.3)},
    ),
    Family(
        name="two-states",
        about="Builds are good or 5 or 8 dB worse, 10 to 90 % of them, alike in all versions; the "
        "simulation is the good state. `engine_loss` (and `implicit_regression`) are true of bad builds.",
        variants={
            f"{apart:g} dB, {'all heads' if together else 'each head'}": partial(
                _two_states, apart, together=together, centred=False
            )
            for apart in (5.0, 8.0)
            for together in (True, False)
        },
    ),
    Family(
        name="two-states-centred",
        about="Half of the builds better than the simulation, half worse, by the same: on average nothing is lost, so "
        "nothing may be claimed. (Of a rare state that no build was in nobody can know: only halves are fair.)",
        variants={
            f"{apart:g} dB": partial(_two_states, apart, together=False, centred=True)
            for apart in (5.0, 8.0)
        },
    ),
    Family(
        name="flips",
        about="Each build chooses for each layer, alike in all versions; a layer costs some heads some "
        "dB over the simulation, so `engine_loss` is true.",
        variants={f"{layers} layers": partial(_flips, layers) for layers in (2, 6, 20)},
    ),
    Family(
        name="unlike-passes",
        about="Passes whose builds scatter by 0 or 0.5 %, by 10 or 30 %, and floats, side by side.",
        variants={"4 passes": _unlike_passes},
    ),
    Family(
        name="sizes",
        about="Equal builds; 2 to 40 versions, 1 to 9 heads, 4 to 128 images.",
        variants={
            f"{versions} versions, {heads} heads": partial(_size, versions, heads)
            for versions, heads in ((2, 1), (2, 9), (3, 3), (5, 9), (12, 3), (12, 9), (40, 3))
        },
        equal=True,
        weight=0.3,
    ),
    Family(
        name="below-least",
        about="Half of the versions are worse by less than the least effect (0.5 dB): nothing to accuse.",
        variants={
            f"{effect:g} dB, sd {sd:g}": partial(_slightly, effect, sd)
            for effect in (0.2, 0.4)
            for sd in (0.0, 0.02, 0.1)
        },
    ),
    Family(
        name="one-better",
        about="One version is better than its simulation; that makes no other one guilty.",
        variants={f"{effect:g} dB": partial(_one_better, effect) for effect in (1.0, 3.0, 6.0)},
    ),
)
