"""What real engines gave on H200s, judged again: tests/data/h200, tests/data/cudnn, docs/reference/verified.md."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pydantic

from tests.gpu.keep import read
from trt_matrix.core.answers.bridges import with_bridges
from trt_matrix.core.answers.choices import with_choices
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.simulated import simulated
from trt_matrix.core.answers.slow import with_slow
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.judge import judge
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.choices import choices
from trt_matrix.core.layers.engine_layers import EngineLayer, LayerTimes
from trt_matrix.core.layers.precisions import layer_report
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.core.records import Record, StoredObject

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "h200"
CUDNN = ROOT / "tests" / "data" / "cudnn"
"""ONNX Runtime's CUDA provider on two versions of cuDNN."""


def times_of(data: Path) -> Mapping[str, LayerTimes]:
    """Returns SHA-256 of layers.json → what its layers took; empty where no build told it."""
    return pydantic.TypeAdapter(dict[str, LayerTimes]).validate_json(read(data, "times.json"))


@dataclass(frozen=True, slots=True)
class Recorded:
    manifest: Manifest
    records: Sequence[Record]
    evidence: Evidence
    network: NetworkMap
    layers_of: Callable[[StoredObject], Sequence[EngineLayer]]


def recorded(data: Path = DATA) -> Recorded:
    """Returns what was kept of the runs, as the judging wants it."""
    manifest = Manifest.model_validate_json(read(data, "manifest.json"))
    records = [Record.model_validate(content) for content in json.loads(read(data, "records.json"))]
    sums: Mapping[str, Sums] = dict(np.load(data / "sums.npz"))
    layers = json.loads(read(data, "layers.json"))

    def sums_of(y: StoredObject, r: StoredObject) -> Sums:
        return sums[f"{y.sha256}-{r.sha256}"]

    def layers_of(stored: StoredObject) -> Sequence[EngineLayer]:
        return [
            EngineLayer(tensors=tuple(tensors), precision=precision)
            for tensors, precision in layers[stored.sha256]
        ]

    heads = [(head.head, head.head) for head in manifest.heads]
    return Recorded(
        manifest,
        records,
        Evidence(manifest, [record.planned() for record in records], records, sums_of),
        network_map(onnx.load(ROOT / "demo" / "digits3.onnx"), heads),
        layers_of,
    )


def judged(data: Path = DATA) -> Judgement:
    kept = recorded(data)
    evidence, network, records = kept.evidence, kept.network, kept.records
    times = times_of(data)
    judgement = with_choices(
        judge(evidence), choices(network, records, kept.layers_of, evidence.sqnr_of)
    )
    judgement = replace(judgement, layers=layer_report(network, records, kept.layers_of))
    judgement = with_slow(judgement, records, lambda stored: times.get(stored.sha256))
    return with_fixes(with_bridges(judgement), simulated(evidence))
