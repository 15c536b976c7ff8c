"""What boxes are judged on: a way from stored outputs to boxes and to what is made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.groups import heads_of_a_box
from trt_matrix.core.boxes.matching import Matching, Sums
from trt_matrix.core.boxes.nms import Boxes, Floats
from trt_matrix.core.boxes.results import AveragePrecision
from trt_matrix.core.manifest import EvaluationImage, RecordedDecode
from trt_matrix.core.records import StoredObject

Outputs = Mapping[str, StoredObject]
"""Head → the stored outputs of all images."""


class OutputGoneError(Exception):
    """An array that the boxes would be made of is no longer stored."""


UNKNOWN = (DecodeError, LabelsError, OutputGoneError)
"""Why the boxes of some outputs are not known, while those of others are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxEvidence:
    """Every function raises one of UNKNOWN, and computes nothing twice for the same contents."""

    decode: RecordedDecode
    images: Sequence[EvaluationImage]
    boxes_of: Callable[[Outputs], Sequence[Boxes]]
    """→ the boxes of each image, in its own pixels."""
    changes_of: Callable[[Outputs, Outputs], Sums]
    """(test, reference) → `matching.compare_all`."""
    precision_of: Callable[[Outputs], Mapping[str, AveragePrecision]] | None
    """→ `average_precision`; None without labels."""
    draws_of: Callable[[Outputs], Floats] | None = None
    """→ `precision_draws`; None without labels."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Those that hold boxes, as `Boxes.heads` counts them."""
        return tuple(head.head for head in self.decode.heads)

    @property
    def made_of(self) -> Mapping[str, tuple[str, ...]]:
        """Head → the heads that its boxes are made of, itself among them."""
        return heads_of_a_box(self.decode)

    def indices(self, head: str) -> list[int]:
        """Returns where the boxes that a head has a part in stand in `Sums`."""
        return [self.heads.index(part) for part in self.made_of[head]]


def matching_of(decode: RecordedDecode) -> Matching:
    return Matching(iou_threshold=decode.match_iou, shown_score=decode.shown_score)
