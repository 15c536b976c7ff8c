"""Which heads a ranking orders, and which only have one somewhere about them."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit.ranked_networks import CELLS, CHANNELS, KEPT, Ranked, body, detections, made
from trt_matrix.core.manifest import Ranked as Record
from trt_matrix.core.network.ranked import Rankings, rankings
from trt_matrix.core.network.ranked_sentences import advice, entry, why_not_compared


def of(model: onnx.ModelProto, *heads: str) -> Rankings:
    return rankings(model, [(head, head) for head in heads])


def told(model: onnx.ModelProto, head: str) -> tuple[str, str, tuple[str, ...]] | None:
    ranked = of(model, head).rows.get(head)
    return (ranked.operator, ranked.node, ranked.before) if ranked else None


# Ranked


def test_rows_gathered_by_topk_are_ranked_and_those_before_are_not() -> None:
    found = of(detections(), "raw", "dets")
    assert found.rows == {
        "dets": Record(operator="TopK", node="topk_best", before=("raw", "scores"))
    }
    assert found.gates == {}


def test_the_best_scores_themselves_are_ranked() -> None:
    model = made(Ranked.topk, outputs=["best"])
    assert told(model, "best") == ("TopK", "topk_best", ("scores",))


def test_positions_made_floating_are_ranked() -> None:
    model = made(
        Ranked.topk,
        lambda b: b.node("Cast", ["places"], "floats", to=TensorProto.FLOAT),
        outputs=["floats"],
    )
    assert told(model, "floats") == ("TopK", "topk_best", ("scores",))


def by_gather_nd(b: Ranked) -> None:
    b.topk()
    b.node("Unsqueeze", ["places", "axis2"], "pairs")
    b.several("GatherND", ["raw", "pairs"], ["dets"], batch_dims=1)


def by_gather(b: Ranked) -> None:
    b.topk()
    b.weight("axis0", np.array([0]))
    b.node("Squeeze", ["places", "axis0"], "row")
    b.node("Gather", ["raw", "row"], "dets", axis=1)


@pytest.mark.parametrize("step", [by_gather_nd, by_gather])
def test_every_way_to_gather_is_followed(step: Callable[[Ranked], None]) -> None:
    assert told(made(step, outputs=["dets"]), "dets") == ("TopK", "topk_best", ("raw", "scores"))


def suppressed(b: Ranked) -> None:
    for name, cut in (("zero", 0), ("boxes_end", 4)):
        b.weight(name, np.array([cut]))
    b.node("Slice", ["raw", "zero", "boxes_end", "axis2"], "corners")
    b.node("Unsqueeze", ["scores", "one"], "of_class")
    b.weight("most", np.array([KEPT]))
    b.several("NonMaxSuppression", ["corners", "of_class", "most"], ["selected"])
    b.weight("third", np.array(2))
    b.node("Gather", ["selected", "third"], "row", axis=1)
    b.node("Gather", ["raw", "row"], "dets", axis=1)


def test_rows_selected_by_suppression_are_ranked() -> None:
    operator, node, before = told(made(suppressed, outputs=["dets"]), "dets") or ("", "", ())
    assert (operator, node) == ("NonMaxSuppression", "nonmaxsuppression_selected")
    assert before == ("raw", "corners", "of_class")


@pytest.mark.parametrize("plugin", ["EfficientNMS_TRT", "BatchedNMSDynamic_TRT", "NMS_TRT",
                                    "ProposalLayer_TRT", "TRTBatchedNMS"])  # fmt: skip
@pytest.mark.parametrize("domain", ["TRT", ""])
def test_plugins_are_known_by_name(plugin: str, domain: str) -> None:
    model = made(
        lambda b: b.several(plugin, ["raw", "scores"], ["number", "boxes"], domain=domain),
        outputs=["boxes"],
    )
    assert told(model, "boxes") == (plugin, f"{plugin.lower()}_number", ("raw", "scores"))


def test_another_plugin_ranks_nothing() -> None:
    model = made(lambda b: b.node("Mix", ["raw"], "mixed", domain="TRT"), outputs=["mixed"])
    assert of(model, "mixed") == Rankings(rows={}, gates={})


def argmax(b: Ranked) -> None:
    b.node("ArgMax", ["scores"], "where", axis=1, keepdims=0)
    b.node("Gather", ["raw", "where"], "row", axis=1)


def only_one(b: Ranked) -> None:
    b.topk(k="one")
    b.node("Gather", ["raw", "places"], "row", axis=1)


def passing(b: Ranked) -> None:
    b.weight("half", np.array(0.5, "f4"))
    b.node("Greater", ["scores", "half"], "passes")
    b.node("NonZero", ["passes"], "where")
    b.node("Gather", ["raw", "where"], "row", axis=1)


def compressed(b: Ranked) -> None:
    b.weight("half", np.array(0.5, "f4"))
    b.weight("flat", np.array([-1]))
    b.node("Greater", ["scores", "half"], "passes")
    b.node("Reshape", ["passes", "flat"], "condition")
    b.node("Compress", ["raw", "condition"], "row", axis=1)


@pytest.mark.parametrize(
    ("step", "operator"),
    [(argmax, "ArgMax"), (only_one, "TopK"), (passing, "NonZero"), (compressed, "Compress")],
)
def test_what_selects_rows_counts(step: Callable[[Ranked], None], operator: str) -> None:
    found = told(made(step, outputs=["row"]), "row")
    assert found is not None
    assert (found[0], found[2]) == (operator, ("raw", "scores"))


def test_sorted_unique_values_are_ranked() -> None:
    model = made(lambda b: b.node("Unique", ["scores"], "found"), outputs=["found"])
    assert told(model, "found") == ("Unique", "unique_found", ("scores",))


def test_of_two_rankings_the_last_is_named_and_what_is_before_both() -> None:
    def twice(b: Ranked) -> None:
        b.topk()
        b.gather_rows("first")
        b.node("ReduceMax", ["first"], "again", axes=[2], keepdims=0)
        b.several("TopK", ["again", "kept"], ["better", "ranks"], axis=1)
        b.node("Unsqueeze", ["ranks", "axis2"], "r")
        b.node("Expand", ["r", "first_shape"], "rr")
        b.node("GatherElements", ["first", "rr"], "dets", axis=1)

    assert told(made(twice, outputs=["dets"]), "dets") == (
        "TopK", "topk_better", ("raw", "scores"),
    )  # fmt: skip


def test_queries_chosen_by_rank_stay_ranked_through_the_layers_after() -> None:
    """As RT-DETR's decoder: each row is worked on by itself, and attends to the others."""

    def decoder(b: Ranked) -> None:
        b.topk()
        b.gather_rows("queries")
        b.weight("w", np.ones((CHANNELS, CHANNELS), "f4"))
        b.node("MatMul", ["queries", "w"], "q")
        b.node("Transpose", ["queries"], "k", perm=[0, 2, 1])
        b.node("MatMul", ["q", "k"], "qk")
        b.node("Softmax", ["qk"], "attention", axis=2)
        b.node("MatMul", ["attention", "queries"], "out")

    found = told(made(decoder, outputs=["out"]), "out")
    assert found is not None
    assert found[2] == ("raw", "scores")


