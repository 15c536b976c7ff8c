"""Whole jobs on a fake TensorRT of every generation, each a process of its own.

The fake has exactly the names of its version (tests/fakes/tensorrt); nothing here shows that a real
TensorRT runs them, docs/verified.md says what does.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import network, one_pass  # isort: skip
from tensorrt_jobs import (  # isort: skip
    CALIBRATION_IMAGES,
    TABLE,
    TIMING,
    Ended,
    Jobs,
    build_cudart,
    calibrate,
    carried,
    int8,
    old_network,
    reference,
)

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)

OLD = ("5.0.6", "5.1.5", "6.0.1")
WEAK = (
    *OLD,
    "7.0.0",
    "7.2.3",
    "8.0.3",
    "8.2.5",
    "8.4.1.5",
    "8.5.3.1",
    "8.6.1",
    "9.3.0",
    "10.3.0",
    "10.16.1.11",
)
CALIBRATORS = {
    "5.0.6": {"entropy", "legacy"},
    "5.1.5": {"entropy", "entropy2", "legacy"},
}
ALL_CALIBRATORS = {"entropy", "entropy2", "legacy", "minmax"}


@pytest.fixture(scope="module")
def cudart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_cudart(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def jobs(tmp_path: Path, cudart: Path) -> Jobs:
    rng = np.random.default_rng(0)
    for name, count in (("evaluation", 3), ("calibration", CALIBRATION_IMAGES)):
        images = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", images)
    (tmp_path / "model.onnx").write_bytes(network(["large", "small"]))
    (tmp_path / "old.onnx").write_bytes(old_network())
    (tmp_path / "table.json").write_text(json.dumps(TABLE))
    return Jobs(tmp_path, cudart)


def sqnr_db(y: np.ndarray, r: np.ndarray) -> float:
    return float(10 * np.log10((r**2).sum() / max(((y - r) ** 2).sum(), 1e-30)))


def failed(ended: Ended, name: str = "int8") -> str:
    """Returns the error of a pass that failed, where nothing else did and nothing leaked."""
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    answer = ended.pass_(name)
    assert answer["status"] == "job_failed"
    assert answer["outputs"] == {}
    return answer["error"]["message"]


@pytest.mark.parametrize("version", WEAK)
def test_every_precision_in_every_generation(jobs: Jobs, version: str) -> None:
    model = "old.onnx" if version in OLD else "model.onnx"
    passes = [
        one_pass("fp32", model=model),
        one_pass("tf32", model=model, precision="tf32"),
        one_pass("fp16", model=model, precision="fp16", compare_with="fp32"),
        int8("range", carried("dynamic_range"), model=model),
        int8("cache", carried("cache", "entropy"), model=model),
        *(int8(f"own-{one}", calibrate(one), model=model) for one in sorted(ALL_CALIBRATORS)),
    ]
    ended = jobs.run(version, passes, timing=TIMING)
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    images = np.load(jobs.folder / "evaluation.npy")
    wanted = reference((jobs.folder / model).read_bytes(), images, ("large", "small"))
    for head, r in zip(("large", "small"), wanted, strict=True):
        np.testing.assert_allclose(ended.output("fp32", head), r, atol=1e-5)
        assert 60 < sqnr_db(ended.output("fp16", head), r) < 90
        assert 15 < sqnr_db(ended.output("range", head), r) < 45

    had = CALIBRATORS.get(version, ALL_CALIBRATORS)
    for name in sorted(ALL_CALIBRATORS):
        answer = ended.pass_(f"own-{name}")
        assert answer["status"] == ("ok" if name in had else "unsupported"), answer["error"]
        if name in had:
            built = ended.told(f"own-{name}", "build")
            told = built["quantisation"]
            assert 0 < told.pop("callbacks_s") < built["tensorrt_s"]
            assert told == {"mode": "calibrate", "calibrator": name, "images": 6}
            assert built["scales"]["unmapped"] == built["scales"]["unknown"] == []
            cache = (ended.result / "passes" / f"own-{name}" / answer["cache"]).read_bytes()
            assert cache.startswith(b"TRT-")
        else:
            assert f"has no calibrator {name}; it has: entropy" in answer["error"]["message"]
    tf32 = ended.pass_("tf32")
    assert tf32["status"] == ("unsupported" if version in (*OLD, "7.0.0") else "ok")
    cache = ended.pass_("cache")
    if version == "5.0.6":  # takes a pointer: bytes cannot be handed in
        assert "takes no calibration cache from Python" in cache["error"]["message"]
    else:
        assert cache["status"] == "ok", cache["error"]
        for head in ("large", "small"):  # the same scales either way
            np.testing.assert_array_equal(ended.output("cache", head), ended.output("range", head))
    for name in ("fp32", "range"):
        latency = ended.pass_(name)["latency"]
        assert len(latency["device_s"]) == len(latency["samples_s"]) == 3
        assert all(
            0 < d < s for d, s in zip(latency["device_s"], latency["samples_s"], strict=True)
        )
    check_layers(ended, version)


def check_layers(ended: Ended, version: str) -> None:
    """Whatever told them, layers name the tensors that they made, and all of those."""
    source = "profiler" if version[0] in "56" else "log" if version < "8.2" else "inspector"
    if version.startswith(("9", "10")):
        source = "inspector"
    for name, precision in (("fp32", "fp32"), ("fp16", "fp16"), ("range", "int8")):
        told = ended.told(name, "layers")
        assert told["source"] == source
        tensors = [tensor for layer in told["layers"] for tensor in layer["tensors"]]
        assert {"c1", "r1", "large", "small"} <= set(tensors)
        assert len(tensors) == len(set(tensors))
        first = next(layer for layer in told["layers"] if "c1" in layer["tensors"])
        assert first["tensors"] == ["c1", "r1"]
        assert first["precision"] == (None if source == "profiler" else precision)


@pytest.mark.parametrize("typed", ["weak", "strong"])
@pytest.mark.parametrize(
    "version", ["8.0.3", "8.4.1.5", "9.3.0", "10.16.1.11", "11.0.0.114", "11.4.0.106"]
)
def test_explicit_int8(jobs: Jobs, version: str, typed: str) -> None:
    import onnx

    from runner.core.qdq import place
    from runner.core.tables import Provenance, Table

    table = Table(amax=TABLE, provenance=Provenance(algorithm="given"))
    placed = place(onnx.load(jobs.folder / "model.onnx"), table).model
    (jobs.folder / "qdq.onnx").write_bytes(placed.SerializeToString())
    passes = [
        one_pass("fp32"),
        int8("int8", None, model="qdq.onnx"),
        int8("float-network", None),
        one_pass("fp32-of-qdq", model="qdq.onnx"),
    ]
    ended = jobs.run(version, passes, options={"typed": typed})
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    if typed == "strong" and version.startswith("8"):
        assert ended.pass_("int8")["status"] == "unsupported"
        assert "has no strongly typed networks" in ended.pass_("int8")["error"]["message"]
        return
    images = np.load(jobs.folder / "evaluation.npy")
    wanted = reference(placed.SerializeToString(), images, ("large", "small"))
    for head, r in zip(("large", "small"), wanted, strict=True):
        assert sqnr_db(ended.output("int8", head), r) > 40
    built = ended.told("int8", "build")
    assert {value for key, value in built["quantisation"].items() if key != "mode"} == {None}
    assert built["quantisation"]["mode"] == "explicit"
    strong = typed == "strong" or version.startswith("11")
    assert ("INT8" in built["flags"]) is not strong
    layers = ended.told("int8", "layers")["layers"]
    convolutions = [one["precision"] for one in layers if one["kernel"] == "CaskConvolution"]
    assert convolutions == ["int8"] * 3
    assert "has no Q/DQ nodes" in ended.pass_("float-network")["error"]["message"]
    assert "needs the float one" in ended.pass_("fp32-of-qdq")["error"]["message"]


def test_eleven_refuses_what_it_cannot_do(jobs: Jobs) -> None:
    passes = [
        one_pass("fp16", precision="fp16"),
        int8("own", calibrate("entropy2")),
        int8("range", carried("dynamic_range")),
        one_pass("fp32"),
    ]
    ended = jobs.run("11.4.0.106", passes)
    assert [ended.pass_(one["name"])["status"] for one in passes] == ["unsupported"] * 3 + ["ok"]
    assert ended.told("fp32", "build")["flags"] == []
    assert "convert it to float16 first" in ended.pass_("fp16")["error"]["message"]


def with_float16(model: bytes) -> bytes:
    """Returns the network computing in float16 between two casts."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    parsed = onnx.load_from_string(model)
    half = [
        numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float16), one.name)
        for one in parsed.graph.initializer
    ]
    del parsed.graph.initializer[:], parsed.graph.input[1:]
    parsed.graph.initializer.extend(half)
    for node in parsed.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in ("image", "large", "small"):
                    names[index] = name + "_half"
    parsed.graph.node.insert(
        0, helper.make_node("Cast", ["image"], ["image_half"], to=TensorProto.FLOAT16)
    )
    parsed.graph.node.extend(
        helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT)
        for name in ("large", "small")
    )
    return parsed.SerializeToString()


