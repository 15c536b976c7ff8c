"""`model: {batch: 2}` where jobs run elsewhere or nothing runs: packs, tickets, recorded outputs, UFF files, migrate."""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

from tests.unit.experiments import noise_images
from tests.unit.public_networks import dynamic
from tests.unit.small_networks import run as run_network
from tests.unit.test_ticket import local
from tests.unit.trips import MATRIX, Trip
from trt_matrix.commands.migration.migrating import MigrationWish, migrate_to_qdq
from trt_matrix.core.cells import Status
from trt_matrix.core.network import graph
from trt_matrix.core.tables.table import Provenance, Table, to_json
from trt_matrix.packs.merging import merge
from trt_matrix.store.results import Store
from trt_matrix.ticket.again import rerun
from trt_matrix.ticket.making import TicketWish, make

BATCH, IMAGES = 2, 5
"""The last batch is short."""
HEADS = ("large", "small")


def model() -> onnx.ModelProto:
    return dynamic(["batch", 3, 16, 16])


class Batched(Trip):
    """Three places: here, a laboratory without a network, and outputs that a program wrote image by image."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "tiny.onnx").write_bytes(model().SerializeToString())
        for index, pixels in enumerate(noise_images(folder, 5, images=IMAGES)):
            fed = np.asarray(pixels, "f4").transpose(2, 0, 1)[None] / 255
            session = onnxruntime.InferenceSession(model().SerializeToString())
            for head, one in zip(HEADS, session.run(list(HEADS), {"image": fed}), strict=True):
                (folder / "own" / "fp32" / head).mkdir(parents=True, exist_ok=True)
                np.save(folder / "own" / "fp32" / head / f"{index}.npy", one)
        content = yaml.safe_load(MATRIX.format(python=sys.executable))
        content["model"]["batch"] = BATCH
        content["environments"].append(
            {"dumps": "own", "name": "own", "engine": "onnxruntime", "version": "1", "device": "cpu",
             "passes": {"fp32": {"files": "fp32/{head}/{image}.npy"}}}
        )  # fmt: skip
        self.matrix.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Batched:
    batched = Batched(tmp_path_factory.mktemp("batched"))
    for _ in range(2):  # its own tables are simulated here before cells run with them
        batched.carry(batched.pack())
        merge(batched.answers, batched.results)
        batched.rows()
    return batched


def rows(trip: Batched) -> Mapping[tuple[str, str, str], Mapping[str, str]]:
    with (trip.results / "latest" / "results.csv").open() as stream:
        found = list(csv.DictReader(stream))
    return {(row["environment"], row["pass_name"], row["head"]): row for row in found}


def test_a_laboratory_measures_in_batches_what_is_measured_here(trip: Batched) -> None:
    records = Store(trip.results).open_run("latest").records()
    assert {record.status for record in records} == {Status.OK}, [
        record.reason for record in records
    ]
    found = rows(trip)
    lab = {key[1:]: row for key, row in found.items() if key[0] == "lab"}
    here = {key[1:]: row for key, row in found.items() if key[0] == "here"}
    assert lab.keys() == here.keys()
    for key, row in lab.items():
        assert float(row["batch"]) == BATCH
        assert float(row["nmse"]) == pytest.approx(float(here[key]["nmse"]), rel=1e-6)
        assert int(float(row["images"])) == IMAGES


def test_outputs_that_a_program_wrote_image_by_image_are_a_row(trip: Batched) -> None:
    for head in HEADS:
        row = rows(trip)["own", "fp32", head]
        assert float(row["sqnr_db"] or 200) > 100
        assert row["status"] == "ok"


@pytest.mark.parametrize("images", [3, IMAGES])
def test_a_ticket_of_it_runs_again(trip: Batched, tmp_path: Path, images: int) -> None:
    ticket = make("latest", trip.results, tmp_path / "t.zip", TicketWish(images=images))
    done = rerun(ticket.path, "here/cpu/int8-shared-entropy", offline=True, environment_of=local)
    assert done.word == "same", done.reason


def test_a_ticket_without_its_images_runs_in_batches(trip: Batched, tmp_path: Path) -> None:
    ticket = make("latest", trip.results, tmp_path / "t.zip", TicketWish(no_images=True))
    done = rerun(ticket.path, "here/cpu/int8-shared-entropy", offline=True, environment_of=local)
    assert "stands in for the original" in done.reason
    assert [line.split()[-1] for line in done.table[1:]] != ["-", "-"], "it runs all the same"


def test_a_table_migrates_into_a_network_of_that_batch(trip: Batched, tmp_path: Path) -> None:
    tensors = {name for node in model().graph.node for name in (*node.input, *node.output) if name}
    table = Table(amax=dict.fromkeys(tensors, 4.0), provenance=Provenance(algorithm="minmax"))
    (tmp_path / "table.json").write_text(to_json(table))
    done = migrate_to_qdq(
        MigrationWish(
            table=tmp_path / "table.json", output=tmp_path / "qdq.onnx", config=trip.matrix
        )
    )
    made = onnx.load(tmp_path / "qdq.onnx")
    assert [tensor.shape for tensor in graph.inputs(made)] == [(BATCH, 3, 16, 16)]
    assert done.compared is not None
    fed = np.random.default_rng(0).uniform(0, 1, (BATCH, 3, 16, 16)).astype("f4")
    there, here = (run_network(model_proto, {"image": fed}) for model_proto in (model(), made))
    for head in HEADS:
        assert np.abs(here[head] - there[head]).max() < 0.5
