"""What rounding alone does to a tensor, and what a table does beyond that.

Rounding to steps of size s errs by s/√12 = 0.289 s (root mean square) where values spread over many steps,
and by less where they do not (zeros behind a Relu are exact). A tensor whose error is far above that is
clipped, one that uses few of its steps has a range that is too wide. The error is measured on the float
network's own values, so no other quantiser has a part in it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from trt_matrix.core.diagnosis.quantisers import Part
from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import MONOTONE

ROUNDING = 1 / math.sqrt(12)
"""Root mean square error of rounding in steps."""

CLIPPED_STEPS = 0.7
"""Error in steps from which a tensor is called clipped; TensorFlow Lite's quantisation debugger has the same."""

WIDE = 4.0
"""A range so many times the largest value seen is called too wide: two of seven bits are never used."""

UNLIKE = 16.0
"""Channels whose largest value is so many times smaller than the tensor's have 3 bits left of 7."""

UNLIKE_SHARE = 0.25
"""Share of such channels from which they are told."""

AVOIDABLE = 0.75
"""Share of a tensor's error beyond the best range's from which a range is told as far from the best: a bit."""

AVOIDABLE_WEIGHTS = 0.5
"""The same of weights whose channels are unlike, against a scale for each."""


class Cause(StrEnum):
    """Why a quantiser costs more than rounding must."""

    CLIPPED = "clipped"
    WIDE = "range too wide"
    RANGE = "range far from the best"
    CHANNELS = "channels of unlike range"


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorTheory:
    """An activation, or the weights of a layer, quantised on its own."""

    name: str
    """The activation, or the layer."""
    weights: bool = False
    scale: float
    """Size of a step; of weights with a scale a channel the largest."""
    elements: int
    error_steps: float
    """Root mean square error in steps."""
    clipped_share: float
    """Share of the elements beyond the range."""
    amax: float
    """Largest magnitude that was seen."""
    shared_amax: float = 0.0
    """The same of all tensors that must share its range, and of what a minmax table saw; 0 where not known."""
    range: float
    """Largest magnitude that int8 represents."""
    mse: float
    """Mean square error."""
    best_mse: float
    """Mean square error by the best range for all that must share it; of weights by scales a channel."""
    unlike_channels: float
    """Share of the channels with a largest value below 1/16 of the tensor's."""
    next_range: float | None = None
    """The next larger range (else the next smaller) that another table has for it."""
    next_table: str | None = None
    leader: str = ""
    """The tensor whose range it has; empty of weights."""
    errors: Mapping[float, float] = field(default_factory=dict)
    """Range that a table made of the calibration images has for it → sum of squared errors with it."""
    images: tuple[str, ...] = ()
    """Those on which it is clipped most; empty where it is not."""

    @property
    def avoidable(self) -> float:
        """Returns the share of its error that another range, or scales a channel, would not have."""
        return 0.0 if self.mse <= 0 else max(0.0, 1 - self.best_mse / self.mse)

    @property
    def causes(self) -> tuple[Cause, ...]:
        causes = []
        unlike_channels = self.unlike_channels >= UNLIKE_SHARE
        if self.weights:
            wrong = unlike_channels and self.avoidable > AVOIDABLE_WEIGHTS
            return (Cause.CHANNELS,) if wrong else ()
        if self.error_steps > CLIPPED_STEPS:
            causes.append(Cause.CLIPPED)
        if self.amax > 0 and self.range > WIDE * max(self.amax, self.shared_amax):
            causes.append(Cause.WIDE)
        if not causes and self.avoidable > AVOIDABLE:
            causes.append(Cause.RANGE)
        if unlike_channels:
            causes.append(Cause.CHANNELS)
        return tuple(causes)


@dataclass(frozen=True, slots=True)
class Clamp:
    """Relu or Clip, which alone reads a tensor: only what lies between its limits matters of that."""

    low: float
    high: float
    gives: str


def clamps(model: onnx.ModelProto) -> Mapping[str, Clamp]:
    """Returns tensor → what alone reads it and cuts it off.

    Its pair may have the range of what that gives (`scale_groups`): what lies beyond is no value that is lost.
    """
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    heads = {value.name for value in model.graph.output}
    clamps_of = {}
    for tensor, readers in graph.consumers(model).items():
        node = readers[0]
        if len(readers) != 1 or tensor in heads or node.op_type not in MONOTONE:
            continue
        limits = [0.0, math.inf] if node.op_type == "Relu" else [-math.inf, math.inf]
        for place, name in enumerate(node.input[1:3]):
            if name and name not in values:
                break  # a limit that is computed
            if name:
                limits[place] = float(numpy_helper.to_array(values[name]).reshape(()))
        else:
            clamps_of[tensor] = Clamp(limits[0], limits[1], node.output[0])
    return clamps_of


