"""Recognising that a network is quantised already."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit import small_networks as networks
from tests.unit.quantised import Quantising, by_tool, mixed, pairs
from tests.unit.small_networks import Builder
from trt_matrix.core.shipped.quantisation import QuantisedForm, quantisation_of
from trt_matrix.core.shipped.stripping import float_form


def test_a_float_network_is_not_quantised() -> None:
    assert quantisation_of(networks.detector()) is None
    assert float_form(networks.detector()) is None


def test_pairs_around_weights_and_activations() -> None:
    shipped = quantisation_of(pairs())
    assert shipped is not None
    assert (shipped.forms, shipped.weights, shipped.activations) == ((QuantisedForm.QDQ,), 3, 4)
    assert (shipped.scope, shipped.types) == ("weights and activations", ("int8", "uint8"))
    assert shipped.nodes == {"DequantizeLinear": 7, "QuantizeLinear": 4}
    assert shipped.sentence() == (
        "quantised already: weights and activations (int8, uint8), QDQ: 7 DequantizeLinear, "
        "4 QuantizeLinear"
    )


@pytest.mark.parametrize("form", list(QuantisedForm))
def test_what_the_quantiser_of_onnx_runtime_writes(form: QuantisedForm, tmp_path: Path) -> None:
    shipped = quantisation_of(by_tool(mixed(), tmp_path, str(form)))
    assert shipped is not None
    assert form in shipped.forms
    assert shipped.scope == "weights and activations"
    assert "uint8" in shipped.types


def test_weights_alone() -> None:
    b = Quantising()
    b.qconv("image", "y", 3, 4)
    shipped = quantisation_of(b.model({"image": [1, 3, 8, 8]}, ["y"]))
    assert shipped is not None
    assert (shipped.scope, shipped.types) == ("weights alone", ("int8",))


def test_activations_alone() -> None:
    b = Quantising()
    b.pair("image", "in", 0.02, 128)
    b.conv("in", "y", 3, 4)
    shipped = quantisation_of(b.model({"image": [1, 3, 8, 8]}, ["y"]))
    assert shipped is not None
    assert (shipped.scope, shipped.types) == ("activations alone", ("uint8",))


def test_a_bias_in_int32_alone_is_no_quantised_layer() -> None:
    b = Quantising()
    w = b.weight("w", b.normal(4, 3, 1, 1))
    bias = b.integers("bias", b.normal(4), None, np.int32)
    b.node("Conv", ["image", w, bias], "y")
    shipped = quantisation_of(b.model({"image": [1, 3, 8, 8]}, ["y"]))
    assert shipped is not None
    assert not shipped.anything


def test_half_precision_weights_and_one_stray_dequantizelinear_are_a_float_network() -> None:
    """Nothing that a layer reads is quantised: such a network must not lose its int8 passes."""
    b = Quantising()
    w = b.weight("w", b.normal(4, 3, 3, 3).astype("f2"))
    b.node("Cast", [w], "w32", to=TensorProto.FLOAT)
    b.node("Conv", ["image", "w32"], "c", pads=[1] * 4)
    b.integers("offset", b.normal(1, 4, 1, 1), None)
    b.node("Add", ["c", "offset"], "y")
    shipped = quantisation_of(b.model({"image": [1, 3, 8, 8]}, ["y"]))
    assert shipped is not None
    assert not shipped.anything


def test_weights_behind_a_transpose_and_behind_their_own_quantizelinear() -> None:
    b = Quantising()
    b.pair("image", "in", 0.05, 128)
    b.node("Flatten", ["in"], "flat")
    b.integers("w", b.normal(5, 192), 0)
    b.node("Transpose", ["w"], "wt", perm=[1, 0])
    b.node("MatMul", ["flat", "wt"], "m")
    b.pair(b.weight("v", b.normal(5, 4)), "vq", 0.01, 0, np.int8)
    b.node("MatMul", ["m", "vq"], "y")
    shipped = quantisation_of(b.model({"image": [1, 3, 8, 8]}, ["y"]))
    assert shipped is not None
    assert (shipped.weights, shipped.activations) == (2, 1)


def test_float8_is_no_integer() -> None:
    b = Builder()
    s = b.weight("s", np.float32(0.1))
    b.weights.append(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    b.node("QuantizeLinear", ["image", s, "z"], "q")
    b.node("DequantizeLinear", ["q", s, "z"], "in")
    b.conv("in", "y", 3, 4)
    shipped = quantisation_of(b.model({"image": [1, 3, 8, 8]}, ["y"], opset=19, ir_version=9))
    assert shipped is not None
    assert shipped.types == ("float8e4m3fn",)
    assert not shipped.integer
