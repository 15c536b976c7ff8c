"""When a difference counts; docs/concepts/method.md says why."""

import math
from dataclasses import dataclass

from trt_matrix.core.manifest import EQUIVALENCE_DB, LEAST_EFFECT_DB

DB = math.log(10) / 10
"""ln of a ratio that is 1 dB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """When a difference counts."""

    least_effect_db: float = LEAST_EFFECT_DB
    """Smallest difference of two errors that is worth a finding."""
    equivalence_db: float = EQUIVALENCE_DB
    """Two that differ by less, with an error of 5 %, lose the same."""
    looks: int = 1
    """How often the verdicts could be looked at: each look has its share of the error rates."""
    fp32_db: float = 60.0
    """Least SQNR of fp32; TF32 costs more."""
    tf32_db: float = 40.0
    """Least SQNR of tf32 and fp16: 2^-11 a rounding, 60 roundings deep, is 50 dB; half of the bits of that."""
    fp16_db: float = 40.0
    bf16_db: float = 24.0
    """The same with 2^-9 a rounding."""
    float_build_db: float = 1.5
    """Standard deviation of a single build in a floating-point precision, where only one was made."""
    least_slowdown: float = 0.05
    """Smallest slowdown worth telling, as a share of the baseline's latency."""

    @property
    def least_effect(self) -> float:
        """As ln of a ratio."""
        return self.least_effect_db * DB

    def floor_db(self, precision: str) -> float:
        """Returns the least SQNR that a floating-point precision must keep by itself."""
        return float(getattr(self, f"{precision}_db"))

    @property
    def familywise_error_rate(self) -> float:
        """Of latencies: chance that any cell is called slower wrongly."""
        return 0.005 / self.looks

    @property
    def guard(self) -> float:
        """Chance of a matrix whose builds chose unluckily, that a version is accused for it."""
        return 0.009 if self.looks == 1 else 0.003
