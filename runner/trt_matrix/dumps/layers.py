"""What a program recorded of its engine's layers, as `layers.json` of the job protocol has it.

    trtexec --exportLayerInfo=layers.json --profilingVerbosity=detailed     TensorRT's engine inspector
    trtexec --exportProfile=profile.json --separateProfileRun               samples/common/sampleReporting.cpp

The first tells which precision each layer computes in (and says names alone without `detailed`), the second
what each takes. Any program gets the same from `IEngineInspector` and `IProfiler`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.containers.job import layer_information, protocol
from trt_matrix.core.diagnosis.latencies import read_profile
from trt_matrix.dumps.table_file import content_of

MOST_RUNS = 1_000_000_000
DETAILED = "build with --profilingVerbosity=detailed"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFiles:
    """As matrix.yaml names them."""

    information: Path | None = None
    profile: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.information, self.profile) if path is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenLayers:
    answer: Mapping[str, Any] | None
    """layers.json; None where nothing of it can be used."""
    notes: tuple[str, ...] = ()
    """Why something is not used, or says less than it might."""


def take_layers(files: LayerFiles, model: onnx.ModelProto) -> TakenLayers:
    """Reads what was recorded of layers, at least one file; says why it is not used rather than raise.

    `model` is the network as the program is said to have built it: its nodes' names are in the layers'.
    """
    network = layers_of(model)
    notes: list[str] = []
    answer: dict[str, Any] | None = None
    if files.information is not None:
        answer = _information(files.information, network, notes)
    if files.profile is not None and (times := _times(files.profile, network, notes)):
        if answer is None:
            names = [layer["name"] for layer in times["layers"]]
            answer = {"source": "profiler", "layers": layer_information.named(names, network)}
        answer["times"] = times
    if answer is None:
        return TakenLayers(answer=None, notes=tuple(notes))
    return TakenLayers(
        answer={"schema_version": protocol.SCHEMA_VERSION, "custom": [], **answer},
        notes=tuple(notes),
    )


def layers_of(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Returns layer → the tensors that it gives out, named as TensorRT's ONNX parser names layers.

    A node without a name is `node_of_TENSOR` (onnx/onnx-tensorrt, getNodeName in onnx2trt_utils.cpp).
    """
    by_layer: dict[str, list[str]] = {}
    for node in model.graph.node:
        outputs = [tensor for tensor in node.output if tensor]
        if outputs:
            by_layer.setdefault(node.name or f"node_of_{outputs[0]}", []).extend(outputs)
    return by_layer


def _information(
    path: Path, network: Mapping[str, list[str]], notes: list[str]
) -> dict[str, Any] | None:
    try:
        value = json.loads(content_of(path), strict=False)
        if not isinstance(value, dict) or not isinstance(value.get("Layers"), list):
            raise ValueError("it has no list of `Layers`, as trtexec --exportLayerInfo writes")
        layers = layer_information.inspected(value, network)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        notes.append(f"{path.name}: its layers are not used: {_reason(error)}")
        return None
    if not any(layer["origin"] for layer in layers):
        notes.append(
            f"{path.name}: its layers are not used: none of its {len(layers)} names a node of this network"
        )
        return None
    if all(layer["precision"] is None for layer in layers):
        notes.append(f"{path.name} has names of layers alone, and no precisions: {DETAILED}")
    return {"source": "inspector", "layers": layers}


def _times(path: Path, network: Mapping[str, list[str]], notes: list[str]) -> dict[str, Any] | None:
    """Returns `job.protocol`'s `times`: seconds of a layer and run."""
    try:
        content = content_of(path)
        profile = read_profile(content)
    except (OSError, ValueError) as error:
        notes.append(f"{path.name}: its times are not used: {_reason(error)}")
        return None
    layers = layer_information.named(list(profile), network)
    if not any(layer["origin"] for layer in layers):
        notes.append(
            f"{path.name}: its times are not used: none of its {len(layers)} layers names a node of this network"
        )
        return None
    return {
        "runs": _runs(json.loads(content)),
        "layers": [
            {
                "name": layer["name"],
                "tensors": layer["tensors"],
                "seconds": profile[layer["name"]] / 1000,
            }
            for layer in layers
        ],
        "problem": None,
    }


def _runs(entries: Sequence[Mapping[str, Any]]) -> int:
    """Returns over how many runs a profile was taken, 1 where that is not told: there was one."""
    counts = [entry["count"] for entry in entries if isinstance(entry.get("count"), int)]
    return min(max([1, *map(int, counts)]), MOST_RUNS)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
