"""The network as a drawing: boxes of layers in columns, what each costs, and in which precision it ran.

Every picture has the same boxes at the same places, so that two builds can be held against each other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from trt_matrix.core.collecting import grouped, present
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.network.network_map import Layer, NetworkMap
from trt_matrix.core.words import count, listed
from trt_matrix.report.folding import FOLLOWERS, Folded, Item, fold
from trt_matrix.report.formatting import fixed, short
from trt_matrix.report.layered import Layered, layered
from trt_matrix.report.layers import Layers, PrecisionColumn, row_ids
from trt_matrix.report.measures import ALL, Measure, measures

MOST_BOXES = 60
MOST_COLUMNS = 21
"""With a column for the heads as wide as the page."""
MOST_HEADS, MOST_DRAWN = 24, 100
"""Heads and boxes; a network with more, even folded, is not drawn."""
WIDTH, HEIGHT = 48, 32
GAPS = (7, 8)
MARGIN = 8
CHARACTERS = 7
"""That fit in a box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    text: str
    level: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    x: int
    """Its middle, from the left."""
    y: int
    """Its upper side."""
    label: str
    name: str
    """What is in it."""
    title: str
    """The same, and what it costs."""
    row: str
    """Id of its row in the table of layers."""
    heads: tuple[int, ...]
    """Places of the heads that depend on it."""
    suspect: bool
    """Only bad heads lie behind it, and it may be to blame."""
    values: Mapping[str, Value]
    """Key of a measure → what it has of it; measures that do not know it are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxSide:
    """How one box ran in one build."""

    kind: str
    """`int8`, `float`, `both` or `untold`."""
    text: str
    differs: bool
    """Whether the two builds that are shown at first ran it differently, and this is one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnBuild:
    column: PrecisionColumn
    sides: tuple[BoxSide, ...]
    """One a box."""
    shown: bool
    """At first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnHead:
    name: str
    x: int
    y: int
    place: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnLine:
    path: str
    heads: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    boxes: tuple[Box, ...]
    lines: tuple[DrawnLine, ...]
    heads: tuple[DrawnHead, ...]
    builds: tuple[DrawnBuild, ...]
    measures: tuple[Measure, ...]
    width: int
    height: int
    text: str
    """The same in words."""
    folded: bool
    """Whether any box holds more than a layer and what follows it."""
    not_drawn: str
    """What costs something and is no layer; empty where nothing does."""


def drawing(judgement: Judgement, table: Layers | None) -> Drawing | None:
    """Returns None where the network is not known, has too many heads, or cannot be folded far enough."""
    if table is None or judgement.layers is None:
        return None
    network = table.network
    layers = [layer for _, layer in network.layers]
    if not layers or len(network.heads) > MOST_HEADS:
        return None
    suspects = judgement.suspects
    folded = fold(_items(network, table.columns, suspects), MOST_BOXES, MOST_COLUMNS)
    if len(folded.boxes) > MOST_DRAWN:
        return None
    ends = _ends(network, folded)
    edges = [*folded.edges, *((box, len(folded.boxes) + at) for at, box in enumerate(ends))]
    placed = layered(
        len(folded.boxes) + len(ends), edges, size=(WIDTH, HEIGHT), gaps=GAPS, margin=MARGIN
    )
    known = measures(judgement)
    contents = [[layers[place] for place in box] for box in folded.boxes]
    heads = [tuple(network.heads.index(head) for head in part.heads) for part, _ in network.layers]
    rows = row_ids(table)
    return Drawing(
        boxes=tuple(
            _box(content, top, heads[box[0]], network, rows, suspects, known)
            for box, content, top in zip(folded.boxes, contents, _tops(placed), strict=False)
        ),
        lines=_lines(placed, edges, [*(heads[box[0]] for box in folded.boxes), *((at,) for at in range(len(ends)))]),
        heads=tuple(
            DrawnHead(name=name, x=x, y=y, place=at)
            for at, (name, (x, y)) in enumerate(
                zip(network.heads, _tops(placed)[len(folded.boxes) :], strict=True)
            )
        ),
        builds=_builds(table.columns, contents),
        measures=known,
        width=placed.width,
        height=placed.height,
        text=f"{count(len(layers), 'layer')} in {count(len(folded.boxes), 'tile')}, leading to {listed(network.heads)}",
        folded=any(_main(content)[1] > 1 for content in contents),
        not_drawn=_not_drawn(known, {layer.name for layer in layers}),
    )  # fmt: skip


def _items(
    network: NetworkMap, columns: Sequence[PrecisionColumn], suspects: set[str]
) -> list[Item]:
    return [
        Item(
            reads=layer.reads,
            part=part.heads,
            operator=layer.operator,
            alike=tuple(column.way.precisions.get(layer.name) for column in columns),
            alone=layer.name in suspects,
        )
        for part, layer in network.layers
    ]


def _ends(network: NetworkMap, folded: Folded) -> list[int]:
    """Returns of each head the box that gives it out.

    That is the last layer of the part that the fewest heads depend on: all others of the head lead to it.
    """
    boxes = {layer: box for box, members in enumerate(folded.boxes) for layer in members}
    last: dict[str, tuple[int, int]] = {}
    for place, (part, _) in enumerate(network.layers):
        for head in part.heads:
            fewest = last.get(head, (len(network.heads) + 1, 0))[0]
            if len(part.heads) <= fewest:
                last[head] = (len(part.heads), place)
    return [boxes[last[head][1]] for head in network.heads]


def _tops(placed: Layered) -> list[tuple[int, int]]:
    """Returns the middle of the upper side of each box."""
    return [(x, y - HEIGHT // 2) for x, y in placed.centres]


def _main(content: Sequence[Layer]) -> tuple[str, int]:
    """Returns the kind of layer that a box is called after, and how many of it are in it."""
    leading = _leading(content)
    heavy = [layer for layer in leading if layer.macs] or leading
    ((kind, number),) = Counter(layer.operator for layer in heavy).most_common(1)
    return kind, number


def _box(
    content: Sequence[Layer],
    top: tuple[int, int],
    heads: tuple[int, ...],
    network: NetworkMap,
    rows: Mapping[str, str],
    suspects: set[str],
    known: Sequence[Measure],
) -> Box:
    kind, number = _main(content)
    label = kind if number == 1 else f"{number} {kind}"
    names = [layer.name for layer in content]
    suspect = any(name in suspects for name in names)
    values = {measure.key: measure.of(names) for measure in known}
    told = [_called(content)]
    told += ["only bad heads behind it"] if suspect else []
    told += [f"leads to {listed([network.heads[head] for head in heads], 4)}"]
    told += [
        _in_words(measure, values[measure.key], names) for measure in known if values[measure.key]
    ]
    return Box(
        x=top[0],
        y=top[1],
        label=label if len(label) <= CHARACTERS else f"{label[: CHARACTERS - 1]}…",
        name=told[0],
        title="; ".join(told),
        row=rows[next((name for name in names if name in suspects), names[0])],
        heads=heads,
        suspect=suspect,
        values={
            measure.key: Value(text=fixed(worst), level=measure.level(worst))
            for measure in known
            if values[measure.key]
            for worst in [max(values[measure.key].values())]
        },
    )


def _called(content: Sequence[Layer]) -> str:
    first, last = content[0], content[-1]
    if len(content) == 1:
        return f"{short(first.name, 60)}, {short(first.operator, 24)}"
    kinds = Counter(layer.operator for layer in content).most_common(4)
    what = ", ".join(f"{number} {short(kind, 24)}" for kind, number in kinds)
    return f"{short(first.name, 60)} to {short(last.name, 60)}, {len(content)} layers: {what}"


def _in_words(measure: Measure, values: Mapping[str, float], names: Sequence[str]) -> str:
    if ALL in values:
        return measure.words.format(fixed(values[ALL]))
    several = sum(name in measure.values for name in names) > 1 and not measure.adds_up
    numbers = ", ".join(
        f"{short(head, 24)} {fixed(value)}" for head, value in [*values.items()][:6]
    )
    return measure.words.format(f"{'the worst: ' if several else ''}{numbers}")


def _lines(
    placed: Layered, edges: Sequence[tuple[int, int]], heads: Sequence[tuple[int, ...]]
) -> tuple[DrawnLine, ...]:
    """Returns the lines of all edges that lead to the same heads as one."""
    paths = grouped(
        (heads[target], _path(points))
        for points, (_, target) in zip(placed.lines, edges, strict=True)
    )
    return tuple(DrawnLine(path="".join(parts), heads=of) for of, parts in paths.items())


def _path(points: Sequence[tuple[int, int]]) -> str:
    """Returns a line from the right side of the first box to the left side of the last one.

    Between columns it curves; past the boxes of a column it runs straight.
    """
    half = WIDTH // 2
    (x, y), *others = points
    path, x = f"M{x + half} {y}", x + half
    for centre, row in others:
        if row != y:
            left = centre - half
            middle = (x + left) // 2
            path += f"H{x}C{middle} {y} {middle} {row} {left} {row}"
        x, y = centre + half, row
    return f"{path}H{others[-1][0] - half}"


def _builds(
    columns: Sequence[PrecisionColumn], contents: Sequence[Sequence[Layer]]
) -> tuple[DrawnBuild, ...]:
    """Returns how the boxes ran in each way; shown at first are the two that differ most, of one pass if they can."""
    texts = [[_ran(column, content) for content in contents] for column in columns]

    def unlike(pair: tuple[int, int]) -> tuple[bool, int]:
        first, second = pair
        same_pass = set(columns[first].passes) & set(columns[second].passes)
        differ = sum(a != b for a, b in zip(texts[first], texts[second], strict=True))
        return bool(same_pass and differ), differ

    pairs = combinations(range(len(columns)), 2)
    shown = set(max(pairs, key=unlike, default=range(len(columns))))
    compared = [texts[place] for place in sorted(shown)]
    differs = [
        len({text for kind, text in told if kind != "untold"}) > 1
        for told in zip(*compared, strict=True)
    ]
    return tuple(
        DrawnBuild(
            column=column,
            sides=tuple(
                BoxSide(kind=kind, text=text, differs=differ and place in shown)
                for (kind, text), differ in zip(told, differs, strict=True)
            ),
            shown=place in shown,
        )
        for place, (column, told) in enumerate(zip(columns, texts, strict=True))
    )


def _ran(column: PrecisionColumn, content: Sequence[Layer]) -> tuple[str, str]:
    """Returns the side of a box in one build, and its text: how many ran in int8 where they differ.

    Activations say nothing of the layer that they follow, nor pools and additions of those that multiply. A `?` stands where of some nothing was told.
    """
    leading = _leading(content)
    ran = [column.way.precisions.get(layer.name) for layer in leading]
    told = Counter(present(ran))
    unsure = "?" if told.total() < len(ran) else ""
    heavy = [column.way.precisions.get(layer.name) for layer in leading if layer.macs]
    if not told or (heavy and not any(heavy)):
        return "untold", "?"
    if len(told) == 1:
        (name,) = told
        return ("int8" if name == INT8 else "float"), f"{name}{unsure}"
    if INT8 not in told:
        return "float", f"float{unsure}"
    return "both", f"{told[INT8]}/{told.total()}{unsure}"


def _leading(content: Sequence[Layer]) -> Sequence[Layer]:
    """Returns the layers that a box is drawn for: all but the activations behind them."""
    return [layer for layer in content if layer.operator not in FOLLOWERS] or content


def _not_drawn(known: Sequence[Measure], layers: set[str]) -> str:
    """Returns what the drawing leaves out: quantisers of the network's inputs belong to no layer."""
    return "; ".join(
        _in_words(measure, measure.values[name], [name]).join((f"{short(name, 60)}: ", ""))
        for measure in known
        for name in measure.values
        if name not in layers
    )
