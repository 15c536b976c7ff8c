"""Whether what matrix.yaml refers to is there and fits together; all problems at once, no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

from runner.checks.boxes import (
    CheckedDecode,
    check_categories,
    check_decode,
    check_gates,
    shapes_of,
)
from runner.checks.files import dumps_problems, plugin_files
from runner.checks.heads import head_notes, head_problems, inner_heads, unknown_variants
from runner.checks.nodes import custom_operator_problems, held_layer_problems
from runner.checks.placing import wide_notes
from runner.checks.quantised import Used, used, variant_problem
from runner.checks.tables import TableContent, shared_content
from runner.checks.uff import uff_file
from runner.checks.variants import interface_problems, with_heads
from runner.config.matrix import Config
from runner.config.problems import did_you_mean, few
from runner.config.yaml_file import Document
from runner.core.boxes.average_precision import LabelsError
from runner.core.network import graph
from runner.core.network.cutting import cut
from runner.core.network.image_input import ImageInput, image_input
from runner.core.network.ranked import Rankings, rankings
from runner.core.qdq.weight_spread import wide_weights
from runner.errors import ConfigError
from runner.execution.plugins import PluginFiles
from runner.execution.shipped import Shipped
from runner.execution.uff import UffFile
from runner.images import image_files
from runner.labels import Areas, ImageLabels, areas, parse
from runner.records import WideWeight

REFERENCE = "reference"
"""Name of the environment that the reference is computed in."""


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
    shape: tuple[int, int, int]
    """Channels, height, width of one image as the network wants it."""
    channels_last: bool
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    baseline: str
    """Id of the baseline environment."""
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
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the run writes down of it beside name and hash."""


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
    image = found.input(model)
    variants = found.variants(whole, heads, image)
    uff = found.uff(whole, heads, image)
    baseline = found.baseline()
    found.unique()
    found.hosts()
    calibration = found.images("calibration", config.data.calibration.limit)
    evaluation = found.images("evaluation", config.data.evaluation.limit)
    labels = found.labels(evaluation)
    sizes = found.sizes(calibration)
    decode = found.boxes(model, image, labels)
    found.files()
    plugins = found.plugins()
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
        channels_last=image.channels_last,
        heads=heads,
        baseline=baseline,
        calibration=calibration,
        evaluation=evaluation,
        decode=decode,
        labels=found.labels_content,
        object_areas=(areas(sizes), areas(labels)) if sizes and labels else None,
        variants=variants,
        uff=uff,
        plugins=plugins,
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
        image: ImageInput | None,
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
        image: ImageInput | None,
    ) -> UffFile | None:
        stated = self.config.model.uff
        if stated is None or image is None or whole is None:
            return None
        inner = inner_heads(whole, heads)
        found, problems = uff_file(stated, self.root, image, heads, inner)
        for path, problem in problems:
            self._add(("model", "uff", *path), problem)
        return found

    def _network(self, file: Path, where: tuple[str | int, ...]) -> Used | None:
        path = self.root / file
        try:
            content = path.read_bytes()
        except OSError as error:
            self._add(where, f"{path}: {error.strerror}")
            return None
        try:
            files = graph.external_files(graph.parse(content, str(path)))
            external = {name: _read(path.parent / name) for name in files}
            model = graph.load(content, str(path), external)
            if external:
                content = model.SerializeToString()
            return used(model, content, str(file), self.config.model.quantised)
        except graph.GraphError as error:
            self._add(where, str(error))
            return None
        except OSError as error:
            missing = f"{error.filename}: {error.strerror}; the network keeps its weights there"
            self._add(where, missing)
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

    def input(self, model: onnx.ModelProto | None) -> ImageInput | None:
        if model is None:
            return None
        try:
            image = image_input(model)
        except graph.GraphError as error:
            self._add(("model", "onnx"), str(error))
            return None
        preprocess = self.config.data.preprocess
        if image.channels != preprocess.channels:
            self._add(
                ("data", "preprocess", "color"),
                f"{preprocess.color} gives {preprocess.channels} channels, "
                f"the network's input {image.name!r} has {image.channels}",
            )
        size = (image.height, image.width)
        if preprocess.size and preprocess.size != size:
            self._add(
                ("data", "preprocess", "size"),
                f"{list(preprocess.size)} is not the network's [height, width] {list(size)}",
            )
        return image

    def baseline(self) -> str:
        """Returns the environment that `baseline` names: in full, or by its first version parts."""
        wanted = self.config.baseline
        known = list(dict.fromkeys(self.config.environment_ids()))
        if wanted in known:
            return wanted
        longer = [name for name in known if name.startswith((f"{wanted}.", f"{wanted}-"))]
        if len(longer) == 1:
            return longer[0]
        if longer:
            self._add(("baseline",), f"{wanted!r} may mean {' or '.join(longer)}; write it in full")
        else:
            close = did_you_mean(wanted, known)
            self._add(("baseline",), f"no environment is called {wanted!r}{close}; {few(known)}")
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

    def images(self, part: str, limit: int | None) -> tuple[Path, ...]:
        folder = self.root / getattr(self.config.data, part).images
        try:
            files, problems = image_files(folder)
        except OSError as error:
            self._add(("data", part, "images"), f"{folder}: {error.strerror}")
            return ()
        for problem in problems:
            self._add(("data", part, "images"), problem)
        if not files and not problems:
            self._add(("data", part, "images"), f"{folder}: no image in this folder")
        return files[:limit]

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
        category_ids = self.config.decode.category_ids if self.config.decode else ()
        try:
            content = path.read_bytes()
            return content, parse(content, [path.name for path in images], category_ids)
        except OSError as error:
            self._add(where, f"{path}: {error.strerror}")
        except LabelsError as error:
            self._add(where, f"{path}: {error}")
        return None

    def boxes(
        self,
        model: onnx.ModelProto | None,
        image: ImageInput | None,
        labels: ImageLabels | None,
    ) -> CheckedDecode | None:
        check_gates(self.config, labels, self._add)
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


def _read(path: Path) -> bytes:
    if "\0" in path.name:
        message = f"weights are said to be in {path.name!r}, a name that no file has"
        raise graph.GraphError(message)
    return path.read_bytes()
