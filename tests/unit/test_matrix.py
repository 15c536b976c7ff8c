"""The loop, with environments that do what a script says: through real processes, to real records."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.fakes.environment import HONEST, InstantEnvironment, ScriptedEnvironment
from tests.unit.matrices import IMAGES, Trial, cells_of, statuses, store_of, wants_of
from tests.unit.passes import FP32, OWN, SHARED
from trt_matrix.core.cells import Status
from trt_matrix.core.records import Measurement, Stored
from trt_matrix.environments.base import Ending
from trt_matrix.errors import EnvironmentUnavailableError, StoreError
from trt_matrix.execution.forecast import known_repeats
from trt_matrix.execution.matrix import ExperimentRun

pytestmark = pytest.mark.usefixtures("hurry")


def test_every_cell_gets_a_record_with_all_repeats(tmp_path: Path) -> None:
    trial = Trial(tmp_path, ScriptedEnvironment("a"), ScriptedEnvironment("b"))
    records = trial.records()
    assert list(records) == [cell.id for cell in trial.matrix.cells]
    for record in records.values():
        assert record.status is Status.OK
        assert [measurement.repeat for measurement in record.measurements] == [0, 1]
        assert {measurement.name for measurement in record.measurements} == {record.pass_.name}
        assert record.reused == 0
        for measurement in record.measurements:
            assert measurement.latency is not None
            assert measurement.latency.samples_s == (0.001, 0.002)
            array = trial.store.array(measurement.outputs["small"])
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
    assert all(sorted(round_) == list("abcd") for round_ in rounds)
    for first, second in zip(rounds[::2], rounds[1::2], strict=True):
        assert second == first[::-1]
    assert len({tuple(round_) for round_ in rounds}) > 2, "a new order for each pair"
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
        tmp_path, ScriptedEnvironment("a", never), reference=ScriptedEnvironment("reference", never)
    )
    records = again.records()
    assert all(record.reused == 2 for record in records.values())
    assert {cell: record.measurements for cell, record in records.items()} == {
        cell: one.measurements for cell, one in first.items()
    }
    assert again.told.steps == again.told.expected
    assert again.matrix.jobs.engine_s == 0


def test_undecided_cells_get_more_repeats_until_they_are_decided(tmp_path: Path) -> None:
    asked: list[dict[str, int]] = []

    def undecided(matrix: ExperimentRun) -> set[str]:
        asked.append({record.cell: len(record.measurements) for record in matrix.records()})
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
    assert sum(twin.starts for twin in twins) == 3, "one calibration, two repeats"
    assert not any(record.reused for record in records.values())


def test_without_a_reference_all_is_told_and_recorded(tmp_path: Path) -> None:
    reference = ScriptedEnvironment("reference", ["print('no such operator')\nsys.exit(1)"])
    environment = ScriptedEnvironment("a")
    trial = Trial(tmp_path, environment, reference=reference)
    with pytest.raises(EnvironmentUnavailableError, match="exit code 1") as caught:
        trial.matrix.run()
    assert "no such operator" in str(caught.value)
    assert environment.starts == 0
    records = trial.matrix.records(stopped="without the reference nothing can be compared")
    assert {record.status for record in records} == {Status.NOT_RUN}


def test_an_interrupted_run_keeps_what_ended_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the third start: between the two repeats of an environment."""
    environments = [ScriptedEnvironment("a"), ScriptedEnvironment("b")]
    trial = Trial(tmp_path, *environments, passes=[FP32])

    def until_the_third(environment: ScriptedEnvironment) -> Callable[..., Ending]:
        real = environment.run
        return lambda *a, **k: (
            real(*a, **k)
            if sum(environment.starts for environment in environments) < 2
            else interrupt()
        )

    for scripted_environment in environments:
        monkeypatch.setattr(scripted_environment, "run", until_the_third(scripted_environment))
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
    assert [record.reused for record in records.values()] == [1, 1]


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
        assert [measurement.outputs for measurement in record.measurements] == [
            measurement.outputs for measurement in made[cell].measurements
        ]
        assert all(
            again.store.has(output)
            for measurement in record.measurements
            for output in measurement.outputs.values()
        )


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
