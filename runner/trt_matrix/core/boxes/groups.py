"""Which heads a box is made of: what becomes of it counts for each of them."""

from collections.abc import Mapping

from trt_matrix.core.boxes.registry import style_of
from trt_matrix.core.manifest import RecordedDecode


def heads_of_a_box(decode: RecordedDecode) -> Mapping[str, tuple[str, ...]]:
    """Returns head → the heads that its boxes are made of, itself among them, as decoded.

    A style knows which heads it reads for a box. Of a function of the user's own that is given several
    heads nobody knows, so all count, unless matrix.yaml says it (`together`).

    Raises:
        DecodeError: this version does not know the style, or its heads do not fit it.
    """
    heads = tuple(head.head for head in decode.heads)
    groups = decode.together
    if groups is None:
        style = style_of(decode)
        groups = (heads,) if style is None else style.together(decode)
    group_of = {head: frozenset(group) for group in groups for head in group}
    return {
        head: tuple(other for other in heads if other in group_of.get(head, {head}))
        for head in heads
    }
