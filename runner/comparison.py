"""Compares two files or folders of dumped outputs: `trt-matrix compare A B`; needs no matrix.yaml.

All that can be wrong is found before the first number is read, and told at once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np

from job.reductions import BLOCK, SUMS, compare
from runner.compared import Beyond, Compared, Nonfinite, Result
from runner.core.metrics import Sums, metrics
from runner.dumps.files import spelled
from runner.dumps.pairs import Forms, Pair, match
from runner.dumps.suspicions import FAR, other_layouts
from runner.dumps.tensor import ByteOrder, DType, Floats, Format, Layout, Tensor
from runner.errors import ConfigError

Stage = Callable[[str, str], None]
"""Told which tensor is being read, and how far."""

OPTIONS = "options of compare"

IMAGE_LIMIT = 1 << 24
"""Elements of an image up to which exchanged axes are looked for: it is held whole for that."""

UNRELATED = 0.5
"""NMSE from which on A tells little about B; 2 where they are independent and equally large."""

ROWS = 64
"""Sums kept before they are added up: memory stays constant, progress is told often enough."""

Word = TypeVar("Word", bound=StrEnum)


def formats(
    *,
    shape: str | None = None,
    byte_order: str | None = None,
    dtype: str | None = None,
    layout: str | None = None,
    longer: bool = False,
) -> Forms:
    """Returns the formats of A and B from the words of the command line.

    Args:
        shape: `1,255,80,80`; of both.
        byte_order: `big`, or `little,big` for A and B.
        dtype: `float64`, or one each.
        layout: `nhwc`, or one each.
        longer: Files may go on after `shape`.

    Raises:
        ConfigError: an option has a value that it does not take.
    """
    problems: list[str] = []
    axes = None if shape is None else _axes(shape, problems)
    orders = _each("--byte-order", byte_order or "little", ByteOrder, problems)
    dtypes = _each("--dtype", dtype or "float32", DType, problems)
    layouts = _each("--layout", layout or "nchw", Layout, problems)
    if axes is not None and len(axes) < 3 and Layout.NHWC in layouts:
        problems.append(f"--shape {shape} has no height or width: leave --layout out")
    if problems:
        raise ConfigError(OPTIONS, problems)
    sure = byte_order is not None or dtype is not None
    a, b = (
        Format(shape=axes, byte_order=order, dtype=one, layout=two, longer=longer, sure=sure)
        for order, one, two in zip(orders, dtypes, layouts, strict=True)
    )
    return a, b


def _axes(text: str, problems: list[str]) -> tuple[int, ...] | None:
    try:
        axes = tuple(int(part) for part in text.split(","))
    except ValueError:
        axes = ()
    if not axes or any(axis < 1 and axis != -1 for axis in axes) or axes.count(-1) > 1:
        problems.append(
            f"--shape {text!r}: expected whole numbers from 1 on, as 1,255,80,80; one may be -1"
        )
        return None
    return axes


def _each(option: str, text: str, words: type[Word], problems: list[str]) -> tuple[Word, Word]:
    """Returns the word for A and the word for B."""
    known = [word.value for word in words]
    parts = text.split(",")
    if len(parts) > 2 or not set(parts) <= set(known):
        problems.append(
            f"{option} {text!r}: expected {' or '.join(known)}; two with a comma are A's and B's"
        )
        parts = known
    return words(parts[0]), words(parts[-1])


def compare_paths(
    a: Path,
    b: Path,
    forms: Forms,
    *,
    epsilon: float = 1e-3,
    select: Sequence[str] = (),
    stage: Stage = lambda _name, _how_far: None,
) -> Result:
    """Compares file with file, or folder with folder by the names of the files; B is the reference.

    Memory is constant, whatever the sizes: one block of each side.

    Args:
        a: What is judged.
        b: The reference.
        forms: Of A and B.
        epsilon: |d| beyond which an element counts as over.
        select: Globs over names of files in folders; all where there is none.
        stage: Told the progress.

    Raises:
        ConfigError: nothing can be compared, or something is wrong with a file; says all of it.
        DumpError: a file was damaged or changed while it was read.
    """
    if not 0 <= epsilon < math.inf:
        raise ConfigError(OPTIONS, [f"--epsilon {epsilon}: expected a number from 0 on"])
    matched = match(a, b, forms, select)
    return Result(
        a=str(a),
        b=str(b),
        epsilon=epsilon,
        files=tuple(_compared(pair, epsilon=epsilon, stage=stage) for pair in matched.pairs),
        only_a=matched.only_a,
        only_b=matched.only_b,
    )


def _compared(pair: Pair, *, epsilon: float, stage: Stage) -> Compared:
    rows: list[Sums] = []
    nonfinite_a, nonfinite_b = Nonfinite(), Nonfinite()
    # Of doubles, rounded to float32, bits are not known to agree.
    bit_identical = max(pair.a.dtype.itemsize, pair.b.dtype.itemsize) <= 4
    done = 0
    for y, r in _blocks(pair):
        row = compare(y[np.newaxis], r[np.newaxis], epsilon)
        if row["nonfinite"][0]:
            nonfinite_a += _nonfinite(y)
            nonfinite_b += _nonfinite(r)
        bit_identical = bit_identical and np.array_equal(y.view(np.uint32), r.view(np.uint32))
        rows.append(row)
        done += y.size
        if len(rows) == ROWS:
            rows = [added(np.concatenate(rows))]
            stage(pair.name, f"{done / pair.a.elements:.0%}")
    sums = added(np.concatenate(rows))
    return Compared(
        name=pair.name,
        shape=pair.a.shape or pair.b.shape,
        sums=sums,
        bit_identical=bit_identical,
        nonfinite_a=nonfinite_a,
        nonfinite_b=nonfinite_b,
        beyond_a=_beyond(pair.a),
        beyond_b=_beyond(pair.b),
        notes=pair.notes + _layout_note(pair, sums),
    )


def _blocks(pair: Pair) -> Iterator[tuple[Floats, Floats]]:
    """Yields the same elements of A and B, about `BLOCK` of them or one image at a time."""
    together = max(pair.a.elements_at_once, pair.b.elements_at_once)
    size = max(1, BLOCK // together) * together
    return zip(pair.a.blocks(size), pair.b.blocks(size), strict=True)


def added(sums: Sums) -> Sums:
    """Returns one row, shape (1,), that stands for all rows of `sums`."""
    total = np.zeros(1, SUMS)
    for name in SUMS.names or ():
        total[name] = sums[name].max() if name == "dmax" else sums[name].sum()
    return total


def _nonfinite(block: Floats) -> Nonfinite:
    return Nonfinite(
        nan=int(np.count_nonzero(np.isnan(block))),
        infinite=int(np.count_nonzero(np.isinf(block))),
    )


def _beyond(tensor: Tensor) -> Beyond:
    return Beyond(
        value=tensor.value_after_the_end(),
        byte=tensor.offset + tensor.elements * tensor.dtype.itemsize,
    )


def _layout_note(pair: Pair, sums: Sums) -> tuple[str, ...]:
    """Says where the numbers agree once the axes of one side are exchanged."""
    shape = pair.a.shape or pair.b.shape
    nmse = metrics(sums).nmse
    if nmse is None or nmse < FAR:
        return ()
    if shape is None:
        hint = "far apart: if one side may have its channels last, say --shape N,C,H,W to find out"
        return (hint,) if nmse > UNRELATED else ()
    if len(shape) < 3:
        return ()
    image = math.prod(shape[1:])
    told = Layout.NHWC in (pair.a.layout, pair.b.layout)
    if told or image > IMAGE_LIMIT or pair.a.elements % image:
        return ()
    found = other_layouts(next(pair.a.blocks(image)), next(pair.b.blocks(image)), shape)
    if found is None:
        return ()
    layouts, channels_first = found
    again = f"--layout {','.join(layouts)} --shape {spelled(channels_first)}"
    return (f"the axes are in another order in A than in B: in one order they agree; add {again}",)
