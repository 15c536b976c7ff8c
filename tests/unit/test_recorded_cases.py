"""What strangers recorded and were told something false about: each made anew, and what is right.

The situations are public reports' (NVIDIA/TensorRT#4748, NVlabs/FB-BEV#67) and the question that this project
began with; every run goes the way that a user goes, from files to exit code.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recordings import Recording, Spoil, exactly, noisy, only
from trt_matrix.core.answer import Answer
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.errors import ExitCode
from trt_matrix.judging.outcome import Outcome

GATE = {"sqnr_db": 20}


def answer(outcome: Outcome, head: str = "small") -> Answer:
    (found,) = (answer for answer in outcome.judgement.answers if answer.head == head)
    return found


def kinds(outcome: Outcome, head: str = "small") -> set[Kind]:
    return {finding.kind for finding in answer(outcome, head).findings}


def told(outcome: Outcome, head: str = "small") -> str:
    return f"{answer(outcome, head).fault}. {answer(outcome, head).text} {outcome.judgement.sentences[head]}"


def test_fp16_that_lost_a_head_and_fp16_that_is_nan(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.version("trt103", "10.3.0", fp32=exactly, fp16=noisy(0.001, 1))
    recording.version(
        "trt86", "8.6.1", fp32=exactly, fp16=only("small", noisy(0.3, 2), noisy(0.001, 2))
    )
    recording.version(
        "trt1016", "10.16.0", fp32=exactly, fp16=lambda y, _h, _r: np.full_like(y, np.nan)
    )
    outcome = recording.run(GATE)
    for head in ("large", "small"):
        first = answer(outcome, head).findings[0]
        assert first.kind is Kind.BROKEN_OUTPUT, "NaN leads the card"
        assert first.environments == ("trt1016",)
        assert "NaN or infinite in 16 of 16 images" in first.text
    (bad,) = (
        finding for finding in answer(outcome).findings if finding.kind is Kind.FP16_REGRESSION
    )
    assert bad.environments == ("trt86",)
    assert "trt103" in bad.text, "the version that is well is named beside it"
    assert Kind.FP16_REGRESSION not in kinds(outcome, "large")
    assert outcome.judgement.gates_set
    assert outcome.exit_code(strict=False) is ExitCode.GATE_FAILED
    assert "Nothing was measured" not in outcome.report.read_text()


def test_fp16_that_is_bad_is_told_without_any_gate_too(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.version("v1", "8.5.1", fp32=exactly, fp16=noisy(0.3, 2))
    outcome = recording.run()
    assert answer(outcome).findings[0].kind is Kind.FP16_REGRESSION
    assert answer(outcome).severity is Severity.SEVERE
    assert not answer(outcome).clean


def test_a_cell_that_holds_its_gate_is_not_told_that_8_bits_are_not_enough(tmp_path: Path) -> None:
    """50 dB, gate 30 dB; 8 bits in every layer could keep less, whatever the table."""
    recording = Recording(tmp_path)
    recording.cache(factor=2.8)  # as other images may give: told, and used
    recording.version("app", "8.6.1", fp32=exactly, int8=noisy(0.003))
    recording.environments[0]["passes"]["int8"]["table"] = "dumps/calibration-2.8.cache"
    outcome = recording.run({"sqnr_db": 30})
    assert Kind.INT8_LIMIT not in kinds(outcome)
    assert not kinds(outcome) & {Kind.CALIBRATION_PROBLEM, Kind.ENGINE_LOSS}
    assert "some of it ran in float" in told(outcome)
    assert outcome.exit_code(strict=False) is ExitCode.OK


def test_one_bright_image_decides_nothing(tmp_path: Path) -> None:
    """It has nearly all of the energy; there the second version is worse, and better everywhere else."""
    recording = Recording(tmp_path, dark=True)

    def spoiled(bright: float, others: float) -> Spoil:
        def spoil(output: np.ndarray, head: str, _repeat: int) -> np.ndarray:
            error = np.random.default_rng([5, len(head)]).normal(0, 1, output.shape)
            scale = np.full((len(output), 1, 1, 1), others)
            scale[3] = bright
            deviation = output.std(axis=(1, 2, 3), keepdims=True)
            return (output + scale * deviation * error).astype(np.float32)

        return spoil

    recording.version("v1", "8.5.1", fp32=exactly, int8_implicit_shared_minmax=spoiled(0.03, 0.04))
    recording.version("v2", "8.6.1", fp32=exactly, int8_implicit_shared_minmax=spoiled(0.05, 0.02))
    outcome = recording.run(GATE)
    assert not kinds(outcome) & {Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION}
    assert answer(outcome).confidence == "not decided"
    assert "one image" in told(outcome).lower()
    assert "sure" not in told(outcome)
    for text in (outcome.text(), outcome.report.with_name("summary.md").read_text()):
        assert "severe" not in text, "nothing is called bad of what is not decided"
        assert "since: v2" not in text.lower()
        assert "perhaps v2: not decided" in text
    page = outcome.report.read_text()
    assert re.search(r"Step at .*not decided<", page)
    assert "What 8 bits must cost was not computed" not in page, (
        "the best table's is in the strip above"
    )


@pytest.mark.parametrize("gate", [None, {"sqnr_db": 15}, {"sqnr_db": 30}])
@pytest.mark.parametrize("repeats", [1, 2])
def test_int8_far_below_its_own_simulation_in_every_version_is_never_nobodys(
    tmp_path: Path, gate: dict[str, float] | None, repeats: int
) -> None:
    """The founding story: TensorRT 4 and 6 lose the same head, with scales that would keep it."""
    recording = Recording(tmp_path)
    for seed, (name, number) in enumerate((("trt4", "4.0.1"), ("trt6", "6.0.1"))):
        recording.version(
            name, number, repeats, table=True, fp32=exactly,
            int8=only("small", noisy(0.14, seed), noisy(0.01, seed)),
        )  # fmt: skip
    outcome = recording.run(gate)
    small = answer(outcome)
    assert not small.clean
    assert small.severity is Severity.SEVERE
    assert "nothing" not in small.fault
    assert "the engine's int8 kernels" in small.fault
    first = small.findings[0]
    if repeats == 1:
        assert (first.kind, small.confidence) == (Kind.INCONCLUSIVE, "not decided")
    else:
        assert first.kind is Kind.ENGINE_LOSS
        assert "in every version alike" in small.fault
        assert "Not the version's: trt4 and trt6 lose the same" in small.text
    assert "the version's" not in small.fault
    wanted = ExitCode.GATE_FAILED if gate == {"sqnr_db": 30} else ExitCode.OK
    assert outcome.exit_code(strict=False) is wanted


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda y: np.full_like(y, np.nan), "NaN or infinite in 16 of 16 images"),
        (lambda y: np.where(np.arange(len(y))[:, None, None, None] == 2, np.inf, y), "in 1 of 16 images"),
        (np.zeros_like, "all zero"),
        (lambda y: np.full_like(y, 0.25), "constant"),
        (lambda y: np.repeat(y[:1], len(y), axis=0), "the same for every image"),
    ],
)  # fmt: skip
def test_broken_int8_without_a_gate_leads_and_fails(
    tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    recording = Recording(tmp_path)
    good = noisy(0.01)
    recording.version("v1", "8.5.1", fp32=exactly, int8_implicit_shared_minmax=good)
    recording.version(
        "v2", "8.6.1", fp32=exactly,
        int8_implicit_shared_minmax=only("small", lambda y, _h, _r: spoil(y).astype(np.float32), good),
    )  # fmt: skip
    outcome = recording.run()
    first = answer(outcome).findings[0]
    assert (first.kind, first.environments) == (Kind.BROKEN_OUTPUT, ("v2",))
    assert words in first.text
    assert not kinds(outcome, "large") & {Kind.BROKEN_OUTPUT}
    assert outcome.exit_code(strict=False) is ExitCode.GATE_FAILED


def test_versions_whose_own_tables_nobody_knows_are_compared_all_the_same(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.version("trt4", "4.0.1", fp32=exactly, int8=noisy(0.02, 1))
    recording.version(
        "trt6", "6.0.1", fp32=exactly, int8=only("small", noisy(0.2, 2), noisy(0.02, 2))
    )
    outcome = recording.run()
    (found,) = (
        finding for finding in answer(outcome).findings if finding.severity is Severity.SEVERE
    )
    assert found.environments == ("trt6",)
    suspected = {
        verdict.suspected or verdict.kind
        for cell in outcome.judgement.cells
        for head in cell.heads
        if head.head == "small"
        for verdict in head.verdicts
    }
    assert Kind.VERSION_REGRESSION in suspected
    assert not answer(outcome, "large").clean, "what 8 bits must cost is not known"
