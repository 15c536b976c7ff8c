"""Boxes of stored outputs, and what is made of them: each computed once for its contents, and kept."""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.average_precision import average_precision
from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.detection import detect_all
from trt_matrix.core.boxes.evidence import BoxEvidence, OutputGoneError, Outputs, matching_of
from trt_matrix.core.boxes.matching import Sums, compare_all
from trt_matrix.core.boxes.nms import Boxes, Floats
from trt_matrix.core.boxes.precision_draws import DRAWS, SEED, precision_draws
from trt_matrix.core.boxes.registry import style_of
from trt_matrix.core.boxes.results import AveragePrecision
from trt_matrix.core.boxes.styles import Detector
from trt_matrix.core.manifest import EvaluationImage, Manifest, RecordedDecode
from trt_matrix.core.records import StoredObject
from trt_matrix.execution.progress import Stage, untold
from trt_matrix.inputs.decoder_file import detector
from trt_matrix.inputs.labels import ImageLabels, parse
from trt_matrix.store.arrays import read_array
from trt_matrix.store.results import Store

Floats32 = npt.NDArray[np.float32]

BOXES_VERSION = 1
"""Raise when the same outputs give other boxes, changes or precision."""

MATCHING = ("match_iou", "shown_score")
"""What of `RecordedDecode` decides which boxes are one, and nothing about the boxes themselves."""

COUNTING = ("category_ids", "together")
"""Nor does what decides what boxes count for."""

STORED = np.dtype(
    [
        ("image", np.int64),
        ("corners", np.float64, 4),
        ("score", np.float32),
        ("label", np.int64),
        ("head", np.int64),
    ]
)
"""Boxes of all images, one after another; a box without an area has no corners (NaN) and no score."""


def box_evidence(store: Store, manifest: Manifest, stage: Stage = untold) -> BoxEvidence | None:
    """Returns the way to the boxes of a run; None where it does not say how to decode.

    `stage` is told what is being made, which can take minutes.
    """
    if manifest.decode is None:
        return None
    return box_evidence_of(store, manifest.decode, manifest.evaluation, manifest.labels, stage)


def box_evidence_of(
    store: Store,
    decode: RecordedDecode,
    evaluation: Sequence[EvaluationImage],
    labels: StoredObject | None,
    stage: Stage = untold,
    given: Mapping[str, Floats32] = MappingProxyType({}),
) -> BoxEvidence:
    """Returns the same, of what a manifest says of boxes.

    `given`: SHA-256 of an output → what stands in for it, and gives the same boxes.
    """
    detections = _Detections(store, decode, evaluation, labels, stage, given)
    return BoxEvidence(
        decode=decode,
        images=evaluation,
        boxes_of=detections.boxes,
        changes_of=detections.changes,
        precision_of=detections.precision if labels else None,
        draws_of=detections.draws if labels else None,
    )


def boxes_of(
    store: Store, decode: RecordedDecode, images: Sequence[EvaluationImage], outputs: Outputs
) -> Sequence[Boxes]:
    """Returns the boxes of other images than those that are evaluated, each in its own pixels.

    Raises:
        UNKNOWN: one of `core.boxes.evidence.UNKNOWN`.
    """
    return _Detections(store, decode, images).boxes(outputs)


