"""One effect: the ratio of two errors, or of two latencies, with what is known of it."""

import math
from dataclasses import dataclass

from trt_matrix.core.rules import DB


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """ln of a ratio: of NMSE to NMSE over the same images, or of seconds to seconds."""

    log: float
    """Between the means of the builds; positive where the cell is worse. 0.23 is 1 dB."""
    low: float
    high: float
    """95 % interval of `log`; infinite where the noise is unknown."""
    p: float
    """One-sided: the chance of as much where the truth is the least effect. 1 where the noise is unknown."""
    typical: float | None = None
    """The same of the typical image: of the mean of ln Σd² over images; None where there is none."""
    builds: int
    """Of the side with fewer; simulations, levels and gates have none."""
    known: bool = True
    """Whether anything is known of how builds (of a latency: rounds) differ."""
    same_bits: bool = False
    """Whether the repeats of each side are bit-identical."""

    @property
    def db(self) -> float:
        return self.log / DB

    @property
    def typical_db(self) -> float:
        return (self.log if self.typical is None else self.typical) / DB

    @property
    def low_db(self) -> float:
        return self.low / DB

    @property
    def high_db(self) -> float:
        return self.high / DB

    @property
    def relative(self) -> float:
        """What the cell has more, as a share of what it was compared with."""
        return math.expm1(self.log)
