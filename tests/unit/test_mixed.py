"""`int8-mixed`: a few layers in float, found where int8 fails, tried in every environment."""

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from tests.unit import diagnoses
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import Told, run_offline
from tests.unit.passes import SHARED
from trt_matrix.core.cells import Cell, Pass, Precision, Status, TableSource
from trt_matrix.core.fix import Basis, FixKind
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.plan import mixed_cells, passes
from trt_matrix.core.qdq.explicit import QdqError
from trt_matrix.core.qdq.placements import Placed, kept_in_float, placed_of
from trt_matrix.core.tables.table import to_json
from trt_matrix.errors import ConfigError
from trt_matrix.execution.alternatives import renamed
from trt_matrix.execution.inputs import Network
from trt_matrix.judging.outcome import Outcome
from trt_matrix.store.results import Store

CLIPPED = "trunk2_out"
"""What the planted table clips: trunk2 makes it, and trunk3 alone reads it."""
FREE = ("trunk2", "trunk3")
"""What must be in float so that it is: ONNX Runtime takes Q directly behind a convolution."""


def write(folder: Path, *, clipped: float = 0.05, gate: float = 20, **more: Any) -> Path:
    """Writes an experiment whose given table clips one tensor."""
    model = diagnoses.three_heads()
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    pixels = noise_images(folder, 7, calibration=18, evaluation=18, name="{:02}.png")
    images = (pixels.transpose(0, 3, 1, 2) / 255).astype("f4")
    table = diagnoses.minmax(canonical(model), images, {CLIPPED: clipped})
    (folder / "table.json").write_text(to_json(table))
    path = folder / "matrix.yaml"
    path.write_text(
        yaml.safe_dump(
            quick(
                model={"onnx": "net.onnx"},
                heads={tensor.name: {"gate": {"sqnr_db": gate}} for tensor in model.graph.output},
                calibration={"algorithms": ["minmax"], "shared": {"table": "table.json"}},
                environments=[
                    {"interpreter": sys.executable, "name": "here"},
                    {"interpreter": sys.executable, "name": "there"},
                ],
                **more,
            )
        )
    )
    return path


def run(folder: Path, told: Told | None = None) -> Outcome:
    return run_offline(folder / "matrix.yaml", told=told)


def cells(outcome: Outcome, name: str) -> list[CellResult]:
    return [result for result in outcome.judgement.cells if result.cell.pass_.name == name]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("mixed")
    write(folder)
    return folder, run(folder)


def test_the_planted_layer_in_float_holds_the_gate_in_every_environment(
    failed: tuple[Path, Outcome],
) -> None:
    _, outcome = failed
    plain = cells(outcome, "int8-shared-file")
    assert [head.passed for result in plain for head in result.heads] == [False] * 6
    mixed = cells(outcome, "int8-mixed")
    assert [result.cell.environment for result in mixed] == ["here", "there"]
    for result in mixed:
        assert result.status is Status.OK
        assert result.cell.pass_.exclude == FREE
        assert result.placed is not None
        assert result.placed.told.endswith("2 layers kept in float")
        assert [head.passed for head in result.heads] == [True] * 3


def test_what_was_simulated_of_the_set_is_what_engines_give(failed: tuple[Path, Outcome]) -> None:
    (fix,) = [fix for fix in failed[1].judgement.fixes if fix.kind is FixKind.LAYERS]
    assert fix.basis is Basis.MEASURED
    assert fix.cells == ("here/cpu/int8-mixed", "there/cpu/int8-mixed")
    assert "exclude: [trunk2, trunk3]" in fix.command.replace('"', "")
    assert fix.predicted is not None
    for head, reached in fix.reaches.sqnr_db.items():
        assert reached == pytest.approx(fix.predicted.sqnr_db[head], abs=0.3)


def test_what_was_tried_hides_nothing(failed: tuple[Path, Outcome]) -> None:
    _, outcome = failed
    assert outcome.exit_code(strict=False) != 0
    for answer in outcome.judgement.answers:
        assert answer.passed is False
        assert not answer.clean
        told = {cell for finding in answer.findings for cell in finding.cells}
        assert told
        assert not any("mixed" in cell for cell in told)


def test_the_same_again_measures_and_computes_nothing(failed: tuple[Path, Outcome]) -> None:
    folder, before = failed
    told = Told()
    after = run(folder, told)
    assert all(result.reused for result in after.judgement.cells if result.status is Status.OK)
    assert not any("groups, alone" in stage for stage in told.stages)
    assert after.judgement.diagnosis is not None
    assert before.judgement.diagnosis is not None
    assert after.judgement.diagnosis.search == before.judgement.diagnosis.search
    assert [result.cell for result in cells(after, "int8-mixed")] == [
        result.cell for result in cells(before, "int8-mixed")
    ]


def test_nothing_is_looked_for_where_every_gate_holds(tmp_path: Path) -> None:
    write(tmp_path, clipped=1.0)
    outcome = run(tmp_path)
    assert not cells(outcome, "int8-mixed")
    assert outcome.judgement.diagnosis is None


@pytest.mark.parametrize("mixed", [None, ["trunk1", "a"]])
def test_the_user_says_which_layers_or_none(tmp_path: Path, mixed: list[str] | None) -> None:
    write(tmp_path, quantisation={"mixed": mixed})
    outcome = run(tmp_path)
    assert outcome.judgement.diagnosis is None
    found = {result.cell.pass_.exclude for result in cells(outcome, "int8-mixed")}
    assert found == ({tuple(mixed)} if mixed else set())


