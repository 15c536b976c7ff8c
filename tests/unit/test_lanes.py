"""One job a device at a time, several devices at once: told by events, never by how long it took.

Jobs wait for each other where they must overlap; `PATIENCE_S` ends that wait where they do not.
"""

import dataclasses
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.fakes.environment import InstantEnvironment, ScriptedEnvironment
from tests.unit.hosts import gpu
from tests.unit.matrices import Trial, store_of
from tests.unit.only_fields import only_fields
from tests.unit.passes import FP32, OWN, SHARED
from trt_matrix.core.cells import Cell, Pass, Precision, Status
from trt_matrix.core.hosts.gpus import Machine
from trt_matrix.core.records import Measurement
from trt_matrix.environments import process
from trt_matrix.environments.base import Ending, JobRun
from trt_matrix.errors import StoreError
from trt_matrix.execution.lanes import DeviceLane
from trt_matrix.execution.workers import Workers

PATIENCE_S = 60
GPUS = (gpu("T4", 0, uuid="GPU-aaaa"), gpu("T4", 1, uuid="GPU-bbbb"))
HERE = Machine(driver="535.1", gpus=GPUS)
DEVICES = ("gpu:0", "gpu:1")


class Diary:
    """What ran where, in order, and beside what."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active: list[str] = []
        """Places."""
        self.jobs: list[tuple[str, str]] = []
        """(place, environment) of each job, as they began."""
        self.beside: list[frozenset[str]] = []
        """Places that were in use while a job began, its own apart."""
        self.clashes: list[str] = []

    def begin(self, place: str, environment: str) -> None:
        with self.lock:
            if place in self.active:
                self.clashes.append(place)
            self.beside.append(frozenset(self.active))
            self.active.append(place)
            self.jobs.append((place, environment))

    def end(self, place: str) -> None:
        with self.lock:
            self.active.remove(place)


class Watched(InstantEnvironment):
    """An honest job that writes into a diary, and meets others in its middle."""

    def __init__(
        self,
        name: str,
        diary: Diary,
        *,
        machine: Machine = HERE,
        meet: Callable[[str], object] = lambda device: None,
    ) -> None:
        super().__init__()
        self.name = name
        self.diary = diary
        self.machine = machine
        self.meet = meet

    def run(self, job: JobRun) -> Ending:
        place = self.machine.place(job.device)
        self.diary.begin(place, self.name)
        try:
            self.meet(job.device)
            return super().run(job)
        finally:
            self.diary.end(place)


def trial_of(
    tmp_path: Path,
    environments: Sequence[InstantEnvironment | ScriptedEnvironment],
    devices: Sequence[str] | Mapping[str, Sequence[str]] = DEVICES,
    passes: Iterable[Pass] = (FP32,),
    machines: dict[str, Machine] | None = None,
    repeats: int = 1,
) -> Trial:
    cells = [
        Cell(environment=environment.name, device=device, pass_=pass_)
        for environment in environments
        for device in (devices[environment.name] if isinstance(devices, Mapping) else devices)
        for pass_ in passes
    ]
    trial = Trial(
        tmp_path, cells=cells, repeats=repeats, shared=None if FP32 in passes else "entropy"
    )
    matrix = trial.matrix
    machines = machines or dict.fromkeys((environment.name for environment in environments), HERE)
    settings = dataclasses.replace(matrix.wants.settings, machines=machines)
    matrix.wants = dataclasses.replace(matrix.wants, settings=settings)
    matrix.jobs.wants = matrix.rounds.wants = matrix.wants
    matrix.environments = {environment.name: environment for environment in environments}
    matrix.engine_options = {one: {} for one in ("reference", *matrix.environments)}
    return trial


def at_first(meet: Callable[[], object]) -> Callable[[str], None]:
    """Returns what lets the first job of each device meet the others."""
    seen: set[str] = set()

    def once(device: str) -> None:
        if device not in seen:
            seen.add(device)
            meet()

    return once


def together(count: int) -> Callable[[str], None]:
    """Returns what lets no device's first job go on before so many devices have one in work."""
    return at_first(threading.Barrier(count, timeout=PATIENCE_S).wait)


def _rounds(names: list[str]) -> None:
    """Checks three rounds of two environments: a pair of both orders, and one more."""
    assert names[:2] == names[3:1:-1]
    assert [sorted(names[start : start + 2]) for start in (0, 2, 4)] == [["a", "b"]] * 3
    assert len(names) == 6


def test_devices_work_at_once_each_on_one_job_round_after_round(tmp_path: Path) -> None:
    diary, meet = Diary(), together(2)
    environments = [Watched(name, diary, meet=meet) for name in ("a", "b")]
    trial = trial_of(tmp_path, environments, repeats=3)
    records = trial.records()
    assert {record.status for record in records.values()} == {Status.OK}
    assert {len(record.measurements) for record in records.values()} == {3}
    assert diary.clashes == []
    for place in ("GPU-aaaa", "GPU-bbbb"):
        _rounds([name for where, name in diary.jobs if where == place])
    assert trial.told.steps == trial.told.expected
    assert trial.told.under_way == set()


