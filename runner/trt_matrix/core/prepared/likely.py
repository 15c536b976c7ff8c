"""What `init` proposes for a network that cannot be fed as it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.graph import TensorInfo
from trt_matrix.core.network.image_input import IMAGE_RANK
from trt_matrix.core.network.ordering import reads
from trt_matrix.core.prepared import pinning
from trt_matrix.core.prepared.constants import fixed
from trt_matrix.core.prepared.preparing import InputWishes, PreparationError, Prepared, prepare
from trt_matrix.core.prepared.proposing import image_among, proposed, sizes_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Likely:
    """What `init` writes for a network, and what that makes of it."""

    wishes: InputWishes
    """What to write into matrix.yaml; `size` only where the file leaves height or width open."""
    prepared: Prepared
    """The network with that."""
    guesses: Sequence[str]
    """What of it nothing says, for the user to check: `size [640, 640]`."""


def likely(model: onnx.ModelProto, brought: Mapping[str, Sequence[int]] | None = None) -> Likely:
    """Returns what the inputs of a network are likely fed.

    Weights may be missing. `brought` is array of the user's samples → its shape: where they are all of the
    inputs, each is fed its own.

    Raises:
        PreparationError: it cannot be fed whatever is proposed; tells what the first proposal lacks.
    """
    read = {name for node in model.graph.node for name in reads(node)}
    every_input = graph.inputs(model)
    tensors = [tensor for tensor in every_input if tensor.name in read] or list(every_input)
    if len(tensors) > 1 and brought and all(tensor.name in brought for tensor in tensors):
        open_ = filter(_open, tensors)
        shapes = {tensor.name: _brought(tensor, brought[tensor.name]) for tensor in open_}
        every = InputWishes(shapes=shapes, each=True)
        return Likely(wishes=every, prepared=prepare(model, every), guesses=())
    image = image_among(tensors)
    others = [tensor for tensor in tensors if tensor != image]
    if image is None:  # none, or several that may be it: the message says so
        return Likely(wishes=InputWishes(), prepared=prepare(model, InputWishes()), guesses=())
    refused = None
    for wishes in _proposals(model, image, others):
        try:
            prepared = prepare(model, wishes)
        except PreparationError as error:
            refused = refused or error
        else:
            return Likely(wishes=wishes, prepared=prepared, guesses=_guesses(model, wishes, others))
    assert refused is not None  # noqa: S101 - `_sizes` gives one at least
    raise refused


def _open(info: TensorInfo) -> bool:
    return info.shape is None or any(fixed(dim) is None for dim in info.shape)


def _brought(info: TensorInfo, shape: Sequence[int]) -> Sequence[int]:
    """Returns the shape of an open input by an array of one sample, which may have no batch in front."""
    rank = len(shape) if info.shape is None else len(info.shape)
    return [1, *shape[1:]] if len(shape) == rank else [1, *shape]


def _proposals(
    model: onnx.ModelProto, image: TensorInfo, others: Sequence[TensorInfo]
) -> Iterator[InputWishes]:
    """Yields what to try: one image at a time, then the batch that the file fixes."""
    for batch in dict.fromkeys((1, (image.shape and fixed(image.shape[0])) or 1)):
        for size in _sizes(model, image):
            shapes = _shapes(image, size, batch)
            symbols = pinning.symbols_by(image, shapes.get(image.name), size, batch)
            side = size or pinning.own_size(image)
            yield InputWishes(
                shapes=shapes,
                constants={
                    other.name: proposed(pinning.sized(other, symbols), side)[0] for other in others
                },
                size=size,
                batch=batch,
            )


def _sizes(model: onnx.ModelProto, image: TensorInfo) -> Sequence[tuple[int, int] | None]:
    shaped = image.shape is not None and len(image.shape) != IMAGE_RANK
    return (None,) if shaped or pinning.own_size(image) else sizes_of(model)


def _shapes(
    image: TensorInfo, size: tuple[int, int] | None, batch: int
) -> Mapping[str, Sequence[int]]:
    """Returns the shape that has to be written: where more than batch, height and width is open."""
    try:
        pinning.image_shape(image, size, batch)
    except pinning.PinError:
        shape = (None,) * IMAGE_RANK if image.shape is None else image.shape
        if shape and all(fixed(own) for own in shape[1:]):  # tracing left a batch of its own
            return {image.name: [batch, *(own for own in shape[1:] if isinstance(own, int))]}
        wanted = size or pinning.own_size(image)
        if wanted is None or len(shape) != IMAGE_RANK:
            return {}  # no image: what is missing is told
        pairs = zip(shape, (batch, 3, *wanted), strict=True)
        sizes = [fixed(own) or size for own, size in pairs]
        return {image.name: [batch, *sizes[1:]]}
    return {}


def _guesses(
    model: onnx.ModelProto, wishes: InputWishes, others: Sequence[TensorInfo]
) -> Sequence[str]:
    sized = wishes.size and len(sizes_of(model)) > 1
    return (
        *((f"the size {list(wishes.size or ())}",) if sized else ()),
        *(f"the shape of {name}" for name in wishes.shapes),
        *(f"what {other.name} is fed" for other in others if not proposed(other, wishes.size)[1]),
    )
