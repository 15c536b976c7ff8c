"""What `trt-matrix compare A B` tells: every metric under its right name, as text and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from trt_matrix.commands.columns import ABSENT, columns, line, listed_lines
from trt_matrix.commands.compare.grouping import grouped
from trt_matrix.core.metrics import Metrics, Sums, metrics
from trt_matrix.core.words import visible

MOST_LOOPS = 8
"""Files whose loop is told in the text."""
LOOP = "for (i = 0; i <= n; ++i) sum += fabs(a[i] - b[i]); return sum / n;"


@dataclass(frozen=True, kw_only=True, slots=True)
class Nonfinite:
    """Elements of one side that are no numbers."""

    nan: int = 0
    infinite: int = 0

    def __add__(self, other: Self) -> "Nonfinite":
        return Nonfinite(nan=self.nan + other.nan, infinite=self.infinite + other.infinite)

    def __str__(self) -> str:
        return f"{self.nan:,} NaN and {self.infinite:,} infinite"


@dataclass(frozen=True, kw_only=True)
class TensorComparison:
    """One tensor of A against the same of B."""

    name: str
    shape: tuple[int, ...] | None
    sums: Sums
    """Shape (1,)."""
    bit_identical: bool
    nonfinite_a: Nonfinite
    nonfinite_b: Nonfinite
    after_a: float | None
    """The element behind the last one, which a loop up to i <= n also reads; None at a file's end."""
    after_b: float | None
    notes: tuple[str, ...]

    @cached_property
    def error(self) -> Metrics:
        return metrics(self.sums)

    @property
    def off_by_one(self) -> float | None:
        """What `LOOP` returns, in double: (Σ|d| + |a[n] − b[n]|) / n; None where no file has it all."""
        if self.after_a is None or self.after_b is None or self.error.nonfinite:
            return None
        extra = abs(self.after_a - self.after_b)
        total = float(self.sums["d1"][0]) + extra
        return total / self.error.elements if math.isfinite(extra) else None


@dataclass(frozen=True, kw_only=True)
class Result:
    a: str
    b: str
    """The reference."""
    epsilon: float
    files: tuple[TensorComparison, ...]
    """At least one."""
    only_a: tuple[str, ...]
    """Names that B lacks; they are compared with nothing."""
    only_b: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Files that hold no numbers, and why."""

    @cached_property
    def error(self) -> Metrics:
        """Over all elements of all files."""
        return metrics(np.concatenate([file.sums for file in self.files]))

    @cached_property
    def heads(self) -> tuple[tuple[str, Metrics, bool], ...]:
        """Glob of files that are of one head → all their elements' metrics, whether bit for bit the same."""
        results = []
        for name, places in grouped([file.name for file in self.files]).items():
            files = [self.files[place] for place in places]
            error = metrics(np.concatenate([file.sums for file in files]))
            results.append((name, error, all(file.bit_identical for file in files)))
        return tuple(results)

    def text(self) -> str:
        parts = [
            f"A: {visible(self.a)}\nB: {visible(self.b)} (the reference)\nd = A − B, per element",
            self._table(),
            *self._remarks(),
            self._names(),
            *_loops(self.files),
        ]
        return "\n\n".join(parts)

    def summary(self) -> Mapping[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "epsilon": self.epsilon,
            "files": [_summary(file) for file in self.files],
            "heads": {name: asdict(error) for name, error, _ in self.heads},
            "all": asdict(self.error),
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
            "left_out": list(self.left_out),
        }

    def _table(self) -> str:
        over = f"|d| > {self.epsilon:g}"
        rows: list[tuple[str, ...]] = [
            ("", "elements", "SQNR", "NMSE", "MSE", "RMSE", "MAE", "max |d|", "cosine", over, "NaN/Inf"),
            ("", "", "dB", "", "unit²", "unit", "unit", "unit", "", "%", ""),
        ]  # fmt: skip
        rows += [
            _row(file.name, file.error, bit_identical=file.bit_identical) for file in self.files
        ]
        rows += [_row(f"all {name}", error, bit_identical=same) for name, error, same in self.heads]
        if len(self.files) > 1:
            same = all(file.bit_identical for file in self.files)
            rows.append(_row("all", self.error, bit_identical=same))
        return "\n".join([*columns(rows, numbers=True), "unit: that of the outputs themselves"])

    def _remarks(self) -> list[str]:
        remarks = [
            f"{line(file.name)}: {visible(note)}" for file in self.files for note in file.notes
        ]
        remarks += [
            f"{line(file.name)}: {file.error.nonfinite:,} elements are left out, because A has "
            f"{file.nonfinite_a} values, B has {file.nonfinite_b}"
            for file in self.files
            if file.error.nonfinite
        ]
        for side, names in (("A", self.only_a), ("B", self.only_b)):
            if names:
                remarks.append(f"only in {side}, compared with nothing: {listed_lines(names)}")
        if self.left_out:
            remarks.append(f"left out, no outputs: {listed_lines(self.left_out)}")
        return ["\n".join(remarks)] if remarks else []

    def _names(self) -> str:
        error = self.error
        return (
            "What is often called MSE may be MAE. Over all elements here:\n"
            f"  MAE  {_short(error.mae):>10}  mean of |d|: what a loop over fabs(a[i] - b[i]), divided by n, gives\n"
            f"  MSE  {_short(error.mse):>10}  mean of d²: its unit is the square of the outputs' unit\n"
            f"  RMSE {_short(error.rmse):>10}  √MSE: in the outputs' unit, never below MAE\n"
            "None of them knows how large the outputs are; SQNR does: 6 dB more halves the error."
        )


