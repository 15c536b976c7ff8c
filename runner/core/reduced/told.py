"""What is told of a network that was converted: in a cell's facts, and on the card of a head that it loses."""

from collections.abc import Mapping
from typing import Any

from runner.core.words import count, listed

CONVERTED = "converted network"
"""Key of a cell's facts."""
KEPT = "kept in float32"
NEAR = "near the end of its range"
RANGES = "judged by"
TYPE = "type"
MOST = 3


def facts(typed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a measurement's `typed` as facts for people, by the names that they read.

    Args:
        typed: As `runner.execution.typed.facts_of` made it.
    """
    kept, zeroed = typed["in_float32"], typed["weights_that_became_zero"]
    found: dict[str, Any] = {
        TYPE: typed["type"],
        "nodes that compute in it": typed["nodes"],
        KEPT: dict(kept) or "nothing",
        NEAR: {name: float(f"{amax:.3g}") for name, amax in typed["near_the_end"].items()}
        or "nothing",
        RANGES: typed["ranges"],
    }
    if more := typed["nodes_in_float32"] - len(kept):
        found[KEPT]["…"] = f"and {count(more, 'node')} more"
    if zeroed["values"]:
        found["weights that became zero"] = (
            f"{count(zeroed['values'], 'value')}, of {listed(zeroed['of'], MOST)}"
        )
    return found


def converted_sentence(cell_facts: Mapping[str, Any]) -> str:
    """Returns what a card says of the network that a cell ran, behind a space; empty where as it came."""
    told = cell_facts.get(CONVERTED)
    if not isinstance(told, Mapping):
        return ""
    kept, near = told.get(KEPT), told.get(NEAR)
    type_ = told.get(TYPE)
    found = f" The network was converted to {type_}"
    if isinstance(kept, Mapping) and kept:
        reasons = [f"{name} ({why})" for name, why in list(kept.items())[:MOST]]
        found += f"; kept in float32: {listed([*reasons, *list(kept)[MOST:]], MOST)}"
    if isinstance(near, Mapping) and near:
        reach = [f"{name} ({amax:.3g})" for name, amax in near.items()]
        found += f"; near the end of {type_}: {listed(reach, MOST)}"
    elif not str(told.get(RANGES, "")).startswith("the weights alone"):
        rest = "no other tensor" if isinstance(kept, Mapping) and kept else "no tensor"
        found += f"; on these images {rest} comes near {type_}'s end"
    return f"{found}."
