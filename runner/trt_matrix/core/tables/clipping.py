"""Tensors that a table clips much, or keeps in little of their range, by name; pure.

A tensor is told of where more than `MOST_CLIPPED` of its nonzero values lie beyond its range, or its range is
below `LEAST_KEPT` of the largest magnitude that the reference saw. Such ranges may be right: of a tensor with
a long tail entropy keeps a tenth. But where a head is lost behind one, that is where to look first, and a
table's median says nothing of it. Only tensors whose range decides a scale count (`layers.deciding`): of a head that is
given out in float nothing is clipped, and of what a Relu reads, the Relu's range is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.words import count, listed

MOST_CLIPPED = 0.05
"""Share of the nonzero values."""
LEAST_KEPT = 0.1
"""Of the largest magnitude seen."""
NAMED = 3
"""Tensors that a sentence names."""

Decided = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Table's digest → tensor whose range decides a scale → ids of the cells in which it does: `layers.deciding`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clipped:
    tensor: str
    amax: float
    seen: float
    """Largest magnitude in the images that the table was made of, or in the reference's calibration images."""
    share: float | None
    """Of its nonzero values that lie beyond `amax`, 0 to 1; None where nobody counted."""
    heads: tuple[str, ...]
    """Those that depend on it; empty where that is not known."""
    cells: tuple[str, ...]
    """Ids of those in which its range decides a scale."""


def clipped_tensors(
    ranges: Mapping[str, float],
    seen: Mapping[str, float],
    shares: Mapping[str, float],
    heads_of: Mapping[str, tuple[str, ...]],
    cells_of: Mapping[str, tuple[str, ...]],
) -> tuple[Clipped, ...]:
    """Returns the tensors to tell of, those that lose most first.

    `shares` is tensor → share of its nonzero values beyond its range, where it was counted; `cells_of` is
    tensor whose range decides a scale → in which cells.
    """
    much = [
        Clipped(
            tensor=tensor,
            amax=amax,
            seen=seen[tensor],
            share=shares.get(tensor),
            heads=heads_of.get(tensor, ()),
            cells=cells_of[tensor],
        )
        for tensor, amax in ranges.items()
        if tensor in cells_of and tensor in seen and amax < seen[tensor]
        if (shares.get(tensor) or 0.0) > MOST_CLIPPED or amax < LEAST_KEPT * seen[tensor]
    ]
    much.sort(key=lambda each: (-(each.share or 0), each.amax / each.seen, each.tensor))
    return tuple(much)


def sentence(table: str, clipped: Sequence[Clipped], heads: Sequence[str]) -> str:
    """Returns `the shared entropy table clips 83 % of tensor X (amax 0.585 of 7.29), behind which small lies`.

    Of one tensor at least; of what feeds all `heads`, which are those of the network, that is said.
    """
    named = [_told(tensor, heads) for tensor in clipped[:NAMED]]
    more = len(clipped) - NAMED
    rest = [count(more, "more tensor")] if more > 0 else []
    return f"{table} {listed([*named, *rest], len(named) + len(rest))}"


def _told(clipped: Clipped, heads: Sequence[str]) -> str:
    of = f"tensor {clipped.tensor} (amax {clipped.amax:.3g} of {clipped.seen:.3g})"
    share = clipped.share or 0.0
    if share >= 0.01:
        return f"clips {_percent(share)} of {of}{_behind(clipped, heads)}"
    kept = _percent(clipped.amax / clipped.seen)
    return f"keeps {kept} of the range of {of}{_behind(clipped, heads)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _behind(clipped: Clipped, heads: Sequence[str]) -> str:
    if not clipped.heads:
        return ""
    if clipped.tensor in clipped.heads:
        return ", a head itself"
    if len(heads) > 1 and set(clipped.heads) == set(heads):
        return ", behind which all heads lie"
    return f", behind which {listed(clipped.heads)} {'lies' if len(clipped.heads) == 1 else 'lie'}"
