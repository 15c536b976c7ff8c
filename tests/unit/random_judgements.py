"""Judgements drawn at random, with numbers that fit each other: what sentences are held against."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tests.unit.judgements import FP32, MINMAX, OWN, SHARED, changes, errors
from tests.unit.passes import FP16, IMPLICIT
from trt_matrix.core.answers.gate_sentences import network_gates_sentence
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.answers.sentences import sentences
from trt_matrix.core.answers.unexplained import with_unexplained
from trt_matrix.core.boxes.results import ALL, AveragePrecision, BoxErrors, BoxReport, CellBoxes
from trt_matrix.core.cells import Cell, Pass, Precision, Status
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.manifest import HeadGate, Limits
from trt_matrix.core.rules import DB
from trt_matrix.core.verdicts.attribution import Attribution, FactorChange
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.gates import all_hold, gate_results
from trt_matrix.core.verdicts.verdict import Kind, Verdict

TF32 = Pass(precision=Precision.TF32)
MIXED = replace(SHARED, exclude=("stem/Conv", "small/Conv"), mixed=True)
PASSES = (FP32, TF32, FP16, SHARED, OWN, MINMAX, IMPLICIT, MIXED)
INT8_KINDS = (
    Kind.ENGINE_REGRESSION,
    Kind.VERSION_REGRESSION,
    Kind.ENGINE_LOSS,
    Kind.IMPLICIT_REGRESSION,
    Kind.CALIBRATOR_REGRESSION,
    Kind.CALIBRATION_PROBLEM,
    Kind.INT8_LIMIT,
    Kind.PRECISION_FALLBACK,
    Kind.NOTHING_QUANTISED,
)
FLOAT_KINDS = {
    Precision.FP32: Kind.FP32_REGRESSION,
    Precision.TF32: Kind.TF32_REGRESSION,
    Precision.FP16: Kind.FP16_REGRESSION,
}
REASONS = {
    Status.JOB_FAILED: "the parser refused Resize",
    Status.CRASHED: "ended by SIGSEGV in stage build",
    Status.TIMED_OUT: "no answer for 600 s.",
    Status.UNSUPPORTED: "this engine has no fp16",
    Status.UNAVAILABLE: "no NVIDIA driver",
    Status.NOT_RUN: "it had no turn",
}


class Draw:
    """Draws one judgement from one seed.

    Args:
        seed: Of all that is drawn.
        boxless: Whether the network makes no boxes.
        passes: All that there are; None: drawn.
        versions: As many at most.
    """

    def __init__(
        self,
        seed: int,
        *,
        boxless: bool = False,
        passes: Sequence[Pass] | None = None,
        versions: int = 5,
    ) -> None:
        self.rng = np.random.default_rng([20270101, seed])
        self.wrong = self.chance(0.7)
        """Whether anything may be found at all: else only what holds is drawn."""
        self.lossy = self.wrong or self.chance(0.3)
        """Whether boxes may be lost: where a gate accepts them, they are all that there is to tell."""
        self.heads = tuple(("small", "medium", "large")[: int(self.rng.integers(1, 4))])
        drawn = min(int(self.rng.integers(1, 6)), versions)
        self.versions = tuple(f"ort-1.{2 * i}.0" for i in range(drawn))
        self.passes = [
            FP32,
            SHARED,
            *(pass_ for pass_ in PASSES[1:3] + PASSES[4:] if self.chance(0.4)),
        ]
        self.passes = self.passes if passes is None else list(passes)
        self.boxless = boxless
        self.builds = int(self.rng.choice([1, 2, 3, 5]))
        self.gates = {
            head: HeadGate(
                head=head,
                sqnr_db=15.0 if self.chance(0.4) else None,
                lost=0.05 if self.chance(0.2) and not boxless else None,
            )
            for head in self.heads
        }
        self.boxes = self.chance(0.5) and not boxless
        self.network = Limits(lost=0.05 if self.boxes and self.chance(0.4) else None)

    @property
    def baseline(self) -> str:
        return self.versions[-1]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def judgement(self) -> Judgement:
        results = with_unexplained(
            self.cell(Cell(environment=version, device="cpu", pass_=pass_))
            for version in self.versions
            for pass_ in self.passes
        )
        equal = tuple(self.equal())
        answered = answers(self.heads, results, self.baseline, {}, equal, {}, boxless=self.boxless)
        network = network_gates_sentence(results)
        return Judgement(
            name="random", run_id="run", created="2027-01-01T00:00:00+00:00", baseline=self.baseline,
            heads=self.heads, images=32, cells=results, answers=answered,
            sentences=sentences(answered, results, self.baseline), equal=equal,
            gates_set=bool(self.network.named) or any(gate.is_set for gate in self.gates.values()),
            network=network_answer(results, answered, network), network_sentence=network,
            boxes=BoxReport(heads=self.heads, shown_score=0.3, match_iou=0.5, sizes={})
            if self.boxes
            else None,
            boxless=self.boxless,
            facts={"images": {"calibration": {"count": 64}, "shared": 0}},
        )  # fmt: skip

    def cell(self, cell: Cell) -> CellResult:
        status = Status.OK
        if self.wrong and cell.environment != self.baseline and self.chance(0.1):
            status = Status(str(self.rng.choice([str(reason) for reason in REASONS])))
        if status is not Status.OK:
            return self.result(cell, status, REASONS[status])
        partly = self.wrong and self.chance(0.03)
        heads = tuple(self.head(cell, head) for head in self.heads)
        whole = (
            self.box_errors() if self.boxes and cell.pass_.precision is not Precision.FP32 else None
        )
        boxes = CellBoxes(
            whole=whole, heads={head.head: head.boxes for head in heads if head.boxes}
        )
        limits = self.network if cell.pass_.precision.gated else Limits()
        gates = gate_results(limits, None, whole)
        result = self.result(cell, status, "2 of 3 repeats: killed for memory" if partly else None)
        return replace(
            result, heads=heads, boxes=boxes if whole else None, gates=gates, passed=all_hold(gates)
        )

    def result(self, cell: Cell, status: Status, reason: str | None) -> CellResult:
        return CellResult(
            cell=cell, status=status, reason=reason, engine_version=None, latency=None, heads=(),
            repeats=self.builds if status is Status.OK else 0, reused=False, log_tail=None,
            fixed=self.chance(0.2),
        )  # fmt: skip

    def head(self, cell: Cell, head: str) -> HeadResult:
        int8 = cell.pass_.precision is Precision.INT8
        # Of layers that are tried in float no limit is known, and no test accuses them.
        tried = cell.pass_.mixed
        budget = self.budget() if int8 else None
        nmse = budget.observed if budget else 10 ** -float(self.rng.uniform(6, 12))
        nmse = 0.0 if self.chance(0.02) and not int8 else nmse
        boxes = (
            self.box_errors() if self.boxes and cell.pass_.precision is not Precision.FP32 else None
        )
        verdicts = tuple(self.verdicts(cell, head))
        broken = any(verdict.kind is Kind.BROKEN_OUTPUT for verdict in verdicts)
        error = errors(None if broken and self.chance(0.5) else nmse, nonfinite=9 if broken else 0)
        gates = gate_results(self.gates[head].limits(cell.pass_.precision), error, boxes)
        return HeadResult(
            head=head, error=error, against_fp32=None,
            budget=budget if not (self.chance(0.1) or tried) else None,
            integer_share=float(self.rng.choice([0.9, 1.0])) if int8 else None,
            float_layers=("up/Resize",) if int8 and self.chance(0.3) else (), identical_to=(),
            verdicts=verdicts, boxes=boxes, gates=gates,
            gate_sqnr_db=self.gates[head].sqnr_db if int8 else None, passed=all_hold(gates),
        )  # fmt: skip

    def budget(self) -> Budget:
        limit, table, engine = (float(one) for one in np.exp(self.rng.normal(-5.5, 1.5, 3)))
        if not self.wrong or self.chance(0.3):
            table = 0.0
        if not self.wrong or self.chance(0.3):
            engine = -0.3 * limit
        return Budget(
            observed=limit + table + engine,
            limit=limit,
            calibration=table,
            engine=engine,
            noise=None,
        )

    def box_errors(self) -> BoxErrors:
        reference = 200.0
        lost = (
            float(self.rng.integers(0, 60 if self.wrong else 10))
            if self.lossy and self.chance(0.4)
            else 0.0
        )
        drop = float(self.rng.uniform(-0.02, 0.3)) if lost and self.chance(0.5) else None
        made = changes(lost, reference, mean_iou=0.97)
        precision = (
            {ALL: AveragePrecision(ap=0.5, ap50=0.7, objects=200)} if drop is not None else {}
        )
        return BoxErrors(changes={ALL: made}, precision=precision, ap_drop=drop, ap50_drop=drop)

    def verdicts(self, cell: Cell, head: str) -> Iterator[Verdict]:
        kinds = [FLOAT_KINDS.get(cell.pass_.precision)] if cell.pass_.precision in FLOAT_KINDS else [
            kind for kind in INT8_KINDS if self.chance(0.06)
        ]  # fmt: skip
        found = [kind for kind in kinds if kind and self.wrong and self.chance(0.5)]
        if cell.environment == self.baseline:
            found = [
                kind
                for kind in found
                if kind not in (Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION)
            ]
        if self.wrong and self.chance(0.03):
            yield Verdict(
                kind=Kind.BROKEN_OUTPUT, cell=cell.id, head=head,
                why=str(self.rng.choice(["all zero", "NaN or infinite in 3 of 32 images"])),
            )  # fmt: skip
            return
        if self.wrong and self.chance(0.03):
            why = "its table covers 40 % of the tensors before it"
            yield Verdict(kind=Kind.NOT_COMPARABLE, cell=cell.id, head=head, why=why)
            return
        found = [] if cell.pass_.mixed else found
        for kind in found:
            yield self.verdict(cell, head, kind)
        if not found:
            bound = float(self.rng.uniform(0, 3)) if self.chance(0.7) else None
            yield Verdict(kind=Kind.OK, cell=cell.id, head=head, bound_db=bound)

    def verdict(self, cell: Cell, head: str, kind: Kind) -> Verdict:
        base = f"{self.baseline}/cpu/{cell.pass_.name}"
        against = {
            Kind.FP32_REGRESSION: "60 dB",
            Kind.ENGINE_LOSS: "its simulation",
            Kind.PRECISION_FALLBACK: "its simulation",
            Kind.CALIBRATION_PROBLEM: "the best table",
            Kind.INT8_LIMIT: "the gate",
            Kind.IMPLICIT_REGRESSION: f"{cell.environment}/cpu/{SHARED.name}",
        }.get(kind, base)
        if kind in (Kind.TF32_REGRESSION, Kind.FP16_REGRESSION) and self.chance(0.5):
            against = "40 dB"
        if kind is Kind.NOTHING_QUANTISED:
            return Verdict(
                kind=kind, cell=cell.id, head=head, why="no multiplication ran on integers"
            )
        exact = kind in (Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION, Kind.INT8_LIMIT)
        effect = self.effect(0 if exact else self.builds)
        verdict = Verdict(
            kind=kind, cell=cell.id, head=head, against=against, effect=effect,
            attribution=Attribution(factors=(FactorChange(factor="cuDNN", baseline="8", cell="9"),))
            if self.chance(0.2)
            else None,
        )  # fmt: skip
        if not self.chance(0.3):
            return verdict
        needs = str(self.rng.choice(["1 more repeat", "3 more repeats", "more evaluation images"]))
        why = "one build says nothing of the next" if self.builds == 1 else None
        return replace(verdict, kind=Kind.INCONCLUSIVE, suspected=kind, needs=needs, why=why)

    def effect(self, builds: int) -> Effect:
        log = math.inf if self.chance(0.02) else float(self.rng.uniform(0.6, 12)) * DB
        half = math.inf if builds == 1 or math.isinf(log) else float(self.rng.uniform(0, 0.5)) * log
        typical = (
            float(self.rng.uniform(-0.5, 1.5)) * log
            if math.isfinite(log) and self.chance(0.5)
            else None
        )
        return Effect(
            log=log, low=-math.inf if math.isinf(half) else log - half, high=log + half, p=1e-6, typical=typical, builds=builds,
            known=builds != 1, same_bits=builds > 1 and self.chance(0.2),
        )  # fmt: skip

    def equal(self) -> Iterator[Equivalence]:
        for head in self.heads:
            if len(self.versions) > 1 and self.chance(0.4):
                bits = self.chance(0.3)
                yield Equivalence(
                    head=head, device="cpu", pass_=SHARED.name, baseline=self.baseline,
                    environments=(self.baseline, *self.versions[:-1]),
                    within_db=0.0 if bits else float(self.rng.uniform(0.1, 0.99)), same_bits=bits,
                    all=self.chance(0.7),
                )  # fmt: skip
