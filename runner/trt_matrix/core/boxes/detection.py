"""Raw outputs of YOLO heads → boxes.

σ is the logistic function, (i, j) the column and row of a cell, s its head's stride in pixels.

| family | centre | width and height | score |
| --- | --- | --- | --- |
| yolov3 [1] | (k · σ(t) − (k − 1) / 2 + (i, j)) · s | anchor · exp(t) | σ(objectness) · σ(class) |
| yolov5, yolov7 [2] | (2σ(t) − ½ + (i, j)) · s | anchor · (2σ(t))² | σ(objectness) · σ(class) |
| yolov8 [3] | corners at (i + ½, j + ½) · s ∓ distance · s | | σ(class) |
| yolov5-decoded | as given, in pixels | as given | objectness · class, as given |
| yolov8-decoded | as given, in pixels | as given | class, as given |

A distance of yolov8 is the mean Σ k · softmax(t)_k over its `bins` (distribution focal loss [4]), or
with one bin the value itself. Channels of one anchor: x, y, w, h (or 4 × bins, in the order left, top,
right, bottom), objectness where there is one, then the classes.

k is Darknet's `scale_x_y`, 1 in YOLOv3, 1.05 to 1.2 in YOLOv4 [5].

Where the network applies σ itself (`Decoding.activated`), σ(x) above is x.

A box with a coordinate that is not finite, or without area, is no box: it is left out and counted, so
broken outputs give lost boxes.

[1] Redmon and Farhadi, YOLOv3, 2018, arXiv:1804.02767, section 2.1. [2] Jocher et al., YOLOv5,
models/yolo.py, Detect. [3] Jocher et al., Ultralytics YOLOv8, nn/modules/head.py, Detect. [4] Li et
al., Generalized Focal Loss, 2020, arXiv:2006.04388. [5] Bochkovskiy, darknet, src/yolo_layer.c,
forward_yolo_layer.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.activations import (
    least_activated,
    least_logit,
    mean_bin,
    probability,
    sigmoid,
)
from trt_matrix.core.boxes.decoding import Decoding, Family, HeadGrid, Layout, refuse
from trt_matrix.core.boxes.nms import Boxes, Floats, Indices, Scores, concatenate, suppress
from trt_matrix.core.boxes.styles import Detector, Output, PositionGate


def detect(outputs: Mapping[str, Output], decoding: Decoding) -> Boxes:
    """Decodes all heads of one image and suppresses; best first.

    Outputs of one image have no batch axis, and lie as `decoding.layout` says.

    Raises:
        DecodeError: a head is missing or has another shape than expected.
    """
    missing = [head for head in decoding.heads if head not in outputs]
    if missing:
        refuse(
            f"no output of head {missing[0]!r}; there are {', '.join(map(repr, outputs)) or 'none'}: "
            "check decode.heads"
        )
    return suppress(
        concatenate([candidates(head, outputs[head], decoding) for head in decoding.heads]),
        iou_threshold=decoding.iou_threshold,
        max_candidates=decoding.max_candidates,
        max_detections=decoding.max_detections,
    )


def detect_all(
    outputs: Mapping[str, Output], detector: Detector, heads: Collection[str]
) -> Iterator[Boxes]:
    """Yields the boxes of one image after another, so that mapped files are read once, in order.

    Outputs have shape (images, …).

    Raises:
        DecodeError: heads with different numbers of images, or what `detector` raises.
    """
    counts = {head: len(outputs[head]) for head in heads}
    if len(set(counts.values())) > 1:
        refuse(f"heads have different numbers of images: {counts}")
    for index in range(min(counts.values(), default=0)):
        boxes = detector({head: outputs[head][index] for head in heads})
        yield _checked(boxes, len(heads), index)


def _checked(boxes: Boxes, heads: int, image: int) -> Boxes:
    """Returns what of the boxes can be compared: a decoder of the user's own can return anything.

    One box without an area says that this box is broken, not that the decoder is: it is counted.

    Raises:
        DecodeError: the boxes are no boxes.
    """
    n, what = len(boxes), f"the decoder's boxes of image {image}"
    shapes = [boxes.corners.shape, boxes.scores.shape, boxes.classes.shape, boxes.heads.shape]
    if shapes != [(n, 4), (n,), (n,), (n,)]:
        refuse(f"{what} have shapes {shapes}: (n, 4), (n,), (n,), (n,) are expected")
    if not ((boxes.heads >= 0) & (boxes.heads < heads)).all():
        refuse(f"{what} hold a head index outside 0 to {heads - 1}")
    good = boxes.usable()
    if not ((good.scores >= 0) & (good.scores <= 1)).all():
        refuse(f"{what} hold a score outside 0 to 1")
    return good


def candidates(head: str, output: Output, decoding: Decoding) -> Boxes:
    """Returns the boxes of one head above the score threshold, ordered by class, anchor and cell.

    Of more than `max_candidates` the best.

    Raises:
        DecodeError: the output has another shape than expected.
    """
    grid = decoding.heads[head]
    values = _by_anchor(head, np.asarray(output, np.float32), decoding)
    # Broken outputs (NaN, infinities, huge exponents) are left out below; they are not worth a warning.
    with np.errstate(over="ignore", invalid="ignore"):
        scored = _scored(values, decoding)
        # Suppression looks at no more; where all cells fire, geometry would cost a second an image.
        best = np.argsort(-scored[-1], kind="stable")[: decoding.max_candidates]
        anchors, classes, cells = (indices[np.sort(best)] for indices in scored[:3])
        scores = scored[-1][np.sort(best)]
        raw = values[anchors, : decoding.geometry, cells]
        corners = _corners(raw, anchors, cells, grid, decoding)
    index = list(decoding.heads).index(head)
    return Boxes(corners, scores, classes, np.full(len(scores), index, np.intp)).usable()


def gates(decoding: Decoding) -> tuple[PositionGate, ...]:
    """Returns where a head's cells can hold a box: by their objectness, else by their classes."""
    at = decoding.geometry
    end = at + (1 if decoding.family.objectness else decoding.classes)
    raw = _activation(decoding) is sigmoid
    least = (least_logit if raw else least_activated)(decoding.score_threshold)
    position_gates = []
    for head, grid in decoding.heads.items():
        anchors = 1 if decoding.layout is Layout.BOXES else max(len(grid.anchors), 1)
        together = anchors * decoding.channels
        scores = tuple(
            tuple(range(first + at, first + end)) for first in range(0, together, decoding.channels)
        )
        channels = None if decoding.layout is Layout.CHANNELS_FIRST else together
        first = at + decoding.family.objectness
        classes = tuple(
            one + label
            for one in range(first, together, decoding.channels)
            for label in range(decoding.classes)
        )
        position_gates.append(
            PositionGate(
                heads={head: channels},
                head=head,
                scores=scores,
                alone={head: classes},
                least=least,
            )
        )
    return tuple(position_gates)


