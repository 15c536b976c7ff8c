"""The host's stored facts: what one start of one cell gave, and what one calibration gave.

Boundaries of the store, so validated by pydantic on the way in: a damaged file is found on reading
it. No I/O here.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from runner.cells import Cell, Pass, Precision, Status

SCHEMA_VERSION = 1


def digest(value: Any) -> str:
    """Returns the SHA-256 (hex) of `value` as canonical JSON: what every fingerprint is made by."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Object(Stored):
    """A file of the store, addressed by its content."""

    sha256: str
    suffix: str
    size_bytes: int

    @property
    def file(self) -> str:
        return f"{self.sha256}{self.suffix}"


class Derived(Object):
    """An object that was made of others."""

    sources: tuple[str, ...] = ()
    """SHA-256 of each; unknown, so empty, where it was made before they were put down."""

    @property
    def object(self) -> Object:
        return Object(sha256=self.sha256, suffix=self.suffix, size_bytes=self.size_bytes)


class Share(Stored):
    """How much of a head's backward cone integer kernels executed."""

    integer_macs: int
    total_macs: int
    float_layers: tuple[str, ...]
    """Layers that carry Q/DQ in the model but ran in floating point."""
    placed_float: tuple[str, ...] = ()
    """Layers that the placement leaves no choice: nothing quantises their output, and the engine has no
    kernel from integers to float. They multiply the quantised values in float, as the simulation does."""
    placed_float_macs: int = 0
    integer_operators: Mapping[str, int] = {}
    """Operator without multiply-accumulates that ran on integers → how many of the cone."""
    float_operators: Mapping[str, int] = {}
    """The same where they ran in float."""

    @property
    def ratio(self) -> float | None:
        """Share by multiply-accumulates, 0 to 1.

        Of a head without any: 0 where nothing at all ran on integers, else None.
        """
        if self.total_macs:
            return self.integer_macs / self.total_macs
        return None if self.integer_operators else 0.0

    @property
    def kept(self) -> float | None:
        """Share of what the placement gives to integers, 0 to 1: below 1 the engine fell back by itself.

        `ratio` where it gives them nothing that multiplies.
        """
        return self.integer_macs / self.offered_macs if self.offered_macs else self.ratio

    @property
    def offered_macs(self) -> int:
        """What the placement gives to integers."""
        return self.total_macs - self.placed_float_macs


class Coverage(Stored):
    """How many of the tensors that a head depends on got a scale of the table."""

    mapped: int
    unmapped: tuple[str, ...] = ()
    """Tensors without a scale."""
    zero: tuple[str, ...] = ()
    """Tensors whose scale is zero, which is none."""

    @property
    def total(self) -> int:
        return self.mapped + len(self.unmapped) + len(self.zero)

    @property
    def ratio(self) -> float | None:
        return self.mapped / self.total if self.total else None


class Timing(Stored):
    """Latency samples of one start, in seconds per inference of `batch` images."""

    batch: int
    samples_s: tuple[float, ...]
    """From the images in the host's memory to the outputs in it."""
    warm_up: int
    device_s: tuple[float, ...] | None = None
    """What the GPU computed of each sample, copies apart; None where the engine cannot tell."""


class Start(Stored):
    """Where and how a job was started; the same for all its passes."""

    environment: str
    device: str
    identity: Mapping[str, Any]
    """Stated facts: packages and hashes, interpreter."""
    probe: Mapping[str, Any]
    """Facts found inside."""
    command: tuple[str, ...]
    started: str
    """ISO 8601, UTC, by the clock of the machine that ran it; empty where nobody knows."""
    wall_s: float
    gpu: Mapping[str, Any] = {}
    """Its state before and after; empty on a CPU."""
    disturbed: str | None = None
    """Why what was timed is not to be trusted; None where nothing speaks against it."""


