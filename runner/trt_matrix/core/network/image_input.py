"""What a network wants to be fed: one image of a fixed size, channels first or last, or one sample of another kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph

CHANNELS = (1, 3, 4)
"""Of images from files: grey, of three colours, with how opaque they are."""
MOST_CHANNELS = 16
"""Of what is still taken for an image, where samples are arrays: two frames, depth, infrared."""
ARRAYS = (
    "where it takes no images, give its samples as arrays: data: {evaluation: {arrays: FOLDER}}"
)
IMAGE_RANK = 4
"""Batch, channels, height, width, in either order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInput:
    """What takes images, or samples of an image's shape."""

    name: str
    channels: int
    """1, 3 or 4 of images; more where samples are arrays."""
    height: int
    width: int
    channels_last: bool
    """(1, h, w, c) in place of (1, c, h, w)."""
    fed: tuple[int, ...] = ()
    """Shape of what is fed for one image, where other inputs are beside it; see `prepared.packing`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image, wherever the network has its channels."""
        return self.channels, self.height, self.width

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one image as the network takes it, without its batch."""
        if self.fed:
            return self.fed
        return (*self.shape[1:], self.channels) if self.channels_last else self.shape


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleInput:
    """What takes no image by its shape."""

    name: str
    shape: tuple[int, ...]
    """Of one sample, without its batch."""
    channels_last: bool = False

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one sample as the network takes it, without its batch."""
        return self.shape


def sample_input(model: onnx.ModelProto, batch: int = 1) -> ImageInput | SampleInput:
    """Returns the network's one input, whatever it takes: an image where it has height, width and few channels.

    Raises:
        GraphError: several inputs or none, not float32, no fixed size, or another batch.
    """
    info, sizes = _sizes(model)
    if not sizes or sizes[0] != batch:
        message = (
            f"input {info.name!r} has shape {shape_text(info)}: a batch of {batch} is expected in front, as "
            "model.batch says (1 where it is left out); export the network so"
        )
        raise graph.GraphError(message)
    if len(sizes) != IMAGE_RANK or min(sizes[1], sizes[3]) > MOST_CHANNELS:
        return SampleInput(name=info.name, shape=tuple(sizes[1:]))
    return image_of(info.name, sizes[1:], last=sizes[1] > MOST_CHANNELS)


def image_input(model: onnx.ModelProto, batch: int = 1) -> ImageInput:
    """Returns the network's one image input.

    Raises:
        GraphError: several inputs or none, not float32, no fixed size, or not so many images.
    """
    info, sizes = _sizes(model)
    if len(sizes) != IMAGE_RANK or sizes[0] != batch:
        images = "one image" if batch == 1 else f"{batch} images"
        message = (
            f"input {info.name!r} has shape {shape_text(info)}: {images}, such as "
            f"{[batch, 3, 320, 320]}, {'is' if batch == 1 else 'are'} expected; export the network with batch "
            f"{batch}, or {ARRAYS}"
        )
        raise graph.GraphError(message)
    image = image_of(info.name, sizes[1:], last=sizes[1] not in CHANNELS and sizes[3] in CHANNELS)
    if image.channels not in CHANNELS:
        message = (
            f"input {info.name!r} has shape {shape_text(info)}: 1, 3 or 4 channels are expected of images, "
            f"right behind the batch or last; {ARRAYS}"
        )
        raise graph.GraphError(message)
    return image


def image_of(name: str, sample: Sequence[int], *, last: bool) -> ImageInput:
    """Returns the input that takes images of this shape, without a batch, whose channels come first or last."""
    channels, height, width = (sample[2], *sample[:2]) if last else sample
    return ImageInput(name=name, channels=channels, height=height, width=width, channels_last=last)


def batch_of(model: onnx.ModelProto) -> int:
    """Returns how many images a network takes at once: 1 where it does not fix it.

    Raises:
        GraphError: several inputs or none, or not float32.
    """
    first = (graph.require_float32_input(model).shape or (1,))[:1]
    return first[0] if first and isinstance(first[0], int) and first[0] > 0 else 1


def _sizes(model: onnx.ModelProto) -> tuple[graph.TensorInfo, list[int]]:
    """Returns the one input, and its sizes.

    Raises:
        GraphError: there are several or none, it is not float32, or of no fixed size.
    """
    info = graph.require_float32_input(model)
    if info.shape is None:
        message = f"input {info.name!r} has no shape: export the network for a fixed size"
        raise graph.GraphError(message)
    # Some exporters write 0 or -1 for what they leave open.
    sizes = [size for size in info.shape if isinstance(size, int) and size > 0]
    if len(sizes) < len(info.shape):
        places = [(at, size) for at, size in enumerate(info.shape) if size not in sizes]
        open_ = " and ".join(f"{at} ({size!r})" if size else str(at) for at, size in places)
        message = (
            f"input {info.name!r} has the dynamic shape {shape_text(info)}: dimension {open_} is "
            "open; export the network with batch 1 and a fixed size"
        )
        raise graph.GraphError(message)
    return info, sizes


def shape_text(info: graph.TensorInfo) -> str:
    """Returns `[1, 3, batch, ?]`, on one line whatever the model's symbols hold."""
    if info.shape is None:
        return "unknown"
    sizes = ("?" if size is None else str(size) for size in info.shape)
    return f"[{', '.join(''.join(c if c.isprintable() else '?' for c in size) for size in sizes)}]"
