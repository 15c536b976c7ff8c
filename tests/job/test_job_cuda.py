"""The ctypes layer against a CUDA runtime on host memory: every code checked, everything freed."""

import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from job.engines import cuda
from tests.job.tensorrt_jobs import build_cudart
from tests.unit.programs import ran

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_cudart(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, library: Path) -> cuda.Cuda:
    monkeypatch.setattr(cuda, "candidates", lambda _maps: iter([str(library)]))
    return cuda.Cuda(0)


@pytest.fixture
def resources(gpu: cuda.Cuda) -> Iterator[cuda.Resources]:
    made = cuda.Resources(gpu)
    yield made
    made.close()


def test_a_round_trip(gpu: cuda.Cuda, resources: cuda.Resources) -> None:
    there, back = resources.host_array((2, 3), np.float32), resources.host_array((2, 3), "<f4")
    there[...] = np.arange(6).reshape(2, 3)
    address, stream = resources.memory(there.nbytes), resources.stream()
    start, end = resources.event(), resources.event()
    assert all(type(one) is int for one in (address, stream, start, end))
    gpu.call("cudaEventRecord", (start, stream))
    cuda.upload(gpu, address, there, stream)
    cuda.download(gpu, back, address, stream)
    gpu.call("cudaEventRecord", (end, stream))
    gpu.call("cudaStreamSynchronize", (stream,))
    np.testing.assert_array_equal(back, there)
    assert 0 < cuda.elapsed_s(gpu, start, end) < 10


def test_facts(gpu: cuda.Cuda) -> None:
    assert gpu.facts() == {
        "device": 0,
        "pci_bus_id": "0000:01:00.0",
        "clock_khz": 1,
        "compute_capability_major": 9,
        "compute_capability_minor": 0,
        "multiprocessors": 1,
        "runtime": 12010,
        "driver": 12020,
    }


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("cudaMalloc", lambda made: made.memory(1)),
        ("cudaMallocHost", lambda made: made.host_array((1,), np.float32)),
        ("cudaStreamCreateWithFlags", lambda made: made.stream()),
        ("cudaEventCreate", lambda made: made.event()),
        ("cudaSetDevice", lambda _made: cuda.Cuda(0)),
        ("cudaGetDeviceCount", lambda _made: cuda.Cuda(0)),
    ],
)
def test_every_code_is_checked(
    resources: cuda.Resources,
    monkeypatch: pytest.MonkeyPatch,
    library: Path,
    name: str,
    call: Callable[[cuda.Resources], object],
) -> None:
    monkeypatch.setenv("FAKE_CUDART_FAIL", f"{name}:{counted(library, name) + 1}")
    with pytest.raises(cuda.CudaError, match=f"^{name}: error [0-9]+, cudaError"):
        call(resources)


def counted(library: Path, name: str) -> int:
    """Returns how often `name` was told to fail so far: the fake counts while it is told."""
    return ctypes.CDLL(str(library)).fakeCalls(name.encode())


def test_what_was_freed_is_not_freed_again(gpu: cuda.Cuda) -> None:
    made = cuda.Resources(gpu)
    address = made.memory(8)
    made.close()
    made.close()
    with pytest.raises(cuda.CudaError, match="cudaFree: error 1, cudaErrorInvalidValue"):
        gpu.call("cudaFree", (address,))


def test_the_rest_is_freed_where_one_call_fails(
    gpu: cuda.Cuda, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cuda.Resources(gpu)
    addresses = [made.memory(8) for _ in range(3)]
    monkeypatch.setenv("FAKE_CUDART_FAIL", f"cudaFree:{counted(library, 'cudaFree') + 1}")
    with pytest.raises(cuda.CudaError, match="cudaFree"):
        made.close()
    monkeypatch.delenv("FAKE_CUDART_FAIL")
    for address in addresses[:2]:
        with pytest.raises(cuda.CudaError):
            gpu.call("cudaFree", (address,))
    gpu.call("cudaFree", (addresses[2],))


def test_copies_are_within_memory(gpu: cuda.Cuda, resources: cuda.Resources) -> None:
    array, stream = np.zeros(4, np.float32), resources.stream()
    with pytest.raises(cuda.CudaError, match="cudaMemcpyAsync"):
        cuda.upload(gpu, resources.memory(8), array, stream)


def test_candidates_begin_with_the_runtime_that_is_loaded() -> None:
    maps = "7f00-7f01 r-xp 0000 08:01 1  /opt/a b/libcudart.so.11.0\n7f02-7f03 r-xp 0 0:0 0\n"
    found = list(cuda.candidates(maps))
    assert found[:3] == ["/opt/a b/libcudart.so.11.0", "libcudart.so", "libcudart.so.13"]


def test_no_runtime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cuda, "candidates", lambda _maps: iter(["absent.so", "absent.so", "other.so"])
    )
    with pytest.raises(cuda.CudaError, match="tried: absent.so, other.so; install it, or add"):
        cuda.Cuda(0)


def test_the_wheel_of_nvidia_is_found(tmp_path: Path, library: Path) -> None:
    folder = tmp_path / "nvidia" / "cuda_runtime" / "lib"
    folder.mkdir(parents=True)
    shutil.copy(library, folder / "libcudart.so.12")
    code = "from job.engines import cuda; print(list(cuda.candidates(''))); "
    done = ran(
        sys.executable,
        "-c",
        code,
        env={**os.environ, "PYTHONPATH": f"{Path(cuda.__file__).parents[2]}:{tmp_path}"},
    )
    # Before any of the system's: CUDA 13 there would not run with the driver of this one.
    assert done.stdout.startswith(f"['{folder / 'libcudart.so.12'}', ")
