"""Where the network, its heads and the images come from: matrix.yaml, or the command line alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from job import arrays
from runner.checks.heads import is_floating
from runner.checks.matrix import check
from runner.config import matrix as configuration
from runner.config.environments import Dumps, Elsewhere, Image, Interpreter, Ngc
from runner.config.matrix import Config
from runner.config.shared_table import SharedTable
from runner.config.yaml_file import Document
from runner.core.network import graph
from runner.core.network.image_input import image_input, shape_text
from runner.errors import ConfigError
from runner.images import image_files, preprocess
from runner.migration.files import network_of
from runner.migration.simulating import Images

DEFAULT_MATRIX = Path("matrix.yaml")
COVERAGE = 0.9
"""`calibration.coverage` where there is no matrix.yaml."""
OPEN_SIZE = 64
"""Size that is taken for a dimension which the network leaves open, where only loading is tried."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network, and what is known of its experiment."""

    path: Path
    model: onnx.ModelProto
    heads: Sequence[tuple[str, str]]
    """(head, output tensor)."""
    coverage: float = COVERAGE
    config: Config | None = None
    document: Document | None = None
    engines: Mapping[str, str] = field(default_factory=dict)
    """Environment of matrix.yaml → engine."""

    @property
    def root(self) -> Path:
        return Path(self.document.source).resolve().parent if self.document else Path()

    @property
    def matrix(self) -> Path | None:
        """The matrix.yaml that it is of."""
        return Path(self.document.source) if self.document else None

    def names_of(self, table: Path) -> Mapping[str, str]:
        """Returns the map of names that matrix.yaml has for a table; empty where it names another one."""
        shared = self.config.calibration.shared if self.config else None
        if (
            isinstance(shared, SharedTable)
            and (self.root / shared.table).resolve() == table.resolve()
        ):
            return shared.names
        return {}


def source_of(model: Path | None, config: Path | None) -> Source:
    """Returns the network to work on.

    Args:
        model: Given on the command line; goes before that of matrix.yaml.
        config: matrix.yaml; None: that of this folder, unless a network is given.

    Raises:
        ConfigError: there is neither, or one of them is wrong.
    """
    if model is not None and config is None:
        return _of_model(model)
    chosen = config or DEFAULT_MATRIX
    if model is None and config is None and not chosen.exists():
        message = (
            "no such file: name the float network with --model, or write one with `trt-matrix init`"
        )
        raise ConfigError(str(chosen), [message])
    read, document = configuration.load(chosen)
    path = model or chosen.resolve().parent / read.model.onnx
    loaded = network_of(path)
    heads = [(name, head.output or name) for name, head in read.heads.items()]
    known = {name for node in loaded.graph.node for name in node.output}
    lost = [output for _, output in heads if output not in known]
    if lost:
        raise ConfigError(str(path), [f"it has no tensor {lost[0]!r}, a head of {chosen}"])
    return Source(
        path=path,
        model=loaded,
        heads=heads,
        coverage=read.calibration.coverage,
        config=read,
        document=document,
        engines=_engines(read),
    )


def _of_model(path: Path) -> Source:
    model = network_of(path)
    heads = [(one.name, one.name) for one in graph.outputs(model) if is_floating(one.dtype)]
    if not heads:
        raise ConfigError(str(path), ["no output is floating point: there is nothing to compare"])
    return Source(path=path, model=model, heads=heads)


def _engines(config: Config) -> dict[str, str]:
    found = {}
    for entry in config.environments:
        match entry:
            case Interpreter() | Image() | Elsewhere() | Dumps():
                engine = str(entry.engine)
            case Ngc():
                engine = "tensorrt"
            case _:
                engine = "onnxruntime"
        found.update(dict.fromkeys(entry.ids(), engine))
    return found


def images_of(source: Source, given: Path | None, limit: int, folder: Path) -> Images | None:
    """Returns the images to compare on; None where none are known.

    Args:
        source: Of the network.
        given: A folder of images, or a .npy of what the network takes; None: those of matrix.yaml.
        limit: So many at most.
        folder: Takes what is preprocessed.

    Raises:
        ConfigError: they cannot be used; says why.
    """
    if given is not None and not given.is_dir():
        return _of_array(source, given, limit, folder)
    if source.config is None or source.document is None:
        if given is None:
            return None
        message = (
            "how these images become the network's input is not known: write matrix.yaml with `trt-matrix "
            f"init {source.path}` and its data.preprocess, or give a .npy of what the network takes"
        )
        raise ConfigError(str(given), [message])
    target = folder / "images.npy"
    if given is None:
        checked = check(source.config, source.document, source.root)
        files, told = checked.evaluation, "the evaluation images of matrix.yaml"
        shape, last = checked.shape, checked.channels_last
    else:
        try:
            files, problems = image_files(given)
        except OSError as error:
            raise ConfigError(str(given), [error.strerror or "cannot be read"]) from error
        if problems or not files:
            raise ConfigError(str(given), [*problems] or ["no images in it"])
        told = f"the images in {given}"
        try:
            image = image_input(source.model)
        except graph.GraphError as error:
            raise ConfigError(str(source.path), [str(error)]) from error
        shape, last = (image.channels, image.height, image.width), image.channels_last
    taken = files[:limit]
    preprocess(taken, shape, source.config.data.preprocess, target, channels_last=last)
    return Images(array=target, count=len(taken), told=told, real=True)


def _of_array(source: Source, path: Path, limit: int, folder: Path) -> Images:
    try:
        array = arrays.load_images(str(path))
    except (OSError, ValueError, EOFError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), [f"no folder, and no array of images: {told}"]) from error
    (one,) = graph.inputs(source.model)
    wanted = (one.shape or ())[1:]
    fits = len(wanted) == array.ndim - 1 and all(
        not isinstance(size, int) or size <= 0 or size == there
        for size, there in zip(wanted, array.shape[1:], strict=False)
    )
    if not fits:
        message = (
            f"it holds {array.shape}, (images, …), and the network takes {shape_text(one)}: one image behind "
            "another, preprocessed, without the network's batch axis"
        )
        raise ConfigError(str(path), [message])
    taken = path
    if limit < len(array):
        taken = folder / "images.npy"
        np.save(taken, array[:limit])
    count = min(limit, len(array))
    return Images(array=taken, count=count, told=f"the images in {path}", real=True)


def made_up(source: Source, folder: Path) -> Images:
    """Returns one image of noise: it shows that a network loads and runs, and nothing else."""
    (one,) = graph.inputs(source.model)
    sizes = [size if isinstance(size, int) and size > 0 else OPEN_SIZE for size in one.shape or ()]
    target = folder / "noise.npy"
    noise = np.random.default_rng(0).uniform(-1, 1, (1, *sizes[1:]))
    np.save(target, noise.astype(np.float32))
    return Images(array=target, count=1, told="one image of noise", real=False)
