"""Which operators only the bad heads lie behind: networks whose graph is known, and any graph."""

from collections.abc import Sequence

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import small_networks as networks
from tests.unit.judgements import cell_result, fp32_head, head
from trt_matrix.core.answers.bad_heads import lineages
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.manifest import Behind, Operator
from trt_matrix.core.network import graph
from trt_matrix.core.network.lineage import behind, lineage
from trt_matrix.core.verdicts.verdict import Kind, Verdict

HEADS = ("large", "medium", "small")


def pyramid(custom: str = "") -> onnx.ModelProto:
    """`large` off the backbone, `medium` behind one upsampling, `small` behind two."""
    b = networks.Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 4)], "backbone")
    b.conv("backbone", "large", 4, 2, k=1)
    b.weight("twice", [1.0, 1.0, 2.0, 2.0])
    if custom:
        b.node("Mix", ["backbone"], "up1", domain=custom, name="mix_1")
    else:
        b.node("Resize", ["backbone", "", "twice"], "up1", name="up_12")
    b.node("Concat", ["up1", "up1"], "joined", axis=1, name="concat_13")
    b.conv("joined", "medium", 8, 2, k=1)
    b.node("Resize", ["joined", "", "twice"], "up2", name="up_17")
    b.conv("up2", "small", 8, 2, k=1)
    heads = [onnx.helper.make_tensor_value_info(n, 1, None) for n in HEADS]
    inputs = [onnx.helper.make_tensor_value_info("image", 1, [1, 3, 8, 8])]
    built = onnx.helper.make_graph(b.nodes, "pyramid", inputs, heads, b.weights)
    domains = [onnx.helper.make_opsetid("", 13)]
    return onnx.helper.make_model(built, opset_imports=domains)


def groups(model: onnx.ModelProto | None = None, custom: Sequence[str] = ()) -> tuple[Behind, ...]:
    return behind(model or pyramid(), [(name, name) for name in HEADS], custom)


def sentence(
    bad: Sequence[str], good: Sequence[str], behinds: Sequence[Behind] | None = None
) -> str:
    told = lineage(behinds or groups(), bad, good)
    assert told
    return told.sentence


def test_operators_are_grouped_by_the_heads_behind_them() -> None:
    behinds = {group.heads: group for group in groups()}
    assert [operator.name for operator in behinds["medium", "small"].operators] == [
        "up_12",
        "concat_13",
    ]
    assert [operator.name for operator in behinds["small",].operators] == ["up_17"]
    assert behinds[HEADS].operators == ()
    assert behinds[HEADS].others == {"Conv": 1, "Relu": 1}


def test_the_bad_heads_lie_behind_the_resizes() -> None:
    assert sentence(["medium", "small"], ["large"]) == (
        "medium and small are bad, large is not; only they lie behind up_12 (Resize) and concat_13; "
        "small alone behind up_17 (Resize) and 1 Conv."
    )


def test_one_bad_head_lies_behind_the_last_alone() -> None:
    assert sentence(["small"], ["large", "medium"]) == (
        "small is bad, large and medium are not; only it lies behind up_17 (Resize) and 1 Conv."
    )


def test_a_head_with_nothing_of_its_own_but_convolutions() -> None:
    assert sentence(["large"], ["medium", "small"]) == (
        "large is bad, medium and small are not; nothing but 1 Conv sets it apart: no operator "
        "stands out."
    )


def test_bad_heads_without_a_common_operator() -> None:
    assert sentence(["large", "small"], ["medium"]) == (
        "large and small are bad, medium is not; no operator is behind all of the former and none "
        "of the latter; small alone behind up_17 (Resize) and 1 Conv."
    )


def test_good_heads_that_share_everything_leave_nothing_to_explain() -> None:
    found = (Behind(heads=("early", "late"), operators=(), others={"Conv": 3}),)
    assert sentence(["early"], ["late"], found) == (
        "early is bad, late is not; all that is behind the former is behind the latter too: the "
        "graph explains nothing."
    )


def test_a_head_of_which_nothing_is_known_is_no_evidence() -> None:
    told = lineage(groups(), ["small"], ["large"])
    assert told
    [suspects] = told.suspects
    assert [operator.node for operator in suspects.operators] == ["up_12", "up_17", "concat_13"]


@pytest.mark.parametrize(("bad", "good"), [([], HEADS), (HEADS, []), ([], [])])
def test_without_good_and_bad_heads_there_is_nothing_to_tell(
    bad: Sequence[str], good: Sequence[str]
) -> None:
    assert lineage(groups(), bad, good) is None


def test_an_old_manifest_says_nothing() -> None:
    assert lineage((), ["small"], ["large"]) is None


def test_custom_operators_come_first_and_are_called_so() -> None:
    assert "behind mix_1 (custom Mix) and concat_13;" in sentence(
        ["medium", "small"], ["large"], groups(pyramid("acme"))
    )
    assert "up_12 (custom Resize)" in sentence(
        ["medium", "small"], ["large"], groups(custom=["up_12"])
    )


