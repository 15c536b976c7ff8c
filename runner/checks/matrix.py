"""Whether what matrix.yaml refers to is there and fits together; all problems at once, no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from job import protocol
from runner.checks.boxes import (
    CheckedDecode,
    check_categories,
    check_decode,
    check_gates,
    shapes_of,
)
from runner.checks.quantised import Used, used, variant_problem
from runner.checks.uff import uff_file
from runner.checks.variants import interface_problems
from runner.config.environments import Dumps
from runner.config.matrix import Config
from runner.config.problems import did_you_mean, few
from runner.config.yaml_file import Document
from runner.core.boxes.average_precision import LabelsError
from runner.core.network import graph
from runner.core.network.image_input import ImageInput, image_input
from runner.errors import ConfigError
from runner.execution.plugins import PluginFiles
from runner.execution.shipped import Shipped
from runner.execution.uff import UffFile
from runner.images import image_files
from runner.labels import ImageLabels, parse

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
    """The float network's file; the quantised one's, where no float one can be made of it."""
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
    variants: tuple[CheckedVariant, ...] = ()
    """The network in the other forms that matrix.yaml names."""
    uff: UffFile | None = None
    plugins: tuple[PluginFiles, ...] = ()
    shipped: Shipped | None = None
    """The network as it came, quantised, where it is run so."""
    notes: tuple[str, ...] = ()
    """What the user is to know of the network."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the run writes down of it beside name and hash."""


def check(config: Config, document: Document, root: Path) -> Checked:
    """Checks files, names and shapes.

    Raises:
        ConfigError: names every problem.
    """
    found = _Checker(config, document, root)
    network = found.network()
    model = network.model if network else None
    # As shipped it must give out floats itself.
    heads = found.heads(network.given if network and network.shipped else model)
    found.custom_operators(model)
    found.held_layers(model)
    image = found.input(model)
    variants = found.variants(heads, image)
    uff = found.uff(heads, image)
    baseline = found.baseline()
    found.unique()
    found.hosts()
    calibration = found.images("calibration", config.data.calibration.limit)
    evaluation = found.images("evaluation", config.data.evaluation.limit)
    labels = found.labels(evaluation)
    decode = found.boxes(model, image, labels)
    found.files()
    plugins = found.plugins()
    found.dumps()
    if found.problems or network is None or model is None or image is None:
        raise ConfigError(document.source, found.problems)
    return Checked(
        config=config,
        root=root,
        content=network.content,
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
        variants=variants,
        uff=uff,
        plugins=plugins,
        shipped=network.shipped,
        notes=network.notes,
        facts=network.facts,
    )


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

    def variants(
        self, heads: Sequence[tuple[str, str]], image: ImageInput | None
    ) -> tuple[CheckedVariant, ...]:
        """Returns the network's other forms; they must take and give tensors of the same names."""
        result = []
        for index, file in enumerate(self.config.model.variants):
            where = ("model", "variants", index)
            found = self._network(file, where)
            if found is None or image is None:
                continue
            result.append(
                CheckedVariant(
                    name=str(file), content=found.content, model=found.model, shipped=found.shipped
                )
            )
            problems = interface_problems(found.model, image, heads)
            if unlike := variant_problem(self.shipped, found.shipped):
                problems.append(unlike)
            for problem in problems:
                self._add(where, f"{file} {problem}")
        return tuple(result)

    def uff(self, heads: Sequence[tuple[str, str]], image: ImageInput | None) -> UffFile | None:
        stated = self.config.model.uff
        if stated is None or image is None:
            return None
        found, problems = uff_file(stated, self.root, image, heads)
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
        known = {output.name: output.dtype for output in graph.outputs(model)}
        for name, output in pairs:
            if output not in known:
                close = did_you_mean(output, list(known))
                self._add(
                    ("heads", name),
                    f"{output!r} is no output of the network{close}; its outputs: {few(list(known))}",
                )
            elif not is_floating(known[output]):
                self._add(
                    ("heads", name),
                    f"{output!r} is {known[output]}, floating point is expected: name a tensor "
                    "before the conversion, or leave this head out",
                )
        return pairs

    def custom_operators(self, model: onnx.ModelProto | None) -> None:
        if model is None:
            return
        operators = {node.op_type for node in model.graph.node}
        known = operators | {node.name for node in model.graph.node}
        for index, name in enumerate(self.config.model.custom_operators):
            if name not in known:
                close = did_you_mean(name, sorted(known))
                self._add(
                    ("model", "custom_operators", index),
                    f"no operator or node of the network is called {name!r}{close}; "
                    f"its operators: {few(sorted(operators))}",
                )

    def held_layers(self, model: onnx.ModelProto | None) -> None:
        stated = {("engines", "tensorrt"): self.config.engines.tensorrt} | {
            ("environments", index, "options"): getattr(entry, "options", None)
            for index, entry in enumerate(self.config.environments)
        }
        nodes = model.graph.node if model else ()
        known = {name for node in nodes for name in (node.name, *node.output) if name}
        for where, options in stated.items():
            for index, name in enumerate(getattr(options, "fp32_layers", ())):
                if model and name not in known:
                    close = did_you_mean(name, sorted(known))
                    told = f"no node of the network is called {name!r}, and none makes it{close}"
                    self._add((*where, "fp32_layers", index), told)

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
        labels = self.config.data.evaluation.labels
        if labels is None:
            return None
        where, path = ("data", "evaluation", "labels"), self.root / labels
        category_ids = self.config.decode.category_ids if self.config.decode else ()
        try:
            self.labels_content = path.read_bytes()
            return parse(self.labels_content, [path.name for path in images], category_ids)
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
        """Returns the content of every plugin's files."""
        result = []
        for index, plugin in enumerate(self.config.model.plugins):
            contents = {}
            for name, file in plugin.files.items():
                if not protocol.SAFE_NAME.match(file.name):
                    told = f"{file.name!a} is no plain file name: use letters, digits, . _ -"
                    self._add(("model", "plugins", index), told)
                try:
                    contents[name] = (self.root / file).read_bytes()
                except OSError as error:
                    told = f"{self.root / file}: {error.strerror}"
                    self._add(("model", "plugins", index), told)
            libraries, sources = (contents, {}) if plugin.libraries else ({}, contents)
            result.append(PluginFiles(libraries=libraries, sources=sources, flags=plugin.flags))
        return tuple(result)

    def dumps(self) -> None:
        for index, entry in enumerate(self.config.environments):
            if not isinstance(entry, Dumps):
                continue
            known = self.config.recordable(entry)
            for section, names in (("passes", list(known)), ("heads", list(self.config.heads)),
                                   ("shapes", list(self.config.heads))):  # fmt: skip
                for name in getattr(entry, section):
                    if name not in names:
                        close = did_you_mean(name, names)
                        told = f"{name!r} is none of the {section}{close}; {few(names)}"
                        self._add(("environments", index, section, name), told)
            named = [known[name].name for name in entry.passes if name in known]
            for name in sorted({one for one in named if named.count(one) > 1}):
                self._add(("environments", index, "passes"), f"{name} is given under two names")


def _read(path: Path) -> bytes:
    if "\0" in path.name:
        message = f"weights are said to be in {path.name!r}, a name that no file has"
        raise graph.GraphError(message)
    return path.read_bytes()


def is_floating(dtype: str) -> bool:
    """Tells whether a head of this type can be compared; one that the model leaves open may be."""
    return dtype == "unknown" or "float" in dtype