def test_one_gpu_under_two_names_is_one_device(tmp_path: Path) -> None:
    diary = Diary()
    environments = [Watched(name, diary) for name in ("a", "b")]
    devices = {"a": ["gpu:0"], "b": ["GPU-aaaa"]}
    trial_of(tmp_path, environments, devices, repeats=3).records()
    assert diary.clashes == []
    _rounds([name for _, name in diary.jobs])


def test_no_gpu_is_at_work_while_the_processor_is_measured(tmp_path: Path) -> None:
    """Builds and launches of the one would be in the latencies of the other."""
    diary, meet = Diary(), together(2)
    environments = [Watched("trt", diary, meet=meet), Watched("ort", diary)]
    devices = {"trt": DEVICES, "ort": ["cpu"]}
    trial_of(tmp_path, environments, devices, repeats=2).records()
    assert [job for job in diary.jobs if job[0] == "cpu"] == diary.jobs[:2]
    assert set(diary.beside[:2]) == {frozenset()}


def test_processors_of_two_machines_work_at_once(tmp_path: Path) -> None:
    diary = Diary()
    barrier = threading.Barrier(2, timeout=PATIENCE_S)
    machines = {"here": HERE, "there": Machine(name="t4box")}
    environments = [
        Watched(name, diary, machine=machine, meet=at_first(barrier.wait))
        for name, machine in machines.items()
    ]
    records = trial_of(tmp_path, environments, ["cpu"], machines=machines).records()
    assert {record.status for record in records.values()} == {Status.OK}
    assert {place for place, _ in diary.jobs} == {"cpu", "t4box/cpu"}


def test_tables_stand_in_the_order_of_the_plan_whoever_was_first(tmp_path: Path) -> None:
    """The first device calibrates last."""

    def found(folder: Path, *, second_first: bool) -> list[str]:
        ended = threading.Event()

        class Ranges(InstantEnvironment):
            def __init__(self, name: str, device: str, amax: float) -> None:
                super().__init__()
                self.name, self.device, self.amax = name, device, amax

            def run(self, job: JobRun) -> Ending:
                if second_first and self.device == "gpu:0":
                    assert ended.wait(PATIENCE_S)
                ending = super().run(job)
                path = job.result / "calibration.json"
                if path.exists():
                    path.write_text(path.read_text().replace("2.0", str(self.amax)))
                if self.device == "gpu:1":
                    ended.set()
                return ending

        environments = [Ranges("a", "gpu:0", 3.0), Ranges("b", "gpu:1", 4.0)]
        devices = {"a": ["gpu:0"], "b": ["gpu:1"]}
        trial = trial_of(folder, environments, devices, [SHARED, OWN])
        assert {record.status for record in trial.records().values()} == {Status.OK}
        return list(trial.matrix.tables)

    tables = found(tmp_path / "1", second_first=False)
    assert len(tables) == 3
    assert found(tmp_path / "2", second_first=True) == tables


# When something goes wrong


class Broken(Watched):
    """Where it runs, the store fails, once the other device has begun."""

    def run(self, job: JobRun) -> Ending:
        self.meet(job.device)
        message = "the disk of this device is full"
        raise StoreError(message)


def test_trouble_on_one_device_loses_nothing_of_another(tmp_path: Path) -> None:
    diary, meet = Diary(), together(2)
    sick, well = Broken("sick", diary, meet=meet), Watched("well", diary, meet=meet)
    devices = {"sick": ["gpu:0"], "well": ["gpu:1"]}
    trial = trial_of(tmp_path, [sick, well], devices, repeats=3)
    with pytest.raises(StoreError, match="the disk of this device is full"):
        trial.records()
    records = {record.cell: record for record in trial.matrix.records(stopped="the disk was full")}
    assert records["well/gpu:1/fp32"].status is Status.OK
    assert len(records["well/gpu:1/fp32"].measurements) == 3
    assert records["sick/gpu:0/fp32"].status is Status.NOT_RUN


def test_a_job_that_fails_on_one_device_stops_no_other(tmp_path: Path) -> None:
    environments = [ScriptedEnvironment("sick", ["os.abort()"]), ScriptedEnvironment("well")]
    devices = {"sick": ["gpu:0"], "well": ["gpu:1"]}
    records = trial_of(tmp_path, environments, devices, repeats=2).records()
    assert records["sick/gpu:0/fp32"].status is Status.CRASHED
    assert records["well/gpu:1/fp32"].status is Status.OK


def interrupt() -> None:
    """What ctrl-C does: a signal to this process, which Python hands to the main thread."""
    os.kill(os.getpid(), signal.SIGINT)