def _loops(files: Sequence[TensorComparison]) -> list[str]:
    """Says what the loop returns, where files hold what it reads past the end."""
    known = [file for file in files if file.off_by_one is not None]
    if not known:
        return []
    lines = [
        f"The loop\n  {LOOP}\nalso reads a[n] and b[n], one past the end, and returns (here in double)",
        *(
            f"  {line(file.name)}: {_long(file.off_by_one)}, where MAE is {_long(file.error.mae)}; "
            f"a[n] = {_long(file.after_a)}, b[n] = {_long(file.after_b)}"
            for file in known[:MOST_LOOPS]
        ),
    ]
    if len(known) > MOST_LOOPS:
        lines.append(f"  … and {len(known) - MOST_LOOPS:,} more: --json has all")
    return ["\n".join(lines)]


def _summary(file: TensorComparison) -> Mapping[str, Any]:
    return {
        "name": file.name,
        "shape": None if file.shape is None else list(file.shape),
        "bit_identical": file.bit_identical,
        **asdict(file.error),
        "nonfinite_a": asdict(file.nonfinite_a),
        "nonfinite_b": asdict(file.nonfinite_b),
        "off_by_one": file.off_by_one,
        "notes": list(file.notes),
    }


def _row(name: str, error: Metrics, *, bit_identical: bool) -> tuple[str, ...]:
    share = error.share_over_epsilon
    return (
        line(name),
        f"{error.elements:,}",
        _sqnr(error, bit_identical=bit_identical),
        _short(error.nmse),
        _short(error.mse),
        _short(error.rmse),
        _short(error.mae),
        _short(error.max_abs),
        ABSENT if error.cosine is None else f"{error.cosine:z.6f}",
        ABSENT if share is None else f"{share * 100:.4g}",
        f"{error.nonfinite:,}",
    )


def _sqnr(error: Metrics, *, bit_identical: bool) -> str:
    if bit_identical:
        return "bit-identical"
    if error.identical:
        return "equal"  # −0 against 0, or what rounding to float32 made equal
    return ABSENT if error.sqnr_db is None else f"{error.sqnr_db:z.2f}"


def _short(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _long(value: float | None) -> str:
    """Returns as many digits as a float32 has, to be compared with a number printed elsewhere."""
    return ABSENT if value is None else f"{value:.9g}"
