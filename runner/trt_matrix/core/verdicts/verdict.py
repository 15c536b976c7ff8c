"""What can be wrong with a cell, and one such verdict with its numbers."""

import re
from dataclasses import dataclass
from enum import StrEnum

from trt_matrix.core.verdicts.attribution import Attribution
from trt_matrix.core.verdicts.effect import Effect


class Kind(StrEnum):
    OK = "ok"
    COULD_NOT_RUN = "could_not_run"
    BROKEN_OUTPUT = "broken_output"
    FP32_REGRESSION = "fp32_regression"
    TF32_REGRESSION = "tf32_regression"
    FP16_REGRESSION = "fp16_regression"
    BF16_REGRESSION = "bf16_regression"
    NOTHING_QUANTISED = "nothing_quantised"
    ENGINE_REGRESSION = "engine_regression"
    VERSION_REGRESSION = "version_regression"
    ENGINE_LOSS = "engine_loss"
    IMPLICIT_REGRESSION = "implicit_regression"
    CALIBRATOR_REGRESSION = "calibrator_regression"
    CALIBRATION_PROBLEM = "calibration_problem"
    PER_TENSOR_WEIGHTS = "per_tensor_weights"
    INT8_LIMIT = "int8_limit"
    PRECISION_FALLBACK = "precision_fallback"
    LATENCY_REGRESSION = "latency_regression"
    UNEXPLAINED_LOSS = "unexplained_loss"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, kw_only=True, slots=True)
class KindFacts:
    """What is known of a kind of verdict, in one place."""

    suspicion: str = ""
    """What an undecided verdict would be, as a person says it."""
    level: float | None = None
    """Chance that any verdict of this kind in a matrix is false; None where no test says it."""
    undecided: float = 0.01
    """At this level the noise of the whole pass speaks for it, where its own does not decide."""
    fault: bool = True
    """Whether it says that something is wrong."""


KINDS: dict[Kind, KindFacts] = {
    Kind.OK: KindFacts(fault=False),
    Kind.COULD_NOT_RUN: KindFacts(),
    Kind.BROKEN_OUTPUT: KindFacts(),
    Kind.FP32_REGRESSION: KindFacts(suspicion="the engine in fp32 already", level=0.001),
    Kind.TF32_REGRESSION: KindFacts(suspicion="the engine in tf32 already", level=0.001),
    Kind.FP16_REGRESSION: KindFacts(suspicion="the engine in fp16 already", level=0.001),
    Kind.BF16_REGRESSION: KindFacts(suspicion="the engine in bf16 already", level=0.001),
    Kind.NOTHING_QUANTISED: KindFacts(),
    Kind.ENGINE_REGRESSION: KindFacts(
        suspicion="the version's engine", level=0.005, undecided=0.02
    ),
    Kind.VERSION_REGRESSION: KindFacts(
        suspicion="the version's engine or its calibrator", level=0.002
    ),
    Kind.ENGINE_LOSS: KindFacts(suspicion="the engine's int8 kernels", level=0.002),
    Kind.IMPLICIT_REGRESSION: KindFacts(suspicion="TensorRT's implicit scales", level=0.002),
    Kind.CALIBRATOR_REGRESSION: KindFacts(suspicion="the version's calibrator", level=0.001),
    Kind.CALIBRATION_PROBLEM: KindFacts(suspicion="the calibration", level=0.001),
    Kind.PER_TENSOR_WEIGHTS: KindFacts(suspicion="weights with one scale", level=0.001),
    Kind.INT8_LIMIT: KindFacts(suspicion="8 bits themselves", level=0.001),
    Kind.PRECISION_FALLBACK: KindFacts(
        suspicion="layers that stayed in float", level=0.001, fault=False
    ),
    Kind.LATENCY_REGRESSION: KindFacts(suspicion="a slower engine", level=0.005),
    Kind.UNEXPLAINED_LOSS: KindFacts(),
    Kind.INCONCLUSIVE: KindFacts(fault=False),
    Kind.NOT_COMPARABLE: KindFacts(fault=False),
}

TESTED = frozenset(kind for kind, facts in KINDS.items() if facts.level is not None)
"""What only a test over images and builds says."""

FAULTS = frozenset(kind for kind, facts in KINDS.items() if facts.fault)

MORE_REPEATS = re.compile(r"\d+ more repeats?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    kind: Kind
    cell: str
    head: str | None
    """None where it is about the whole cell: its latency."""
    against: str | None = None
    """The cell, table or gate that it was compared with."""
    effect: Effect | None = None
    needs: str | None = None
    """What would decide it: `2 more repeats`; only where inconclusive."""
    suspected: Kind | None = None
    """What it would be then; only where inconclusive, and not always then."""
    why: str | None = None
    """Why it cannot be judged, or was not decided; not always there."""
    bound_db: float | None = None
    """How much worse than `against` it may be all the same (error 5 %); of `ok` alone, where known."""
    versions: int | None = None
    """How many versions say so alike, where no version's own builds decide it."""
    attribution: Attribution | None = None
    """Which factor an effect between two cells is named after; None where their facts are unknown."""

    @property
    def more_repeats(self) -> bool:
        """Whether more repeats would decide it."""
        return bool(self.needs and MORE_REPEATS.fullmatch(self.needs))
