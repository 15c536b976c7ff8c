"""Boxes of one image in one state, held against those of the float network."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.average_precision import average_precision
from trt_matrix.core.boxes.detection import detect_all
from trt_matrix.core.boxes.evidence import matching_of
from trt_matrix.core.boxes.groups import heads_of_a_box
from trt_matrix.core.boxes.matching import Sums, compare, pair, totals
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.results import ALL, AveragePrecision, BoxErrors
from trt_matrix.diagnosis.subject import Subject
from trt_matrix.inputs.labels import ImageLabels, parse
from trt_matrix.judging.detections import detector_of, in_own_pixels
from trt_matrix.store.results import Store

Outputs = Mapping[str, npt.NDArray[np.float32]]
"""Head → its output for one image, with the batch axis."""


class ImageBoxes:
    """Decodes the heads of one image after another."""

    def __init__(self, subject: Subject, store: Store) -> None:
        """Raises one of `evidence.UNKNOWN` where the decoding cannot be used."""
        assert subject.decode is not None  # noqa: S101 - asked only where there is one
        self.subject = subject
        self.decode = subject.decode
        self.store = store
        self.heads = tuple(head.head for head in subject.decode.heads)
        self.made_of = heads_of_a_box(subject.decode)
        self.detector = detector_of(store, subject.decode)
        self.matching = matching_of(subject.decode)
        self.variants = tuple(dict.fromkeys((self.heads, *self.made_of.values())))
        """Sets of heads that are taken from a state together: all first, then those of a box."""
        self._labels: dict[tuple[str, ...], ImageLabels] = {}

    def detect(self, outputs: Outputs, index: int) -> Boxes:
        """Returns the boxes of the image of that index, in its own pixels."""
        (boxes,) = detect_all(outputs, self.detector, self.heads)
        return in_own_pixels(boxes, self.subject.evaluation[index])

    def changes(self, reference: Boxes, test: Boxes) -> Sums:
        """Returns the sums of one image, shape (heads, sizes)."""
        pairs = pair(reference, test, self.matching.iou_threshold)
        return compare(reference, test, pairs, len(self.heads), self.matching)

    def errors(
        self,
        changes: Sums,
        precision: Mapping[tuple[str, ...], AveragePrecision],
        reference: AveragePrecision | None,
    ) -> tuple[Mapping[str, BoxErrors], BoxErrors]:
        """Returns head → what became of its boxes, and the same of the whole network.

        Args:
            changes: Of the whole network, shape (images, heads, sizes).
            precision: Heads that are the state's, all others the float network's → AP; those asked for.
            reference: AP of the float network; None without labels.
        """

        def made(group: tuple[str, ...], sums: Sums) -> BoxErrors:
            lost = {ALL: totals(sums)}
            if reference is None or group not in precision:
                return BoxErrors(changes=lost)
            mine = precision[group]
            return BoxErrors(
                changes=lost,
                precision={ALL: mine},
                ap_drop=_drop(reference.ap, mine.ap),
                ap50_drop=_drop(reference.ap50, mine.ap50),
            )

        heads = {
            head: made(group, changes[:, list(map(self.heads.index, group))])
            for head, group in self.made_of.items()
        }
        return heads, made(self.heads, changes)

    def precision(self, indices: Sequence[int], boxes: Sequence[Boxes]) -> AveragePrecision:
        """Returns AP over these images, all sizes."""
        names = [self.subject.evaluation[index].file_name for index in indices]
        known = self._labels_of(tuple(names))
        all_boxes = dict(zip(known.image_ids, boxes, strict=True))
        return average_precision(known.labels, all_boxes, sizes=())[ALL]

    def _labels_of(self, names: tuple[str, ...]) -> ImageLabels:
        if names not in self._labels:
            assert self.subject.labels is not None  # noqa: S101 - asked only where there are labels
            content = self.store.path(self.subject.labels).read_bytes()
            self._labels[names] = parse(content, names, self.decode.category_ids)
        return self._labels[names]


def _drop(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
