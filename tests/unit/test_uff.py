"""model.uff of matrix.yaml: what is refused, what a job is asked, and a run that reads one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.uff_file import uff_file
from tests.unit import small_networks as networks
from tests.unit.archives import unpack
from tests.unit.experiments import changed, checked, write, wrong
from tests.unit.matrices import Told, run_offline
from tests.unit.test_tensorrt_matrix import FAKES, MATRIX, at, png
from tests.unit.trips import answer_there
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.qdq.placements import Placed
from trt_matrix.core.records import Record
from trt_matrix.execution.alternatives import Alternative, floats, quantised
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.packs.packing import pack
from trt_matrix.planning.experiment import read_experiment
from trt_matrix.store.results import Store
from trt_matrix.ticket.making import TicketWish, make

NODES = {"large": "yolo/large", "small": "yolo/small"}
STATED = {"file": "tiny.uff", "input": "inputs", "outputs": NODES}


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    made = write(tmp_path)
    (tmp_path / "tiny.uff").write_bytes(b"a network")
    return made


def test_it_is_read(matrix: Path) -> None:
    assert wrong(matrix, changed(model__uff=STATED)) == []
    found = checked(matrix).uff
    assert found
    assert (found.name, found.content) == ("tiny.uff", b"a network")
    assert found.interface() == {
        "input": {"node": "inputs", "name": "image", "shape": [3, 16, 16]},
        "outputs": NODES,
    }


def test_names_are_those_of_the_onnx_form_where_nothing_is_said(matrix: Path) -> None:
    assert wrong(matrix, changed(model__uff={"file": "tiny.uff"})) == []
    found = checked(matrix).uff
    assert found
    assert (found.node, found.outputs) == ("image", {"large": "large", "small": "small"})


@pytest.mark.parametrize(
    ("stated", "where", "told"),
    [
        ({"file": "none.uff"}, "model.uff.file", "none.uff: No such file"),
        ({"file": "empty.uff"}, "model.uff.file", "empty.uff is empty"),
        ({"file": "tiny.pb"}, "model.uff.file", "tiny.pb does not end in .uff"),
        ({**STATED, "outputs": {"smal": "x"}}, "model.uff.outputs", "did you mean 'small'?"),
        (
            {**STATED, "outputs": {"small": "inputs"}},
            "model.uff.outputs",
            "'inputs' is named twice",
        ),
        ({**STATED, "ouputs": {}}, "model.uff", "did you mean 'outputs'?"),
        ({"input": "inputs"}, "model.uff", "file"),
    ],
)
def test_what_cannot_serve_is_told(
    matrix: Path, stated: dict[str, Any], where: str, told: str
) -> None:
    (matrix.parent / "empty.uff").touch()
    (matrix.parent / "tiny.pb").write_bytes(b"a network")
    problems = wrong(matrix, changed(model__uff=stated))
    assert any(where in problem and told in problem for problem in problems), problems


def test_a_network_with_channels_last_has_no_uff_form(matrix: Path) -> None:
    builder = networks.Builder()
    builder.node("Transpose", ["image"], "t", perm=[0, 3, 1, 2])
    builder.conv("t", "large", 3, 6)
    builder.conv("t", "small", 3, 6)
    model = builder.model({"image": [1, 16, 16, 3]}, ["large", "small"])
    (matrix.parent / "last.onnx").write_bytes(model.SerializeToString())
    problems = wrong(matrix, changed(model__onnx="last.onnx", model__uff=STATED))
    assert any("--inputs-as-nchw" in problem for problem in problems), problems


def test_tensorrts_float_passes_are_offered_it_and_no_other(matrix: Path, tmp_path: Path) -> None:
    assert wrong(matrix, changed(model__uff=STATED)) == []
    network = read_experiment(matrix, []).network
    assert floats(network, "onnxruntime") == ()
    (offered,) = floats(network, "tensorrt")
    assert offered.asked == {"uff": network.uff.object.file, **network.uff.interface()}  # type: ignore[union-attr]
    other = Alternative(offered.name, offered.model, {**(offered.uff or {}), "outputs": {}})
    assert other.key != offered.key, "another node is another question"
    table: Any = None
    assert quantised(Store(tmp_path / "results"), network, table, Placed(engine="tensorrt")) == ()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment whose ONNX form the fake 6.0.1 cannot read; packed, answered there, merged and run."""
    return answered(tmp_path_factory.mktemp("uff"))