class Measurement(Stored):
    """One repeat of one cell: built and run once, in a process of its own."""

    schema_version: Literal[1] = 1
    fingerprint: str
    name: str
    """The pass: `int8-shared-entropy`."""
    repeat: int
    status: Status
    reason: str | None = None
    model_sha256: str
    """Of the file that was read, or was to be."""
    variant: str | None = None
    """Which of the network's files in matrix.yaml that was or was made of; None where it has one form."""
    typed: Mapping[str, Any] | None = None
    """What was told of the network in the pass's precision, where that was read: `execution.typed.facts_of`."""
    refused: Mapping[str, str] = {}
    """Files of the network that this engine's parser could not read → what it said."""
    table: str | None = None
    """Digest of the table's amax."""
    table_problem: str | None = None
    """Why the table that recorded outputs are said to be made with is not used; None where it is."""
    table_notes: tuple[str, ...] = ()
    """How that table was read, and what is doubtful of it."""
    placement: str | None = None
    """`qdq.placements.Placed.name`: simulations are compared within one placement, and so is the limit."""
    outputs: Mapping[str, Object] = {}
    """head → float32 .npy (images, …)."""
    latency: Timing | None = None
    stages: Mapping[str, float] = {}
    """stage → seconds inside the job."""
    shares: Mapping[str, Share] | None = None
    """head → share; heads of which it is not known are left out."""
    coverage: Mapping[str, Coverage] | None = None
    """head → what of the table arrived; None where there is none, or its scales are in Q/DQ nodes."""
    build: Mapping[str, Any] | None = None
    """What TensorRT told of its build: `job.protocol.BUILD_KEYS`."""
    custom_layers: tuple[Mapping[str, Any], ...] = ()
    """What became of layers that plugins do: `job.protocol.CUSTOM_KEYS`."""
    layers: Object | None = None
    """layers.json: what TensorRT made of the network's layers."""
    cache: Object | None = None
    """The calibration cache that TensorRT wrote, byte for byte."""
    log_tail: str | None = None
    start: Start | None = None


class Calibration(Stored):
    """What one environment's calibrator made of the calibration images."""

    schema_version: Literal[1] = 1
    fingerprint: str
    status: Status
    reason: str | None = None
    tables: Mapping[str, Mapping[str, float]] = {}
    """algorithm → tensor → amax; of entropy, a MaxPool's output has its input's (`core.tables.pooled`)."""
    unusable: Mapping[str, str] = {}
    """tensor → why it has no amax."""
    seen: Mapping[str, float] = {}
    """tensor → the largest magnitude in any image; empty in records of before it was kept."""
    clipped: Mapping[str, Mapping[str, float]] = {}
    """algorithm → tensor → share (0 to 1) of the nonzero values above its amax; empty as `seen` is."""
    seconds: float = 0.0
    log_tail: str | None = None
    start: Start | None = None


class Record(Stored):
    """One planned cell of one run, whatever became of it."""

    schema_version: Literal[1] = 1
    cell: str
    environment: str
    device: str
    pass_: Pass
    status: Status
    reason: str | None = None
    measurements: tuple[Measurement, ...] = ()
    reused: int = 0
    """How many of the measurements an earlier run made."""

    def planned(self) -> Cell:
        """Returns the cell as it was planned."""
        return Cell(environment=self.environment, device=self.device, pass_=self.pass_)


Limit = Literal["sqnr_db", "ap_drop", "ap50_drop", "iou", "lost"]


class Limits(Stored):
    """What a result must keep; None where there is no such limit."""

    sqnr_db: float | None = None
    ap_drop: float | None = None
    ap50_drop: float | None = None
    iou: float | None = None
    lost: float | None = None

    @property
    def named(self) -> Mapping[Limit, float]:
        """Those that are set."""
        found = {name: getattr(self, name) for name in get_args(Limit)}
        return {name: limit for name, limit in found.items() if limit is not None}


class Gate(Limits):
    """Limits of int8 cells, which hold for every reduced precision that has none of its own."""

    by_precision: Mapping[Precision, Mapping[Limit, float | None]] = {}
    """Reduced precision → what differs there; None where that limit is not set there."""

    def limits(self, precision: Precision) -> Limits:
        """Returns what a cell of this precision must keep: nothing in fp32, which has no gate."""
        if not precision.gated:
            return Limits()
        every = {name: getattr(self, name) for name in get_args(Limit)}
        return Limits(**{**every, **self.by_precision.get(precision, {})})

    @property
    def is_set(self) -> bool:
        """Whether any precision has a limit."""
        return any(self.limits(one).named for one in Precision)


