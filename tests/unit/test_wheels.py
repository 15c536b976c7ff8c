"""TensorRT as packages: which are installed, for whom, and where they run."""

from pathlib import Path

import pytest

from tests.unit.experiments import changed, config
from tests.unit.hosts import gpu
from trt_matrix.config.venv import Venv
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts import wheels
from trt_matrix.core.hosts.wheels import wheel
from trt_matrix.environments import preflight
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.factory import axes_of, engine_options_of, environments_of
from trt_matrix.environments.packages import USUAL, Sources
from trt_matrix.environments.venv import VenvEnvironment
from trt_matrix.errors import ConfigError


@pytest.mark.parametrize(
    ("named", "version", "driver", "cuda"),
    [
        ("tensorrt", "8.5.3.1", "580.65", 11),
        ("tensorrt", "8.6.0", "580.65", 12),
        ("tensorrt", "10.9.0.34", "580.65", 12),
        ("tensorrt", "10.9.0.34", "470.10", 11),
        ("tensorrt", "10.13.3.9", "580.65", 13),
        ("tensorrt", "10.13.3.9", "570.10", 12),
        # No driver here runs any: the oldest, which it is then told about.
        ("tensorrt", "11.4.0.106", "470.10", 12),
        ("tensorrt", "11.4.0.106", None, 12),
        ("tensorrt-cu12", "11.4.0.106", "580.65", 12),
        ("tensorrt-rtx", "1.7.1.116", "580.65", 13),
    ],
)
def test_cuda_by_version_and_driver_or_named(
    named: str, version: str, driver: str | None, cuda: int
) -> None:
    assert wheel(named, version, driver).cuda == cuda


def test_what_is_installed() -> None:
    assert wheel("tensorrt", "8.5.3.1", None).requirements == (
        "tensorrt==8.5.3.1", "nvidia-cuda-runtime-cu11==11.8.89", "nvidia-cublas-cu11==11.11.3.6",
        "nvidia-cudnn-cu11==8.6.0.163", "numpy<2",
    )  # fmt: skip
    assert wheel("tensorrt-cu13", "11.4.0.106", None).requirements == (
        "tensorrt-cu13-bindings==11.4.0.106", "tensorrt-cu13-libs==11.4.0.106",
        "nvidia-cuda-runtime==13.*", "numpy",
    )  # fmt: skip
    assert wheel("tensorrt", "8.6.1", None).requirements[0] == "tensorrt-bindings==8.6.1"


