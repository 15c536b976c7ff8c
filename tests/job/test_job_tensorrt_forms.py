"""A pass whose network is there in several forms: the job takes the first that the parser reads."""

import json
import shutil
from pathlib import Path

import pytest

from job import protocol
from tests.job.tensorrt_jobs import Jobs, carried, int8
from tests.job.two_heads import golden, one_pass, write_request

needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)
FORMS = {"model": "model.onnx", "alternatives": ["old.onnx"]}


@needs_gcc
@pytest.mark.parametrize(
    ("version", "read", "refused"),
    [
        ("5.1.5", "old.onnx", ["model.onnx"]),
        ("6.0.1", "old.onnx", ["model.onnx"]),
        ("8.6.1", "model.onnx", []),
    ],
)
def test_the_first_form_that_the_parser_reads(
    jobs: Jobs, version: str, read: str, refused: list[str]
) -> None:
    ended = jobs.run(
        version, [one_pass("fp32", **FORMS), int8("range", carried("dynamic_range"), **FORMS)]
    )
    for name in ("fp32", "range"):
        answer = ended.pass_(name)
        assert answer["status"] == "ok", answer["error"]
        assert (answer["model"], sorted(answer["refused"])) == (read, refused)
        assert all("Resize" in said for said in answer["refused"].values())
    assert ended.told("range", "build")["scales"]["unmapped"] == []
    assert ended.live == "live 0"


@needs_gcc
def test_where_no_form_is_read_all_reasons_are_told(jobs: Jobs) -> None:
    (jobs.folder / "cut.onnx").write_bytes((jobs.folder / "old.onnx").read_bytes()[:99])
    ended = jobs.run("5.1.5", [one_pass("fp32", model="model.onnx", alternatives=["cut.onnx"])])
    answer = ended.pass_("fp32")
    assert (answer["status"], answer["model"]) == ("job_failed", None)
    assert answer["error"]["type"] == "UnreadableError"
    for said in ("none of the network's 2 forms", "Resize", "Failed to parse the ONNX model"):
        assert said in answer["error"]["message"]


@needs_gcc
def test_only_the_parsers_refusal_leads_to_another_form(jobs: Jobs) -> None:
    import onnx

    model = onnx.load(jobs.folder / "old.onnx")
    model.producer_name = "build_fails"
    onnx.save(model, jobs.folder / "unbuildable.onnx")
    passes = [one_pass("fp32", model="unbuildable.onnx", alternatives=["old.onnx"])]
    answer = jobs.run("8.6.1", passes).pass_("fp32")
    assert answer["status"] == "job_failed"
    assert "Could not find any implementation" in answer["error"]["message"]


@pytest.mark.parametrize("wrong", ["old.onnx", [7], {"a": 1}, None])
def test_alternatives_are_a_list_of_paths(tmp_path: Path, wrong: object) -> None:
    write_request(tmp_path, golden() | {"passes": [one_pass("fp32", alternatives=wrong)]})
    with pytest.raises(protocol.ProtocolError, match=r"passes\[0\]\.alternatives is no list"):
        protocol.read_request(str(tmp_path))


def test_without_alternatives_a_request_is_what_it_was(tmp_path: Path) -> None:
    write_request(tmp_path, golden() | {"passes": [one_pass("fp32")]})
    assert protocol.read_request(str(tmp_path))["passes"][0]["alternatives"] == []
    assert "alternatives" not in json.dumps(golden())
