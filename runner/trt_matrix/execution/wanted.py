"""What to ask of a job, and the fingerprint under which its answer is known; pure.

A fingerprint covers everything that decides the numbers and nothing else: neither the name of an
environment nor that of a pass is in it.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trt_matrix.core.cells import Pass, Precision, TableSource
from trt_matrix.core.hosts.gpus import Machine
from trt_matrix.core.qdq.placements import (
    Placed,
    PlacementChoice,
    Preference,
    Weights,
    activations_for,
    kept_in_float,
    rules_of,
)
from trt_matrix.core.records import Calibration, StoredObject, digest
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.environments.base import PACKED, Environment, Identity
from trt_matrix.execution.alternatives import Alternative
from trt_matrix.execution.answer_models import RESULTS_LIMIT_BYTES
from trt_matrix.execution.functions import FunctionFiles
from trt_matrix.execution.inputs import GivenTable, ImageArrays, Network
from trt_matrix.execution.plugins import ENGINE, PluginFiles
from trt_matrix.execution.typed import TypedNetwork

MINMAX = "minmax"
"""The algorithm whose table is the largest magnitudes."""

FP32 = Pass(precision=Precision.FP32)


class OutputUse(enum.Enum):
    """What a run asks of the outputs of a pass: once all of it is known, they need not be kept."""

    WHOLE = enum.auto()
    """The arrays themselves, again and again."""
    JUDGED = enum.auto()
    """Sums against the reference, and boxes."""
    COMPARED = enum.auto()
    """Sums against the reference."""
    FOUND = enum.auto()
    """Average precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides the numbers of every cell alike."""

    input: str
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    batch: int = 1
    """Images at once."""
    alone: bool = False
    """Whether each image fills a batch of its own, so that an output without a batch axis is of it alone."""
    algorithms: Mapping[str, Mapping[str, Any]]
    """Every algorithm there is → its options; which cells use which is the plan's."""
    shared: str | None
    """Algorithm of the table that all get; None without one, and where it is `given`."""
    transplant: str
    """How the shared table gets into a float network: `cache` or `dynamic_range`."""
    equal_ranges: bool = True
    """Whether it is carried with one range on both sides of what only moves values."""
    repeats: int
    """Of every cell."""
    most_repeats: int
    """Of a cell that is not decided before; equal to `repeats` where their number is fixed."""
    timing: Mapping[str, Any]
    deadline_s: float
    program: str
    """Hash of the job's own files."""
    host: str
    """Hash of what the processor is."""
    preprocess: str
    """Hash of the preprocessing settings."""
    results_bytes: int = RESULTS_LIMIT_BYTES
    """Most that one start of a job may leave."""
    coverage: float = 0.0
    """Least share of a head's tensors that a recorded table must have scales of."""
    machines: Mapping[str, Machine] = field(default_factory=dict)
    """environment → where it runs."""
    given: GivenTable | None = None
    """The table that all get, where it is a file's."""
    quantisation: Preference = field(default_factory=Preference)
    settle: Mapping[str, Any] | None = None
    """What a job elsewhere is asked so that its outputs need not travel: `epsilon` and `gates` of
    `job.protocol.SETTLE_KEYS`; None where they are to travel."""

    def batch_request(self) -> Mapping[str, Any]:
        """Returns what a job is told of batches: `job.protocol.BATCH_KEYS`."""
        return {"size": self.batch, "alone": self.alone}

    def machine(self, environment: str) -> Machine:
        """Returns where an environment runs; the reference and whatever is not named run here."""
        return self.machines.get(environment, Machine())


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSite:
    """Where jobs are started, and what all of them there share."""

    environment: Environment
    identity: Identity
    device: str
    engine_options: Mapping[str, Any]
    timing: Mapping[str, Any] | None
    """How latency is measured; None where it is of no interest."""
    shapes: Mapping[str, tuple[int, ...]]
    """head → shape (images, …) of the reference's output; empty for the reference itself."""
    reference: Mapping[str, StoredObject] = field(default_factory=dict)
    """head → the reference's output; empty as `shapes` is."""
    recorded: bool = False
    """Whether its outputs were recorded before: what its engine ran on is anybody's guess."""

    @property
    def elsewhere(self) -> bool:
        """Whether its jobs are packed, and what came back is taken for theirs."""
        return self.identity.facts.get("kind") == PACKED

    @property
    def where(self) -> str:
        """`ort-1.32.0/cpu`."""
        return f"{self.environment.name}/{self.device}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Implicit:
    """Where the scales of a float network in int8 come from: `job.protocol.IMPLICIT_KEYS`."""

    scales: str
    """`calibrate`, `cache` or `dynamic_range`."""
    calibrator: str | None
    images: StoredObject | None = None
    """To calibrate on."""
    table: StoredObject | None = None
    """JSON, tensor → amax: to carry over."""
    changed: Mapping[str, float] = field(default_factory=dict)
    """Tensor → range that it is carried with in place of the table's."""
    held: tuple[str, ...] = ()
    """Tensors whose layers are held in fp32: they are called so in every form of the network."""

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        return tuple(stored for stored in (self.images, self.table) if stored)


