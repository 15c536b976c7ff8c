"""Verdicts on real runs of real engines whose cause is known, because it was put there.

Two runs, all in docs/reference/known-causes.md: one with a cause in each environment, one whose calibration
images are dark. The last test of each holds that no other cell and head is accused of anything.
"""

from pathlib import Path

import pytest

from tests.causes import engines, experiment
from tests.causes.experiment import BASELINE, NEW, OLD
from tests.causes.scene import HEADS
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.judging.outcome import Outcome

FP32, SHARED, OWN = "fp32", "int8-shared-minmax", "int8-own-minmax"
PASSES = (FP32, SHARED, OWN)
OTHERS = tuple(head for head in HEADS if head != "wide")
FLOAT, ROUNDED, TANH = f"float-{NEW}", f"rounded-{NEW}", f"tanh-{NEW}"
ENVIRONMENTS = (f"ort-{OLD}", BASELINE, "twin", "scaled", FLOAT, ROUNDED, TANH)

LOST = {Kind.BROKEN_OUTPUT, Kind.INT8_LIMIT}
"""8 bits round all of it away: nothing but zeros is left, in exact arithmetic too."""


@pytest.fixture(scope="session")
def python() -> Path:
    """Returns the interpreter of the newer version."""
    _, newer = engines.made(OLD, NEW)
    return newer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("causes")
    experiment.write(folder)
    return folder


@pytest.fixture(scope="session")
def causes(folder: Path, python: Path) -> Outcome:
    """One environment a cause."""
    bytecode = {"PYTHONPYCACHEPREFIX": str(python.parents[1] / "bytecode")}
    return experiment.run(
        folder,
        calibration="calibration",
        environments=[
            experiment.packaged(OLD, NEW),
            experiment.installed("twin", python, **bytecode),
            experiment.installed("scaled", python, PYTHONPATH=str(folder / "scaled"), **bytecode),
            experiment.with_options("float", experiment.UNQUANTISED, experiment.CLEANED),
            experiment.with_options("rounded", experiment.UNQUANTISED),
            experiment.with_options("tanh", experiment.INT8, experiment.TANH),
        ],
    )


@pytest.fixture(scope="session")
def dark(folder: Path, python: Path) -> Outcome:
    """Calibrated with images of a tenth of the brightness."""
    return experiment.run(folder, calibration="dark", environments=[experiment.packaged(OLD, NEW)])


def result(run: Outcome, environment: str, pass_: str, head: str) -> HeadResult:
    cell = f"{environment}/cpu/{pass_}"
    (found,) = (
        head_result
        for result in run.judgement.cells
        if result.cell.id == cell
        for head_result in result.heads
        if head_result.head == head
    )
    return found


def verdict(run: Outcome, environment: str, pass_: str, head: str, kind: Kind) -> Verdict:
    (found,) = (
        verdict
        for verdict in result(run, environment, pass_, head).verdicts
        if verdict.kind is kind
    )
    return found


def told(run: Outcome) -> dict[tuple[str, str, str], set[Kind]]:
    """Returns (environment, pass, head) → its verdicts."""
    return {
        (result.cell.environment, result.cell.pass_.name, head.head): {
            v.kind for v in head.verdicts
        }
        for result in run.judgement.cells
        for head in result.heads
    }


# (a) an engine that computes worse at the same scales


def test_older_resize_is_the_engine_and_only_behind_it(causes: Outcome) -> None:
    found = verdict(causes, f"ort-{OLD}", SHARED, "behind", Kind.ENGINE_REGRESSION)
    assert found.against == f"{BASELINE}/cpu/{SHARED}"
    assert found.effect is not None
    assert found.effect.relative > 0.1
    accused = {key for key, kinds in told(causes).items() if Kind.ENGINE_REGRESSION in kinds}
    assert accused == {(f"ort-{OLD}", SHARED, "behind"), (f"ort-{OLD}", OWN, "behind")}


def test_older_resize_is_attributed_to_onnx_runtime_alone(causes: Outcome) -> None:
    found = verdict(causes, f"ort-{OLD}", SHARED, "behind", Kind.ENGINE_REGRESSION)
    assert found.attribution is not None
    assert [change.factor for change in found.attribution.factors] == ["ONNX Runtime"]
    assert found.attribution.confounded == ()
    sentence = causes.judgement.sentences["behind"]
    assert f"At the same scales ort-{OLD} loses" in sentence
    assert "It runs Resize on integers, the baseline in float." in sentence
    assert "ONNX Runtime changed alone." in sentence
    assert any(
        "only it lies behind resize_up" in lineage.sentence for lineage in causes.judgement.lineage
    )


# (b) calibration images that are not like those that count


def test_dark_calibration_images_are_a_calibration_problem(dark: Outcome) -> None:
    for environment in (f"ort-{OLD}", BASELINE):
        for head in OTHERS:
            found = verdict(dark, environment, SHARED, head, Kind.CALIBRATION_PROBLEM)
            assert found.effect is not None
            assert found.effect.relative > 10


def test_the_images_are_blamed_and_not_the_algorithm(dark: Outcome, causes: Outcome) -> None:
    for head in OTHERS:
        assert (
            "The calibration images are to blame, not the algorithm: minmax on the evaluation "
            "images would keep"
        ) in dark.judgement.sentences[head]
    assert not any("to blame" in text for text in causes.judgement.sentences.values())


def test_the_limit_does_not_depend_on_the_calibration_images(
    dark: Outcome, causes: Outcome
) -> None:
    for head in OTHERS:
        limits = [
            budget.limit
            for run in (dark, causes)
            if (budget := result(run, BASELINE, SHARED, head).budget)
        ]
        assert limits[0] == pytest.approx(limits[1], rel=0.2)


