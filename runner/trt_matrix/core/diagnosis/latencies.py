"""Measured time of an engine's layers → share of each layer that multiplies; pure.

TensorRT tells it by fused layers: `conv1 + PWN(PWN(act/Sigmoid), act/Mul)`, `conv2 || conv3`, and what it adds itself
(`Reformatting CopyNode for Input Tensor 0 to conv1`). Which layers of the network are in one, our own job tells by the
tensors that they give out; what trtexec's --exportProfile wrote has the names alone.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import onnx
import pydantic

from trt_matrix.core.layers.engine_layers import LayerTime
from trt_matrix.core.network.graph import producers

NO_TIME = "no layer in it took any time"

LEAST_NAMED = 0.9
"""Share of the multiply-accumulates in layers that a profile must name."""

_PARTS = re.compile(r"\s\+\s|\s\|\|\s|,\s|[()]")
_ADDED = re.compile(r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to ")


class ProfileError(ValueError):
    """A profile that cannot be read, or is not of this network."""


class _Layer(pydantic.BaseModel):
    name: str
    averageMs: Annotated[float, pydantic.Field(ge=0, le=1e9, allow_inf_nan=False)]  # noqa: N815 - trtexec's


_LAYERS = pydantic.TypeAdapter(list[_Layer])


def is_reformatting(layer: str) -> bool:
    """Whether TensorRT added a layer of this name to turn a tensor into another format or type."""
    return _ADDED.match(layer) is not None


def read_profile(content: bytes) -> Mapping[str, float]:
    """Returns layer of an engine → average milliseconds, of what `trtexec --exportProfile` writes.

    Raises:
        ProfileError: it is no such file.
    """
    try:
        entries = pydantic.TypeAdapter(list[dict[str, object]]).validate_json(content)
        layers = _LAYERS.validate_python([entry for entry in entries if "name" in entry])
    except (pydantic.ValidationError, RecursionError) as error:
        message = (
            "it is no list of layers with name and averageMs, as trtexec --exportProfile writes"
        )
        raise ProfileError(message) from error
    times: dict[str, float] = {}
    for layer in layers:
        times[layer.name] = times.get(layer.name, 0.0) + layer.averageMs
    if not sum(times.values()) > 0:
        raise ProfileError(NO_TIME)
    return times


@dataclass(frozen=True, slots=True)
class TimedLayer:
    """What one layer of an engine took."""

    time: float
    """In the unit of the others."""
    layers: frozenset[str]
    """Layers of the network in it that multiply; none where the engine added it, or it has none."""


def by_name(profile: Mapping[str, float], layers: Collection[str]) -> list[TimedLayer]:
    """Returns what trtexec told: layer of the engine → time; `layers` are those that multiply."""
    timed = []
    for name, time in profile.items():
        parts = [name] if name in layers else [part.strip() for part in _PARTS.split(name)]
        timed.append(TimedLayer(time, _own(name, parts, layers)))
    return timed


def by_tensors(
    layer_times: Iterable[LayerTime], model: onnx.ModelProto, layers: Collection[str]
) -> list[TimedLayer]:
    """Returns what our own job told of a network's engine; `layers` are those that multiply."""
    makers = producers(model)
    timed = []
    for layer in layer_times:
        parts = [makers[tensor].name for tensor in layer.tensors if tensor in makers]
        timed.append(TimedLayer(layer.seconds, _own(layer.name, parts, layers)))
    return timed


def _own(name: str, parts: Iterable[str], layers: Collection[str]) -> frozenset[str]:
    """Returns which of `layers` are in one of the engine's: one that only reformats is called after others."""
    return frozenset(() if is_reformatting(name) else layers).intersection(parts)


def work_shares(work: Mapping[str, int]) -> Mapping[str, float]:
    """Returns layer that multiplies → its share of the multiply-accumulates, 0 to 1."""
    total = max(1, sum(work.values()))
    return {layer: work[layer] / total for layer in work}


def latency_shares(profile: Collection[TimedLayer], work: Mapping[str, int]) -> Mapping[str, float]:
    """Returns layer of the network → its share of the time, 0 to 1.

    What an engine fused belongs to the layers in it that multiply, by their multiply-accumulates; the time of
    what it is told of no such layer (reformatting, resizing) to none.

    `work` has the multiply-accumulates of every layer of the network that multiplies.

    Raises:
        ProfileError: it names too few of the layers, or none took any time.
    """
    total = sum(layer.time for layer in profile)
    if not total > 0:
        raise ProfileError(NO_TIME)
    shares = dict.fromkeys(work, 0.0)
    named: set[str] = set()
    for timed in profile:
        named |= timed.layers
        weight = sum(work[layer] for layer in timed.layers)
        for layer in timed.layers:
            part = work[layer] / weight if weight else 1 / len(timed.layers)
            shares[layer] += timed.time / total * part
    known = sum(work[layer] for layer in named)
    if known < LEAST_NAMED * sum(work.values()):
        lacking = [layer for layer in work if layer not in named]
        message = (
            f"it names {len(named)} of the {len(work)} layers that multiply, not {lacking[0]!r}: is it of this "
            "network's engine?"
        )
        raise ProfileError(message)
    return shares
