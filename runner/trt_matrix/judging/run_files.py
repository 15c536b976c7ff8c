"""What a finished run stored beside its records: its network, its tables, the engines' layers.

The report shows them; no verdict needs them. So what is gone, or cannot be read, is left out.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

import onnx
import pydantic
from google.protobuf.message import DecodeError

from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.layers.deciding import Deciding
from trt_matrix.core.layers.engine_layers import EngineLayer, LayerTime, LayerTimes
from trt_matrix.core.layers.precisions import LayersOf
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.core.qdq.explicit import deciding
from trt_matrix.core.qdq.placements import Placed, placed_of
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.table import TableError, from_json
from trt_matrix.errors import StoreError
from trt_matrix.execution.answer_models import LayersAnswer
from trt_matrix.store.results import RunFolder, Store

DIAGNOSIS = "diagnosis.json"
"""In the folder of a run that was diagnosed."""


def model_of(run: RunFolder, manifest: Manifest) -> onnx.ModelProto | None:
    """Returns the network that the run was made of; None where that is gone."""
    model = manifest.facts.get("model")
    digest = model.get("sha256") if isinstance(model, dict) else None
    if not isinstance(digest, str):
        return None
    try:
        path = run.store.path(StoredObject(sha256=digest, suffix=".onnx", size_bytes=0))
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError, StoreError):
        return None


def network_of(manifest: Manifest, model: onnx.ModelProto | None) -> NetworkMap | None:
    """Returns the map of a run's network; None where that is gone."""
    if model is None:
        return None
    asked = dict(manifest.asked.heads) if manifest.asked else {}
    heads = [(gate.head, asked.get(gate.head, gate.head)) for gate in manifest.heads]
    try:
        return network_map(model, heads)
    except GraphError:
        return None


def deciding_of(model: onnx.ModelProto | None) -> Deciding | None:
    """Returns whose ranges decide a scale in a placement of a network; None where the network is gone."""
    if model is None:
        return None
    try:
        form = canonical(model)
    except GraphError:
        return None

    @cache
    def found(placed: Placed, ranged: frozenset[str], held: frozenset[str]) -> tuple[str, ...]:
        kept = {node.name for node in form.graph.node if held & {node.name, *node.output}}
        return deciding(form, ranged, replace(placed.options(), exclude=frozenset(kept)))

    def of(
        placement: str, ranged: Collection[str], *, implicit: bool, held: Collection[str]
    ) -> Collection[str]:
        placed = placed_of(placement)
        if placed is None:
            return ()
        placed = replace(placed, in_float="", int8_outputs=placed.int8_outputs and not implicit)
        return found(placed, frozenset(ranged), frozenset(held))

    return of


def ranges_of(run: RunFolder, manifest: Manifest) -> dict[str, Mapping[str, float]]:
    """Returns table's digest → tensor → amax, for the tables that are still in the run's folder."""
    ranges: dict[str, Mapping[str, float]] = {}
    for digest in manifest.tables:
        path = run.folder / "tables" / f"{digest[:12]}.json"
        try:
            table = from_json(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, TableError):
            continue
        if table.digest == digest:
            ranges[digest] = table.amax
    return ranges


def diagnosis_of(run: RunFolder) -> Diagnosis | None:
    """Returns what `diagnose` found of a run; None where it was not asked, or what it wrote cannot be read."""
    try:
        return Diagnosis.model_validate_json((run.folder / DIAGNOSIS).read_bytes())
    except (OSError, pydantic.ValidationError):
        return None


def layers_of(store: Store) -> LayersOf:
    """Returns the way to the layers that an engine told."""

    def read(stored: StoredObject) -> Sequence[EngineLayer] | None:
        answer = _layers(store, stored)
        if answer is None:
            return None
        return [
            EngineLayer(tensors=layer.tensors, precision=layer.precision) for layer in answer.layers
        ]

    return read


def times_of(store: Store) -> Callable[[StoredObject], LayerTimes | None]:
    """Returns the way to what an engine's layers took; None where that is gone, or was not told."""

    def read(stored: StoredObject) -> LayerTimes | None:
        answer = _layers(store, stored)
        if answer is None or answer.times is None or answer.times.problem or not answer.times.runs:
            return None
        return LayerTimes(
            runs=answer.times.runs,
            layers=tuple(
                LayerTime(name=layer.name, tensors=layer.tensors, seconds=layer.seconds)
                for layer in answer.times.layers
            ),
        )

    return read


def problem_of(store: Store) -> Callable[[StoredObject], str | None]:
    """Returns the way to why an engine's layers were not timed; None where they were, or were not to be."""

    def read(stored: StoredObject) -> str | None:
        answer = _layers(store, stored)
        return answer.times.problem if answer and answer.times else None

    return read


def _layers(store: Store, stored: StoredObject) -> LayersAnswer | None:
    try:
        return LayersAnswer.model_validate_json(store.path(stored).read_bytes())
    except (OSError, StoreError, pydantic.ValidationError):
        return None
