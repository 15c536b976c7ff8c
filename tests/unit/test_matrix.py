"""The loop, with environments that do what a script says: through real processes, to real records."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from matrices import FP32, IMAGES, MINMAX, OWN, SHARED, Trial, cells_of, store_of, wants_of

from tests.fakes.environment import HONEST, InstantEnvironment, ScriptedEnvironment
from trt_matrix.core.cells import Cell, Status
from trt_matrix.core.records import Measurement, Record, Stored
from trt_matrix.environments import process
from trt_matrix.environments.base import Ending
from trt_matrix.errors import EnvironmentUnavailableError, StoreError
from trt_matrix.execution.forecast import known_repeats
from trt_matrix.execution.host_tables import NOTE
from trt_matrix.execution.matrix import Matrix

CRASH_IN_OWN = """
if request["calibration"]:
    calibrate()
for one in request["passes"]:
    if one["name"] == "int8-own-minmax":
        stage("infer " + one["name"])
        print("about to crash", flush=True)
        os.kill(os.getpid(), 11)
    answer(one)
finish()
"""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TICK_S", 0.02)
    monkeypatch.setattr(process, "GRACE_S", 0.2)


def statuses(records: dict[str, Record]) -> dict[str, Status]:
    return {cell: record.status for cell, record in records.items()}


def test_every_cell_gets_a_record_with_all_repeats(tmp_path: Path) -> None:
    trial = Trial(tmp_path, ScriptedEnvironment("a"), ScriptedEnvironment("b"))
    records = trial.records()
    assert list(records) == [cell.id for cell in trial.matrix.cells]
    for record in records.values():
        assert record.status is Status.OK
        assert [one.repeat for one in record.measurements] == [0, 1]
        assert {one.name for one in record.measurements} == {record.pass_.name}
        assert record.reused == 0
        for one in record.measurements:
            assert one.latency is not None
            assert one.latency.samples_s == (0.001, 0.002)
            array = trial.store.array(one.outputs["small"])
            assert array.shape == (IMAGES, 2)
            assert array.max() == array.min() == 1.0
    assert trial.told.steps == trial.told.expected


def test_repeats_are_rounds_over_environments_in_pairs_of_both_orders(tmp_path: Path) -> None:
    """So that neither a drift of the machine nor a place in the round looks like a version's effect."""
    trial = Trial(
        tmp_path, *map(ScriptedEnvironment, "abcd"), passes=[FP32, SHARED], repeats=6
    )  # fmt: skip
    trial.records()
    done = [line.split()[1] for line in trial.told.lines if "/fp32" in line]
    assert done[0] == "reference/cpu/fp32"
    rounds = [[name[0] for name in done[start : start + 4]] for start in range(1, 25, 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    for first, second in zip(rounds[::2], rounds[1::2], strict=True):
        assert second == first[::-1]
    assert len({tuple(one) for one in rounds}) > 2, "a new order for each pair"
    assert trial.told.steps == trial.told.expected


def test_what_goes_on_after_an_interrupt_is_the_other_half_of_the_pair(tmp_path: Path) -> None:
    """Another run has other orders, so it takes the reverse of what was, not its own."""

    def round_of(repeats: int) -> list[str]:
        trial = Trial(
            tmp_path, *map(ScriptedEnvironment, "abcdef"), passes=[FP32], repeats=repeats
        )  # fmt: skip
        trial.records()
        new = [line for line in trial.told.lines if "/fp32" in line and "reused" not in line]
        return [line.split()[1][0] for line in new if "reference" not in line]

    first = round_of(1)
    second = round_of(2)
    assert second == first[::-1]
    third = round_of(3)
    assert sorted(third) == sorted(first)
    assert round_of(4) == third[::-1]


def test_a_second_run_starts_nothing(tmp_path: Path) -> None:
    first = Trial(tmp_path, ScriptedEnvironment("a")).records()
    never = ["raise SystemExit('started again')"]
    again = Trial(
        tmp_path,
        ScriptedEnvironment("a", never),
        reference=ScriptedEnvironment("reference", never),
    )
    records = again.records()
    assert all(record.reused == 2 for record in records.values())
    assert {cell: one.measurements for cell, one in records.items()} == {
        cell: one.measurements for cell, one in first.items()
    }
    assert again.told.steps == again.told.expected
    assert again.matrix.jobs.engine_s == 0


def test_undecided_cells_get_more_repeats_until_they_are_decided(tmp_path: Path) -> None:
    asked: list[dict[str, int]] = []

    def undecided(matrix: Matrix) -> set[str]:
        asked.append({one.cell: len(one.measurements) for one in matrix.records()})
        return {"a/cpu/int8-shared-entropy", "b/cpu/fp32"} if len(asked) < 3 else set()

    trial = Trial(
        tmp_path, ScriptedEnvironment("a"), ScriptedEnvironment("b"), most_repeats=9,
        passes=[FP32, SHARED], undecided=undecided,
    )  # fmt: skip
    records = trial.records()
    counts = {cell: len(record.measurements) for cell, record in records.items()}
    assert counts == {
        "a/cpu/fp32": 2, "a/cpu/int8-shared-entropy": 4, "b/cpu/fp32": 4,
        "b/cpu/int8-shared-entropy": 2,
    }  # fmt: skip
    assert set(statuses(records).values()) == {Status.OK}
    assert [set(one.values()) for one in asked] == [{2}, {2, 3}, {2, 4}]
    assert trial.told.steps == trial.told.expected


def test_more_repeats_end_at_the_limit_and_after_a_failure(tmp_path: Path) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    broken = ScriptedEnvironment("b", [HONEST, HONEST, HONEST, crash])
    trial = Trial(
        tmp_path, ScriptedEnvironment("a"), broken, passes=[FP32, OWN], most_repeats=4,
        undecided=lambda _: {"a/cpu/fp32", "b/cpu/fp32"},
    )  # fmt: skip
    records = trial.records()
    assert len(records["a/cpu/fp32"].measurements) == 4
    assert records["b/cpu/fp32"].status is Status.CRASHED
    assert records["b/cpu/int8-own-entropy"].status is Status.OK
    assert trial.told.steps == trial.told.expected


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 11)", "time.sleep(600)"])
def test_a_job_that_ends_while_it_times_layers_loses_their_times_only(
    tmp_path: Path, end: str
) -> None:
    profiling = f"""
import time
plain = write
def write(name, value):
    plain(name.replace("pass.json", "untimed.json") if "{FP32.name}" in name else name, value)
if request["calibration"]:
    calibrate()
for one in request["passes"]:
    answer(one)
    if one["name"] == "{FP32.name}":
        stage("profile " + one["name"])
        {end}
finish()
"""
    environment = ScriptedEnvironment("a", [profiling])
    trial = Trial(tmp_path, environment, passes=[FP32, OWN, SHARED], repeats=1, deadline_s=3.0)
    records = trial.records()
    assert set(statuses(records).values()) == {Status.OK}
    assert environment.starts == 3, "calibration, then the passes; what had no turn got another"


def test_fresh_measures_again_what_is_known(tmp_path: Path) -> None:
    Trial(tmp_path, ScriptedEnvironment("a")).records()
    environment = ScriptedEnvironment("a")
    records = Trial(tmp_path, environment, fresh=True).records()
    assert environment.starts == 2, "two repeats; equal tables still run once"
    assert not any(record.reused for record in records.values())
    assert set(statuses(records).values()) == {Status.OK}


def test_another_identity_is_measured_anew(tmp_path: Path) -> None:
    Trial(tmp_path, ScriptedEnvironment("a")).records()
    changed = ScriptedEnvironment("a", fingerprint="upgraded")
    records = Trial(tmp_path, changed).records()
    assert changed.starts == 3  # calibration and two repeats
    assert not any(record.reused for record in records.values())


def test_equal_tables_run_once_a_start(tmp_path: Path) -> None:
    """All ranges are 2.0, so that the own tables equal the shared one: three passes, one run."""
    trial = Trial(tmp_path, ScriptedEnvironment("a"))
    records = trial.records()
    names = ["int8-shared-entropy", "int8-own-entropy", "int8-own-minmax"]
    first, *others = [records[f"a/cpu/{name}"].measurements for name in names]
    for name, other in zip(names[1:], others, strict=True):
        assert other == tuple(one.model_copy(update={"name": name}) for one in first)
    assert len(trial.matrix.tables) == 1
    stored = list((trial.store.root / "facts" / "measurement").iterdir())
    assert len(stored) == 2 + 2 + 2, "reference and simulation, fp32 twice, int8 twice"


def test_two_names_of_one_environment_share_measurements_and_neither_is_called_reused(
    tmp_path: Path,
) -> None:
    twins = [ScriptedEnvironment(name, fingerprint="twin") for name in ("a", "b")]
    records = Trial(tmp_path, *twins).records()
    assert set(statuses(records).values()) == {Status.OK}
    assert sum(one.starts for one in twins) == 3, "one calibration, two repeats"
    assert not any(record.reused for record in records.values())


def test_a_crash_hits_its_own_pass_and_no_other(tmp_path: Path) -> None:
    sick = ScriptedEnvironment("sick", [CRASH_IN_OWN.replace("calibrate()", CALIBRATE_APART)])
    trial = Trial(tmp_path, sick, ScriptedEnvironment("well"))
    records = trial.records()
    crashed = records["sick/cpu/int8-own-minmax"]
    assert crashed.status is Status.CRASHED
    assert crashed.reason == (
        "ended by SIGSEGV in stage 'infer int8-own-minmax'; see logs/sick/cpu/repeat-0.log"
    )
    assert crashed.measurements[0].log_tail == "about to crash\n"
    assert (trial.run.folder / "logs/sick/cpu/repeat-0.log").read_text() == "about to crash\n"
    others = {cell: status for cell, status in statuses(records).items() if cell != crashed.cell}
    assert set(others.values()) == {Status.OK}
    assert trial.told.steps == trial.told.expected


CALIBRATE_APART = """calibrate(algorithms={
        one["name"]: dict.fromkeys(request["calibration"]["tensors"], 2.0 + 0.5 * index)
        for index, one in enumerate(request["calibration"]["algorithms"])
    })"""
"""Every algorithm makes another table."""


def test_passes_without_a_turn_get_a_new_start(tmp_path: Path) -> None:
    """The first of three passes crashes; the others run in a second start, with a log of its own."""
    script = """
    if request["calibration"]:
        CALIBRATE
    for one in request["passes"]:
        if one["name"] == "fp32":
            stage("build fp32")
            os.abort()
        answer(one)
    finish()
    """.replace("CALIBRATE", CALIBRATE_APART.replace("\n", "\n    "))
    sick = ScriptedEnvironment("sick", [script])
    trial = Trial(tmp_path, sick, repeats=1)
    records = trial.records()
    assert records["sick/cpu/fp32"].status is Status.CRASHED
    assert "SIGABRT in stage 'build fp32'" in (records["sick/cpu/fp32"].reason or "")
    assert {one.status for cell, one in records.items() if "int8" in cell} == {Status.OK}
    assert sick.starts == 3
    logs = trial.run.folder / "logs/sick/cpu"
    assert sorted(path.name for path in logs.iterdir()) == [
        "calibrate.log",
        "repeat-0-start-2.log",
        "repeat-0.log",
    ]


def test_a_crash_after_a_pass_blames_none_that_had_no_turn(tmp_path: Path) -> None:
    """An engine that dies when it takes a session down: every start ends one pass more."""
    script = "answer(request['passes'][0])\nos.abort()"
    odd = ScriptedEnvironment("odd", [HONEST, script])
    records = Trial(tmp_path, odd, passes=[FP32, SHARED, OWN], repeats=1).records()
    assert set(statuses(records).values()) == {Status.OK}


def test_a_crash_before_any_pass_is_every_passes_failure(tmp_path: Path) -> None:
    dead = ScriptedEnvironment("dead", ["stage('probe')\nos.abort()"])
    trial = Trial(tmp_path, dead, passes=[FP32, SHARED])
    records = trial.records()
    assert set(statuses(records).values()) == {Status.CRASHED}
    assert dead.starts == 1, "neither again for the other pass, nor for the second repeat"
    assert trial.told.steps == trial.told.expected


def test_a_hanging_job_is_stopped_at_its_deadline(tmp_path: Path) -> None:
    script = """
    import time
    for one in request["passes"]:
        if one["name"] != "fp32":
            stage("infer " + one["name"])
            time.sleep(600)
        answer(one)
    """
    trial = Trial(
        tmp_path, ScriptedEnvironment("slow", [script]), passes=[FP32, SHARED], deadline_s=1.5
    )
    records = trial.records()
    assert records["slow/cpu/fp32"].status is Status.OK
    hung = records["slow/cpu/int8-shared-entropy"]
    assert hung.status is Status.TIMED_OUT
    assert "in stage 'infer int8-shared-entropy'; see deadline_s" in (hung.reason or "")


def test_a_gigabyte_of_output_is_cut_and_the_numbers_stay(tmp_path: Path) -> None:
    script = "for _ in range(1000): os.write(1, b'noise ' * 10000)\n" + HONEST
    trial = Trial(tmp_path, ScriptedEnvironment("loud", [script]), passes=[FP32], repeats=1)
    assert trial.records()["loud/cpu/fp32"].status is Status.OK
    log = trial.run.folder / "logs/loud/cpu/repeat-0.log"
    assert log.stat().st_size < 5_000_000
    assert b"bytes of output cut here" in log.read_bytes()


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("pass", Status.CRASHED, "exit code 0 before its first stage, but no valid answer"),
        ("stage('probe')\nsys.exit(3)", Status.CRASHED, "exit code 3 in stage 'probe'"),
        ("write('result.json', '{')", Status.CRASHED, "result.json is not a valid answer"),
        ("write('result.json', '[' * 100000)", Status.CRASHED, "result.json is not a valid"),
        (
            "finish(status='job_failed', stage='probe', error="
            "{'type': 'ImportError', 'message': 'No module named numpy'})",
            Status.JOB_FAILED,
            "probe: ImportError: No module named numpy; see logs/bad/cpu/repeat-0.log",
        ),
        ("write('passes/fp32/pass.json', 'NaN')\nfinish()", Status.CRASHED, "not a valid answer"),
        ("write('passes/fp32/pass.json', {})\nfinish()", Status.CRASHED, "schema_version"),
        (
            "answer(request['passes'][0], status='job_failed', error="
            "{'type': 'RuntimeError', 'message': 'no kernel'})\nfinish()",
            Status.JOB_FAILED,
            "RuntimeError: no kernel",
        ),
        (
            "answer(request['passes'][0], outputs={})\nfinish()",
            Status.CRASHED,
            "the answer lacks head 'large'",
        ),
        (
            "answer(request['passes'][0], shape=(IMAGES - 1, 2))\nfinish()",
            Status.CRASHED,
            "expected 4 images of float32",
        ),
        (
            "answer(request['passes'][0], shape=(IMAGES, 3))\nfinish()",
            Status.CRASHED,
            "has shape (4, 3), the reference's is (4, 2)",
        ),
        (
            "answer(request['passes'][0], executed='x.onnx')\nfinish()",
            Status.CRASHED,
            "'x.onnx', which is no file",
        ),
        (
            "write('passes/fp32/executed.onnx', 'no graph')\n"
            "answer(request['passes'][0], executed='executed.onnx')\nfinish()",
            Status.CRASHED,
            "executed.onnx is no graph",
        ),
    ],
)
def test_a_bad_job_is_named_and_harms_no_other(
    tmp_path: Path, script: str, status: Status, words: str
) -> None:
    bad, well = ScriptedEnvironment("bad", [script]), ScriptedEnvironment("well")
    records = Trial(tmp_path, bad, well, passes=[FP32], repeats=1).records()
    assert records["bad/cpu/fp32"].status is status
    assert words in (records["bad/cpu/fp32"].reason or "")
    assert records["well/cpu/fp32"].status is Status.OK


