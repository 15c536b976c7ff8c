"""What the numbers say about every planned cell: the only thing that the report is made from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.boxes.results import BoxErrors, BoxReport, CellBoxes
from trt_matrix.core.calibration.report import CalibrationReport
from trt_matrix.core.cells import Cell, CellPlace, Pass, Status
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.fix import Fix
from trt_matrix.core.latency import Latency
from trt_matrix.core.layers.choices import Choice
from trt_matrix.core.layers.precisions import LayerReport
from trt_matrix.core.metrics import Metrics, sqnr_db
from trt_matrix.core.network.lineage import Lineage
from trt_matrix.core.qdq.placements import Placed
from trt_matrix.core.tables.differences import TableReport
from trt_matrix.core.verdicts.bridges import Bridge
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK, GateResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRun:
    """How a cell was run: when, for how long in each stage, with which table and build."""

    started: str | None
    """ISO 8601, UTC: when the job of the newest repeat was started; None where none was."""
    stages: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Stage → seconds in each repeat that had it."""
    table: str | None
    """Digest of the table that it ran with."""
    fingerprint: str
    """Of the newest repeat: what decides its numbers."""
    engine_bytes: int | None
    """Size of the engine that was built; None where that is not told."""
    timing_cache: str | None
    """`none`, `new`, `read` or `refused`; None where the engine has none."""


class SlowCause(StrEnum):
    """What a cell's reasons come to, what explains most first."""

    DISTURBED = "disturbed"
    """Something else ran while it was timed."""
    FLOAT = "float"
    """Layers that multiply ran in float."""
    SCATTER = "scatter"
    """Repeats differ by more than their samples: that it is slower is not shown either."""
    GPU = "gpu"
    """The GPU itself computes no faster."""
    LAUNCHES = "launches"
    """The GPU waits for layers to be started."""
    AROUND = "around"
    """The GPU computes faster; what an inference takes besides is more than that saves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowInt8:
    cell: str
    """Its id."""
    ratio: float
    """Its median to fp32's."""
    reasons: tuple[str, ...]
    """Sentences, each with the numbers that it is made of; never empty."""
    cause: SlowCause | None = None
    """What of them explains most; None where none explains it by itself, and in judgements made before it was recorded."""
    clause: str = ""
    """The same with its numbers, for the second line of the headline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Untimed:
    """Cells whose layers were to be timed one by one, and were not."""

    cells: tuple[str, ...]
    """Ids, in the order of the plan."""
    problem: str
    """In the words of the job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadResult:
    head: str
    error: Metrics
    """Against the reference."""
    against_fp32: Metrics | None
    """Against this environment's own fp32; None for fp32 itself or where that failed."""
    budget: Budget | None
    """int8 only."""
    integer_share: float | None
    """Share (0 to 1) of the head's backward cone, by multiply-accumulates, run by integer kernels."""
    float_layers: tuple[str, ...]
    """Quantised layers of the cone that the engine ran in floating point all the same."""
    placed_float: tuple[str, ...] = ()
    """Those that it had to: nothing quantises their output, and it has no kernel from int8 to float."""
    integer_operators: Mapping[str, int] = field(default_factory=dict)
    """Operator without multiply-accumulates (Resize, Concat, …) → how many ran on integers."""
    float_operators: Mapping[str, int] = field(default_factory=dict)
    """The same where they ran in floating point."""
    identical_to: tuple[str, ...]
    """Ids of other cells whose output of this head is the same file, bit for bit."""
    verdicts: tuple[Verdict, ...] = ()
    """What is wrong with this head in this cell, or that nothing is."""
    boxes: BoxErrors | None = None
    """None where they are not known, or this head holds none."""
    gates: tuple[GateResult, ...] = ()
    """Every limit that is set for this head in the cell's precision; none in fp32."""
    gate_sqnr_db: float | None
    """That of int8; None in other precisions, whose limits may be others: `gates` has them."""
    passed: bool | None
    """Whether every limit holds; None where none is set or applies."""

    @property
    def sqnr_db(self) -> float | None:
        """Against the reference; None where the output is the same, or the error has no value."""
        return self.error.sqnr_db

    @property
    def best_db(self) -> float | None:
        """What 8 bits keep with the best table known, in the cell's placement; None where that is not known."""
        limit = self.budget.limit if self.budget else 0.0
        return sqnr_db(limit) if math.isfinite(limit) else None

    @property
    def kinds(self) -> frozenset[Kind]:
        """Of its verdicts."""
        return frozenset(verdict.kind for verdict in self.verdicts)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellResult:
    cell: Cell
    status: Status
    reason: str | None
    """One sentence where status is not ok."""
    repeats: int
    engine_version: str | None
    latency: Latency | None
    heads: tuple[HeadResult, ...]
    """Empty where status is not ok."""
    reused: bool
    log_tail: str | None
    fixed: bool = False
    """Whether building it again cannot give anything else."""
    table_problem: str | None = None
    """Why the table that its recorded outputs are said to be made with is not used; None where it is."""
    placed: Placed | None = None
    """Where its Q/DQ stands, and what types it has; None of floating point, and where that is unknown."""
    may_saturate: bool = False
    """Whether the processor that it ran on adds products of u8 and s8 in int16."""
    disturbed: str | None = None
    """What disturbed how many of its repeats; None where nothing did."""
    latency_disturbed: bool = False
    """Whether its latency is of such repeats, since there are no others: then it is not to be trusted."""
    watched: bool | None = None
    """Whether the GPU was looked at around all that was timed; None where nothing was, or no GPU."""
    verdicts: tuple[Verdict, ...] = ()
    """About the whole cell: its latency."""
    boxes: CellBoxes | None = None
    """None where the run does not say how to decode, or nothing was measured."""
    gates: tuple[GateResult, ...] = ()
    """Every limit that is set for the whole network in this precision; none where status is not ok."""
    passed: bool | None = None
    """Whether the whole network keeps every limit; None where none is set or applies."""
    run: CellRun | None = None
    """None where nothing was started."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """`TensorRT`, `cuDNN`, `CUDA`, … → version as found inside."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Probed and stated facts of the environment, JSON values."""

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def environment(self) -> str:
        return self.cell.environment

    @property
    def device(self) -> str:
        return self.cell.device

    @property
    def place(self) -> CellPlace:
        return CellPlace(self.environment, self.device)

    @property
    def pass_(self) -> Pass:
        return self.cell.pass_

    @property
    def whole_boxes(self) -> BoxErrors | None:
        """What became of the boxes of all heads together; None where that is not known."""
        return self.boxes.whole if self.boxes else None

    def head(self, name: str) -> HeadResult | None:
        """Returns what it gave at one head; None where it has no such result."""
        return next((head for head in self.heads if head.head == name), None)

    @property
    def all_verdicts(self) -> tuple[Verdict, ...]:
        """Those about the whole cell, and those about each head."""
        return self.verdicts + tuple(verdict for head in self.heads for verdict in head.verdicts)


