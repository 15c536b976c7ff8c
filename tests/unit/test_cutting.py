"""Inner tensors as heads: the network that is left computes them as the whole one does, in every form."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit import small_networks as networks
from tests.unit.ranked_networks import detections
from tests.unit.small_networks import Builder, detector, old_detector
from trt_matrix.core.network import cutting, graph, loading, shapes
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.cutting import cut, left_out, renamed, tensors_of
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions, simulation_of
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.execution.inputs import Network


def obstacle(model: onnx.ModelProto, tensor: str) -> str | None:
    return cutting.obstacle(model, tensor, shapes.inferred(model))


def inner_of(model: onnx.ModelProto) -> list[str]:
    return [name for name in graph.producers(model) if obstacle(model, name) is None]


def normalised() -> onnx.ModelProto:
    """A batch normalisation that is folded away, with the convolution before it."""
    b = Builder()
    b.conv("image", "convolved", 3, 4)
    for name, value in (("gamma", 2.0), ("beta", 0.5), ("mean", 0.1), ("variance", 0.7)):
        b.weight(name, np.full(4, value, "f4"))
    b.node("BatchNormalization", ["convolved", "gamma", "beta", "mean", "variance"], "normal")
    b.node("Relu", ["normal"], "active")
    b.conv("active", "out", 4, 2, k=1)
    return b.model({"image": [1, 3, 16, 16]}, ["out"])


MODELS = {"detector": detector, "old": old_detector, "ranked": detections, "folded": normalised}
EVERY = [
    (name, tensor)
    for name, model in MODELS.items()
    for tensor in inner_of(model())
    if tensor != "dets"  # ranked: no error of its elements says anything
]


def whole(model: onnx.ModelProto, tensor: str) -> np.ndarray:
    """Returns a tensor as the whole network computes it."""
    more = onnx.ModelProto()
    more.CopyFrom(model)
    if tensor not in {value.name for value in model.graph.output}:
        more.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return networks.run(more, {"image": networks.image()})[tensor]


def table_of(model: onnx.ModelProto) -> Table:
    with_outputs, names = calibration_model(model)
    found = networks.run(with_outputs, {"image": networks.image()})
    found["image"] = networks.image()
    ranges = {name: float(np.abs(found[name]).max()) for name in names}
    return from_ranges(ranges, Provenance(algorithm="minmax"))


@pytest.mark.parametrize(("name", "tensor"), EVERY)
def test_what_is_left_computes_the_tensor_and_nothing_else(name: str, tensor: str) -> None:
    model = MODELS[name]()
    left = cut(model, [tensor])
    assert [output.name for output in graph.outputs(left)] == [tensor]
    assert [tensor.name for tensor in graph.inputs(left)] == ["image"]
    cone = set(graph.backward_cone(graph.named(model), tensor))
    assert {node.name for node in left.graph.node} == cone
    loading.load(left.SerializeToString(), "left.onnx")
    found = networks.run(left, {"image": networks.image()})
    np.testing.assert_array_equal(found[tensor], whole(model, tensor))
    np.testing.assert_allclose(
        networks.run(canonical(left), {"image": networks.image()})[tensor], found[tensor],
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("options", [ONNXRUNTIME, TENSORRT])
@pytest.mark.parametrize(("name", "tensor"), EVERY)
def test_quantised_and_simulated_networks_give_it_out_too(
    name: str, tensor: str, options: PlacementOptions
) -> None:
    left = cut(MODELS[name](), [tensor])
    table = table_of(left)
    for placement in (options, simulation_of(options)):
        placed = place(left, table, placement).model
        assert [output.name for output in graph.outputs(placed)] == [tensor]
        found = networks.run(placed, {"image": networks.image()})[tensor]
        expected = whole(MODELS[name](), tensor)
        assert found.shape == expected.shape
        # 8 bits of random weights: near, and not another tensor.
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95


def test_an_inner_tensor_beside_an_output_that_depends_on_it() -> None:
    model = detections()
    both = cut(model, ["dets", "scores"])
    assert [output.name for output in graph.outputs(both)] == ["dets", "scores"]
    assert len(both.graph.node) == len(model.graph.node)
    found = networks.run(both, {"image": networks.image()})
    for tensor in ("dets", "scores"):
        np.testing.assert_array_equal(found[tensor], whole(model, tensor))


def test_a_network_with_exactly_the_heads_stays_as_its_file_is() -> None:
    model = detector()
    assert cut(model, ["small", "large", "small"]) is model


def test_the_network_that_was_given_is_not_changed() -> None:
    model = detections()
    before = model.SerializeToString(deterministic=True)
    cut(model, ["scores"])
    renamed(model, {"scores": "s"})
    assert model.SerializeToString(deterministic=True) == before


def test_the_shape_and_type_of_an_inner_tensor_are_inferred() -> None:
    (scores,) = graph.outputs(cut(detections(), ["scores"]))
    assert (scores.dtype, scores.shape) == ("float32", (1, 64))


def test_weights_listed_as_inputs_do_not_become_inputs_when_they_are_dropped() -> None:
    left = cut(old_detector(), ["s2"])
    assert {value.name for value in left.graph.input} == {"image", "c1.weight", "c1.bias"}


def test_a_second_input_that_only_the_rest_needs_is_gone() -> None:
    """As RT-DETR's `orig_target_sizes`: with it the tool could not feed the network at all."""
    b = Builder()
    b.conv("image", "raw", 3, 2)
    b.node("Mul", ["raw", "sizes"], "scaled")
    model = b.model({"image": [1, 3, 8, 8], "sizes": [1]}, ["scaled"])
    assert [tensor.name for tensor in graph.inputs(cut(model, ["raw"]))] == ["image"]


