"""Heads in matrix.yaml that are inner tensors, or whose rows are ranked: refused, told, given out."""

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from tests.unit import small_networks as networks
from tests.unit.experiments import changed, checked, write, wrong
from tests.unit.matrices import Told, run_offline
from tests.unit.ranked_networks import detections
from tests.unit.small_networks import old_detector
from trt_matrix.commands import init, session
from trt_matrix.core.cells import Precision
from trt_matrix.core.manifest import Manifest, Ranked
from trt_matrix.core.network import graph, loading
from trt_matrix.core.network.cutting import renamed
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.judging.run import judge_again
from trt_matrix.planning.boxes import head_gates
from trt_matrix.planning.experiment import read_experiment
from trt_matrix.store.results import Store
from trt_matrix.ticket.making import TicketWish, make


@pytest.fixture
def ranked(matrix: Path) -> Path:
    (matrix.parent / "tiny.onnx").write_bytes(detections().SerializeToString())
    return matrix


def of(matrix: Path, **places: Any) -> Any:
    assert wrong(matrix, changed(**places)) == []
    return checked(matrix)


# What is refused


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("mixd", "'mixd' is no tensor of the network; near: 'mixed'; its"),
        ("smal", "'smal' is no tensor of the network; did you mean 'small'?; its outputs: large, small"),
        ("image", "'image' is the network's input: every engine is given the same"),
        ("c1.weight", "'c1.weight' is a weight, the same for every image"),
    ],
)  # fmt: skip
def test_what_is_no_head_is_told_with_its_place(matrix: Path, output: str, told: str) -> None:
    (problem,) = wrong(matrix, changed(heads={"large": {}, "a": {"output": output}}))
    assert problem.startswith("heads.a (line ")
    assert told in problem


def test_positions_are_refused_with_what_to_name(ranked: Path) -> None:
    (problem,) = wrong(ranked, changed(heads={"a": {"output": "places"}}))
    assert (
        "'places' is int64, ordered by TopK (node topk_best); name the tensor before it as head"
        in problem
    )


def test_a_uff_file_has_no_inner_tensors(matrix: Path) -> None:
    (matrix.parent / "tiny.uff").write_bytes(b"a network")
    heads = {"large": {}, "inner": {"output": "mixed"}}
    (problem,) = wrong(matrix, changed(heads=heads, model__uff={"file": "tiny.uff"}))
    assert problem.startswith("model.uff")
    assert "head inner is a tensor inside the network" in problem
    assert "leave `uff` or that head out" in problem


def test_a_held_layer_that_no_head_needs_is_told(ranked: Path) -> None:
    held = {"tensorrt": {"fp32_layers": ["topk_best"]}}
    assert wrong(ranked, changed(heads={"raw": {}, "dets": {}}, engines=held)) == []
    (problem,) = wrong(ranked, changed(heads={"raw": {}}, engines=held))
    assert "no head depends on 'topk_best', so no engine is given it" in problem


# The network that engines are given


def test_an_inner_head_is_given_out_and_the_rest_left_away(matrix: Path) -> None:
    found = of(matrix, heads={"inner": {"output": "s4", "stride": 4}})
    assert [output.name for output in graph.outputs(found.model)] == ["s4"]
    assert loading.load(found.content, "given") == found.model
    assert len(found.model.graph.node) == 4
    assert found.notes == (
        "inner is inside the network: engines are given it with that tensor as output, which can "
        "keep them from fusing the layers around",
        "outputs large and small are no heads: left out, with 10 nodes that nothing else needs, of "
        "what engines compute",
    )
    assert read_experiment(matrix, []).bytes_a_repeat == 4 * 2 * 12 * 4 * 4


def test_a_network_whose_outputs_are_the_heads_is_given_as_its_file_is(matrix: Path) -> None:
    found = of(matrix, heads={"far": {"output": "large"}, "near": {"output": "small"}})
    assert found.content == (matrix.parent / "tiny.onnx").read_bytes()
    assert found.notes == ()


def variant(matrix: Path, model: onnx.ModelProto) -> None:
    (matrix.parent / "old.onnx").write_bytes(model.SerializeToString())


def test_a_variant_gives_the_same_inner_tensor_out(matrix: Path) -> None:
    variant(matrix, old_detector())
    found = of(matrix, heads={"inner": {"output": "joined"}}, model__variants=["old.onnx"])
    (old,) = found.variants
    assert [output.name for output in graph.outputs(old.model)] == ["joined"]
    assert loading.load(old.content, "given") == old.model
    read_experiment(matrix, [])
    one, other = (
        networks.run(model, {"image": networks.image()})["joined"]
        for model in (found.model, old.model)
    )
    assert abs(one - other).max() < 1e-5


def test_a_variant_that_lacks_it_says_so_and_a_map_says_what_it_is_called(matrix: Path) -> None:
    variant(matrix, renamed(old_detector(), {"joined": "concat_7"}))
    heads: dict[str, Any] = {"inner": {"output": "joined"}}
    (problem,) = wrong(matrix, changed(heads=heads, model__variants=["old.onnx"]))
    assert problem.startswith("model.variants[0]")
    assert "old.onnx has no tensor 'joined' for head inner" in problem
    assert "heads.inner.variants" in problem
    heads["inner"]["variants"] = {"old.onnx": "concat_7"}
    found = of(matrix, heads=heads, model__variants=["old.onnx"])
    assert [output.name for output in graph.outputs(found.variants[0].model)] == ["joined"]
    read_experiment(matrix, [])
    heads["inner"]["variants"] = {"older.onnx": "concat_7"}
    problems = wrong(matrix, changed(heads=heads, model__variants=["old.onnx"]))
    assert any(
        "'older.onnx' is none of model.variants; did you mean" in problem for problem in problems
    )


