"""What `trt-matrix doctor` prints, and its exit code."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.unit.experiments import changed
from tests.unit.hosts import gpu, host
from trt_matrix.commands import doctor
from trt_matrix.commands.doctor import examine
from trt_matrix.core.hosts.compatibility import HostFacts
from trt_matrix.environments import preflight
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.docker import hosts
from trt_matrix.errors import ExitCode

NO_GPU = HostFacts(
    docker_version="28.2.2", driver_problem="no NVIDIA driver", disk_free_bytes=10**11
)
NO_DOCKER = HostFacts(docker="Docker does not answer", driver_problem="no NVIDIA driver")


def this_machine(monkeypatch: pytest.MonkeyPatch, here: HostFacts, **driver: Any) -> None:
    cuda = "13.0" if here.driver else None
    facts = Driver(
        version=here.driver, problem=here.driver_problem, gpus=here.gpus, cuda=cuda, **driver
    )
    for module in (doctor, preflight):
        monkeypatch.setattr(module, "this_driver", lambda: facts)
        monkeypatch.setattr(module, "this_host", lambda: here)


def written(folder: Path, **places: Any) -> Path:
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(changed(**places)))
    return path


def test_without_a_matrix_it_tells_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    this_machine(monkeypatch, NO_GPU)
    report = examine(tmp_path / "matrix.yaml")
    text = report.text()
    assert report.exit_code() is ExitCode.OK
    assert "driver      no NVIDIA driver" in text
    assert "docker      28.2.2, no NVIDIA runtime, no CDI" in text
    assert "disk        100 GB free for images" in text
    assert "matrix.yaml: not there; `trt-matrix init MODEL.onnx` writes one" in text


def test_every_environment_of_the_matrix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this_machine(monkeypatch, NO_GPU)
    report = examine(written(tmp_path, devices=["cpu", "gpu:*"]))
    lines = report.text().splitlines()
    assert "  ort-1.26.0     cpu    can run" in lines
    assert "  ngc-19.09-py3  gpu:*  unavailable: no NVIDIA driver" in lines
    assert "2 of 3 can run here" in lines
    assert lines[-1].startswith("to do: for the cells on GPUs, install NVIDIA's driver")
    assert report.exit_code() is ExitCode.COULD_NOT_RUN


def test_all_can_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this_machine(monkeypatch, host(gpu("T4"), gpu("T4", 1)))
    report = examine(written(tmp_path, devices=["cpu", "gpu:*"]))
    text = report.text()
    assert report.exit_code() is ExitCode.OK
    assert "driver      NVIDIA 610.43.02, runs CUDA 13.0 natively" in text
    assert "gpu:1       NVIDIA T4, compute capability 7.5, GPU-00000001-0000" in text
    assert "docker      28.2.2, GPUs through NVIDIA runtime" in text
    assert "  ngc-19.09-py3  gpu:1  can run" in text
    assert "to do" not in text
    assert "to pull: 1 image, about 8 GB" in text


def test_versions_of_tensorrt_that_could_run_here_and_how(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    this_machine(monkeypatch, host(gpu("H200"), driver="580.65"))
    report = examine(tmp_path / "matrix.yaml")
    text = report.text()
    assert "TensorRT that could run here:\n  ngc                 8.5.0.12 to " in text
    assert "  venv: tensorrt      CUDA 11: 8.5.1.7 to 10.13.0.35; CUDA 12: 8.6.0 to" in text
    assert "venv: tensorrt-rtx  no version runs on these GPUs with this driver" in text
    assert set(report.summary()["offers"]) == {"ngc", "venv: tensorrt", "venv: tensorrt-rtx"}
    this_machine(monkeypatch, host(gpu("L4"), driver="535.1", docker="Docker does not answer"))
    text = examine(tmp_path / "matrix.yaml").text()
    assert "; but Docker does not answer" in text
    assert "venv: tensorrt-rtx  CUDA 12: 1.4.0.76 to 1.7.1.116" in text


def test_more_to_pull_than_the_disk_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this_machine(monkeypatch, host(gpu("T4"), disk_free_bytes=20 * 10**9))
    text = examine(
        written(
            tmp_path, environments=[{"ngc": "one-per-major"}], devices=["gpu:0"], baseline="ngc"
        )
    ).text()
    assert "to do: free some disk: 6 images take about 61 GB, Docker has 20 GB free" in text


def test_an_image_that_is_here_is_not_pulled_and_may_contradict_the_catalogue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = {"nvcr.io/nvidia/tensorrt:19.09-py3": {"tensorrt": "6.0.2.1"}}
    this_machine(monkeypatch, host(gpu("T4"), images=images))
    text = examine(written(tmp_path, devices=["gpu:0"])).text()
    assert "note: 19.09-py3: its tensorrt is 6.0.2.1, the catalogue says 6.0.1" in text
    assert "to pull" not in text


def test_docker_without_a_way_to_the_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this_machine(monkeypatch, host(gpu("T4"), nvidia_runtime=False))
    report = examine(written(tmp_path, devices=["gpu:0"]))
    assert (
        "unavailable: Docker cannot reach the GPUs: install nvidia-container-toolkit"
        in report.text()
    )
    assert report.exit_code() is ExitCode.COULD_NOT_RUN


def test_no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this_machine(monkeypatch, NO_DOCKER)
    report = examine(written(tmp_path))
    assert "docker      Docker does not answer" in report.text()
    assert report.exit_code() is ExitCode.OK  # nothing in this matrix asks for it


def test_a_gpu_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this_machine(monkeypatch, host(gpu("T4")), silent=("gpu:1: GPU is lost",))
    assert "gpu:1       does not answer: GPU is lost" in examine(tmp_path / "none.yaml").text()


def test_a_wrong_matrix_does_not_hide_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    this_machine(monkeypatch, NO_GPU)
    report = examine(written(tmp_path, repeats=0))
    assert report.exit_code() is ExitCode.BAD_CONFIG
    assert "docker      28.2.2" in report.text()
    assert "repeats" in report.text()
    assert report.summary()["problems"]


@pytest.mark.parametrize(
    "here", [NO_GPU, NO_DOCKER, host(gpu("T4"), logins=frozenset({"nvcr.io"}))]
)
def test_the_machine_readable_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: HostFacts
) -> None:
    this_machine(monkeypatch, here)
    report = examine(written(tmp_path, devices=["cpu", "gpu:*"]))
    summary = json.loads(json.dumps(report.summary(), allow_nan=False))
    assert [environment["environment"] for environment in summary["environments"]] == [
        "ort-1.26.0", "ort-1.32.0", "ngc-19.09-py3",
    ]  # fmt: skip
    assert summary["host"]["docker"] == here.docker
    assert summary["host"]["logins"] == sorted(here.logins)


def test_other_machines_are_told_and_their_trouble_is_not_this_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    this_machine(monkeypatch, NO_GPU)
    offers = {
        "ssh://me@box": host(gpu("T4"), driver="535.54.03"),
        "ssh://me@gone": HostFacts(docker="me@gone: Connection refused"),
    }

    def reached(address: str) -> SimpleNamespace:
        return SimpleNamespace(host=offers[address])

    monkeypatch.setattr(hosts, "remote_engine", reached)
    ngc = {"ngc": ["24.04-py3"]}
    report = examine(
        written(
            tmp_path,
            devices=["cpu", "gpu:*"],
            environments=[
                {"venv": "onnxruntime", "versions": ["1.32.0"]},
                ngc | {"host": "box"},
                ngc | {"host": "gone"},
            ],
            hosts={"box": "ssh://me@box", "gone": "ssh://me@gone"},
            baseline="ort-1.32.0",
        )
    )
    rows = [line.split(None, 1) for line in report.text().splitlines() if line]
    assert [
        "box",
        "docker 28.2.2, GPUs through NVIDIA runtime, NVIDIA 535.54.03, gpu:0 NVIDIA T4",
    ] in rows
    assert ["gone", "me@gone: Connection refused"] in rows
    assert ["box-ngc-24.04-py3", "gpu:0  can run"] in rows
    assert report.summary()["hosts"]["gone"] == "me@gone: Connection refused"
    assert report.pulls == [], "that is another machine's disk"
    assert "install NVIDIA's driver" not in report.text(), "nothing here waits for it"


def test_a_rootless_engine_is_told_with_what_it_cannot_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    this_machine(monkeypatch, replace(NO_GPU, rootless=True))
    report = examine(tmp_path / "matrix.yaml")
    assert "docker      28.2.2, rootless, no NVIDIA runtime, no CDI" in report.text()
    assert "to do" not in report.text()
    this_machine(monkeypatch, replace(NO_GPU, rootless=True, limits=False))
    report = examine(tmp_path / "matrix.yaml")
    assert "28.2.2, rootless, no limits of memory and processes, no NVIDIA" in report.text()
    assert "to do: let rootless Docker limit what a job takes" in report.text()
    assert report.summary()["host"]["limits"] is False
