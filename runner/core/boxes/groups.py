"""Which heads a box is made of: what becomes of it counts for each of them."""

from collections.abc import Mapping

from runner.records import Decode


def heads_of_a_box(decode: Decode) -> Mapping[str, tuple[str, ...]]:
    """Returns head → the heads that its boxes are made of, itself among them, as decoded.

    A style makes a box of one head alone. Of a function of the user's own that is given several heads
    nobody knows which it read for a box, so all count, unless matrix.yaml says it (`together`).
    """
    heads = tuple(one.head for one in decode.heads)
    groups = decode.together
    if groups is None:
        groups = () if decode.style else (heads,)
    group_of = {head: frozenset(group) for group in groups for head in group}
    return {
        head: tuple(one for one in heads if one in group_of.get(head, {head})) for head in heads
    }
