"""The host's stored facts: what one start of one cell gave, and what one calibration gave.

Boundaries of the store, so validated by pydantic on the way in: a damaged file is found on reading
it. No I/O here.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from trt_matrix.core.cells import Cell, Pass, Status

SCHEMA_VERSION = 1


def digest(value: Any) -> str:
    """Returns the SHA-256 (hex) of `value` as canonical JSON: what every fingerprint is made by."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StoredObject(Stored):
    """A file of the store, addressed by its content."""

    sha256: str
    suffix: str
    size_bytes: int

    @property
    def file(self) -> str:
        return f"{self.sha256}{self.suffix}"


class DerivedObject(StoredObject):
    """An object that was made of others."""

    sources: tuple[str, ...] = ()
    """SHA-256 of each; unknown, so empty, where it was made before they were put down."""

    @property
    def object(self) -> StoredObject:
        return StoredObject(sha256=self.sha256, suffix=self.suffix, size_bytes=self.size_bytes)


class IntegerShare(Stored):
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


class LatencySamples(Stored):
    """Latency samples of one start, in seconds per inference of `batch` images."""

    batch: int
    samples_s: tuple[float, ...]
    """From the images in the host's memory to the outputs in it."""
    warm_up: int
    device_s: tuple[float, ...] | None = None
    """What the GPU computed of each sample, copies apart; None where the engine cannot tell."""


PROBED_OBJECTS = frozenset({"engine", "packages", "mapped", "gpu", "environment", "stated"})
"""Facts of a probe that have parts."""


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

    @field_validator("probe")
    @classmethod
    def _objects(cls, probe: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leaves out what is read as an object and is none: a job may have written anything."""
        return {
            name: value
            for name, value in probe.items()
            if name not in PROBED_OBJECTS or isinstance(value, Mapping | None)
        }


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
    """The file in matrix.yaml that this form of the network came from; None where there is only one form."""
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
    carried: Mapping[str, float] = {}
    """Tensor → range that it was carried into a float network with, in place of the table's."""
    held: tuple[str, ...] = ()
    """Tensors whose layers were held in floating point in this pass."""
    placement: str | None = None
    """`qdq.placements.Placed.name`: simulations are compared within one placement, and so is the limit."""
    outputs: Mapping[str, StoredObject] = {}
    """head → float32 .npy (images, …)."""
    left: bool = False
    """Whether they stayed on the machine that made them: only what is judged of them came."""
    latency: LatencySamples | None = None
    stages: Mapping[str, float] = {}
    """stage → seconds inside the job."""
    shares: Mapping[str, IntegerShare] | None = None
    """head → share; heads of which it is not known are left out."""
    coverage: Mapping[str, Coverage] | None = None
    """head → what of the table arrived; None where there is none, or its scales are in Q/DQ nodes."""
    build: Mapping[str, Any] | None = None
    """What TensorRT told of its build: `job.protocol.BUILD_KEYS`."""
    custom_layers: tuple[Mapping[str, Any], ...] = ()
    """What became of layers that plugins do: `job.protocol.CUSTOM_KEYS`."""
    layers: StoredObject | None = None
    """layers.json: what TensorRT made of the network's layers."""
    cache: StoredObject | None = None
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
    """tensor → the largest magnitude in any image; empty in records made before it was kept."""
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
