"""Calibration tables: tensor → amax, with who made them, how, and from which images.

The scale of a tensor is amax / 127: symmetric int8 with zero point 0, the only scheme that
TensorRT's calibrators, its cache files and explicit Q/DQ share.
"""

import hashlib
import json
import numbers
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SCHEMA_VERSION = 1
LEVELS = 127
"""Positive levels of symmetric int8; −128 is left to the clamp."""

FLOAT32_MAX = 3.4028234663852886e38


class TableError(ValueError):
    """A calibration table, or a file that holds one, is wrong; says which tensor and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a table came from; None where that is not known (a cache file names only its maker)."""

    algorithm: str
    environment: str | None = None
    images_sha256: str | None = None
    """Of the array of preprocessed images in their order, which is part of an entropy table."""
    preprocess_sha256: str | None = None
    model_sha256: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One range per tensor.

    Tensors may be missing: whoever uses the table reports which it lacked.

    Raises:
        TableError: an amax is not a finite number above zero, or a tensor is both usable and not.
    """

    amax: Mapping[str, float]
    """Tensor → largest magnitude that int8 represents; finite, above zero."""
    provenance: Provenance
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Tensor → why it has no range (all zero, not finite …)."""

    def __post_init__(self) -> None:
        wrong = {name: reason for name, a in self.amax.items() if (reason := why_unusable(a))}
        if wrong:
            message = "; ".join(f"tensor {name!r}: {reason}" for name, reason in wrong.items())
            raise TableError(message)
        both = sorted(self.amax.keys() & self.unusable.keys())
        if both:
            message = f"tensor {both[0]!r} has a range and is marked unusable: keep one of the two"
            raise TableError(message)

    def scale(self, tensor: str) -> float:
        """Returns amax / 127.

        Raises:
            TableError: the table has no range for `tensor`; says why where that is known.
        """
        if tensor not in self.amax:
            reason = self.unusable.get(tensor, "it was not calibrated")
            message = f"no range for tensor {tensor!r}: {reason}"
            raise TableError(message)
        return self.amax[tensor] / LEVELS

    @property
    def digest(self) -> str:
        """SHA-256 over names and ranges only: equal digests give equal scales, whoever made them."""
        sha = hashlib.sha256()
        for name in sorted(self.amax):
            encoded = name.encode("utf-8", "surrogateescape")
            sha.update(struct.pack("<Q", len(encoded)) + encoded)
            sha.update(struct.pack("<d", self.amax[name]))
        return sha.hexdigest()


def why_unusable(amax: float) -> str | None:
    """Returns why `amax` cannot be a range, None where it can (finite, above zero, a float32)."""
    if isinstance(amax, bool) or not isinstance(amax, numbers.Real):
        return f"amax is {amax!r}, not a number"
    if amax != amax:  # noqa: PLR0124 - NaN; math.isnan fails on an int beyond float64
        return "amax is NaN: the network gave NaN on a calibration image"
    if amax < 0:
        return f"amax is negative ({amax!r})"
    if amax > FLOAT32_MAX:
        return "amax is infinite or beyond float32: the network overflowed on a calibration image"
    if amax == 0:
        return "amax is zero: the tensor was zero on every calibration image"
    if amax / LEVELS < 2.0**-126:
        return f"amax is {amax!r}: its scale is below the smallest normal float32"
    return None


def from_ranges(ranges: Mapping[str, float], provenance: Provenance) -> Table:
    """Returns the table of measured `ranges` (tensor → amax); what cannot be a range is set apart."""
    reasons = {name: why_unusable(amax) for name, amax in ranges.items()}
    return Table(
        amax={name: float(ranges[name]) for name, reason in reasons.items() if reason is None},
        unusable={name: reason for name, reason in reasons.items() if reason is not None},
        provenance=provenance,
    )


def to_json(table: Table) -> str:
    """Returns the table as JSON text with sorted keys; `from_json` reads it back exactly."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "provenance": asdict(table.provenance),
        "amax": dict(table.amax),
        "unusable": dict(table.unusable),
    }
    return json.dumps(content, allow_nan=False, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def from_json(text: str) -> Table:
    """Reads what `to_json` wrote.

    Raises:
        TableError: not JSON, another schema version, a missing or unknown key, or a tensor whose
            amax is NaN, infinite, zero, negative or not a number; names the tensor.
    """
    try:
        content = json.loads(text, object_pairs_hook=_no_duplicates)
    except TableError:
        raise
    except (ValueError, RecursionError) as error:
        message = f"not a calibration table: not JSON ({error})"
        raise TableError(message) from error
    _expect_keys(content, "table", {"schema_version", "provenance", "amax", "unusable"})
    if content["schema_version"] != SCHEMA_VERSION:
        message = (
            f"table has schema version {content['schema_version']!r}, this version reads "
            f"{SCHEMA_VERSION}: calibrate again, or read it with the version that wrote it"
        )
        raise TableError(message)
    stated = content["provenance"]
    _expect_keys(stated, "provenance", set(Provenance.__dataclass_fields__))
    for key, value in stated.items():
        if not isinstance(value, str) and not (value is None and key != "algorithm"):
            message = f"provenance.{key} is {value!r}, expected text"
            raise TableError(message)
    amax, unusable = content["amax"], content["unusable"]
    for section in ("amax", "unusable"):
        if not isinstance(content[section], dict):
            message = f"{section} is a {type(content[section]).__name__}, expected an object"
            raise TableError(message)
    for tensor, reason in unusable.items():
        if not isinstance(reason, str):
            message = f"unusable tensor {tensor!r}: reason is {reason!r}, expected text"
            raise TableError(message)
    table = Table(amax=amax, unusable=unusable, provenance=Provenance(**stated))
    return replace(table, amax={name: float(a) for name, a in table.amax.items()})


def _expect_keys(value: Any, where: str, keys: set[str]) -> None:
    if not isinstance(value, dict):
        message = f"{where} is a {type(value).__name__}, expected an object"
        raise TableError(message)
    missing, unknown = sorted(keys - value.keys()), sorted(value.keys() - keys)
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
        message = f"{where} {' and '.join(parts)}"
        raise TableError(message)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            message = f"{key!r} appears twice"
            raise TableError(message)
        result[key] = value
    return result