def test_strongly_typed_fp16_is_the_networks_own(jobs: Jobs) -> None:
    (jobs.folder / "half.onnx").write_bytes(with_float16(old_network()))
    passes = [one_pass("fp16", precision="fp16", model="half.onnx")]
    ended = jobs.run("11.4.0.106", passes)
    assert ended.pass_("fp16")["status"] == "ok", ended.pass_("fp16")["error"]


def misbehaving(jobs: Jobs, version: str, behaviour: str) -> str:
    """Returns the name of a network that makes the fake TensorRT misbehave."""
    import onnx

    model = onnx.load(jobs.folder / ("old.onnx" if version in OLD else "model.onnx"))
    model.producer_name = behaviour
    (jobs.folder / f"{behaviour}.onnx").write_bytes(model.SerializeToString())
    return f"{behaviour}.onnx"


@pytest.mark.parametrize("version", ["5.1.5", "6.0.1", "8.2.5", "8.6.1", "10.3.0"])
def test_no_engine_of_a_wrong_build(jobs: Jobs, version: str) -> None:
    own, given = calibrate("entropy"), carried("cache", "entropy")
    wrong: dict[tuple[str, str], tuple[dict[str, Any] | None, str]] = {
        ("stops_early", "own"): (own, "asked for 2 of 6 calibration images"),
        ("asks_nothing", "own"): (own, "asked for 0 of 6 calibration images"),
        ("writes_no_cache", "own"): (own, "no calibration cache after 6 images"),
        ("asks_nothing", "given"): (given, "never asked for the calibration cache"),
        ("refuses_cache", "given"): (given, "did not take the calibration cache it was given"),
        ("build_fails", "own"): (
            own,
            "built no engine: Could not find any implementation for node c",
        ),
        ("build_fails", "given"): (given, "built no engine: Could not find any implementation"),
        ("no_context", "fp32"): (None, "made no execution context, and said no more"),
        ("does_not_run", "fp32"): (None, "did not run the engine: Cuda failure: an illegal memory"),
    }
    passes = [
        int8(
            f"{behaviour}-{how}",
            implicit,
            model=misbehaving(jobs, version, behaviour),
            compare_with=None,
            precision="int8" if implicit else "fp32",
        )
        for (behaviour, how), (implicit, _) in wrong.items()
    ]
    ended = jobs.run(version, passes)
    for (behaviour, how), (_, message) in wrong.items():
        assert message in failed(ended, f"{behaviour}-{how}")