@dataclass(frozen=True, slots=True)
class Variant:
    """The network that a pass runs, and where its scales come from."""

    model: StoredObject
    table: Table | None = None
    """None for a float network, and where TensorRT makes it."""
    precision: Precision = Precision.FP32
    """Of a network without a table; with one it is int8."""
    implicit: Implicit | None = None
    """Where TensorRT's own scales come from."""
    alternatives: tuple[Alternative, ...] = ()
    """The same in other forms, tried in order where the parser cannot read `model`."""
    typed: TypedNetwork | None = None
    """What takes the place of all of them in an engine whose networks are strongly typed."""
    placed: Placed | None = None
    """Where its Q/DQ stands, and what it is simulated by; None of floating point."""

    @property
    def digest(self) -> str | None:
        """Of its table."""
        return self.table.digest if self.table else None

    @property
    def placement(self) -> str | None:
        return self.placed.name if self.placed else None

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        """What the job reads, beside the evaluation images."""
        others = (alternative.model for alternative in self.alternatives)
        typed = (self.typed.model,) if self.typed and self.typed.model else ()
        return (self.model, *others, *typed, *(self.implicit.objects if self.implicit else ()))


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedPass:
    """A pass to run."""

    fingerprint: str
    name: str
    precision: Precision
    variant: Variant
    repeat: int
    compare_with: str | None = None
    use: OutputUse = OutputUse.WHOLE


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedCalibration:
    fingerprint: str
    model: StoredObject
    images: StoredObject
    tensors: tuple[str, ...]
    algorithms: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PassRequests:
    """Says what to ask for at a site."""

    settings: Settings
    network: Network
    data: ImageArrays
    plugins: tuple[PluginFiles, ...] = ()
    """Custom layers, which TensorRT alone is given."""
    functions: Mapping[str, FunctionFiles] = field(default_factory=dict)
    """Environment → functions of the user's own that are its engine."""

    def plugins_at(self, site: JobSite) -> tuple[PluginFiles, ...]:
        return self.plugins if site.environment.engine == ENGINE else ()

    def files_at(self, site: JobSite) -> tuple[StoredObject, ...]:
        """Returns what every job of a site is given besides networks and images."""
        plugins = [file for plugin_files in self.plugins_at(site) for file in plugin_files.objects]
        functions = self.functions.get(site.environment.name)
        return (*plugins, *(functions.objects if functions else ()))

    def settle_at(
        self, site: JobSite, own: Mapping[str, StoredObject] | None = None
    ) -> Mapping[str, Any] | None:
        """Returns what a job of a site is asked so that its outputs need not travel: `job.protocol.SETTLE_KEYS`.

        `own` is head → output of the environment's own fp32, where that is known and not asked for again.
        """
        if not site.elsewhere or not site.reference or self.settings.settle is None:
            return None
        return {
            **self.settings.settle,
            "reference": {head: stored.file for head, stored in site.reference.items()},
            "own": {head: stored.file for head, stored in own.items()} if own else None,
        }

    def activations(self, site: JobSite) -> PlacementChoice:
        """Returns the type of the activations of a site's explicit int8, and why."""
        # What is packed runs on a machine that nobody has seen, and so did what was recorded.
        known = not site.recorded and not site.elsewhere
        return activations_for(
            rules_of(site.environment.engine),
            on_cpu=site.device == "cpu",
            asked=None if site.recorded else self.settings.quantisation.activations,
            processor=self.settings.machine(site.environment.name).processor if known else None,
        )

    def placed(self, site: JobSite, pass_: Pass) -> Placed:
        """Returns the placement of an int8 pass; of TensorRT's implicit int8, what it is simulated by."""
        if pass_.source is TableSource.SHIPPED and self.network.shipped:
            return self.network.shipped.placed(rules_of(site.environment.engine))
        kept = kept_in_float(pass_.exclude)
        if pass_.implicit:
            return Placed(engine=rules_of(site.environment.engine), in_float=kept)
        return Placed(
            engine=rules_of(site.environment.engine),
            in_float=kept,
            activations=self.activations(site).activations,
            weights=Weights.PER_TENSOR if pass_.per_tensor else Weights.PER_CHANNEL,
            int8_outputs=self.settings.quantisation.int8_outputs,
        )

    def explicit(self, engine: str) -> Placed:
        """Returns an engine's placement where no cell decides: int8 and uint8 activations have one grid."""
        return Placed(engine=rules_of(engine), int8_outputs=self.settings.quantisation.int8_outputs)

    def place(self, site: JobSite) -> str:
        """Returns the name of what no two jobs may use at once: see `Machine.place`."""
        return self.settings.machine(site.environment.name).place(site.device)

    def calibration(self, site: JobSite, algorithms: Sequence[str]) -> WantedCalibration:
        chosen = tuple(
            {"name": name, "options": dict(self.settings.algorithms[name])} for name in algorithms
        )
        network = self.network
        return self._calibration(
            site, network.calibration, network.tensors, self.data.calibration, chosen
        )

    def ranges(
        self, site: JobSite, model: StoredObject, tensors: Sequence[str], images: StoredObject
    ) -> WantedCalibration:
        """Says how to find the largest magnitude of `tensors`, which `model` gives out, on `images`."""
        minmax = {"name": MINMAX, "options": {}}
        return self._calibration(site, model, tuple(tensors), images, (minmax,))

    def _calibration(
        self,
        site: JobSite,
        model: StoredObject,
        tensors: tuple[str, ...],
        images: StoredObject,
        algorithms: tuple[Mapping[str, Any], ...],
    ) -> WantedCalibration:
        key = {
            "calibration": 1,
            "site": self._site_key(site),
            "model": model.sha256,
            "images": images.sha256,
            "tensors": tensors,
            "algorithms": algorithms,
        }
        return WantedCalibration(
            fingerprint=digest(key),
            model=model,
            images=images,
            tensors=tensors,
            algorithms=algorithms,
        )

    def table(self, site: JobSite, calibration: Calibration, algorithm: str) -> Table:
        """Returns the table that one of the calibration's algorithms made."""
        table = from_ranges(
            calibration.tables[algorithm],
            Provenance(
                algorithm=algorithm,
                environment=site.environment.name,
                images_sha256=self.data.calibration.sha256,
                preprocess_sha256=self.settings.preprocess,
                model_sha256=self.network.fp32.sha256,
            ),
        )
        bad = {name: why for name, why in calibration.unusable.items() if name not in table.amax}
        return dataclasses.replace(table, unusable=bad | dict(table.unusable))

    def measurement(
        self,
        site: JobSite,
        name: str,
        repeat: int,
        variant: Variant,
        *,
        use: OutputUse = OutputUse.WHOLE,
    ) -> WantedPass:
        """Says what to measure at a site; `repeat` is from 0, `use` is what is asked of its outputs, which decides none."""
        implicit = variant.implicit
        precision = Precision.INT8 if variant.table or implicit else variant.precision
        key: dict[str, Any] = {
            "measurement": 1,
            "site": self._site_key(site),
            "model": variant.model.sha256,
            "precision": precision,
            "evaluation": self.data.evaluation.sha256,
            "timing": site.timing,
            "repeat": repeat,
        }
        if implicit:
            key["implicit"] = {
                "scales": implicit.scales,
                "calibrator": implicit.calibrator,
                "files": [stored.sha256 for stored in implicit.objects],
                **({"held": implicit.held} if implicit.held else {}),
            }
        if variant.alternatives:
            key["alternatives"] = [alternative.key for alternative in variant.alternatives]
        if variant.typed:
            key["typed"] = variant.typed.key
        return WantedPass(
            fingerprint=digest(key),
            name=name,
            precision=precision,
            variant=variant,
            repeat=repeat,
            compare_with=FP32.name if precision is not Precision.FP32 else None,
            use=use,
        )

    def _site_key(self, site: JobSite) -> Mapping[str, Any]:
        plugins = [plugin_files.request() for plugin_files in self.plugins_at(site)]
        return {
            **({"batch": self.settings.batch_request()} if self.settings.batch > 1 else {}),
            **({"plugins": plugins} if plugins else {}),
            "environment": site.identity.fingerprint,
            "engine": site.environment.engine,
            "options": site.engine_options,
            "device": self.settings.machine(site.environment.name).decides(site.device),
            "host": self.settings.host,
            "program": self.settings.program,
            "input": self.settings.input,
            "heads": self.settings.heads,
        }
