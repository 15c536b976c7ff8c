"""Shapes that a file leaves open → sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx

from trt_matrix.core.network.graph import STANDARD_DOMAINS, Dim, TensorInfo, info, keep
from trt_matrix.core.network.image_input import CHANNELS, IMAGE_RANK, shape_text
from trt_matrix.core.prepared.constants import fixed
from trt_matrix.core.words import yaml_word

MOST_ELEMENTS = 1 << 28
"""Of one input: 1 GiB as float32."""


class PinError(ValueError):
    """An input has no shape that can be used; says what to write."""


def stated(info: TensorInfo, sizes: Sequence[int], batch: int = 1) -> tuple[int, ...]:
    """Returns the sizes that a user gives an input: also others than the file fixes, which tracing leaves there.

    Raises:
        PinError: they are too many or too few, too large, or another number of images at once than `batch`.
    """
    has = f"{info.name!a:.200} has the shape {shape_text(info)} in its file"
    if info.shape is not None and len(sizes) != len(info.shape):
        message = f"{list(sizes)!s:.80} are {len(sizes)} sizes; {has}, with {len(info.shape)}"
        raise PinError(message)
    if sizes and sizes[0] != batch:
        advice = _advice(info, [batch, *sizes[1:]])
        fed = "one by one" if batch == 1 else f"{batch} at once"
        message = (
            f"{has}: images are fed {fed}, so its batch is to be {batch}; {advice}, if it takes that, or feed "
            f"{sizes[0]} at once: model: {{batch: {sizes[0]}}}"
        )
        raise PinError(message)
    if math.prod(sizes) > MOST_ELEMENTS:
        message = f"{list(sizes)!s:.80} is too large: more than {MOST_ELEMENTS} elements"
        raise PinError(message)
    return tuple(sizes)


def image_shape(info: TensorInfo, size: tuple[int, int] | None, batch: int = 1) -> tuple[int, ...]:
    """Returns the shape of an image input: the batch, and height and width of `size`, where they are open.

    Raises:
        PinError: the file leaves open what nobody said.
    """
    if info.shape is None:
        example = [batch, 3, 640, 640]
        message = f"input {info.name!r} has no shape in its file; {_advice(info, example)}"
        raise PinError(message)
    shape = list[Dim](info.shape)
    # One image is what many exports fix that take more; where the network does not, that is told.
    if shape and fixed(shape[0]) in (None, 1):
        shape[0] = batch
    rows, columns = (1, 2) if channels_last(info.shape) else (2, 3)
    if len(shape) == IMAGE_RANK and size:
        for place, wanted in zip((rows, columns), size, strict=True):
            shape[place] = fixed(shape[place]) or wanted
    open_ = [place for place, dim in enumerate(shape) if fixed(dim) is None]
    if not open_:
        return stated(info, [dim for dim in shape if isinstance(dim, int)], batch)
    named = " and ".join(_called(info.shape, place) for place in open_)
    example = [fixed(dim) or (3 if place == 1 else 640) for place, dim in enumerate(shape)]
    advice = _advice(info, example)
    if len(shape) == IMAGE_RANK and set(open_) <= {rows, columns}:
        sides = [example[rows], example[columns]]
        advice = f"say which size images get, such as data: {{preprocess: {{size: {sides}}}}}"
    problem = f"input {info.name!r} has the shape {shape_text(info)} in its file: {named}"
    message = f"{problem} {'is' if len(open_) == 1 else 'are'} open; {advice}"
    raise PinError(message)


def channels_last(shape: Sequence[Dim]) -> bool:
    """Whether a shape of four has its channels last, as far as it is fixed."""
    return len(shape) == IMAGE_RANK and shape[1] not in CHANNELS and shape[3] in CHANNELS


def own_size(image: TensorInfo) -> tuple[int, int] | None:
    """Returns height and width that the file fixes, None where it leaves one open or takes no image."""
    if image.shape is None or len(image.shape) != IMAGE_RANK:
        return None
    rows, columns = (1, 2) if channels_last(image.shape) else (2, 3)
    height, width = fixed(image.shape[rows]), fixed(image.shape[columns])
    return (height, width) if height and width else None


def symbols_of(info: TensorInfo, sizes: Sequence[int]) -> dict[str, int]:
    """Returns symbol of the file → size, of one input.

    One that stands for several sizes (`None` for all that is open, as some exporters write) is no name of a size.
    """
    stated = zip(info.shape or (), sizes, strict=False)
    pairs = {(own, size) for own, size in stated if isinstance(own, str)}
    named = [own for own, _ in pairs]
    return {own: size for own, size in pairs if named.count(own) == 1}


def sized(info: TensorInfo, symbols: Mapping[str, int]) -> TensorInfo:
    """Returns an input with the symbols in its shape that are known as sizes."""
    if info.shape is None:
        return info
    shape = tuple(symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in info.shape)
    return replace(info, shape=shape)


def symbols_by(
    image: TensorInfo, sizes: Sequence[int] | None, size: tuple[int, int] | None, batch: int = 1
) -> dict[str, int]:
    """Returns the symbols that the image's shape decides, or what the user states of it; none where it has none yet."""
    try:
        shape = stated(image, sizes, batch) if sizes else image_shape(image, size, batch)
        return symbols_of(image, shape)
    except PinError:
        return {}


