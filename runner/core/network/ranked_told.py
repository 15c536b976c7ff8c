"""What is said of a head whose rows are ranked: what decides them, and what to name in its place."""

import json
import re
from collections.abc import Mapping

from runner.records import Ranked

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


def ranked_by(head: str, ranked: Ranked) -> str:
    """Returns `head dets: its rows are ranked by TopK (node TopK_13)`."""
    return f"head {head}: its rows are ranked by {ranked.operator} (node {ranked.node})"


def why_not_compared(head: str, ranked: Ranked, heads: Mapping[str, str]) -> str:
    """Returns why such a head has no SQNR verdict, and what has.

    Args:
        head: Its name.
        ranked: What decides its rows.
        heads: Head → its tensor, of all heads.
    """
    return (
        f"{ranked_by(head, ranked)}, and a row that moves by one rank is a whole error whatever moved "
        f"it: compared as boxes where `decode` says how, else not by SQNR; {advice(head, ranked, heads)}"
    )


def advice(head: str, ranked: Ranked, heads: Mapping[str, str]) -> str:
    """Returns what of the network can be compared in place of a ranked head."""
    there = [name for name, tensor in heads.items() if tensor in ranked.before]
    if there:
        return f"{' and '.join(there)}, before it, {'is' if len(there) == 1 else 'are'} compared"
    if not ranked.before:
        return "the network has no tensor before it that could be a head: export it without it"
    return f"name the tensor before it as head: `{entry(head, ranked.before[0], heads)}`"


def entry(head: str, tensor: str, heads: Mapping[str, str]) -> str:
    """Returns the lines of matrix.yaml that make a tensor a head, as one: `heads: {raw: {output: t}}`."""
    name = "raw" if "raw" not in heads else f"before-{head}"
    return f"heads: {{{_quoted(name)}: {{output: {_quoted(tensor)}}}}}"


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