def test_excluded_layers_are_in_float_in_every_pass_and_in_what_is_tried(tmp_path: Path) -> None:
    write(tmp_path, gate=60, quantisation={"exclude": list(FREE)})
    outcome = run(tmp_path)
    quantised = [
        result
        for result in outcome.judgement.cells
        if result.cell.pass_.precision is Precision.INT8
    ]
    assert quantised
    assert all(result.cell.pass_.exclude[:2] == FREE for result in quantised)
    # The clipped tensor is in float, so its range does no harm.
    assert all(head.error.sqnr_db and head.error.sqnr_db > 25 for head in quantised[0].heads)
    # 60 dB is reached with most of it in float, or not at all: whatever is tried keeps them there.
    for result in cells(outcome, "int8-mixed"):
        assert set(result.cell.pass_.exclude) > set(FREE)


@pytest.mark.parametrize("key", ["exclude", "mixed"])
def test_a_layer_that_there_is_not_is_named_with_the_one_that_was_meant(
    tmp_path: Path, key: str
) -> None:
    write(tmp_path, quantisation={key: ["trunk1", "trunkk3"]})
    with pytest.raises(ConfigError, match=rf"quantisation\.{key}\[1\].*trunk3"):
        run(tmp_path)


def test_a_killed_diagnosis_leaves_the_run_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trt_matrix.diagnosis import running

    write(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(running, "diagnose", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    records = Store(tmp_path / "results").open_run("latest").records()
    assert {record.pass_.name for record in records} >= {"fp32", "int8-shared-file"}
    assert all(record.status is Status.OK for record in records)
    assert cells(run(tmp_path), "int8-mixed")


def test_a_network_that_cannot_be_diagnosed_is_told_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trt_matrix.diagnosis import running

    def refused(*_: object) -> None:
        message = "it has no such thing"
        raise QdqError(message)

    write(tmp_path)
    monkeypatch.setattr(running, "diagnose", refused)
    told = Told()
    outcome = run(tmp_path, told)
    assert "warning: int8-mixed is not tried: it has no such thing" in told.lines
    assert not cells(outcome, "int8-mixed")


# Pure


def planned(*found: Pass) -> list[Cell]:
    return [
        Cell(environment=name, device="cpu", pass_=pass_)
        for name in ("ort", "trt")
        for pass_ in found
    ]


def test_each_way_to_int8_tries_its_own_layers() -> None:
    wanted = passes([Precision.FP32, Precision.INT8], ["minmax"], "entropy", ["entropy2"])
    found = mixed_cells(planned(*wanted), {False: ("a",), True: ("b", "c")})
    assert [(cell.id, cell.pass_.exclude) for cell in found] == [
        ("ort/cpu/int8-mixed", ("a",)),
        ("ort/cpu/int8-implicit-mixed", ("b", "c")),
        ("trt/cpu/int8-mixed", ("a",)),
        ("trt/cpu/int8-implicit-mixed", ("b", "c")),
    ]
    assert not mixed_cells(planned(*wanted), {})
    assert [cell.pass_.name for cell in mixed_cells(planned(*wanted), {False: ("a",)})] == [
        "int8-mixed",
        "int8-mixed",
    ]


def test_what_is_not_planned_is_not_tried() -> None:
    own = Pass(precision=Precision.INT8, source=TableSource.OWN, algorithm="entropy")
    assert not mixed_cells(planned(own), {False: ("a",), True: ("a",)})
    recorded = [Cell(environment="app", device="gpu", pass_=SHARED, recorded=1)]
    assert not mixed_cells(recorded, {False: ("a",)})


def test_of_two_kinds_of_weights_the_first_is_tried() -> None:
    wanted = passes([Precision.INT8], [], "entropy", weights=("per_tensor", "per_channel"))
    explicit = [pass_ for pass_ in wanted if not pass_.implicit]
    (name,) = {cell.id for cell in mixed_cells(planned(*explicit)[:2], {False: ("a",)})}
    assert name == "ort/cpu/int8-mixed-per-tensor"


def test_an_obstacle_stays_one() -> None:
    obstacle = (Status.UNAVAILABLE, "no NVIDIA driver")
    cell = Cell(environment="ngc", device="gpu:0", pass_=SHARED, obstacle=obstacle)
    (found,) = mixed_cells([cell], {False: ("a",)})
    assert found.obstacle == obstacle


def test_the_name_of_a_placement_says_which_layers_and_is_read_back() -> None:
    placed = Placed(engine="tensorrt", in_float=kept_in_float(["b", "a"]))
    assert placed.in_float == kept_in_float(("a", "b")) != kept_in_float(("a", "c"))
    assert placed_of(placed.name) == placed
    assert placed.options(["a", "b"]).exclude == {"a", "b"}
    assert placed_of("tensorrt-int8-per_channel-float_outputs-0_in_float_00000000") is None


def test_a_variant_keeps_the_same_tensors_in_float() -> None:
    model = diagnoses.three_heads()
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for node in other.graph.node:
        node.name = f"old_{node.name}"
    new, old = (Network(proto.SerializeToString(), proto, name) for proto, name in ((model, "new"), (other, "old")))  # fmt: skip
    assert renamed(new, old, ["trunk3", "a"]) == ("old_trunk3", "old_a")
    for node in other.graph.node:
        if node.name == "old_trunk3":
            node.output[0] = "elsewhere"
        for index, tensor in enumerate(node.input):
            node.input[index] = "elsewhere" if tensor == "t3" else tensor
    old = Network(other.SerializeToString(), other, "old")
    with pytest.raises(QdqError, match="old has no layer that makes what 'trunk3' makes"):
        renamed(new, old, ["trunk3"])


def test_old_records_have_no_set() -> None:
    old = {"precision": "int8", "source": "shared", "algorithm": "entropy", "implicit": False}
    from pydantic import TypeAdapter

    assert TypeAdapter(Pass).validate_json(json.dumps(old)) == SHARED