def check_shape(head: str, shape: tuple[int, ...], decoding: Decoding) -> None:
    """Raises DecodeError where no output of one image, of this shape, can be decoded."""
    grid = decoding.heads[head]
    anchors, channels = max(len(grid.anchors), 1), decoding.channels
    first = decoding.layout is Layout.CHANNELS_FIRST
    together = channels if decoding.layout is Layout.BOXES else anchors * channels
    what = f"head {head!r}: one image's output has shape {shape}"
    if len(shape) < 2 or shape[0 if first else -1] != together:
        refuse(
            f"{what}; {together} channels ({_channels_text(anchors, decoding)}) are expected in its "
            f"{'first' if first else 'last'} axis: check decode.classes, anchors, bins and layout"
        )
    rest = _cells(shape, decoding)
    if not decoding.family.decoded and rest not in _cell_shapes(grid, decoding):
        rows, columns = decoding.grid_shape(grid)
        refuse(
            f"{what}; {rows} × {columns} cells of stride {grid.stride} are expected in an input of "
            f"{decoding.image_size[0]} × {decoding.image_size[1]} pixels: check stride, image size, "
            "anchors and decode.layout"
        )


def _cells(shape: tuple[int, ...], decoding: Decoding) -> tuple[int, ...]:
    """Returns the axes beside the channels."""
    return shape[1:] if decoding.layout is Layout.CHANNELS_FIRST else shape[:-1]


