"""Answers of jobs that were killed, that lie, or that mean harm."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.containers.job import protocol
from trt_matrix.execution import answer_models
from trt_matrix.execution.answer_models import PassAnswer
from trt_matrix.execution.answers import AnswerError, ResultFolder

GOOD = {
    "schema_version": 1,
    "name": "fp32",
    "status": "ok",
    "error": None,
    "stages": {"infer": 0.5},
    "outputs": {"small": {"file": "small.npy", "shape": [4, 2]}},
    "latency": {"batch": 1, "warm_up": 0, "samples_s": [0.001]},
    "compare": None,
    "executed": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    (tmp_path / "passes" / "fp32").mkdir(parents=True)
    return ResultFolder(tmp_path)


def put(folder: ResultFolder, **changes: Any) -> None:
    text = json.dumps(GOOD | changes)
    (folder.folder / "passes/fp32/pass.json").write_text(text)


def answer(folder: ResultFolder, **changes: Any) -> PassAnswer:
    put(folder, **changes)
    pass_answer = folder.answer("fp32")
    assert pass_answer is not None
    return pass_answer


def test_nothing_there_is_no_answer(folder: ResultFolder) -> None:
    assert folder.stage() is None
    assert folder.job() is None
    assert folder.calibration() is None
    assert folder.probe() == {}
    assert folder.answer("fp32") is None
    assert folder.answer("never-run") is None
    assert not folder.finished("fp32")


def test_a_good_answer_is_read(folder: ResultFolder) -> None:
    pass_answer = answer(folder)
    assert pass_answer.stages == {"infer": 0.5}
    assert pass_answer.latency is not None
    assert pass_answer.latency.samples_s == (0.001,)
    assert folder.finished("fp32")


@pytest.mark.parametrize("status", ["ok", "job_failed"])
def test_every_status_that_the_job_writes_is_understood(folder: ResultFolder, status: str) -> None:
    error = {"type": "ImportError", "message": "no numpy", "traceback": "..."}
    result = {"schema_version": 1, "status": status, "stage": "probe", "error": error}
    protocol.write_json(str(folder.folder / protocol.RESULT), result)
    job = folder.job()
    assert job is not None
    assert job.sentence() == "probe: ImportError: no numpy"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"status": "fine"},
        {"error": "text"},
        {"status": "job_failed"},
        {"stages": {"infer": -1.0}},
        {"latency": {"batch": 1, "warm_up": 0, "samples_s": []}},
        {"latency": {"batch": 0, "warm_up": 0, "samples_s": [1.0]}},
        {"latency": {"batch": 1, "warm_up": 0, "samples_s": [-1.0]}},
        {"latency": {"batch": 1, "warm_up": 0, "samples_s": ["fast"]}},
        {"outputs": None},
        {"outputs": {"small": "small.npy"}},
        {"outputs": {"small": {"file": "small.npy", "shape": [-4, 2]}}},
        {"stages": {"infer": 1e308}},
        {"latency": {"batch": 1, "warm_up": 0, "samples_s": [1e308, 1e308]}},
        {"latency": {"batch": 1, "warm_up": 10**400, "samples_s": [1.0]}},
        {"stages": {str(number): 1.0 for number in range(101)}},
    ],
)
def test_a_wrong_answer_is_refused(folder: ResultFolder, changes: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        answer(folder, **changes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"NaN",
        b'{"stages": {"infer": 1e999}}',
        b"[" * 200_000,
        json.dumps(GOOD).encode()[:-1],
        b'{"a": ' * 50 + b"1" + b"}" * 50,
        b"9" * 10_000,
    ],
)
def test_what_is_no_json_is_refused(folder: ResultFolder, content: bytes) -> None:
    (folder.folder / "passes/fp32/pass.json").write_bytes(content)
    if content == b"null":
        assert folder.answer("fp32") is None
        return
    with pytest.raises(AnswerError, match="pass.json is not a valid answer"):
        folder.answer("fp32")


def calibration(folder: ResultFolder, **changes: Any) -> answer_models.CalibrationAnswer | None:
    content = {
        "schema_version": 1,
        "seconds": 1.0,
        "images": 2,
        "algorithms": {"minmax": {"t": 1.0}},
        "unusable": {},
    }
    (folder.folder / protocol.CALIBRATION).write_text(json.dumps(content | changes))
    return folder.calibration()


def test_what_a_calibration_saw_and_clipped_is_read(folder: ResultFolder) -> None:
    calibration_answer = calibration(folder, seen={"t": 1.0}, clipped={"minmax": {"t": 0.25}})
    assert calibration_answer is not None
    assert (calibration_answer.seen, calibration_answer.clipped) == (
        {"t": 1.0},
        {"minmax": {"t": 0.25}},
    )
    before = calibration(folder)
    assert before is not None
    assert (before.seen, before.clipped) == ({}, {})


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seen": {"t": -1.0}}, "seen.t"),
        ({"seen": {"t": 1e39}}, "seen.t"),
        ({"seen": {"t": None}}, "seen.t"),
        ({"seen": []}, "seen"),
        ({"clipped": {"minmax": {"t": 1.01}}}, "clipped.minmax.t"),
        ({"clipped": {"minmax": {"t": -0.1}}}, "clipped.minmax.t"),
        ({"clipped": {"minmax": 0.1}}, "clipped.minmax"),
    ],
)
def test_what_cannot_have_been_seen_or_clipped_is_refused(
    folder: ResultFolder, changes: dict[str, Any], where: str
) -> None:
    with pytest.raises(AnswerError, match=where):
        calibration(folder, **changes)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = ResultFolder(tmp_path_factory.getbasetemp())
    for name in (protocol.RESULT, protocol.PROBE, protocol.STAGE, protocol.CALIBRATION):
        (folder.folder / name).write_bytes(content)
    for read in (folder.job, folder.calibration):
        with contextlib.suppress(AnswerError):
            read()
    folder.stage()
    json.dumps(folder.probe(), allow_nan=False).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(facts=st.dictionaries(st.text(), JSON, max_size=4))
def test_facts_can_be_written_down_again(
    tmp_path_factory: pytest.TempPathFactory, facts: dict[str, Any]
) -> None:
    folder = ResultFolder(tmp_path_factory.getbasetemp())
    (folder.folder / protocol.PROBE).write_text(json.dumps(facts))
    json.dumps(folder.probe(), allow_nan=False, ensure_ascii=False).encode("utf-8")


def test_lone_surrogates_are_replaced(folder: ResultFolder) -> None:
    """JSON can spell them, a stored record could not be read back."""
    (folder.folder / protocol.PROBE).write_text('{"LD_LIBRARY_PATH": "/opt/\\udcff"}')
    assert folder.probe() == {"LD_LIBRARY_PATH": "/opt/?"}
    error = {"type": "E", "message": "\udcff"}
    assert answer(folder, status="job_failed", error=error).error is not None


def test_a_damaged_probe_is_a_fact(folder: ResultFolder) -> None:
    (folder.folder / protocol.PROBE).write_text('{"memory": Infinity}')
    assert "Infinity is no finite number" in folder.probe()["problem"]


def test_a_huge_answer_is_not_read(folder: ResultFolder) -> None:
    path = folder.folder / protocol.RESULT
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: takes no disk
    with pytest.raises(AnswerError, match="has 1099.5 GB, more than 67.1 MB"):
        folder.job()


def test_a_long_error_is_cut(folder: ResultFolder) -> None:
    pass_answer = answer(
        folder, status="job_failed", error={"type": "E", "message": "x" * 10_000_000}
    )
    assert pass_answer.error is not None
    assert len(pass_answer.error.sentence()) == answer_models.REASON_LIMIT


def test_a_pipe_does_not_block_and_a_link_is_not_followed(folder: ResultFolder) -> None:
    os.mkfifo(folder.folder / protocol.RESULT)
    with pytest.raises(AnswerError, match="no plain file"):
        folder.job()
    (folder.folder / protocol.CALIBRATION).symlink_to("/etc/passwd")
    with pytest.raises(AnswerError, match="cannot be read"):
        folder.calibration()
    (folder.folder / protocol.STAGE).mkdir()
    assert folder.stage() is None


def test_the_stage_is_shown_as_far_as_it_goes(folder: ResultFolder) -> None:
    (folder.folder / protocol.STAGE).write_bytes(b"infer \xff" + b"x" * 1_000_000 + b"\n")
    stage = folder.stage()
    assert stage is not None
    assert stage.startswith("infer \ufffdx")
    assert len(stage) == 200


# Arrays


def npy(folder: ResultFolder, array: Any, name: str = "small.npy") -> Path:
    path = folder.folder / "passes/fp32" / name
    np.save(path, array)
    return path


def output(folder: ResultFolder, shape: tuple[int, ...] | None = None) -> Path:
    return folder.output("fp32", "small", answer(folder), images=4, shape=shape)


def test_an_array_as_expected_is_taken(folder: ResultFolder) -> None:
    path = npy(folder, np.zeros((4, 2), np.float32))
    taken = output(folder)
    assert taken == output(folder, (4, 2)) != path
    assert taken.read_bytes() == path.read_bytes()
    path.write_bytes(b"changed by the job")
    assert np.load(output(folder)).shape == (4, 2)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 2)), "type <f8"),
        (np.zeros((4, 2), ">f4"), "type >f4"),
        (np.zeros((3, 2), "f4"), "expected 4 images"),
        (np.zeros(4, "f4"), "expected 4 images"),
        (np.array([None] * 4), "cannot be read"),
        (np.zeros((4, 3), "f4"), "the reference's is (4, 2)"),
    ],
)
def test_another_array_is_refused(folder: ResultFolder, array: Any, words: str) -> None:
    npy(folder, array)
    with pytest.raises(AnswerError) as caught:
        output(folder, (4, 2))
    assert words in str(caught.value)


@pytest.mark.parametrize("size", [0, 5, 100, 128, 150])
def test_a_truncated_array_is_refused(folder: ResultFolder, size: int) -> None:
    path = npy(folder, np.zeros((4, 2), np.float32))
    os.truncate(path, size)
    with pytest.raises(AnswerError, match=r"small\.npy cannot be read as an array"):
        output(folder)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_no_array(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = ResultFolder(tmp_path_factory.getbasetemp() / "any")
    (folder.folder / "passes/fp32").mkdir(parents=True, exist_ok=True)
    (folder.folder / "passes/fp32/small.npy").write_bytes(content)
    with pytest.raises(AnswerError):
        output(folder)


def test_an_archive_is_no_array(folder: ResultFolder) -> None:
    np.savez(folder.folder / "passes/fp32/small.npz", a=np.zeros((4, 2), np.float32))
    archive = folder.folder / "passes/fp32/small.npz"
    archive.rename(archive.with_suffix(".npy"))
    with pytest.raises(AnswerError, match="cannot be read as an array"):
        output(folder)


def with_header(header: bytes, content: bytes = b"\0" * 32) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    "content",
    [
        with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -2), }\n"),
        with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }" + b"(" * 9000 + b"\n"),
        with_header(b"(" * 9000),
        with_header(b"{'descr': '<f4', 'fortran_order': True, 'shape': (4, 2), }\n"),
        with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }\n", b"\0" * 36),
        with_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (4, 2), }\n"),
        with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b", 2), }\n"),
        with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 999999999999999), }\n"),
    ],
)  # fmt: skip
def test_no_header_is_fatal(folder: ResultFolder, content: bytes) -> None:
    (folder.folder / "passes/fp32/small.npy").write_bytes(content)
    with pytest.raises(AnswerError, match="cannot be read as an array"):
        output(folder)


def test_an_array_of_holes_is_refused_before_it_is_read(folder: ResultFolder) -> None:
    path = npy(folder, np.zeros((4, 2), np.float32))
    os.truncate(path, 200 << 30)
    with pytest.raises(AnswerError, match="has 214.7 GB, more than"):
        output(folder, (4, 2))
    with pytest.raises(AnswerError, match="has 214.7 GB, more than 20.0 GB"):
        output(folder)


@pytest.mark.parametrize(
    "facts",
    [
        {"engine": "text"},
        {"packages": ["numpy"]},
        {"python": {"a": 1}},
        {"processor_flags": {"avx": 1}},
        {"environment": {"PATH": 1}},
        {"usable_cores": 1e300},
        [1],
    ],
)
def test_a_probe_of_another_form_is_told_and_not_kept(folder: ResultFolder, facts: Any) -> None:
    (folder.folder / protocol.PROBE).write_text(json.dumps(facts))
    assert "is not a valid answer" in folder.probe()["problem"]


@pytest.mark.parametrize(
    "name",
    [
        "../fp32/small.npy",
        "/etc/passwd",
        "",
        "..",
        ".",
        "a\0b",
        "no",
        "n" * 5000,
        "x." + "s" * 100,
        "a\x1b[2J",
    ],
)
def test_only_files_of_its_own_folder_are_taken(folder: ResultFolder, name: str) -> None:
    npy(folder, np.zeros((4, 2), np.float32))
    with pytest.raises(AnswerError, match="no file of its folder"):
        folder.file("fp32", name)


def test_links_are_not_taken_on_any_level(folder: ResultFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "small.npy", np.zeros((4, 2), np.float32))
    (folder.folder / "passes/fp32/small.npy").symlink_to(elsewhere / "small.npy")
    with pytest.raises(AnswerError):
        folder.file("fp32", "small.npy")
    (folder.folder / "passes/linked").symlink_to(elsewhere)
    with pytest.raises(AnswerError):
        folder.file("linked", "small.npy")
