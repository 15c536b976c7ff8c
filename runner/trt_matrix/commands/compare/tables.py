"""`trt-matrix compare A.cache B.cache`: two calibration tables of any form, against each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_matrix.commands.columns import ABSENT, columns, line, listed_lines
from trt_matrix.commands.compare.options import OPTIONS
from trt_matrix.core.tables.contrast import CLOSE, NEAR, TableContrast, TensorRatio, contrast
from trt_matrix.core.tables.differences import SAME
from trt_matrix.core.tables.forms import ReadTable, TableForm
from trt_matrix.core.tables.reading import LIMIT_BYTES
from trt_matrix.core.tables.table import TableError
from trt_matrix.dumps.table_file import read_table
from trt_matrix.errors import ConfigError

NETWORK = ".onnx"
SUFFIXES = frozenset({".cache", ".calib", ".flatbuffers", ".json", ".table", NETWORK})
"""Whoever names such a file means a table."""
ARRAYS = frozenset({".npy", ".npz"})
MOST = 10
"""Tensors that the text names."""


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """What is told of two tables; B stands for the right one."""

    a: str
    b: str
    contrast: TableContrast

    def text(self) -> str:
        table_contrast = self.contrast
        parts = [
            f"A: {line(self.a)}, {_described(table_contrast.a)}\n"
            f"B: {line(self.b)}, {_described(table_contrast.b)} (the reference)",
            "\n".join(self._numbers()),
        ]
        if table_contrast.mistake:
            parts.append(table_contrast.mistake)
        if table_contrast.within(SAME) < len(table_contrast.tensors):
            parts.append(self._furthest())
        if remarks := self._remarks():
            parts.append("\n".join(remarks))
        return "\n\n".join(parts)

    def summary(self) -> Mapping[str, Any]:
        table_contrast = self.contrast
        return {
            "a": {"file": self.a, **_facts(table_contrast.a)},
            "b": {"file": self.b, **_facts(table_contrast.b)},
            "both": len(table_contrast.tensors),
            "ratio_median": table_contrast.median,
            "ratio_spread": table_contrast.spread,
            "same": table_contrast.within(SAME),
            "within_0.5_percent": table_contrast.within(NEAR),
            "within_10_percent": table_contrast.within(CLOSE),
            "mistake": table_contrast.mistake,
            "renamed": table_contrast.renamed,
            "tensors": [
                {"tensor": each.tensor, "a": each.a, "b": each.b, "ratio": each.ratio}
                for each in table_contrast.tensors
            ],
            "only_a": list(table_contrast.only_a),
            "only_b": list(table_contrast.only_b),
            "unusable_a": dict(table_contrast.unusable_a),
            "unusable_b": dict(table_contrast.unusable_b),
        }

    def _numbers(self) -> Sequence[str]:
        table_contrast = self.contrast
        both = len(table_contrast.tensors)
        if table_contrast.median is None or table_contrast.spread is None:
            return ["no tensor has a range in both"]
        if table_contrast.within(SAME) == both:
            return [f"all {both:,} ranges that both have are the same"]
        least, most = (pick(each.ratio for each in table_contrast.tensors) for pick in (min, max))
        return [
            f"{both:,} tensors have a range in both; A / B: median {table_contrast.median:.4g}, two thirds within a "
            f"factor of {table_contrast.spread:.4g} about it, {least:.4g} to {most:.4g}",
            f"within {NEAR:.1%}: {table_contrast.within(NEAR):,} ({table_contrast.within(NEAR) / both:.0%}); "
            f"within {CLOSE:.0%}: {table_contrast.within(CLOSE):,} ({table_contrast.within(CLOSE) / both:.0%})",
        ]

    def _furthest(self) -> str:
        apart = [each for each in self.contrast.tensors if abs(each.ratio - 1) > SAME]
        rows: list[tuple[str, ...]] = [("tensor", "A", "B", "A / B", "bits")]
        rows += [_row(each) for each in apart[:MOST]]
        table = "\n".join(columns(rows, numbers=True))
        more = f"\n… and {len(apart) - MOST:,} more: --json has all" if len(apart) > MOST else ""
        return (
            f"{table}{more}\nlargest magnitudes; below 1, A clips where B does not; "
            "bits: log₂, each costs or saves one of 8"
        )

    def _remarks(self) -> list[str]:
        table_contrast = self.contrast
        remarks = (
            [f"names of A became B's: {table_contrast.renamed}"] if table_contrast.renamed else []
        )
        for side, names in (("A", table_contrast.only_a), ("B", table_contrast.only_b)):
            if names:
                remarks.append(f"only in {side}, {len(names):,}: {listed_lines(names)}")
        for side, unusable in (("A", table_contrast.unusable_a), ("B", table_contrast.unusable_b)):
            remarks += [
                f"{side} has no range for {line(name)}: {line(why)}"
                for name, why in list(unusable.items())[:MOST]
            ]
            if len(unusable) > MOST:
                remarks.append(f"{side} has none for {len(unusable) - MOST:,} more")
        return remarks


def compare_tables(a: Path, b: Path, given: Sequence[str] = ()) -> TableResult | None:
    """Compares two calibration tables; None where neither is one. B is the reference.

    What a file is, is told by what it holds; where it cannot be read, a name such as `.cache` says what was meant.
    `given` are options of the command line that are of arrays alone.

    Raises:
        ConfigError: one of both is a table, or meant to be, and the other is none; or an option means nothing here.
    """
    if not (a.is_file() and b.is_file()) or a.samefile(b):
        return None  # folders, what is missing, and one file twice are told as of arrays
    sides = {side: _read(path) for side, path in (("A", a), ("B", b))}
    if not any(isinstance(read, ReadTable) for read in sides.values()) and not any(
        path.suffix.lower() in SUFFIXES for path in (a, b)
    ):
        return None
    problems = [
        _problem(side, path, reason, sides["B" if side == "A" else "A"])
        for (side, reason), path in zip(sides.items(), (a, b), strict=True)
        if isinstance(reason, str)
    ]
    if problems:
        raise ConfigError(f"compare {a} {b}", problems)
    if given:
        problem = f"{', '.join(given)}: of arrays, and both files are calibration tables"
        raise ConfigError(OPTIONS, [problem])
    tables = [table for table in sides.values() if isinstance(table, ReadTable)]
    return TableResult(a=str(a), b=str(b), contrast=contrast(*tables))


def _read(path: Path) -> ReadTable | str:
    """Returns what a table's file holds, or why it is none."""
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return "it is an array"
    # Arrays are read in constant memory, and are not to be read for this.
    if path.stat().st_size > LIMIT_BYTES and suffix != NETWORK:
        return "it is too large for one"
    try:
        table, _ = read_table(path)
    except TableError as error:
        return str(error)
    if table.form is TableForm.TEXT and all(_is_decimal(name) for name in table.names):
        return "it is columns of numbers"
    return table


