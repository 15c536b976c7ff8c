"""The catalogue as it is shipped, and what is said of its containers."""

import re
from pathlib import Path

import pynvml
import pytest
import yaml

from runner.environments import ngc, nvidia
from runner.environments.ngc import CATALOG, NOT_YET, NgcEnvironment, catalog
from runner.errors import EnvironmentUnavailableError

VERSION = re.compile(r"\d+(\.\d+)*( RC| Update \d)?")
FIELDS = {
    "tag", "tensorrt", "cuda", "cudnn", "python", "ubuntu", "min_driver", "min_driver_tesla",
    "compute_capability_min", "compute_capability_max", "confidence", "note", "sources",
}  # fmt: skip
DEFAULT_TAGS = ["18.12-py3", "19.09-py3", "21.06-py3", "24.04-py3", "26.05-py3", "26.08-py3"]
TAG = "24.04-py3"


@pytest.fixture
def environment() -> NgcEnvironment:
    return NgcEnvironment(name=f"ngc-{TAG}", tag=TAG)


def set_driver(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    def start() -> None:
        if error:
            raise error

    monkeypatch.setattr(nvidia.pynvml, "nvmlInit", start)
    monkeypatch.setattr(nvidia.pynvml, "nvmlShutdown", lambda: None)


# The catalogue


def test_every_row_is_complete_and_typed() -> None:
    for tag, row in catalog().items():
        assert re.fullmatch(r"\d\d\.\d\d-py3", tag), tag
        assert set(row) <= FIELDS, tag
        assert {"tag", "tensorrt", "cuda", "min_driver", "confidence", "sources"} <= set(row), tag
        assert row["confidence"] in ("documented", "secondary", "inferred"), tag
        for field in FIELDS - {"tag", "confidence", "note", "sources"}:
            value = row.get(field) or []
            for version in [value] if isinstance(value, str) else value:
                assert VERSION.fullmatch(version), (tag, field, value)
        assert isinstance(row.get("min_driver_tesla", []), list), tag
        assert all(source.startswith("https://") for source in row["sources"]), tag


def test_tags_are_in_order_and_once_each() -> None:
    rows = yaml.safe_load(CATALOG.read_text())["containers"]
    tags = [row["tag"] for row in rows]
    assert tags == sorted(set(tags))


def test_versions_rise_with_the_tags() -> None:
    for field in ("tensorrt", "cuda"):
        versions = [row[field] for row in catalog().values() if row[field]]
        majors = [int(version.partition(".")[0]) for version in versions]
        assert majors == sorted(majors), field


@pytest.mark.parametrize("tag", DEFAULT_TAGS)
def test_the_default_matrix_is_in_it(tag: str) -> None:
    assert tag in catalog()


# Obstacles


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])  # fmt: skip
@pytest.mark.parametrize("device", ["cpu", "gpu:*", "gpu:0"])
def test_no_driver(
    environment: NgcEnvironment, monkeypatch: pytest.MonkeyPatch, error: int, device: str
) -> None:
    set_driver(monkeypatch, pynvml.NVMLError(error))
    assert environment.obstacle(device) == "no NVIDIA driver"


def test_a_driver_that_does_not_answer(
    environment: NgcEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_driver(monkeypatch, pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION))
    obstacle = environment.obstacle("gpu:0")
    assert obstacle == (
        "the NVIDIA driver does not answer (Insufficient Permissions); see `nvidia-smi`"
    )


def test_with_a_driver_it_says_what_is_missing_here(
    environment: NgcEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_driver(monkeypatch, None)
    assert environment.obstacle("gpu:0") == NOT_YET
    assert environment.obstacle("cpu") == "TensorRT runs on GPUs only"


@pytest.mark.parametrize(
    ("tag", "hint"),
    [("24.4-py3", "did you mean '24.04-py3'?"), ("24.04", "did you mean '24.04-py3'?")],
)
def test_an_unknown_tag_says_which_one_was_meant(tag: str, hint: str) -> None:
    obstacle = NgcEnvironment(name="x", tag=tag).obstacle("gpu:0")
    assert f"unknown tag '{tag}'" in obstacle
    assert hint in obstacle


def test_an_unknown_tag_like_no_other() -> None:
    obstacle = NgcEnvironment(name="x", tag="latest").obstacle("gpu:0")
    assert obstacle == "unknown tag 'latest': catalog.yaml has no such container"


def test_it_neither_prepares_nor_runs(
    environment: NgcEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_driver(monkeypatch, pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    with pytest.raises(EnvironmentUnavailableError, match="^ngc-24.04-py3: no NVIDIA driver$"):
        environment.prepare(offline=False)
    with pytest.raises(EnvironmentUnavailableError, match="^ngc-24.04-py3: no NVIDIA driver$"):
        environment.run(tmp_path, tmp_path, tmp_path, deadline_s=1, tick=lambda: None)


def test_the_catalogue_is_read_once() -> None:
    assert ngc.catalog() is ngc.catalog()