def test_a_failure_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    Trial(tmp_path, ScriptedEnvironment("a", ["os.abort()"]), passes=[FP32]).records()
    records = Trial(tmp_path, ScriptedEnvironment("a"), passes=[FP32]).records()
    assert records["a/cpu/fp32"].status is Status.OK
    assert records["a/cpu/fp32"].reused == 0


def test_an_environment_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    gone = ScriptedEnvironment("gone", refusal="gone: no network; connect, or use --offline")
    trial = Trial(tmp_path, gone, ScriptedEnvironment("well"), passes=[FP32, SHARED])
    records = trial.records()
    assert records["gone/cpu/fp32"].status is Status.UNAVAILABLE
    assert records["gone/cpu/fp32"].reason == gone.refusal
    assert records["well/cpu/fp32"].status is Status.OK
    assert trial.told.steps == trial.told.expected


def test_a_planned_obstacle_keeps_its_reason_and_prepares_nothing(tmp_path: Path) -> None:
    broken = ScriptedEnvironment("ngc", refusal="must not be prepared")
    obstacle = (Status.UNAVAILABLE, "no NVIDIA driver")
    cells = [
        Cell(environment="ngc", device="gpu:*", pass_=FP32, obstacle=obstacle),
        *cells_of([ScriptedEnvironment("well")], [FP32]),
    ]
    trial = Trial(tmp_path, broken, ScriptedEnvironment("well"), cells=cells)
    records = trial.records()
    assert records["ngc/gpu:*/fp32"].reason == "no NVIDIA driver"
    assert records["well/cpu/fp32"].status is Status.OK
    assert not [line for line in trial.told.lines if "must not" in line]


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        ("os.abort()", "SIGABRT"),
        ("finish()", "no valid answer"),
        ("write('calibration.json', '{}')\nfinish()", "schema_version"),
        ("calibrate(algorithms={'minmax': {}})\nfinish()", "lacks the algorithms entropy"),
        ("calibrate(amax=float('inf'))\nfinish()", "no finite number"),
    ],
)
def test_a_failed_calibration_stops_its_own_tables_only(
    tmp_path: Path, calibration: str, words: str
) -> None:
    bad = ScriptedEnvironment("bad", [calibration, HONEST])
    trial = Trial(tmp_path, bad, ScriptedEnvironment("well"))
    records = trial.records()
    for pass_ in (OWN, MINMAX):
        record = records[f"bad/cpu/{pass_.name}"]
        assert record.status is Status.JOB_FAILED
        assert "its calibration failed" in (record.reason or "")
        assert words in (record.reason or "")
    assert records["bad/cpu/fp32"].status is Status.OK
    assert records["bad/cpu/int8-shared-entropy"].status is Status.OK
    assert trial.told.steps == trial.told.expected


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
    used = {one.table for record in records.values() for one in record.measurements}
    (digest,) = trial.matrix.tables.keys() - used
    facts = trial.matrix.used.facts()[digest]
    assert facts["note"] == NOTE.format("evaluation")
    assert digest in {one.table for one in trial.matrix.simulations}
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