@pytest.mark.parametrize("version", ["5.1.5", "8.2.5", "10.3.0"])
def test_an_error_in_a_callback_fails_the_pass_and_ends_no_process(
    jobs: Jobs, version: str
) -> None:
    """Up to 8.2 an exception that left the callback would abort the fake, as it does TensorRT."""
    model = "old.onnx" if version in OLD else "model.onnx"
    passes = [int8("int8", calibrate("entropy"), model=model), one_pass("fp32", model=model)]
    fail = {"FAKE_CUDART_FAIL": "cudaStreamSynchronize:2"}
    ended = jobs.run(version, passes, environment=fail)
    message = failed(ended)
    assert (
        "calibration failed in a callback: CudaError: cudaStreamSynchronize: error 700" in message
    )
    assert "cudaErrorIllegalAddress" in ended.pass_("int8")["error"]["traceback"]
    assert ended.pass_("fp32")["status"] == "ok"


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("cudaMalloc:2", "cudaMalloc: error 2, cudaErrorMemoryAllocation: out of memory"),
        ("cudaEventCreate:2", "cudaEventCreate: error 2"),
        ("cudaEventRecord:2", "cudaEventRecord: error 400"),
    ],
)
def test_a_cuda_error_is_told_and_leaks_nothing(jobs: Jobs, fail: str, message: str) -> None:
    ended = jobs.run(
        "8.6.1", [one_pass("int8"), one_pass("after")], environment={"FAKE_CUDART_FAIL": fail}
    )
    assert message in failed(ended)
    assert ended.pass_("after")["status"] == "ok"