def answered(folder: Path, images: int = 2, batch: int = 1) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc for the fake CUDA runtime")
    (folder / "images").mkdir()
    for index in range(images):
        (folder / "images" / f"{index}.png").write_bytes(png(index))
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    names = NODES | {"image": "inputs"}
    (folder / "tiny.uff").write_bytes(uff_file(networks.old_detector(), names))
    text = MATRIX.format(python=sys.executable).replace(
        "variants: [tiny-opset9.onnx]", f"uff: {json.dumps(STATED)}, batch: {batch}"
    )
    (folder / "matrix.yaml").write_text(text.replace("trt-5.1.5, trt-8.6.1, trt-11.0", "trt-6.0.1"))
    (folder / "cudart").mkdir()
    library = ["gcc", "-shared", "-fPIC", "-o", str(folder / "cudart" / "libcudart.so")]
    subprocess.run([*library, str(FAKES / "cudart" / "cudart.c")], check=True)
    packed = pack(
        folder / "matrix.yaml", folder / "results", folder / "pack.tar",
        select=["trt-6.0.1/*"], progress=Told(),
    )  # fmt: skip
    unpack(packed.file, folder / "there")
    answer_there(folder / "there", folder / "results", at(folder, "6.0.1"))
    run_offline(folder / "matrix.yaml")
    return folder


def records(run: Path) -> dict[str, Record]:
    found = Store(run / "results").open_run("latest").records()
    return {record.cell: record for record in found if record.environment == "trt-6.0.1"}


def test_a_run_reads_it_and_says_so(run: Path) -> None:
    found = records(run)
    for name in ("fp32", "int8-implicit-own-entropy2", "int8-implicit-shared-entropy"):
        record = found[f"trt-6.0.1/gpu:*/{name}"]
        assert record.status is Status.OK, record.reason
        assert {measurement.variant for measurement in record.measurements} == {"tiny.uff"}
        assert {tuple(measurement.refused) for measurement in record.measurements} == {
            ("tiny.onnx",)
        }
    manifest = Store(run / "results").open_run("latest").manifest()
    assert manifest.facts["model"]["uff"]["file"] == "tiny.uff"


def test_a_ticket_says_that_it_holds_no_uff(run: Path, tmp_path: Path) -> None:
    ticket = make(
        "latest", run / "results", tmp_path / "t.zip", TicketWish(cells=["trt-6.0.1/*/fp32"])
    )
    (cell,) = (cell for cell in ticket.content.cells if cell.cell == "trt-6.0.1/gpu:*/fp32")
    assert cell.reproduce is None
    assert "UFF file" in (cell.why_not or "")


def test_its_images_go_in_batches(tmp_path: Path) -> None:
    """UFF files know no batch: they are built and run for so many, the last batch short here."""
    batched = answered(tmp_path, images=3, batch=2)
    found = records(batched)
    assert {
        record.status for record in found.values() if record.pass_.precision is Precision.FP32
    } == {Status.OK}
    judgement = JudgementFile.read(batched / "results" / "latest").judgement
    (cell,) = (result for result in judgement.cells if result.cell.id == "trt-6.0.1/gpu:*/fp32")
    assert cell.latency is not None
    assert cell.latency.batch == 2
    # Against the reference, which ONNX Runtime computed of the ONNX form.
    assert min(head.error.sqnr_db or 200 for head in cell.heads) > 60
    implicit = [
        result
        for result in judgement.cells
        if result.cell.id == "trt-6.0.1/gpu:*/int8-implicit-shared-entropy"
    ]
    assert [result.status for result in implicit] == [Status.OK], implicit[0].reason
