"""Which factor an effect between two cells is named after, or which are confounded."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class FactorChange:
    """One factor, and its value on both sides; None where that side has none."""

    factor: str
    """As shown: `ONNX Runtime`, `cuDNN`, `option threads`."""
    baseline: str | None
    cell: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """Cells that would tell confounded factors apart."""

    yaml: str | None
    """Entries for `environments` of matrix.yaml, one a line; None where none is needed or can be made."""
    names: tuple[str, ...] = ()
    """What those environments will be called; without entries, cells of environments that there are."""
    left: tuple[str, ...] = ()
    """Factors that stay confounded even so: another driver or GPU is no line of matrix.yaml."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """Why an effect is there, as far as cells that differ in one factor tell.

    Neither `factors` nor `confounded`: nothing that was probed differs.
    """

    factors: tuple[FactorChange, ...] = ()
    """Each changed alone between two cells, and the effect with it."""
    confounded: tuple[FactorChange, ...] = ()
    """Changed together only: one of them at least is to blame."""
    through: tuple[str, ...] = ()
    """Cells between the two that took part in telling."""
    separated: bool = True
    """Whether single steps could be told from noise, where other cells stand between."""
    addition: Addition | None = None
    harmless: tuple[tuple[str, str], ...] = ()
    """What differs too, and why it cannot matter."""
