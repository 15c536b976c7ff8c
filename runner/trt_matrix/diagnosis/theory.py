"""Measures every quantised tensor on its own, on values of the float network; constant memory in images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper

from trt_matrix.containers.job.histogram import ORDER_FREE, Histogram
from trt_matrix.containers.job.thresholds import squared_errors
from trt_matrix.containers.job.thresholds import threshold as threshold_of
from trt_matrix.core.diagnosis.quantisers import (
    DiagnosisError,
    Part,
    Quantised,
    QuantiserPair,
    State,
    activation,
    weights,
)
from trt_matrix.core.diagnosis.tensors import Clamp, TensorTheory, clamps, unlike, weights_theory
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.qdq.weights import channel_axis
from trt_matrix.core.tables.table import Table
from trt_matrix.diagnosis.simulator import Simulator, for_all
from trt_matrix.diagnosis.subject import Subject, Told

MOST_IMAGES = 16
"""Ranges and errors of single tensors change little with more."""

NAMED_IMAGES = 3

MINMAX = ("minmax", "MinMaxCalibration")
"""What makers call a table of the largest magnitudes that they saw."""


BLOCK = 32768
"""Elements that are handled at a time: the buffers of a few passes over them stay in the cache."""


@dataclass(slots=True)
class _Seen:
    """One activation over images; what each image gives is kept apart, so that no order of threads matters."""

    pair: QuantiserPair
    histogram: Histogram
    squares: npt.NDArray[np.float64]
    """Sum of squared errors, an image."""
    clipped: npt.NDArray[np.int64]
    """Elements beyond the range, an image."""
    channels: npt.NDArray[np.float32] | None = None
    elements: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, place: int, value: npt.NDArray[np.float32]) -> None:
        """Counts an image.

        Raises:
            DiagnosisError: a value is NaN or infinite.
        """
        rows = value.reshape(value.shape[1] if value.ndim > 2 else 1, -1)
        largest = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
        amax = float(largest.max())
        if not amax < float("inf"):  # NaN is not either
            message = f"tensor {self.pair.tensor!r} is NaN or infinite in the float network: it has no range"
            raise DiagnosisError(message)
        with self.lock:
            self.histogram.amax = max(self.histogram.amax, amax)
            self.channels = largest if self.channels is None else np.maximum(self.channels, largest)
            self.elements += value.size
            self._count(place, value.reshape(-1), amax)

    def _count(self, place: int, flat: npt.NDArray[np.float32], amax: float) -> None:
        pair, bins = self.pair, self.histogram.order_free
        assert bins is not None  # noqa: S101 - it was made to be kept
        bins.cover(amax)
        levels = np.iinfo(pair.dtype)
        ends = levels.min - pair.zero_point, levels.max - pair.zero_point
        low, high = pair.limits
        beyond = amax > min(-low, high)
        givens, magnitudes = np.empty((2, min(BLOCK, flat.size)), np.float32)
        numbers = np.empty(givens.size, np.intp)
        scale, width = np.float32(pair.scale), np.float32(1 / bins.width)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            size = block.size
            given, magnitude, number = givens[:size], magnitudes[:size], numbers[:size]
            # Rounded and clipped as QuantizeLinear and DequantizeLinear do, to the bit.
            np.divide(block, scale, out=given)
            np.rint(given, out=given)
            if beyond:
                self.clipped[place] += np.count_nonzero((block < low) | (block > high))
                np.clip(given, *ends, out=given)
            np.multiply(given, scale, out=given)
            np.subtract(given, block, out=given)
            self.squares[place] += np.dot(given, given)
            np.abs(block, out=magnitude)
            np.multiply(magnitude, width, out=magnitude)
            np.copyto(number, magnitude, casting="unsafe")
            bins.counts += np.bincount(number, minlength=bins.BINS)


def theory(
    subject: Subject, simulator: Simulator, images: Sequence[int], told: Told
) -> Mapping[Part, TensorTheory]:
    """Returns each activation and each layer's weights → what quantising it costs on its own.

    `MOST_IMAGES` of the images are looked at, spread evenly, one on each processor.

    Raises:
        DiagnosisError: a tensor is NaN or infinite in the float network.
    """
    quantised = simulator.found
    chosen = images[:: max(1, -(-len(images) // MOST_IMAGES))]
    limits = clamps(quantised.model)
    pairs = sorted(quantised.state.pairs)
    twins = _twins(pairs, limits)
    seen = {
        pair: _Seen(
            pair,
            Histogram(pair.tensor, (ORDER_FREE,)),
            np.zeros(len(chosen)),
            np.zeros(len(chosen), np.int64),
        )
        for pair in pairs
        if pair not in twins
    }

    def look(place: int) -> None:
        values = simulator.base(subject.image(chosen[place]), State()).raw
        for pair, activation_seen in seen.items():
            value, clamp = values[pair.tensor], limits.get(pair.tensor)
            if clamp:
                value = np.clip(value, clamp.low, clamp.high)
            activation_seen.add(place, value)

    for_all(look, len(chosen), "every tensor on its own", told)
    leaders = scale_groups(quantised.model)
    together: dict[str, list[QuantiserPair]] = {}
    for pair in seen:
        together.setdefault(leaders.get(pair.tensor, pair.tensor), []).append(pair)
    files = [subject.files[index] for index in chosen]
    theories: dict[QuantiserPair, TensorTheory] = {}
    for leader, same in together.items():
        theories.update(_activations([seen[pair] for pair in same], subject, leader, files))
    theories |= {pair: replace(theories[twin], name=pair.tensor) for pair, twin in twins.items()}
    return {**{activation(pair.tensor): theories[pair] for pair in pairs}, **_weights(quantised)}


def _twins(
    pairs: Sequence[QuantiserPair], limits: Mapping[str, Clamp]
) -> Mapping[QuantiserPair, QuantiserPair]:
    """Returns pair before Relu or Clip → the same one behind it: both do the same to what matters."""
    of = {pair.tensor: pair for pair in pairs}
    twins = {}
    for pair in pairs:
        clamp = limits.get(pair.tensor)
        after = of.get(clamp.gives) if clamp else None
        if after and replace(after, tensor=pair.tensor) == pair and after.tensor not in limits:
            twins[pair] = after
    return twins


def _activations(
    seen: Sequence[_Seen], subject: Subject, leader: str, files: Sequence[str]
) -> Iterator[tuple[QuantiserPair, TensorTheory]]:
    """Yields activations that share one range: what is best for them together is the best that there is."""
    other = _next(subject.table, subject.others, leader)
    best = _best([activation_seen.histogram for activation_seen in seen])
    # A larger value that calibration saw is a reason for a range that no image here needs.
    largest = [
        table.amax[leader]
        for table in subject.others.values()
        if table.provenance.algorithm in MINMAX and leader in table.amax
    ]
    shared = max((*(activation_seen.histogram.amax for activation_seen in seen), *largest))
    tables = [subject.table, *subject.made_of_calibration.values()]
    ranges = np.array(sorted({table.amax[leader] for table in tables if leader in table.amax}))
    for values, best_mse in zip(seen, best, strict=True):
        pair, elements, clipped = values.pair, max(values.elements, 1), values.clipped
        mse = float(values.squares.sum()) / elements
        worst = [index for index in np.argsort(-clipped, kind="stable") if clipped[index]]
        errors = _errors(values.histogram, ranges)
        tensor = TensorTheory(
            name=pair.tensor,
            scale=pair.scale,
            elements=values.elements,
            error_steps=float(np.sqrt(mse)) / pair.scale,
            clipped_share=int(clipped.sum()) / elements,
            amax=values.histogram.amax,
            shared_amax=shared,
            range=max(map(abs, pair.limits)) - pair.scale / 2,
            mse=mse,
            best_mse=min(mse, best_mse),
            unlike_channels=unlike(values.channels) if values.channels is not None else 0.0,
            next_range=other[0] if other else None,
            next_table=other[1] if other else None,
            leader=leader,
            errors=dict(zip(ranges.tolist(), errors.tolist(), strict=True)),
            images=tuple(files[index] for index in worst[:NAMED_IMAGES]),
        )
        yield pair, tensor


def _best(histograms: Sequence[Histogram]) -> list[float]:
    """Returns each one's mean square error by the one symmetric range that is best for all."""
    used = [histogram for histogram in histograms if histogram.amax > 0]
    ranges = [float(threshold_of(histogram, "mse", {})) for histogram in used]
    if not ranges:
        return [0.0] * len(histograms)
    errors = np.stack([_errors(histogram, np.array(ranges)) for histogram in histograms])
    best = int(errors.sum(axis=0).argmin())
    return [
        float(error[best]) / max(_elements(histogram), 1.0)
        for histogram, error in zip(histograms, errors, strict=True)
    ]


