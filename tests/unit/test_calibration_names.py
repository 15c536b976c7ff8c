"""Names of images come from outside: they are kept out of tickets, and cannot make a run unreadable."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.unit import small_networks as networks
from tests.unit.experiments import quick
from tests.unit.matrices import run_offline
from trt_matrix.judging.run import judge_again
from trt_matrix.ticket import making


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one calibration image whose name is no UTF-8, and one whose name is markup."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    for part, number in (("calibration", 3), ("evaluation", 1)):
        (folder / part).mkdir()
        for index in range(number):
            random = np.random.default_rng([index, number])
            pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / f"private-name-{index}.png")
    no_utf8 = Path(os.fsdecode(os.fsencode(folder / "calibration") + b"/\xe9.png"))
    (folder / "calibration" / "private-name-1.png").rename(no_utf8)
    copy = folder / "calibration" / "<script>alert(1)<.png"
    copy.write_bytes((folder / "evaluation" / "private-name-0.png").read_bytes())
    settings = quick()
    (folder / "matrix.yaml").write_text(yaml.safe_dump(settings))
    run_offline(folder / "matrix.yaml")
    return folder


def test_the_run_can_be_read_again_and_its_page_is_whole(folder: Path) -> None:
    outcome = judge_again("latest", folder / "results")
    report = outcome.judgement.calibration
    assert report is not None
    assert report.images == 4
    assert report.evaluation_images == 1
    page = outcome.report.read_text("utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_ticket_without_images_has_no_name_of_one(folder: Path) -> None:
    output = folder / "ticket.zip"
    making.make("latest", folder / "results", output, making.TicketWish(no_images=True))
    import zipfile

    with zipfile.ZipFile(output) as archive:
        for name in archive.namelist():
            assert b"private-name" not in archive.read(name), name
