"""Networks for engines where types decide: which file a job takes, and where bfloat16 is refused."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from job import protocol
from tests.job.tensorrt_jobs import FAKES, Jobs, old_network
from tests.job.test_job_tensorrt import with_float16
from tests.job.two_heads import golden, one_pass, write_request
from tests.unit.programs import ran

HALF = {"model": "half.onnx", "reason": None}
NEVER = {"model": None, "reason": "nothing of it can be float16"}


@pytest.fixture
def halved(jobs: Jobs) -> Jobs:
    (jobs.folder / "half.onnx").write_bytes(with_float16(old_network()))
    return jobs


@pytest.mark.parametrize(
    ("version", "options", "read"),
    [
        ("11.4.0.106", {}, "half.onnx"),
        ("10.16.1.11", {"typed": "strong"}, "half.onnx"),
        ("10.16.1.11", {}, "model.onnx"),
        ("8.6.1", {}, "model.onnx"),
    ],
)
def test_types_decide_only_where_they_do(
    halved: Jobs, version: str, options: dict[str, Any], read: str
) -> None:
    passes = [one_pass("fp32"), one_pass("fp16", precision="fp16", typed=HALF)]
    ended = halved.run(version, passes, options=options)
    assert ended.pass_("fp16")["status"] == "ok", ended.pass_("fp16")["error"]
    assert ended.pass_("fp16")["model"] == read
    assert ended.pass_("fp32")["model"] == "model.onnx"
    assert ("FP16" in ended.told("fp16", "build")["flags"]) is (read == "model.onnx")


def test_why_there_is_none_is_the_reason(halved: Jobs) -> None:
    ended = halved.run("11.4.0.106", [one_pass("fp16", precision="fp16", typed=NEVER)])
    assert ended.pass_("fp16")["status"] == "unsupported"
    assert NEVER["reason"] in ended.pass_("fp16")["error"]["message"]
    weak = halved.run("10.16.1.11", [one_pass("fp16", precision="fp16", typed=NEVER)])
    assert weak.pass_("fp16")["status"] == "ok"


def test_a_converted_network_that_cannot_be_read_is_not_replaced_by_another(halved: Jobs) -> None:
    (halved.folder / "bad.onnx").write_bytes(b"no network")
    typed = {"model": "bad.onnx", "reason": None}
    passes = [one_pass("fp16", precision="fp16", typed=typed, alternatives=["half.onnx"])]
    ended = halved.run("11.4.0.106", passes)
    assert ended.pass_("fp16")["status"] == "job_failed"
    assert "cannot read the network" in ended.pass_("fp16")["error"]["message"]


def test_without_a_converted_network_fp32_never_passes_for_less(jobs: Jobs) -> None:
    ended = jobs.run("11.4.0.106", [one_pass("bf16", precision="bf16")])
    assert ended.pass_("bf16")["status"] == "unsupported"
    assert "convert it to bfloat16 first" in ended.pass_("bf16")["error"]["message"]


@pytest.mark.parametrize("version", ["7.2.3", "8.6.1"])
def test_bf16_before_there_was_any(jobs: Jobs, version: str) -> None:
    ended = jobs.run(version, [one_pass("bf16", precision="bf16")])
    assert ended.pass_("bf16")["status"] == "unsupported"
    assert "has no bfloat16" in ended.pass_("bf16")["error"]["message"]


def test_bf16_by_a_flag(jobs: Jobs) -> None:
    ended = jobs.run("10.16.1.11", [one_pass("fp32"), one_pass("bf16", precision="bf16")])
    assert ended.pass_("bf16")["status"] == "ok", ended.pass_("bf16")["error"]
    assert ended.told("bf16", "build")["flags"] == ["BF16"]


@pytest.mark.parametrize(
    ("version", "capability", "strong", "message"),
    [
        ("10.16.1.11", 75, False, "this one has 7.5"),
        ("11.4.0.106", 75, True, "this one has 7.5"),
        ("11.4.0.106", 80, True, ""),
        ("10.16.1.11", 120, False, ""),
        ("8.6.1", 90, False, "TensorRT 8.6.1 has no bfloat16"),
    ],
)
def test_bf16_needs_ampere(version: str, capability: int, strong: bool, message: str) -> None:
    program = (
        "from job.engines.tensorrt import configuration\n"
        f"configuration.check_bf16({strong}, {capability})"
    )
    paths = f"{FAKES / 'tensorrt'}:{Path(protocol.__file__).parents[1]}"
    done = ran(
        sys.executable,
        "-c",
        program,
        code=None,
        env={"PYTHONPATH": paths, "FAKE_TENSORRT": version, "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode != 0) is bool(message)
    assert message in done.stderr


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("half.onnx", "is no JSON object"),
        ([], "is no JSON object"),
        ({}, "lacks model, reason"),
        ({"model": None, "reason": None}, "either a model or a reason"),
        ({"model": "a", "reason": "b"}, "either a model or a reason"),
        ({"model": 3, "reason": None}, "is no text"),
    ],
)
def test_a_request_that_says_it_badly_is_refused(tmp_path: Path, typed: Any, message: str) -> None:
    request = copy.deepcopy(golden())
    request["passes"][0]["typed"] = typed
    write_request(tmp_path / "request", request)
    with pytest.raises(protocol.ProtocolError, match=message):
        protocol.read_request(str(tmp_path / "request"))


def test_its_path_is_the_requests(tmp_path: Path) -> None:
    request = copy.deepcopy(golden())
    request["passes"][0]["typed"] = HALF
    write_request(tmp_path / "request", request)
    read = protocol.read_request(str(tmp_path / "request"))
    assert read["passes"][0]["typed"]["model"] == str(tmp_path / "request" / "half.onnx")
    assert read["passes"][1]["typed"] is None
    assert json.loads(json.dumps(read["passes"][0]["typed"]))["reason"] is None
