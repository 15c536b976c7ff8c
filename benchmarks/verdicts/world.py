"""The generative model that all families share.

    energy r(i)            log-normal over images
    exact error of table T s_T(i) = S_T · r(i) · g(i) · u_T(i)       g: some images are harder
    build k of a cell      a_k(i) = s_T(i) · exp(effect(i) + c(i) + b_k + j_k(i))

`effect` is what a family plants, ln. c(i) is what other kernels round otherwise, the same in every build of
one cell; b_k moves all images of a build together; j_k(i) is its rounding of one image. Everything that is
random is drawn from one seeded generator.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.verdicts.made import BASELINE, Floats, Made, Matrix, Plant

DB = math.log(10) / 10
"""ln of 1 dB."""

SHARED, OWN = "int8-shared-entropy", "int8-own-minmax"
IMPLICIT, IMPLICIT_OWN = "int8-implicit-shared-entropy", "int8-implicit-own-minmax"

NAMES = ("small", "medium", "large", "mask", "box", "score", "key", "depth", "edge")

LIMIT = 0.004
"""NMSE of a good table: 24 dB."""


@dataclass(frozen=True, slots=True)
class Design:
    """How much is measured."""

    versions: int = 5
    heads: int = 3
    images: int = 32
    repeats: int = 3


@dataclass(frozen=True, slots=True)
class Builds:
    """How builds of one cell differ, ln NMSE."""

    sd: float = 0.0
    shape: str = "normal"
    """`normal`, `t3`, `skewed` (most alike, some much worse) or `two` (states)."""
    apart: float = 0.0
    """Between two states, dB."""
    share: float = 0.5
    """Of builds in the worse state."""
    together: bool = False
    """Whether a build is bad in all heads or in none."""

    def draw(self, generator: np.random.Generator, heads: int, repeats: int) -> Floats:
        """Returns b_k, shape (heads, repeats)."""
        size = (heads, repeats)
        if self.shape == "two":
            drawn = generator.random((1 if self.together else heads, repeats)) < self.share
            noise = generator.normal(0, self.sd, size) if self.sd else np.zeros(size)
            return np.broadcast_to(drawn, size) * self.apart * DB + noise
        if self.sd == 0:
            return np.zeros(size)
        if self.shape == "t3":
            return self.sd * generator.standard_t(3, size)
        if self.shape == "skewed":
            return self.sd * (generator.lognormal(0, 1, size) - 1)
        return generator.normal(0, self.sd, size)

    @property
    def mean(self) -> float:
        """Of b_k; what a simulation that is fair to both states costs more than the better one."""
        return self.apart * DB * self.share if self.shape == "two" else 0.0


SAME_BITS = Builds()


class World:
    """One matrix, put together step by step."""

    def __init__(
        self,
        design: Design,
        generator: np.random.Generator,
        *,
        energy_spread: float = 0.5,
        pattern_spread: float = 0.4,
        scatter: float = 0.03,
        fixed: bool = False,
    ) -> None:
        self.design = design
        self.generator = generator
        self.scatter = scatter
        self.fixed = fixed
        self.device = "cpu" if fixed else "gpu:0"
        self.placement = "onnxruntime" if fixed else "tensorrt"
        self.heads = NAMES[: design.heads]
        self.versions = tuple(f"v{number}" for number in range(design.versions))
        self.shape = (design.heads, design.images)
        self.energy = generator.lognormal(3, energy_spread, self.shape)
        self.pattern = generator.lognormal(0, pattern_spread, self.shape)
        self.simulations: dict[str, Floats] = {}
        self.cells: list[Made] = []
        self.plants: list[Plant] = []
        self.allowed: dict[tuple[str, str], frozenset[str]] = {}
        self.gates: dict[str, float] = {}
        self.broken_reference: dict[int, str] = {}

    def level(self, nmse: float | Floats) -> Floats:
        """Returns Σd² per head and image whose NMSE is just that, shape (H, n)."""
        raw = self.energy * self.pattern
        scale = self.energy.sum(axis=1) / raw.sum(axis=1)
        return raw * (scale * nmse)[:, None]

    def table(self, name: str, nmse: float | Floats = LIMIT, spread: float = 0.0) -> str:
        """Simulates a table; `spread` is how unlike other tables it treats single images, ln."""
        unlike = self._mean_one(spread, self.shape)
        self.simulations[name] = self.level(nmse) * np.exp(unlike)
        return name

    def cell(
        self,
        environment: str,
        pass_: str,
        table: str | None,
        builds: Builds = SAME_BITS,
        *,
        effect: float | Floats = 0.0,
        nmse: float | None = None,
        share: float | None = None,
        jitter: float | None = None,
        scatter: float | None = None,
        broken: Mapping[int, str] | None = None,
        failed: bool = False,
    ) -> Made:
        """Measures a cell: its table's exact error (or `nmse`), the effect (ln, (H, n)), and chance."""
        count = 0 if failed else self.design.repeats
        assert (nmse is None) is not (table is None)
        exact = self.level(nmse) if nmse is not None else self.simulations[str(table)]
        kernels = self._mean_one(self.scatter if scatter is None else scatter, self.shape)
        drawn = builds.draw(self.generator, self.design.heads, count)
        spread = min(builds.sd, 0.3) if jitter is None else jitter
        rounding = self._mean_one(spread, (self.design.heads, count, self.design.images))
        logs = (effect + kernels)[:, None] + drawn[..., None] + rounding
        made = Made(
            environment=environment,
            device=self.device,
            pass_=pass_,
            errors=exact[:, None] * np.exp(logs),
            table=table,
            placement=self.placement if table else None,
            fixed=self.fixed,
            share=share,
            broken=broken or {},
        )
        self.cells.append(made)
        return made

    def effect(self, size_db: float, heads: Iterable[int] = (0,), vary: float = 0.3) -> Floats:
        """Returns an effect on some heads, shape (H, n); it does not hit all images alike."""
        effects = np.zeros(self.shape)
        for head in heads:
            factors = np.maximum(1 + vary * self.generator.normal(0, 1, self.shape[1]), 0)
            weights = self.energy[head] * self.pattern[head]
            grown = 1 + (10 ** (size_db / 10) - 1) * factors
            if size_db < 0:  # nothing is better than exact by more than there is
                grown = np.full(self.shape[1], 10 ** (size_db / 10))
            scale = 10 ** (size_db / 10) / ((grown * weights).sum() / weights.sum())
            effects[head] = np.log(np.maximum(grown * scale, 1e-6))
        return effects

    def plant(
        self,
        cells: Iterable[Made],
        heads: Iterable[int],
        named: Iterable[str],
        size_db: float,
        *,
        findable: bool = True,
    ) -> None:
        """Says what is wrong: only these kinds, in these cells and heads, are right."""
        names = frozenset(self.heads[head] for head in heads)
        ids = frozenset(cell.id for cell in cells)
        self.plants.append(
            Plant(
                cells=ids, heads=names, named=frozenset(named), size_db=size_db, findable=findable
            )
        )
        for cell in ids:
            for head in names:
                self._allow(cell, head, named)

    def allow(self, cells: Iterable[Made], heads: Iterable[int], kinds: Iterable[str]) -> None:
        """Says what is true beside it, though nobody need tell it."""
        kinds = tuple(kinds)
        for cell in tuple(cells):
            for head in heads:
                self._allow(cell.id, self.heads[head], kinds)

    def matrix(self) -> Matrix:
        self._allow_beyond_gates()
        return Matrix(
            heads=self.heads,
            energy=self.energy,
            cells=tuple(self.cells),
            simulations={
                (self.placement, name): simulation for name, simulation in self.simulations.items()
            },
            gates=dict(self.gates),
            plants=tuple(self.plants),
            allowed=dict(self.allowed),
            broken_reference=dict(self.broken_reference),
        )

    def _allow_beyond_gates(self) -> None:
        """A gate that does not hold is a loss, whoever caused it; to call it unexplained accuses nobody."""
        for head, name in enumerate(self.heads):
            for cell in self.cells:
                if name in self.gates and cell.int8 and cell.errors.shape[1]:
                    nmse = cell.errors[head].mean(axis=0).sum() / self.energy[head].sum()
                    # Stored as float32, an error at the gate may lie on either side of it.
                    if nmse > 0.999 * self.gates[name]:
                        self._allow(cell.id, name, ("unexplained_loss",))

    def _allow(self, cell: str, head: str, kinds: Iterable[str]) -> None:
        self.allowed[cell, head] = self.allowed.get((cell, head), frozenset()) | frozenset(kinds)

    def _mean_one(self, sd: float, size: tuple[int, ...]) -> Floats:
        """Returns ln of factors whose mean is 1."""
        return self.generator.normal(0, sd, size) - sd**2 / 2 if sd else np.zeros(size)


