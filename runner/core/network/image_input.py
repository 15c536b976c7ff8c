"""What a network wants to be fed: one image of a fixed size, channels first or last."""

from dataclasses import dataclass

import onnx

from runner.core.network import graph

CHANNELS = (1, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInput:
    name: str
    channels: int
    """1 or 3."""
    height: int
    width: int
    channels_last: bool
    """(1, h, w, c) in place of (1, c, h, w)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image, wherever the network has its channels."""
        return self.channels, self.height, self.width


def image_input(model: onnx.ModelProto) -> ImageInput:
    """Returns the network's one image input.

    Raises:
        GraphError: several inputs or none, not float32, no fixed size, or no single image.
    """
    info = graph.require_float32_input(model)
    if info.shape is None:
        message = f"input {info.name!r} has no shape: export the network for a fixed size"
        raise graph.GraphError(message)
    # Some exporters write 0 or -1 for what they leave open.
    sizes = [size for size in info.shape if isinstance(size, int) and size > 0]
    if len(sizes) < len(info.shape):
        open_ = " and ".join(
            f"{index} ({size!r})" if size else str(index)
            for index, size in enumerate(info.shape)
            if not (isinstance(size, int) and size > 0)
        )
        message = (
            f"input {info.name!r} has the dynamic shape {shape_text(info)}: dimension {open_} is "
            "open; export the network with batch 1 and a fixed size"
        )
        raise graph.GraphError(message)
    if len(sizes) != 4 or sizes[0] != 1:
        message = (
            f"input {info.name!r} has shape {shape_text(info)}: one image, such as "
            "[1, 3, 320, 320], is expected; export the network with batch 1"
        )
        raise graph.GraphError(message)
    channels_last = sizes[1] not in CHANNELS and sizes[3] in CHANNELS
    channels, height, width = (sizes[3], *sizes[1:3]) if channels_last else sizes[1:]
    if channels not in CHANNELS:
        message = (
            f"input {info.name!r} has shape {shape_text(info)}: 1 or 3 channels are expected, "
            "right behind the batch or last"
        )
        raise graph.GraphError(message)
    return ImageInput(
        name=info.name,
        channels=channels,
        height=height,
        width=width,
        channels_last=channels_last,
    )


def shape_text(info: graph.TensorInfo) -> str:
    """Returns `[1, 3, batch, ?]`, on one line whatever the model's symbols hold."""
    if info.shape is None:
        return "unknown"
    sizes = ("?" if size is None else str(size) for size in info.shape)
    return f"[{', '.join(''.join(c if c.isprintable() else '?' for c in size) for size in sizes)}]"
