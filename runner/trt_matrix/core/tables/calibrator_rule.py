"""A table that TensorRT's calibrator made, held against what its known rule gives for the same images; pure.

The rule is this tool's own algorithm, run in the reference (`containers/job/thresholds.py`): entropy as
TensorRT 8.5 chooses it, or the largest magnitude. So what a calibrator does otherwise shows tensor by tensor,
whatever it costs. A share of near-ties is decided by the rounding of other kernels: of real caches 93 to 100 %
of the tensors are the same candidate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.core.words import listed

RULES: Mapping[str, str] = {
    "EntropyCalibration2": "entropy",
    "EntropyCalibration": "entropy",
    "MinMaxCalibration": "minmax",
}
"""What a cache says of its calibrator → the algorithm that is its rule."""
CALLED: Mapping[str, str] = {
    "EntropyCalibration2": "entropy2",
    "EntropyCalibration": "entropy",
    "MinMaxCalibration": "minmax",
}
SAME = 1.005
"""Ratio up to which two ranges are called one: candidates of entropy are 0.05 to 0.8 % apart."""
NEAR = 1.1
LEAST_KNOWN = 0.5
"""Share of a table's tensors that must be known by name, or nothing is said."""
NAMED = 3

Ranges = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Differing:
    tensor: str
    ratio: float
    """The calibrator's range over the rule's."""
    heads: tuple[str, ...]
    """Those that depend on it; empty where the network is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleComparison:
    calibrator: str
    """As a cache names it."""
    tensors: int
    """Of the table."""
    compared: int
    """Of these, how many the rule's table knows by the same name."""
    same: int
    near: int
    """Within 10 %, the same ones among them."""
    differing: tuple[Differing, ...]
    """The others, the furthest first."""

    def sentence(self) -> str:
        """Returns `of its 53 scales 52 are what TensorRT's entropy2 rule gives for these images; …`."""
        of = f"of its {self.tensors} scales"
        if self.compared != self.tensors:
            of += f" that the reference knows, {self.compared},"
        rule = f"what TensorRT's {CALLED[self.calibrator]} rule gives for these images"
        if self.same == self.compared:
            return f"{of} all are {rule}"
        parts = [f"{of} {self.same} {'is' if self.same == 1 else 'are'} {rule}"]
        if self.near > self.same:
            parts.append(f"{self.near - self.same} more within 10 %")
        named = [
            f"{differing.tensor} differs {max(differing.ratio, 1 / differing.ratio):.1f} times"
            f"{f' (behind it {listed(differing.heads)})' if differing.heads else ''}"
            for differing in self.differing[:NAMED]
        ]
        more = len(self.differing) - NAMED
        rest = [f"{more} more by less"] if more > 0 else []
        return "; ".join([*parts, *([listed([*named, *rest])] if named else [])])


def compared_with_rule(
    calibrator: str, ranges: Ranges, rule: Ranges, heads_of: Mapping[str, tuple[str, ...]]
) -> RuleComparison | None:
    """Returns how a calibrator's table differs from its rule's; None where too little of it is known by name.

    `calibrator` is a key of `RULES`, `rule` are its ranges for the same images.
    """
    ratios = {name: amax / rule[name] for name, amax in ranges.items() if name in rule}
    if not ratios or len(ratios) < LEAST_KNOWN * len(ranges):
        return None
    apart = {name: max(ratio, 1 / ratio) for name, ratio in ratios.items()}
    differing = [name for name, ratio in apart.items() if ratio > NEAR]
    differing.sort(key=lambda name: (-apart[name], name))
    return RuleComparison(
        calibrator=calibrator,
        tensors=len(ranges),
        compared=len(ratios),
        same=sum(ratio <= SAME for ratio in apart.values()),
        near=len(ratios) - len(differing),
        differing=tuple(
            Differing(tensor=name, ratio=ratios[name], heads=heads_of.get(name, ()))
            for name in differing
        ),
    )
