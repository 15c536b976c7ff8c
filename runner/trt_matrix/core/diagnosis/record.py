"""diagnosis.json: what was found, as stored beside the run. All errors in it are simulated unless they say measured."""

from typing import Literal

from trt_matrix.core.records import Stored

SCHEMA_VERSION = 1

LEAST_DB = 1.0
"""Implicit builds that keep so much less than Q/DQ with their table would lose a head."""


class Numbers(Stored):
    """What a head, or the whole network, keeps; None where it is not known (or, of SQNR, nothing is lost)."""

    sqnr_db: float | None = None
    worst_sqnr_db: float | None = None
    """On the worst images: the quarter with the largest error in int8."""
    lost: float | None = None
    """Lost boxes of the float network's, over all images."""
    lost_share: float | None = None
    mean_iou: float | None = None
    ap_drop: float | None = None
    ap50_drop: float | None = None


class MeasuredError(Stored):
    """What an engine gave."""

    cell: str
    sqnr_db: float | None


class Suspect(Stored):
    """A quantiser that costs a head more than rounding must, the surest first."""

    kind: Literal["activation", "weights"]
    name: str
    group: str
    causes: tuple[str, ...]
    avoidable_share: float
    """Of the head's error, as its parts add up."""
    gain_db: float
    """What comes back with its group in float: evaluated, so less where another one hides what it does."""
    images: tuple[str, ...] = ()
    """Where it happens most."""


class GroupCost(Stored):
    """A group of quantisers: what it costs a head, and what leaving it in float gives back."""

    group: str
    operator: str
    cost: float
    """Share of the network's multiply-accumulates in its layers."""
    alone_db: float | None
    """SQNR with this group alone in int8."""
    share: float
    """Of the sum of all groups' errors."""
    gain_db: float
    """SQNR with this group alone in float, less that with all in int8."""
    worst_gain_db: float
    lost_back: float | None
    """Boxes that come back."""
    ap_back: float | None
    weights_share: float | None
    """Of its own error, what its weights make; None where they were not looked at."""


class HeadDiagnosis(Stored):
    head: str
    int8: Numbers
    weights_only_db: float | None
    activations_only_db: float | None
    predicted_db: float | None
    """Sum of the parts."""
    rounding_db: float | None
    """The same with the best range for each activation and a scale a channel for all weights."""
    beyond_db: float | None
    """How far the head is above that: what is wrong beside 8 bits."""
    trust: float | None
    """Sum of the parts over the whole: near 1, parts can be added."""
    measured: tuple[MeasuredError, ...] = ()
    worst_images: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    parts: tuple[GroupCost, ...]
    """Most gain first."""


class TensorDiagnosis(Stored):
    kind: Literal["activation", "weights"]
    name: str
    group: str
    error_steps: float
    """Root mean square, in steps; rounding alone: 0.289."""
    clipped_share: float
    range: float
    amax: float
    """Largest magnitude seen."""
    next_range: float | None
    next_table: str | None
    unlike_channels: float
    avoidable: float
    """Share of its own error that the best range (of weights: a scale a channel) would not have."""
    causes: tuple[str, ...]
    images: tuple[str, ...] = ()


class GoalRecord(Stored):
    where: str
    name: str
    limit: float


class SetRecord(Stored):
    """Layers in float together, evaluated."""

    layers: tuple[str, ...]
    """In the network's order."""
    cost: float
    whole: Numbers
    heads: dict[str, Numbers]
    failing: tuple[GoalRecord, ...]


class SearchRecord(Stored):
    goals: tuple[GoalRecord, ...]
    failing: tuple[GoalRecord, ...]
    """With all in int8."""
    chosen: SetRecord | None
    """The cheapest set that was found to keep every limit; None where none did."""
    confirmed: SetRecord | None
    """The same set on other images; None where there were too few."""
    confirmed_holds: bool | None
    looks: int
    """Sets that were judged on the other images: above 1, the first ones did not hold there."""
    minimal: bool
    """Whether each member was seen to be needed."""
    best: SetRecord | None
    """Nearest to all limits, where none keeps them."""
    front: tuple[SetRecord, ...]
    """Sets that no cheaper one beats for some head."""
    evaluations: int
    sentence: str