# Heads whose rows are ranked


def test_a_ranked_head_is_told_with_what_to_name(ranked: Path) -> None:
    found = of(ranked, heads={"dets": {"gate": {"sqnr_db": 20}}})
    assert found.rankings.rows == {
        "dets": Ranked(operator="TopK", node="topk_best", before=("raw", "scores"))
    }
    assert found.notes[0] == (
        "head dets: its rows are ranked by TopK (node topk_best): compared as boxes where `decode` "
        "says how, else not by SQNR; name the tensors before it as heads: "
        "`heads: {raw-1: {output: raw}, raw-2: {output: scores}}`; its gate of 20 dB is not judged"
    )
    (gate,) = head_gates(found.config, found.rankings.rows)
    assert gate.sqnr_db is None
    (gate,) = head_gates(found.config)
    assert gate.sqnr_db == 20


def test_limits_on_boxes_of_a_ranked_head_stay(ranked: Path) -> None:
    decode = {"style": "yolov5-decoded", "classes": 1, "layout": "boxes"}
    gate = {"sqnr_db": 20, "lost": 0.1}
    unlabelled = {"images": "evaluation"}
    found = of(ranked, heads={"dets": {"gate": gate}}, decode=decode, data__evaluation=unlabelled)
    assert "(node topk_best): compared as boxes, not by SQNR; " in found.notes[0]
    (kept,) = head_gates(found.config, found.rankings.rows)
    assert (kept.sqnr_db, kept.lost) == (None, 0.1)


def test_the_advice_can_be_followed_as_it_is_written(ranked: Path) -> None:
    (note, _) = of(ranked, heads={"dets": {}}).notes
    heads = yaml.safe_load(note.split("`")[3])["heads"]
    assert of(ranked, heads=heads).rankings.rows == {}


def test_plan_tells_it(ranked: Path) -> None:
    of(ranked, heads={"dets": {}, "raw": {}})
    planned = session.plan_experiment(ranked, ranked.parent / "results", select=[])
    assert "head dets: its rows are ranked by TopK" in planned.text()
    assert "raw, before it, is compared" in planned.summary()["notes"][0]


def test_init_offers_the_tensors_before_and_gates_no_ranked_head(tmp_path: Path) -> None:
    text = init.text(Path("tiny.onnx"), detections())
    assert "  raw: {}   # [1, 64, 6]\n" in text
    assert "  dets: {}   # [1, 8, 6]; rows ranked by TopK: compared as boxes where" in text
    assert "  # before: {output: scores}" in text
    matrix = write(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(detections().SerializeToString())
    followed = text.replace("  # before:", "  before:").replace("images/", "")
    matrix.write_text(followed)
    assert [head for head, _ in checked(matrix).heads] == ["raw", "dets", "before"]


# What is said of them in a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the ONNX Runtime that is installed here, with real INT8 kernels."""
    folder = tmp_path_factory.mktemp("ranked")
    matrix = write(folder)
    (folder / "tiny.onnx").write_bytes(detections().SerializeToString())
    gate = {"gate": {"sqnr_db": 20}}
    heads = {"raw": gate, "dets": gate, "inner": {"output": "scores", **gate}}
    content = changed(
        heads=heads,
        environments=[{"interpreter": sys.executable, "name": "here"}],
        baseline="here",
        calibration={"algorithms": ["minmax"], "shared": "minmax"},
        repeats=2,
    )
    matrix.write_text(yaml.safe_dump(content))
    told = Told()
    run_offline(matrix, folder / "results", told=told)
    assert any("head dets: its rows are ranked by TopK" in line for line in told.lines)
    return folder


def test_the_manifest_keeps_what_ranks_and_no_limit_of_it(run: Path) -> None:
    manifest = Store(run / "results").open_run("latest").manifest()
    assert list(manifest.ranked) == ["dets"]
    assert [head.sqnr_db for head in manifest.heads] == [None, 20, 20], "dets, inner, raw"
    assert manifest.reference is not None
    assert set(manifest.reference.outputs) == {"raw", "dets", "inner"}


def test_a_ranked_head_has_no_verdict_but_why_and_the_others_have(run: Path) -> None:
    judgement = judge_again("latest", run / "results").judgement
    int8 = [result for result in judgement.cells if result.cell.pass_.precision is Precision.INT8]
    assert int8
    for cell in int8:
        heads = {head.head: head for head in cell.heads}
        assert [verdict.kind for verdict in heads["dets"].verdicts] == [Kind.NOT_COMPARABLE]
        (verdict,) = heads["dets"].verdicts
        assert "its rows are ranked by TopK (node topk_best)" in (verdict.why or "")
        assert "inner and raw, before it, are compared" in (verdict.why or "")
        assert (heads["dets"].gates, heads["dets"].passed) == ((), None)
        for name in ("raw", "inner"):
            assert heads[name].budget is not None
            assert Kind.NOT_COMPARABLE not in [verdict.kind for verdict in heads[name].verdicts]
            assert [gate.name for gate in heads[name].gates] == ["sqnr_db"]


def test_a_manifest_of_before_ranks_nothing(run: Path) -> None:
    manifest = Store(run / "results").open_run("latest").manifest()
    older = manifest.model_dump(exclude={"ranked"})
    assert Manifest.model_validate(older).ranked == {}


def test_a_ticket_of_an_inner_head_is_whole_and_gives_the_same_again(
    run: Path, tmp_path: Path
) -> None:
    ticket = make("latest", run / "results", tmp_path / "t.zip", TicketWish(cells=["here/*"]))
    assert ticket.content.cells
    assert all(cell.reproduce is not None for cell in ticket.content.cells)
