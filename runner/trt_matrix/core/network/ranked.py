"""Heads whose rows a ranking decides, and what of the network could be compared in their place.

Element by element, a row that moves by one rank is a whole error, whatever little moved it. What is
followed, from the inputs on: which tensors hold rows in the order of some ranking (TopK,
NonMaxSuppression, plugins known by name), which hold positions chosen by one, and where something is
gathered by such positions. So a ranking that a head does not depend on, or that depends on no input
(one in the arithmetic of shapes), does not count, nor does an ArgMax that gives a class its number.

A ranking whose axis is summed away before the head is a gate: TopK over experts or channels, whose
winners are then added or convolved. There every element keeps its place, so such a head stays
compared; a winner that changes moves it by a jump, which is a real error of the output, and it is
told that there is such a gate. The same holds where what was gathered is scattered back.

Where shapes do not tell what became of the axis, rows are taken as ranked: to say of a ranked head
that 8 bits are not enough accuses where nothing is wrong, to leave one out says what to name instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
import onnx.inliner
from onnx import numpy_helper

from trt_matrix.core.manifest import Ranked
from trt_matrix.core.network import graph, ordering, shapes
from trt_matrix.core.network.ranking_operators import (
    CHOOSING,
    FINDING,
    GATHERING,
    MIXED,
    SCATTERING,
    VALUELESS,
    axis_after,
    is_standard,
    only_first,
    rank_of,
    ranks,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rankings:
    """What rankings do to the heads of a network."""

    rows: Mapping[str, Ranked]
    """Head → the ranking that decides its rows; heads of fixed places are left out."""
    gates: Mapping[str, Ranked]
    """Other heads → a ranking that chooses what is mixed into them."""


@dataclass(frozen=True, slots=True)
class _Source:
    order: int
    node: str
    operator: str


@dataclass(frozen=True, slots=True)
class _Row:
    """How a tensor's rows follow a ranking."""

    axis: int | None
    gathered: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Trace:
    """What is known of a tensor that depends on the network's input; others have none."""

    rows: Mapping[_Source, _Row] = field(default_factory=dict)
    picks: Mapping[_Source, tuple[str, ...]] = field(default_factory=dict)
    """Rankings of whose winners it holds the positions → what they ranked."""
    mixed: Mapping[_Source, _Row] = field(default_factory=dict)
    """Rankings whose axis was summed away."""