def pin(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]], symbols: Mapping[str, int]
) -> None:
    """Writes shapes of inputs into `model`, and drops what it says of others that depends on them.

    A symbol of the file has its size wherever else it stands.
    """
    retraced = False
    for value in model.graph.input:
        if value.name in shapes:
            tensor = value.type.tensor_type
            pairs = zip(tensor.shape.dim, shapes[value.name], strict=False)
            retraced = retraced or any(
                fixed(dim.dim_value) not in (None, size) for dim, size in pairs
            )
            del tensor.shape.dim[:]
            for size in shapes[value.name]:
                tensor.shape.dim.add().dim_value = size
    # What exporters wrote of tensors inside may be of another size; nobody else knows those of plugins.
    plugins = [node for node in model.graph.node if node.domain not in STANDARD_DOMAINS]
    custom = {tensor for node in plugins for tensor in node.output}
    keep(model.graph.value_info, lambda value: value.name in custom)
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = symbols[dim.dim_param]
            elif retraced or not fixed(dim.dim_value):
                dim.Clear()


def contradicted(model: onnx.ModelProto) -> bool:
    """Whether shapes that the file states do not follow from its inputs, as far as inference knows its operators."""
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return True
    return False


def forget_stale(model: onnx.ModelProto) -> tuple[str, ...]:
    """Makes outputs say the shape that follows from the inputs, where their own contradicts it.

    Exporters leave there what they traced; engines pass over it, ONNX's own inference does not.

    Returns:
        The outputs that were.
    """
    own = [type(value).FromString(value.SerializeToString()) for value in model.graph.output]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
    except onnx.shape_inference.InferenceError:
        known = model.graph.output  # whoever asks for shapes says so
    pairs = [(stated, info(value)) for stated, value in zip(own, known, strict=True)]
    for value, stated in zip(model.graph.output, own, strict=True):
        value.CopyFrom(stated)
    stale = {
        stated.name: pair.shape
        for stated, pair in pairs
        if pair.shape is not None and _contradicts(info(stated).shape, pair.shape)
    }
    for value in model.graph.output:
        if value.name in stale:
            del value.type.tensor_type.shape.dim[:]
            for size in stale[value.name]:
                dim = value.type.tensor_type.shape.dim.add()
                if isinstance(size, int):
                    dim.dim_value = size
    return tuple(stale)


def _contradicts(stated: Sequence[Dim] | None, follows: Sequence[Dim]) -> bool:
    if stated is None:
        return False
    return len(stated) != len(follows) or any(
        fixed(own) and fixed(other) and own != other
        for own, other in zip(stated, follows, strict=True)
    )


def state_outputs(model: onnx.ModelProto) -> None:
    """Writes the shapes of the outputs that follow from those of the inputs into `model`."""
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
    except onnx.shape_inference.InferenceError:
        return  # whoever asks for shapes says so
    for output, value in zip(model.graph.output, known, strict=True):
        output.CopyFrom(value)


def _called(shape: Sequence[Dim], place: int) -> str:
    own = shape[place]
    return f"{own!a:.80}" if isinstance(own, str) else f"dimension {place}"


def _advice(info: TensorInfo, example: Sequence[int]) -> str:
    return (
        f"say what it gets, such as model: {{shapes: {{{yaml_word(info.name)}: {list(example)}}}}}"
    )