class MixRecord(Stored):
    """The table in which each tensor takes, of the ranges that tables have for it, the one of least squared error."""

    changed: int
    """Tensors whose range is another than in the table that is diagnosed."""
    chosen: SetRecord
    """On the images that its ranges were chosen on; no layer is in float."""
    confirmed: SetRecord | None
    """On the others; None where there were too few."""


class ToolSettings(Stored):
    """The chosen set as other tools take it."""

    fp32_layers: str
    """For `options` of a TensorRT environment in matrix.yaml: what its implicit int8 holds in fp32."""
    trtexec: str
    polygraphy: str
    modelopt: str
    problems: tuple[str, ...] = ()


class Resizing(Stored):
    """A resizing, and the ranges on its two sides: in implicit int8 its values are wrong by their ratio."""

    layer: str
    source: str
    target: str
    source_range: float
    target_range: float


class ImplicitBuilds(Stored):
    """Implicit builds with one table that ran the same resizings in int8; None where nothing is lost."""

    table: str
    table_sha256: str = ""
    """Empty in diagnoses made before it was kept."""
    cells: tuple[str, ...]
    """One a build."""
    in_int8: tuple[str, ...]
    """Resizings."""
    held: tuple[str, ...]
    """Resizings that the matrix held in floating point."""
    measured_db: dict[str, tuple[float | None, ...]]
    """Head → what each build kept: measured."""
    qdq_db: dict[str, float | None]
    """The same by Q/DQ with this table: simulated."""
    given_on_db: dict[str, float | None]
    """The same where resizings in int8 give their integers on: simulated."""

    def loses(self, head: str) -> bool:
        """Whether any of the builds keeps `LEAST_DB` less of a head than Q/DQ with their table."""
        kept = [db for db in self.measured_db.get(head, ()) if db is not None]
        if not kept or head not in self.qdq_db:
            return False
        qdq = self.qdq_db[head]
        return qdq is None or min(kept) <= qdq - LEAST_DB

    def lost(self) -> tuple[str, ...]:
        """Returns the heads that they lose."""
        return tuple(filter(self.loses, self.measured_db))


class EngineLoss(Stored):
    """What implicit builds lost that a simulation of 8 bits with their tables does not, and what to hold."""

    heads: tuple[str, ...]
    why: Literal["integers given on", "builds differ", "position"]
    layers: tuple[str, ...]
    """To be held in floating point."""
    resizings: tuple[Resizing, ...]
    ways: tuple[ImplicitBuilds, ...]
    held_db: dict[str, float | None]
    """Head → what it keeps with the layers held, of the table that keeps least: simulated."""
    images: int
    sentence: str
    elsewhere: ToolSettings | None


class Diagnosis(Stored):
    schema_version: Literal[1] = 1
    name: str
    run: str | None
    model_sha256: str
    engine: str
    """Whose Q/DQ placement."""
    placement: str
    """Its name, as a run records it."""
    table: str
    table_sha256: str
    cost_unit: str
    images_chosen_on: int
    images_confirmed_on: int
    heads: tuple[HeadDiagnosis, ...]
    whole: Numbers
    tensors: tuple[TensorDiagnosis, ...]
    skipped: dict[str, str]
    """Activations that should be in int8 and are not → why."""
    search: SearchRecord
    elsewhere: ToolSettings | None
    engine_loss: EngineLoss | None = None
    other_images: SetRecord | None = None
    """All in int8 on the images that sets are confirmed on: what those are held against."""
    mix: MixRecord | None = None
    """None where no two tables differ."""
    notes: tuple[str, ...] = ()
    seconds: dict[str, float]
