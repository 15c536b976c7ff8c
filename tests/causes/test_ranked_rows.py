"""The same detections before and after a TopK, in real engines: what is said of each.

`dets` are the best rows of `raw`. 8 bits keep `raw` well; element by element `dets` is lost, since rows
change places; as boxes hardly any is. Whoever judged `dets` by SQNR would blame 8 bits for a good head.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import helper

from tests.causes import engines
from tests.causes.experiment import BASELINE, NEW, OLD
from tests.causes.scene import SIZE, write_images
from tests.unit.experiments import DATA
from tests.unit.small_networks import Builder
from trt_matrix.commands import session
from trt_matrix.commands.console import chosen
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.cells import Precision
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.judging.outcome import Outcome

CELLS, KEPT = (SIZE // 2) ** 2, 40
ACCUSING = {
    Kind.ENGINE_REGRESSION, Kind.ENGINE_LOSS, Kind.CALIBRATION_PROBLEM, Kind.INT8_LIMIT,
    Kind.CALIBRATOR_REGRESSION, Kind.FP32_REGRESSION,
}  # fmt: skip

DECODER = f"""\
import numpy as np

def boxes(outputs):
    rows = outputs["dets"]
    centre = {SIZE} / 2 + 4 * rows[:, :2]
    size = 4 + np.abs(rows[:, 2:4])
    size[0] = 0  # one box without an area: it is counted, and the others are compared
    score = 1 / (1 + np.exp(-rows[:, 4]))
    zeros = np.zeros(len(rows))
    return np.column_stack([centre - size / 2, centre + size / 2, score, zeros, zeros])
"""


def network() -> Any:
    b = Builder(seed=3)
    b.node("Relu", [b.conv("image", "c1", 3, 16, strides=[2, 2])], "stem")
    b.node("Relu", [b.conv("stem", "c2", 16, 16)], "body")
    b.conv("body", "map", 16, 6, k=1)
    for name, value in (
        ("rows", [1, 6, CELLS]), ("four", [4]), ("five", [5]), ("axis2", [2]), ("kept", [KEPT]),
        ("shape", [1, KEPT, 6]),
    ):  # fmt: skip
        b.weight(name, np.array(value))
    b.node("Reshape", ["map", "rows"], "columns")
    b.node("Transpose", ["columns"], "raw", perm=[0, 2, 1])
    b.node("Slice", ["raw", "four", "five", "axis2"], "objectness")
    b.node("Squeeze", ["objectness", "axis2"], "scores")
    b.nodes.append(helper.make_node("TopK", ["scores", "kept"], ["_", "places"], "best", axis=1))
    b.node("Unsqueeze", ["places", "axis2"], "index")
    b.node("Expand", ["index", "shape"], "indices")
    b.node("GatherElements", ["raw", "indices"], "dets", axis=1)
    return b.model({"image": [1, 3, SIZE, SIZE]}, ["dets"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engines.made(OLD, NEW)
    folder = tmp_path_factory.mktemp("ranked")
    (folder / "model.onnx").write_bytes(network().SerializeToString())
    (folder / "decoder.py").write_text(DECODER)
    write_images(folder / "calibration", 16, seed=1)
    write_images(folder / "evaluation", 32, seed=3)
    return folder


def judged(folder: Path, name: str, heads: Mapping[str, Any], **more: Any) -> Outcome:
    source = folder / f"{name}.yaml"
    content = {
        "name": name,
        "model": {"onnx": "model.onnx"},
        "heads": heads,
        "data": DATA,
        "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
        "repeats": 2,
        "baseline": BASELINE,
        "environments": [{"venv": "onnxruntime", "versions": [OLD, NEW]}],
        "engines": {"onnxruntime": {"threads": 1}},
        "timing": {"min_samples": 1, "max_samples": 1, "max_s": 0.001, "warm_up_max_s": 0.0},
        **more,
    }
    source.write_text(yaml.safe_dump(content))
    with chosen(quiet=True, as_json=False) as progress:
        return session.run_experiment(
            source, folder / "results", select=[], offline=False, progress=progress
        )


def int8(run: Outcome, head: str) -> list[HeadResult]:
    return [
        result
        for cell in run.judgement.cells
        if cell.cell.pass_.precision is Precision.INT8
        for result in cell.heads
        if result.head == head
    ]


GATED = {"gate": {"sqnr_db": 20}}


def test_rows_that_change_places_accuse_nobody_and_the_rows_before_are_judged(folder: Path) -> None:
    heads = {"dets": GATED, "raw": {"output": "raw", **GATED}}
    run = judged(folder, "both", heads)
    for head in int8(run, "dets"):
        # What SQNR would have said, and what is said.
        assert head.error.sqnr_db is not None
        assert head.error.sqnr_db < 15
        assert [verdict.kind for verdict in head.verdicts] == [Kind.NOT_COMPARABLE]
        assert head.gates == ()
    assert len(int8(run, "raw")) == 4
    for head in int8(run, "raw"):
        assert head.error.sqnr_db is not None
        assert head.error.sqnr_db > 25
        assert head.passed is True
        assert not ACCUSING & {verdict.kind for verdict in head.verdicts}
    assert run.exit_code(strict=False) == 0
    text = run.text()
    assert "visible" not in text, "what nobody could compare, nobody saw"
    assert "dets [not known]" in text
    assert "not shown to be alike" not in text, "one engine, the same bytes"


def test_the_inner_tensor_alone_keeps_the_ranking_out_of_every_engine(folder: Path) -> None:
    run = judged(folder, "inner", {"inner": {"output": "scores", **GATED}})
    for head in int8(run, "inner"):
        assert head.passed is True
        assert head.budget is not None
    manifest = run.report.parent / "manifest.json"
    assert '"ranked": {}' in manifest.read_text() or '"ranked":{}' in manifest.read_text()


def test_as_boxes_the_ranked_head_is_judged_and_one_without_an_area_is_counted(
    folder: Path,
) -> None:
    decode = {"entry_point": "decoder:boxes"}
    heads = {"dets": {"gate": {"sqnr_db": 20, "lost": 0.2}}}
    run = judged(folder, "boxes", heads, decode=decode)
    for head in int8(run, "dets"):
        assert [gate.name for gate in head.gates] == ["lost"]
        assert head.boxes is not None
        assert head.boxes.degenerate == 32, "one an image"
        share = head.boxes.changes[ALL].lost_share
        assert share is not None
        assert share < 0.2
        assert head.passed is True