def _by_anchor(head: str, output: Output, decoding: Decoding) -> Output:
    """Returns a view of shape (anchors, channels, cells)."""
    check_shape(head, output.shape, decoding)
    anchors, channels = max(len(decoding.heads[head].anchors), 1), decoding.channels
    rest = _cells(output.shape, decoding)
    match decoding.layout:
        case Layout.CHANNELS_FIRST:
            return output.reshape(anchors, channels, math.prod(rest))
        case Layout.CHANNELS_LAST:
            return output.reshape(math.prod(rest), anchors, channels).transpose(1, 2, 0)
        case Layout.BOXES:
            return output.reshape(anchors, math.prod(rest) // anchors, channels).transpose(0, 2, 1)


def _cell_shapes(grid: HeadGrid, decoding: Decoding) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes that a head's output can have beside its channels."""
    rows, columns = decoding.grid_shape(grid)
    if decoding.layout is not Layout.BOXES:
        return (rows, columns), (rows * columns,)
    anchors = max(len(grid.anchors), 1)
    return (anchors * rows * columns,), (anchors, rows * columns), (anchors, rows, columns)


def _channels_text(anchors: int, decoding: Decoding) -> str:
    one = f"{decoding.geometry + decoding.family.objectness} + {decoding.classes} classes"
    if decoding.layout is Layout.BOXES or not decoding.family.anchored:
        return one
    return f"{anchors} anchor{'s' * (anchors > 1)} × ({one})"


def _scored(values: Output, decoding: Decoding) -> tuple[Indices, Indices, Indices, Scores]:
    """Returns anchor, class, cell and score of every pair of cell and class above the threshold."""
    activation = _activation(decoding)
    least = np.float32(decoding.score_threshold)
    first_class = decoding.geometry + decoding.family.objectness
    if decoding.family.objectness:
        # A score is never above its objectness, rounding included: most cells end here.
        objectness = activation(values[:, decoding.geometry])
        anchors, cells = np.nonzero(objectness > least)
        scores = objectness[anchors, cells] * activation(values[anchors, first_class:, cells]).T
        classes, cell_of = np.nonzero(scores > least)
        return anchors[cell_of], classes, cells[cell_of], scores[classes, cell_of]
    # σ grows with its argument: most logits end here without an exponential; the comparison of scores decides.
    bound = 0.0 if activation is probability else least_logit(decoding.score_threshold)
    anchors, classes, cells = np.nonzero(values[:, first_class:] >= bound)
    scores = activation(values[anchors, first_class + classes, cells])
    good = scores > least
    return anchors[good], classes[good], cells[good], scores[good]


def _corners(
    raw: Output, anchors: Indices, cells: Indices, grid: HeadGrid, decoding: Decoding
) -> Floats:
    """Returns left, top, right, bottom in pixels, shape (n, 4), of n cells' geometry channels."""
    family = decoding.family
    if family.decoded:
        return _around(raw[:, :2].astype(np.float64), raw[:, 2:4])
    columns = decoding.grid_shape(grid)[1]
    origin = np.stack([cells % columns, cells // columns], axis=1)
    if family is Family.YOLOV8:
        reach = mean_bin(raw.reshape(-1, 4, decoding.bins))
        centre = origin + 0.5
        return np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1) * grid.stride
    sizes = np.array(grid.anchors)[anchors]
    squashed = raw if decoding.activated else sigmoid(raw)
    if family is Family.YOLOV3:
        free = grid.scale_x_y * squashed[:, :2] - (grid.scale_x_y - 1) / 2
        centre = (free + origin) * grid.stride
        return _around(centre, np.exp(np.minimum(raw[:, 2:4], decoding.log_size_limit)) * sizes)
    centre = (2 * squashed[:, :2] - 0.5 + origin) * grid.stride
    return _around(centre, (2 * squashed[:, 2:4]) ** 2 * sizes)


def _activation(decoding: Decoding) -> Callable[[Output], Output]:
    return probability if decoding.family.decoded or decoding.activated else sigmoid


def _around(centre: npt.NDArray[Any], size: npt.NDArray[Any]) -> Floats:
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float64)
