"""The network of matrix.yaml and its other forms: read, cut at the heads, and held against what else is said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from trt_matrix.config.matrix import Config
from trt_matrix.core.network import graph, loading
from trt_matrix.core.network.cutting import cut
from trt_matrix.core.network.image_input import (
    ARRAYS,
    ImageInput,
    SampleInput,
    image_input,
    sample_input,
)
from trt_matrix.core.network.ordering import in_order
from trt_matrix.core.network.ranked import Rankings, rankings
from trt_matrix.core.prepared.packing import packed_input
from trt_matrix.core.prepared.preparing import PreparationError
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.execution.shipped import Shipped
from trt_matrix.execution.uff import UffFile
from trt_matrix.inputs.weights import external_weights
from trt_matrix.planning.heads import batch_problems, head_problems, inner_heads, unknown_variants
from trt_matrix.planning.inputs import pixel_problem, unknown_inputs, wishes_of
from trt_matrix.planning.nodes import node_problems
from trt_matrix.planning.problems import Problems
from trt_matrix.planning.quantised import UsedNetwork, used, variant_problem
from trt_matrix.planning.uff import uff_file
from trt_matrix.planning.variants import interface_problems, with_heads
from trt_matrix.store.untrusted import named_file


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedVariant:
    """The network in another form."""

    name: str
    """As matrix.yaml calls its file."""
    content: bytes
    model: onnx.ModelProto
    shipped: Shipped | None = None


class Networks:
    """Reads them; what does not fit is told to `problems`."""

    def __init__(self, config: Config, root: Path, problems: Problems) -> None:
        self.config = config
        self.root = root
        self._problems = problems
        self.shipped: Shipped | None = None

    def network(self) -> UsedNetwork | None:
        network = self._network(self.config.model.onnx, ("model", "onnx"))
        self.shipped = network.shipped if network else None
        self.parts = network.parts if network else ()
        return network

    def cut(
        self, network: UsedNetwork | None, heads: Sequence[tuple[str, str]]
    ) -> UsedNetwork | None:
        """Returns the network that gives out the heads alone; as it is where they are not well."""
        if network is None or self._problems.found:
            return network
        tensors = [tensor for _, tensor in heads]
        try:
            model, given = cut(network.model, tensors), cut(network.given, tensors)
        except graph.GraphError as error:
            self._problems.add(("model", "onnx"), str(error))
            return None
        return replace(
            network,
            model=model,
            content=network.content if model is network.model else _file(model),
            shipped=network.shipped and _as_given(network.shipped, network.given, given),
        )

    def rankings(
        self, model: onnx.ModelProto | None, heads: Sequence[tuple[str, str]]
    ) -> Rankings | None:
        """Returns what decides the rows of heads; None where the network is not well."""
        if model is None or self._problems.found:
            return None
        try:
            return rankings(model, heads)
        except graph.GraphError as error:
            self._problems.add(("model", "onnx"), str(error))
            return None

    def batch(self, model: onnx.ModelProto | None, heads: Sequence[tuple[str, str]]) -> None:
        if model is not None and not self._problems.found:
            for problem in batch_problems(model, heads, self.config.model.batch):
                self._problems.add(("model", "batch"), problem)

    def variants(
        self,
        whole: onnx.ModelProto | None,
        heads: Sequence[tuple[str, str]],
        image: ImageInput | SampleInput | None,
    ) -> tuple[CheckedVariant, ...]:
        """Returns the network's other forms; they must take and give tensors of the same names."""
        for head, problem in unknown_variants(self.config):
            self._problems.add(("heads", head, "variants"), problem)
        outputs = [output.name for output in graph.outputs(whole)] if whole else []
        result = []
        for index, file in enumerate(self.config.model.variants):
            where = ("model", "variants", index)
            form = self._network(file, where)
            if form is None or image is None:
                continue
            called = {
                name: head.variants[str(file)]
                for name, head in self.config.heads.items()
                if str(file) in head.variants
            }
            model, problems = with_heads(form.model, heads, called, outputs)
            shipped = form.shipped
            if shipped:
                given, _ = with_heads(form.given, heads, called, outputs)
                shipped = _as_given(shipped, form.given, given)
            content = form.content if model is form.model else _file(model)
            result.append(
                CheckedVariant(name=str(file), content=content, model=model, shipped=shipped)
            )
            if quantised := variant_problem(self.shipped, form.shipped):
                problems = [*problems, quantised]
            if self.parts or form.parts:
                unlike = (
                    [] if form.parts == self.parts else ["takes other inputs: export both alike"]
                )
            else:
                unlike = interface_problems(model, image, self.config.model.batch)
            for problem in (*unlike, *problems):
                self._problems.add(where, f"{file} {problem}")
        return tuple(result)

    def uff(
        self,
        whole: onnx.ModelProto | None,
        heads: Sequence[tuple[str, str]],
        image: ImageInput | SampleInput | None,
    ) -> UffFile | None:
        stated = self.config.model.uff
        if stated is None or image is None or whole is None:
            return None
        if isinstance(image, SampleInput) or image.fed:
            self._problems.add(
                ("model", "uff"), "UFF files are of networks that take images alone: leave it out"
            )
            return None
        inner = inner_heads(whole, heads)
        file, problems = uff_file(stated, self.root, image, heads, inner)
        for path, problem in problems:
            self._problems.add(("model", "uff", *path), problem)
        return file

    def _network(self, file: Path, where: tuple[str | int, ...]) -> UsedNetwork | None:
        path = self.root / file
        try:
            content = named_file(path, LIMIT_NETWORK_BYTES)
        except OSError as error:
            self._problems.add(where, f"{path}: {error.strerror}")
            return None
        try:
            parsed = loading.parse(content, str(path))
            if where == ("model", "onnx"):
                self._problems.add_all(unknown_inputs(self.config, parsed))
            external = external_weights(path, parsed)
            model = loading.load(content, str(path), external)
            if external:
                content = model.SerializeToString()
            return used(
                model,
                content,
                str(file),
                self.config.model.quantised,
                wishes_of(self.config),
                sorted_=not in_order(parsed.graph),
            )
        except PreparationError as error:
            for place, problem in error.problems:
                self._problems.add(("model", *place) if place else where, problem)
            return None
        except graph.GraphError as error:
            self._problems.add(where, str(error))
            return None

    def heads(self, model: onnx.ModelProto | None) -> tuple[tuple[str, str], ...]:
        pairs = tuple((name, head.output or name) for name, head in self.config.heads.items())
        if model is None:
            return pairs
        for name, problem in head_problems(model, pairs):
            self._problems.add(("heads", name), problem)
        return pairs

    def nodes(self, model: onnx.ModelProto | None, whole: onnx.ModelProto | None) -> None:
        if model is not None and whole is not None:
            self._problems.add_all(node_problems(self.config, model, whole))

    def input(
        self, model: onnx.ModelProto | None, network: UsedNetwork | None
    ) -> ImageInput | SampleInput | None:
        if model is None or network is None:
            return None
        arrays = self.config.data.are_arrays
        if network.parts:
            (info,) = graph.inputs(model)
            return packed_input(info.name, network.parts)
        try:
            batch = self.config.model.batch
            image = sample_input(model, batch) if arrays else image_input(model, batch)
        except graph.GraphError as error:
            self._problems.add(("model", "onnx"), str(error))
            return None
        if arrays or isinstance(image, SampleInput):
            return image
        preprocess = self.config.data.preprocess
        if image.channels != preprocess.channels:
            self._problems.add(
                ("data", "preprocess", "color"),
                f"{preprocess.color} gives {preprocess.channels} channels, "
                f"the network's input {image.name!r} has {image.channels}{_of_four(image)}",
            )
        problem = network.pixels and pixel_problem(preprocess, image.name, network.pixels)
        if problem:
            self._problems.add(("data", "preprocess"), problem)
        size = (image.height, image.width)
        if preprocess.size and preprocess.size != size:
            self._problems.add(
                ("data", "preprocess", "size"),
                f"{list(preprocess.size)} is not the network's [height, width] {list(size)}; `model.shapes` "
                "gives it another size, where it takes one",
            )
        return image


def _file(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def _as_given(shipped: Shipped, whole: onnx.ModelProto, given: onnx.ModelProto) -> Shipped:
    """Returns what came quantised with the heads as its outputs."""
    return shipped if given is whole else replace(shipped, content=_file(given))


def _of_four(image: ImageInput) -> str:
    """Returns what to do about four channels, which are not always an image's own."""
    if image.channels != 4:
        return ""
    return f": rgba or bgra where the fourth is how opaque a pixel is; else {ARRAYS}"
