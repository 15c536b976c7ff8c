"""Recorded outputs → the arrays that a job would have written: one head of one pass at a time."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trt_matrix.containers.job.arrays import ArrayWriter
from trt_matrix.dumps.files import files_below, shapes_that_fit, tensors
from trt_matrix.dumps.pattern import fields, filled, matching
from trt_matrix.dumps.suspicions import looks_like, order_of, other_dtype
from trt_matrix.dumps.tensor import (
    ChannelOrder,
    DType,
    DumpError,
    FileFormat,
    Floats,
    Tensor,
    place,
    sample,
)

NAMED = 3
"""Files of a kind that a message names."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """Where the files of one pass are."""

    folder: Path
    files: str
    """Pattern of their names."""
    images: Sequence[str]
    """Names of the evaluation images without suffix, in their order."""
    form: FileFormat = field(default_factory=FileFormat)
    names: Mapping[str, str] = field(default_factory=dict)
    """head → what the files call it; default: the head's own name."""

    def called(self, head: str) -> str:
        return self.names.get(head, head)


@dataclass(slots=True)
class Found:
    """What the reader of a head should know."""

    files: int = 0
    extra: list[str] = field(default_factory=list)
    """Files of no evaluation image."""
    nonfinite: dict[str, int] = field(default_factory=dict)
    """File → its values that are NaN or infinite."""


def write_head(recorded: Recorded, head: str, shape: Shape, repeat: int, target: Path) -> Found:
    """Writes one head of all images as a job does: float32 (images, …), channels first.

    Memory is constant: one image at a time. `shape` is of one image, without a batch axis; `repeat` is from 0.

    Raises:
        DumpError: files are missing, of another size, or hold other numbers than they should.
    """
    written = Found()
    writer = ArrayWriter(str(target), len(recorded.images), shape)
    try:
        for tensor in _tensors(recorded, head, shape, repeat, written):
            for row in tensor.blocks(math.prod(shape)):
                _count_nonfinite(row, tensor, recorded, written)
                writer.append(row.reshape(shape))
        writer.close()
    finally:
        writer.discard()
    return written


def _tensors(
    recorded: Recorded, head: str, shape: Shape, repeat: int, written: Found
) -> Iterator[Tensor]:
    """Yields the head's tensors in the order of the images: one each, or one of all."""
    values: dict[str, str | int] = {"head": recorded.called(head), "repeat": repeat}
    own = fields(recorded.files) & {"image", "index"}
    images = len(recorded.images)
    names = [
        filled(recorded.files, {**values, "image": image, "index": index})
        for index, image in enumerate(recorded.images if own else recorded.images[:1])
    ]
    if len(set(names)) < len(names):
        message = f"{recorded.files}: two images have one name: use {{index}} in place of {{image}}"
        raise DumpError(message)
    written.files = len(names)
    _check_there(recorded, names, values, written)
    for number, name in enumerate(names):
        tensor = _tensor(recorded, name, head, shape, 1 if own else images)
        if number == 0:
            _check_type(tensor, recorded)
        yield tensor


def _check_there(
    recorded: Recorded,
    names: Sequence[str],
    values: Mapping[str, str | int],
    written: Found,
) -> None:
    """Notes files of no evaluation image.

    Raises:
        DumpError: files are missing; names them.
    """
    expected = set(names)
    pattern = matching(recorded.files, values)
    there = set(files_below(recorded.folder, ()))
    written.extra = sorted(name for name in there - expected if pattern.fullmatch(name))
    missing = [name for name in names if name not in there]
    if missing:
        message = f"{recorded.folder}: {_some(missing)} missing, {len(missing):,} of {len(names):,}"
        if written.extra:
            message += f"; {_some(written.extra)} there instead: are they named after other images?"
        raise DumpError(message)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"


def _tensor(recorded: Recorded, name: str, head: str, shape: Shape, images: int) -> Tensor:
    """Returns the tensor of a head in one file, with the shape (images, …shape)."""
    path = recorded.folder / name
    # The shape is given below, where it is known how many images the file should hold.
    form = dataclasses.replace(recorded.form, shape=None, layout=ChannelOrder.NCHW)
    members = tensors(path, form)
    tensor = members[0]
    if tensor.member is not None:
        called = {member.member: member for member in members}
        wanted = f"{recorded.called(head)}.npy"
        if wanted not in called and (len(members) > 1 or "head" not in fields(recorded.files)):
            there = ", ".join(member.where for member in members[:NAMED])
            message = f"{path} has no array {recorded.called(head)!r}, only {there}: see `heads`"
            raise DumpError(message)
        tensor = called.get(wanted, tensor)
    elif "head" not in fields(recorded.files) and len(recorded.names) > 1:
        raise DumpError(f"{recorded.files!r} names no {{head}}: which head is it?")
    return _shaped(tensor, (images, *shape), recorded.form.layout)


def _shaped(tensor: Tensor, shape: Shape, layout: ChannelOrder) -> Tensor:
    """Returns the tensor with its axes named.

    Raises:
        DumpError: it has another size, or its axes are in another order.
    """
    if tensor.elements != math.prod(shape):
        raise DumpError(_wrong_size(tensor, shape))
    in_file = (
        (shape[0], *shape[2:], shape[1]) if layout is ChannelOrder.NHWC and shape[2:] else shape
    )
    stated = tensor.shape or ()
    # A batch of one may be left out, and a flat array has no axes to be in another order.
    if _long(stated) not in ((), _long(in_file)) and len(_long(stated)) > 1:
        message = f"{tensor.where} has shape {stated}, expected {in_file} ({layout}): see `layout`"
        raise DumpError(message)
    return dataclasses.replace(
        tensor, shape=shape, layout=layout if shape[2:] else ChannelOrder.NCHW
    )


def _long(shape: Shape) -> Shape:
    return tuple(axis for axis in shape if axis > 1)


def _wrong_size(tensor: Tensor, shape: Shape) -> str:
    expected, width = math.prod(shape), tensor.dtype.itemsize
    message = (
        f"{tensor.where} has {tensor.elements * width:,} bytes, expected {expected * width:,}: "
        f"{shape} of {tensor.dtype.name}"
    )
    for dtype in DType:
        size = np.dtype(dtype).itemsize
        if tensor.raw and size != width and tensor.elements * width == expected * size:
            return f"{message}; it fits as {dtype}: see `dtype`"
    if fitting := shapes_that_fit(tensor.elements, shape):
        return f"{message}; {' or '.join(map(str, fitting))} would fit"
    if tensor.elements == expected + 1:
        return f"{message}; it has one value more, as a loop up to i <= n writes"
    return message


def _check_type(tensor: Tensor, recorded: Recorded) -> None:
    """Raises DumpError where raw bytes look like other numbers than the user thinks."""
    if not tensor.raw or recorded.form.sure:
        return
    other = other_dtype(sample(tensor), tensor.dtype)
    if other is not None:
        keys = f"byte_order: {order_of(other)}, dtype: {other.name}"
        raise DumpError(
            f"{tensor.where} looks like {looks_like(other)}, as {looks_like(tensor.dtype)} its "
            f"magnitudes make no sense: say `{keys}` in matrix.yaml"
        )


def _count_nonfinite(row: Floats, tensor: Tensor, recorded: Recorded, written: Found) -> None:
    count = row.size - int(np.count_nonzero(np.isfinite(row)))
    if count:
        name = place(tensor.path.relative_to(recorded.folder), tensor.member)
        written.nonfinite[name] = written.nonfinite.get(name, 0) + count