@dataclass(slots=True)
class _Scope:
    """A graph, or the body of an If or a Loop."""

    parent: "_Scope | None"
    traces: dict[str, _Trace] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    formal: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Input of a body → the tensors of `parent` that it is."""
    name: str = ""

    def trace(self, tensor: str) -> _Trace | None:
        if tensor in self.traces:
            return self.traces[tensor]
        if tensor in self.makers or self.parent is None:
            return None
        return self.parent.trace(tensor)


def rankings(model: onnx.ModelProto, heads: Iterable[tuple[str, str]]) -> Rankings:
    """Returns what rankings do to each head.

    A (head, output tensor) that the network does not have is ranked by nothing.

    Raises:
        graph.GraphError: its shapes contradict each other.
    """
    flow = _Flow(model)
    rows, gates = {}, {}
    for head, tensor in heads:
        trace = flow.main.trace(tensor)
        if trace and trace.rows:
            rows[head] = _stored(trace.rows)
        elif trace and trace.mixed:
            gates[head] = _stored(trace.mixed)
    return Rankings(rows=rows, gates=gates)


def _stored(rows: Mapping[_Source, _Row]) -> Ranked:
    last = max(rows, key=lambda source: source.order)
    every = [rows[source] for source in sorted(rows, key=lambda source: -source.order)]
    before = [name for row in every for name in row.gathered]
    before += [name for row in every for name in row.scored]
    return Ranked(operator=last.operator, node=last.node, before=tuple(dict.fromkeys(before)))


class _Flow:
    """Follows rankings from a network's inputs to all its tensors."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._own = {tensor for node in model.graph.node for tensor in node.output}
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        model = graph.named(model)
        self._known = shapes.inferred(model)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and (value := graph.attribute(node, "value")) is not None:
                self._constants[node.output[0]] = value  # type: ignore[assignment]
        self._sources: dict[tuple[str, str], _Source] = {}
        self._inputs = {tensor.name for tensor in graph.inputs(model)}
        self.main = _Scope(None, {name: _Trace() for name in self._inputs})
        self._run(model.graph.node, self.main)

    def _run(self, nodes: Iterable[onnx.NodeProto], scope: _Scope) -> None:
        for node in nodes:
            scope.makers.update((name, node) for name in node.output if name)
            for name, trace in zip(node.output, self._after(node, scope), strict=True):
                if name and trace is not None:
                    scope.traces[name] = trace

    def _after(self, node: onnx.NodeProto, scope: _Scope) -> Sequence[_Trace | None]:
        """Returns what is known of each output of a node."""
        if bodies := [body for body in ordering.inner_graphs(node) if body.node]:
            return self._controlled(node, bodies, scope)
        given = {
            place: trace
            for place, name in enumerate(node.input)
            if name and (trace := scope.trace(name)) is not None
        }
        if not given or (node.op_type in VALUELESS and is_standard(node)):
            return [None] * len(node.output)
        if is_standard(node) and node.op_type in GATHERING and 1 in given:
            trace = self._gathered(node, given, scope)
        elif is_standard(node) and node.op_type in SCATTERING and _chosen(given.get(1)):
            kept = self._carried(node, {0: given[0]} if 0 in given else {})
            others = [given[place] for place in given if place]
            summed = [_Trace(mixed={**other.mixed, **other.rows}) for other in others]
            trace = _Trace(kept.rows, kept.picks, _join([kept, *summed]).mixed)
        elif is_standard(node) and node.op_type == "Compress" and 1 in given:
            source = self._source(node, scope)
            taken, scored = (self._nearest(scope, name) for name in node.input[:2])
            row = _Row(_stated_axis(node), taken, scored)
            trace = _join([self._carried(node, given), _Trace({source: row})])
        else:
            trace = self._carried(node, given)
        if ranks(node):
            return self._ranked(node, trace, scope)
        if node.op_type in CHOOSING and is_standard(node):
            scored = self._nearest(scope, node.input[0])
            trace = _join([trace, _Trace(picks={self._source(node, scope): scored})])
        return [trace] * len(node.output)

    def _ranked(self, node: onnx.NodeProto, trace: _Trace, scope: _Scope) -> Sequence[_Trace]:
        source = self._source(node, scope)
        scored = tuple(name for read in node.input if read for name in self._nearest(scope, read))
        if not is_standard(node):
            # What a plugin gives out are rows of what it was given, and how many there are.
            row = _Row(None, gathered=tuple(dict.fromkeys(scored)))
            rows = _join([trace, _Trace({source: row})])
            return [rows] * len(node.output)
        if only_first(node, self._whole):
            first = _join([trace, _Trace(picks={source: scored})])
            return [trace, first][: len(node.output)]
        row = _Row(self._axis_of_ranks(node), scored=scored)
        values = _join([trace, _Trace({source: row})])
        positions = _join([trace, _Trace({source: row}, {source: scored})])
        if node.op_type == "TopK":
            return [values, positions][: len(node.output)]
        if node.op_type == "Unique":
            # Where each value is among the unique ones: at the places of the input.
            inverse = _join([trace, _Trace(picks={source: scored})])
            return [values, positions, inverse, values][: len(node.output)]
        return [positions] * len(node.output)

    def _axis_of_ranks(self, node: onnx.NodeProto) -> int | None:
        if node.op_type in FINDING:
            return 1
        if node.op_type == "NonMaxSuppression":
            return 0
        rank = rank_of(node.input[0], self._known)
        if node.op_type == "Unique":
            axis = _stated_axis(node)
            return 0 if axis is None or rank is None else axis % rank
        last = _stated_axis(node)
        return None if rank is None else (-1 if last is None else last) % rank

    def _carried(self, node: onnx.NodeProto, given: Mapping[int, _Trace]) -> _Trace:
        """Returns what a node makes of its inputs where it neither ranks nor gathers."""
        parts = []
        for place, trace in given.items():
            rows, mixed = {}, dict(trace.mixed)
            for source, row in trace.rows.items():
                axis = axis_after(node, place, row.axis, self._known, self._whole)
                if axis == MIXED:
                    mixed[source] = row
                else:
                    rows[source] = _Row(axis, row.gathered, row.scored)
            parts.append(_Trace(rows, trace.picks, mixed))
        return _join(parts)

    def _gathered(self, node: onnx.NodeProto, given: Mapping[int, _Trace], scope: _Scope) -> _Trace:
        data, index = given.get(0), given[1]
        rank, places = (rank_of(name, self._known) for name in node.input[:2])
        axis = (_stated_axis(node) or 0) % rank if rank else None
        rows: dict[_Source, _Row] = {}
        fresh = data is not None and not data.rows
        taken = self._nearest(scope, node.input[0]) if fresh else ()
        for source, row in index.rows.items():
            where = row.axis
            if node.op_type == "Gather":
                where = None if axis is None or row.axis is None else axis + row.axis
            elif node.op_type == "GatherND" and places is not None and row.axis == places - 1:
                where = None
            picked = taken if source in index.picks else ()
            rows[source] = _Row(where, (*picked, *row.gathered), row.scored)
        for source, scored in index.picks.items():
            # A constant looked up by a position is a label; which rows come out, it does not decide.
            if source not in rows and data is not None:
                rows[source] = _Row(axis, taken, scored)
        parts = [_Trace(rows, {}, index.mixed)]
        if data is not None:
            parts.append(data if node.op_type == "GatherElements" else _unplaced(data))
        return _join(parts)

    def _controlled(
        self, node: onnx.NodeProto, bodies: Sequence[onnx.GraphProto], scope: _Scope
    ) -> list[_Trace | None]:
        """Returns the outputs of If (either branch), Loop and Scan (as many rounds as change something)."""
        traces: list[_Trace | None] = [None] * len(node.output)
        # A Loop's body is given its round and condition first, and gives out the condition first.
        skipped, first = (2, 1) if node.op_type == "Loop" else (0, 0)
        given = list(node.input[skipped:]) if node.op_type in ("Loop", "Scan") else []
        for _ in range(len(given) + 2):
            before = list(traces)
            for body in bodies:
                inner = _Scope(scope, name=node.name or node.op_type)
                formal = [value.name for value in body.input][skipped:] if given else []
                for place, (own, outer) in enumerate(zip(formal, given, strict=False)):
                    inner.formal[own] = (outer,) if outer else ()
                    carried = traces[place] if place < len(traces) else None
                    trace = _maybe(scope.trace(outer) if outer else None, carried)
                    if trace is not None:
                        inner.traces[own] = _unplaced(trace)
                self._run(body.node, inner)
                results = [inner.trace(value.name) for value in body.output][first:]
                traces = [
                    _maybe(known, None if new is None else _unplaced(new))
                    for known, new in zip(traces, (*results, *[None] * len(traces)), strict=False)
                ]
            if traces == before:
                break
        return traces

    def _source(self, node: onnx.NodeProto, scope: _Scope) -> _Source:
        name = node.name or f"{scope.name}/{node.op_type}"
        key = (name, next(iter(node.output), ""))
        return self._sources.setdefault(
            key, _Source(order=len(self._sources), node=name, operator=node.op_type)
        )

    def _nearest(self, scope: _Scope, tensor: str) -> tuple[str, ...]:
        """Returns the nearest floating-point tensors, from `tensor` on backwards, that nothing ranked.

        Of the main graph alone, since others cannot be outputs; and only what depends on the input.
        """
        nearest: dict[str, None] = {}
        seen: set[tuple[int, str]] = set()
        waiting = [(scope, tensor)]
        while waiting:
            here, name = waiting.pop(0)
            trace = here.trace(name)
            if not name or trace is None or trace.rows or (id(here), name) in seen:
                continue
            seen.add((id(here), name))
            if name in here.formal:
                waiting += [(here.parent, outer) for outer in here.formal[name] if here.parent]
            elif name not in here.makers:
                waiting += [(here.parent, name)] if here.parent else []
            elif here.parent is None and name in self._own and self._is_float(name):
                nearest[name] = None
            else:
                waiting += [(here, read) for read in ordering.reads(here.makers[name])]
        return tuple(nearest)

    def _is_float(self, tensor: str) -> bool:
        return tensor not in self._known or "float" in self._known[tensor].dtype

    def _whole(self, tensor: str) -> Sequence[int] | None:
        value = self._constants.get(tensor)
        if value is None or value.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return list(map(int, numpy_helper.to_array(value).ravel()))


