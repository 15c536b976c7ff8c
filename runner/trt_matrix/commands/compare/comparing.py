"""Compares two files or folders of dumped outputs, in one pass and constant memory.

All that can be wrong is found before the first number is read, and told at once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from trt_matrix.commands.compare.options import OPTIONS
from trt_matrix.commands.compare.pairs import Forms, TensorPair, match
from trt_matrix.commands.compare.told import Nonfinite, Result, TensorComparison
from trt_matrix.containers.job.reductions import BLOCK, SUMS, compare
from trt_matrix.core.metrics import Sums, metrics
from trt_matrix.dumps.files import spelled
from trt_matrix.dumps.suspicions import FAR, other_layouts
from trt_matrix.dumps.tensor import ChannelOrder, Floats
from trt_matrix.errors import ConfigError

Stage = Callable[[str, str], None]
"""Told which tensor is being read, and how far."""

IMAGE_LIMIT = 1 << 24
"""Elements of an image up to which exchanged axes are looked for: it is held whole for that."""

UNRELATED = 0.5
"""NMSE from which on A tells little about B; 2 where they are independent and equally large."""

AT_ONCE = 4 * BLOCK
"""Elements that are read together: 1 MB a side, and Python's share of the time stays small."""

ROWS = 16
"""Sums kept before they are added up: memory stays constant, progress is told often enough."""


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

    Memory is constant, whatever the sizes: one block of each side. An element with |d| > `epsilon` counts as over;
    `select` are globs over names of files in folders, all where there is none.

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
        left_out=matched.left_out,
    )


def _compared(pair: TensorPair, *, epsilon: float, stage: Stage) -> TensorComparison:
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
    return TensorComparison(
        name=pair.name,
        shape=pair.a.shape or pair.b.shape,
        sums=sums,
        bit_identical=bit_identical,
        nonfinite_a=nonfinite_a,
        nonfinite_b=nonfinite_b,
        after_a=pair.a.value_after_the_end(),
        after_b=pair.b.value_after_the_end(),
        notes=pair.notes + _layout_note(pair, sums),
    )


def _blocks(pair: TensorPair) -> Iterator[tuple[Floats, Floats]]:
    """Yields the same elements of A and B, about `AT_ONCE` of them or one image at a time."""
    together = math.lcm(pair.a.elements_at_once, pair.b.elements_at_once)
    size = max(1, AT_ONCE // together) * together
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


def _layout_note(pair: TensorPair, sums: Sums) -> tuple[str, ...]:
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
    stated = ChannelOrder.NHWC in (pair.a.layout, pair.b.layout)
    if stated or image > IMAGE_LIMIT or pair.a.elements % image:
        return ()
    fitting = other_layouts(next(pair.a.blocks(image)), next(pair.b.blocks(image)), shape)
    if fitting is None:
        return ()
    layouts, channels_first = fitting
    again = f"--layout {','.join(layouts)} --shape {spelled(channels_first)}"
    return (f"the axes are in another order in A than in B: in one order they agree; add {again}",)