def test_without_a_reference_all_is_told_and_recorded(tmp_path: Path) -> None:
    reference = ScriptedEnvironment("reference", ["print('no such operator')\nsys.exit(1)"])
    environment = ScriptedEnvironment("a")
    trial = Trial(tmp_path, environment, reference=reference)
    with pytest.raises(EnvironmentUnavailableError, match="exit code 1") as caught:
        trial.matrix.run()
    assert "no such operator" in str(caught.value)
    assert environment.starts == 0
    records = trial.matrix.records(stopped="without the reference nothing can be compared")
    assert {one.status for one in records} == {Status.NOT_RUN}


def test_an_interrupted_run_keeps_what_ended_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the third start: between the two repeats of an environment."""
    environments = [ScriptedEnvironment("a"), ScriptedEnvironment("b")]
    trial = Trial(tmp_path, *environments, passes=[FP32])

    def until_the_third(environment: ScriptedEnvironment) -> Callable[..., Ending]:
        real = environment.run
        return lambda *a, **k: (
            real(*a, **k) if sum(one.starts for one in environments) < 2 else interrupt()
        )

    for one in environments:
        monkeypatch.setattr(one, "run", until_the_third(one))
    with pytest.raises(KeyboardInterrupt):
        trial.matrix.run()
    first, second = trial.matrix.records(stopped="interrupted; run again to go on from here")
    for record in (first, second):
        assert record.status is Status.NOT_RUN
        assert record.reason == "interrupted; run again to go on from here"
        assert len(record.measurements) == 1
    records = Trial(
        tmp_path, ScriptedEnvironment("a"), ScriptedEnvironment("b"), passes=[FP32]
    ).records()
    assert set(statuses(records).values()) == {Status.OK}
    assert [one.reused for one in records.values()] == [1, 1]


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def test_an_interrupt_stops_the_job_and_keeps_the_passes_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
    import time
    answer(request["passes"][0])
    stage("infer " + request["passes"][1]["name"])
    time.sleep(600)
    """
    trial = Trial(tmp_path, ScriptedEnvironment("a", [script]), passes=[FP32, SHARED], repeats=1)
    real = trial.store.keep

    def keep(fact: Stored, fingerprint: str) -> None:
        real(fact, fingerprint)
        if isinstance(fact, Measurement) and fact.start and fact.start.environment == "a":
            raise KeyboardInterrupt

    monkeypatch.setattr(trial.store, "keep", keep)
    with pytest.raises(KeyboardInterrupt):
        trial.matrix.run()
    again = ScriptedEnvironment("a", [HONEST])
    records = Trial(tmp_path, again, passes=[FP32, SHARED], repeats=1).records()
    assert records["a/cpu/fp32"].reused == 1
    assert records["a/cpu/int8-shared-entropy"].reused == 0
    assert not list((trial.store.root / "work").iterdir())