@dataclass(frozen=True, kw_only=True, slots=True)
class WideLayer:
    """A layer whose weight has output channels that differ too much for one scale."""

    layer: str
    weight: str
    spread: float
    """Largest channel to the median one."""
    channel: int
    """The largest."""
    channels: int
    heads: tuple[str, ...]
    """Those that depend on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomLayer:
    node: str
    operator: str
    heads: tuple[str, ...]
    """Those that depend on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    name: str
    run_id: str
    created: str
    """ISO 8601, UTC."""
    baseline: str
    heads: tuple[str, ...]
    images: int
    """Evaluation images."""
    cells: tuple[CellResult, ...]
    """Every planned cell, in the order of matrix.yaml."""
    sentences: Mapping[str, str]
    """head → one plain paragraph: all that is known of it."""
    answers: tuple[Answer, ...] = ()
    """Whose fault each head's error is, in the order of `heads`; what stands first in a report."""
    network: Answer | None = None
    """What concerns no single head."""
    equal: tuple[Equivalence, ...] = ()
    """Versions that were shown to lose the same."""
    bridges: tuple[Bridge, ...] = ()
    """Tables that ran implicitly and by Q/DQ nodes, compared."""
    gates_set: bool = False
    """Whether anything has a limit, cells that did not run among them."""
    network_sentence: str = ""
    """What the whole network's gate says over all cells; empty where it has none."""
    latency_sentence: str = ""
    """What the latencies say, over all cells; empty where no cell is slower than the baseline's."""
    slow: tuple[SlowInt8, ...] = ()
    """Int8 cells no faster than their fp32, of which it is known why."""
    untimed: tuple[Untimed, ...] = ()
    """Why requested times of layers are missing; none in judgements made before this was recorded."""
    lineage: tuple[Lineage, ...] = ()
    """What the network's graph says to the heads that are bad together."""
    wide_weights: tuple[WideLayer, ...] = ()
    """Weights whose channels differ too much for one scale, the widest first."""
    custom: tuple[CustomLayer, ...] = ()
    """Operators of the network that no standard knows, or that matrix.yaml calls custom."""
    boxes: BoxReport | None = None
    """None where the run does not say how to decode."""
    boxless: bool = False
    """Whether the user says that the network makes no boxes: then none are missed."""
    tables: TableReport | None = None
    """None where no table was asked about."""
    calibration: CalibrationReport | None = None
    """None of a run that did not look at its calibration set."""
    layers: LayerReport | None = None
    """None where the network is not stored with the run any more."""
    diagnosis: Diagnosis | None = None
    """What was computed of tensors, layers and sets; None of a run that was not diagnosed."""
    fixes: tuple[Fix, ...] = ()
    """What would make int8 better, most gain first."""
    no_fix: tuple[str, ...] = ()
    """Sentences: what was looked at and would not make it better."""
    choices: tuple[Choice, ...] = ()
    """What builds chose to run in int8, where a head's error goes along with it."""
    facts: Mapping[str, Any]
    """Hashes of model, images and tables; host; versions of this tool and of the reference."""

    @property
    def judged(self) -> tuple[CellResult, ...]:
        """Cells but those in which layers are tried in float: their gates fail nothing, being those of a remedy."""
        return tuple(result for result in self.cells if not result.cell.pass_.mixed)

    def answer(self, head: str) -> Answer | None:
        """Returns what is said first of a head; None in judgements made before there were answers."""
        return next((answer for answer in self.answers if answer.head == head), None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of every head, head by head."""
        return tuple(finding for answer in self.answers for finding in answer.findings)

    @property
    def int8_rows(self) -> list[tuple[CellResult, HeadResult]]:
        """Every head of the int8 cells that are judged and ran."""
        return [
            (result, head)
            for result in self.judged
            if result.status.ok and result.pass_.is_int8
            for head in result.heads
        ]

    @property
    def disturbed(self) -> Mapping[str, Sequence[str]]:
        """What disturbed all repeats that latencies are of → ids of those cells."""
        return grouped(
            (result.disturbed, result.id)
            for result in self.cells
            if result.disturbed and result.latency_disturbed
        )

    @property
    def not_ok(self) -> Mapping[tuple[Status, str | None], Sequence[str]]:
        """(status, reason) → ids of the cells that have it."""
        cells = (result for result in self.cells if not result.status.ok)
        return grouped(((result.status, result.reason), result.id) for result in cells)

    @property
    def suspects(self) -> set[str]:
        """Nodes behind which lie heads that are bad together, and no good one."""
        return {
            operator.node
            for lineage in self.lineage
            for part in lineage.suspects
            for operator in part.operators
        }

    @property
    def blamed_on_custom(self) -> tuple[str, ...]:
        """Heads that are bad together, and behind which, and no good one, a custom layer lies; empty without."""
        for lineage in self.lineage:
            if any(operator.custom for part in lineage.suspects for operator in part.operators):
                return lineage.bad
        return ()

    @property
    def behind_custom(self) -> list[str]:
        """Heads that depend on any custom layer."""
        return distinct(head for layer in self.custom for head in layer.heads)

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Findings for which the run fails, each once."""
        of_network = self.network.findings if self.network else ()
        return tuple(
            dict.fromkeys(finding for finding in (*self.findings, *of_network) if finding.fails)
        )

    @property
    def reference_ap(self) -> float | None:
        """AP of the reference's own boxes, all sizes; None without labels."""
        return self.boxes.ap if self.boxes else None

    @property
    def gates_failed(self) -> tuple[tuple[str, str], ...]:
        """(cell id, head or `WHOLE_NETWORK`) of every gate that did not hold, in the cells that are judged."""
        return tuple(
            (result.cell.id, name)
            for result in self.judged
            for name, passed in (
                (WHOLE_NETWORK, result.passed),
                *((head.head, head.passed) for head in result.heads),
            )
            if passed is False
        )

    @property
    def additions(self) -> tuple[str, ...]:
        """Entries of matrix.yaml that would tell confounded factors apart, each once."""
        found = (verdict.attribution for result in self.cells for verdict in result.all_verdicts)
        lines = (
            line
            for attribution in found
            if attribution and attribution.addition and attribution.addition.yaml
            for line in attribution.addition.yaml.splitlines()
        )
        return tuple(dict.fromkeys(lines))
