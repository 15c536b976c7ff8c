"""The loop, where tables are missing: what is known without them goes on."""

from pathlib import Path

import pytest

from tests.fakes.environment import HONEST, InstantEnvironment, ScriptedEnvironment
from tests.unit.matrices import Trial, statuses
from tests.unit.passes import FP32, OWN, SHARED
from trt_matrix.core.cells import Status
from trt_matrix.execution.host_tables import NOTE

pytestmark = pytest.mark.usefixtures("hurry")


def test_a_table_that_quantises_nothing_is_told(tmp_path: Path) -> None:
    zero = ScriptedEnvironment("zero", [HONEST.replace("calibrate()", "calibrate(amax=0.0)")])
    trial = Trial(tmp_path, zero, passes=[FP32, OWN])
    records = trial.records()
    record = records["zero/cpu/int8-own-entropy"]
    assert record.status is Status.JOB_FAILED
    assert "nothing to quantise" in (record.reason or "")
    assert records["zero/cpu/fp32"].status is Status.OK
    assert trial.told.steps == trial.told.expected


def test_without_a_shared_table_the_rest_goes_on(tmp_path: Path) -> None:
    reference = ScriptedEnvironment("reference", [HONEST, "os.abort()", "os.abort()", HONEST])
    trial = Trial(tmp_path, ScriptedEnvironment("a"), reference=reference)
    records = trial.records()
    record = records["a/cpu/int8-shared-entropy"]
    assert record.status is Status.JOB_FAILED
    assert "there is no shared table: ended by SIGABRT" in (record.reason or "")
    assert records["a/cpu/int8-own-entropy"].status is Status.OK
    assert trial.told.steps == trial.told.expected


SEVERAL_FAIL = (
    """
if request["calibration"] and len(request["calibration"]["algorithms"]) > 1:
    os.abort()
"""
    + HONEST
)


def test_an_algorithm_that_nobody_asked_for_does_not_cost_the_shared_table(tmp_path: Path) -> None:
    reference = ScriptedEnvironment("reference", [SEVERAL_FAIL])
    trial = Trial(tmp_path, ScriptedEnvironment("a"), passes=[FP32, SHARED], reference=reference)
    assert set(statuses(trial.records()).values()) == {Status.OK}
    (digest,) = trial.matrix.tables
    assert trial.matrix.used.facts()[digest]["note"] is None
    warned = [line for line in trial.told.lines if line.startswith("warning")]
    assert len(warned) == 1
    assert "known from the calibration images only" in warned[0]
    assert trial.told.steps == trial.told.expected


def test_without_any_calibration_the_limit_only_warns(tmp_path: Path) -> None:
    """Nothing is shared, and the environments' own tables are theirs."""
    reference = ScriptedEnvironment("reference", [HONEST, "os.abort()", "os.abort()", HONEST])
    trial = Trial(
        tmp_path, ScriptedEnvironment("a"), passes=[FP32, OWN], shared=None, reference=reference
    )
    assert set(statuses(trial.records()).values()) == {Status.OK}
    assert len(trial.matrix.simulations) == 1
    warned = [line for line in trial.told.lines if line.startswith("warning")]
    assert ["the limit is known from" in line for line in warned] == [True, True]
    assert trial.told.steps == trial.told.expected


LIMIT = HONEST.replace("calibrate()", "calibrate(amax=3.0)")


def test_tables_of_the_evaluation_images_are_simulated_and_run_nowhere(tmp_path: Path) -> None:
    reference = ScriptedEnvironment("reference", [HONEST, HONEST, LIMIT, HONEST])
    trial = Trial(tmp_path, ScriptedEnvironment("a"), reference=reference)
    records = trial.records()
    used = {measurement.table for record in records.values() for measurement in record.measurements}
    (digest,) = trial.matrix.tables.keys() - used
    facts = trial.matrix.used.facts()[digest]
    assert facts["note"] == NOTE.format("evaluation")
    assert digest in {simulation.table for simulation in trial.matrix.simulations}
    assert trial.told.steps == trial.told.expected


def test_without_them_the_limit_is_known_from_the_other_tables(tmp_path: Path) -> None:
    reference = ScriptedEnvironment("reference", [HONEST, HONEST, "os.abort()", HONEST])
    trial = Trial(tmp_path, ScriptedEnvironment("a"), reference=reference)
    assert set(statuses(trial.records()).values()) == {Status.OK}
    assert len(trial.matrix.simulations) == 1
    warned = [line for line in trial.told.lines if "known from the calibration images only" in line]
    assert len(warned) == 1
    assert "SIGABRT" in warned[0]
    assert trial.told.steps == trial.told.expected


def test_no_table_is_made_where_nothing_runs_in_int8(tmp_path: Path) -> None:
    reference = InstantEnvironment()
    Trial(
        tmp_path, ScriptedEnvironment("a"), passes=[FP32], shared=None, reference=reference
    ).records()
    assert reference.starts == 1


def test_no_shared_table_wanted(tmp_path: Path) -> None:
    reference = InstantEnvironment()
    trial = Trial(
        tmp_path, ScriptedEnvironment("a"), passes=[FP32, OWN], shared=None, reference=reference
    )
    assert set(statuses(trial.records()).values()) == {Status.OK}
    assert reference.starts == 4, "its outputs, tables of either images and one simulation"
    assert trial.told.steps == trial.told.expected
