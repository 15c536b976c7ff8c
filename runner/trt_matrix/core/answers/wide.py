"""What is said of weights whose output channels differ so much that one scale loses the small ones."""

from collections.abc import Sequence

from trt_matrix.core.manifest import WideWeight
from trt_matrix.core.words import count

NAMED = 3
"""Weights that a sentence names."""


def wide_weight(weight: WideWeight) -> str:
    """Returns `conv_4 (channel 7 of 32 is 195 times the median one)`."""
    return (
        f"{weight.layer} (channel {weight.channel} of {weight.channels} is {weight.spread:.0f} times the "
        "median one)"
    )


def wide_sentence(wide: Sequence[WideWeight]) -> str:
    """Returns which weights have channels that one scale loses; empty where there is none."""
    if not wide:
        return ""
    named = "; ".join(wide_weight(weight) for weight in wide[:NAMED])
    more = f"; and {count(len(wide) - NAMED, 'more')}" if len(wide) > NAMED else ""
    return f"Output channels differ most in {named}{more}."
