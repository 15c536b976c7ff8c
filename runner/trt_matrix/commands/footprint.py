"""How much a run keeps at most, told before it runs; what it measures is outputs, and those mostly go again.

An upper bound: equal contents are stored once, and how large a Q/DQ network is, is taken from its weights in
float32. Beside it there is what is small: sums, boxes, records, logs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from trt_matrix.config.shared_table import Algorithm
from trt_matrix.core.calibration import curve
from trt_matrix.core.calibration.preprocessings import forms, with_exchanged
from trt_matrix.core.calibration.ranges import MOST_SUSPECTS
from trt_matrix.core.cells import Precision, TableSource
from trt_matrix.judging.described import pixels_of
from trt_matrix.planning.experiment import Experiment

ORDERS = 2
"""In which a learning curve takes all images, beside their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """Bytes."""

    while_running: int
    """Outputs of all passes, simulations among them, before any go."""
    kept: Mapping[str, int]
    """What → how much of it stays."""


def footprint(experiment: Experiment) -> Footprint:
    """Returns what all cells that can run would take, known or not."""
    cells = [cell for cell in experiment.cells if cell.obstacle is None]
    config = experiment.checked.config
    outputs = experiment.bytes_a_repeat
    starts = sum(cell.repeats(config.repeats_range()[1]) for cell in cells)
    int8 = [cell for cell in cells if cell.pass_.source is not None]
    float_ones = {
        (cell.environment, cell.device) for cell in cells if cell.pass_.precision is Precision.FP32
    }
    limit = experiment.network.is_float and bool(int8)
    own = {
        (cell.environment, cell.device, cell.pass_.algorithm)
        for cell in int8
        if cell.pass_.source is TableSource.OWN
    }
    shared = [cell for cell in int8 if cell.pass_.source is TableSource.SHARED]
    tables = len(own) + (2 * len(get_args(Algorithm)) if limit else 0) + (1 if int8 else 0)
    placements = len({(cell.pass_.exclude, cell.pass_.per_tensor) for cell in int8}) or 1
    # Layers that are tried in float where int8 loses what matters: with the shared table alone.
    mixed = len(shared) if config.quantisation.finds_mixed else 0
    starts += mixed * config.repeats_range()[0]
    asked = config.calibration.forensics
    sets = _sets(experiment) if limit else 0
    curves = len(_draws(experiment)) if asked.learning_curve and limit else 0
    simulated = tables * placements + bool(mixed)
    networks = _weights(experiment) * (2 + len(experiment.network.variants) + 2 * simulated)
    simulated += curves
    variants = len(experiment.network.variants)
    stays = outputs * (1 + variants + len(float_ones)) + sets
    if config.keep == "outputs":
        stays += outputs * (starts + simulated)
    return Footprint(
        while_running=outputs * (1 + variants + starts + simulated) + sets,
        kept={
            "prepared images": experiment.images_bytes + _changed_images(experiment),
            "outputs": stays,
            "networks": networks,
        },
    )


def _sets(experiment: Experiment) -> int:
    """Returns the size of the reference's outputs on both sets, which are asked for largest magnitudes."""
    checked = experiment.checked
    images = len(checked.evaluation) + len(checked.calibration)
    return images * experiment.bytes_a_repeat // max(len(checked.evaluation), 1)


def _draws(experiment: Experiment) -> list[int]:
    """Returns how many calibration images each table of a learning curve is made of."""
    number = len(experiment.checked.calibration)
    sizes = [size for size in curve.counts(number)[:-1] for _ in range(curve.DRAWS)]
    return [*sizes, *[number] * (1 + ORDERS + MOST_SUSPECTS)]


def _changed_images(experiment: Experiment) -> int:
    """Returns the size of images that are stored once more: parts of a set, or in another preprocessing."""
    checked, asked = experiment.checked, experiment.checked.config.calibration.forensics
    image = 4 * math.prod(checked.shape)
    drawn = sum(_draws(experiment)) if asked.learning_curve else 0
    if not asked.preprocessing or checked.config.data.are_arrays:
        return image * drawn
    known = with_exchanged(forms(pixels_of(checked.config.data.preprocess)))
    return image * (drawn + len(known) * len(checked.evaluation))


def _weights(experiment: Experiment) -> int:
    """Returns the size of the network's weights in float32, or of its file where that is larger."""
    elements = sum(math.prod(tensor.dims) for tensor in experiment.checked.model.graph.initializer)
    return max(4 * elements, experiment.network.fp32.size_bytes)
