"""What it says of a head when its table moves from implicit int8 to Q/DQ nodes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trt_matrix.core.answers.sentences import up
from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import LayerReport
from trt_matrix.core.verdicts.bridges import Bridge, BridgeOutcome
from trt_matrix.core.words import count, listed, span

MOST = 3
"""Environments and layers that a sentence names."""


def with_bridges(judgement: Judgement) -> Judgement:
    """Returns the judgement with sentences for each head whose table ran both ways."""
    told = dict(judgement.sentences)
    for head in judgement.heads:
        said = bridge_sentences(
            [bridge for bridge in judgement.bridges if bridge.head == head], judgement.layers
        )
        if said:
            told[head] = " ".join(filter(None, (told.get(head, ""), *said)))
    return replace(judgement, sentences=told)


def bridge_sentences(bridges: Iterable[Bridge], layers: LayerReport | None = None) -> Sequence[str]:
    """Says whether Q/DQ loses the same as implicit int8, or by how much not, and behind which layers."""
    groups: dict[tuple[BridgeOutcome, tuple[str, str]], list[Bridge]] = {}
    for bridge in bridges:
        groups.setdefault((bridge.outcome, bridge.passes), []).append(bridge)
    return [_sentence(outcome, ones, layers) for (outcome, _), ones in groups.items()]


def _sentence(outcome: BridgeOutcome, ones: Sequence[Bridge], layers: LayerReport | None) -> str:
    implicit, explicit = ones[0].passes
    where = listed(distinct(map(_where, ones)), MOST)
    builds = count(min(bridge.builds for bridge in ones), "build")
    within = (
        f"{up(max(bridge.within_db for bridge in ones))} dB"
        if outcome is not BridgeOutcome.UNKNOWN
        else ""
    )
    if outcome is BridgeOutcome.SAME:
        bits = all(bridge.same_bits for bridge in ones)
        how = "to the bit" if bits else f"within {within} (95 %)"
        return (
            f"Moved to Q/DQ the table loses the same: {explicit} and {implicit} agree in {where} {how}, "
            f"{builds} each."
        )
    if outcome is BridgeOutcome.UNKNOWN:
        return (
            f"Whether the table loses the same by Q/DQ is not known in {where}: {builds} of {explicit} or "
            f"{implicit} does not tell how builds differ; more repeats do."
        )
    if outcome is BridgeOutcome.UNDECIDED:
        return (
            f"Whether the table loses the same by Q/DQ is not decided: {explicit} and {implicit} may be up to "
            f"{within} apart in {where} (95 %), {builds} each; more repeats or images tell."
        )
    way = "loses" if outcome is BridgeOutcome.WORSE else "keeps"
    by = span(abs(bridge.worse_db) for bridge in ones)
    least = min(min(abs(bridge.low_db), abs(bridge.high_db)) for bridge in ones)
    most = max(max(abs(bridge.low_db), abs(bridge.high_db)) for bridge in ones)
    behind = _behind(ones, layers) if layers else ""
    return (
        f"Moved to Q/DQ the table {way} {by} dB more: {explicit} against {implicit} in {where} "
        f"({least:.1f} to {most:.1f}, 95 %), {builds} each{behind}."
    )


def _where(bridge: Bridge) -> str:
    implicit, explicit = bridge.environments
    return explicit if implicit == explicit else f"{explicit} (implicit in {implicit})"


def _behind(ones: Sequence[Bridge], layers: LayerReport) -> str:
    """Returns which layers of the head ran in int8 in all builds of one side, and in none of the other."""
    cone = [layer.name for part, layer in layers.network.layers if ones[0].head in part.heads]
    sides = {cell: [getattr(bridge, cell) for bridge in ones] for cell in ("implicit", "explicit")}
    parts = []
    for mine, other, called in (
        ("implicit", "explicit", "implicit int8"),
        ("explicit", "implicit", "Q/DQ"),
    ):
        alone = [
            name
            for name in cone
            if all(_ran(layers, cell, name) == {INT8} for cell in sides[mine])
            and all(_never(_ran(layers, cell, name)) for cell in sides[other])
        ]
        if alone:
            parts.append(f"only {called} ran {listed(alone, MOST)} in int8")
    return f"; {' and '.join(parts)}" if parts else ""


def _ran(layers: LayerReport, cell: str, layer: str) -> set[str | None]:
    return {way.precisions.get(layer) for way in layers.ways if cell in way.cells}


def _never(ran: set[str | None]) -> bool:
    """Whether it is known of every build that a layer did not run in int8."""
    return bool(ran) and None not in ran and INT8 not in ran