class HeadGate(Gate):
    """The gate of one head."""

    head: str

    def without_sqnr(self) -> "HeadGate":
        """Returns the gate of a head of which SQNR says nothing, since its rows are ranked."""
        others = {
            precision: {name: limit for name, limit in limits.items() if name != "sqnr_db"}
            for precision, limits in self.by_precision.items()
        }
        return self.model_copy(update={"sqnr_db": None, "by_precision": others})


Style = Literal["yolov3", "yolov5", "yolov7", "yolov8", "yolov5-decoded", "yolov8-decoded"]

Layout = Literal["channels_first", "channels_last", "boxes"]


class DecodedHead(Stored):
    """A head that holds boxes; neither is needed where the network itself decodes."""

    head: str
    stride: int = 0
    anchors: tuple[tuple[float, float], ...] = ()


class Decode(Stored):
    """How outputs become boxes, and when two boxes are one."""

    heads: tuple[DecodedHead, ...]
    """In the order of matrix.yaml."""
    image_size: tuple[int, int]
    """Height and width of the network's input."""
    style: Style | None = None
    entry_point: str | None = None
    """`package.module:function` of the user's own, in place of a style."""
    source: Object | None = None
    """Its file, stored with the run so that judging again does the same."""
    together: tuple[tuple[str, ...], ...] | None = None
    """Sets of heads that a box is made of together; None: the decoder's own, `heads_of_a_box`."""
    classes: int = 1
    category_ids: tuple[int, ...] = ()
    layout: Layout = "channels_first"
    activated: bool = False
    bins: int = 16
    score_threshold: float = 0.01
    nms_iou: float = 0.5
    max_candidates: int = 30_000
    max_detections: int = 100
    match_iou: float = 0.5
    shown_score: float = 0.25


class EvaluationImage(Stored):
    """An evaluation image and how it lies in the network's input; see `images.Placement`."""

    file_name: str
    width: int
    height: int
    inner_width: int
    inner_height: int
    left: int
    top: int


class Operator(Stored):
    """A node of the network."""

    name: str
    operator: str
    """Its type: `Resize`."""
    custom: bool = False


class Behind(Stored):
    """The operators that exactly these heads depend on."""

    heads: tuple[str, ...]
    operators: tuple[Operator, ...]
    """Those that may set heads apart, in topological order."""
    others: Mapping[str, int]
    """Operator → how many of those that every network is full of."""


class Ranked(Stored):
    """A head whose rows a ranking decides: its elements are not those of the same things in two runs."""

    operator: str
    """The last ranking before the head: `TopK`."""
    node: str
    before: tuple[str, ...] = ()
    """Floating-point tensors before all ranking that can be heads in its place: those that the rows
    were gathered from first, then those that were ranked by."""


class WideWeight(Stored):
    """A weight whose output channels differ so much that one scale for all of them loses most."""

    layer: str
    weight: str
    spread: float
    """Largest channel to the median one."""
    channel: int
    """The largest."""
    channels: int
    heads: tuple[str, ...]
    """Those that depend on the layer."""


class Asked(Stored):
    """What the requests of a run have in common: with a cell's measurement, enough to ask again."""

    input: str
    """Tensor that takes an image."""
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    evaluation: Object
    """Preprocessed images, float32 (images, …)."""
    calibration: Object
    engines: Mapping[str, str]
    """environment → `onnxruntime` or `tensorrt`."""
    engine_options: Mapping[str, Mapping[str, Any]]
    """environment → what its engine was given."""
    timing: Mapping[str, Any]
    transplant: str
    """How the shared table gets into a float network: `cache` or `dynamic_range`."""
    plugins: tuple[Mapping[str, Any], ...] = ()
    """Those of TensorRT's requests: `job.protocol.PLUGIN_KEYS`, the files by their names in the store."""


