from pathlib import Path
from typing import Any

import pytest

from tests.unit.experiments import changed, config
from trt_matrix.core.cells import Precision
from trt_matrix.environments.factory import axes_of, engine_options_of, environments_of

ORT: dict[str, Any] = {"venv": "onnxruntime", "versions": ["1.26.0"]}
ORT_GPU: dict[str, Any] = {"venv": "onnxruntime-gpu", "versions": ["1.26.0"]}
ON_CPU = {"options": {"provider": "CPUExecutionProvider"}}
NGC: dict[str, Any] = {"ngc": ["19.09-py3"]}


@pytest.mark.parametrize(
    ("entry", "kind"), [(ORT, "cpu"), (ORT_GPU, "gpu"), (ORT_GPU | ON_CPU, "cpu"), (NGC, "gpu")]
)
def test_an_entry_runs_where_its_provider_computes(entry: dict[str, Any], kind: str) -> None:
    one = config(changed(environments=[entry]))
    (axis,) = axes_of(one, environments_of(one, Path("/")), {})
    assert axis.devices == {kind}


def test_onnxruntime_offers_two_precisions() -> None:
    one = config(changed(environments=[ORT, NGC]))
    ort, ngc = axes_of(one, environments_of(one, Path("/")), {})
    assert ort.precisions == {Precision.FP32, Precision.INT8}
    assert ngc.precisions == set(Precision)


def test_the_engine_is_told_its_provider() -> None:
    options = engine_options_of(config(changed(environments=[ORT, ORT_GPU, NGC])))
    assert options["ort-1.26.0"]["provider"] == "CPUExecutionProvider"
    assert options["ort-gpu-1.26.0"]["provider"] == "CUDAExecutionProvider"
    assert options["ngc-19.09-py3"]["fallback"] == "fp32"


def test_options_are_those_of_the_engine_inside_and_of_the_entry() -> None:
    held = {"fp32_layers": ["up"], "workspace_bytes": 7}
    entries: list[dict[str, Any]] = [
        NGC,
        {"ngc": ["24.04-py3"], "name": "held", "options": held},
        {"interpreter": "p", "name": "installed", "engine": "tensorrt", "options": held},
        {"elsewhere": ["gpu-box"], "options": held},
        {"elsewhere": ["cuda-box"], "engine": "onnxruntime", "options": {"threads": 2}},
    ]
    options = engine_options_of(config(changed(environments=entries)))
    for name in ("held-24.04-py3", "installed", "gpu-box"):
        assert options[name]["fp32_layers"] == ["up"]
        assert options[name]["workspace_bytes"] == 7
    # Packs made before there was such an option must still find their answers.
    assert "fp32_layers" not in options["ngc-19.09-py3"]
    assert options["cuda-box"]["threads"] == 2