def _stated_axis(node: onnx.NodeProto) -> int | None:
    axis = graph.attribute(node, "axis")
    return axis if isinstance(axis, int) else None


def _chosen(trace: _Trace | None) -> bool:
    """Whether positions are those that a ranking chose."""
    return trace is not None and bool(trace.picks or trace.rows)


def _unplaced(trace: _Trace) -> _Trace:
    """Returns the same where nobody knows on which axis: in and out of bodies."""
    rows = {source: _Row(None, row.gathered, row.scored) for source, row in trace.rows.items()}
    return _Trace(rows, trace.picks, trace.mixed)


def _maybe(one: _Trace | None, other: _Trace | None) -> _Trace | None:
    known = [trace for trace in (one, other) if trace is not None]
    return _join(known) if known else None


def _join(traces: Iterable[_Trace]) -> _Trace:
    """Returns what is so by any of them."""
    rows: dict[_Source, _Row] = {}
    picks: dict[_Source, tuple[str, ...]] = {}
    mixed: dict[_Source, _Row] = {}
    for trace in traces:
        for kept, of_trace in ((rows, trace.rows), (mixed, trace.mixed)):
            for source, row in of_trace.items():
                kept[source] = _both(kept[source], row) if source in kept else row
        for source, scored in trace.picks.items():
            picks[source] = tuple(dict.fromkeys((*picks.get(source, ()), *scored)))
    return _Trace(rows, picks, mixed)


def _both(row: _Row, other: _Row) -> _Row:
    return _Row(
        row.axis if row.axis == other.axis else None,
        tuple(dict.fromkeys((*row.gathered, *other.gathered))),
        tuple(dict.fromkeys((*row.scored, *other.scored))),
    )
