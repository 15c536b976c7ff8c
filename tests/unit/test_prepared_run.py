"""One run of a network that has everything which once was refused: the command's way, the real job."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.unit.public_networks import everything
from tests.unit.quantised import sqnr
from tests.unit.small_networks import run
from tests.unit.test_shipped_run import FOLDERS, Ran
from trt_matrix.commands import session
from trt_matrix.core.cells import Status
from trt_matrix.ticket.making import TicketWish, make


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(
        tmp_path_factory.mktemp("prepared"),
        everything(),
        {**FOLDERS, "preprocess": {"scale": 1, "size": [16, 16]}},
        constants={"scale_factor": [2, 4]},
    )


def test_every_cell_ran_what_was_prepared(ran: Ran) -> None:
    facts = ran.manifest.facts["model"]
    prepared = facts["prepared"]
    assert prepared == {
        "raised": ["float16"],
        "constants": {"scale_factor": "[[2.0, 4.0]]"},
        "shapes": {"images": [1, 16, 16, 3]},
        "cast": {"images": "uint8"},
        "sorted": True,
        "file_sha256": hashlib.sha256((ran.folder / "net.onnx").read_bytes()).hexdigest(),
        "sha256": facts["sha256"],
    }
    assert {record.status for record in ran.records.values()} == {Status.OK}
    assert ran.records["fp32"].measurements[0].model_sha256 == facts["sha256"]
    assert any(
        "net.onnx is prepared before it runs: its nodes are put" in line for line in ran.told.lines
    )


def test_the_reference_is_the_users_own_network(ran: Ran) -> None:
    """What the file itself gives on the pixels themselves, in 16 bits: 50 dB is their rounding."""
    reference = ran.manifest.reference
    assert reference is not None
    model = onnx.load(ran.folder / "net.onnx")
    onnx.checker.check_model(onnx.load_from_string(
        (ran.run.store.root / "objects" / f"{ran.manifest.facts['model']['sha256']}.onnx").read_bytes()
    ))  # fmt: skip
    for index in range(3):
        pixels = np.asarray(Image.open(ran.folder / "evaluation" / f"{index}.png"))[None]
        there = run(model, {"images": pixels, "scale_factor": np.array([[2, 4]], "f4")})
        for head, array in there.items():
            here = ran.run.store.array(reference.outputs[head])[index]
            assert sqnr(here, array[0]) > 50
    fp32 = ran.records["fp32"].measurements[0].outputs
    assert all(ran.sqnr(fp32, head) > 100 for head in ("map", "boxes"))


def test_int8_runs_on_integers(ran: Ran) -> None:
    (int8,) = (record for name, record in ran.records.items() if name.startswith("int8-shared"))
    measured = int8.measurements[0]
    assert measured.shares is not None
    assert (
        measured.shares["map"].ratio or 0
    ) > 0.9  # the last layer, before the head, is left in float
    assert ran.sqnr(measured.outputs, "map") > 15


def test_nothing_is_measured_again(ran: Ran) -> None:
    plan = session.plan_experiment(ran.source, ran.results, select=[])
    assert sum(plan.known.values()) == len(plan.cells)


def test_the_ticket_tells_it_and_holds_what_ran(ran: Ran, tmp_path: Path) -> None:
    ticket = make("latest", ran.results, tmp_path / "ticket.zip", TicketWish(images=1))
    assert all(cell.reproduce for cell in ticket.content.cells)
