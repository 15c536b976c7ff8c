"""A UFF file among a pass's forms: read where TensorRT has a parser of such files, by the ONNX form's names."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from job import protocol
from tests.fakes.uff_file import uff_file
from tests.job.tensorrt_jobs import Jobs, calibrate, carried, int8, old_network, reference
from tests.job.two_heads import golden, one_pass, write_request

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)
NODES = {"large": "yolo/large/BiasAdd", "small": "yolo/small/BiasAdd"}
FORM: dict[str, Any] = {
    "uff": "net.uff",
    "input": {"node": "inputs", "name": "image", "shape": [3, 32, 40]},
    "outputs": NODES,
}
READ = ("5.0.6", "5.1.5", "6.0.1", "7.2.3", "8.0.3", "8.5.3.1", "8.6.1")


def write_uff(jobs: Jobs) -> None:
    """Writes the same function under TensorFlow's names."""
    names = NODES | {"image": "inputs", "r1": "yolo/relu"}
    content = uff_file(onnx.load_from_string(old_network()), names)
    (jobs.folder / "net.uff").write_bytes(content)


def shape_of_image(jobs: Jobs) -> list[int]:
    return list(np.load(jobs.folder / "evaluation.npy", mmap_mode="r").shape[1:])


@pytest.fixture
def form(jobs: Jobs) -> dict[str, Any]:
    write_uff(jobs)
    (jobs.folder / "cut.onnx").write_bytes(old_network()[:99])
    given = {**FORM, "input": {**FORM["input"], "shape": shape_of_image(jobs)}}
    return {"model": "cut.onnx", "alternatives": [given]}


@pytest.mark.parametrize("version", READ)
def test_it_gives_what_the_onnx_form_gives(jobs: Jobs, form: dict[str, Any], version: str) -> None:
    entropy = calibrate("entropy" if version.startswith("5.0") else "entropy2")
    ended = jobs.run(
        version,
        [
            one_pass("fp32", **form),
            int8("own", entropy, **form),
            int8("range", carried("dynamic_range"), **form),
        ],
    )
    images = np.load(jobs.folder / "evaluation.npy")
    for head, expected in zip(NODES, reference(old_network(), images, tuple(NODES)), strict=True):
        np.testing.assert_allclose(ended.output("fp32", head), expected, rtol=1e-4, atol=1e-5)
    for name in ("fp32", "own", "range"):
        answer = ended.pass_(name)
        assert answer["status"] == "ok", answer["error"]
        assert (answer["model"], sorted(answer["refused"])) == ("net.uff", ["cut.onnx"])
    # The names of the input and the heads are the ONNX form's, those between are TensorFlow's.
    own = ended.told("own", "build")["scales"]
    assert own["unmapped"] == []
    carried_ = ended.told("range", "build")["scales"]
    assert "yolo/relu" in carried_["unmapped"]
    assert not {"image", "large", "small"} & set(carried_["unmapped"])
    assert ended.live == "live 0"


@pytest.mark.parametrize("version", ["9.3.0", "10.3.0", "11.4.0.106"])
def test_a_tensorrt_without_its_parser_says_so(
    jobs: Jobs, form: dict[str, Any], version: str
) -> None:
    answer = jobs.run(version, [one_pass("fp32", **form)]).pass_("fp32")
    assert answer["status"] == "job_failed"
    assert (
        f"TensorRT {version} has no parser of UFF files (5 to 8 have)" in answer["error"]["message"]
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"outputs": {**NODES, "small": "no/such"}}, "are its nodes inputs, no/such"),
        ({"input": {**FORM["input"], "node": "nowhere"}}, "are its nodes nowhere, "),
        ({"input": {**FORM["input"], "shape": [3, 1, 1]}}, "cannot read the UFF network"),
    ],
)
def test_what_the_parser_refuses_is_told(
    jobs: Jobs, form: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    wrong = {**form["alternatives"][0], **change}
    answer = jobs.run("6.0.1", [one_pass("fp32", **{**form, "alternatives": [wrong]})]).pass_(
        "fp32"
    )
    assert answer["error"]["type"] == "UnreadableError"
    assert told in answer["error"]["message"]


def test_rubbish_is_refused(jobs: Jobs, form: dict[str, Any]) -> None:
    (jobs.folder / "net.uff").write_bytes(b"\0" * 99)
    answer = jobs.run("5.1.5", [one_pass("fp32", **form)]).pass_("fp32")
    assert "cannot read the UFF network" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"uff": "net.uff"}, "lacks input, outputs"),
        ({**FORM, "input": {"node": "a"}}, "lacks name, shape"),
        ({**FORM, "outputs": []}, "is no JSON object"),
    ],
)
def test_a_form_says_all_that_the_parser_asks(tmp_path: Path, wrong: object, told: str) -> None:
    write_request(tmp_path, golden() | {"passes": [one_pass("fp32", alternatives=[wrong])]})
    with pytest.raises(protocol.ProtocolError, match=told):
        protocol.read_request(str(tmp_path))
