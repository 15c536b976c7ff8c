"""What the lower sections of the page are filled with: one view each, named as the templates ask."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trt_matrix.core.boxes.results import FedImage, WorstImage
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.words import count, visible
from trt_matrix.report import cells, images, layers, network, plots, tables, views
from trt_matrix.report.formatting import duration, fixed, short
from trt_matrix.report.tradeoff import KINDS, Tradeoff, tradeoffs
from trt_matrix.report.views import PassGroup

SHOWN = 6
"""Worst images that the page tells, and shows where the caller hands in their pictures."""
LEAST_MOVED = 0.01
"""Sum of 1 − IoU below which nobody sees that boxes moved."""


class TradeoffPlot(NamedTuple):
    tradeoff: Tradeoff
    plot: plots.Plot
    identifier: str
    title: str
    description: str


class Worst(NamedTuple):
    image: WorstImage
    picture: str | None
    """Id of the image's definition in the page; None where it is not shown."""
    fed: FedImage | None


def sections(
    judgement: Judgement,
    groups: Sequence[PassGroup],
    pictures: Mapping[str, str] | None,
    fed: Mapping[str, FedImage],
) -> dict[str, Any]:
    """Returns what the templates of these sections read."""
    common = cells.common_facts(judgement)
    table = layers.layers(judgement)
    given = judgement.facts.get("images")  # of old runs their number
    numbers = {name: f"picture-{index}" for index, name in enumerate(pictures or {})}
    return {
        "plots": _plots(judgement, groups),
        "slow": _slow(judgement),
        "area": plots,
        "kinds": KINDS,
        "tables": tables.tables(judgement),
        **images.images(judgement),
        "layers": table,
        "row_id": layers.row_id,
        "drawing": network.drawing(judgement, table),
        "box_size": (network.WIDTH, network.HEIGHT),
        "places": cells.places(judgement, common),
        "common_facts": common,
        "infinity": math.inf,
        "stage_s": cells.stage_s,
        "command": cells.command,
        "cell_anchor": cells.cell_anchor,
        "worst_images": tuple(
            Worst(image, numbers.get(image.file_name), fed.get(image.file_name))
            for image in shown_images(judgement)
        ),
        "box_rows": views.box_rows(groups),
        "pictures": [(numbers[name], uri) for name, uri in (pictures or {}).items()],
        "pictures_wanted": pictures is not None,
        "fed": fed,
        "are_arrays": isinstance(given, Mapping) and "arrays" in given,
    }


def _slow(judgement: Judgement) -> list[tuple[list[str], tuple[str, ...]]]:
    """Returns what is known of why int8 is no faster, with the cells of which all of it is true."""
    told = {result.id for result in judgement.cells}
    reasons = grouped((int8.reasons, int8.cell) for int8 in judgement.slow if int8.cell in told)
    return [(cells, why) for why, cells in reasons.items()]


def shown_images(judgement: Judgement) -> tuple[WorstImage, ...]:
    """Returns the worst images that the page shows, the worst first, each file once.

    Those whose boxes are all where they were, as in fp32, are no bad ones.
    """
    worst = judgement.boxes.worst if judgement.boxes else ()
    by_file = grouped(
        (image.file_name, image)
        for image in sorted(worst, key=lambda image: (-image.changed, -_moved(image)))
        if image.changed or _moved(image) > LEAST_MOVED
    )
    return tuple(of_file[0] for of_file in by_file.values())[:SHOWN]


def _moved(image: WorstImage) -> float:
    """Returns how far the kept boxes lie off the reference's: the sum of 1 − IoU."""
    return sum(1 - box.iou for box in image.test if box.iou is not None)


def _plots(judgement: Judgement, groups: Sequence[PassGroup]) -> tuple[TradeoffPlot, ...]:
    return tuple(
        TradeoffPlot(each, plots.plot(each), f"plot-{index}", _title(each), _description(each))
        for index, each in enumerate(tradeoffs(groups, judgement.heads))
    )


def _title(tradeoff: Tradeoff) -> str:
    where = visible(short(tradeoff.device, 60))
    return f"Latency against SQNR of head {visible(short(tradeoff.head, 60))} on {where}"


def _description(tradeoff: Tradeoff) -> str:
    front = "; ".join(
        f"{point.number}: {duration(point.latency_s)}, {fixed(point.sqnr_db)} dB"
        for point in tradeoff.front
    )
    return f"{count(len(tradeoff.points), 'cell')}. On the front: {front}."
