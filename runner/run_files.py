"""What a finished run stored beside its records: its network, its tables, the engines' layers.

The report shows them; no verdict needs them. So what is gone, or cannot be read, is left out.
"""

from collections.abc import Collection, Mapping, Sequence

import onnx
import pydantic
from google.protobuf.message import DecodeError

from runner.core.layers.engine_layers import EngineLayer
from runner.core.layers.precisions import LayersOf
from runner.core.network.canonical import canonical
from runner.core.network.graph import GraphError
from runner.core.network.network_map import NetworkMap, network_map
from runner.core.qdq.scale_groups import scale_groups
from runner.core.tables.table import TableError, from_json
from runner.execution.answers import LayersAnswer
from runner.records import Manifest, Object
from runner.store import Run, Store


def model_of(run: Run, manifest: Manifest) -> onnx.ModelProto | None:
    """Returns the network that the run was made of; None where that is gone."""
    model = manifest.facts.get("model")
    digest = model.get("sha256") if isinstance(model, dict) else None
    if not isinstance(digest, str):
        return None
    path = run.store.path(Object(sha256=digest, suffix=".onnx", size_bytes=0))
    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
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


def scaled_tensors(model: onnx.ModelProto | None) -> Collection[str] | None:
    """Returns the tensors of a network whose range decides a scale; None where it is gone."""
    if model is None:
        return None
    try:
        return frozenset(scale_groups(canonical(model)).values())
    except GraphError:
        return None


def ranges_of(run: Run, manifest: Manifest) -> dict[str, Mapping[str, float]]:
    """Returns table's digest → tensor → amax, for the tables that are still in the run's folder."""
    found: dict[str, Mapping[str, float]] = {}
    for digest in manifest.tables:
        path = run.folder / "tables" / f"{digest[:12]}.json"
        try:
            table = from_json(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, TableError):
            continue
        if table.digest == digest:
            found[digest] = table.amax
    return found


def layers_of(store: Store) -> LayersOf:
    """Returns the way to the layers that an engine told."""

    def read(stored: Object) -> Sequence[EngineLayer] | None:
        try:
            content = store.path(stored).read_bytes()
            answer = LayersAnswer.model_validate_json(content)
        except (OSError, pydantic.ValidationError):
            return None
        return [EngineLayer(tensors=one.tensors, precision=one.precision) for one in answer.layers]

    return read
