"""What a finished run says of itself beside its cells: heads, gates, images, what was calibrated with. No I/O."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from trt_matrix.core.cells import Precision
from trt_matrix.core.records import Measurement, Stored, StoredObject

LEAST_EFFECT_DB = 0.5
"""Smallest difference of two errors that is worth a finding, where nothing else was asked for."""
EQUIVALENCE_DB = 1.0
"""Two that differ by less, with an error of 5 %, lose the same; where nothing else was asked for."""

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
        return any(self.limits(precision).named for precision in Precision)


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


Layout = Literal["channels_first", "channels_last", "boxes"]

Role = Literal["scores", "objectness", "boxes", "sizes", "offsets"]
"""What a head holds of a box that is made of several heads."""

Background = Literal["none", "first", "last"]
"""Where among the scores that of no object stands."""


class DecodedHead(Stored):
    """A head that holds boxes, or a part of them; which fields count is a matter of the style."""

    head: str
    stride: int = 0
    anchors: tuple[tuple[float, float], ...] = ()
    role: Role | None = None
    scale_x_y: float = 1.0


class PriorGrid(Stored):
    """Prior boxes of one grid of cells, in pixels: of each size a square, then what the others add."""

    stride: int
    sizes: tuple[float, ...]
    max_sizes: tuple[float, ...] = ()
    """For each size another square, of the side √(size · max size)."""
    ratios: tuple[float, ...] = ()
    """For each size two more: √ratio times as wide and high, and the other way round."""


class RecordedDecode(Stored):
    """How outputs become boxes, and when two boxes are one."""

    heads: tuple[DecodedHead, ...]
    """In the order of matrix.yaml."""
    image_size: tuple[int, int]
    """Height and width of the network's input."""
    style: str | None = None
    """One of `core.boxes.registry.STYLES`."""
    entry_point: str | None = None
    """`package.module:function` of the user's own, in place of a style."""
    source: StoredObject | None = None
    """Its file, stored with the run so that judging again does the same."""
    together: tuple[tuple[str, ...], ...] | None = None
    """Sets of heads that a box is made of together; None: the decoder's own, `heads_of_a_box`."""
    classes: int = 1
    category_ids: tuple[int, ...] = ()
    layout: Layout = "channels_first"
    activated: bool = False
    softmax: bool = False
    """Scores of a row are made by one softmax, not by a sigmoid each."""
    background: Background = "none"
    bins: int = 16
    strides: tuple[int, ...] = ()
    """Of a head without a stride of its own, whose rows are those of several grids, in this order."""
    anchors_per_cell: int = 1
    cell_offset: float = 0.5
    """Where in its cell a distance is measured from; 0 is the upper left corner."""
    priors: tuple[PriorGrid, ...] = ()
    clip_priors: bool = False
    variances: tuple[float, float] = (0.1, 0.2)
    """What offsets of centres, and of sizes, to a prior are multiplied by."""
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


class RunRequest(Stored):
    """What the requests of a run have in common: with a cell's measurement, enough to ask again."""

    input: str
    """Tensor that takes an image."""
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    batch: int = 1
    """Images at once."""
    evaluation: StoredObject
    """Preprocessed images, float32 (images, …)."""
    calibration: StoredObject
    engines: Mapping[str, str]
    """environment → `onnxruntime` or `tensorrt`."""
    engine_options: Mapping[str, Mapping[str, Any]]
    """environment → what its engine was given."""
    timing: Mapping[str, Any]
    transplant: str
    """How the shared table gets into a float network: `cache` or `dynamic_range`."""
    plugins: tuple[Mapping[str, Any], ...] = ()
    """Those of TensorRT's requests: `job.protocol.PLUGIN_KEYS`, the files by their names in the store."""

    def batch_request(self) -> Mapping[str, Any]:
        """Returns what of a request tells of batches; nothing where images go one by one."""
        return {"batch": {"size": self.batch, "alone": False}} if self.batch > 1 else {}


class ImageSet(Stored):
    """One set of images as it was fed, and what the reference makes of each; see `core.calibration`."""

    files: tuple[str, ...]
    """Names without folders, in the order of the array."""
    described: StoredObject | None
    """.npy of `described.STORED`, one entry an image; None of samples that are no images."""
    maxima: StoredObject | None = None
    """float32 .npy (images, tensors): largest magnitudes; None where the network could not give them."""
    areas: tuple[tuple[float, ...], ...] | None = None
    """For each image, the areas of its objects in its own square pixels; None where nobody knows."""


class CalibrationTrial(Stored):
    """What a variation of the calibration set, or of the preprocessing, gave on the evaluation images."""

    name: str
    """The form of a preprocessing; empty for a subset."""
    images: tuple[int, ...] = ()
    """Calibration images that the table was made of."""
    outputs: Mapping[str, StoredObject]
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
    subsets: tuple[CalibrationTrial, ...] = ()
    """The learning curve, its whole set last; empty where it was not asked for."""
    whole: CalibrationTrial | None = None
    """The table of all calibration images; None where nothing is compared with it."""
    orders: tuple[CalibrationTrial, ...] = ()
    """All images in other orders, beside the learning curve."""
    without: tuple[CalibrationTrial, ...] = ()
    """All images but one, which alone decides many ranges."""
    forms: Mapping[str, tuple[Mapping[str, float], ...]] = {}
    """Known preprocessing → the reference's ranges of a few calibration images so preprocessed, a mapping an
    algorithm; empty where no table came from elsewhere."""
    foreign: Mapping[str, str] = {}
    """Digest of a table that another program made → the environment, or the file, that it is of."""
    trials: tuple[CalibrationTrial, ...] = ()
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
    """Of the whole network; None if there is none, and in runs made before there could be one."""
    keep: Literal["sums", "outputs"] = "outputs"
    """Whether outputs stay of which only sums and boxes were needed; they did in runs made before this setting existed."""
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
    """The widest first; none in runs made before they were looked for."""
    decode: RecordedDecode | None = None
    boxless: bool = False
    """Whether the user says that the network makes no boxes (`decode: none`)."""
    labels: StoredObject | None = None
    """COCO labels of the evaluation images."""
    evaluation: tuple[EvaluationImage, ...] = ()
    """The images in their order in the outputs; needed for boxes, empty without."""
    show_images: bool = True
    """Whether the report may show evaluation images."""
    least_coverage: float | None = None
    """Share of a head's tensors that a table must reach, or its cell is not judged there; None in runs
    made before this setting existed."""
    least_effect_db: float = LEAST_EFFECT_DB
    equivalence_db: float = EQUIVALENCE_DB
    calibration: CalibrationFacts | None = None
    """None in runs made before this was recorded, and in interrupted ones."""
    asked: RunRequest | None = None
    """None in runs made before it was kept: none of their cells can be asked again."""