def _is_decimal(name: str) -> bool:
    try:
        return math.isfinite(float(name)) and not name.isdigit()
    except ValueError:
        return False


def _problem(side: str, path: Path, reason: str, other: ReadTable | str) -> str:
    beside = (
        f"; the other one is a calibration table ({other.form})"
        if isinstance(other, ReadTable)
        else ""
    )
    return (
        f"{side}, {path}, is no calibration table: {reason}{beside}: "
        "give two tables, or two dumps of outputs"
    )


def _described(table: ReadTable) -> str:
    return f"{table.form}{_maker(table, ': ')}, {len(table.names):,} tensors"


def _facts(table: ReadTable) -> dict[str, Any]:
    maker = _maker(table, "")
    return {"form": str(table.form), "maker": maker or None, "tensors": len(table.names)}


def _maker(table: ReadTable, before: str) -> str:
    maker = str(table.header) if table.header else table.provenance.algorithm
    return "" if maker.startswith("unknown") else f"{before}{line(maker)}"


def _row(ratio: TensorRatio) -> tuple[str, ...]:
    bits = math.log2(ratio.ratio)
    return (
        line(ratio.tensor),
        f"{ratio.a:.5g}",
        f"{ratio.b:.5g}",
        f"{ratio.ratio:.4g}",
        ABSENT if abs(bits) < 0.005 else f"{bits:+.2f}",
    )
