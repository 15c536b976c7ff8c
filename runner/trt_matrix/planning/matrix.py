"""Whether what matrix.yaml refers to is there and fits together; all problems at once, no engine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.config.data import Images
from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.config.yaml_file import Document
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.core.manifest import WideWeight
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
from trt_matrix.core.prepared.preparing import PreparationError
from trt_matrix.core.qdq.weight_spread import wide_weights
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.errors import ConfigError
from trt_matrix.execution.functions import FunctionFiles
from trt_matrix.execution.plugins import PluginFiles
from trt_matrix.execution.shipped import Shipped
from trt_matrix.execution.uff import UffFile
from trt_matrix.inputs import samples
from trt_matrix.inputs.images import SUFFIXES, image_files
from trt_matrix.inputs.label_folders import Classes, read_folder
from trt_matrix.inputs.labels import Areas, ImageLabels, areas, parse
from trt_matrix.inputs.weights import external_weights
from trt_matrix.planning.boxes import (
    CheckedDecode,
    check_categories,
    check_decode,
    check_gates,
    shapes_of,
)
from trt_matrix.planning.files import dumps_problems, plugin_files
from trt_matrix.planning.functions import function_files
from trt_matrix.planning.heads import head_notes, head_problems, inner_heads, unknown_variants
from trt_matrix.planning.inputs import pixel_problem, unknown_inputs, wishes_of
from trt_matrix.planning.nodes import (
    custom_operator_problems,
    float_layer_problems,
    held_layer_problems,
)
from trt_matrix.planning.placing import wide_notes
from trt_matrix.planning.quantised import Used, used, variant_problem
from trt_matrix.planning.tables import TableContent, shared_content
from trt_matrix.planning.uff import uff_file
from trt_matrix.planning.variants import interface_problems, with_heads
from trt_matrix.store.untrusted import named_file

REFERENCE = "reference"
"""Name of the environment that the reference is computed in."""

FLOATING = ("", "fp32", "tf32", "fp16", "bf16")
"""Passes that errors can be against; fp32 where none is named."""

LIMIT_LABELS_BYTES = 1 << 30
"""COCO\'s own training labels have half of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedVariant:
    """The network in another form."""

    name: str
    """As matrix.yaml calls its file."""
    content: bytes
    model: onnx.ModelProto
    shipped: Shipped | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The experiment with everything that it refers to, found and fitting."""

    config: Config
    root: Path
    """Folder of matrix.yaml; its relative paths start here."""
    content: bytes
    """The float network's file, or what is left of it with the heads as its outputs; the quantised one's, where
    no float one can be made of it."""
    model: onnx.ModelProto
    """The same, parsed."""
    input: str
    shape: tuple[int, ...]
    """Channels, height, width of one image as the network wants it; what else it takes, where that is no image."""
    sample: tuple[int, ...]
    """The same in the network's own order."""
    pixels: str | None
    """Type of whole numbers that it takes, None where it takes floats."""
    channels_last: bool
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    baseline: str
    """Id of the baseline environment."""
    reference: tuple[str, str] | None = None
    """Id of the environment whose outputs errors are against, and the name of its pass; None for the host's."""
    calibration: tuple[Path, ...]
    evaluation: tuple[Path, ...]
    decode: CheckedDecode | None = None
    labels: bytes | None = None
    """Content of the labels' file."""
    object_areas: tuple[Areas, Areas] | None = None
    """For each calibration image, and each evaluation image, the areas of its labelled objects in square
    pixels; None where one of the sets has no labels."""
    variants: tuple[CheckedVariant, ...] = ()
    """The network in the other forms that matrix.yaml names."""
    uff: UffFile | None = None
    plugins: tuple[PluginFiles, ...] = ()
    functions: Mapping[str, FunctionFiles] = field(default_factory=dict)
    """Environment → functions of the user's own that are its engine."""
    whole: str | None
    """SHA-256 of the network's file, where engines are given what is left of it."""
    rankings: Rankings
    """What decides the rows of heads."""
    shipped: Shipped | None = None
    """The network as it came, quantised, where it is run so."""
    table: TableContent | None = None
    """The shared table, where it is a file's."""
    wide_weights: tuple[WideWeight, ...] = ()
    """Weights whose channels differ too much for one scale, the widest first."""
    notes: tuple[str, ...] = ()
    """What a person should know before anything runs; no problems."""
    doubts: tuple[str, ...] = ()
    """The same where something is likely wrong."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the run writes down of it beside name and hash."""


