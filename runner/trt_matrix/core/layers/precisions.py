"""In which precision each layer ran, in every int8 cell: from what the engines told of themselves.

TensorRT tells its layers one by one (layers.json). ONNX Runtime's graph was reduced to shares when
it was measured: from those a layer's precision is told where they leave no choice, else it is not.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.cells import Precision
from trt_matrix.core.evidence import good
from trt_matrix.core.layers.engine_layers import INT8, EngineLayer
from trt_matrix.core.layers.executed import OTHERS
from trt_matrix.core.network.network_map import NetworkMap
from trt_matrix.core.records import IntegerShare, Measurement, Record, Start, StoredObject

FLOAT = "float"
"""In floating point, and it was not told in which."""

Ran = Mapping[str, str]
"""Layer → the precision that it ran in; layers of which that is not known are left out."""

LayersOf = Callable[[StoredObject], Sequence[EngineLayer] | None]
"""layers.json of the store → its layers; None where it is gone, or cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPrecisions:
    """One way in which the layers ran."""

    cells: tuple[str, ...]
    """Ids of the cells that ran so; one whose builds ran in several ways is in each."""
    precisions: Ran


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    network: NetworkMap
    ways: tuple[LayerPrecisions, ...] = ()
    """Each once, in the order of their first cells."""
    untold: tuple[str, ...] = ()
    """Int8 cells of which no layer's precision is known."""


def held_layers(start: Start | None) -> frozenset[str]:
    """Returns the layers, or tensors that they make, that the matrix kept out of int8 by `fp32_layers`."""
    return named_layers(start.probe) if start else frozenset()


def named_layers(probe: Mapping[str, Any]) -> frozenset[str]:
    """Returns the same of what was probed: the options that the job was started with."""
    engine = probe.get("engine")
    options = engine.get("options") if isinstance(engine, Mapping) else None
    named = options.get("fp32_layers") if isinstance(options, Mapping) else None
    return frozenset(map(str, named)) if isinstance(named, list) else frozenset()


def layer_report(
    network: NetworkMap, records: Iterable[Record], layers_of: LayersOf
) -> LayerReport:
    """Groups the measured int8 cells by the precisions of their layers."""
    ways: dict[tuple[tuple[str, str], ...], list[str]] = {}
    untold: list[str] = []
    for record in records:
        measured = good(record)
        if record.pass_.precision is not Precision.INT8 or not measured:
            continue
        exclude = record.pass_.exclude
        of_builds = [_ran(network, measurement, layers_of, exclude) for measurement in measured]
        for ran in dict.fromkeys(
            tuple(sorted(precisions.items())) for precisions in of_builds if precisions
        ):
            ways.setdefault(ran, []).append(record.cell)
        if not any(of_builds):
            untold.append(record.cell)
    return LayerReport(
        network=network,
        ways=tuple(
            LayerPrecisions(cells=tuple(cells), precisions=dict(key)) for key, cells in ways.items()
        ),
        untold=tuple(untold),
    )


def _ran(
    network: NetworkMap, measurement: Measurement, layers_of: LayersOf, excluded: Collection[str]
) -> Ran:
    layers = layers_of(measurement.layers) if measurement.layers else None
    if layers:
        return from_layers(network, layers)
    return from_shares(network, measurement.shares or {}, excluded)


def from_layers(network: NetworkMap, layers: Iterable[EngineLayer]) -> Ran:
    """Returns what TensorRT told, by the tensors that its layers give out in the network."""
    by_tensor = ((tensor, layer.precision) for layer in layers for tensor in layer.tensors)
    precisions = {tensor: precision for tensor, precision in by_tensor if precision}
    outputs = ((layer.name, tensor) for _, layer in network.layers for tensor in layer.outputs)
    return {name: precisions[tensor] for name, tensor in outputs if tensor in precisions}


def from_shares(
    network: NetworkMap, shares: Mapping[str, IntegerShare], excluded: Collection[str] = ()
) -> Ran:
    """Returns what the shares of the heads leave no choice about.

    Layers that multiply: those named, or `excluded` from quantisation, are in float; the others are on integers where
    they account for all integer multiply-accumulates of the head. Other operators: where a head has all of its kind
    on the same side.
    """
    precisions: dict[str, str] = {}
    for head, share in shares.items():
        cone = [layer for part, layer in network.layers if head in part.heads]
        floats = {*share.float_layers, *share.placed_float, *excluded}
        precisions |= {layer.name: FLOAT for layer in cone if layer.macs and layer.name in floats}
        rest = [layer for layer in cone if layer.macs and layer.name not in floats]
        if sum(layer.macs for layer in rest) == share.integer_macs:
            precisions |= {layer.name: INT8 for layer in rest}
        elif share.integer_macs == 0:
            precisions |= {layer.name: FLOAT for layer in rest}
        kinds = Counter(layer.operator for layer in cone)
        for kind in OTHERS & kinds.keys():
            sides = share.integer_operators.get(kind, 0), share.float_operators.get(kind, 0)
            if sides in ((kinds[kind], 0), (0, kinds[kind])):
                side = INT8 if sides[0] else FLOAT
                precisions |= {layer.name: side for layer in cone if layer.operator == kind}
    return precisions
