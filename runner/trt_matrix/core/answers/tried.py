"""What cells of a run show to be better than one of them: each way out with its cell, its numbers, its command.

Of every environment and device the cell is looked at that its users would deploy: of each way to int8 that with
the shared table, else with the network's own scales, else with the first own table.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trt_matrix.core.answers.kept import bad_heads, beyond_builds, gain, of_cell, of_errors
from trt_matrix.core.answers.simulated import Simulated
from trt_matrix.core.answers.speaking import table_name
from trt_matrix.core.answers.speed import timed_together
from trt_matrix.core.cells import CellPlace, Pass, TableSource
from trt_matrix.core.collecting import grouped
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.fix import Basis, Fix, FixKind, KeptQuality
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import named_layers
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import count, listed

MATRIX_ALGORITHMS = frozenset({"entropy", "minmax", "percentile", "mse", "robust", "best"})
"""What `calibration.shared` of matrix.yaml may be, beside a file."""
OF_VERSION = frozenset(
    {Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION, Kind.CALIBRATOR_REGRESSION}
)
ORDER = (TableSource.SHARED, TableSource.SHIPPED, TableSource.OWN, None)
NAMED = 4
"""Layers and environments that are named."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """All that is known of a run, where ways out are looked for."""

    judgement: Judgement
    simulated: Simulated = field(default_factory=Simulated)

    @functools.cached_property
    def cells(self) -> tuple[CellResult, ...]:
        """Those in int8 that ran."""
        return tuple(
            result
            for result in self.judgement.cells
            if result.status.ok and result.heads and result.pass_.is_int8
        )

    @functools.cached_property
    def by_id(self) -> Mapping[str, CellResult]:
        return {result.id: result for result in self.cells}

    @functools.cached_property
    def _by_place(self) -> Mapping[CellPlace, Sequence[CellResult]]:
        return grouped((result.place, result) for result in self.cells)

    @functools.cached_property
    def _by_pass(self) -> Mapping[tuple[Pass, str], Sequence[CellResult]]:
        return grouped(((result.pass_, result.device), result) for result in self.cells)

    def deployed(self) -> tuple[CellResult, ...]:
        """Returns the cells that others are held against, in the order of the plan."""
        ways = grouped(
            ((result.place, result.pass_.implicit), result)
            for result in self.cells
            if not result.pass_.mixed
        )
        return tuple(
            min(results, key=lambda result: ORDER.index(result.pass_.source))
            for results in ways.values()
        )

    def beside(self, now: CellResult) -> Iterator[CellResult]:
        """Yields the other cells of the same environment and device."""
        yield from (result for result in self._by_place[now.place] if result is not now)

    def elsewhere(self, now: CellResult) -> Iterator[CellResult]:
        """Yields the cells of the same pass and device in other environments."""
        pass_ = self._by_pass[now.pass_, now.device]
        yield from (result for result in pass_ if result is not now)

    def table(self, result: CellResult) -> str:
        return self.simulated.tables.get(result.id, "")


def tried(now: CellResult, known: RunFacts) -> Iterator[Fix]:
    """Yields what cells of the run, or exact arithmetic with other tables of it, keep in place of one cell."""
    yield from _tables(now, known)
    yield from _weights(now, known)
    yield from _layers(now, known)
    yield from _versions(now, known)
    yield from _ways(now, known)


# Tables and weights


def _tables(now: CellResult, known: RunFacts) -> Iterator[Fix]:
    pass_ = now.pass_
    if pass_.source is TableSource.SHIPPED:
        return
    fixes = []
    for other in known.beside(now):
        theirs = other.pass_
        if theirs.mixed or theirs.source is TableSource.SHIPPED:
            continue
        if replace(theirs, source=pass_.source, algorithm=pass_.algorithm) == pass_:
            # Of the algorithm in use it is the environment's own: no setting makes it the shared one.
            command = "" if theirs.algorithm == pass_.algorithm else _shared(theirs.algorithm)
            fixes.append(measured(FixKind.TABLE, _called(other, now), now, other, command))
    yield from fixes
    bad = bad_heads(now)
    if not any(gain(fix.now, fix.reaches, bad).worth for fix in fixes):
        yield from _simulated_tables(now, known, bad)


def _simulated_tables(now: CellResult, known: RunFacts, bad: Sequence[str]) -> Iterator[Fix]:
    """Yields the table of which exact arithmetic keeps most in the same placement."""
    before, kept = of_cell(now), []
    for (where, table), errors in known.simulated.errors.items():
        algorithm = known.simulated.algorithms.get(table)
        if where == _placement(now) and table != known.table(now) and algorithm is not None:
            reaches = of_errors(errors, now)
            kept.append((gain(before, reaches, bad).best_db, algorithm, reaches))
    if kept:
        _, algorithm, reaches = max(kept, key=lambda table: table[:2])
        same = algorithm == now.pass_.algorithm
        yield Fix(
            kind=FixKind.TABLE,
            what=f"the {algorithm} table{' that an environment of this run made' if same else ''}",
            why="in exact arithmetic, with what this engine loses beyond that",
            basis=Basis.SIMULATED,
            now=before,
            reaches=reaches,
            against=now.id,
            command="" if same else _shared(algorithm),
        )


def _called(result: CellResult, now: CellResult) -> str:
    """Returns what a cell's table is called; of the algorithm in use also by whom it was made."""
    algorithm = result.pass_.algorithm
    known = algorithm in MATRIX_ALGORITHMS and algorithm != now.pass_.algorithm
    return f"the {algorithm} table" if known and not result.pass_.implicit else table_name(result)


