"""Two calibration tables against each other: how far their ranges lie apart, and whether one is wrong; pure."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.mistakes import Mistake, MistakeKind, mistake, spread
from trt_matrix.core.tables.names import naming

NEAR = 0.005
"""A ratio as near to 1 is the same candidate of a calibrator: its 2048 bins are 0.05 % of a range apart."""
CLOSE = 0.1
LEAST_NAMED = 0.5
"""Share of B's names that A must have under one pair of affixes for these to be taken."""


@dataclass(frozen=True, slots=True)
class TensorRatio:
    tensor: str
    """As B calls it."""
    a: float
    b: float
    """Largest magnitudes."""

    @property
    def ratio(self) -> float:
        return self.a / self.b


@dataclass(frozen=True, kw_only=True, slots=True)
class TableContrast:
    """Two tables against each other."""

    a: ReadTable
    """With B's names, where `renamed` says how."""
    b: ReadTable
    renamed: str | None
    """What was done to A's names: `prefix 'yolov3/' taken off`."""
    tensors: tuple[TensorRatio, ...]
    """Those that both have a range of, the furthest apart first."""
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unusable_a: Mapping[str, str]
    """Tensors without a range that can be one → why."""
    unusable_b: Mapping[str, str]
    mistake: str | None
    """What one of the two likely is to the other, where that is sure: `A: its scales are 127 times …`."""

    @property
    def median(self) -> float | None:
        """Of A's ranges over B's."""
        return statistics.median(tensor.ratio for tensor in self.tensors) if self.tensors else None

    @property
    def spread(self) -> float | None:
        """Factor about the median within which two thirds of the ratios lie, robust: 1 where all are one."""
        if not self.tensors:
            return None
        return math.exp(spread([math.log(tensor.ratio) for tensor in self.tensors]))

    def within(self, share: float) -> int:
        """Returns how many ratios are no further from 1."""
        return sum(abs(tensor.ratio - 1) <= share for tensor in self.tensors)


def contrast(a: ReadTable, b: ReadTable) -> TableContrast:
    """Compares table A with table B, which stands for the right one."""
    called = naming(a.names, b.names, {}, LEAST_NAMED)
    renamed = str(called.affixes) if called.affixes else None
    a = a.renamed(called.names)
    of_a, of_b = a.table(), b.table()
    common = [name for name in of_a.amax if name in of_b.amax]
    tensors = [TensorRatio(name, of_a.amax[name], of_b.amax[name]) for name in common]
    tensors.sort(key=lambda ratio: (-abs(math.log(ratio.a) - math.log(ratio.b)), ratio.tensor))
    in_a, in_b = frozenset(a.names), frozenset(b.names)
    return TableContrast(
        a=a,
        b=b,
        renamed=renamed,
        tensors=tuple(tensors),
        only_a=tuple(name for name in a.names if name not in in_b),
        only_b=tuple(name for name in b.names if name not in in_a),
        unusable_a=of_a.unusable,
        unusable_b=of_b.unusable,
        mistake=_mistake(a, b),
    )


def _mistake(a: ReadTable, b: ReadTable) -> str | None:
    """Returns the likely mistake, told of A; of bytes in reverse, of whichever has them."""
    of_a, of_b = _sure(a, b), _sure(b, a)
    reversed_b = of_b is not None and of_b.kind is MistakeKind.BYTES
    if reversed_b and of_a is not None and of_a.kind is MistakeKind.BYTES:
        # Either turned round is the other: the one whose ranges go all over the place is wrong.
        reversed_b = _decades(b) > _decades(a)
    if of_b is not None and reversed_b:
        return "B: " + of_b.seen_from("A's ranges", "the preprocessing of A")
    return "A: " + of_a.seen_from("B's ranges", "the preprocessing of B") if of_a else None


def _decades(table: ReadTable) -> float:
    """Returns the deviation of a table's ranges, as powers of ten."""
    logs = list(map(math.log10, table.table().amax.values()))
    return statistics.pstdev(logs) if logs else math.inf


def _sure(table: ReadTable, other: ReadTable) -> Mistake | None:
    likely = mistake(table.values, [other.table().amax], scales=table.form.scales)
    return likely if likely is not None and likely.sure else None
