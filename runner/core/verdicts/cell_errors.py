"""What verdicts are judged on: the errors of one head in every cell and under every table."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.core.verdicts.effects import Noise, Sample, pooled_noise


@dataclass(frozen=True, kw_only=True, slots=True)
class CellError:
    """One cell, as one head sees it."""

    cell: str
    environment: str
    device: str
    pass_: str
    int8: bool
    sample: Sample
    placement: str | None = None
    table: str | None = None
    """Digest."""
    own: bool = False
    """The table was made by this environment."""
    integer_share: float | None = None
    implicit: bool = False
    """int8 by TensorRT's own scales, not by Q/DQ nodes."""
    reduced: bool = False
    """tf32 or fp16: less exact than fp32 by design."""

    @property
    def kin(self) -> Hashable:
        """Cells whose builds differ alike: ONNX Runtime on a CPU says nothing of TensorRT's spread."""
        return (self.int8, self.placement, self.device, self.implicit, self.reduced)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadErrors:
    """Everything measured and simulated of one head."""

    head: str
    cells: Sequence[CellError]
    simulations: Mapping[tuple[str, str], Sample]
    """(placement, table) → the exact error of that table."""
    gate_nmse: float | None


def noise_by_kin(cells: Iterable[CellError]) -> Mapping[Hashable, Noise]:
    """Returns the spread between builds of each kind of cell."""
    samples: dict[Hashable, list[Sample]] = {}
    for cell in cells:
        samples.setdefault(cell.kin, []).append(cell.sample)
    return {kin: pooled_noise(found) for kin, found in samples.items()}
