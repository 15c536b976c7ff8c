"""diagnosis.json: what was found, as stored beside the run. All errors in it are simulated unless they say measured."""

from typing import Literal

from runner.records import Stored

SCHEMA_VERSION = 1


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
    """A quantiser that costs a head more than rounding must."""

    kind: Literal["activation", "weights"]
    name: str
    group: str
    causes: tuple[str, ...]
    avoidable_share: float
    """Of the head's error, as its parts add up."""
    images: tuple[str, ...] = ()
    """Where it happens most."""


class Part(Stored):
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
    parts: tuple[Part, ...]
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


class Elsewhere(Stored):
    """The chosen set as other tools take it."""

    fp32_layers: str
    """For `options` of a TensorRT environment in matrix.yaml: what its implicit int8 holds in fp32."""
    trtexec: str
    polygraphy: str
    modelopt: str
    problems: tuple[str, ...] = ()


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
    elsewhere: Elsewhere | None
    notes: tuple[str, ...] = ()
    seconds: dict[str, float]