def _shared(algorithm: str | None) -> str:
    return f"calibration: {{shared: {algorithm}}}" if algorithm in MATRIX_ALGORITHMS else ""


def _weights(now: CellResult, known: RunFacts) -> Iterator[Fix]:
    pass_ = now.pass_
    if not pass_.per_tensor:
        return
    what, command = "weights with a scale a channel", "quantisation: {weights: per_channel}"
    for other in known.beside(now):
        if replace(other.pass_, per_tensor=True) == pass_:
            yield measured(FixKind.WEIGHTS, what, now, other, command)
            return
    key = (now.placed.per_channel.name if now.placed else "", known.table(now))
    if key in known.simulated.errors:
        yield Fix(
            kind=FixKind.WEIGHTS,
            what=what,
            why="with the same table, in exact arithmetic, with what this engine loses beyond that",
            basis=Basis.SIMULATED,
            now=of_cell(now),
            reaches=of_errors(known.simulated.errors[key], now),
            against=now.id,
            command=command,
        )


# Layers in float


def _layers(now: CellResult, known: RunFacts) -> Iterator[Fix]:
    pass_ = now.pass_
    for other in known.beside(now):
        theirs = other.pass_
        if theirs.mixed and replace(theirs, exclude=pass_.exclude, mixed=False) == pass_:
            what = in_float(_added(pass_.exclude, theirs.exclude))
            command = float_command(theirs.exclude, implicit=theirs.implicit)
            fix = measured(FixKind.LAYERS, what, now, other, command)
            yield replace(fix, predicted=_predicted(now, other, known))
    if _held(now):
        return
    for other in known.elsewhere(now):
        held = _held(other)
        if held and other.engine_version == now.engine_version:
            command = float_command(held, implicit=True)
            yield measured(FixKind.LAYERS, in_float(held), now, other, command)


def in_float(layers: Sequence[str]) -> str:
    return f"keep {count(len(layers), 'layer')} in float: {listed(layers, NAMED)}"


def float_command(layers: Iterable[str], *, implicit: bool) -> str:
    names = json.dumps(list(layers), ensure_ascii=False)
    return (
        f"options: {{fp32_layers: {names}}}" if implicit else f"quantisation: {{exclude: {names}}}"
    )