def _classes(config: Config) -> Classes:
    if config.decode is None:
        return Classes()
    return Classes(
        number=config.decode.settings().get("classes"),
        names=config.decode.class_names,
        category_ids=config.decode.category_ids,
    )


def check(config: Config, document: Document, root: Path) -> Checked:
    """Checks files, names and shapes.

    Raises:
        ConfigError: names every problem.
    """
    found = _Checker(config, document, root)
    network = found.network()
    whole = network.model if network else None
    # As shipped it must give out floats itself.
    heads = found.heads(network.given if network and network.shipped else whole)
    left = found.cut(network, heads)
    model = left.model if left else None
    found.nodes(model, whole)
    image = found.input(model, network)
    variants = found.variants(whole, heads, image)
    uff = found.uff(whole, heads, image)
    baseline = found.baseline()
    reference = found.reference()
    found.unique()
    found.hosts()
    calibration = found.images("calibration", config.data.calibration)
    evaluation = found.images("evaluation", config.data.evaluation)
    labels = found.labels(evaluation)
    sizes = found.sizes(calibration)
    decode = found.boxes(model, image, labels)
    found.files()
    plugins = found.plugins()
    functions = function_files(config, root, found._add)
    found.dumps()
    table = found.table()
    ranked = found.rankings(model, heads)
    if (
        found.problems
        or network is None
        or left is None
        or whole is None
        or model is None
        or image is None
        or ranked is None
    ):
        raise ConfigError(document.source, found.problems)
    wide = _wide(model, heads)
    return Checked(
        config=config,
        root=root,
        content=left.content,
        model=model,
        input=image.name,
        shape=image.shape,
        sample=image.sample,
        pixels=network.pixels,
        channels_last=image.channels_last,
        heads=heads,
        baseline=baseline,
        reference=reference,
        calibration=calibration,
        evaluation=evaluation,
        decode=decode,
        labels=found.labels_content,
        object_areas=(areas(sizes), areas(labels)) if sizes and labels else None,
        variants=variants,
        uff=uff,
        plugins=plugins,
        functions=functions,
        whole=None if model is whole else sha256(network.content).hexdigest(),
        rankings=ranked,
        shipped=left.shipped,
        table=table,
        wide_weights=wide,
        notes=(
            *network.notes,
            *head_notes(config, whole, model, heads, ranked),
            *wide_notes(wide),
        ),
        doubts=tuple(found.doubts),
        facts=network.facts,
    )


def _wide(model: onnx.ModelProto, heads: Sequence[tuple[str, str]]) -> tuple[WideWeight, ...]:
    try:
        return wide_weights(model, heads)
    except graph.GraphError:  # it cannot be placed either, and the run tells why
        return ()


