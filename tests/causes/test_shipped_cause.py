"""A network that comes quantised, in real versions of ONNX Runtime of which one is known to be wrong.

microsoft/onnxruntime#24711: where the scale of an int32 bias is not that of input · weight, versions up to
1.22 take its integers at the wrong scale; later ones leave that convolution in float.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from tests.causes import engines
from tests.causes.scene import SIZE, write_images
from tests.unit.experiments import DATA
from tests.unit.processors import EXACT, MAY_SATURATE
from tests.unit.small_networks import Builder
from trt_matrix.commands import session
from trt_matrix.commands.console import chosen
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.qdq.placements import INT8_KERNELS, PRECISE
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.judging.outcome import Outcome

OLD, NEW = "1.22.1", "1.32.0"
HEADS = ("well", "biased")


def shipped() -> onnx.ModelProto:
    """Two heads behind one stem; the bias of the second has 16 times the usual scale."""
    b = Builder()

    def pair(x: str, y: str, top: float, zero: int = 0) -> str:
        scale = b.weight(f"{y}.scale", np.float32(top / 255))
        point = b.weight(f"{y}.zero", np.uint8(zero))
        b.node("QuantizeLinear", [x, scale, point], f"{y}.q")
        return b.node("DequantizeLinear", [f"{y}.q", scale, point], y)

    def conv(x: str, top: float, y: str, ci: int, co: int, factor: float = 1.0) -> str:
        weight = b.random.normal(0, np.sqrt(2 / (9 * ci)), (co, ci, 3, 3))
        scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype("f4")
        bias_scale = (np.float32(top / 255) * scale * np.float32(factor)).astype("f4")
        for name, value, its_scale, kind in (
            ("w", weight / scale[:, None, None, None], scale, "i1"),
            ("b", b.random.normal(0, 0.3, co) / bias_scale, bias_scale, "i4"),
        ):
            b.weight(f"{y}.{name}.int", np.rint(value).astype(kind))
            b.weight(f"{y}.{name}.scale", its_scale)
            b.weight(f"{y}.{name}.zero", np.zeros(co, kind))
            parts = [f"{y}.{name}.{part}" for part in ("int", "scale", "zero")]
            b.node("DequantizeLinear", parts, f"{y}.{name}", axis=0)
        return b.node("Conv", [x, f"{y}.w", f"{y}.b"], y, pads=[1] * 4, strides=[2, 2])

    pair("image", "in", 1.0)
    b.node("Relu", [conv("in", 1.0, "c1", 3, 8)], "r1")
    pair("r1", "stem", 5.0)
    pair(conv("stem", 5.0, "c2", 8, 6), "well", 16.0, 128)
    pair(conv("stem", 5.0, "c3", 8, 6, factor=16.0), "biased", 16.0, 128)
    return b.model({"image": [1, 3, SIZE, SIZE]}, HEADS)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return ran(tmp_path_factory.mktemp("shipped"), [OLD, NEW], EXACT)


def ran(folder: Path, versions: list[str], session_config: Mapping[str, str]) -> Outcome:
    engines.made(*versions)
    (folder / "net.onnx").write_bytes(shipped().SerializeToString())
    write_images(folder / "calibration", 8, seed=1)
    write_images(folder / "evaluation", 24, seed=2)
    settings = {
        "name": "shipped",
        "model": {"onnx": "net.onnx"},
        "heads": {head: {"gate": {"sqnr_db": 20}} for head in HEADS},
        "data": DATA,
        "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
        "precisions": ["fp32"],
        "repeats": 2,
        "baseline": f"ort-{NEW}",
        "environments": [{"venv": "onnxruntime", "versions": versions}],
        "engines": {"onnxruntime": {"threads": 1, "session_config": dict(session_config)}},
        "timing": {"min_samples": 1, "max_samples": 1, "max_s": 0.001, "warm_up_max_s": 0.0},
    }
    (folder / "matrix.yaml").write_text(yaml.safe_dump(settings))
    with chosen(quiet=True, as_json=False) as progress:
        return session.run_experiment(
            folder / "matrix.yaml", folder / "results", select=[], offline=False, progress=progress
        )


def cell(outcome: Outcome, version: str, head: str, pass_: str = "int8-shipped") -> HeadResult:
    (found,) = (
        head_result
        for result in outcome.judgement.cells
        if result.cell.id == f"ort-{version}/cpu/{pass_}"
        for head_result in result.heads
        if head_result.head == head
    )
    return found


def test_every_version_runs_it_as_it_came_and_in_float_and_not_otherwise(outcome: Outcome) -> None:
    assert sorted(result.cell.id for result in outcome.judgement.cells) == [
        f"ort-{version}/cpu/{pass_}" for version in (OLD, NEW) for pass_ in ("fp32", "int8-shipped")
    ]
    assert {result.status for result in outcome.judgement.cells} == {Status.OK}
    for version in (OLD, NEW):
        for head in HEADS:
            assert (cell(outcome, version, head, "fp32").error.sqnr_db or 0) > 100


def test_the_version_is_accused_on_the_head_with_the_bias_and_nowhere_else(
    outcome: Outcome,
) -> None:
    accused = {
        (result.cell.environment, head.head, verdict.kind)
        for result in outcome.judgement.cells
        for head in result.heads
        for verdict in head.verdicts
        if verdict.kind is not Kind.OK
    }
    # Its own scales are not the best there are, in every version alike: that is no version's.
    scales = {one for one in accused if one[2] is Kind.CALIBRATION_PROBLEM}
    assert accused - scales == {(f"ort-{OLD}", "biased", Kind.ENGINE_REGRESSION)}
    by_head = {head: {scale[0] for scale in scales if scale[1] == head} for head in HEADS}
    assert all(where in (set(), {f"ort-{OLD}", f"ort-{NEW}"}) for where in by_head.values())


def test_the_network_itself_is_the_simulation(outcome: Outcome) -> None:
    """Unfused on the host it gives what the good version gives."""
    for head in HEADS:
        head_result = cell(outcome, NEW, head)
        assert head_result.budget is not None
        assert abs(head_result.budget.engine) < 0.05 * head_result.budget.observed
    bad = cell(outcome, OLD, "biased")
    assert bad.budget is not None
    assert bad.budget.engine > 0.5 * bad.budget.observed


def test_the_good_version_leaves_that_convolution_in_float(outcome: Outcome) -> None:
    assert cell(outcome, OLD, "biased").integer_share == 1
    assert cell(outcome, NEW, "biased").float_layers == ("conv_c3",)
    assert cell(outcome, NEW, "well").integer_share == 1


@pytest.mark.skipif(not MAY_SATURATE, reason="the kernels of this processor do not saturate")
def test_a_processor_that_saturates_is_named_and_what_is_advised_cures_it(
    outcome: Outcome, tmp_path: Path
) -> None:
    saturated = ran(tmp_path, [NEW], {INT8_KERNELS: "1"})
    for answer in saturated.judgement.answers:
        assert "saturate on this processor" in answer.fault
        assert PRECISE in answer.advice
        assert "activations: int8" not in answer.advice, "its types are its own"
    for head in HEADS:
        lost, kept = (cell(run, NEW, head).error.sqnr_db for run in (saturated, outcome))
        assert lost is not None
        assert kept is not None
        assert lost + 5 < kept
