"""A GPU that another used meanwhile: marked, and measured again once."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.environment import InstantEnvironment
from tests.unit.matrices import Trial
from tests.unit.passes import FP32
from trt_matrix.core.cells import Cell, Status
from trt_matrix.core.hosts.gpus import GpuState
from trt_matrix.core.records import Record
from trt_matrix.execution.watch import LOOKS, facts, settled, unwatched

QUIET = GpuState(uuid="GPU-1", time_ns=0, utilisation=0.0)
BUSY = dataclasses.replace(QUIET, processes=("python (7)",))
WARM = dataclasses.replace(QUIET, utilisation=0.9)


def script(*states: GpuState | None) -> Callable[[str], GpuState | None]:
    """Returns a watch that tells these one after the other, then the last for ever."""
    left = list(states)
    return lambda device: left.pop(0) if len(left) > 1 else left[0]


def run(tmp_path: Path, watch: Callable[[str], GpuState | None]) -> tuple[Record, int, Trial]:
    """Returns the record of one cell on a GPU, in how many starts, and the whole trial."""
    environment = InstantEnvironment()
    environment.name = "a"
    reference = InstantEnvironment()
    cells = [Cell(environment="a", device="gpu:0", pass_=FP32)]
    trial = Trial(tmp_path, reference=reference, cells=cells, repeats=1)
    trial.matrix.environments = {"a": environment}
    trial.matrix.engine_options = {"a": {}, "reference": {}}
    trial.matrix.jobs.watch = lambda device: None if device == "cpu" else watch(device)
    (record,) = trial.records().values()
    return record, environment.starts, trial


def warnings(trial: Trial) -> list[str]:
    return [line for line in trial.told.lines if line.startswith("warning: ")]


def test_a_quiet_gpu(tmp_path: Path) -> None:
    record, starts, trial = run(tmp_path, script(QUIET))
    assert (record.status, starts) == (Status.OK, 1)
    start = record.measurements[0].start
    assert start is not None
    assert start.disturbed is None
    assert start.gpu["before"]["uuid"] == "GPU-1"
    assert warnings(trial) == []


def test_a_disturbed_start_is_made_again(tmp_path: Path) -> None:
    record, starts, trial = run(tmp_path, script(QUIET, BUSY, QUIET, QUIET))
    assert (record.status, starts) == (Status.OK, 2)
    assert len(record.measurements) == 1
    start = record.measurements[0].start
    assert start is not None
    assert start.disturbed is None
    assert warnings(trial) == []


def test_what_stays_disturbed_is_kept_with_its_mark(tmp_path: Path) -> None:
    record, starts, trial = run(tmp_path, script(BUSY))
    assert (record.status, starts) == (Status.OK, 2)
    start = record.measurements[0].start
    assert start is not None
    assert start.disturbed == "the GPU was busy with python (7)"
    assert warnings(trial) == [
        "warning: a/gpu:0: the GPU was busy with python (7); do not trust its latency"
    ]


def test_a_gpu_that_nobody_can_tell_of(tmp_path: Path) -> None:
    for watch in (unwatched, script(QUIET, None)):
        record, starts, _ = run(tmp_path, watch)
        start = record.measurements[0].start
        assert start is not None
        assert (dict(start.gpu), start.disturbed) == ({}, None)
        assert starts <= 1


@pytest.mark.parametrize(
    ("states", "last", "naps"),
    [
        ([QUIET], QUIET, 0),
        ([WARM, WARM, QUIET], QUIET, 2),  # our own last job, until the mean forgets it
        ([WARM], WARM, LOOKS - 1),  # somebody else's
        ([BUSY], BUSY, 0),  # a process is no memory
        ([None], None, 0),
        ([WARM, None], None, 1),
    ],
)
def test_it_waits_until_our_last_job_is_forgotten(
    states: list[GpuState | None], last: GpuState | None, naps: int
) -> None:
    slept: list[float] = []
    assert settled(script(*states), "gpu:0", slept.append) == last
    assert len(slept) == naps


def test_states_are_stored_as_a_pair_or_not_at_all() -> None:
    assert facts(QUIET, None) == facts(None, QUIET) == {}
    assert set(facts(QUIET, WARM)) == {"before", "after"}
