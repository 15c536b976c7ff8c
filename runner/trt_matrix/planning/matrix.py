"""Whether what matrix.yaml refers to is there and fits together; all problems at once, no engine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.config.matrix import Config
from trt_matrix.config.yaml_file import Document
from trt_matrix.core.cells import Cell
from trt_matrix.core.manifest import WideWeight
from trt_matrix.core.network import graph
from trt_matrix.core.network.image_input import ImageInput, SampleInput
from trt_matrix.core.network.ranked import Rankings
from trt_matrix.core.plan import hindered
from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.core.qdq.weight_spread import wide_weights
from trt_matrix.environments.base import Environment
from trt_matrix.errors import ConfigError
from trt_matrix.execution.functions import FunctionFiles
from trt_matrix.execution.plugins import PluginFiles
from trt_matrix.execution.shipped import Shipped
from trt_matrix.execution.uff import UffFile
from trt_matrix.inputs.labels import Areas, ImageLabels, areas
from trt_matrix.planning.boxes import (
    CheckedDecode,
    check_categories,
    check_decode,
    check_gates,
    shapes_of,
)
from trt_matrix.planning.files import dumps_problems, plugin_files
from trt_matrix.planning.functions import function_files
from trt_matrix.planning.heads import head_notes
from trt_matrix.planning.image_folders import ImageFolders
from trt_matrix.planning.inputs import batch_notes, guessed_doubts, whole_batches
from trt_matrix.planning.names import Names
from trt_matrix.planning.networks import CheckedVariant, Networks
from trt_matrix.planning.placing import wide_notes
from trt_matrix.planning.problems import Problems
from trt_matrix.planning.tables import TableContent, shared_content

ONE_SCALE = (
    "its inputs are fed as one tensor and cut apart inside, and implicit int8 gives a tensor one scale: pixels would "
    "get that of sizes beside them; int8 by Q/DQ nodes keeps them apart"
)


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
    parts: tuple[InputPart, ...] = ()
    """What `input` holds for a sample, where several inputs are fed as one."""
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    baseline: str
    """Id of the baseline environment."""
    reference: tuple[str, str] | None = None
    """Id of the environment whose outputs errors are against, and the name of its pass; None for the host's."""
    calibration: tuple[Path, ...]
    evaluation: tuple[Path, ...]
    decode: CheckedDecode | None = None
    boxless: bool = False
    """Whether it is known that the network makes no boxes."""
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

    def hindered(
        self, cells: Iterable[Cell], environments: Mapping[str, Environment]
    ) -> tuple[Cell, ...]:
        """Returns the cells; with the reason, those that no engine can run because of what the network is."""
        left = tuple(cells)
        if shipped := self.shipped:
            engines = {name: environment.engine for name, environment in environments.items()}
            left = hindered(
                left, lambda cell: shipped.obstacle(cell.pass_, engines[cell.environment])
            )
        if self.parts:
            left = hindered(left, lambda cell: ONE_SCALE if cell.pass_.implicit else None)
        return left


def check(config: Config, document: Document, root: Path) -> Checked:
    """Checks files, names and shapes.

    Raises:
        ConfigError: names every problem.
    """
    problems = Problems(document)
    networks = Networks(config, root, problems)
    network = networks.network()
    whole = network.model if network else None
    # As shipped it must give out floats itself.
    heads = networks.heads(network.given if network and network.shipped else whole)
    left = networks.cut(network, heads)
    model = left.model if left else None
    networks.nodes(model, whole)
    image = networks.input(model, network)
    variants = networks.variants(whole, heads, image)
    uff = networks.uff(whole, heads, image)
    names = Names(config, root, problems)
    baseline = names.baseline()
    reference = names.reference()
    names.unique()
    names.hosts()
    sets = ImageFolders(config, root, problems)
    images = sets.images("calibration", config.data.calibration)
    calibration = tuple(whole_batches(images, config.model.batch))
    evaluation = sets.images("evaluation", config.data.evaluation)
    labels_content, labels = sets.labels(evaluation) or (None, None)
    sizes = sets.sizes(calibration)
    decode = _boxes(config, root, problems, model, image, labels)
    names.files()
    plugins = plugin_files(config, root, problems.add)
    functions = function_files(config, root, problems.add)
    problems.add_all(dumps_problems(config))
    table = shared_content(config, root, problems.add)
    ranked = networks.rankings(model, heads)
    networks.batch(model, heads)
    if (
        problems.found
        or network is None
        or left is None
        or whole is None
        or model is None
        or image is None
        or ranked is None
    ):
        raise ConfigError(document.source, problems.found)
    try:
        wide = wide_weights(model, heads)
    except graph.GraphError:  # it cannot be placed either, and the run tells why
        wide = ()
    return Checked(
        config=config,
        root=root,
        content=left.content,
        model=model,
        input=image.name,
        shape=image.shape,
        sample=image.sample,
        pixels=network.pixels,
        parts=network.parts,
        channels_last=image.channels_last,
        heads=heads,
        baseline=baseline,
        reference=reference,
        calibration=calibration,
        evaluation=evaluation,
        decode=decode,
        boxless=config.boxless or isinstance(image, SampleInput),
        labels=labels_content,
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
            *batch_notes(config.model.batch, len(images), len(calibration), len(evaluation)),
        ),
        doubts=(*guessed_doubts(config, document), *problems.doubts),
        facts=network.facts,
    )


def _boxes(
    config: Config,
    root: Path,
    problems: Problems,
    model: onnx.ModelProto | None,
    image: ImageInput | SampleInput | None,
    labels: ImageLabels | None,
) -> CheckedDecode | None:
    check_gates(config, labels, problems.add)
    if isinstance(image, SampleInput):
        if config.decoding:
            problems.add(("decode",), f"boxes need an image, the network takes {list(image.shape)}")
        return None
    if model is None or image is None:
        return None
    shapes = {output.name: output.shape for output in graph.outputs(model)}
    heads = {name: shapes.get(head.output or name) for name, head in config.heads.items()}
    shaped = shapes_of(heads, config.model.batch)
    decode = check_decode(config, root, (image.height, image.width), shaped, problems.add)
    if decode and labels:
        check_categories(decode.decode, labels, problems.add)
    return decode
