"""Jobs on a fake TensorRT that fails, misbehaves or is asked for what it has not: all is told."""

import json
import shutil
import signal
from typing import Any

import pytest

from tests.job.tensorrt_jobs import OLD, TIMING, Ended, Jobs, calibrate, carried, int8
from tests.job.two_heads import network, one_pass

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)


def failed(ended: Ended, name: str = "int8") -> str:
    """Returns the error of a pass that failed, where nothing else did and nothing leaked."""
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    answer = ended.pass_(name)
    assert answer["status"] == "job_failed"
    assert answer["outputs"] == {}
    return answer["error"]["message"]


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
        ended = jobs.run(version, passes, timing={**TIMING, "layer_runs": 1})
        assert [ended.pass_(name)["status"] for name in ("fp32", "own")] == ["ok", "ok"], ended.log
        assert (
            ended.told("fp32", "layers")["times"]["problem"] is None
        )  # each context is told the batch
        assert "only its first axis, the batch, may be free" in failed(ended, "wild")


def test_layers_that_cannot_be_timed_lose_nothing_else(jobs: Jobs) -> None:
    model = misbehaving(jobs, "8.5.3.1", "one_context")
    passes = [one_pass("fp32", model=model), one_pass("other")]
    ended = jobs.run("8.5.3.1", passes, timing={**TIMING, "layer_runs": 1})
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    assert [ended.pass_(name)["status"] for name in ("fp32", "other")] == ["ok", "ok"]
    assert len(ended.pass_("fp32")["latency"]["samples_s"]) == 3
    told = ended.told("fp32", "layers")
    assert told["layers"]
    assert told["times"]["runs"] == 0
    assert "RunError: TensorRT made no second execution context" in told["times"]["problem"]


@pytest.mark.parametrize("version", ["8.5.3.1", "10.3.0"])
def test_a_job_that_dies_while_layers_are_timed_loses_their_times_only(
    jobs: Jobs, version: str
) -> None:
    from job import run_pack
    from trt_matrix.execution.answers import ResultFolder

    model = misbehaving(jobs, version, "dies_profiled")
    passes = [
        one_pass("fp32"),
        int8("int8", carried("dynamic_range"), model=model),
        one_pass("late"),
    ]
    ended = jobs.run(version, passes, timing={**TIMING, "layer_runs": 1})
    assert ended.code == -signal.SIGSEGV, ended.log
    answers = ResultFolder(ended.result)
    assert answers.stage() == "profile int8"
    # While it runs nobody takes the pass for finished: its layers' times may still come.
    assert not answers.finished("int8")
    assert answers.answer("int8", ended=False) is None
    assert answers.answer("late") is None
    answer = answers.answer("int8")
    assert answer is not None
    assert answer.latency is not None
    assert len(answer.latency.samples_s) == 3
    assert answer.outputs.keys() == {"large", "small"}
    # A pack's runner keeps it the same way, and starts again with what had no turn.
    assert [run_pack.answered_in(str(ended.result), name) for name in ("fp32", "int8", "late")] == [
        True, True, False,
    ]  # fmt: skip
    told = ended.told("int8", "layers")
    assert told["layers"]
    assert (told["times"]["runs"], told["times"]["layers"]) == (0, [])
    assert "the job ended while it timed them" in told["times"]["problem"]
    assert ended.pass_("int8")["compare"] is not None
    for name in ("fp32", "int8"):
        assert not (ended.result / "passes" / name / "untimed.json").exists()
    assert ended.told("fp32", "layers")["times"]["runs"] == 1


@pytest.mark.parametrize("runs", [-1, 2.5, "20", None, True])
def test_a_number_of_runs_that_is_none_is_refused(jobs: Jobs, runs: object) -> None:
    ended = jobs.run("8.5.3.1", [one_pass("fp32")], timing={**TIMING, "layer_runs": runs})
    document = json.loads((ended.result / "result.json").read_text())
    assert "timing.layer_runs is" in document["error"]["message"]


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"thread": 1}, {}, "tensorrt has no option thread; it has: batch, device, fallback"),
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


def test_held_layers_that_cannot_be(jobs: Jobs) -> None:
    passes = [one_pass("fp32"), int8("int8", carried("dynamic_range"))]
    ended = jobs.run("8.6.1", passes, options={"fp32_layers": ["larg", "small"]})
    assert ended.pass_("fp32")["status"] == "ok"
    assert "fp32_layers names larg, which TensorRT 8.6.1 found in no" in failed(ended, "int8")
    assert "near: large" in failed(ended, "int8")
    ended = jobs.run("11.4.0.106", [int8("int8", None)], options={"fp32_layers": ["r1"]})
    assert ended.pass_("int8")["status"] == "job_failed"  # no Q/DQ nodes: that comes first
