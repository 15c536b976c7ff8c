"""What a network's inputs are likely fed, by their names and shapes: for messages, and for `init`."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import onnx

from trt_matrix.core.network.graph import TensorInfo
from trt_matrix.core.network.image_input import IMAGE_RANK
from trt_matrix.core.prepared.constants import fixed
from trt_matrix.core.words import yaml_word

SIDES = (640, 416, 320, 224, 512, 300)
"""Of images, where the network says none: what published detectors take, the most common first."""
_WRITTEN = 64
"""More elements are not written out: one number fills them."""


def sizes_of(model: onnx.ModelProto) -> tuple[tuple[int, int], ...]:
    """Returns heights and widths that a network which leaves them open may take, the likeliest first.

    Ultralytics' exports say it in their metadata: imgsz.
    """
    for entry in model.metadata_props:
        stated = re.fullmatch(r"\[(\d{1,5}), ?(\d{1,5})\]", entry.value)
        if entry.key == "imgsz" and stated:
            return ((int(stated[1]), int(stated[2])),)
    return tuple((side, side) for side in SIDES)


def image_among(infos: Sequence[TensorInfo]) -> TensorInfo | None:
    """Returns the input that images fill: the one alone, or the one of four dimensions; None in doubt."""
    if len(infos) == 1:
        return infos[0]
    images = [info for info in infos if info.shape is None or len(info.shape) == IMAGE_RANK]
    return images[0] if len(images) == 1 else None


def proposed(info: TensorInfo, size: tuple[int, int] | None) -> tuple[Any, bool]:
    """Returns what to write for an input that no image fills, and whether its name says so; else zeros.

    `size` are height and width of the network's images, where known.
    """
    name = info.name.lower()
    shape = [fixed(dim) or 1 for dim in info.shape or ()]
    height, width = size or (SIDES[0], SIDES[0])
    if "scale" in name:  # from an image to the network's input: PaddleDetection's scale_factor
        return _filled(shape, 1), True
    if shape[-1:] == [2] and "shape" in name:  # PaddleDetection's im_shape
        return _filled(shape[:-1], [height, width]), True
    if shape[-1:] == [2] and "size" in name:  # RT-DETR's orig_target_sizes
        return _filled(shape[:-1], [width, height]), True
    if shape[-1:] == [3] and "im_info" in name:  # Faster R-CNN's: height, width, scale
        return _filled(shape[:-1], [height, width, 1]), True
    if name == "pixel_mask":  # DETR's, as Transformers exports it: 1 where there is an image
        return _filled(shape, 1), True
    if info.dtype == "bool":
        return _filled(shape, False), "train" in name
    return _filled(shape, 0), False


def constants_text(infos: Sequence[TensorInfo], size: tuple[int, int] | None) -> str:
    """Returns `constants: {scale_factor: [1, 1]}` for matrix.yaml; VALUE where a name says nothing."""
    constants = ((yaml_word(info.name), *proposed(info, size)) for info in infos)
    pairs = (f"{name}: {json.dumps(value) if said else 'VALUE'}" for name, value, said in constants)
    return f"constants: {{{', '.join(pairs)}}}"


def _filled(shape: Sequence[int], value: Any) -> Any:
    """Returns nested lists of a shape, without the 1 of its batch."""
    inner = shape[1:] if shape[:1] == [1] and (len(shape) > 1 or isinstance(value, list)) else shape
    if math.prod(inner) > _WRITTEN:
        return value
    for size in reversed(inner):
        value = [value] * size
    return value
