"""Measures every quantised tensor on its own, on values of the float network; constant memory in images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper

from job.histogram import ORDER_FREE, Histogram
from job.thresholds import squared_errors
from job.thresholds import threshold as threshold_of
from runner.core.diagnosis.quantisers import (
    Pair,
    Part,
    Quantised,
    State,
    activation,
    weights,
)
from runner.core.diagnosis.tensors import TensorTheory, unlike, weights_theory
from runner.core.qdq.scale_groups import scale_groups
from runner.core.qdq.weights import channel_axis
from runner.core.tables.table import Table
from runner.diagnosis.simulator import Simulator
from runner.diagnosis.subject import Subject

MOST_IMAGES = 16
"""Ranges and errors of single tensors change little with more."""

NAMED_IMAGES = 3


@dataclass(slots=True)
class _Seen:
    """One activation over images."""

    histogram: Histogram
    channels: npt.NDArray[np.float32] | None = None
    square: float = 0.0
    elements: int = 0
    clipped: list[int] = field(default_factory=list)
    """Elements beyond the range, an image."""

    def add(
        self, value: npt.NDArray[np.float32], given: npt.NDArray[np.float32], pair: Pair
    ) -> None:
        error = (given - value).reshape(-1)
        self.square += float(np.dot(error, error))
        self.elements += value.size
        low, high = pair.limits
        self.clipped.append(int(np.count_nonzero((value < low) | (value > high))))
        self.histogram.add(value)
        if value.ndim > 2:
            largest = np.abs(value).max(axis=(0, *range(2, value.ndim)))
            self.channels = largest if self.channels is None else np.maximum(self.channels, largest)


def theory(
    subject: Subject,
    simulator: Simulator,
    images: Sequence[int],
    told: Callable[[str], None],
) -> Mapping[Part, TensorTheory]:
    """Returns each activation and each layer's weights → what quantising it costs on its own.

    Args:
        subject: What is diagnosed.
        simulator: Of it.
        images: Indices; `MOST_IMAGES` of them are looked at, spread evenly.
        told: Told of progress.

    Raises:
        ValueError: a tensor is NaN or infinite in the float network.
    """
    found = simulator.found
    pairs = sorted(found.state.pairs)
    seen = {pair: _Seen(Histogram(pair.tensor, (ORDER_FREE,))) for pair in pairs}
    chosen = images[:: max(1, -(-len(images) // MOST_IMAGES))]
    for number, index in enumerate(chosen):
        told(f"every tensor on its own: image {number + 1} of {len(chosen)}")
        values = simulator.base(subject.image(index), State()).raw
        for pair in pairs:
            value = values[pair.tensor]
            seen[pair].add(value, simulator.quantise(pair, value), pair)
    leaders = scale_groups(found.model)
    files = [subject.files[index] for index in chosen]
    made = {
        activation(pair.tensor): _activation(
            pair, one, subject, leaders.get(pair.tensor, pair.tensor), files
        )
        for pair, one in seen.items()
    }
    return {**made, **_weights(found)}


def _activation(
    pair: Pair, seen: _Seen, subject: Subject, leader: str, files: Sequence[str]
) -> TensorTheory:
    mse = seen.square / max(seen.elements, 1)
    worst = [
        index
        for index in np.argsort(-np.asarray(seen.clipped), kind="stable")
        if seen.clipped[index]
    ]
    largest = max(map(abs, pair.limits)) - pair.scale / 2
    other = _next(subject.table, subject.others, leader)
    return TensorTheory(
        name=pair.tensor,
        scale=pair.scale,
        elements=seen.elements,
        error_steps=float(np.sqrt(mse)) / pair.scale,
        clipped_share=sum(seen.clipped) / max(seen.elements, 1),
        amax=seen.histogram.amax,
        range=largest,
        mse=mse,
        best_mse=min(mse, _best(seen.histogram)),
        unlike_channels=unlike(seen.channels) if seen.channels is not None else 0.0,
        next_range=other[0] if other else None,
        next_table=other[1] if other else None,
        images=tuple(files[index] for index in worst[:NAMED_IMAGES]),
    )


def _best(histogram: Histogram) -> float:
    """Returns the least mean square error that a symmetric range gives."""
    bins = histogram.order_free
    if histogram.amax == 0 or bins is None:
        return 0.0
    counts = bins.counts[: bins.used].astype(np.float64)
    amax = float(threshold_of(histogram, "mse", {}))
    (error,) = squared_errors(counts, np.array([amax / bins.width]))
    return float(error) * float(bins.width) ** 2 / float(counts.sum())


def _next(table: Table, others: Mapping[str, Table], leader: str) -> tuple[float, str] | None:
    """Returns the range of another table that is next above, or where none is, next below."""
    own = table.amax.get(leader)
    if own is None:
        return None
    ranges = [(one.amax[leader], name) for name, one in others.items() if leader in one.amax]
    above = [one for one in ranges if one[0] > own * 1.001]
    below = [one for one in ranges if one[0] < own * 0.999]
    return min(above) if above else max(below) if below else None


def _weights(found: Quantised) -> Mapping[Part, TensorTheory]:
    values = {tensor.name: tensor for tensor in found.model.graph.initializer}
    made = {}
    for node in found.model.graph.node:
        parameters = found.parameters.get(node.name)
        if not parameters:
            continue
        pairs = [
            (
                np.asarray(numpy_helper.to_array(values[node.input[index]]), np.float32),
                np.asarray(value, np.float32),
            )
            for index, value in sorted(parameters.items())
        ]
        axis = channel_axis(node, pairs[0][0].ndim) if pairs[0][0].ndim > 1 else 0
        made[weights(node.name)] = weights_theory(node.name, pairs, axis)
    return made