# In If and Loop


def branches(nodes: Sequence[onnx.NodeProto]) -> Callable[[Ranked], None]:
    def step(b: Ranked) -> None:
        plain = helper.make_node("Identity", ["raw"], ["else_out"])
        b.weight("yes", np.array(True))
        b.several(
            "If", ["yes"], ["dets"],
            then_branch=body(nodes, [], ["then_out"]), else_branch=body([plain], [], ["else_out"]),
        )  # fmt: skip

    return step


INSIDE = [
    helper.make_node("Mul", ["scores", "scores"], ["squared"]),
    helper.make_node("TopK", ["squared", "kept"], ["v", "i"], name="inside", axis=1),
    helper.make_node("Unsqueeze", ["i", "axis2"], ["u"]),
    helper.make_node("Gather", ["raw", "i"], ["then_out"], axis=1),
]


def test_a_ranking_in_a_branch_counts_with_the_tensors_outside_before_it() -> None:
    model = made(branches(INSIDE), outputs=["dets"])
    assert told(model, "dets") == ("TopK", "inside", ("raw", "scores"))


def test_a_ranking_in_a_branch_whose_result_is_not_given_out_does_not_count() -> None:
    aside = [*INSIDE[:2], helper.make_node("Relu", ["raw"], ["then_out"])]
    assert of(made(branches(aside), outputs=["dets"]), "dets").rows == {}


def test_a_ranking_carried_around_a_loop_counts() -> None:
    nodes = [
        helper.make_node("TopK", ["state", "cells"], ["sorted", "order"], name="inside", axis=1),
        helper.make_node("Identity", ["sorted"], ["next"]),
        helper.make_node("Identity", ["go"], ["go_on"]),
    ]
    inputs = [("round", TensorProto.INT64), ("go", TensorProto.BOOL), ("state", TensorProto.FLOAT)]
    kinds = [TensorProto.BOOL, TensorProto.FLOAT]

    def loop(b: Ranked) -> None:
        b.weight("cells", np.array([CELLS]))
        b.weight("rounds", np.array(2))
        b.weight("yes", np.array(True))
        b.several("Loop", ["rounds", "yes", "scores"], ["ended"],
                  body=body(nodes, inputs, ["go_on", "next"], kinds))  # fmt: skip

    assert told(made(loop, outputs=["ended"]), "ended") == ("TopK", "inside", ("scores",))


# Situations that would make the claim false: a ranking somewhere, and rows that keep their places


def shape_arithmetic(b: Ranked) -> None:
    b.node("Shape", ["raw"], "sizes")
    b.several("TopK", ["sizes", "one"], ["largest", "_"])
    b.node("Cast", ["largest"], "n", to=TensorProto.FLOAT)
    b.node("Mul", ["raw", "n"], "out")


