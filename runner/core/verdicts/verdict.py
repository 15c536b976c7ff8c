"""What can be wrong with a cell, and one such finding with its numbers."""

import re
from dataclasses import dataclass
from enum import StrEnum

from runner.core.verdicts.attribution import Attribution
from runner.core.verdicts.effect import Effect


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
    ENGINE_LOSS = "engine_loss"
    IMPLICIT_REGRESSION = "implicit_regression"
    CALIBRATOR_REGRESSION = "calibrator_regression"
    CALIBRATION_PROBLEM = "calibration_problem"
    INT8_LIMIT = "int8_limit"
    PRECISION_FALLBACK = "precision_fallback"
    LATENCY_REGRESSION = "latency_regression"
    UNEXPLAINED_LOSS = "unexplained_loss"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not_comparable"


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
    relative: float | None = None
    """The effect as a share of what it was compared with."""
    needs: str | None = None
    """What would decide it: `2 more repeats`; only where inconclusive."""
    suspected: Kind | None = None
    """What it would be then; only where inconclusive, and not always then."""
    why: str | None = None
    """Why it cannot be judged; only where not comparable, and not always then."""
    attribution: Attribution | None = None
    """Which factor an effect between two cells is named after; None where their facts are unknown."""

    @property
    def more_repeats(self) -> bool:
        """Whether more repeats would decide it."""
        return bool(self.needs and MORE_REPEATS.fullmatch(self.needs))
