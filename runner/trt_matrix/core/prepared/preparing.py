"""What is done to a network before anything else reads it, so that jobs can feed it.

A job feeds one float32 tensor of a fixed shape. So shapes that the file leaves open are pinned, inputs
that no image fills become constants, and numbers of other types are cast. The user's file stays as it
is; what was done is told, and written down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.graph import GraphError, TensorInfo
from trt_matrix.core.network.image_input import shape_text
from trt_matrix.core.network.ordering import reads
from trt_matrix.core.prepared import pinning
from trt_matrix.core.prepared.constants import ConstantError, constant, fixed
from trt_matrix.core.prepared.packing import InputPart, pack, parts_of
from trt_matrix.core.prepared.pinning import PinError
from trt_matrix.core.prepared.proposing import constants_text, image_among
from trt_matrix.core.prepared.raising import CASTABLE, half_types, raise_halves, take_float32
from trt_matrix.core.prepared.refusing import refusal
from trt_matrix.core.words import listed

Place = tuple[str, ...]
"""Below `model` of matrix.yaml: ("shapes", "image"); empty where it is the network's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputWishes:
    """What a user says of inputs."""

    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Input → sizes."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Input → what it is fed with every image: a number, or nested lists."""
    size: tuple[int, int] | None = None
    """Height and width of an image, for a network that leaves them open."""
    batch: int = 1
    """Images at once."""
    each: bool = False
    """Whether every sample brings all inputs that have no constant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A network that jobs can feed."""

    model: onnx.ModelProto
    """With one float32 input of a fixed shape; the very network that was given where it had one."""
    told: Sequence[str] = ()
    """What was done, in words that follow one another: `'image' is pinned to [1, 3, 8, 8]`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs; empty where nothing was done."""
    pixels: str | None = None
    """Type of integers that the input had, None where it took floats."""
    parts: tuple[InputPart, ...] = ()
    """What its input holds, where several inputs were packed into one."""


NO_WISHES = InputWishes()