def _file(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def _as_given(shipped: Shipped, whole: onnx.ModelProto, given: onnx.ModelProto) -> Shipped:
    """Returns what came quantised with the heads as its outputs."""
    return shipped if given is whole else replace(shipped, content=_file(given))


class _Checker:
    def __init__(self, config: Config, document: Document, root: Path) -> None:
        self.config = config
        self.document = document
        self.root = root
        self.shipped: Shipped | None = None
        self.labels_content: bytes | None = None
        self.problems: list[str] = []
        self.doubts: list[str] = []

    def _add(self, path: tuple[str | int, ...], problem: str) -> None:
        self.problems.append(f"{self.document.where(path)}: {problem}")

    def network(self) -> Used | None:
        found = self._network(self.config.model.onnx, ("model", "onnx"))
        self.shipped = found.shipped if found else None
        return found

    def cut(self, network: Used | None, heads: Sequence[tuple[str, str]]) -> Used | None:
        """Returns the network that gives out the heads alone; as it is where they are not well."""
        if network is None or self.problems:
            return network
        tensors = [tensor for _, tensor in heads]
        try:
            model, given = cut(network.model, tensors), cut(network.given, tensors)
        except graph.GraphError as error:
            self._add(("model", "onnx"), str(error))
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
        if model is None or self.problems:
            return None
        try:
            return rankings(model, heads)
        except graph.GraphError as error:
            self._add(("model", "onnx"), str(error))
            return None

    def variants(
        self,
        whole: onnx.ModelProto | None,
        heads: Sequence[tuple[str, str]],
        image: ImageInput | SampleInput | None,
    ) -> tuple[CheckedVariant, ...]:
        """Returns the network's other forms; they must take and give tensors of the same names."""
        for head, problem in unknown_variants(self.config):
            self._add(("heads", head, "variants"), problem)
        outputs = [one.name for one in graph.outputs(whole)] if whole else []
        result = []
        for index, file in enumerate(self.config.model.variants):
            where = ("model", "variants", index)
            found = self._network(file, where)
            if found is None or image is None:
                continue
            called = {
                name: head.variants[str(file)]
                for name, head in self.config.heads.items()
                if str(file) in head.variants
            }
            model, problems = with_heads(found.model, heads, called, outputs)
            shipped = found.shipped
            if shipped:
                given, _ = with_heads(found.given, heads, called, outputs)
                shipped = _as_given(shipped, found.given, given)
            content = found.content if model is found.model else _file(model)
            result.append(
                CheckedVariant(name=str(file), content=content, model=model, shipped=shipped)
            )
            if unlike := variant_problem(self.shipped, found.shipped):
                problems = [*problems, unlike]
            for problem in (*interface_problems(model, image), *problems):
                self._add(where, f"{file} {problem}")
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
        if isinstance(image, SampleInput):
            self._add(("model", "uff"), "UFF files are of networks that take images: leave it out")
            return None
        inner = inner_heads(whole, heads)
        found, problems = uff_file(stated, self.root, image, heads, inner)
        for path, problem in problems:
            self._add(("model", "uff", *path), problem)
        return found

    def _network(self, file: Path, where: tuple[str | int, ...]) -> Used | None:
        path = self.root / file
        try:
            content = named_file(path, LIMIT_NETWORK_BYTES)
        except OSError as error:
            self._add(where, f"{path}: {error.strerror}")
            return None
        try:
            parsed = loading.parse(content, str(path))
            if where == ("model", "onnx"):
                self.problems += [
                    f"{self.document.where(place)}: {problem}"
                    for place, problem in unknown_inputs(self.config, parsed)
                ]
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
                self._add(("model", *place) if place else where, problem)
            return None
        except graph.GraphError as error:
            self._add(where, str(error))
            return None

    def heads(self, model: onnx.ModelProto | None) -> tuple[tuple[str, str], ...]:
        pairs = tuple((name, head.output or name) for name, head in self.config.heads.items())
        if model is None:
            return pairs
        for name, problem in head_problems(model, pairs):
            self._add(("heads", name), problem)
        return pairs

    def nodes(self, model: onnx.ModelProto | None, whole: onnx.ModelProto | None) -> None:
        if model is None or whole is None:
            return
        for where, problem in custom_operator_problems(self.config, whole):
            self._add(where, problem)
        for where, problem in held_layer_problems(self.config, model, whole):
            self._add(where, problem)
        for where, problem in float_layer_problems(self.config, model):
            self._add(where, problem)

    def input(
        self, model: onnx.ModelProto | None, network: Used | None
    ) -> ImageInput | SampleInput | None:
        if model is None or network is None:
            return None
        arrays = self.config.data.are_arrays
        try:
            image = sample_input(model) if arrays else image_input(model)
        except graph.GraphError as error:
            self._add(("model", "onnx"), str(error))
            return None
        if arrays or isinstance(image, SampleInput):
            return image
        preprocess = self.config.data.preprocess
        if image.channels != preprocess.channels:
            self._add(
                ("data", "preprocess", "color"),
                f"{preprocess.color} gives {preprocess.channels} channels, "
                f"the network's input {image.name!r} has {image.channels}{_of_four(image)}",
            )
        told = network.pixels and pixel_problem(preprocess, image.name, network.pixels)
        if told:
            self._add(("data", "preprocess"), told)
        size = (image.height, image.width)
        if preprocess.size and preprocess.size != size:
            self._add(
                ("data", "preprocess", "size"),
                f"{list(preprocess.size)} is not the network's [height, width] {list(size)}; `model.shapes` "
                "gives it another size, where it takes one",
            )
        return image

    def baseline(self) -> str:
        return self._environment(self.config.baseline, "baseline")

    def reference(self) -> tuple[str, str] | None:
        if self.config.reference is None:
            return None
        name, _, pass_ = self.config.reference.partition("/")
        if pass_ not in FLOATING:
            told = f"{pass_!r} is none of the passes {', '.join(FLOATING)}: errors are against floating point"
            self._add(("reference",), told)
        return self._environment(name, "reference"), pass_ or FLOATING[1]

    def _environment(self, wanted: str, key: str) -> str:
        """Returns the environment that is named: in full, or by its first version parts."""
        known = list(dict.fromkeys(self.config.environment_ids()))
        if wanted in known:
            return wanted
        longer = [name for name in known if name.startswith((f"{wanted}.", f"{wanted}-"))]
        if len(longer) == 1:
            return longer[0]
        if longer:
            self._add((key,), f"{wanted!r} may mean {' or '.join(longer)}; write it in full")
        else:
            close = did_you_mean(wanted, _of_same_major(wanted, known))
            self._add((key,), f"no environment is called {wanted!r}{close}; {few(known)}")
        return wanted

    def unique(self) -> None:
        seen: dict[str, int] = {}
        for index, entry in enumerate(self.config.environments):
            if REFERENCE in entry.ids():
                self._add(
                    ("environments", index),
                    f"{REFERENCE!r} is what the host's own engine is called; choose another `name`",
                )
        for index, entry in enumerate(self.config.environments):
            for name in entry.ids():
                if name in seen:
                    where = self.document.where(("environments", seen[name]))
                    self._add(
                        ("environments", index),
                        f"a second environment called {name!r}, the first is {where}; "
                        "give one another `name`",
                    )
                seen.setdefault(name, index)
        for axis in ("devices", "precisions"):
            values = getattr(self.config, axis)
            for value in sorted({str(one) for one in values if values.count(one) > 1}):
                self._add((axis,), f"{value} is there twice")
        algorithms = self.config.calibration.algorithms
        for value in sorted({one for one in algorithms if algorithms.count(one) > 1}):
            self._add(("calibration", "algorithms"), f"{value} is there twice")

    def hosts(self) -> None:
        known = list(self.config.hosts)
        for index, entry in enumerate(self.config.environments):
            host = getattr(entry, "host", None)
            if host and host not in known:
                told = f"{host!r} is not among `hosts`{did_you_mean(host, known)}"
                self._add(("environments", index, "host"), told)

    def images(self, part: str, section: Images) -> tuple[Path, ...]:
        folder, where = self.root / section.folder, ("data", part, section.key)
        wanted = (samples.SUFFIXES, "array") if section.arrays else (SUFFIXES, "image")
        try:
            files, problems = image_files(folder, *wanted)
        except OSError as error:
            self._add(where, f"{folder}: {error.strerror}")
            return ()
        for problem in problems:
            self._add(where, problem)
        if not files and not problems:
            self._add(where, f"{folder}: no {wanted[1]} in this folder")
        first = {None: slice(None), "odd": slice(0, None, 2), "even": slice(1, None, 2)}
        chosen = files[first[section.half]]
        if files and not chosen:
            self._add((*where[:2], "half"), f"{folder}: one {wanted[1]} alone cannot be halved")
        return chosen[: section.limit]

    def labels(self, images: Sequence[Path]) -> ImageLabels | None:
        found = self._labels("evaluation", self.config.data.evaluation.labels, images)
        if found is None:
            return None
        self.labels_content, labels = found
        return labels

    def sizes(self, images: Sequence[Path]) -> ImageLabels | None:
        """Returns the labels of the calibration images, of which only the sizes of objects are read."""
        found = self._labels("calibration", self.config.data.calibration.labels, images)
        return found[1] if found else None

    def _labels(
        self, part: str, labels: Path | None, images: Sequence[Path]
    ) -> tuple[bytes, ImageLabels] | None:
        if labels is None:
            return None
        where, path = ("data", part, "labels"), self.root / labels
        classes = _classes(self.config)
        try:
            if path.is_dir():
                found = read_folder(path, images, classes)
                content = found.coco
                self._tell_unlabelled(where, found.without, len(images))
            else:
                content = named_file(path, LIMIT_LABELS_BYTES)
            names = [path.name for path in images]
            return content, parse(content, names, classes.category_ids)
        except OSError as error:
            self._add(where, f"{path}: {error.strerror}")
        except LabelsError as error:
            self._add(where, f"{path}: {error}")
        return None

    def _tell_unlabelled(
        self, where: tuple[str | int, ...], without: Sequence[str], images: int
    ) -> None:
        if without:
            self.doubts.append(
                f"{self.document.where(where)}: {len(without)} of {images} images have no .txt and count as "
                f"without objects: {few(without)}; what is found in them counts as wrong"
            )

    def boxes(
        self,
        model: onnx.ModelProto | None,
        image: ImageInput | SampleInput | None,
        labels: ImageLabels | None,
    ) -> CheckedDecode | None:
        check_gates(self.config, labels, self._add)
        if isinstance(image, SampleInput):
            if self.config.decode:
                self._add(
                    ("decode",), f"boxes need an image, the network takes {list(image.shape)}"
                )
            return None
        if model is None or image is None:
            return None
        shapes = {output.name: output.shape for output in graph.outputs(model)}
        heads = {name: shapes.get(head.output or name) for name, head in self.config.heads.items()}
        found = check_decode(
            self.config, self.root, (image.height, image.width), shapes_of(heads), self._add
        )
        if found and labels:
            check_categories(found.decode, labels, self._add)
        return found

    def files(self) -> None:
        for index, entry in enumerate(self.config.environments):
            for library in getattr(entry, "library_path", ()):
                if not (self.root / library).is_dir():
                    where = ("environments", index, "library_path")
                    self._add(where, f"{self.root / library}: no such folder")

    def plugins(self) -> tuple[PluginFiles, ...]:
        return plugin_files(self.config, self.root, self._add)

    def table(self) -> TableContent | None:
        return shared_content(self.config, self.root, self._add)

    def dumps(self) -> None:
        for where, problem in dumps_problems(self.config):
            self._add(where, problem)


def _of_four(image: ImageInput) -> str:
    """Returns what to do about four channels, which are not always an image's own."""
    if image.channels != 4:
        return ""
    return f": rgba or bgra where the fourth is how opaque a pixel is; else {ARRAYS}"


def _of_same_major(wanted: str, known: Sequence[str]) -> list[str]:
    """Returns the names whose first number is that of `wanted`: 9.9 is no slip for 1.9; all where it has none."""
    majors = {name: re.search(r"\d+", name) for name in (wanted, *known)}
    major = majors[wanted]
    return [
        name
        for name in known
        if major is None or ((own := majors[name]) is not None and own[0] == major[0])
    ]
