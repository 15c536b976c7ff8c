"""`trt-matrix diagnose` from the command line: with a run, without one, and with what cannot be diagnosed."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from tests.unit import diagnoses
from tests.unit import small_networks as networks
from tests.unit.experiments import DATA, noise_images, quick
from tests.unit.matrices import Told, run_offline
from tests.unit.only_fields import only_fields
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.manifest import DecodedHead, Ranked, RecordedDecode
from trt_matrix.core.metrics import metrics
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.tables.table import Provenance, Table, to_json
from trt_matrix.diagnosis.from_run import require_float
from trt_matrix.diagnosis.running import diagnosed, wish
from trt_matrix.diagnosis.subject import comparable
from trt_matrix.errors import ConfigError, StoreError
from trt_matrix.judging import run as judging
from trt_matrix.store.results import Store


def write(folder: Path, *, gate: float = 25, model: str = "tiny.onnx", images: int = 18) -> Path:
    folder.joinpath("tiny.onnx").write_bytes(networks.detector().SerializeToString())
    noise_images(folder, 7, calibration=4, evaluation=images, name="{:02}.png")
    names = [{"id": index, "file_name": f"{index:02}.png"} for index in range(images)]
    boxes = [
        {"id": index + 1, "image_id": index, "category_id": 1, "bbox": [2, 2, 8, 8], "area": 64}
        for index in range(images)
    ]
    coco = {"images": names, "annotations": boxes, "categories": [{"id": 1}]}
    (folder / "labels.json").write_text(json.dumps(coco))
    matrix = quick(
        model={"onnx": model},
        heads={
            "large": {"stride": 4, "anchors": [[8, 8]], "gate": {"sqnr_db": gate}},
            "small": {"stride": 2, "anchors": [[4, 4]]},
        },
        data=DATA | {"evaluation": {"images": "evaluation", "labels": "labels.json"}},
        decode={"style": "yolov3", "classes": 1},
        calibration={"algorithms": ["entropy", "minmax"], "shared": "entropy"},
        timing={"min_samples": 2, "max_samples": 3, "max_s": 0.01, "warm_up_max_s": 0.01},
    )
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(matrix))
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """matrix.yaml and the results of its run."""
    folder = tmp_path_factory.mktemp("ran")
    path = write(folder)
    run_offline(path, folder / "results")
    return path, folder / "results"


def asked(what: Path | str, results: Path, **options: Any) -> Diagnosis:
    values: dict[str, Any] = {"images": 64, "heads": (), "goals": (), "most_cost": 0.9, **options}
    table, output = values.pop("table", None), values.pop("output", None)
    done = diagnosed(
        str(what), results, wish(**values), table=table, output=output, progress=Told()
    )
    assert done.text()
    stored = Diagnosis.model_validate_json(done.file.read_bytes())
    assert stored == done.diagnosis
    return stored


def test_without_a_run_it_calibrates_itself_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path)
    diagnosis = asked(path, tmp_path / "results")
    assert diagnosis.run is None
    assert diagnosis.table == "entropy of this machine"
    assert any("nothing is measured" in note for note in diagnosis.notes)
    assert all(head.measured == () for head in diagnosis.heads)
    assert (tmp_path / "results" / "tiny.diagnosis.json").exists()


def test_a_run_gives_its_table_its_gates_and_what_was_measured(ran: tuple[Path, Path]) -> None:
    path, results = ran
    for what in (path, "latest"):
        diagnosis = asked(what, results)
        assert diagnosis.run is not None
        assert (results / diagnosis.run / "diagnosis.json").exists()
        assert diagnosis.table.startswith("entropy of reference")
        head = next(
            head_diagnosis for head_diagnosis in diagnosis.heads if head_diagnosis.head == "large"
        )
        assert "here/cpu/int8-shared-entropy" in [error.cell for error in head.measured]
        assert head.int8.lost is not None
        assert head.int8.ap_drop is not None
        assert diagnosis.engine == "onnxruntime"


def test_all_int8_is_what_the_runs_own_simulation_says(ran: tuple[Path, Path]) -> None:
    _, results = ran
    diagnosis = asked("latest", results, images=15)
    assert diagnosis.images_confirmed_on == 0
    run = Store(results).open_run("latest")
    manifest = run.manifest()
    assert manifest.reference is not None
    (simulated,) = [
        simulation
        for simulation in manifest.simulations
        if simulation.table == diagnosis.table_sha256
        and simulation.placement == diagnosis.placement
    ]
    for head in diagnosis.heads:
        outputs = simulated.outputs[head.head], manifest.reference.outputs[head.head]
        sums = run.store.sums(*outputs, manifest.epsilon)[:15]
        assert head.int8.sqnr_db == pytest.approx(metrics(sums).sqnr_db, abs=0.01)


def test_a_run_is_judged_as_before_with_a_diagnosis_beside_it(ran: tuple[Path, Path]) -> None:
    """But for what would fix it: of that it knows more."""
    _, results = ran
    run = Store(results).open_run("latest")
    (run.folder / "diagnosis.json").unlink(missing_ok=True)
    before = dict(judging.judge_again("latest", results).summary())
    asked("latest", results)
    after = dict(judging.judge_again("latest", results).summary())
    for key in ("fixes", "no_fix"):
        del before[key], after[key]
    assert after == before


def test_the_network_that_is_written_has_the_chosen_layers_in_float(
    ran: tuple[Path, Path], tmp_path: Path
) -> None:
    path, results = ran
    output = tmp_path / "mixed.onnx"
    diagnosis = asked(path, results, goals=("sqnr_db=33",), output=output)
    assert diagnosis.search.chosen is not None
    assert diagnosis.search.chosen.layers
    model = onnx.load(output)
    onnx.checker.check_model(model)
    dequantised = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    for node in model.graph.node:
        if node.op_type == "Conv":
            in_int8 = node.input[1] in dequantised
            assert in_int8 == (node.name not in diagnosis.search.chosen.layers)


def test_another_table_is_chosen_by_algorithm_by_digest_and_by_file(
    ran: tuple[Path, Path], tmp_path: Path
) -> None:
    path, results = ran
    minmax = asked(path, results, table="minmax")
    assert minmax.table.startswith("minmax of")
    assert asked(path, results, table=minmax.table_sha256[:10]).table_sha256 == minmax.table_sha256
    names = [tensor.name for tensor in minmax.tensors if tensor.kind == "activation"]
    table = Table(amax=dict.fromkeys(names, 3.0), provenance=Provenance(algorithm="own"))
    file = tmp_path / "own.json"
    file.write_text(to_json(table))
    assert asked(path, results, table=str(file)).table == "own.json"
    with pytest.raises(ConfigError, match="no table 'mystery'.*entropy of"):
        asked(path, results, table="mystery")
    file.write_bytes(b"\x00garbage")
    with pytest.raises(ConfigError, match=r"own\.json"):
        asked(path, results, table=str(file))


@pytest.mark.parametrize(
    "goal", ["sqnr_db", "sqnr_db=", "sqnr_db=nan", "sqnr_db=inf", "mse=3", "=3", ""]
)
def test_a_goal_that_is_none_is_refused_with_those_that_are(goal: str) -> None:
    with pytest.raises(ConfigError, match="sqnr_db, ap_drop"):
        wish(images=8, heads=(), goals=(goal,), most_cost=0.5)


def test_what_is_no_run_is_told_with_the_runs_there(ran: tuple[Path, Path]) -> None:
    with pytest.raises(StoreError, match="no finished run; runs there: "):
        asked("nothing", ran[1])


def test_a_head_that_is_none_is_told_with_those_that_are(ran: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="no head 'tiny'; there are large, small"):
        asked("latest", ran[1], heads=("tiny",))


def test_a_network_that_came_quantised_is_diagnosed_in_float(tmp_path: Path) -> None:
    """It has a float form: that is diagnosed, and that its own scales are not is told."""
    path = write(tmp_path)
    model = canonical(networks.detector())
    table = diagnoses.minmax(model, diagnoses.images(2))
    placed = place(model, table, TENSORRT).model
    (tmp_path / "tiny.onnx").write_bytes(placed.SerializeToString())
    diagnosis = asked(path, tmp_path / "results")
    assert any("came quantised" in note for note in diagnosis.notes)


def test_a_network_whose_float_form_is_not_known_is_refused(tmp_path: Path) -> None:
    model = canonical(networks.detector())
    placed = place(model, diagnoses.minmax(model, diagnoses.images(2)), TENSORRT).model
    with pytest.raises(ConfigError, match="came quantised.*strip"):
        require_float(placed, "matrix.yaml")


def test_images_that_are_gone_from_the_store_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, images=4)
    results = tmp_path / "results"
    run_offline(path, results)
    for file in (results / ".store" / "objects").glob("*.npy"):
        file.unlink()
    with pytest.raises(ConfigError, match="images are no longer stored: run it again"):
        asked("latest", results)


def test_one_image_alone_is_enough_to_look_at(ran: tuple[Path, Path]) -> None:
    diagnosis = asked("latest", ran[1], images=1)
    assert diagnosis.images_chosen_on == 1
    assert diagnosis.search.confirmed_holds is None


def test_ranked_rows_are_not_told_in_decibels_and_what_is_left_is() -> None:
    ranked = {"dets": Ranked(operator="TopK", node="TopK_13", before=("scores",))}
    heads = (("raw", "scores"), ("dets", "rows"))
    kept, notes = comparable(heads, ranked, None, "run")
    assert kept == (("raw", "scores"),)
    assert notes == ("head dets: its rows are ranked by TopK (node TopK_13): it is not looked at",)
    with pytest.raises(ConfigError, match="not looked at: name the tensor before it as head"):
        comparable(heads[1:], ranked, None, "run")
    decode = only_fields(RecordedDecode, heads=(DecodedHead(head="dets"),))
    kept, notes = comparable(heads, ranked, decode, "run")
    assert kept == heads
    assert "its dB say nothing, its boxes do" in notes[0]


def test_what_is_measured_is_of_the_images_that_are_simulated(ran: tuple[Path, Path]) -> None:
    """One image in every half of the run: the measured number of a few is not that of all."""
    _, results = ran
    run = Store(results).open_run("latest")
    manifest = run.manifest()
    (record,) = [
        record for record in run.records() if record.cell == "here/cpu/int8-shared-entropy"
    ]
    assert manifest.reference is not None
    for images in (3, 18):
        diagnosis = asked("latest", results, images=images)
        for head in diagnosis.heads:
            (real,) = [error for error in head.measured if error.cell == record.cell]
            outputs = (
                record.measurements[0].outputs[head.head],
                manifest.reference.outputs[head.head],
            )
            sums = run.store.sums(*outputs, manifest.epsilon)
            used = sums[:3] if images == 3 else sums[::2]
            assert real.sqnr_db == pytest.approx(metrics(used).sqnr_db)
            assert real.sqnr_db != pytest.approx(metrics(sums).sqnr_db, abs=1e-6)
