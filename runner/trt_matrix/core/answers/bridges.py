"""What it says of a head when its table moves from implicit int8 to Q/DQ nodes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trt_matrix.core.answers.sentences import how_alike, up
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import LayerReport
from trt_matrix.core.verdicts.bridges import Bridge, BridgeOutcome
from trt_matrix.core.words import count, listed, span

MOST = 3
"""Environments and layers that a sentence names."""


def with_bridges(judgement: Judgement) -> Judgement:
    """Returns the judgement with sentences for each head whose table ran both ways."""
    sentences = dict(judgement.sentences)
    of_head = grouped((bridge.head, bridge) for bridge in judgement.bridges)
    for head in judgement.heads:
        if said := bridge_sentences(of_head.get(head, ()), judgement.layers):
            sentences[head] = " ".join(filter(None, (sentences.get(head, ""), *said)))
    return replace(judgement, sentences=sentences)


def bridge_sentences(bridges: Iterable[Bridge], layers: LayerReport | None = None) -> Sequence[str]:
    """Says whether Q/DQ loses the same as implicit int8, or by how much not, and behind which layers."""
    groups = grouped(((bridge.outcome, bridge.passes), bridge) for bridge in bridges)
    return [_sentence(outcome, alike, layers) for (outcome, _), alike in groups.items()]


def _sentence(outcome: BridgeOutcome, bridges: Sequence[Bridge], layers: LayerReport | None) -> str:
    implicit, explicit = bridges[0].passes
    where = listed(distinct(map(_where, bridges)), MOST)
    builds = count(min(bridge.builds for bridge in bridges), "build")
    if outcome is BridgeOutcome.SAME:
        return (
            f"Moved to Q/DQ the table loses the same: {explicit} and {implicit} agree in {where} {how_alike(bridges)}, "
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
            f"{up(max(bridge.within_db for bridge in bridges))} dB apart in {where} (95 %), {builds} each; more repeats or images tell."
        )
    way = "loses" if outcome is BridgeOutcome.WORSE else "keeps"
    by = span(abs(bridge.worse_db) for bridge in bridges)
    ends = [sorted((abs(bridge.low_db), abs(bridge.high_db))) for bridge in bridges]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    behind = _behind(bridges, layers) if layers else ""
    return (
        f"Moved to Q/DQ the table {way} {by} dB more: {explicit} against {implicit} in {where} "
        f"({least:.1f} to {most:.1f}, 95 %), {builds} each{behind}."
    )


def _where(bridge: Bridge) -> str:
    implicit, explicit = bridge.environments
    return explicit if implicit == explicit else f"{explicit} (implicit in {implicit})"


def _behind(bridges: Sequence[Bridge], layers: LayerReport) -> str:
    """Returns which layers of the head ran in int8 in all builds of one side, and in none of the other."""
    cone = [layer.name for part, layer in layers.network.layers if bridges[0].head in part.heads]
    implicit = [bridge.implicit for bridge in bridges]
    explicit = [bridge.explicit for bridge in bridges]
    parts = []
    for mine, others, called in (
        (implicit, explicit, "implicit int8"),
        (explicit, implicit, "Q/DQ"),
    ):
        alone = [
            name
            for name in cone
            if all(_ran(layers, cell, name) == {INT8} for cell in mine)
            and all(_never(_ran(layers, cell, name)) for cell in others)
        ]
        if alone:
            parts.append(f"only {called} ran {listed(alone, MOST)} in int8")
    return f"; {' and '.join(parts)}" if parts else ""


def _ran(layers: LayerReport, cell: str, layer: str) -> set[str | None]:
    return {way.precisions.get(layer) for way in layers.ways if cell in way.cells}


def _never(ran: set[str | None]) -> bool:
    """Whether it is known of every build that a layer did not run in int8."""
    return bool(ran) and None not in ran and INT8 not in ran
