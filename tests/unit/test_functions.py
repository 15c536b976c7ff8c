"""Functions inside of a network, as PyTorch's dynamo exporter writes them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.unit import small_networks as networks
from tests.unit.experiments import checked, write
from tests.unit.small_networks import Builder, operators, run
from trt_matrix.core.network.functions import inlined
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.tables.table import Provenance, Table

DOMAIN = "pkg.torch.2.3.0"


def with_function(opset: int = 13, inside: int | None = None) -> onnx.ModelProto:
    """Two convolutions, both in a function, called twice; and what calls it is a function too."""
    b = Builder()
    for name, ci in (("a", 3), ("b", 4)):
        b.weight(f"{name}.weight", b.random.normal(0, 0.3, (4, ci, 3, 3)).astype("f4"))
        b.weight(f"{name}.bias", np.zeros(4, "f4"))
    b.node("Block", ["image", "a.weight", "a.bias"], "x", domain=DOMAIN)
    b.node("Block", ["x", "b.weight", "b.bias"], "y", domain=DOMAIN)
    b.node("Relu", ["y"], "large")
    b.node("Neg", ["y"], "small")
    model = b.model({"image": [1, 3, 16, 16]}, ["large", "small"], opset=opset)
    for value in model.graph.output:
        value.type.tensor_type.shape.CopyFrom(
            helper.make_tensor_value_info("", 1, [1, 4, 16, 16]).type.tensor_type.shape
        )
    own = [helper.make_opsetid("", inside or opset), helper.make_opsetid(DOMAIN, 1)]
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4)
    relu = helper.make_node("Relu", ["c"], ["y"])
    call = helper.make_node("Inner", ["x", "w", "b"], ["y"], domain=DOMAIN)
    model.functions.append(
        helper.make_function(DOMAIN, "Inner", ["x", "w", "b"], ["y"], [conv, relu], own)
    )
    model.functions.append(
        helper.make_function(DOMAIN, "Block", ["x", "w", "b"], ["y"], [call], own)
    )
    return model


def test_a_network_without_functions_stays_as_it_is() -> None:
    model = networks.detector()
    assert inlined(model, "n")[0] is model


def test_what_is_inside_is_written_out_and_computes_the_same() -> None:
    model = with_function()
    found, names = inlined(model, "n")
    assert names == (f"{DOMAIN}.Block", f"{DOMAIN}.Inner")
    assert operators(found) == ["Conv", "Relu", "Conv", "Relu", "Relu", "Neg"]
    y, r = (run(model_proto, {"image": networks.image()}) for model_proto in (found, model))
    assert all(np.array_equal(y[name], r[name]) for name in r)


def test_convolutions_inside_are_quantised() -> None:
    model, _ = inlined(with_function(), "n")
    made = {name: 1.0 for node in model.graph.node for name in node.output} | {"image": 1.0}
    placed = place(model, Table(amax=made, provenance=Provenance(algorithm="test")))
    assert list(placed.layers.values()) == ["int8", "int8"]


def test_a_function_of_another_opset_is_brought_along() -> None:
    model, _ = inlined(with_function(opset=17, inside=13), "n")
    assert operators(model).count("Conv") == 2


def test_a_function_that_nobody_can_convert_is_refused_with_what_to_do() -> None:
    model = with_function()
    model.functions[0].node[0].op_type = "NoSuchOperator"
    model.functions[0].opset_import[0].version = 99
    with pytest.raises(GraphError, match=r"n: its functions? .*export it without functions"):
        inlined(model, "n")


def test_an_experiment_works_on_what_was_written_out_and_says_so(tmp_path: Path) -> None:
    matrix = write(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(with_function().SerializeToString())
    found = checked(matrix)
    assert not found.model.functions
    assert onnx.load_from_string(found.content) == found.model
    assert found.facts["functions"] == [f"{DOMAIN}.Block", f"{DOMAIN}.Inner"]
    assert found.notes == (
        f"tiny.onnx holds 2 functions ({DOMAIN}.Block, {DOMAIN}.Inner): written out, so that what is "
        "inside is found and quantised",
    )