def constants(b: Ranked) -> None:
    b.weight("priors", np.arange(CELLS, dtype="f4").reshape(1, CELLS))
    b.several("TopK", ["priors", "kept"], ["_", "fixed"], axis=1)
    b.weight("axis0", np.array([0]))
    b.node("Squeeze", ["fixed", "axis0"], "rows")
    b.node("Gather", ["raw", "rows"], "out", axis=1)


def side_branch(b: Ranked) -> None:
    b.topk()
    b.gather_rows("dets")
    b.node("Relu", ["raw"], "out")


def class_numbers(b: Ranked) -> None:
    """Each cell's class by ArgMax, looked up in a constant, beside its box."""
    b.node("ArgMax", ["raw"], "label", axis=2, keepdims=1)
    b.weight("ids", np.arange(CHANNELS, dtype="f4"))
    b.node("Gather", ["ids", "label"], "id")
    b.node("Concat", ["raw", "id"], "out", axis=2)


def largest_value(b: Ranked) -> None:
    """TopK of one is a maximum: as continuous as what it is taken of."""
    b.topk(k="one")
    b.node("Mul", ["raw", "best"], "out")


@pytest.mark.parametrize(
    "step", [shape_arithmetic, constants, side_branch, class_numbers, largest_value]
)
def test_a_ranking_that_orders_no_row_of_the_head_does_not_count(
    step: Callable[[Ranked], None],
) -> None:
    assert of(made(step, outputs=["out"]), "out") == Rankings(rows={}, gates={})


def experts(b: Ranked) -> None:
    """A mixture: the two best of 8 experts are added, in whatever order."""
    b.node("GlobalAveragePool", ["stem"], "pooled")
    b.weight("as_vector", np.array([1, 8]))
    b.node("Reshape", ["pooled", "as_vector"], "gate")
    b.topk("gate")
    b.node("Gather", ["raw", "places"], "chosen", axis=1)
    b.weight("axis0", np.array([0]))
    b.node("ReduceSum", ["chosen", "axis2"], "out", keepdims=0)


def channels(b: Ranked) -> None:
    """Attention over channels: the best are convolved."""
    b.node("GlobalAveragePool", ["stem"], "pooled")
    b.weight("as_vector", np.array([8]))
    b.weight("three", np.array([3]))
    b.node("Reshape", ["pooled", "as_vector"], "gate")
    b.topk("gate", k="three", axis=0)
    b.node("Gather", ["stem", "places"], "chosen", axis=1)
    b.conv("chosen", "out", 3, 4, k=1)


def put_back(b: Ranked) -> None:
    """The best cells are worked on, and scattered to where they came from."""
    b.topk()
    b.gather_rows("chosen")
    b.node("Relu", ["chosen"], "worked")
    b.node("ScatterElements", ["raw", "chosen_index", "worked"], "out", axis=1)


@pytest.mark.parametrize("step", [experts, channels, put_back])
def test_a_gate_is_told_and_leaves_the_places_of_the_head_fixed(
    step: Callable[[Ranked], None],
) -> None:
    found = of(made(step, outputs=["out"]), "out")
    assert found.rows == {}
    assert (found.gates["out"].operator, found.gates["out"].node) == ("TopK", "topk_best")


def test_rows_put_in_place_by_a_constant_index_stay_ranked() -> None:
    def written(b: Ranked) -> None:
        b.topk()
        b.gather_rows("chosen")
        b.weight("canvas", np.zeros((1, KEPT, CHANNELS), "f4"))
        b.weight("fixed", np.arange(KEPT, dtype="i8").reshape(1, KEPT, 1).repeat(CHANNELS, 2))
        b.node("ScatterElements", ["canvas", "fixed", "chosen"], "out", axis=1)

    assert told(made(written, outputs=["out"]), "out") is not None


def test_a_ranking_in_a_function_of_the_model_counts() -> None:
    function = helper.make_function(
        "mine", "Best", ["x", "s", "k"], ["y"],
        [
            helper.make_node("TopK", ["s", "k"], ["v", "i"], axis=1),
            helper.make_node("Gather", ["x", "i"], ["y"], axis=1),
        ],
        [helper.make_opsetid("", 13)],
    )  # fmt: skip
    model = made(
        lambda b: b.node("Best", ["raw", "scores", "kept"], "dets", domain="mine"), outputs=["dets"]
    )
    model.functions.append(function)
    found = told(model, "dets")
    assert found is not None
    assert (found[0], found[2]) == ("TopK", ("raw", "scores"))


# What is said


def test_the_advice_names_a_tensor_that_is_no_head_yet() -> None:
    ranked = Record(operator="TopK", node="t", before=("/head/Concat_2", "scores"))
    assert advice("dets", ranked, {"dets": "dets"}) == (
        "name the tensors before it as heads: "
        "`heads: {raw-1: {output: /head/Concat_2}, raw-2: {output: scores}}`"
    )
    assert advice("dets", ranked, {"a": "scores"}) == "a, before it, is compared"
    odd = Record(operator="TopK", node="t", before=("12: 3",))
    assert entry("dets", odd, {"raw": "x"}) == 'heads: {before-dets: {output: "12: 3"}}'
    lone = Record(operator="NMS_TRT", node="t")
    assert "export it without it" in why_not_compared("dets", lone, {})
