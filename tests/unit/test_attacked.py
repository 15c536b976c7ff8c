"""What a hostile reader got the tool to say though it was false: made anew, from files to exit code."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.verdicts.evidence import evidence
from benchmarks.verdicts.made import Made, Matrix
from tests.unit.recordings import Recording, exactly, noisy, only
from tests.unit.test_recorded_cases import answer, kinds, told
from trt_matrix.core.answers.sentences import alike
from trt_matrix.core.judge import judge
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.errors import ExitCode

LOW = only("small", noisy(0.5, 2), noisy(0.02, 2))
"""6 dB on one head, 34 on the other."""


def test_a_gate_of_fp16_says_nothing_of_int8(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for name, number in (("trt4", "4.0.1"), ("trt6", "6.0.1")):
        recording.version(name, number, fp32=exactly, fp16=noisy(0.001, 1), int8=LOW)
    outcome = recording.run({"fp16": {"sqnr_db": 40}})
    small = answer(outcome)
    assert not small.clean
    assert "Nothing to do" not in outcome.text()
    assert "what became of boxes" in small.unseen
    assert "int8 keeps 6.4 dB, and what it could keep is not known" in small.text


def test_a_gate_that_holds_does_not_acquit_where_no_table_is_known(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for name, number in (("trt4", "4.0.1"), ("trt6", "6.0.1")):
        recording.version(name, number, fp32=exactly, int8=LOW)
    outcome = recording.run({"sqnr_db": 5})
    assert outcome.exit_code(strict=False) is ExitCode.OK
    assert not answer(outcome).clean
    assert "nothing is wrong" not in outcome.text()


@pytest.mark.parametrize("gate", [None, {"sqnr_db": 5}])
def test_a_baseline_that_alone_is_bad_is_seen(
    tmp_path: Path, gate: dict[str, float] | None
) -> None:
    recording = Recording(tmp_path)
    recording.version("v0", "8.0.0", fp32=exactly, int8=LOW)
    for number in range(1, 4):
        recording.version(f"v{number}", f"8.{number}.0", fp32=exactly, int8=noisy(0.02, number))
    outcome = recording.run(gate)
    small = answer(outcome)
    assert small.fault == "not decided; perhaps v0, the baseline itself"
    assert small.severity is Severity.SEVERE
    assert "v0, the baseline, keeps 27.9 to 28.0 dB less than v1, v2 and v3" in small.text
    assert answer(outcome, "large").findings == ()


def test_int8_no_better_than_zeros_is_broken(tmp_path: Path) -> None:
    """Of every version alike, with tables that nobody knows, and no gate."""
    recording = Recording(tmp_path)
    for name, number in (("trt4", "4.0.1"), ("trt6", "6.0.1")):
        recording.version(
            name, number, fp32=exactly, int8=only("small", lambda y, _h, _r: -y, noisy(0.02, 2))
        )
    outcome = recording.run()
    first = answer(outcome).findings[0]
    assert (first.kind, first.environments) == (Kind.BROKEN_OUTPUT, ("trt4", "trt6"))
    assert "no nearer to the reference than zeros would be" in first.text
    assert outcome.exit_code(strict=False) is ExitCode.GATE_FAILED
    assert Kind.BROKEN_OUTPUT not in kinds(outcome, "large")


def test_a_version_without_the_best_table_is_judged_all_the_same(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for seed in range(2):
        recording.version(
            f"v{seed}", f"8.{seed}.0", fp32=exactly,
            int8_implicit_shared_minmax=noisy(0.02, seed), int8_implicit_own_minmax=noisy(0.015, seed),
        )  # fmt: skip
    recording.version("v2", "8.2.0", fp32=exactly, int8_implicit_shared_minmax=LOW)
    outcome = recording.run()
    small = answer(outcome)
    assert small.severity is Severity.SEVERE
    assert not any(finding.beaten for finding in small.findings)
    # 0.7 and 28.6 dB are not alike.
    assert small.fault == "the engine's int8 kernels, in every version"


def test_what_two_share_does_not_acquit_the_third_that_is_broken(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    good = noisy(0.14, 1)
    nothing = only("small", lambda y, _h, _r: np.full_like(y, np.nan), good)
    for name, number, spoil in (
        ("v0", "8.0.0", good),
        ("v1", "8.1.0", good),
        ("v2", "8.2.0", nothing),
    ):
        recording.version(name, number, table=True, fp32=exactly, int8=spoil)
    outcome = recording.run()
    assert "Not the version's" not in told(outcome)
    assert "v0 and v1 lose the same" in told(outcome)
    assert "Not the version's: v0, v1 and v2 lose the same" in told(outcome, "large")
    # A head that is NaN is not good, whatever else is asked of it.
    assert not [
        lineage
        for lineage in outcome.judgement.lineage
        if "engine loss" in lineage.sentence and "small is not" in lineage.sentence
    ]


def test_a_version_that_failed_is_not_acquitted() -> None:
    equal = Equivalence(
        head="small", device="cpu", pass_="int8", baseline="v0", environments=("v0", "v1"),
        within_db=0.1, same_bits=False, all=True,
    )  # fmt: skip
    assert [one.startswith("Not the version's") for one in alike([equal])] == [True]
    assert [one.startswith("Not the version's") for one in alike([equal], gone=["v2"])] == [False]
    assert [one.startswith("Not the version's") for one in alike([equal], gone=["v1"])] == [True]


@pytest.mark.parametrize("told_itself", [True, False])
def test_86_is_older_than_10(tmp_path: Path, told_itself: bool) -> None:
    """A name without dots is no order of versions: what the engines told of themselves is."""
    recording = Recording(tmp_path)
    for name, number in (("trt86", "8.6.1"), ("trt10", "10.0.1")):
        if told_itself:
            recording.version(name, number, fp32=exactly, int8=noisy(0.02))
        else:
            recording.version(name, number, int8=noisy(0.02))
    for repeat in range(2):
        shutil.rmtree(tmp_path / "dumps" / "trt10" / "int8" / str(repeat))
    text = recording.run().text()
    assert "until trt10" not in text
    if told_itself:
        assert "since trt10 (trt86 is the last that ran)" in text


def test_bf16_at_25_db_is_no_footnote(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.version("v0", "8.0.0", 5, bf16=noisy(0.0001, 1))
    recording.version("v1", "8.1.0", 5, bf16=noisy(0.055, 1))
    outcome = recording.run(precisions=["fp32", "bf16", "int8"], repeats=5)
    assert answer(outcome).findings[0].kind is Kind.BF16_REGRESSION
    assert answer(outcome).severity is Severity.SEVERE
    assert "far more exact than 8 bits" not in outcome.text()


def test_builds_that_have_states_are_not_alike_by_chance() -> None:
    """Half of the implicit builds of three versions are bad, of as many by Q/DQ none: 1 time in 11, not in 1,000."""
    generator = np.random.default_rng(3)
    energy = generator.lognormal(0, 0.5, (1, 16))
    exact = 0.004 * energy
    cells = []
    for version in ("v0", "v1", "v2"):
        for pass_, states in (("shared-entropy", (0, 0)), ("implicit-shared-entropy", (0, 2))):
            noise = generator.normal(0, 0.02, (1, 2, 16))
            errors = exact[:, None] * np.exp(np.array(states)[None, :, None] + noise)
            cells.append(
                Made(environment=version, device="gpu:0", pass_=f"int8-{pass_}", errors=errors, table="t",
                     placement="tensorrt", share=1.0)
            )  # fmt: skip
    matrix = Matrix(
        heads=("small",), energy=energy, cells=tuple(cells),
        simulations={("tensorrt", "t"): exact}, gates={},
    )  # fmt: skip
    verdicts = [verdict for cell in judge(evidence(matrix)).cells for verdict in cell.all_verdicts]
    assert Kind.IMPLICIT_REGRESSION not in {verdict.kind for verdict in verdicts}