class PreparationError(GraphError):
    """A network cannot be fed; every reason with its place in matrix.yaml."""

    def __init__(self, problems: Sequence[tuple[Place, str]]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = tuple(problems)


def prepare(model: onnx.ModelProto, wishes: InputWishes) -> Prepared:
    """Returns the network with one float32 input of a fixed shape.

    The model has no functions; names that it has not are passed over.

    Raises:
        PreparationError: an input that nobody says anything of, or what is said does not fit.
    """
    if _is_plain(model, wishes) and not pinning.contradicted(model):
        return Prepared(model=model)
    prepared = _Preparation(model, wishes).prepared()
    return prepared if prepared.facts else Prepared(model=model)


def _is_plain(model: onnx.ModelProto, wishes: InputWishes) -> bool:
    tensors = graph.inputs(model)
    return (
        len(tensors) == 1
        and tensors[0].dtype == "float32"
        and not any(tensor.name in (*wishes.shapes, *wishes.constants) for tensor in tensors)
        and all(fixed(size) for size in tensors[0].shape or (None,))
        and (tensors[0].shape or ())[:1] == (wishes.batch,)
        and not half_types(model)
    )


class _Preparation:
    def __init__(self, model: onnx.ModelProto, wishes: InputWishes) -> None:
        self.before = model
        self.model = graph.copied(model)
        self.wishes = wishes
        self.problems: list[tuple[Place, str]] = []
        self.told: list[str] = []
        self.facts: dict[str, Any] = {}
        self.symbols: dict[str, int] = {}

    def prepared(self) -> Prepared:
        pixels = None
        self._raise_halves()
        self._bake()
        self._drop_unread()
        several = len(graph.inputs(self.model)) > 1 and self.wishes.each
        parts = self._pack() if several else ()
        image = None if several else self._image()
        if image:
            self._pin(image)
            if image.dtype in CASTABLE:
                pixels = None if image.dtype == "float64" else image.dtype
                take_float32(self.model, image.name)
                self.facts["cast"] = {image.name: image.dtype}
                self.told.append(
                    f"{image.name!a:.200} takes {image.dtype}: it is cast from float32"
                )
        if self.problems:
            raise PreparationError(self.problems)
        self._forget_stale()
        pinning.state_outputs(self.model)
        return Prepared(
            model=self.model, told=self.told, facts=self.facts, pixels=pixels, parts=parts
        )

    def _pack(self) -> tuple[InputPart, ...]:
        """Makes one input of all that are left; () with a problem where one cannot be fed."""
        tensors = graph.inputs(self.model)
        for info in tensors:
            if info.dtype not in (*CASTABLE, "float32", "bool"):
                problem = f"input {info.name!r} is {_called(info.dtype)}, no number: export it with float32"
                self.problems.append(((), problem))
        shapes = [self._pin_beside(info) for info in tensors]
        if self.problems:
            return ()
        known = [shape for shape in shapes if shape is not None]
        parts = parts_of(tensors, known, self.wishes.batch)
        pack(self.model, parts, self.wishes.batch)
        self.facts["packed"] = {part.name: [part.dtype, *part.shape] for part in parts}
        names = listed([repr(part.name) for part in parts])
        self.told.append(f"{names} are fed as one tensor, and cut apart inside")
        return parts

    def _pin_beside(self, info: TensorInfo) -> tuple[int, ...] | None:
        """Returns the shape of an input that every sample brings; None, with a problem, where it is open.

        One that has no batch in front, as a state, stays as it is where samples are fed one by one.
        """
        sizes = [size for size in info.shape or () if isinstance(size, int) and fixed(size)]
        whole = info.shape is not None and len(sizes) == len(info.shape)
        if self.wishes.batch == 1 and whole and info.name not in self.wishes.shapes:
            return tuple(sizes)
        before = len(self.problems)
        self._pin(info)
        if len(self.problems) > before:
            return None
        (pinned,) = (tensor for tensor in graph.inputs(self.model) if tensor.name == info.name)
        return tuple(size for size in pinned.shape or () if isinstance(size, int))

    def _forget_stale(self) -> None:
        for name in pinning.forget_stale(self.model):
            self.facts.setdefault("stale", []).append(name)
            self.told.append(
                f"the shape of {name!a:.200} in its file does not follow from its input, and is passed over"
            )

    def _raise_halves(self) -> None:
        if halves := half_types(self.model):
            raise_halves(self.model)
            self.facts["raised"] = list(halves)
            self.told.append(
                f"its {' and '.join(halves)} tensors are float32: FP32 and the reference are that, with the "
                "same weights"
            )

    def _bake(self) -> None:
        """Makes initialisers of the inputs that the user gives a constant."""
        every = graph.inputs(self.model)
        image = image_among([info for info in every if info.name not in self.wishes.constants])
        stated = self.wishes.shapes.get(image.name) if image else None
        size, batch = self.wishes.size, self.wishes.batch
        symbols = pinning.symbols_by(image, stated, size, batch) if image else {}
        for own in every:
            if own.name not in self.wishes.constants:
                continue
            # One number fills a mask of the image's height and width.
            fills = not isinstance(self.wishes.constants[own.name], list)
            info = pinning.sized(own, symbols) if fills else own
            if info.name in self.wishes.shapes:
                problem = (
                    f"{info.name!a:.200} has a constant, which has a shape: leave this one out"
                )
                self.problems.append((("shapes", info.name), problem))
            try:
                tensor = constant(info, self.wishes.constants[info.name], batch)
            except ConstantError as error:
                self.problems.append((("constants", info.name), str(error)))
            else:
                self._bind(own, tensor.dims, ("constants", info.name))
                self.model.graph.initializer.append(tensor)
                value = f"{numpy_helper.to_array(tensor).tolist()!s}"
                self.facts.setdefault("constants", {})[info.name] = value[:1000]
                self.told.append(f"{info.name!a:.200} is the constant {value:.60}")
            self._drop_input(info.name)

    def _drop_unread(self) -> None:
        """Drops inputs that no node reads, as long as one is left."""
        read = {name for node in self.model.graph.node for name in reads(node)}
        read |= {output.name for output in self.model.graph.output}  # given out as it is
        for info in graph.inputs(self.model):
            if info.name not in read and len(graph.inputs(self.model)) > 1:
                self._drop_input(info.name)
                self.facts.setdefault("unread", []).append(info.name)
                self.told.append(f"{info.name!a:.200} is left out, no node reads it")

    def _drop_input(self, name: str) -> None:
        graph.keep(self.model.graph.input, lambda value: value.name != name)

    def _image(self) -> TensorInfo | None:
        """Returns the input that images fill; None, with a problem, where that is unclear."""
        tensors, every = graph.inputs(self.model), graph.inputs(self.before)
        image = image_among(tensors)
        if image and len(tensors) == 1:
            if image.dtype == "float32" or image.dtype in CASTABLE:
                return image
            problem = f"input {image.name!r} is {_called(image.dtype)}, no number that a pixel is: export it with float32"
        elif not every:
            problem = "the network has no input: nothing depends on an image"
        elif not tensors:
            names = listed([tensor.name for tensor in every])
            problem = f"no input is left for the images: {names} are constants"
        else:
            others = [tensor for tensor in tensors if tensor != image]
            problem = self._told_of_others(every, others, image)
        self.problems.append(((), problem))
        return None

    def _told_of_others(
        self, every: Sequence[TensorInfo], others: Sequence[TensorInfo], image: TensorInfo | None
    ) -> str:
        names = ", ".join(f"{tensor.name} {tensor.dtype} {shape_text(tensor)}" for tensor in every)
        size = (pinning.own_size(image) if image else None) or self.wishes.size
        rest = "the others are" if image else "all but that one are"
        return (
            f"the network takes {len(every)} inputs: {names}. Images fill one; say what {rest} fed, the "
            f"same with every image, such as model: {{{constants_text(others, size)}}}; or give samples that bring "
            "them all, each an .npz with an array an input: data: {evaluation: {arrays: FOLDER}}"
        )

    def _pin(self, image: TensorInfo) -> None:
        sizes = self.wishes.shapes.get(image.name)
        place = ("shapes", image.name) if sizes else ()
        try:
            shape = (
                pinning.stated(image, sizes, self.wishes.batch)
                if sizes
                else pinning.image_shape(image, self.wishes.size, self.wishes.batch)
            )
        except PinError as error:
            self.problems.append((place, str(error)))
            return
        self._bind(image, shape, place)
        if self.problems or (image.shape == shape and not self.symbols):
            return
        pinning.pin(self.model, {image.name: shape}, self.symbols)
        self._forget_stale()
        if image.shape != shape:
            self.facts["shapes"] = {image.name: list(shape)}
            self.told.append(
                f"{image.name!a:.200}, {shape_text(image)} in its file, is pinned to {list(shape)}"
            )
        if why := refusal(self.before, self.model):
            problem = f"the network does not take {image.name!a:.200} as {list(shape)}: {why}"
            self.problems.append((place, problem))

    def _bind(self, info: TensorInfo, sizes: Sequence[int], place: Place) -> None:
        for symbol, size in pinning.symbols_of(info, sizes).items():
            if self.symbols.setdefault(symbol, size) != size:
                problem = (
                    f"{symbol!a:.80} would be {size} in {info.name!a:.200} and {self.symbols[symbol]} in "
                    "another input: one symbol is one size"
                )
                self.problems.append((place, problem))


def _called(dtype: str) -> str:
    return "text" if dtype == "object" else dtype  # as numpy has it