def _added(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    return tuple(layer for layer in after if layer not in before)


def _held(result: CellResult) -> tuple[str, ...]:
    """Returns what the options of its environment hold in fp32."""
    probed = result.facts.get("probed")
    return tuple(sorted(named_layers(probed))) if isinstance(probed, Mapping) else ()


def not_held(result: CellResult, known: RunFacts) -> tuple[str, ...]:
    """Returns the layers that a cell should have kept in float, and that some build of it ran in int8."""
    report = known.judgement.layers
    ways = [way for way in report.ways if result.id in way.cells] if report else []
    return tuple(
        layer
        for layer in result.pass_.exclude
        if any(way.precisions.get(layer) == INT8 for way in ways)
    )


def _predicted(now: CellResult, mixed: CellResult, known: RunFacts) -> KeptQuality | None:
    """Returns what was simulated of the very set that a cell ran with; None where nothing was."""
    errors = known.simulated.errors.get((_placement(mixed), known.table(mixed)))
    heads = of_errors(errors, mixed).sqnr_db if errors else {}
    diagnosis, drop = known.judgement.diagnosis, None
    if diagnosis and diagnosis.search.chosen and is_of(diagnosis, now, known):
        chosen, confirmed = diagnosis.search.chosen, diagnosis.search.confirmed
        if set(chosen.layers) == set(_added(now.pass_.exclude, mixed.pass_.exclude)):
            last = confirmed or chosen
            heads = heads or {name: head.sqnr_db for name, head in last.heads.items()}
            drop = last.whole.ap_drop
    return KeptQuality(sqnr_db=heads, ap_drop=drop) if heads else None


def is_of(diagnosis: Diagnosis, now: CellResult, known: RunFacts) -> bool:
    """Whether a diagnosis is of a cell's table and placement."""
    return (diagnosis.placement, diagnosis.table_sha256) == (_placement(now), known.table(now))


def _placement(result: CellResult) -> str:
    return result.placed.name if result.placed else ""


# Versions and ways


def _versions(now: CellResult, known: RunFacts) -> Iterator[Fix]:
    """Yields the environments that are better in the same pass, where a test says that this version is worse.

    Or, of the baseline, which no test compares with others: those that are better with 95 % of certainty.
    """
    better = [
        result
        for result in known.elsewhere(now)
        if _held(result) == _held(now) and _is_better(result, now, known.judgement)
    ]
    if not better:
        return
    better.sort(
        key=lambda result: (
            result.environment != known.judgement.baseline,
            [-value for value in _order(now, result)],
        )
    )
    names = listed([result.environment for result in better], NAMED)
    what = names if len(better) == 1 else f"one of {names}"
    fix = measured(FixKind.VERSION, what, now, better[0], "")
    yield replace(fix, cells=tuple(result.id for result in better))


def _is_better(other: CellResult, now: CellResult, judgement: Judgement) -> bool:
    """Whether another version keeps more of some bad head, by a test, and is not shown to be alike there."""
    for head in now.heads:
        theirs = other.head(head.head)
        if head.head not in bad_heads(now) or theirs is None:
            continue
        alike = any(
            {now.environment, other.environment} <= set(equivalence.environments)
            for equivalence in judgement.equal
            if (equivalence.head, equivalence.pass_, equivalence.device)
            == (head.head, now.pass_.name, now.device)
        )
        if now.environment == judgement.baseline:
            told = any(
                verdict.kind is Kind.OK
                and verdict.against == now.id
                and verdict.effect
                and verdict.effect.high_db < 0
                for verdict in theirs.verdicts
            )
        else:
            suspected = {verdict.suspected for verdict in theirs.verdicts}
            told = bool(head.kinds & OF_VERSION) and not (theirs.kinds | suspected) & OF_VERSION
        if told and not alike and beyond_builds(now, other, [head.head]) is not False:
            return True
    return False


def _ways(now: CellResult, known: RunFacts) -> Iterator[Fix]:
    pass_ = now.pass_
    if not pass_.implicit:
        return
    others = [
        result
        for result in known.beside(now)
        if not result.pass_.implicit and not result.pass_.mixed
    ]
    table = (pass_.source, pass_.algorithm)
    same = [result for result in others if (result.pass_.source, result.pass_.algorithm) == table]
    best = max(same or others, key=lambda result: _order(now, result), default=None)
    if best:
        what = "Q/DQ nodes in place of implicit scales"
        yield measured(FixKind.WAY, what, now, best, "trt-matrix migrate CACHE -o qdq.onnx")


def _order(now: CellResult, other: CellResult) -> tuple[float, ...]:
    return gain(of_cell(now), of_cell(other), bad_heads(now)).order


def measured(kind: FixKind, what: str, now: CellResult, other: CellResult, command: str) -> Fix:
    """Returns what another cell shows."""
    alone = beyond_builds(now, other, bad_heads(now))
    single = not all(result.fixed or result.repeats > 1 for result in (now, other))
    why = "one build says nothing of the next" if alone is None and single else ""
    reaches = of_cell(other)
    batches = {result.latency.batch for result in (now, other) if result.latency}
    if len(batches) > 1 or not timed_together(now, other):
        reaches = replace(reaches, latency_s=None)
    return Fix(
        kind=kind,
        what=what,
        why=why,
        basis=Basis.MEASURED,
        now=of_cell(now),
        reaches=reaches,
        against=now.id,
        cells=(other.id,),
        command=command,
    )
