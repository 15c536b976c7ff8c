"""What shapes tell of outputs: which grid of cells an output has a row, or a place of a map, for."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.boxes.places import grid
from trt_matrix.core.boxes.styles import SeenOutput

COCO = 80
"""Classes that most published detectors know."""

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""Of pixels as shares of 255, red first: torchvision, models; PaddleDetection, NormalizeImage."""

N3 = (8, 16, 32)
N4 = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class GridOutput:
    """An output of one grid."""

    seen: SeenOutput
    stride: int
    channels: int
    """Of one row."""
    layout: str


def count(image: tuple[int, int], strides: Iterable[int], anchors: int = 1) -> int:
    """Returns the rows of grids of these strides together."""
    return anchors * sum(math.prod(grid(image, stride)) for stride in strides)


def read(
    outputs: Sequence[SeenOutput], image: tuple[int, int], strides: Sequence[int], anchors: int = 1
) -> tuple[GridOutput, ...]:
    """Returns those that have a row for every anchor of one grid, as rows or as a map, channels first."""
    grids = []
    for seen in outputs:
        for stride in strides:
            rows, columns = grid(image, stride)
            cells = rows * columns
            match seen.shape:
                case (first, channels) if first == anchors * cells:
                    grids.append(GridOutput(seen, stride, channels, "boxes"))
                case (first,) if first == anchors * cells:
                    grids.append(GridOutput(seen, stride, 1, "boxes"))
                case (channels, *rest) if tuple(rest) == (rows, columns) and not channels % anchors:
                    grids.append(GridOutput(seen, stride, channels // anchors, "channels_first"))
    return tuple(grids)


def by_stride(
    grids: Sequence[GridOutput], strides: Sequence[int]
) -> Mapping[int, list[GridOutput]] | None:
    """Returns stride → its outputs; None unless each has as many, all laid out alike."""
    groups = {
        stride: [grid_output for grid_output in grids if grid_output.stride == stride]
        for stride in strides
    }
    sizes = {len(group) for group in groups.values()}
    if len(sizes) != 1 or 0 in sizes or len({grid_output.layout for grid_output in grids}) != 1:
        return None
    return groups


def rows_of(seen: SeenOutput) -> tuple[int, int] | None:
    """Returns rows and channels of an output that is a table; None of another."""
    return (seen.shape[0], seen.shape[1]) if len(seen.shape) == 2 else None


def pair_of(
    outputs: Sequence[SeenOutput], *others: int
) -> tuple[SeenOutput, SeenOutput, int, int] | None:
    """Returns scores, boxes, rows and score columns of tables with a row for each box.

    Further tables may be there, with as many columns as one of `others`.
    """
    tables = [(output, table) for output in outputs if (table := rows_of(output)) is not None]
    if len(tables) != len(outputs) or len({rows for _, (rows, _) in tables}) != 1:
        return None
    boxes = [output for output, (_, columns) in tables if columns == 4]
    rest = [(output, table) for output, table in tables if table[1] not in (4, *others)]
    if len(boxes) != 1 or len(rest) != 1 or len(outputs) > 2 + len(others):
        return None
    ((scores, (rows, columns)),) = rest
    return scores, boxes[0], rows, columns


def layout(grids: Sequence[GridOutput], default: str = "boxes") -> dict[str, str]:
    """Returns what `decode:` must say of the layout: nothing where it is the style's own."""
    return {} if grids[0].layout == default else {"layout": grids[0].layout}


def activation(seen: SeenOutput, default: str, *, of: str = "Sigmoid") -> dict[str, str]:
    """Returns what `decode:` must say of the activation of an output that wants σ, or a softmax."""
    applied = seen.applies(of)
    kind = "none" if applied else of.lower()
    return {} if applied is None or kind == default else {"activation": kind}


def named(seen: SeenOutput, *parts: str) -> bool:
    """Whether the output is called so: a part of its name, whatever the case."""
    return any(part in seen.name.lower() for part in parts)
