"""Where the rows of outputs lie in the network's input: cells of grids, and prior boxes at them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trt_matrix.core.boxes.nms import Floats, Indices
from trt_matrix.core.manifest import PriorGrid


@dataclass(frozen=True, slots=True)
class Level:
    """One grid of cells."""

    stride: int
    """Pixels from cell to cell."""
    anchors: int
    """Rows of a cell."""
    prior: PriorGrid | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Places:
    """Where rows lie in the network's input.

    Attributes:
        cells: Column and row of each row's cell, shape (rows, 2).
        strides: Pixels from cell to cell, shape (rows, 1).
        priors: Centre, width and height in pixels, shape (rows, 4); of no row where the style has none.
        grids: Rows and columns of each grid, one after another.
        image: Width and height of the input in pixels, shape (2,).
    """

    cells: Floats
    strides: Floats
    priors: Floats
    grids: tuple[tuple[int, int], ...]
    image: Floats

    def take(self, rows: Indices) -> "Places":
        """Returns the places of these rows; none are known where rows lie anywhere."""
        cells, strides, priors = (
            array[rows] if len(array) else array
            for array in (self.cells, self.strides, self.priors)
        )
        return replace(self, cells=cells, strides=strides, priors=priors)


def grid(image_size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Returns rows and columns of the cells in an input of that height and width."""
    height, width = image_size
    return math.ceil(height / stride), math.ceil(width / stride)


def level_of(prior: PriorGrid) -> Level:
    """Returns the grid of these prior boxes."""
    each = len(prior.sizes) * (1 + 2 * len(prior.ratios)) + len(prior.max_sizes)
    return Level(prior.stride, each, prior)


def places(
    levels: Sequence[Level], image_size: tuple[int, int], *, clip_priors: bool = False
) -> Places:
    """Returns where the rows of these grids lie, one grid after another.

    `image_size` is height and width in pixels; where rows lie anywhere there are no `levels`. With `clip_priors` centres
    and sizes of priors end at the input's size.
    """
    image = np.array(image_size[::-1], np.float64)
    grids = tuple(grid(image_size, level.stride) for level in levels)
    cells, strides, priors = [np.empty((0, 2))], [np.empty((0, 1))], [np.empty((0, 4))]
    for level, (rows, columns) in zip(levels, grids, strict=True):
        upper_left = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
        every = np.repeat(upper_left.reshape(-1, 2), level.anchors, axis=0).astype(np.float64)
        cells.append(every)
        strides.append(np.full((len(every), 1), level.stride, np.float64))
        if level.prior is not None:
            sizes = np.tile(_sides(level.prior), (rows * columns, 1))
            priors.append(np.concatenate([(every + 0.5) * level.stride, sizes], axis=1))
    known = np.concatenate(priors)
    return Places(
        cells=np.concatenate(cells),
        strides=np.concatenate(strides),
        priors=np.clip(known, 0, np.tile(image, 2)) if clip_priors else known,
        grids=grids,
        image=image,
    )


def _sides(level: PriorGrid) -> Floats:
    """Returns width and height of the priors of one cell, shape (priors, 2), in Caffe's order."""
    sides: list[tuple[float, float]] = []
    for index, size in enumerate(level.sizes):
        sides.append((size, size))
        if level.max_sizes:
            side = math.sqrt(size * level.max_sizes[index])
            sides.append((side, side))
        for ratio in level.ratios:
            long, short = size * math.sqrt(ratio), size / math.sqrt(ratio)
            sides += [(long, short), (short, long)]
    return np.array(sides, np.float64)