@dataclass
class _Detections:
    """Every method raises what `box_evidence` catches."""

    store: Store
    decode: RecordedDecode
    images: Sequence[EvaluationImage]
    labels: StoredObject | None = None
    stage: Stage = untold
    given: Mapping[str, Floats32] = field(default_factory=dict)
    _times: Counter[str] = field(default_factory=Counter)
    _last: tuple[tuple[StoredObject, ...], Mapping[int, Boxes]] | None = None

    @functools.cached_property
    def heads(self) -> tuple[str, ...]:
        return tuple(head.head for head in self.decode.heads)

    @functools.cached_property
    def how(self) -> list[Any]:
        """Not its digest: the store asks which contents a derived object was made of."""
        facts = self.decode.model_dump(mode="json", exclude={*MATCHING, *COUNTING})
        return [BOXES_VERSION, facts, [image.model_dump() for image in self.images]]

    def boxes(self, outputs: Outputs) -> tuple[Boxes, ...]:
        def make(target: Path) -> None:
            self._tell("boxes of outputs")
            np.save(target, _table(self._detected(outputs)))

        stored = self.store.derive(("boxes, counted", self._key(outputs)), ".npy", make)
        return _split(read_array(self.store.path(stored)), len(self.images))

    def changes(self, test: Outputs, reference: Outputs) -> Sums:
        def make(target: Path) -> None:
            all_boxes, other = self.boxes(reference), self.boxes(test)
            self._tell("boxes against the reference's")
            np.save(
                target, compare_all(all_boxes, other, len(self.heads), matching_of(self.decode))
            )

        settings = {name: getattr(self.decode, name) for name in MATCHING}
        key = ("changes", self._key(test), self._key(reference), settings)
        stored = self.store.derive(key, ".npy", make)
        sums: Sums = read_array(self.store.path(stored))
        return sums

    def precision(self, outputs: Outputs) -> Mapping[str, AveragePrecision]:
        def make(target: Path) -> None:
            self._tell("average precision")
            precisions = average_precision(self._labels.labels, self._by_id(outputs))
            target.write_text(
                json.dumps({name: asdict(precision) for name, precision in precisions.items()})
            )

        assert self.labels is not None  # noqa: S101 - asked only where there are labels
        key = ("ap", self._key(outputs), self.labels.sha256, self.decode.category_ids)
        stored = self.store.derive(key, ".json", make)
        known = json.loads(self.store.path(stored).read_text())
        return {name: AveragePrecision(**numbers) for name, numbers in known.items()}

    def draws(self, outputs: Outputs) -> Floats:
        def make(target: Path) -> None:
            self._tell("how sure the average precision is")
            np.save(target, precision_draws(self._labels.labels, self._by_id(outputs)))

        assert self.labels is not None  # noqa: S101 - asked only where there are labels
        how = [self.decode.category_ids, DRAWS, SEED]
        stored = self.store.derive(
            ("ap draws", self._key(outputs), self.labels.sha256, how), ".npy", make
        )
        drawn: Floats = read_array(self.store.path(stored))
        return drawn

    def _by_id(self, outputs: Outputs) -> Mapping[int, Boxes]:
        """Returns image id → boxes; both questions about an AP are asked one after the other."""
        asked = tuple(outputs[head] for head in self.heads)
        if self._last is None or self._last[0] != asked:
            all_boxes = dict(zip(self._labels.image_ids, self._detected(outputs), strict=True))
            self._last = (asked, all_boxes)
        return self._last[1]

    def _tell(self, what: str) -> None:
        self._times[what] += 1
        self.stage("report", f"{what}, {self._times[what]}")

    def _key(self, outputs: Outputs) -> list[Any]:
        return [self.how, *(outputs[head].sha256 for head in self.heads)]

    def _require(self, outputs: Outputs) -> None:
        gone = [
            head
            for head in self.heads
            if outputs[head].sha256 not in self.given and not self.store.has(outputs[head])
        ]
        if gone:
            message = f"the output of {', '.join(gone)} is stored no more: `trt-matrix run` measures it again"
            raise OutputGoneError(message)

    @functools.cached_property
    def _detector(self) -> Detector:
        return detector_of(self.store, self.decode)

    @functools.cached_property
    def _labels(self) -> ImageLabels:
        assert self.labels is not None  # noqa: S101 - asked only where there are labels
        if not self.store.has(self.labels):
            message = "the labels stored with the run are gone: `trt-matrix run` again"
            raise OutputGoneError(message)
        content = self.store.path(self.labels).read_bytes()
        names = [image.file_name for image in self.images]
        return parse(content, names, self.decode.category_ids)

    def _detected(self, outputs: Outputs) -> Iterator[Boxes]:
        """Yields the boxes of each image in its own pixels."""
        self._require(outputs)
        arrays = {
            head: self.given[stored.sha256]
            if stored.sha256 in self.given
            else self.store.array(stored)
            for head, stored in ((head, outputs[head]) for head in self.heads)
        }
        counts = {head: len(array) for head, array in arrays.items()}
        if set(counts.values()) != {len(self.images)}:
            message = f"outputs of {counts} images, the run has {len(self.images)}"
            raise DecodeError(message)
        all_boxes = detect_all(arrays, self._detector, self.heads)
        for image, boxes in zip(self.images, all_boxes, strict=True):
            yield in_own_pixels(boxes, image)


def detector_of(store: Store, decode: RecordedDecode) -> Detector:
    """Returns the way from the outputs of one image to its boxes, in pixels of the network's input.

    Raises:
        DecodeError: the decoding does not fit itself, or the user's own file cannot be run.
        OutputGoneError: that file is no longer stored.
    """
    style = style_of(decode)
    if style is not None:
        return style.detector(decode)
    source, entry_point = decode.source, decode.entry_point
    if source is None or entry_point is None or not store.has(source):
        message = f"the file of {entry_point}, stored with the run, is gone: `trt-matrix run` again"
        raise OutputGoneError(message)
    heads = tuple(head.head for head in decode.heads)
    return detector(store.path(source).read_bytes(), entry_point, heads)


def in_own_pixels(boxes: Boxes, image: EvaluationImage) -> Boxes:
    """Returns boxes in pixels of the image, given in those of the network's input."""
    return boxes.in_image(
        scale=(image.inner_width / image.width, image.inner_height / image.height),
        offset=(image.left, image.top),
    )


def _table(all_boxes: Iterator[Boxes]) -> npt.NDArray[np.void]:
    parts = []
    for image, boxes in enumerate(all_boxes):
        part = np.empty(len(boxes), STORED)
        part["image"], part["corners"], part["score"] = image, boxes.corners, boxes.scores
        part["label"], part["head"] = boxes.classes, boxes.heads
        lacking = np.zeros(sum(boxes.degenerate.values()), STORED)
        lacking["image"], lacking["corners"] = image, np.nan
        lacking["head"] = np.repeat(list(boxes.degenerate), list(boxes.degenerate.values()))
        parts += [part, lacking]
    return np.concatenate(parts) if parts else np.empty(0, STORED)


def _split(table: npt.NDArray[np.void], images: int) -> tuple[Boxes, ...]:
    every = Boxes(
        table["corners"],
        table["score"],
        table["label"].astype(np.intp),
        table["head"].astype(np.intp),
    )
    starts = np.searchsorted(table["image"], np.arange(images + 1))
    return tuple(
        every.take(slice(start, end)).usable() for start, end in itertools.pairwise(starts)
    )