def _errors(histogram: Histogram, ranges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the summed square error by each range."""
    bins = histogram.order_free
    if histogram.amax == 0 or bins is None:
        return np.zeros(len(ranges))
    counts = bins.counts[: bins.used].astype(np.float64)
    errors: npt.NDArray[np.float64] = squared_errors(counts, ranges / bins.width)
    return errors * float(bins.width) ** 2


def _elements(histogram: Histogram) -> float:
    bins = histogram.order_free
    return 0.0 if bins is None else float(bins.counts[: bins.used].sum())


def _next(table: Table, others: Mapping[str, Table], leader: str) -> tuple[float, str] | None:
    """Returns the range of another table that is next above, or where none is, next below."""
    own = table.amax.get(leader)
    if own is None:
        return None
    ranges = [(other.amax[leader], name) for name, other in others.items() if leader in other.amax]
    above = [(amax, name) for amax, name in ranges if amax > own * 1.001]
    below = [(amax, name) for amax, name in ranges if amax < own * 0.999]
    return min(above) if above else max(below) if below else None


def _weights(quantised: Quantised) -> Mapping[Part, TensorTheory]:
    values = {tensor.name: tensor for tensor in quantised.model.graph.initializer}
    theories = {}
    for node in quantised.model.graph.node:
        if parameters := quantised.parameters.get(node.name):
            # The weight comes before a bias.
            index, given = min(parameters.items())
            weight = np.asarray(numpy_helper.to_array(values[node.input[index]]), np.float32)
            axis = channel_axis(node, weight.ndim) if weight.ndim > 1 else 0
            tensor = weights_theory(node.name, weight, np.asarray(given, np.float32), axis)
            theories[weights(node.name)] = tensor
    return theories
