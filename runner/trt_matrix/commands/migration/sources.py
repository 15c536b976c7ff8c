"""Where the network, its heads and the images come from: matrix.yaml, or the command line alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from trt_matrix.commands.migration.files import network_of
from trt_matrix.commands.migration.simulating import MigrationImages
from trt_matrix.config import matrix as configuration
from trt_matrix.config.matrix import Config
from trt_matrix.config.shared_table import SharedTable
from trt_matrix.config.yaml_file import Document
from trt_matrix.containers.job import arrays
from trt_matrix.core.network import graph
from trt_matrix.core.network.image_input import batch_of, image_input, shape_text
from trt_matrix.core.prepared.preparing import PreparationError, prepare
from trt_matrix.core.words import listed
from trt_matrix.errors import ConfigError
from trt_matrix.inputs.images import image_files, preprocess
from trt_matrix.planning.arrays import write_samples
from trt_matrix.planning.heads import is_floating
from trt_matrix.planning.inputs import unknown_inputs, wishes_of
from trt_matrix.planning.matrix import check
from trt_matrix.planning.quantised import prepared_note

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
    notes: Sequence[str] = ()
    """What was done to the network before anything else."""

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
    """Returns the network to work on: `model` goes before that of matrix.yaml, which without both is this folder's.

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
    loaded, notes = as_stated(network_of(path), path, read, document)
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
        engines={name: entry.engine for entry in read.environments for name in entry.ids()},
        notes=notes,
    )


def as_stated(
    model: onnx.ModelProto, path: Path, config: Config, document: Document
) -> tuple[onnx.ModelProto, Sequence[str]]:
    """Returns a network with the shapes and constants that matrix.yaml says of its inputs, and what was done.

    Where it says none the network stays as its file has it: an open batch is open in what is made of it.

    Raises:
        ConfigError: they do not fit the network.
    """
    if not (config.model.shapes or config.model.constants or config.model.batch > 1):
        return model, ()
    problems = [f"{document.where(place)}: {told}" for place, told in unknown_inputs(config, model)]
    if problems:
        raise ConfigError(document.source, problems)
    try:
        fed = prepare(model, wishes_of(config))
    except PreparationError as error:
        problems = [
            f"{document.where(('model', *place))}: {told}" if place else f"{path}: {told}"
            for place, told in error.problems
        ]
        raise ConfigError(document.source, problems) from error
    except graph.GraphError as error:
        raise ConfigError(str(path), [str(error)]) from error
    if fed.parts:
        # What is made of it would take our one tensor in place of the user's inputs.
        names = listed([repr(part.name) for part in fed.parts])
        problem = (
            f"{path}: it takes {names}, which the samples bring each for itself; networks of one input are worked on "
            "here: say in model.constants what all but one are fed"
        )
        raise ConfigError(document.source, [problem])
    told = prepared_note(path.name, fed, sorted_=False) if fed.told else ""
    return fed.model, (told,) if told else ()


def _of_model(path: Path) -> Source:
    model = network_of(path)
    heads = [
        (output.name, output.name) for output in graph.outputs(model) if is_floating(output.dtype)
    ]
    if not heads:
        raise ConfigError(str(path), ["no output is floating point: there is nothing to compare"])
    return Source(path=path, model=model, heads=heads)


def images_of(
    source: Source, given: Path | None, limit: int, folder: Path
) -> MigrationImages | None:
    """Returns at most `limit` images to compare on; None where none are known.

    `given` is a folder of images, or a .npy of what the network takes; without it they are those of matrix.yaml.
    What is preprocessed goes into `folder`.

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
        taken = checked.evaluation[:limit]
        write_samples(checked, taken, target)
        described = f"the evaluation {source.config.data.evaluation.key} of matrix.yaml"
        return MigrationImages(array=target, count=len(taken), told=described, real=True)
    if source.config.data.are_arrays:
        message = (
            "matrix.yaml has arrays, so how images become its input is not known: give a .npy of it"
        )
        raise ConfigError(str(given), [message])
    try:
        files, problems = image_files(given)
    except OSError as error:
        raise ConfigError(str(given), [error.strerror or "cannot be read"]) from error
    if problems or not files:
        raise ConfigError(str(given), [*problems] or ["no images in it"])
    try:
        image = image_input(source.model, batch_of(source.model))
    except graph.GraphError as error:
        raise ConfigError(str(source.path), [str(error)]) from error
    taken = files[:limit]
    settings = source.config.data.preprocess
    preprocess(taken, image.shape, settings, target, channels_last=image.channels_last)
    return MigrationImages(array=target, count=len(taken), told=f"the images in {given}", real=True)


def _only_input(source: Source) -> graph.TensorInfo:
    """Returns the network's input.

    Raises:
        ConfigError: it has several, or none.
    """
    tensors = graph.inputs(source.model)
    if len(tensors) != 1:
        names = ", ".join(f"{tensor.name} {shape_text(tensor)}" for tensor in tensors) or "none"
        message = (
            f"it has {len(tensors)} inputs: {names}; images fill one, so say what the others are fed in a matrix.yaml "
            "(`trt-matrix init` proposes it: model.constants) and give it by --config"
        )
        raise ConfigError(str(source.path), [message])
    return tensors[0]


def _of_array(source: Source, path: Path, limit: int, folder: Path) -> MigrationImages:
    try:
        array = arrays.load_images(str(path))
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), [f"no folder, and no array of images: {reason}"]) from error
    tensor = _only_input(source)
    wanted = (tensor.shape or ())[1:]
    fits = len(wanted) == array.ndim - 1 and all(
        not isinstance(size, int) or size <= 0 or size == there
        for size, there in zip(wanted, array.shape[1:], strict=False)
    )
    if not fits:
        message = (
            f"it holds {array.shape}, (images, …), and the network takes {shape_text(tensor)}: one image behind "
            "another, preprocessed, without the network's batch axis"
        )
        raise ConfigError(str(path), [message])
    taken = path
    if limit < len(array):
        taken = folder / "images.npy"
        np.save(taken, array[:limit])
    count = min(limit, len(array))
    return MigrationImages(array=taken, count=count, told=f"the images in {path}", real=True)


def made_up(source: Source, folder: Path) -> MigrationImages:
    """Returns one image of noise: it shows that a network loads and runs, and nothing else."""
    tensor = _only_input(source)
    sizes = [
        size if isinstance(size, int) and size > 0 else OPEN_SIZE for size in tensor.shape or ()
    ]
    target = folder / "noise.npy"
    noise = np.random.default_rng(0).uniform(-1, 1, (1, *sizes[1:]))
    np.save(target, noise.astype(np.float32))
    return MigrationImages(array=target, count=1, told="one image of noise", real=False)