def test_a_noisy_build_is_kept_short(jobs: Jobs) -> None:
    ended = jobs.run("8.6.1", [one_pass("fp32", model=misbehaving(jobs, "8.6.1", "noisy"))])
    assert ended.code == 0, ended.log[-2000:]
    warnings = ended.told("fp32", "build")["warnings"]
    assert len(warnings) == 200
    assert "größer" in warnings[0]


def test_all_parser_errors_are_told(jobs: Jobs) -> None:
    import onnx

    model = onnx.load(jobs.folder / "model.onnx")
    for node in model.graph.node[1:3]:
        node.domain = "custom.ops"
    (jobs.folder / "custom.onnx").write_bytes(model.SerializeToString())
    (jobs.folder / "cut.onnx").write_bytes(network(["large"])[:100])
    passes = [one_pass("int8", model="custom.onnx"), one_pass("cut", model="cut.onnx")]
    for version, where in (("8.6.1", "node 1: "), ("10.3.0", "node 1 (Relu made-up): ")):
        ended = jobs.run(version, passes)
        message = failed(ended)
        assert where in message
        assert "for op: Relu" in message
        assert "for op: Conv" in message
        assert "Failed to parse the ONNX model" in failed(ended, "cut")


def test_coverage_of_a_table_that_fits_badly(jobs: Jobs) -> None:
    (jobs.folder / "part.json").write_text(json.dumps({"image": 3.0, "r1": 2.0, "elsewhere": 1.0}))
    ended = jobs.run(
        "8.6.1", [int8("int8", carried("dynamic_range"), table="part.json", compare_with=None)]
    )
    assert ended.told("int8", "build")["scales"] == {
        "table": 3,
        "mapped": 2,
        "unmapped": ["c1", "large", "small", "up"],
        "unknown": ["elsewhere"],
        "zero": [],
        "defaulted": 0,
        "missing": ["c1", "large", "small", "up"],
        "rejected": [],
    }
    layers = {
        one["tensors"][-1]: one["precision"] for one in ended.told("int8", "layers")["layers"]
    }
    assert layers == {"r1": "int8", "large": "int8", "up": "fp32", "small": "fp32"}


