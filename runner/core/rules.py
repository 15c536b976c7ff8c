"""When a difference counts; docs/method.md says why."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """When a difference counts."""

    familywise_error_rate: float = 0.005
    """Chance of any false find of a cause, over heads × cells."""
    least_effect: float = 0.01
    """Smallest difference worth telling, as a share of the error it is compared with."""
    noise_multiple: float = 1.0
    """It must also be so many noise floors: builds of one version differ by as much anyway."""
    fp32_tolerance: float = 1e-6
    """NMSE that an fp32 cell may have; 60 dB, above what TF32 costs."""
    least_slowdown: float = 0.05
    """Smallest slowdown worth telling, as a share of the baseline's latency."""
    table_factor: float = 2.0
    """Without a gate, a table is a problem where it costs so many times the best one."""