# (c) an environment whose own calibrator is wrong


def test_a_scaled_calibrator_is_a_regression_there_and_nowhere_else(causes: Outcome) -> None:
    for head in OTHERS:
        found = verdict(causes, "scaled", OWN, head, Kind.CALIBRATOR_REGRESSION)
        assert found.against == f"{BASELINE}/cpu/{OWN}"
        assert found.effect is not None
        assert found.effect.relative > 0.1
        assert "The calibrator of scaled makes a worse table" in causes.judgement.sentences[head]
    accused = {
        (environment, pass_)
        for (environment, pass_, _), kinds in told(causes).items()
        if Kind.CALIBRATOR_REGRESSION in kinds
    }
    assert accused == {("scaled", OWN)}


# (d) a head that 8 bits cannot hold


def test_uneven_channels_are_the_limit_of_eight_bits_everywhere(
    causes: Outcome, dark: Outcome
) -> None:
    for run in (causes, dark):
        accused = {head for (_, _, head), kinds in told(run).items() if Kind.INT8_LIMIT in kinds}
        assert accused == {"wide"}
        sentence = run.judgement.sentences["wide"]
        assert "is beyond the gate, with exact arithmetic" in sentence
        assert "and so it is in exact arithmetic with its scales" in sentence
    head_result = result(causes, BASELINE, SHARED, "wide")
    assert head_result.passed is False


# (e) layers that did not run in int8


def test_float_layers_without_rounding_are_a_fallback_with_their_names(causes: Outcome) -> None:
    for head in HEADS:
        verdict(causes, FLOAT, SHARED, head, Kind.PRECISION_FALLBACK)
    head_result = result(causes, FLOAT, SHARED, "plain")
    assert head_result.integer_share == 0
    assert head_result.float_layers == ("conv_c1", "conv_c2")
    # The last one has no choice: nothing quantises its output.
    assert head_result.placed_float == ("conv_plain",)
    accused = {
        environment
        for (environment, _, _), kinds in told(causes).items()
        if Kind.PRECISION_FALLBACK in kinds
    }
    assert accused == {FLOAT}


def test_float_layers_that_round_all_the_same_are_named_and_move_no_error(causes: Outcome) -> None:
    head_result, base = (result(causes, name, SHARED, "plain") for name in (ROUNDED, BASELINE))
    assert head_result.integer_share == 0
    assert base.integer_share == pytest.approx(0.95, abs=0.01)
    assert (base.float_layers, base.placed_float) == ((), ("conv_plain",))
    assert head_result.float_layers == ("conv_c1", "conv_c2")
    assert head_result.error.sqnr_db == pytest.approx(base.error.sqnr_db, abs=0.1)


# (f) the same environment under two names


def test_the_same_environment_under_two_names_is_bit_identical(causes: Outcome) -> None:
    for pass_ in PASSES:
        for head in HEADS:
            head_result = result(causes, "twin", pass_, head)
            assert f"{BASELINE}/cpu/{pass_}" in head_result.identical_to
    starts = [
        result.facts["command"]
        for result in causes.judgement.cells
        if result.cell.environment in ("twin", BASELINE) and not result.reused
    ]
    assert len(starts) == 2 * len(PASSES), "both were measured"
    assert "= baseline" in causes.report.read_text()


# (g) an engine that computes worse in float already


def test_an_approximated_gelu_counts_only_where_it_is_beyond_the_tolerance(causes: Outcome) -> None:
    tail, smooth = (result(causes, TANH, FP32, head).error.nmse for head in ("tail", "smooth"))
    verdict(causes, TANH, FP32, "tail", Kind.FP32_REGRESSION)
    assert tail is not None
    assert smooth is not None
    assert tail > 1e-4
    assert 1e-10 < smooth < 1e-6, "it differs, and by too little to matter"
    sentence = causes.judgement.sentences["tail"]
    assert f"{TANH} is wrong before any quantisation, in fp32 already" in sentence


# Nobody else is accused


def test_every_cell_was_measured(causes: Outcome, dark: Outcome) -> None:
    for run, environments in ((causes, len(ENVIRONMENTS)), (dark, 2)):
        assert len(run.judgement.cells) == environments * len(PASSES)
        assert {result.status for result in run.judgement.cells} == {Status.OK}


def test_no_other_cell_is_accused_of_anything(causes: Outcome) -> None:
    known = {
        (environment, pass_, head): {Kind.OK}
        for environment in ENVIRONMENTS
        for pass_ in PASSES
        for head in HEADS
    }
    for pass_ in (SHARED, OWN):
        known |= {(environment, pass_, "wide"): LOST for environment in ENVIRONMENTS}
        known[f"ort-{OLD}", pass_, "behind"] = {Kind.ENGINE_REGRESSION}
        known |= {(FLOAT, pass_, head): {Kind.PRECISION_FALLBACK} for head in OTHERS}
        known[FLOAT, pass_, "wide"] = {Kind.PRECISION_FALLBACK, Kind.INT8_LIMIT}
    known |= {("scaled", OWN, head): {Kind.CALIBRATOR_REGRESSION} for head in OTHERS}
    known[TANH, FP32, "tail"] = {Kind.FP32_REGRESSION}
    assert told(causes) == known


def test_no_other_cell_of_the_dark_run_is_accused_of_anything(dark: Outcome) -> None:
    assert told(dark) == {
        (result.cell.environment, result.cell.pass_.name, head.head): {Kind.OK}
        if result.cell.pass_.precision is Precision.FP32
        else LOST
        if head.head == "wide"
        else {Kind.CALIBRATION_PROBLEM}
        for result in dark.judgement.cells
        for head in result.heads
    }