class ImageSet(Stored):
    """One set of images as it was fed, and what the reference makes of each; see `core.calibration`."""

    files: tuple[str, ...]
    """Names without folders, in the order of the array."""
    described: Object
    """.npy of `described.STORED`, one entry an image."""
    maxima: Object | None = None
    """float32 .npy (images, tensors): largest magnitudes; None where the network could not give them."""
    areas: tuple[tuple[float, ...], ...] | None = None
    """For each image, the areas of its objects in its own square pixels; None where nobody knows."""


class Tried(Stored):
    """What a variation of the calibration set, or of the preprocessing, gave on the evaluation images."""

    name: str
    """The form of a preprocessing; empty for a subset."""
    images: tuple[int, ...] = ()
    """Calibration images that the table was made of."""
    outputs: Mapping[str, Object]
    """head → float32 .npy (images, …)."""


class CalibrationFacts(Stored):
    """What was looked at of the calibration set."""

    calibration: ImageSet
    evaluation: ImageSet
    tensors: tuple[str, ...] = ()
    """In the order of the columns of `maxima`."""
    areas_of: str = ""
    """What `areas` are of: `labels`, or `boxes of the float network`."""
    algorithm: str | None = None
    """Of the tables of `subsets`."""
    subsets: tuple[Tried, ...] = ()
    """The learning curve, its whole set last; empty where it was not asked for."""
    whole: Tried | None = None
    """The table of all calibration images; None where nothing is compared with it."""
    orders: tuple[Tried, ...] = ()
    """All images in other orders, beside the learning curve."""
    without: tuple[Tried, ...] = ()
    """All images but one, which alone decides many ranges."""
    forms: Mapping[str, tuple[Mapping[str, float], ...]] = {}
    """Known preprocessing → the reference's ranges of a few calibration images so preprocessed, a mapping an
    algorithm; empty where no table came from elsewhere."""
    foreign: Mapping[str, str] = {}
    """Digest of a table that another program made → the environment, or the file, that it is of."""
    trials: tuple[Tried, ...] = ()
    """The float network on the evaluation images, preprocessed in each known way; what was fed first."""
    unknown: tuple[str, ...] = ()
    """What could not be looked at, and why."""


class Manifest(Stored):
    """One run: what was asked, and what everything in it was compared with."""

    schema_version: Literal[1] = 1
    run_id: str
    name: str
    created: str
    baseline: str
    heads: tuple[HeadGate, ...]
    """In the order of matrix.yaml."""
    gate: Gate | None = None
    """Of the whole network; None where there is none, and in runs of before there could be one."""
    images: int
    epsilon: float
    cells: tuple[str, ...]
    reference: Measurement | None
    simulations: tuple[Measurement, ...]
    """Q/DQ networks computed in exact float32 arithmetic: one a table and placement."""
    tables: Mapping[str, Mapping[str, Any]]
    """table digest → provenance."""
    facts: Mapping[str, Any]
    seconds: Mapping[str, float] = {}
    """Where the wall time went."""
    looks: int = 1
    """How often the verdicts could be looked at before the last repeat: each look has its share."""
    lineage: tuple[Behind, ...] = ()
    """Which operators are behind which heads."""
    ranked: Mapping[str, Ranked] = {}
    """Head → what decides its rows; heads whose elements keep their places are not in it."""
    wide_weights: tuple[WideWeight, ...] = ()
    """The widest first; none in runs of before they were looked for."""
    decode: Decode | None = None
    labels: Object | None = None
    """COCO labels of the evaluation images."""
    evaluation: tuple[EvaluationImage, ...] = ()
    """The images in their order in the outputs; needed for boxes, empty without."""
    show_images: bool = True
    """Whether the report may show evaluation images."""
    least_coverage: float | None = None
    """Share of a head's tensors that a table must reach, or its cell is not judged there; None in runs
    of before it was asked for."""
    least_effect_db: float = 0.5
    """Differences of two errors that are smaller are no finding."""
    equivalence_db: float = 1.0
    """Versions that differ by less lose the same."""
    calibration: CalibrationFacts | None = None
    """None in runs of before it was looked at, and in interrupted ones."""
    asked: Asked | None = None
    """None in runs of before it was kept: no cell of those can be asked again."""
