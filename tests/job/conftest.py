"""Requests, and jobs on the fake TensorRT."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.job.two_heads import TENSORS, golden, network, write_request


@pytest.fixture
def request_folder(tmp_path: Path) -> Path:
    """A request folder with `golden` and all that it names."""
    folder = write_request(tmp_path / "request", golden())
    rng = np.random.default_rng(0)
    for name, count in (("evaluation", 4), ("calibration", 6)):
        images = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
        np.save(folder / f"{name}.npy", images)
    (folder / "model.onnx").write_bytes(network(["large", "small"]))
    (folder / "calibration.onnx").write_bytes(network(TENSORS[1:]))
    return folder


@pytest.fixture(scope="session")
def cudart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake CUDA runtime, compiled."""
    from tests.job.tensorrt_jobs import build_cudart

    return build_cudart(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def jobs(tmp_path: Path, cudart: Path) -> Any:
    """Runs jobs on the fake TensorRT: `tensorrt_jobs.Jobs`."""
    from tests.job.tensorrt_jobs import prepared

    return prepared(tmp_path, cudart)


@pytest.fixture(scope="module")
def adapter() -> Iterator[SimpleNamespace]:
    """The adapter's modules on the fake TensorRT 8.6.1; nothing of either stays imported."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_TENSORRT", "8.6.1")
        patch.syspath_prepend(str(Path(__file__).parents[1] / "fakes" / "tensorrt"))
        names = ("calibrators", "compiling", "custom", "layers", "log", "options", "scales")
        yield SimpleNamespace(
            **{name: importlib.import_module(f"job.engines.tensorrt.{name}") for name in names}
        )
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "tensorrt" or name.startswith("job.engines.tensorrt"):
            del sys.modules[name]
