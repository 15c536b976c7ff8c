"""What implicit builds lose beyond the simulation of their table, and which layers to hold for it.

Three kinds of evidence, the strongest that there is:

1. Resizings whose integers are given on (`carried`), where that loses what was measured.
2. Layers whose choice of precision goes along with the error, where builds of a table differ (`layers.choices`).
3. Position: layers in int8 behind which every head is lost, in every build of the table that ran them so.
   A convolution adds integers exactly, so layers that multiply, and what is fused into them, are not suspected.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.diagnosis.carried import (
    ResizingBuilds,
    ResizingRanges,
    sound_with_equal_ranges,
)
from trt_matrix.core.diagnosis.record import EngineLoss, ImplicitBuilds, Resizing
from trt_matrix.core.diagnosis.tool_settings import elsewhere
from trt_matrix.core.layers.choices import Choice
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import Ran
from trt_matrix.core.network.network_map import NetworkMap
from trt_matrix.core.network.operators import MACS, POINTWISE
from trt_matrix.core.words import count, listed, span


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenBuild:
    """One build, as far as position tells anything of it."""

    table: str
    ran: Ran
    lost: frozenset[str]
    """Heads."""


def by_position(network: NetworkMap, builds: Sequence[SeenBuild]) -> tuple[str, ...]:
    """Returns the layers that may lose the heads that are lost, by where they stand.

    Of a build that lost something: those it ran in int8, that neither multiply nor are fused into what
    does, and that no build with its table ran in int8 without losing every head behind them.
    """
    suspects: set[str] = set()
    for table in {build.table for build in builds}:
        losing: set[str] = set()
        cleared: set[str] = set()
        for build in builds:
            for part, layer in network.layers:
                if build.table == table and build.ran.get(layer.name) == INT8:
                    if not build.lost.issuperset(part.heads):
                        cleared.add(layer.name)
                    elif part.heads and layer.operator not in MACS | POINTWISE:
                        losing.add(layer.name)
        suspects |= losing - cleared
    return tuple(layer.name for _, layer in network.layers if layer.name in suspects)


def given_on(
    ways: Sequence[ResizingBuilds], held: Collection[str], held_db: Mapping[str, float], images: int
) -> EngineLoss:
    """Returns a loss that integers given on explain.

    `held_db` is head → the least that it keeps, with the resizings `held` and any table whose builds lost,
    simulated.
    """
    unlike: dict[str, ResizingRanges] = {}
    for way in ways:
        for carried in way.in_int8 if way.loses else ():
            if carried.layer in held and carried.apart >= unlike.get(carried.layer, carried).apart:
                unlike[carried.layer] = carried
    layers = tuple(each.layer for each in sorted(unlike.values(), key=lambda each: each.place))
    tested = [way for way in ways if way.held.issuperset(layers)]
    lost = _lost(ways)
    it, its = ("it", "its") if len(layers) == 1 else ("them", "their")
    predicted = listed([f"{head} {held_db[head]:.1f} dB" for head in lost])
    if tested:
        kept = {head: [db for way in tested for db in way.measured[head]] for head in lost}
        proof = (
            f"{count(sum(len(way.cells) for way in tested), 'build')} that held {it} kept "
            f"{listed([f'{head} {span(db)} dB' for head, db in kept.items()])}, measured."
        )
    else:
        proof = "A run with these `fp32_layers` has to prove it."
    equal = sound_with_equal_ranges(ways)
    sound = f"{count(equal, 'build')} with equal ranges lost nothing"
    sentence = (
        f"{_beyond(ways)}. That is what is lost where a resizing in int8 gives on the integers of its input, "
        f"and they are read at its output's scale: {_worst(ways)}. With {listed(layers)} held in floating point "
        f"{predicted} are simulated. {proof} One range in the table for {its} input and output does the "
        f"same ({sound if equal else 'not measured here'})."
    )
    resizings = [unlike[layer] for layer in layers]
    why = "integers given on"
    return _record(why, layers, ways, images, sentence, resizings=resizings, held_db=held_db)


def of_choices(
    ways: Sequence[ResizingBuilds], choices: Sequence[Choice], images: int
) -> EngineLoss:
    """Returns a loss that goes along with what builds chose to run in int8."""
    layers = tuple(dict.fromkeys(layer for choice in choices for layer in choice.layers))
    differences = "; ".join(
        f"{choice.head} keeps {span(choice.worse_db)} dB in builds with {listed(choice.layers)} in int8, "
        f"{span(choice.better_db)} dB in those without"
        + (f" ({len(choice.held_db)} because it was held)" if choice.held_db else "")
        for choice in choices
    )
    sure = (
        "That was tested by holding."
        if all(choice.held_db for choice in choices)
        else "A run with these `fp32_layers` has to prove it."
    )
    text = f"{_beyond(ways)}. No simulation explains it, but builds differ: {differences}. {sure}"
    return _record("builds differ", layers, ways, images, text)


def of_position(ways: Sequence[ResizingBuilds], layers: Sequence[str], images: int) -> EngineLoss:
    """Returns a loss of which the place alone is known."""
    text = f"{_beyond(ways)}, and no simulation explains it. "
    if layers:
        text += (
            f"By position alone {listed(layers)} may be to blame: in int8, and every head behind "
            f"{'it' if len(layers) == 1 else 'them'} is lost. That is a suspicion: a run with these "
            "`fp32_layers` tells."
        )
    else:
        text += (
            "What its builds ran in int8 is not told, or no layer stands before just the lost heads: write the "
            "table as Q/DQ nodes, or hold layers (`fp32_layers`) by halves."
        )
    return _record("position", tuple(layers), ways, images, text)


def _record(
    why: str,
    layers: tuple[str, ...],
    ways: Sequence[ResizingBuilds],
    images: int,
    sentence: str,
    *,
    resizings: Iterable[ResizingRanges] = (),
    held_db: Mapping[str, float] | None = None,
) -> EngineLoss:
    return EngineLoss(
        heads=_lost(ways),
        why=why,
        layers=layers,
        resizings=tuple(
            Resizing(
                layer=resizing.layer,
                source=resizing.source,
                target=resizing.target,
                source_range=resizing.source_range,
                target_range=resizing.target_range,
            )
            for resizing in resizings
        ),
        ways=tuple(
            ImplicitBuilds(
                table=way.table,
                table_sha256=way.digest,
                cells=way.cells,
                in_int8=tuple(carried.layer for carried in way.in_int8),
                held=tuple(sorted(way.held)),
                measured_db={head: tuple(map(_finite, db)) for head, db in way.measured.items()},
                qdq_db={head: _finite(db) for head, db in way.qdq.items()},
                given_on_db={head: _finite(db) for head, db in way.given_on.items()},
            )
            for way in ways
        ),
        held_db={head: _finite(db) for head, db in (held_db or {}).items()},
        images=images,
        sentence=sentence,
        elsewhere=elsewhere(layers, {}) if layers else None,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _lost(ways: Sequence[ResizingBuilds]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(head for way in ways for head in way.loses))


def _beyond(ways: Sequence[ResizingBuilds]) -> str:
    """Returns how much is lost, of each head where it is most."""
    losses = []
    for head in _lost(ways):
        way = max(
            (builds for builds in ways if builds.lost(head)),
            key=lambda builds: builds.qdq[head] - min(builds.measured[head]),
        )
        losses.append(
            f"{head} keeps {min(way.measured[head]):.1f} dB where Q/DQ nodes with its table "
            f"({way.table}) keep {way.qdq[head]:.1f} dB"
        )
    return f"Implicit builds lose what 8 bits and the table do not: {listed(losses)}"


def _worst(ways: Sequence[ResizingBuilds]) -> str:
    """Returns how near the simulation comes where it is farthest."""
    rows = [
        (abs(measured - way.given_on[head]), head, measured, way.given_on[head])
        for way in ways
        for head in way.loses
        if way.explained(head)
        for measured in way.measured[head]
    ]
    apart, head, measured, simulated = max(rows)
    return f"simulated so, every number comes within {apart:.2f} dB ({head} {simulated:.1f} for {measured:.1f} dB)"
