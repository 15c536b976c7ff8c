"""The heads' cones as a drawing: a box for the layers that the same heads depend on; pure geometry."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from runner.core.judgement import Judgement
from runner.core.network.network_map import NetworkMap, Part
from runner.report.formatting import short
from runner.report.layers import is_behind_bad, part_title

WIDTH, HEIGHT = 196, 62
ACROSS, DOWN = 44, 16
"""Between boxes."""
MARGIN = 6
MOST = 24
"""Boxes; a network with more heads is not drawn."""
CHARACTERS = 26
"""That fit in a box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    left: int
    top: int
    title: str
    layers: str
    """`32 layers: 14 Conv, 14 Relu`."""
    suspect: bool
    """Only bad heads lie behind it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """From the right side of one box to the left side of another."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def path(self) -> str:
        middle = (self.x1 + self.x2) / 2
        return f"M{self.x1},{self.y1}C{middle:g},{self.y1} {middle:g},{self.y2} {self.x2},{self.y2}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cones:
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    width: int
    height: int
    text: str
    """The same in words."""


def cones(judgement: Judgement) -> Cones | None:
    """Returns the drawing; None where the network is not known, or has too many parts to draw."""
    report = judgement.layers
    if report is None or not 0 < len(report.network.parts) <= MOST:
        return None
    network = report.network
    depths = _depths(network.parts)
    boxes: list[Box] = []
    filled: Counter[int] = Counter()
    for part, depth in zip(network.parts, depths, strict=True):
        boxes.append(
            Box(
                left=MARGIN + depth * (WIDTH + ACROSS),
                top=MARGIN + filled[depth] * (HEIGHT + DOWN),
                title=short(part_title(network, part), CHARACTERS),
                layers=short(_counted(part), CHARACTERS + 6),
                suspect=is_behind_bad(judgement, part),
            )
        )
        filled[depth] += 1
    return Cones(
        boxes=tuple(boxes),
        arrows=tuple(
            _arrow(boxes[read], boxes[index])
            for index, part in enumerate(network.parts)
            for read in _direct(network.parts, part)
        ),
        width=2 * MARGIN + (max(depths) + 1) * (WIDTH + ACROSS) - ACROSS,
        height=2 * MARGIN + max(filled.values()) * (HEIGHT + DOWN) - DOWN,
        text=_in_words(network),
    )


def _depths(parts: Sequence[Part]) -> list[int]:
    """Returns how many boxes lie before each, on the longest way."""
    depths: list[int] = []
    for part in parts:
        depths.append(max((depths[read] + 1 for read in part.reads), default=0))
    return depths


def _direct(parts: Sequence[Part], part: Part) -> list[int]:
    """Returns what a part reads, but for what it also reads through another: fewer lines cross."""
    through = {further for read in part.reads for further in parts[read].reads}
    return [read for read in part.reads if read not in through]


def _arrow(one: Box, other: Box) -> Arrow:
    return Arrow(
        x1=one.left + WIDTH,
        y1=one.top + HEIGHT // 2,
        x2=other.left,
        y2=other.top + HEIGHT // 2,
    )


def _counted(part: Part) -> str:
    kinds = Counter(one.operator for one in part.layers).most_common(3)
    return f"{len(part.layers)}: " + ", ".join(f"{number} {kind}" for kind, number in kinds)


def _in_words(network: NetworkMap) -> str:
    return "; ".join(
        f"{part_title(network, part)}: {len(part.layers)} layers"
        + (
            f", reads {', '.join(part_title(network, network.parts[one]) for one in part.reads)}"
            if part.reads
            else ""
        )
        for part in network.parts
    )
