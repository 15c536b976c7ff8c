"""The two published networks that may lie beside the project, from their file and a few photographs in one command."""

import os
import shutil
from pathlib import Path

import pytest

from tests.networks.first_report import first_report
from trt_matrix.core.cells import Status

DATA = Path(__file__).parents[3] / "shared" / "data"
"""No part of the project: skipped where it is not."""
PHOTOGRAPHS = 8
NETWORKS = [
    ("ultraface_slim_320_op9.onnx", {"style": "ultraface"}),
    ("nanodet_m_320_deftruth.onnx", {"style": "nanodet", "classes": 80, "bins": 1}),
]
"""The second searches its many layers for minutes: not with CI, which has half an hour for everything."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "decode"),
    NETWORKS[: 1 if os.environ.get("CI") else None],
    ids=lambda one: str(one)[:9],
)
def test_a_first_report_of_a_published_network(
    tmp_path: Path, file: str, decode: dict[str, object]
) -> None:
    if not (DATA / file).exists():
        pytest.skip(f"{DATA / file} is not there")
    photographs = sorted((DATA / "images" / "evaluation").iterdir())[:PHOTOGRAPHS]
    (tmp_path / "photographs").mkdir()
    for photograph in photographs:
        shutil.copy(photograph, tmp_path / "photographs")
    made = first_report(DATA / file, tmp_path / "photographs", tmp_path)
    assert {record.status for record in made.records} == {Status.OK}
    assert made.written["decode"] == decode
    assert made.manifest.decode is not None
