"""Nodes in an order that ONNX does not allow, as some exporters write them."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit import small_networks as networks
from tests.unit.public_networks import shuffled
from tests.unit.small_networks import Builder, detector, operators, run
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.loading import load
from trt_matrix.core.network.ordering import in_order

# Order


def test_nodes_in_any_order_are_the_same_network() -> None:
    model = shuffled(detector())
    assert not in_order(model.graph)
    loaded = load(model.SerializeToString(), "n.onnx")
    assert in_order(loaded.graph)
    x = {"image": networks.image()}
    there, here = run(detector(), x), run(loaded, x)
    assert all(np.array_equal(there[name], here[name]) for name in there)


def test_nodes_in_order_stay_where_they_are() -> None:
    model = detector()
    assert load(model.SerializeToString(), "n.onnx") == model


def test_a_branch_that_reads_what_a_later_node_makes_waits_for_it() -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["b"], ["c"]), helper.make_node("Abs", ["image"], ["b"])],
        "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
    )  # fmt: skip
    outer = helper.make_graph(
        [helper.make_node("Neg", ["late"], ["d"])],
        "outer", [], [helper.make_tensor_value_info("d", TensorProto.FLOAT, None)],
    )  # fmt: skip
    b = Builder()
    b.weight("yes", np.array(True))
    b.node("If", ["yes"], "y", then_branch=outer, else_branch=inner)
    b.node("Abs", ["image"], "late")
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    model_proto = load(model.SerializeToString(), "n.onnx")
    assert operators(model_proto) == ["Abs", "If"]
    x = networks.image((1, 3, 4, 4))
    assert np.array_equal(run(model_proto, {"image": x})["y"], -np.abs(x))


def test_a_circle_is_refused_by_the_name_of_a_node() -> None:
    b = Builder()
    b.node("Add", ["image", "b"], "a", name="first")
    b.node("Abs", ["a"], "b", name="second")
    model = b.model({"image": [1, 3, 4, 4]}, ["b"])
    with pytest.raises(GraphError, match="n.onnx: not a valid network: node 'first' needs its own"):
        load(model.SerializeToString(), "n.onnx")
    b = Builder()
    b.node("Abs", ["y"], "y", name="itself")
    with pytest.raises(GraphError, match="node 'itself' needs its own output"):
        load(b.model({"image": [1, 3, 4, 4]}, ["y"]).SerializeToString(), "n.onnx")


def test_a_long_chain_the_wrong_way_round_is_sorted_without_recursion() -> None:
    b = Builder()
    b.node("Abs", ["image"], "0")
    for index in range(3000):
        b.node("Neg", [str(index)], str(index + 1))
    model = shuffled(b.model({"image": [1, 3, 4, 4]}, ["3000"]))
    assert in_order(load(model.SerializeToString(), "n.onnx").graph)