def drawn_design(generator: np.random.Generator, repeats: int, *, small: bool = False) -> Design:
    """Returns a design as people have them; few are large, for the sake of time."""
    return Design(
        versions=int(generator.choice((2, 3, 5, 12, 40), p=(0.25, 0.25, 0.36, 0.12, 0.02)))
        if not small
        else int(generator.choice((2, 3, 5))),
        heads=int(generator.choice((1, 3, 9), p=(0.4, 0.5, 0.1))) if not small else 3,
        images=int(generator.choice((4, 8, 16, 32, 64, 128))),
        repeats=repeats,
    )


def all_passes(
    world: World,
    builds: Mapping[str, Builds],
    *,
    passes: Iterable[str] = (SHARED,),
    jitter: float | None = None,
    table_spread: float = 0.03,
) -> None:
    """Measures these passes in every version, with nothing wrong in any."""
    if "t" not in world.simulations:
        world.table("t")
    for version in world.versions:
        if f"own-{version}" not in world.simulations and any("own" in pass_ for pass_ in passes):
            world.table(f"own-{version}", LIMIT, table_spread)
        for pass_ in passes:
            if not pass_.startswith("int8"):
                nmse = {"fp32": 1e-12, "tf32": 2e-7, "fp16": 1e-6}[pass_]
                world.cell(version, pass_, None, builds[version], nmse=nmse, jitter=jitter)
                continue
            table = f"own-{version}" if "-own" in pass_ else "t"
            world.cell(version, pass_, table, builds[version], jitter=jitter, share=1.0)


def some_passes(world: World) -> tuple[str, ...]:
    """Returns passes as people have them."""
    generator = world.generator
    if world.design.versions * world.design.heads > 30:
        return (SHARED,)
    more = [one for one in ("fp32", "fp16", "tf32", OWN, IMPLICIT) if generator.random() < 0.35]
    if world.fixed:
        more = [one for one in more if one != IMPLICIT]
    return (SHARED, *more)


__all__ = [
    "BASELINE", "DB", "IMPLICIT", "IMPLICIT_OWN", "LIMIT", "OWN", "SAME_BITS", "SHARED", "Builds",
    "Design", "World", "all_passes", "drawn_design", "some_passes",
]  # fmt: skip
