"""In which form a calibration table came, and what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.core.tables.trt_cache import Header


class TableForm(StrEnum):
    """In which form a table came."""

    CACHE = "TensorRT's calibration cache"
    DECIMAL = "a cache with decimal scales"
    TEXT = "ONNX Runtime's table as text"
    JSON = "ONNX Runtime's table as JSON"
    FLATBUFFERS = "ONNX Runtime's table as flatbuffers"
    OWN = "trt-matrix's own table"
    NETWORK = "the scales of a quantised network"

    @property
    def scales(self) -> bool:
        """Whether it holds scales; the others hold largest magnitudes."""
        return self in (TableForm.CACHE, TableForm.DECIMAL, TableForm.NETWORK)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTable:
    """What a file holds."""

    form: TableForm
    values: Mapping[str, float]
    """Tensor → largest magnitude, 127 · scale where the file has scales; as it stands there, perhaps
    zero, negative, NaN or infinite."""
    provenance: Provenance
    header: Header | None = None
    """Of a calibration cache that TensorRT wrote."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Tensors that it names without a range, and why; none of them is in `values`."""

    def table(self) -> Table:
        """Returns the table; what cannot be a range is set apart."""
        table = from_ranges(self.values, self.provenance)
        return replace(table, unusable={**self.unusable, **table.unusable})

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor that it names."""
        return (*self.values, *self.unusable)

    def renamed(self, names: Mapping[str, str]) -> "ReadTable":
        """Returns the same with other names, theirs → ours; what is given a name has it alone."""
        taken = {names[name] for name in self.names if name in names}

        def called(name: str) -> str | None:
            return names.get(name, None if name in taken else name)

        return replace(
            self,
            values={ours: v for name, v in self.values.items() if (ours := called(name))},
            unusable={ours: why for name, why in self.unusable.items() if (ours := called(name))},
        )
