"""What a run keeps of outputs: nothing may be lost by it but the arrays, and what is lost is told or measured again."""

import gc
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.experiments import quick
from tests.unit.matrices import Told, run_offline
from trt_matrix.commands import session
from trt_matrix.commands.footprint import footprint
from trt_matrix.commands.gc import collect_in
from trt_matrix.judging.run import judge_again
from trt_matrix.planning.experiment import read_experiment
from trt_matrix.store.results import Store, utc_now

ROOT = Path(__file__).parents[2]

MATRIX = quick(
    model={"onnx": str(ROOT / "demo/digits3.onnx")},
    heads={
        "large": {"stride": 32, "anchors": [[80, 105]]},
        "medium": {"stride": 16, "anchors": [[37, 48]]},
        "small": {"stride": 8, "anchors": [[17, 22]], "gate": {"ap_drop": 0.5}},
    },
    decode={"style": "yolov3", "classes": 10},
    data={
        "calibration": {"images": str(ROOT / "demo/images/calibration"), "limit": 3},
        "evaluation": {
            "images": str(ROOT / "demo/images/evaluation"),
            "labels": str(ROOT / "demo/labels.json"),
            "limit": 3,
        },
        "preprocess": {"resize": "letterbox", "size": [320, 320], "color": "rgb"},
    },
    quantisation={"mixed": None},
)
VOLATILE = {
    "run_id", "created", "seconds", "reused", "run", "facts", "latency", "started", "stages",
}  # fmt: skip


def matrix(folder: Path, **changes: Any) -> Path:
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump({**MATRIX, **changes}))
    return path


def run(path: Path, results: Path) -> Told:
    told = Told()
    gc.collect()  # what earlier calls in this process had open
    run_offline(path, results, told=told)
    return told


def measured(told: Told) -> list[str]:
    """Returns the passes of cells that were not reused."""
    return [line for line in told.lines if line.startswith("ok here/") and "reused" not in line]


def judgement(results: Path) -> Any:
    def steady(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: steady(one) for key, one in value.items() if key not in VOLATILE}
        return [steady(one) for one in value] if isinstance(value, list) else value

    return steady(json.loads((results / "latest/judgement.json").read_text()))


def outputs(results: Path, cell: str) -> Mapping[str, bool]:
    """Returns head → whether the array is stored, of the first repeat of a cell."""
    record = json.loads((results / f"latest/records/here/cpu/{cell}.json").read_text())
    stored = record["measurements"][0]["outputs"]
    objects = results / ".store/objects"
    return {head: (objects / f"{one['sha256']}.npy").exists() for head, one in stored.items()}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run that kept what it does by itself."""
    folder = tmp_path_factory.mktemp("once")
    run(matrix(folder), folder / "results")
    return folder / "results"


@pytest.fixture
def results(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "results", symlinks=True))


def test_outputs_of_which_sums_and_boxes_are_known_go(once: Path) -> None:
    assert set(outputs(once, "int8-shared-minmax").values()) == {False}
    assert set(outputs(once, "fp32").values()) == {True}, "new cells are compared with it"
    manifest = json.loads((once / "latest/manifest.json").read_text())
    objects = once / ".store/objects"
    stored = {output["sha256"] for output in manifest["reference"]["outputs"].values()}
    assert all((objects / f"{one}.npy").exists() for one in stored)
    simulated = {
        output["sha256"] for each in manifest["simulations"] for output in each["outputs"].values()
    }
    assert simulated
    assert not [one for one in simulated if (objects / f"{one}.npy").exists()]


def test_what_is_kept_is_within_what_plan_says(once: Path, tmp_path: Path) -> None:
    told = footprint(read_experiment(matrix(tmp_path), []))
    left = sum(path.stat().st_size for path in (once / ".store/objects").iterdir())
    kept = sum(told.kept.values())
    assert left / 3 < kept, "the bound is one"
    assert left < kept < 3 * left, "and says something"
    more = footprint(read_experiment(matrix(tmp_path, keep="outputs"), []))
    assert more.kept["outputs"] > told.kept["outputs"]
    assert more.while_running == told.while_running


def test_judged_again_and_run_again_all_is_the_same(results: Path, tmp_path: Path) -> None:
    before = judgement(results)
    assert before["judgement"]["boxes"]["precision"], "boxes are judged, too"
    judge_again("latest", results)
    assert judgement(results) == before
    told = run(matrix(tmp_path), results)
    assert not measured(told)
    assert judgement(results) == before
    planned = session.plan_experiment(matrix(tmp_path), results, select=[])
    assert set(planned.known.values()) == {1}
    assert len(planned.known) == 3
    del planned
    gc.collect()
    collect_in(results, keep=1, older_than=None, now=utc_now(), dry_run=False)
    judge_again("latest", results)
    assert judgement(results) == before


def test_where_boxes_are_asked_for_anew_the_cells_are_measured_again(
    results: Path, tmp_path: Path
) -> None:
    looser = matrix(tmp_path, decode={**MATRIX["decode"], "nms_iou": 0.7})
    assert set(session.plan_experiment(looser, results, select=[]).known) == {"here/cpu/fp32"}
    told = run(looser, results)
    assert {line.split()[1] for line in measured(told)} == {
        "here/cpu/int8-shared-minmax",
        "here/cpu/int8-own-minmax",
    }
    assert set(outputs(results, "int8-shared-minmax").values()) == {False}


def test_where_sums_are_damaged_the_cell_says_so_and_the_next_run_mends_it(
    results: Path, tmp_path: Path
) -> None:
    before = judgement(results)
    record = json.loads((results / "latest/records/here/cpu/int8-own-minmax.json").read_text())
    mine = {output["sha256"] for output in record["measurements"][0]["outputs"].values()}
    for fact in (results / ".store/facts/object").iterdir():
        if mine & set(json.loads(fact.read_text())["sources"]):
            fact.write_text(fact.read_text()[:-9])
    told = judge_again("latest", results).judgement
    cells = {result.cell.id: result for result in told.cells}
    shared = cells["here/cpu/int8-shared-minmax"]
    gone = [
        result for result in (shared, cells["here/cpu/int8-own-minmax"]) if result.status != "ok"
    ]
    assert gone
    assert all(
        result.status == "not_run" and "run again" in (result.reason or "") for result in gone
    )
    assert cells["here/cpu/fp32"].status == "ok"
    run(matrix(tmp_path), results)
    assert judgement(results) == before


def test_keep_outputs_keeps_them_also_from_a_run_that_does_not(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run(matrix(tmp_path, keep="outputs"), results)
    kept = len(list((results / ".store/objects").glob("*.npy")))
    assert set(outputs(results, "int8-own-minmax").values()) == {True}
    run(matrix(tmp_path), results)
    assert len(list((results / ".store/objects").glob("*.npy"))) == kept


def test_while_another_has_the_results_open_nothing_goes(results: Path, tmp_path: Path) -> None:
    shutil.rmtree(results)
    other = Store(results)
    told = run(matrix(tmp_path), results)
    assert session.IN_USE in told.lines
    assert set(outputs(results, "int8-own-minmax").values()) == {True}
    del other
    told = run(matrix(tmp_path), results)
    assert session.IN_USE not in told.lines
    assert not measured(told)
    assert set(outputs(results, "int8-own-minmax").values()) == {False}
