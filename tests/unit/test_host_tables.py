"""Tables that the host makes, with a real network and real images: the limit, and `best`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from tests.unit.experiments import changed, problems
from tests.unit.recordings import HEADS, Recording, exactly, noisy
from trt_matrix.commands.session import plan_experiment
from trt_matrix.config.shared_table import Algorithm
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.qdq.placements import Placed
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.judging.outcome import Outcome
from trt_matrix.judging.run_files import ranges_of
from trt_matrix.store.results import Store

EVERY = get_args(Algorithm)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """One very bright image in 16, so that algorithms differ by much."""
    made = Recording(tmp_path_factory.mktemp("limit"), dark=True)
    made.version("app", "8.6.1", 1, table=True, fp32=exactly, int8_shared_minmax=noisy(0.05))
    return made


def int8(outcome: Outcome) -> CellResult:
    (cell_result,) = (
        result for result in outcome.judgement.cells if "int8" in result.cell.pass_.name
    )
    assert cell_result.status is Status.OK
    return cell_result


def limits(outcome: Outcome) -> Mapping[str, float]:
    budgets: Mapping[str, Budget | None] = {head.head: head.budget for head in int8(outcome).heads}
    return {head: budget.limit for head, budget in budgets.items() if budget}


def run(recording: Recording, algorithms: Sequence[str], shared: str = "minmax") -> Outcome:
    return recording.run(calibration={"algorithms": list(algorithms), "shared": shared})


def test_the_limit_is_the_same_whatever_is_listed(recording: Recording) -> None:
    """Of one, two and all algorithms; entropy and mse are among the best, and not listed at first."""
    found = [limits(run(recording, some)) for some in (["minmax"], ["entropy", "minmax"], EVERY)]
    assert found[0].keys() == set(HEADS)
    assert found[0] == found[1] == found[2]


def test_candidates_are_of_either_images_and_say_that_no_cell_runs_them(
    recording: Recording,
) -> None:
    outcome = run(recording, ["minmax"])
    manifest = Store(recording.folder / "results").open_run(outcome.folder.name).manifest()
    notes = [str(table["note"]) for table in manifest.tables.values() if table["note"]]
    assert sum("calibration images" in note for note in notes) == len(EVERY) - 1, "minmax is shared"
    assert sum("evaluation images" in note for note in notes) == len(EVERY)
    assert {simulation.table for simulation in manifest.simulations} == manifest.tables.keys()
    assert {simulation.placement for simulation in manifest.simulations} == {
        Placed(engine="tensorrt").name
    }, "what runs in int8"


def test_best_is_a_shared_table_like_any_other(tmp_path: Path) -> None:
    made = Recording(tmp_path, dark=True)
    for path in sorted((tmp_path / "images" / "calibration").iterdir())[1:]:
        Image.fromarray(np.asarray(Image.open(path)) // 6).save(path)
    made.version("app", "8.6.1", 1, table=True, fp32=exactly, int8_shared_best=noisy(0.05))
    outcome = run(made, ["entropy", "minmax"], "best")
    run_ = Store(tmp_path / "results").open_run(outcome.folder.name)
    manifest = run_.manifest()
    (digest,) = (name for name, table in manifest.tables.items() if table["algorithm"] == "best")
    note = manifest.tables[digest]["note"]
    assert "calibration images" in note
    assert "trial" in note
    ranges = ranges_of(run_, manifest)
    own = {
        table["algorithm"]: ranges[name]
        for name, table in manifest.tables.items()
        if table["images_sha256"] == manifest.tables[digest]["images_sha256"] and name != digest
    }
    start = note.split("'s,")[0]
    assert own.keys() | {start} == set(EVERY)
    if start in own:
        for tensor, amax in ranges[digest].items():
            assert amax in {one[tensor] for one in own.values()}
    else:
        assert "unchanged" in note, "it is that table then, and both are one"
    page = outcome.report.read_text()
    assert note[:40].replace("'", "&#39;") in page.replace("&#x27;", "&#39;")
    # Another run finds it in the store, and so does a plan.
    again = run(made, ["minmax"], "best")
    assert limits(again) == limits(outcome)
    plan = plan_experiment(tmp_path / "matrix.yaml", tmp_path / "results", select=[])
    assert plan.known[int8(outcome).cell.id] == 1


def test_best_is_the_hosts_alone() -> None:
    (problem,) = problems(changed(calibration__algorithms=["entropy", "best"]))
    assert "shared: best" in problem
    assert "calibration.algorithms" in problem
    assert problems(changed(calibration__shared="best")) == []
    (other,) = problems(changed(calibration__shared="bset"))
    assert "best" in other


def test_one_calibration_image_and_one_evaluation_image_are_enough(tmp_path: Path) -> None:
    made = Recording(tmp_path, 1)
    for path in sorted((tmp_path / "images" / "calibration").iterdir())[1:]:
        path.unlink()
    made.version("app", "8.6.1", 1, fp32=exactly, int8_shared_best=noisy(0.05))
    outcome = run(made, ["minmax"], "best")
    assert int8(outcome).passed is not False


def test_images_that_are_all_black(tmp_path: Path) -> None:
    """The network's input has no range then, and its first layer stays in float."""
    made = Recording(tmp_path, 4)
    for path in sorted((tmp_path / "images" / "calibration").iterdir()):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    made.version("app", "8.6.1", 1, fp32=exactly, int8_shared_best=noisy(0.05))
    outcome = run(made, ["minmax"], "best")
    assert int8(outcome).status is Status.OK
