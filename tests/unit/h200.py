"""What real engines gave on H200s, judged again: tests/data/h200, tests/data/cudnn, docs/verified.md."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from runner.core.answers.bridges import with_bridges
from runner.core.answers.choices import with_choices
from runner.core.evidence import Evidence
from runner.core.judge import judge
from runner.core.judgement import Judgement
from runner.core.layers.choices import choices
from runner.core.layers.engine_layers import EngineLayer
from runner.core.layers.precisions import layer_report
from runner.core.metrics import Sums
from runner.core.network.network_map import network_map
from runner.records import Manifest, Object, Record

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "h200"
CUDNN = ROOT / "tests" / "data" / "cudnn"
"""ONNX Runtime's CUDA provider on two versions of cuDNN."""


def judged(data: Path = DATA) -> Judgement:
    manifest = Manifest.model_validate_json((data / "manifest.json").read_bytes())
    records = [
        Record.model_validate(one) for one in json.loads((data / "records.json").read_text())
    ]
    sums: Mapping[str, Sums] = dict(np.load(data / "sums.npz"))
    layers = json.loads((data / "layers.json").read_text())

    def sums_of(y: Object, r: Object) -> Sums:
        return sums[f"{y.sha256}-{r.sha256}"]

    def layers_of(stored: Object) -> Sequence[EngineLayer] | None:
        return [
            EngineLayer(tensors=tuple(tensors), precision=precision)
            for tensors, precision in layers[stored.sha256]
        ]

    found = Evidence(manifest, [one.planned() for one in records], records, sums_of)
    heads = [(one.head, one.head) for one in manifest.heads]
    network = network_map(onnx.load(ROOT / "demo" / "digits3.onnx"), heads)
    told = with_choices(judge(found), choices(network, records, layers_of, found.sqnr_of))
    return with_bridges(replace(told, layers=layer_report(network, records, layers_of)))