def test_a_plugin_in_the_standard_domain_is_custom() -> None:
    model = pyramid()
    node = next(node for node in model.graph.node if node.name == "concat_13")
    node.op_type = "ConcatPlugin_TRT"
    told = sentence(["medium", "small"], ["large"], groups(model))
    assert "behind concat_13 (custom ConcatPlugin_TRT), up_12 (Resize)" in told.replace(" and", ",")


def test_many_operators_are_counted() -> None:
    many = tuple(Operator(name=f"cut_{index}", operator="Slice") for index in range(40))
    found = (Behind(heads=("small",), operators=many, others={"Conv": 2, "Relu": 1}),)
    told = sentence(["small"], ["large"], found)
    assert told.endswith("cut_5 (Slice), 34 Slice, 2 Conv and 1 other.")


@given(st.data())
def test_suspects_are_exactly_what_no_good_head_is_behind(data: st.DataObject) -> None:
    model = graph.named(pyramid())
    known = data.draw(st.lists(st.sampled_from(HEADS), min_size=2, unique=True))
    bad = data.draw(
        st.lists(st.sampled_from(known), min_size=1, max_size=len(known) - 1, unique=True)
    )
    good = [name for name in known if name not in bad]
    told = lineage(groups(), bad, good)
    assert told
    whole = [suspect for suspect in told.suspects if len(suspect.heads) == len(bad)]
    cones = {head: set(graph.backward_cone(model, head)) for head in (*bad, *good)}
    expected = set.intersection(*(cones[head] for head in bad)) - {
        node for head in good for node in cones[head]
    }
    assert {operator.node for suspects in whole for operator in suspects.operators} == {
        name for name in expected if name.split("_")[0] in ("up", "concat")
    }
    counted = sum(number for suspects in whole for number in suspects.others.values())
    assert counted == sum(name.split("_")[0] not in ("up", "concat") for name in expected)


# Which heads are bad, from which cause


def result(name: str, **kinds: Kind | None) -> HeadResult:
    verdict = Verdict(kind=kinds["kind"] or Kind.OK, cell="c", head=name)
    return head(name, verdicts=(verdict,))


def cell(environment: str, bad: Sequence[str], kind: Kind = Kind.ENGINE_REGRESSION):  # type: ignore[no-untyped-def]  # noqa: ANN201
    heads = [result(name, kind=kind if name in bad else Kind.OK) for name in HEADS]
    return cell_result(environment, heads=heads)


def test_cells_with_the_same_bad_heads_are_told_as_one() -> None:
    cells = [cell("old", ["medium", "small"]), cell("older", ["medium", "small"]), cell("new", [])]
    [told] = lineages(groups(), cells)
    assert told.sentence.startswith("engine regression in old and older: medium and small are bad")
    assert told.cells == ("old/cpu/int8-shared-entropy", "older/cpu/int8-shared-entropy")
    assert told.causes == ("engine_regression",)


def test_another_set_of_bad_heads_is_another_sentence_the_commonest_first() -> None:
    cells = [cell("odd", ["small"]), cell("a", ["medium", "small"]), cell("b", ["medium", "small"])]
    assert [lineage.bad for lineage in lineages(groups(), cells)] == [
        ("medium", "small"),
        ("small",),
    ]


def test_causes_of_the_same_cells_and_heads_are_told_together() -> None:
    kinds = (Kind.ENGINE_LOSS, Kind.CALIBRATION_PROBLEM)
    heads = [
        head(name, 0.1 if name == "small" else 0.001, gate_sqnr_db=20, verdicts=verdicts)
        for name in HEADS
        for verdicts in [
            tuple(Verdict(kind=kind, cell="c", head=name) for kind in kinds)
            if name == "small"
            else ()
        ]
    ]
    [told] = lineages(groups(), [cell_result(heads=heads)])
    assert told.causes == ("engine_loss", "calibration_problem")
    assert told.sentence.startswith(
        "engine loss and calibration problem in ort-1.32.0: small is bad"
    )


def test_a_limit_called_by_its_share_is_no_effect_that_the_graph_explains() -> None:
    assert lineages(groups(), [cell("old", ["small"], Kind.INT8_LIMIT)]) == ()


def test_a_gate_alone_is_no_effect_that_the_graph_explains() -> None:
    """One bad head may hold its gate, another not."""
    heads = [head(name, 0.1 if name == "small" else 0.001, gate_sqnr_db=20) for name in HEADS]
    assert lineages(groups(), [cell_result(heads=heads)]) == ()


def test_undecided_heads_are_neither_good_nor_bad() -> None:
    heads = [
        result("large", kind=Kind.OK),
        result("medium", kind=Kind.INCONCLUSIVE),
        result("small", kind=Kind.ENGINE_REGRESSION),
    ]
    [told] = lineages(groups(), [cell_result(heads=heads)])
    assert (told.bad, told.good) == (("small",), ("large",))


def test_a_fallback_is_no_fault_and_fp32_has_none() -> None:
    fallen = [result(name, kind=Kind.PRECISION_FALLBACK) for name in HEADS]
    assert lineages(groups(), [cell_result(heads=fallen)]) == ()
    assert lineages(groups(), [cell_result(heads=[fp32_head(name) for name in HEADS])]) == ()
    assert lineages(groups(), []) == ()
