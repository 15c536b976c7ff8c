"""What is said of a head whose rows are ranked: what decides them, and what to name in its place."""

from collections.abc import Collection, Mapping, Sequence

from trt_matrix.core.manifest import Ranked
from trt_matrix.core.words import yaml_word

_AS_BOXES = "compared as boxes where `decode` says how, else "


def ranked_by(head: str, ranked: Ranked) -> str:
    """Returns `head dets: its rows are ranked by TopK (node TopK_13)`."""
    return f"head {head}: its rows are ranked by {ranked.operator} (node {ranked.node})"


def why_not_compared(head: str, ranked: Ranked, heads: Mapping[str, str]) -> str:
    """Returns why such a head has no SQNR verdict, and what has."""
    return (
        f"{ranked_by(head, ranked)}, and a row that moves by one rank is a whole error whatever moved "
        f"it: {_AS_BOXES}not by SQNR; {advice(head, ranked, heads)}"
    )


def without_boxes(why: str) -> str:
    """Returns why such a head is not compared, of a network that makes no boxes."""
    return why.replace(_AS_BOXES, "")


def advice(head: str, ranked: Ranked, heads: Mapping[str, str]) -> str:
    """Returns what of the network can be compared in place of a ranked head."""
    there = [name for name, tensor in heads.items() if tensor in ranked.before]
    if there:
        return f"{' and '.join(there)}, before it, {'is' if len(there) == 1 else 'are'} compared"
    if not ranked.before:
        return "the network has no tensor before it that could be a head: export it without it"
    single = len(ranked.before) == 1
    return f"name the tensor{'' if single else 's'} before it as head{'' if single else 's'}: `{entry(head, ranked, heads)}`"


def entry(head: str, ranked: Ranked, heads: Mapping[str, str]) -> str:
    """Returns the lines of matrix.yaml that cut in front of a ranking, as one: `heads: {raw: {output: t}}`."""
    entries = [
        f"{yaml_word(name)}: {{output: {yaml_word(tensor)}}}"
        for name, tensor in called(head, ranked.before, heads).items()
    ]
    return f"heads: {{{', '.join(entries)}}}"


def called(head: str, tensors: Sequence[str], heads: Collection[str]) -> Mapping[str, str]:
    """Returns head → tensor for tensors inside the network that are to become heads in place of one.

    Names of `heads` are taken.
    """
    name = "raw" if not {"raw", "raw-1"}.intersection(heads) else f"before-{head}"
    if len(tensors) == 1:
        return {name: tensors[0]}
    return {f"{name}-{number}": tensor for number, tensor in enumerate(tensors, 1)}
