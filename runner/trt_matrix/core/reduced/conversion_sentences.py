"""What is told of a network that was converted: in a cell's facts, and on the card of a head that it loses."""

from collections.abc import Iterable, Mapping
from typing import Any

from trt_matrix.core.words import count, listed

CONVERTED = "converted network"
"""Key of a cell's facts."""
KEPT = "kept in float32"
NEAR = "near the end of its range"
RANGES = "judged by"
TYPE = "type"
MORE = "…"
"""Key of how many more nodes stayed than are named."""
MOST = 3


def facts(typed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a measurement's `typed` (`execution.typed.facts_of`) as facts for people, by the names that they read."""
    kept, zeroed = typed["in_float32"], typed["weights_that_became_zero"]
    facts_: dict[str, Any] = {
        TYPE: typed["type"],
        "nodes that compute in it": typed["nodes"],
        KEPT: dict(kept) or "nothing",
        NEAR: {name: float(f"{amax:.3g}") for name, amax in typed["near_the_end"].items()}
        or "nothing",
        RANGES: typed["ranges"],
    }
    if more := typed["nodes_in_float32"] - len(kept):
        facts_[KEPT][MORE] = f"and {count(more, 'node')} more"
    if zeroed["values"]:
        facts_["weights that became zero"] = (
            f"{count(zeroed['values'], 'value')}, of {listed(zeroed['of'], MOST)}"
        )
    return facts_


def converted_sentences(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Returns what a card says of the networks that cells ran, behind a space; empty where all ran it as it came.

    Each cell is (environment, its facts).
    """
    groups: dict[str, dict[str, None]] = {}
    for name, facts_ in cells:
        groups.setdefault(converted_sentence(facts_), {})[name] = None
    if len(groups) == 1:
        return next(iter(groups))
    return "".join(
        f" In {listed(list(names), MOST)} the{text.removeprefix(' The')}"
        for text, names in groups.items()
        if text
    )


def converted_sentence(cell_facts: Mapping[str, Any]) -> str:
    """Returns what is said of the network that one cell ran, behind a space; empty where as it came."""
    converted = cell_facts.get(CONVERTED)
    if not isinstance(converted, Mapping):
        return ""
    kept, near = converted.get(KEPT), converted.get(NEAR)
    type_, ranges = converted.get(TYPE), str(converted.get(RANGES, ""))
    sentence = f" The network was converted to {type_}"
    by_value = False
    if isinstance(kept, Mapping) and kept:
        named = {name: str(why) for name, why in kept.items() if name != MORE}
        by_value = any("reaches" in why for why in named.values())
        reasons = [f"{name} ({why})" for name, why in list(named.items())[:MOST]]
        rest = len(named) - len(reasons)
        more = f" and {'more than ' * (MORE in kept)}{rest} more" if rest else ""
        sentence += f"; kept in float32: {', '.join(reasons) if more else listed(reasons)}{more}"
    if isinstance(near, Mapping) and near:
        reach = [f"{name} ({amax:.3g})" for name, amax in near.items()]
        sentence += f"; near the end of {type_}: {listed(reach, MOST)}"
    elif ranges and not ranges.startswith("the weights alone"):
        # What no range is known of may come near it all the same.
        sentence += f"; of {ranges} {'no other' if by_value else 'none'} comes near {type_}'s end"
    return f"{sentence}."