def weights_theory(
    name: str, weight: npt.NDArray[np.float32], given: npt.NDArray[np.float32], axis: int
) -> TensorTheory:
    """Returns what quantising a layer's weights costs on its own; `given` is what their integers stand for.

    The axis is that of the output channels.
    """
    error = np.asarray(given, np.float64) - weight
    others = tuple(other for other in range(weight.ndim) if other != axis)
    largest = np.abs(weight).max(axis=others, initial=0.0)
    best = _per_channel(weight, axis)
    scale = float(largest.max(initial=0.0)) / 127
    mse = float(np.mean(error**2)) if error.size else 0.0
    return TensorTheory(
        name=name,
        weights=True,
        scale=scale,
        elements=weight.size,
        error_steps=math.sqrt(mse) / scale if scale else 0.0,
        clipped_share=0.0,
        amax=float(largest.max(initial=0.0)),
        range=float(np.abs(given).max(initial=0.0)),
        mse=mse,
        best_mse=min(mse, best),
        unlike_channels=unlike(largest),
    )


def unlike(largest: npt.NDArray[np.floating]) -> float:
    """Returns the share of channels that use less than 1/16 of the range; those that are all zero do not count."""
    used = largest[largest > 0]
    return float(np.mean(used < used.max() / UNLIKE)) if used.size else 0.0


def best_of_known(theory: Iterable[TensorTheory]) -> Mapping[str, float]:
    """Returns tensor → of the ranges that tables have for it the one of least squared error.

    Tensors that share a range are summed up; one that costs the same with all of them is left out.
    """
    errors: dict[str, dict[float, float]] = {}
    for tensor in theory:
        known = errors.setdefault(tensor.leader, {})
        for amax, error in tensor.errors.items():
            known[amax] = known.get(amax, 0.0) + error
    return {
        leader: min(known, key=lambda amax: (known[amax], amax))
        for leader, known in errors.items()
        if len(set(known.values())) > 1
    }


def _per_channel(weight: npt.NDArray[np.float32], axis: int) -> float:
    """Returns the mean square error with amax / 127 of each output channel."""
    if not weight.size:
        return 0.0
    rows = np.moveaxis(np.asarray(weight, np.float64), axis, 0).reshape(weight.shape[axis], -1)
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    scale = np.where(scale > 0, scale, 1.0)
    return float(np.mean((np.clip(np.rint(rows / scale), -127, 127) * scale - rows) ** 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """Errors of one head as theory has them, Σd²/Σr²."""

    parts: float
    """The sum of what each quantiser costs on its own: rounding and clipping, propagated one by one."""
    rounding: float
    """The same with the best range for every activation and a scale a channel for all weights."""
    simulated: float
    """All quantisers together."""

    @property
    def trust(self) -> float | None:
        """Returns the sum of the parts over the whole: 1 where errors add up; None where nothing is lost."""
        return self.parts / self.simulated if self.simulated > 0 else None

    @property
    def beyond_db(self) -> float | None:
        """Returns how far the head is above what rounding alone predicts; None where either is 0."""
        if self.simulated <= 0 or self.rounding <= 0 or not math.isfinite(self.simulated):
            return None
        # Errors that do not add up would count as something wrong: the parts are held against their own.
        whole = min(self.simulated, self.parts) if self.parts > 0 else self.simulated
        return 10 * math.log10(whole / self.rounding)


BEYOND_DB = 3.0
"""So far above rounding alone a head is called wrong: at least half of its error could be avoided."""


def expected(
    alone: Mapping[tuple[Part, ...], float], theory: Mapping[Part, TensorTheory], simulated: float
) -> tuple[Expected, Mapping[tuple[Part, ...], float]]:
    """Returns what a head's error should be, and how much of it each set of parts could avoid.

    A part's share scales with its own mean square error, as noise does that is small enough to pass a
    network linearly.

    Args:
        alone: Parts that were switched on together → the head's error (Σd²/Σr²) with them alone.
        theory: Part → what it does to its own tensor.
        simulated: The head's error with all switched on.
    """
    avoidable = {parts: value * _avoidable(parts, theory) for parts, value in alone.items()}
    total = math.fsum(alone.values())
    rounding = total - math.fsum(avoidable.values())
    return Expected(parts=total, rounding=max(rounding, 0.0), simulated=simulated), avoidable


def _avoidable(parts: tuple[Part, ...], theory: Mapping[Part, TensorTheory]) -> float:
    known = [theory[part] for part in parts if part in theory]
    whole = math.fsum(tensor.mse for tensor in known)
    best = math.fsum(tensor.best_mse for tensor in known)
    return max(0.0, 1 - best / whole) if whole > 0 else 0.0
