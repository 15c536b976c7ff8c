"""The detector: one description that both PyTorch (training) and ONNX (export) are built from.

A small YOLO with three heads. The medium and the small head lie behind bilinear 2× upsampling and
concatenation; the large one does not. ReLU everywhere, ordinary convolutions, residual additions.
"""

from dataclasses import dataclass

HEADS = {"large": 32, "medium": 16, "small": 8}
"""Output → stride in pixels, in the order in which the network computes them."""

ANCHORS = {"large": (80.0, 105.0), "medium": (37.0, 48.0), "small": (17.0, 22.0)}
"""Output → width and height in pixels of its only anchor."""

CLASSES = 10
CHANNELS = 5 + CLASSES
"""tx, ty, tw, th, objectness, then one logit a class."""


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with bias; `relu` after it. In training, batch normalisation stands between."""

    name: str
    source: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    relu: bool = True


@dataclass(frozen=True, slots=True)
class Add:
    name: str
    sources: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Upsample:
    """Bilinear, factor 2, asymmetric: out[2i] = x[i], out[2i+1] = (x[i] + x[min(i+1, n−1)]) / 2."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Concat:
    name: str
    sources: tuple[str, ...]


Layer = Conv | Add | Upsample | Concat

INPUT = "images"


def _stage(name: str, source: str, inputs: int, outputs: int) -> list[Layer]:
    """A stride-2 convolution and a residual block on it; its output is `NAME/add`."""
    half = outputs // 2
    return [
        Conv(f"{name}/down", source, inputs, outputs, stride=2),
        Conv(f"{name}/squeeze", f"{name}/down", outputs, half, kernel=1),
        Conv(f"{name}/expand", f"{name}/squeeze", half, outputs),
        Add(f"{name}/add", (f"{name}/down", f"{name}/expand")),
    ]


def _head(name: str, source: str, inputs: int, width: int) -> list[Layer]:
    return [
        Conv(f"{name}/conv", source, inputs, width),
        Conv(name, f"{name}/conv", width, CHANNELS, kernel=1, relu=False),
    ]


def _up(
    name: str, source: str, inputs: int, lateral: str, lateral_width: int, width: int
) -> list[Layer]:
    """Brings `source` to the resolution of `lateral`; the two together leave as `NAME/merge`."""
    narrow = inputs // 2
    return [
        Conv(f"{name}/reduce", source, inputs, narrow, kernel=1),
        Upsample(f"{name}/upsample", f"{name}/reduce"),
        Concat(f"{name}/concat", (f"{name}/upsample", lateral)),
        Conv(f"{name}/merge", f"{name}/concat", narrow + lateral_width, width, kernel=1),
    ]


LAYERS: tuple[Layer, ...] = (
    Conv("stem", INPUT, 3, 16, stride=2),
    *_stage("stage4", "stem", 16, 32),
    *_stage("stage8", "stage4/add", 32, 64),
    *_stage("stage16", "stage8/add", 64, 96),
    *_stage("stage32", "stage16/add", 96, 160),
    Conv("neck32", "stage32/add", 160, 128, kernel=1),
    *_head("large", "neck32", 128, 192),
    *_up("neck16", "neck32", 128, "stage16/add", 96, 80),
    *_head("medium", "neck16/merge", 80, 128),
    *_up("neck8", "neck16/merge", 80, "stage8/add", 64, 48),
    *_head("small", "neck8/merge", 48, 96),
)
