"""Same, different, or cannot judge: what decides it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trt_matrix.containers.job import compare_again

PROBE = {
    "engine": {"name": "onnxruntime", "version": "1.32.0"}, "processor": "EPYC",
    "processor_flags": ["avx2"], "gpu": None,
}  # fmt: skip


def expected(**changes: Any) -> dict[str, Any]:
    head = {"reference": "r.npy", "nmse": [0.01, 0.0102], "variance": 1e-4, "degrees": 1}
    entry = {
        "cell": "c", "pass": "p", "status": "ok", "measured": True,
        "place": compare_again.place(PROBE), "heads": {"small": head},
    }  # fmt: skip
    entry["heads"]["small"] |= changes.pop("head", {})
    return entry | changes


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    (tmp_path / "objects").mkdir()
    np.save(tmp_path / "objects" / "r.npy", np.ones((2, 3), np.float32))
    return tmp_path


def answered(jobs: Path, nmse: float, probe: Any = PROBE, status: str = "ok") -> list[str]:
    folder = jobs / "work" / "id" / "start-1" / "result" / "passes" / "p"
    folder.mkdir(parents=True)
    np.save(folder / "small.npy", np.full((2, 3), 1 + np.sqrt(nmse), np.float32))
    answer = {"status": status, "outputs": {"small": {"file": "small.npy"}}}
    (folder / "pass.json").write_text(json.dumps(answer))
    (folder.parents[1] / "probe.json").write_text(json.dumps(probe))
    return [str(folder.parents[1])]


def word(jobs: Path, results: list[str], **changes: Any) -> tuple[str, str]:
    found = compare_again.compared(expected(**changes), results, str(jobs))
    return found[0], found[1]


def test_within_the_noise_it_is_the_same(jobs: Path) -> None:
    assert word(jobs, answered(jobs, 0.0103))[0] == "same"


def test_beyond_the_noise_it_is_different(jobs: Path) -> None:
    said = word(jobs, answered(jobs, 0.012))
    assert said == ("different", "the error of small is another, beyond the noise of its repeats")


def test_elsewhere_another_error_cannot_be_judged_but_the_same_one_can(jobs: Path) -> None:
    moved = PROBE | {"processor": "Xeon"}
    results = answered(jobs, 0.012, moved)
    kind, why = word(jobs, results)
    assert kind == "cannot judge"
    assert "processor EPYC there, Xeon here" in why
    assert word(jobs, results, head={"nmse": [0.012, 0.012]})[0] == "same"


def test_one_repeat_knows_no_noise(jobs: Path) -> None:
    results = answered(jobs, 0.012)
    kind, why = word(jobs, results, head={"nmse": [0.01], "degrees": 0, "variance": 0.0})
    assert (kind, "one repeat" in why) == ("cannot judge", True)
    # One percent of an error has no meaning, whatever its noise.
    assert word(jobs, results, head={"nmse": [0.01195], "degrees": 0, "variance": 0.0})[0] == "same"


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("crashed", None, "same"), ("job_failed", "job_failed", "same"),
        ("crashed", "job_failed", "different"), ("crashed", "ok", "different"),
        ("ok", "job_failed", "different"),
    ],
)  # fmt: skip
def test_failures(jobs: Path, then: str, now: str | None, said: str) -> None:
    results = answered(jobs, 0.01, status=now) if now else []
    assert word(jobs, results, status=then)[0] == said


def test_no_answer_and_no_probe_cannot_be_judged(jobs: Path) -> None:
    assert word(jobs, [])[0] == "cannot judge"


def test_infinite_outputs_are_the_same_as_infinite_outputs(jobs: Path) -> None:
    results = answered(jobs, float("inf"))
    assert word(jobs, results, head={"nmse": []})[0] == "same"
    assert word(jobs, results)[0] == "different"


def test_where_a_gpu_computes_the_processor_decides_nothing() -> None:
    gpu = {"name": "T4", "uuid": "GPU-1", "compute_capability": "7.5"}
    there = compare_again.place(PROBE | {"gpu": gpu})
    here = compare_again.place(PROBE | {"gpu": gpu | {"uuid": "GPU-2"}, "processor": "Xeon"})
    assert there == here
    assert "GPU T4 there, L4 here" in compare_again.elsewhere(there, here | {"GPU": "L4"})


def test_as_a_program(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(jobs, 0.0101)
    (jobs / "expected.json").write_text(json.dumps({"id": expected()}))
    monkeypatch.chdir(jobs)
    assert compare_again.main(["id"]) == 0
    assert "small                      0.0101       0.0101" in capsys.readouterr().out
    assert compare_again.main(["other"]) == 2
    assert "there are: id" in capsys.readouterr().err
    assert compare_again.main([]) == 2
