"""Whether what matrix.yaml refers to is there and fits together; all problems at once, no engine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from runner.config import Config, did_you_mean
from runner.core import graph
from runner.errors import ConfigError
from runner.images import image_files
from runner.yaml_file import Document


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The experiment with everything that it refers to, found and fitting."""

    config: Config
    root: Path
    """Folder of matrix.yaml; its relative paths start here."""
    content: bytes
    """The network's file."""
    model: onnx.ModelProto
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


def check(config: Config, document: Document, root: Path) -> Checked:
    """Checks files, names and shapes.

    Raises:
        ConfigError: names every problem.
    """
    found = _Checker(config, document, root)
    model = found.model()
    heads = found.heads(model)
    shape = found.input(model)
    baseline = found.baseline()
    found.unique()
    calibration = found.images("calibration", config.data.calibration.limit)
    evaluation = found.images("evaluation", config.data.evaluation.limit)
    found.labels(evaluation)
    found.files()
    if found.problems or model is None or shape is None:
        raise ConfigError(document.source, found.problems)
    name, sizes, channels_last = shape
    return Checked(
        config=config,
        root=root,
        content=found.content,
        model=model,
        input=name,
        shape=sizes,
        channels_last=channels_last,
        heads=heads,
        baseline=baseline,
        calibration=calibration,
        evaluation=evaluation,
    )


class _Checker:
    def __init__(self, config: Config, document: Document, root: Path) -> None:
        self.config = config
        self.document = document
        self.root = root
        self.content = b""
        self.problems: list[str] = []

    def _add(self, path: tuple[str | int, ...], problem: str) -> None:
        self.problems.append(f"{self.document.where(path)}: {problem}")

    def model(self) -> onnx.ModelProto | None:
        path = self.root / self.config.model.onnx
        where = ("model", "onnx")
        try:
            self.content = path.read_bytes()
        except OSError as error:
            self._add(where, f"{path}: {error.strerror}")
            return None
        try:
            files = graph.external_files(graph.parse(self.content, str(path)))
            external = {name: (path.parent / name).read_bytes() for name in files}
            model = graph.load(self.content, str(path), external)
        except graph.GraphError as error:
            self._add(where, str(error))
            return None
        except OSError as error:
            missing = f"{error.filename}: {error.strerror}; the network keeps its weights there"
            self._add(where, missing)
            return None
        if external:
            self.content = model.SerializeToString()
        return model

    def heads(self, model: onnx.ModelProto | None) -> tuple[tuple[str, str], ...]:
        pairs = tuple((name, head.output or name) for name, head in self.config.heads.items())
        if model is None:
            return pairs
        known = [output.name for output in graph.outputs(model)]
        for name, output in pairs:
            if output not in known:
                close = did_you_mean(output, known)
                self._add(
                    ("heads", name),
                    f"{output!r} is no output of the network{close}; its outputs: {_few(known)}",
                )
        return pairs

    def input(self, model: onnx.ModelProto | None) -> tuple[str, tuple[int, int, int], bool] | None:
        """Returns the input's name, (channels, height, width) and whether channels come last."""
        if model is None:
            return None
        where = ("model", "onnx")
        try:
            info = graph.require_float32_input(model)
        except graph.GraphError as error:
            self._add(where, str(error))
            return None
        if info.shape is None or info.dynamic:
            self._add(
                where,
                f"input {info.name!r} has the dynamic shape {_shape(info)}: export the network "
                "with batch 1 and a fixed size",
            )
            return None
        preprocess = self.config.data.preprocess
        channels = 1 if preprocess.color == "gray" else 3
        sizes = [int(size or 0) for size in info.shape]
        if len(sizes) != 4 or sizes[0] != 1:
            self._add(where, f"input {info.name!r} has shape {sizes}; one image, 4-D, is expected")
            return None
        channels_last = sizes[1] != channels and sizes[3] == channels
        order = (3, 1, 2) if channels_last else (1, 2, 3)
        shape = (sizes[order[0]], sizes[order[1]], sizes[order[2]])
        if shape[0] != channels:
            self._add(
                ("data", "preprocess"),
                f"color {preprocess.color} gives {channels} channels, "
                f"the network's input {info.name!r} has shape {sizes}",
            )
        if preprocess.size and preprocess.size != shape[1:]:
            self._add(
                ("data", "preprocess", "size"),
                f"{list(preprocess.size)} is not the network's [height, width] {list(shape[1:])}",
            )
        return info.name, shape, channels_last

    def baseline(self) -> str:
        """Returns the environment that `baseline` names: in full, or by its first version parts."""
        wanted, known = self.config.baseline, self.config.environment_ids()
        if wanted in known:
            return wanted
        longer = [name for name in known if name.startswith((f"{wanted}.", f"{wanted}-"))]
        if len(longer) == 1:
            return longer[0]
        if longer:
            self._add(("baseline",), f"{wanted!r} may mean {' or '.join(longer)}; write it in full")
        else:
            close = did_you_mean(wanted, known)
            self._add(("baseline",), f"no environment is called {wanted!r}{close}; {_few(known)}")
        return wanted

    def unique(self) -> None:
        seen: dict[str, int] = {}
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

    def labels(self, images: Sequence[Path]) -> None:
        labels = self.config.data.evaluation.labels
        if labels is None:
            return
        path, where = self.root / labels, ("data", "evaluation", "labels")
        try:
            coco: Any = json.loads(path.read_bytes())
        except OSError as error:
            self._add(where, f"{path}: {error.strerror}")
            return
        except ValueError as error:
            self._add(where, f"{path}: not JSON: {error}")
            return
        try:
            named = {str(entry["file_name"]) for entry in coco["images"]}
            present = all(isinstance(coco[key], list) for key in ("annotations", "categories"))
        except (KeyError, TypeError):
            present = False
        if not present:
            self._add(where, f"{path}: not COCO: images, annotations, categories are expected")
            return
        unlabelled = [file.name for file in images if file.name not in named]
        if unlabelled:
            self._add(where, f"{path}: it has no entry for {_few(unlabelled)}")

    def files(self) -> None:
        for index, entry in enumerate(self.config.environments):
            for library in getattr(entry, "library_path", ()):
                if not (self.root / library).is_dir():
                    where = ("environments", index, "library_path")
                    self._add(where, f"{self.root / library}: no such folder")


def _shape(info: graph.TensorInfo) -> str:
    if info.shape is None:
        return "of unknown rank"
    return f"[{', '.join('?' if size is None else str(size) for size in info.shape)}]"


def _few(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