@pytest.mark.parametrize(
    ("named", "version", "words"),
    [
        ("tensorrt", "7.2.3.4", "packages begin with 8.5.1.7; containers have older ones"),
        ("tensorrt", "9.2.0", "no packages of that name; state what you have"),
        ("tensorrt-cu11", "11.0.0.114", "no packages for CUDA 11; there are tensorrt-cu12 and tensorrt-cu13"),
        ("tensorrt-cu13", "8.5.3.1", "no packages for CUDA 13; there are tensorrt-cu11"),
        ("tensorrt-rtx", "1.0.0", "packages begin with 1.4"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_said_before_anything_starts(
    named: str, version: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        wheel(named, version, None)
    with pytest.raises(ConfigError, match=words):
        config(changed(environments=[{"venv": named, "versions": [version]}], baseline="t"))


def test_gpus_that_a_version_does_not_run_on() -> None:
    def told(named: str, version: str, card: str, driver: str = "610.1") -> str:
        found = wheel(named, version, driver).obstacle(driver, [gpu(card)])
        return ": ".join(map(str, found)) if found else ""

    assert told("tensorrt", "8.5.3.1", "H200") == ""
    assert "is for compute capability 3.5 to 9.0" in told("tensorrt", "8.5.3.1", "RTX 5090")
    assert "is for compute capability 7.5 to 12.1" in told("tensorrt", "11.0.0.114", "V100")
    assert "driver 470.1 is too old for CUDA 12" in told("tensorrt", "8.6.0", "T4", "470.1")
    assert told("tensorrt-rtx", "1.7.1.116", "T4") == ""
    assert told("tensorrt-rtx", "1.7.1.116", "RTX 5090") == ""
    for card, capability in (("H200", "9.0"), ("B200", "10.0"), ("V100", "7.0")):
        assert told("tensorrt-rtx", "1.7.1.116", card).startswith(
            f"{Status.UNSUPPORTED}: TensorRT-RTX runs on compute capability 7.5, 8.0, 8.6, 8.9, 12.0 and later; "
            f"NVIDIA {card} has {capability}: take `venv: tensorrt` there"
        )  # fmt: skip
    one_does = [gpu("H200"), gpu("L4", 1)]
    assert wheel("tensorrt-rtx", "1.7.1.116", "610.1").obstacle("610.1", one_does) is None


def test_versions_that_could_run_by_cuda() -> None:
    def offered(package: str, card: str, driver: str) -> str | None:
        return wheels.offered(package, driver, [gpu(card)])

    # Volta ended in the middle of what is otherwise had alike, Blackwell began there.
    assert offered("tensorrt", "V100", "450.90") == "CUDA 11: 8.5.1.7 to before 10.5"
    assert offered("tensorrt", "RTX 5090", "575.1") == (
        "CUDA 11: 10.8 to 10.13.0.35; CUDA 12: 10.8 to 11.4.0.106"
    )
    assert offered("tensorrt", "T4", "440.1") is None
    assert offered("tensorrt-rtx", "H200", "580.1") is None
    assert offered("tensorrt-rtx", "L4", "535.1") == "CUDA 12: 1.4.0.76 to 1.7.1.116"


# In matrix.yaml

TRT = {"venv": "tensorrt", "versions": ["8.5.3.1"]}
OWN = {"venv": {"requirements": ["tensorrt-cu12==10.9.0.34"]}, "name": "own"}


@pytest.mark.parametrize(
    ("entry", "ids"),
    [
        (TRT, ("trt-8.5.3.1",)),
        ({"venv": "tensorrt-cu12", "versions": ["8.6.0", "10.9.0.34"]},
         ("trt-cu12-8.6.0", "trt-cu12-10.9.0.34")),
        ({"venv": "tensorrt-rtx", "versions": ["1.7.1.116"]}, ("rtx-1.7.1.116",)),
        ({"venv": "tensorrt-rtx-cu13", "versions": ["1.7.1.116"], "name": "r"}, ("r-1.7.1.116",)),
        (OWN, ("own",)),
        ({"venv": {"requirements": ["./x.whl", "nvidia_tensorrt"]}, "name": "o"}, ("o",)),
    ],
)  # fmt: skip
def test_tensorrt_is_planned_on_the_gpu(entry: dict[str, object], ids: tuple[str, ...]) -> None:
    one = config(changed(environments=[entry], baseline=ids[0]))
    environments = environments_of(one, Path("/"))
    assert tuple(environments) == ids
    for axis in axes_of(one, environments, {}):
        assert axis.devices == {"gpu"}
    assert axis.implicit
    assert engine_options_of(one)[ids[0]]["fallback"] == "fp32"


def test_onnxruntime_with_its_provider_of_tensorrt_stays_what_it_is() -> None:
    both = ["onnxruntime-gpu==1.26.0", "tensorrt-cu12-libs"]
    one = config(
        changed(environments=[{"venv": {"requirements": both}, "name": "o"}], baseline="o")
    )
    assert environments_of(one, Path("/"))["o"].engine == "onnxruntime"


def test_a_requirement_stands_in_place_of_ours() -> None:
    entry = TRT | {"with": ["nvidia_cudnn.cu11==8.9.4.25", "polygraphy"]}
    one = config(changed(environments=[entry], baseline="trt"))
    (venv,) = one.environments
    found = venv.requirements(0)  # type: ignore[union-attr]
    assert "nvidia-cudnn-cu11==8.6.0.163" not in found
    assert found[-2:] == ("nvidia_cudnn.cu11==8.9.4.25", "polygraphy")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (TRT | {"index": ["https://me:secret@example.org/simple"]}, "without user and password"),
        (TRT | {"options": {"threads": 2}}, "these are no options of tensorrt"),
        (OWN | {"options": {"provider": "CPUExecutionProvider"}}, "these are no options of tensorrt"),
        ({"venv": "tensorrt-cu14", "versions": ["12.0"]}, "venv"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be(entry: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(changed(environments=[entry], baseline="trt"))


def test_a_gpu_that_it_cannot_run_on_is_said_by_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(version="580.65", gpus=(gpu("H200"),))
    monkeypatch.setattr(preflight, "this_driver", lambda: driver)
    monkeypatch.setattr("trt_matrix.environments.venv.this_driver", lambda: driver)
    entries = [TRT, {"venv": "tensorrt-rtx", "versions": ["1.7.1.116"]}]
    one = config(changed(environments=entries, baseline="trt", devices=["gpu:0"]))
    plain, rtx = environments_of(one, Path("/")).values()
    assert plain.obstacle("gpu:0") is None
    obstacle = rtx.obstacle("gpu:0")
    assert isinstance(obstacle, tuple)
    assert obstacle[0] is Status.UNSUPPORTED
    assert "NVIDIA H200 has 9.0" in obstacle[1]


# Where packages are looked for


def test_sources_as_uv_takes_them(tmp_path: Path) -> None:
    both = Sources(index=("https://example.org/simple",), wheels=tmp_path)
    assert both.arguments(offline=False) == [
        "--index=https://example.org/simple", f"--find-links={tmp_path}",
    ]  # fmt: skip
    assert both.arguments(offline=True) == ["--no-index", f"--find-links={tmp_path}"]
    assert (USUAL.arguments(offline=True), USUAL.facts) == ([], {})


def test_the_python_that_has_wheels_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def find(wanted: str | None, *, cwd: object) -> Path:
        del cwd
        asked.append(wanted)
        return Path("/python")

    monkeypatch.setattr("trt_matrix.environments.venv.find_python", find)
    for version in ("8.5.3.1", "11.4.0.106"):
        one = wheel("tensorrt", version, None)
        VenvEnvironment(
            name="t",
            engine="tensorrt",
            requirements=(),
            python=None,
            cache=tmp_path,
            pythons=one.pythons,
        )._base()
    assert asked == [">=3.6,<3.11", None]


@pytest.mark.parametrize(
    ("release", "pythons", "beside"),
    [
        ("1.15.1", ((3, 8), (3, 11)), ("numpy<2",)),
        ("1.17.3", ((3, 8), (3, 12)), ("numpy<2",)),
        ("1.18.0", ((3, 8), (3, 12)), ("numpy<2",)),
        ("1.19.2", ((3, 8), (3, 12)), ()),
        ("1.23.2", ((3, 10), (3, 13)), ()),
        ("1.32.0", None, ()),
    ],
)
def test_an_old_onnx_runtime_is_had_with_a_numpy_and_a_python_that_it_needs(
    release: str, pythons: object, beside: tuple[str, ...]
) -> None:
    def entry(*more: str) -> Venv:
        stated = {"venv": "onnxruntime", "versions": [release], "with": list(more)}
        (venv,) = config(changed(environments=[stated])).environments
        assert isinstance(venv, Venv)
        return venv

    assert entry().requirements(0) == (f"onnxruntime=={release}", *beside)
    assert entry().pythons(0) == pythons
    told = entry("numpy==1.26.4").requirements(0)
    assert told == (f"onnxruntime=={release}", "numpy==1.26.4")