def test_a_timing_cache_is_read_written_and_refused(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "timings"
    options = {"timing_cache": str(path), "optimization_level": 1, "tactic_sources": ["CUDNN"]}
    passes = [one_pass("first"), one_pass("second")]
    ended = jobs.run("8.6.1", passes, options=options)
    assert [ended.told(name, "build")["timing_cache"] for name in ("first", "second")] == [
        "new",
        "read",
    ]
    path.write_bytes(b"of another version")
    ended = jobs.run("8.6.1", passes, options=options)
    assert ended.told("first", "build")["timing_cache"] == "refused"
    ended = jobs.run("7.2.3", passes, options={"timing_cache": str(path)})
    assert ended.told("first", "build")["timing_cache"] == "none"


def test_a_free_batch_is_one_image(jobs: Jobs) -> None:
    import onnx

    model = onnx.load(jobs.folder / "model.onnx")
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    (jobs.folder / "free.onnx").write_bytes(model.SerializeToString())
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    (jobs.folder / "wild.onnx").write_bytes(model.SerializeToString())
    passes = [
        one_pass("fp32", model="free.onnx"),
        int8("own", calibrate("entropy2"), model="free.onnx"),
        one_pass("wild", model="wild.onnx"),
    ]
    for version in ("7.2.3", "10.3.0"):
        ended = jobs.run(version, passes)
        assert [ended.pass_(name)["status"] for name in ("fp32", "own")] == ["ok", "ok"], ended.log
        assert "only its first axis, the batch, may be free" in failed(ended, "wild")


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"thread": 1}, {}, "tensorrt has no option thread; it has: device, fallback"),
        ({"device": 3}, {}, "there is no GPU number 3: CUDA sees 1"),
        ({}, {"FAKE_CUDART_DEVICES": "0"}, "cudaErrorNoDevice"),
        ({"plugins": ["absent.so"]}, {}, "absent.so"),
    ],
)
def test_a_job_that_cannot_begin(
    jobs: Jobs, options: dict[str, Any], environment: dict[str, str], message: str
) -> None:
    ended = jobs.run("8.6.1", [one_pass("fp32")], options=options, environment=environment)
    document = json.loads((ended.result / "result.json").read_text())
    assert (document["status"], document["stage"]) == ("job_failed", "probe")
    assert message in document["error"]["message"]


def test_unsupported_options_are_no_failures(jobs: Jobs) -> None:
    for version, options in (
        ("8.4.1.5", {"optimization_level": 3}),
        ("7.0.0", {"tactic_sources": ["CUDNN"]}),
    ):
        ended = jobs.run(version, [one_pass("fp32")], options=options)
        assert ended.pass_("fp32")["status"] == "unsupported"
    ended = jobs.run("11.4.0.106", [one_pass("int8")], options={"tactic_sources": ["CUDNN"]})
    assert "no tactic source CUDNN; it has: EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS" in failed(
        ended
    )


def test_the_jobs_own_calibration_runs_on_tensorrt(jobs: Jobs) -> None:
    from conftest import TENSORS, golden

    (jobs.folder / "calibration.onnx").write_bytes(network(TENSORS[1:]))
    ended = jobs.run("8.6.1", [], calibration=golden()["calibration"])
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    made = json.loads((ended.result / "calibration.json").read_text())
    assert made["algorithms"]["minmax"].keys() == set(TENSORS)


def test_the_host_reads_all_that_a_job_tells(jobs: Jobs) -> None:
    from runner.execution.answers import ResultFolder
    from runner.execution.shares import shares_of_layers

    passes = [
        int8("own", calibrate("entropy2"), compare_with=None),
        int8("never", calibrate("minimum"), compare_with=None),
    ]
    ended = jobs.run("8.6.1", passes, timing=TIMING)
    answers = ResultFolder(ended.result)
    own, never = answers.answer("own"), answers.answer("never")
    assert own is not None
    assert (own.build, own.layers, own.cache) == ("build.json", "layers.json", "calibration.cache")
    assert own.latency is not None
    assert len(own.latency.device_s or ()) == len(own.latency.samples_s)
    table = answers.cache_table("own", own.cache or "", environment="trt-8.6.1")
    assert table.amax.keys() == set(TABLE)
    heads = [("large", "large"), ("small", "small")]
    layers = answers.layers("own", own.layers or "")
    found = shares_of_layers(layers, jobs.folder / "model.onnx", heads, quantised=True)
    assert [found[head].ratio for head, _ in heads] == [1.0, 1.0]
    assert found["small"].integer_operators == {"Resize": 1}
    assert never is not None
    assert never.status == "unsupported"
    assert never.error is not None
    assert "it has: entropy, entropy2, legacy, minmax" in never.error.message