def test_a_plugin_behind_the_head_is_gone_with_its_domain() -> None:
    """What no ONNX Runtime can run, it can from there on."""
    b = Builder()
    b.conv("image", "raw", 3, 2)
    b.node("EfficientNMS_TRT", ["raw"], "boxes", domain="TRT")
    left = cut(b.model({"image": [1, 3, 8, 8]}, ["boxes"]), ["raw"])
    assert [entry.domain for entry in left.opset_import] == [""]
    networks.run(left, {"image": networks.image((1, 3, 8, 8))})


def test_what_a_branch_reads_and_gives_out_is_kept() -> None:
    b = Builder()
    b.conv("image", "raw", 3, 2)
    b.node("Relu", ["raw"], "captured")
    b.node("Neg", ["raw"], "given")
    inner = helper.make_node("Abs", ["captured"], ["absolute"])
    value = helper.make_tensor_value_info
    then = helper.make_graph([inner], "then", [], [value("absolute", TensorProto.FLOAT, None)])
    other = helper.make_graph([], "else", [], [value("given", TensorProto.FLOAT, None)])
    b.weight("yes", np.array(False))
    b.node("If", ["yes"], "chosen", then_branch=then, else_branch=other)
    b.node("Sigmoid", ["chosen"], "out")
    model = b.model({"image": [1, 3, 8, 8]}, ["out"])
    left = cut(model, ["chosen"])
    assert [node.op_type for node in left.graph.node] == ["Conv", "Relu", "Neg", "If"]
    assert obstacle(model, "absolute") == (
        "is computed inside a branch or a loop (If, Loop, Scan), which gives out its results alone: "
        "name a tensor of the network's main graph"
    )


def test_every_obstacle_is_told() -> None:
    model = detections()
    assert obstacle(model, "no") == "is no tensor of the network"
    assert "the network's input" in (obstacle(model, "image") or "")
    assert "a weight, the same for every image" in (obstacle(model, "kept") or "")
    assert "is int64, floating point is expected" in (obstacle(model, "places") or "")
    b = Builder()
    b.weight("fixed", np.ones(3, "f4"))
    b.node("Neg", ["fixed"], "constant")
    b.conv("image", "raw", 3, 2)
    lone = b.model({"image": [1, 3, 8, 8]}, ["raw"])
    assert "depends on no input" in (obstacle(lone, "constant") or "")
    with pytest.raises(GraphError, match=r"'constant' depends on no input"):
        cut(lone, ["constant"])


def test_renaming_reaches_branches_and_refuses_a_name_that_is_taken() -> None:
    model = detections()
    other = renamed(model, {"scores": "s", "raw": "rows"})
    found = networks.run(other, {"image": networks.image()})
    np.testing.assert_array_equal(found["dets"], whole(model, "dets"))
    assert "scores" not in tensors_of(other)
    with pytest.raises(GraphError, match="another tensor is called so"):
        renamed(model, {"scores": "raw"})


def test_outputs_left_out_are_told_in_order() -> None:
    assert left_out(detections(), ["scores"]) == ("raw", "dets")


def test_a_network_of_an_inner_head_has_another_fingerprint() -> None:
    """What was measured of the whole network is not what is measured of the rest."""
    models = [detections(), cut(detections(), ["raw"]), cut(detections(), ["scores"])]
    hashes = {Network(model.SerializeToString(), model).fp32.sha256 for model in models}
    assert len(hashes) == 3
