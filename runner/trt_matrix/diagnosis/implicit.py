"""Holds the implicit builds of a run against simulations of their tables, and finds what to hold."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from trt_matrix.core.diagnosis.carried import (
    ResizingBuilds,
    ResizingRanges,
    carried,
    implicit,
    smallest,
)
from trt_matrix.core.diagnosis.engine_loss import (
    SeenBuild,
    by_position,
    given_on,
    of_choices,
    of_position,
)
from trt_matrix.core.diagnosis.quantisers import State, quantised
from trt_matrix.core.diagnosis.record import LEAST_DB, EngineLoss
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.metrics import metrics
from trt_matrix.core.network.graph import GraphError
from trt_matrix.diagnosis.evaluation import Evaluation
from trt_matrix.diagnosis.simulator import Simulator
from trt_matrix.diagnosis.subject import ImplicitBuild, Subject, Told
from trt_matrix.store.results import Store

ENOUGH_DB = LEAST_DB / 2
"""A set is enough to hold where no head keeps so much less than with everything held."""


def engine_loss(
    subject: Subject, images: Sequence[int], store: Store, told: Told
) -> EngineLoss | None:
    """Returns what implicit builds lose beyond 8 bits; None where there are none, or nothing is lost.

    Every build is held against its own table, whichever is diagnosed; errors are over `images`, the measured
    ones too.
    """
    builds = subject.builds
    if builds is None:
        return None
    tables: dict[object, list[ImplicitBuild]] = {}
    for built in builds.built:
        tables.setdefault((built.table.digest, repr(built.options)), []).append(built)
    simulated = []
    for same in tables.values():
        try:
            simulated.append(_OfTable(subject, same, images, store, told))
        except GraphError:
            continue  # a table of no tensor that Q/DQ would need: nothing to hold its builds against
    ways = [way for table in simulated for way in table.ways()]
    if not any(way.loses for way in ways):
        return None
    if all(way.explained(head) for way in ways for head in way.loses):
        return _given_on([table for table in simulated if table.loses], ways, len(images))
    lost = {head for way in ways for head in way.loses}
    chosen = [choice for choice in builds.choices if choice.head in lost]
    if lost == {choice.head for choice in chosen}:
        return of_choices(ways, chosen, len(images))
    seen = [build for table in simulated for build in table.seen()]
    return of_position(ways, by_position(builds.network, seen), len(images))


class _OfTable:
    """The builds with one table."""

    def __init__(
        self,
        subject: Subject,
        builds: Sequence[ImplicitBuild],
        images: Sequence[int],
        store: Store,
        told: Told,
    ) -> None:
        self.builds, self.images = builds, images
        self.table, self.name = builds[0].table, builds[0].table_name
        # Boxes are not asked for: what is looked for is where the error comes from.
        mine = dataclasses.replace(
            subject, table=self.table, options=builds[0].options, decode=None, labels=None
        )
        self.found = quantised(mine.model, mine.table, mine.options)
        simulator = Simulator(self.found, [tensor for _, tensor in mine.heads])
        self.evaluation = Evaluation(mine, simulator, store, told)
        self.resizings = carried(self.found, self.table)
        self._known: dict[State, Mapping[str, float]] = {}

    def ways(self) -> list[ResizingBuilds]:
        groups: dict[tuple[frozenset[str], frozenset[str]], list[ImplicitBuild]] = {}
        for build in self.builds:
            groups.setdefault((self._in_int8(build), self._held(build)), []).append(build)
        qdq = self._db(self.found.state)
        return [
            ResizingBuilds(
                table=self.name,
                digest=self.table.digest,
                cells=tuple(built.cell for built in same),
                in_int8=tuple(resizing for resizing in self.resizings if resizing.layer in in_int8),
                held=held,
                measured={
                    head: kept for head in self.evaluation.heads if (kept := self._kept(same, head))
                },
                qdq=qdq,
                given_on=self.given_on(in_int8),
                all_held=self.given_on(()),
            )
            for (in_int8, held), same in groups.items()
        ]

    @property
    def loses(self) -> bool:
        return any(way.loses for way in self.ways())

    def given_on(self, in_int8: Collection[str]) -> Mapping[str, float]:
        """Returns head → dB, with these resizings in int8 and each tensor's own range."""
        chosen = [resizing for resizing in self.resizings if resizing.layer in in_int8]
        return self._db(implicit(self.found, self.table, chosen))

    def _db(self, state: State) -> Mapping[str, float]:
        if state not in self._known:
            what = f"implicit builds with the table {self.name}"
            worst = {head: [0] for head in self.evaluation.heads}
            evaluated = self.evaluation.evaluate([state], self.images, what, worst=worst)
            heads = evaluated.errors(state).heads
            self._known[state] = {head: _of(errors.nmse) for head, errors in heads.items()}
        return self._known[state]

    def seen(self) -> list[SeenBuild]:
        qdq = self._db(self.found.state)
        return [
            SeenBuild(
                table=self.table.digest,
                ran=build.ran,
                lost=frozenset(
                    head
                    for head in build.sums
                    if self._measured(build, head) <= qdq[head] - LEAST_DB
                ),
            )
            for build in self.builds
        ]

    def _kept(self, builds: Sequence[ImplicitBuild], head: str) -> tuple[float, ...]:
        """Returns what each kept; nothing where a build lacks the head, or no error can be told in dB of any.

        That is so of NaN, and of a head that is all zeros in the reference: neither says what lost it.
        """
        if not all(head in build.sums for build in builds):
            return ()
        kept = tuple(self._measured(build, head) for build in builds)
        return () if -math.inf in (*kept, self._db(self.found.state)[head]) else kept

    def _measured(self, built: ImplicitBuild, head: str) -> float:
        return _of(metrics(built.sums[head][self.images]).nmse)

    def _in_int8(self, built: ImplicitBuild) -> frozenset[str]:
        """Of a build that does not tell its layers, all: what is measured says whether that is so."""
        return frozenset(r.layer for r in self.resizings if built.ran.get(r.layer, INT8) == INT8)

    def _held(self, built: ImplicitBuild) -> frozenset[str]:
        return frozenset(r.layer for r in self.resizings if built.held & {r.layer, r.target})


def _given_on(
    losing: Sequence[_OfTable], ways: Sequence[ResizingBuilds], images: int
) -> EngineLoss:
    """Looks for the smallest set that is enough with every table whose builds lose."""
    may: dict[str, ResizingRanges] = {}
    for way in ways:
        may |= {resizing.layer: resizing for resizing in way.in_int8 if way.loses}

    def kept(held: frozenset[str]) -> list[Mapping[str, float]]:
        return [table.given_on(may.keys() - held) for table in losing]

    best = kept(frozenset(may))

    def holds(held: frozenset[str]) -> bool:
        return all(
            db >= most[head] - ENOUGH_DB
            for of_table, most in zip(kept(held), best, strict=True)
            for head, db in of_table.items()
        )

    held = smallest(may.values(), holds)
    tables = kept(held)
    held_db = {head: min(table[head] for table in tables) for head in tables[0]}
    return given_on(ways, held, held_db, images)


def _of(nmse: float | None) -> float:
    """Returns dB of a relative error; infinite where nothing is lost."""
    if nmse is None:
        return -math.inf
    return math.inf if nmse == 0 else -10 * math.log10(nmse) if math.isfinite(nmse) else -math.inf
