"""Factors are what was really mapped; what cannot matter is told apart from what can."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.probes import library, start
from trt_matrix.core.factors.cell_factors import NOT_MAPPED, EffectKind, difference, factors, title
from trt_matrix.core.records import Start

CUDNN = library("/usr/lib/libcudnn.so.8.9.7", "8.9.7")
CUDNN_OPS = library("/usr/lib/libcudnn_ops_infer.so.8.9.7", "8.9.7")
CUDART = library("/usr/local/cuda/libcudart.so.12.2.140", "12.2.140")
CUBLAS = library("/usr/local/cuda/libcublas.so.12.2.5.6", "12.2.5.6")
DRIVER = library("/usr/lib/libcuda.so.535.104.05", "535.104.05")


def changed(one: Start, other: Start, question: EffectKind = EffectKind.ENGINE) -> set[str]:
    return set(difference(factors(one), factors(other), question).factors)


def test_an_engine_is_one_factor_with_its_package() -> None:
    assert changed(start("1.26.0"), start("1.32.0")) == {"engine"}
    one, other = factors(start("1.26.0")), factors(start("1.32.0"))
    assert title("engine", one, other) == "ONNX Runtime"
    tensorrt = factors(start("8.6.1", engine="tensorrt"))
    assert title("engine", one, tensorrt) == "engine"
    assert title("cuDNN", one, other) == "cuDNN"


def test_another_build_of_one_version_is_another_engine() -> None:
    mine = start("1.32.0")
    engine = {**mine.probe["engine"], "build": "git-commit-id=feedbeef, mine"}
    other = mine.model_copy(update={"probe": {**mine.probe, "engine": engine}})
    assert changed(mine, other) == {"engine"}


def test_numpy_can_matter_for_tables_and_time_but_not_for_the_engine() -> None:
    one, other = start(numpy="1.26.4"), start(numpy="2.4.6")
    assert changed(one, other) == set()
    assert "numpy" in difference(factors(one), factors(other), EffectKind.ENGINE).harmless
    assert changed(one, other, EffectKind.CALIBRATOR) == {"numpy"}
    assert changed(one, other, EffectKind.LATENCY) == {"numpy"}


def test_python_can_matter_for_time_alone() -> None:
    one, other = start(python="3.10.13"), start(python="3.11.7")
    assert changed(one, other) == changed(one, other, EffectKind.CALIBRATOR) == set()
    assert changed(one, other, EffectKind.LATENCY) == {"Python"}


def test_what_is_installed_but_never_mapped_is_no_factor() -> None:
    one = start()
    probe = {**one.probe, "packages": {**one.probe["packages"], "nvidia-cudnn-cu12": "9.1"}}
    other = start(packages={})
    other.probe["packages"]["sympy"] = "1.13.0"
    told = difference(
        factors(one.model_copy(update={"probe": probe})), factors(other), EffectKind.LATENCY
    )
    assert told.factors == frozenset()
    assert told.harmless == {"sympy": NOT_MAPPED}


def test_mapped_libraries_are_factors_by_family() -> None:
    found = factors(start(libraries=(CUDNN, CUDNN_OPS, CUDART, CUBLAS, DRIVER))).values
    assert found["cuDNN"] == "8.9.7"
    assert found["CUDA"] == "libcublas 12.2.5.6, libcudart 12.2.140"
    assert found["driver"] == "535.104.05"


def test_a_wheels_library_stands_for_its_package() -> None:
    def of(version: str) -> Start:
        path = "/site/nvidia/cudnn/lib/libcudnn.so.9"
        return start(
            libraries=(library(path, version, "nvidia-cudnn-cu12"),),
            packages={"nvidia-cudnn-cu12": version},
        )

    assert changed(of("9.1.0.70"), of("9.3.0.75")) == {"cuDNN"}


def test_an_engines_own_library_is_no_second_factor() -> None:
    nvinfer = library("/opt/libnvinfer.so.8.6.1", "8.6.1")
    assert "TensorRT" not in factors(start(engine="tensorrt", libraries=(nvinfer,))).values
    assert factors(start(libraries=(nvinfer,))).values["TensorRT"] == "8.6.1"


def test_a_library_without_a_version_is_known_by_its_size() -> None:
    one = start(libraries=(library("/opt/libcudnn.so.7"),))
    other = start(libraries=({**library("/opt/libcudnn.so.7"), "size_bytes": 2000},))
    assert changed(one, other) == {"cuDNN"}
    assert factors(one).values["cuDNN"] == "1000 bytes"


def test_a_library_that_only_one_engine_loads_is_a_part_of_that_change() -> None:
    old, new = start("8.5", engine="tensorrt", libraries=(CUDNN,)), start("8.6", engine="tensorrt")
    told = difference(factors(old), factors(new), EffectKind.ENGINE)
    assert told.factors == {"engine"}
    assert "cuDNN" in told.harmless
    same = start("8.5", engine="tensorrt")
    assert changed(old, same) == {"cuDNN"}, "loaded by one of two equal engines"


def test_cpu_and_gpu_differ_in_their_provider() -> None:
    cpu = start(options={"provider": "CPUExecutionProvider"})
    gpu = start(
        options={"provider": "CUDAExecutionProvider"},
        libraries=(CUDNN, CUDART, DRIVER),
        gpu={"name": "H200", "compute_capability": "9.0", "uuid": "GPU-1"},
    )
    assert changed(cpu, gpu) == {"option provider"}


def test_two_cards_of_one_model_are_one_value() -> None:
    def on(name: str, uuid: str) -> Start:
        return start(gpu={"name": name, "compute_capability": "9.0", "uuid": uuid})

    assert changed(on("H200", "GPU-1"), on("H200", "GPU-2")) == set()
    assert changed(on("H200", "GPU-1"), on("H100", "GPU-3")) == {"GPU"}


def test_every_option_is_a_factor() -> None:
    one = start(options={"threads": 1, "session_config": {"a.b": "1"}})
    other = start(options={"threads": 2, "session_config": {"a.b": "0"}})
    assert changed(one, other) == {"option threads", "option session_config a.b"}


def test_variables_that_only_repeat_versions_are_no_factors() -> None:
    one = start(environment="x")
    probe = {**one.probe, "environment": {"CUDNN_VERSION": "8", "OMP_NUM_THREADS": "1"}}
    assert changed(one, one.model_copy(update={"probe": probe})) == {"variable OMP_NUM_THREADS"}


def interpreter(
    *libraries: dict[str, Any], variables: dict[str, str] | None = None, version: str = "6.0.1"
) -> Start:
    nvinfer = library(f"/opt/trt-{version}/lib/libnvinfer.so.{version}", version)
    stated = {
        "kind": "interpreter",
        "variables": variables or {},
        "libraries": {f"/opt/trt-{version}/lib": {}, "/opt/more": {}},
    }
    return start(version, engine="tensorrt", libraries=(nvinfer, *libraries), identity=stated)


def test_every_variable_that_an_interpreter_states_is_a_factor() -> None:
    one, other = interpreter(variables={"MY_KERNELS": "a"}), interpreter()
    assert changed(one, other) == {"variable MY_KERNELS"}
    assert changed(one, interpreter(variables={"MY_KERNELS": "b"})) == {"variable MY_KERNELS"}
    newer = interpreter(version="8.6.1")
    assert changed(one, newer) == {"engine", "variable MY_KERNELS"}, "no engine brings it along"


def test_a_library_of_a_stated_folder_is_a_factor_where_it_is_mapped() -> None:
    def plugin(size_bytes: int, folder: str = "/opt/more") -> dict[str, Any]:
        return {**library(f"{folder}/libupsample.so"), "size_bytes": size_bytes}

    one, other = interpreter(plugin(1000)), interpreter(plugin(2000))
    assert changed(one, other) == {"library libupsample"}
    assert changed(one, interpreter()) == {"library libupsample"}
    assert changed(one, interpreter(plugin(1000, "/elsewhere"))) == set(), "the same file"
    # What comes in the tar file of TensorRT is a part of TensorRT.
    own = interpreter(library("/opt/trt-6.0.1/lib/libmyelin.so.1", "1.0"))
    assert changed(own, interpreter()) == set()


def test_a_cudnn_in_a_stated_folder_counts_only_where_it_is_mapped() -> None:
    """A user's cuDNN 7.1.4 beside another one: only what the process loaded decided anything."""
    stated = {"kind": "interpreter", "libraries": {"/opt/cudnn": {"libcudnn.so.7.1.4": [1, 2]}}}
    other = {**stated, "libraries": {"/opt/cudnn": {"libcudnn.so.7.6.3": [3, 4]}}}
    assert changed(start(identity=stated), start(identity=other)) == set()
    loaded = (library("/opt/cudnn/libcudnn.so.7.1.4", "7.1.4"),)
    assert changed(start(identity=stated, libraries=loaded), start(identity=other)) == {"cuDNN"}


def test_old_records_give_what_they_have() -> None:
    old = start("1.18.1")
    for name in ("mapped", "libc", "gpu"):
        del old.probe[name]  # type: ignore[attr-defined]
    old.probe["libraries"] = ["libopenblas.so"]  # type: ignore[index]
    found = factors(old)
    assert found.values["numpy"] == "2.4.6"
    assert found.values["engine"].startswith("onnxruntime 1.18.1")
    assert "onnxruntime" not in found.values


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("engine", "mapped", "packages", "gpu", "environment", "processor_flags", "python", "libc")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_whatever_a_job_writes_gives_factors(written: dict[str, Any]) -> None:
    sound = start()
    hostile = sound.model_copy(update={"probe": {**sound.probe, **written}})
    one, other = factors(hostile), factors(sound)
    for question in EffectKind:
        assert difference(one, one, question).factors == frozenset()
        assert difference(one, other, question).factors == difference(other, one, question).factors


@pytest.mark.parametrize("libraries", [None, {}, ["libcudnn.so.8"], [{"path": 3}], [{"path": ""}]])
def test_libraries_of_another_form_are_none(libraries: Any) -> None:
    assert "cuDNN" not in factors(start(mapped={"libraries": libraries, "packages": 7})).values