def test_trouble_of_the_store_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up after each of the first dozen files, and is freed again."""
    fsync = os.fsync
    for allowed in range(0, 12, 3):
        left = allowed

        def full(handle: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")
            fsync(handle)

        with monkeypatch.context() as patch:
            trial = Trial(tmp_path, ScriptedEnvironment("a"), passes=[FP32, SHARED])
            patch.setattr("os.fsync", full)
            with pytest.raises(StoreError, match="free space and run again"):
                run_and_write(trial)
    records = Trial(tmp_path, ScriptedEnvironment("a"), passes=[FP32, SHARED]).records()
    assert set(statuses(records).values()) == {Status.OK}


def run_and_write(trial: Trial) -> None:
    trial.matrix.run()
    for record in trial.matrix.records():
        trial.run.write_record(record)


def test_what_was_truncated_is_measured_again(tmp_path: Path) -> None:
    # Not what the reference gives, or that would bring the lost outputs back.
    other = [HONEST.replace("answer(one)", "answer(one, value=1.5)")]
    first = Trial(tmp_path, ScriptedEnvironment("a", other), passes=[FP32, SHARED])
    made = first.records()
    for path in (first.store.root / "objects").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    environment = ScriptedEnvironment("a", other)
    again = Trial(tmp_path, environment, passes=[FP32, SHARED])
    records = again.records()
    assert environment.starts == 1, "its second repeat gave the same bytes as the first"
    for cell, record in records.items():
        assert record.status is Status.OK
        assert [one.outputs for one in record.measurements] == [
            one.outputs for one in made[cell].measurements
        ]
        assert all(
            again.store.has(output)
            for one in record.measurements
            for output in one.outputs.values()
        )


def test_a_signal_to_the_job_alone_is_a_crash_not_an_interrupt(tmp_path: Path) -> None:
    script = f"stage('build fp32')\nos.kill(os.getpid(), {int(signal.SIGINT)})\nimport time\ntime.sleep(9)"
    records = Trial(tmp_path, ScriptedEnvironment("a", [script]), passes=[FP32]).records()
    assert records["a/cpu/fp32"].status is Status.CRASHED


# What a run would reuse


def forecast(tmp_path: Path, environment: ScriptedEnvironment, repeats: int = 2) -> dict[str, int]:
    store = store_of(tmp_path)
    reference = InstantEnvironment()
    found = known_repeats(
        store,
        wants_of(store, repeats=repeats),
        cells_of([environment]),
        {environment.name: environment},
        reference,
        {environment.name: {}, "reference": {}},
        lambda *_: False,
    )
    assert environment.starts == reference.starts == 0
    return dict(found)


def test_a_plan_knows_what_is_known(tmp_path: Path) -> None:
    assert forecast(tmp_path, ScriptedEnvironment("a")) == {}
    trial = Trial(tmp_path, ScriptedEnvironment("a"))
    trial.records()
    cells = {cell.id: 2 for cell in trial.matrix.cells}
    assert forecast(tmp_path, ScriptedEnvironment("a")) == cells
    assert forecast(tmp_path, ScriptedEnvironment("a"), repeats=5) == cells
    assert forecast(tmp_path, ScriptedEnvironment("a", made=False)) == {}
    assert forecast(tmp_path, ScriptedEnvironment("a", fingerprint="upgraded")) == {}
    assert forecast(tmp_path, ScriptedEnvironment("b", fingerprint="a")) == {
        cell.replace("a/", "b/", 1): count for cell, count in cells.items()
    }


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path, ScriptedEnvironment("a"))
    trial.records()

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    forecast(tmp_path, ScriptedEnvironment("a"))
    forecast(tmp_path, ScriptedEnvironment("a", fingerprint="upgraded"))
    assert files() == before
