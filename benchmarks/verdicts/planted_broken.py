"""Something is broken: outputs, the reference, runs. Judged as a whole, from outputs as they were stored.

A zero or constant output has an error as well, so engines' causes are true of it; what must be said is
`broken_output`. A broken reference is nobody's fault: nothing may be said of any environment but that.
"""

from functools import partial

import numpy as np

from benchmarks.verdicts.family import Family
from benchmarks.verdicts.made import BASELINE, Matrix
from benchmarks.verdicts.world import LIMIT, SHARED, Builds, Design, World

HOW = ("nan", "inf", "zero", "constant", "same")
SIZE = 60.0


def _world(generator: np.random.Generator, repeats: int) -> World:
    return World(Design(int(generator.choice((2, 3, 5))), 3, 16, repeats), generator)


def _broken(how: str, where: str, generator: np.random.Generator, repeats: int) -> Matrix:
    world = _world(generator, repeats)
    world.table("t")
    if generator.random() < 0.5:
        world.gates = dict.fromkeys(world.heads, LIMIT * 4)
    one = {"one": world.versions[generator.integers(1, len(world.versions))], "baseline": BASELINE}
    pass_ = str(generator.choice(("fp32", "fp16", SHARED)))
    also = ("engine_regression", "engine_loss", "fp32_regression", "fp16_regression")
    for version in world.versions:
        for name in ("fp32", "fp16", SHARED):
            guilty = version == one.get(where) and name == pass_
            made = world.cell(
                version,
                name,
                "t" if name == SHARED else None,
                Builds(0.02),
                nmse={"fp32": 1e-12, "fp16": 1e-6}.get(name),
                share=1.0 if name == SHARED else None,
                broken={0: how} if guilty else {},
            )
            if guilty:
                world.plant([made], (0,), ("broken_output",), SIZE)
                world.allow([made], (0,), also)
    if where == "reference":
        world.broken_reference = {0: how}
        # A head may well be a constant, as anchors are: that may be told and need not.
        # One infinite element may be left out of all numbers, if that is told.
        named = ("broken_output", "not_comparable")
        world.plant(world.cells, (0,), named, SIZE, findable=how in ("nan", "zero"))
        # A gate that nobody can judge does not hold.
        world.allow(world.cells, (0,), ("unexplained_loss",))
    return world.matrix()


def _failed(which: str, generator: np.random.Generator, repeats: int) -> Matrix:
    """A version's cells all failed, or those in int8."""
    world = _world(generator, repeats)
    world.table("t")
    one = BASELINE if which == "baseline" else world.versions[-1]
    for version in world.versions:
        for name in ("fp32", SHARED):
            failed = version == one and (which != "int8" or name == SHARED)
            cell = world.cell(
                version, name, "t" if name == SHARED else None, Builds(0.02),
                nmse=1e-12 if name == "fp32" else None, failed=failed,
            )  # fmt: skip
            if failed:
                world.plant([cell], range(3), ("could_not_run",), SIZE)
    return world.matrix()


FAMILIES = (
    Family(
        name="broken",
        about="One head of one pass is NaN, infinite (one element), zero, constant, or the same for all images.",
        variants={
            f"{how} in {where}": partial(_broken, how, where)
            for where in ("one", "baseline", "reference")
            for how in HOW
        },
        judged=True,
        repeats=(2, 3),
    ),
    Family(
        name="failed",
        about="Cells could not run: all of one version, its int8 alone, or the baseline's.",
        variants={which: partial(_failed, which) for which in ("all", "int8", "baseline")},
        judged=True,
        repeats=(2, 3),
    ),
)
