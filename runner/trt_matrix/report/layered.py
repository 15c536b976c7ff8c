"""Where the boxes of a layered drawing stand, from left to right, and how the lines between them run.

By grandalf's layout after Sugiyama (columns, few crossings) and after Brandes and Köpf (rows); it draws
downwards, so both axes are exchanged here. The same graph gives the same drawing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout

ROUNDS = 12
"""Of sweeps against crossings; more change nothing in networks of this size."""


@dataclass(frozen=True, slots=True)
class Layered:
    centres: tuple[tuple[int, int], ...]
    """(x, y) of each box, in pixels from the left and the top."""
    lines: tuple[tuple[tuple[int, int], ...], ...]
    """Of each edge: the centres of its boxes, between them where it passes the columns."""
    width: int
    height: int


class _View:
    """What grandalf wants to know of a box, its axes exchanged, and tells of it."""

    def __init__(self, width: int, height: int) -> None:
        self.w, self.h = height, width
        self.xy = (0.0, 0.0)


class _LayeredLine:
    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []

    def setpath(self, points: list[tuple[float, float]]) -> None:
        self.points = points


def layered(
    count: int,
    edges: Sequence[tuple[int, int]],
    *,
    size: tuple[int, int],
    gaps: tuple[int, int],
    margin: int,
) -> Layered:
    """Lays out a graph without loops.

    `edges` are (from, to), places of boxes; `gaps` lie between columns, and between rows.
    """
    boxes = [Vertex() for _ in range(count)]
    for box in boxes:
        box.view = _View(*size)
    lines = [Edge(boxes[u], boxes[v]) for u, v in edges]
    for line in lines:
        line.view = _LayeredLine()
    tops: dict[int, float] = {}
    below = 0.0
    for number, component in enumerate(Graph(boxes, lines).C):
        layout = SugiyamaLayout(component)
        layout.yspace, layout.xspace = gaps
        layout.dw = layout.dh = 1  # of a line that passes a column
        layout.init_all()
        layout.draw(ROUNDS)
        rows = [*_rows(component, size[1] / 2)]
        tops[number] = below - min(rows)
        below += max(rows) - min(rows) + gaps[1]
        for vertex in component.sV:
            vertex.view.number = number
    left = min(box.view.xy[1] for box in boxes) - size[0] / 2 - margin

    def place(point: tuple[float, float], number: int) -> tuple[int, int]:
        return round(point[1] - left), round(point[0] + tops[number] + margin)

    return Layered(
        centres=tuple(place(box.view.xy, box.view.number) for box in boxes),
        lines=tuple(
            tuple(place(point, line.v[0].view.number) for point in line.view.points)
            for line in lines
        ),
        width=round(max(box.view.xy[1] for box in boxes) + size[0] / 2 + margin - left),
        height=round(below - gaps[1] + 2 * margin),
    )


def _rows(component: Graph, half: float) -> Iterable[float]:
    """Yields where boxes of a component begin and end, and where its lines go."""
    for vertex in component.sV:
        yield from (vertex.view.xy[0] - half, vertex.view.xy[0] + half)
    for edge in component.sE:
        yield from (row for row, _ in edge.view.points)