HANGS = """
import time
answer(request["passes"][0])
stage("infer " + request["passes"][1]["name"] + " %d" % os.getpid())
time.sleep(600)
"""


def test_an_interrupt_stops_the_jobs_of_all_devices_and_keeps_what_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TICK_S", 0.02)
    environments = [ScriptedEnvironment(name, [HANGS]) for name in ("a", "b")]
    devices = {"a": ["gpu:0"], "b": ["gpu:1"]}
    passes = [FP32, Pass(precision=Precision.TF32)]
    trial = trial_of(tmp_path, environments, devices, passes)
    hanging: dict[str, int] = {}
    lock = threading.Lock()

    def stage(where: str, text: str) -> None:
        with lock:
            if text.rpartition(" ")[2].isdecimal() and where not in hanging:
                hanging[where] = int(text.rpartition(" ")[2])
                if len(hanging) == 2:
                    interrupt()

    monkeypatch.setattr(trial.told, "stage", stage)
    with pytest.raises(KeyboardInterrupt):
        trial.matrix.run()
    assert set(hanging) == {"a/gpu:0", "b/gpu:1"}
    for pid in hanging.values():
        assert not Path(f"/proc/{pid}").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker")]
    assert not list((trial.store.root / "work").iterdir())
    again = trial_of(tmp_path, [ScriptedEnvironment(name) for name in ("a", "b")], devices, [FP32])
    assert [record.reused for record in again.records().values()] == [1, 1]


def test_an_interrupt_ends_the_wait_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(tmp_path, [Watched("a", Diary())])
    monkeypatch.setattr(trial.told, "note", lambda text: interrupt() if "waiting" in text else None)
    with (
        store_of(tmp_path).turn("GPU-aaaa", lambda: pytest.fail("nobody has it")),
        pytest.raises(KeyboardInterrupt),
    ):
        trial.matrix.run()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker")]


def test_what_is_interrupted_begins_nothing_new(tmp_path: Path) -> None:
    diary, meet = Diary(), together(2)

    def press(device: str) -> None:
        meet(device)
        if device == "gpu:0":
            interrupt()

    trial = trial_of(tmp_path, [Watched("a", diary, meet=press)], repeats=500)
    with pytest.raises(KeyboardInterrupt):
        trial.matrix.run()
    assert len(diary.jobs) < 1000
    counts = [len(record.measurements) for record in trial.matrix.records(stopped="interrupted")]
    assert sum(counts) <= len(diary.jobs)


# The workers themselves


def test_results_are_in_order_and_a_single_one_needs_no_thread() -> None:
    first = threading.Event()

    def slow() -> int:
        assert first.wait(PATIENCE_S)
        return 1

    def fast() -> int:
        first.set()
        return 2

    assert Workers().all([slow, fast]) == [1, 2]
    assert Workers().all([threading.current_thread]) == [threading.main_thread()]
    assert Workers().all([]) == []


def test_no_more_at_once_than_asked_for() -> None:
    diary = Diary()

    def one(number: int) -> int:
        diary.begin(str(number), "x")
        diary.end(str(number))
        return number

    assert Workers().all([functools.partial(one, n) for n in range(50)], at_once=2) == [*range(50)]
    assert max(map(len, diary.beside)) <= 1


def test_of_several_errors_the_first_names_the_others() -> None:
    def fails(text: str) -> None:
        raise StoreError(text)

    ended: list[int] = []
    work = [lambda: fails("one"), lambda: ended.append(1), lambda: fails("two")]
    with pytest.raises(StoreError) as caught:
        Workers().all(work)
    assert str(caught.value) == "one"
    assert caught.value.__notes__ == ["and at the same time: StoreError: two"]
    assert ended == [1]


@pytest.mark.parametrize(
    ("statuses", "status", "reason"),
    [
        ([Status.OK, Status.OK], Status.OK, None),
        ([Status.OK, Status.UNAVAILABLE], Status.OK, "1 of 2 repeats: gone"),
        ([Status.UNAVAILABLE], Status.UNAVAILABLE, "gone"),
        ([Status.OK, Status.CRASHED], Status.CRASHED, "gone"),
        ([Status.OK], Status.NOT_RUN, "it had no turn"),
    ],
)
def test_what_was_measured_stands_where_the_next_repeat_cannot_be_had(
    statuses: Sequence[Status], status: Status, reason: str | None
) -> None:
    cell = Cell(environment="e", device="cpu", pass_=FP32)
    lane = DeviceLane("e", "cpu", (cell,))
    lane.measurements["fp32"] = [
        only_fields(
            Measurement,
            name="fp32",
            status=status,
            reason=None if status is Status.OK else "gone",
        )
        for status in statuses
    ]
    record = lane.record(cell, 2, None)
    assert (record.status, record.reason) == (status, reason)
