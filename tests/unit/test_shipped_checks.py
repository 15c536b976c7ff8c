"""A network that comes quantised, from matrix.yaml to the plan: what is asked, told and refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit import small_networks as networks
from tests.unit.experiments import changed, checked, image, write, wrong
from tests.unit.passes import FP32
from tests.unit.quantised import Quantising, by_tool, pairs
from tests.unit.small_networks import Builder, operators
from trt_matrix.commands import session
from trt_matrix.core.cells import Cell, Precision, Status, TableSource
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.plan import SHIPPED, hindered, passes, recordable
from trt_matrix.planning.quantised import told_of, used, variant_problem


def experiment(folder: Path, model: onnx.ModelProto, **settings: Any) -> Path:
    matrix = write(folder)
    (folder / "tiny.onnx").write_bytes(model.SerializeToString())
    assert wrong(matrix, changed(**settings)) == []
    return matrix


def use(model: onnx.ModelProto, how: Any = "shipped") -> Any:
    return used(model, model.SerializeToString(), "n.onnx", how)


def unstrippable() -> onnx.ModelProto:
    b = Quantising()
    b.pair("image", "in", 0.05, 128)
    for name, value in (("s", np.float32(0.05)), ("z", np.uint8(128))):
        b.weight(name, value)
    b.node("QuantizeLinear", [b.conv("in", "c", 3, 4), "s", "z"], "q")
    b.node("QLinearReduceMean", ["q", "s", "z", "s", "z"], "m", domain="com.microsoft", axes=[2, 3])
    b.node("DequantizeLinear", ["m", "s", "z"], "y")
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 4, 1, 1]))
    return model


# Passes


def test_what_comes_quantised_has_one_int8_pass_and_no_other() -> None:
    found = passes(
        [Precision.INT8, Precision.FP32], ["minmax"], "entropy", ["entropy2"], shipped=True
    )
    assert [pass_.name for pass_ in found] == ["int8-shipped", "fp32"]
    assert SHIPPED.source is TableSource.SHIPPED
    assert not SHIPPED.made_inside


def test_it_has_it_also_where_int8_was_not_asked_for() -> None:
    found = passes([Precision.FP32], ["minmax"], "entropy", shipped=True)
    assert [pass_.name for pass_ in found] == ["fp32", "int8-shipped"]


def test_recorded_outputs_may_be_those_of_the_network_as_shipped() -> None:
    assert recordable("tensorrt", "entropy", [])["int8-shipped"] == SHIPPED


def test_a_reason_makes_a_cell_unsupported_unless_it_was_recorded() -> None:
    cell = Cell(environment="e", device="cpu", pass_=SHIPPED)
    recorded = Cell(environment="e", device="cpu", pass_=SHIPPED, recorded=1)
    one, other = hindered([cell, recorded], lambda _: "why")
    assert one.obstacle == (Status.UNSUPPORTED, "why")
    assert other.obstacle is None


# What is used


def test_float_form_and_network_as_it_came_are_both_kept(tmp_path: Path) -> None:
    found = checked(experiment(tmp_path, pairs()))
    assert operators(found.model) == ["Conv", "Relu", "Conv", "Conv"]
    assert onnx.load_from_string(found.content) == found.model
    assert found.shipped is not None
    assert found.shipped.content == (tmp_path / "tiny.onnx").read_bytes()
    assert found.shipped.table.provenance.algorithm == "shipped"
    assert (found.shipped.table.provenance.note or "").startswith("shipped with the network")
    assert set(found.shipped.table.amax) == {"image", "r1", "large", "small"}
    assert found.facts["quantised"]["used"] == "shipped"
    assert found.facts["quantised"]["sha256"] == found.shipped.object.sha256
    [note] = found.notes
    assert note.startswith(
        "tiny.onnx is quantised already: weights and activations (int8, uint8), QDQ"
    )
    assert "not quantised a second time: no shared, own or implicit pass" in note
    assert "What rounding 3 weight tensors to integers cost is in its float form too" in note


def test_strip_makes_it_an_ordinary_float_network(tmp_path: Path) -> None:
    found = checked(experiment(tmp_path, pairs(), model__quantised="strip"))
    assert found.shipped is None
    assert operators(found.model) == ["Conv", "Relu", "Conv", "Conv"]
    assert found.facts["quantised"]["used"] == "strip"
    assert "quantised anew (quantised: strip)" in found.notes[0]
    assert "What rounding 3 weight tensors" in found.notes[0]


def test_a_float_network_is_left_alone_byte_for_byte() -> None:
    model = networks.detector()
    for how in ("shipped", "strip"):
        found = use(model, how)
        assert (found.model, found.shipped, found.notes, found.facts) == (model, None, (), {})
        assert found.content == model.SerializeToString()


def test_a_stray_dequantizelinear_costs_no_int8_pass() -> None:
    b = Quantising()
    b.integers("offset", b.normal(1, 4, 1, 1), None)
    b.node("Add", [b.conv("image", "c", 3, 4), "offset"], "y")
    found = use(b.model({"image": [1, 3, 16, 16]}, ["y"]))
    assert (found.shipped, found.notes) == (None, ())
    assert operators(found.model) == ["Conv", "Add"]  # TensorRT's fp32 would refuse the node


def test_weights_alone_run_as_shipped_and_are_told_to_compute_in_float() -> None:
    b = Quantising()
    b.qconv("image", "y", 3, 4)
    found = use(b.model({"image": [1, 3, 16, 16]}, ["y"]))
    assert found.shipped is not None
    assert found.shipped.table.amax == {}
    assert "Only its weights are: its layers compute in float" in found.notes[0]


def test_without_a_float_form_the_network_as_shipped_is_the_reference(tmp_path: Path) -> None:
    model = unstrippable()
    matrix = write(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(model.SerializeToString())
    assert wrong(matrix, changed(heads={"y": {}})) == []
    found = checked(matrix)
    assert found.shipped is not None
    assert found.shipped.no_float == (
        "QLinearReduceMean 'qlinearreducemean_m': this tool knows no float operator for it"
    )
    assert found.content == found.shipped.content
    assert "the reference is this network, unfused" in found.notes[0]
    why = found.shipped.obstacle(FP32, "onnxruntime")
    assert why is not None
    assert why.startswith("a fp32 pass needs a float network, and none can be made of this one")
    assert found.shipped.obstacle(SHIPPED, "onnxruntime") is None
    [problem] = wrong(matrix, changed(heads={"y": {}}, model__quantised="strip"))
    assert "cannot be stripped to a float network: QLinearReduceMean" in problem
    assert "give the network that it was made of" in problem


def test_tensorrt_reads_pairs_and_nothing_else(tmp_path: Path) -> None:
    assert use(pairs()).shipped.obstacle(SHIPPED, "tensorrt") is None
    for form, operator in (("QOperator", "QLinearConv"), ("dynamic", "ConvInteger")):
        found = use(by_tool(networks.detector(), tmp_path, form)).shipped
        why = found.obstacle(SHIPPED, "tensorrt")
        assert why.startswith("TensorRT reads QuantizeLinear and DequantizeLinear alone")
        assert operator in why
        assert found.obstacle(FP32, "tensorrt") is None
        assert found.obstacle(SHIPPED, "onnxruntime") is None


def test_float8_is_refused_as_int8_and_taken_as_float() -> None:
    b = Builder()
    s = b.weight("s", np.float32(0.1))
    b.weights.append(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    b.node("QuantizeLinear", ["image", s, "z"], "q")
    b.node("DequantizeLinear", ["q", s, "z"], "in")
    b.conv("in", "y", 3, 4)
    model = b.model({"image": [1, 3, 16, 16]}, ["y"], opset=19, ir_version=9)
    with pytest.raises(GraphError, match=r"float8e4m3fn, which are no integers .*quantised: strip"):
        use(model)
    assert operators(use(model, "strip").model) == ["Conv"]


def test_heads_that_are_integers_are_refused_as_shipped_and_float_when_stripped(
    tmp_path: Path,
) -> None:
    b = Quantising()
    s, z = b.weight("s", np.float32(0.1)), b.weight("z", np.uint8(128))
    b.node("QuantizeLinear", [b.conv("image", "c", 3, 4), s, z], "y")
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    matrix = write(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(model.SerializeToString())
    [problem] = wrong(matrix, changed(heads={"y": {}}))
    assert "'y' is uint8, floating point is expected" in problem
    assert wrong(matrix, changed(heads={"y": {}}, model__quantised="strip")) == []


def test_matrix_yaml_knows_two_uses(tmp_path: Path) -> None:
    [problem] = wrong(write(tmp_path), changed(model__quantised="stripped"))
    assert "allowed: shipped, strip" in problem


# Variants


def test_a_variant_is_quantised_as_the_network_is() -> None:
    one, as_float = use(pairs()).shipped, None
    assert variant_problem(one, one) is None
    assert variant_problem(one, as_float) is None  # for fp32
    told = variant_problem(as_float, one)
    assert told is not None
    assert "is quantised already, the network is not" in told
    model = pairs()
    for tensor in model.graph.initializer:
        if tensor.name == "s2.scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(7 / 255, np.float32), "s2.scale"))
    told = variant_problem(one, use(model).shipped)
    assert told is not None
    assert "another scale than the network: 'r1' reaches 7, not 6" in told


# init


def test_init_tells_it_on_the_terminal_and_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "q.onnx").write_bytes(pairs().SerializeToString())
    told = session.init(tmp_path / "q.onnx", tmp_path / "matrix.yaml", force=False)
    assert told.startswith("q.onnx is quantised already: weights and activations")
    text = (tmp_path / "matrix.yaml").read_text()
    before = text[: text.index("model: {onnx")]
    assert "# q.onnx is quantised already" in before
    assert "model.quantised: strip" in before.replace("\n# ", " ")
    for part in ("calibration", "evaluation"):
        (tmp_path / "images" / part).mkdir(parents=True)
        image(tmp_path / "images" / part / "0.png", 0)
    assert checked(tmp_path / "matrix.yaml").shipped is not None


def test_init_of_weights_in_another_file(tmp_path: Path) -> None:
    onnx.save(
        pairs(),
        str(tmp_path / "q.onnx"),
        save_as_external_data=True,
        size_threshold=0,
        location="w",
    )
    model = onnx.load(str(tmp_path / "q.onnx"), load_external_data=False)
    [note] = told_of(model, "q.onnx")
    assert note.startswith("q.onnx is quantised already")


def test_nothing_is_told_of_a_float_network() -> None:
    assert told_of(networks.detector(), "n") == ()
