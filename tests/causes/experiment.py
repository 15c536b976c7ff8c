"""The matrix.yaml of a known cause and its run, by the way that a user goes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.causes.scene import HEADS, network, write_images
from trt_matrix.commands import session
from trt_matrix.commands.console import chosen
from trt_matrix.judging.outcome import Outcome

OLD, NEW = "1.26.0", "1.32.0"
BASELINE = f"ort-{NEW}"

INT8 = {"session.qdqisint8allowed": "1"}
TANH = {"optimization.enable_gelu_approximation": "1"}
UNQUANTISED = {"session.disable_quant_qdq": "1"}
"""No integer kernels: every layer computes in float between its Q/DQ, which still round."""
CLEANED = {"session.enable_quant_qdq_cleanup": "1"}
"""Q directly before DQ is removed: nothing rounds any more."""

SCALED = """\
from job import thresholds

_whole = thresholds.threshold
thresholds.threshold = lambda *arguments: 0.8 * _whole(*arguments)
thresholds.READS["minmax"] = thresholds.ORDER_FREE  # it clips now, and how much is counted
"""
"""A sitecustomize: the calibrator of whoever imports it gives 0.8 of every range."""


def write(folder: Path) -> None:
    """Writes the network and its images."""
    (folder / "scene.onnx").write_bytes(network().SerializeToString())
    write_images(folder / "calibration", 16, seed=1)
    write_images(folder / "dark", 16, seed=2, brightness=0.1)
    write_images(folder / "evaluation", 32, seed=3)
    (folder / "scaled").mkdir()
    (folder / "scaled" / "sitecustomize.py").write_text(SCALED)


def run(folder: Path, *, calibration: str, environments: Sequence[Mapping[str, Any]]) -> Outcome:
    """Runs one experiment in a folder of `write`; runs share what they measured alike."""
    source = folder / f"{calibration}.yaml"
    source.write_text(yaml.safe_dump(_settings(calibration, environments)))
    with chosen(quiet=True, as_json=False) as progress:
        return session.run_experiment(
            source, folder / "results", select=[], offline=False, progress=progress
        )


def packaged(*versions: str) -> Mapping[str, Any]:
    """Returns environments `ort-VERSION`."""
    return {"venv": "onnxruntime", "versions": list(versions)}


def with_options(name: str, *entries: Mapping[str, str]) -> Mapping[str, Any]:
    """Returns the environment `NAME-1.32.0`: the baseline's, but for its session's configuration."""
    config = {key: value for entry in entries for key, value in entry.items()}
    return {
        "venv": "onnxruntime",
        "versions": [NEW],
        "name": name,
        "options": {"threads": 1, "session_config": config},
    }


def installed(name: str, python: Path, **variables: str) -> Mapping[str, Any]:
    """Returns an environment of an interpreter that is there already."""
    return {"interpreter": str(python), "name": name, "env": variables}


def _settings(calibration: str, environments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    gated = {"gate": {"sqnr_db": 20}}
    return {
        "name": calibration,
        "model": {"onnx": "scene.onnx"},
        "heads": {head: gated if head in ("plain", "wide") else {} for head in HEADS},
        "data": {"calibration": {"images": calibration}, "evaluation": {"images": "evaluation"}},
        "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
        # What is accused of what is asked here, not what would help.
        "quantisation": {"mixed": None},
        "repeats": 2,
        "baseline": BASELINE,
        "environments": list(environments),
        "engines": {"onnxruntime": {"threads": 1}},
        "timing": {"min_samples": 1, "max_samples": 1, "max_s": 0.001, "warm_up_max_s": 0.0},
    }
