"""Weights and biases as integers."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import numpy_helper

from tests.unit import small_networks as networks
from tests.unit.placed_networks import BY, minmax, placed, sqnr_db
from tests.unit.small_networks import Builder, image
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions, simulation_of
from trt_matrix.core.qdq.weights import quantise_bias, quantise_weight, scale_for_bias, weight_scale
from trt_matrix.core.tables.table import Table


def test_per_channel_weights_are_closer_than_per_tensor() -> None:
    b = Builder()
    b.conv("image", "y", 3, 8)
    loud = (
        numpy_helper.to_array(b.weights[0]) * np.logspace(-2, 0, 8, dtype="f4")[:, None, None, None]
    )
    b.weights[0].CopyFrom(numpy_helper.from_array(loud.astype("f4"), "y.weight"))
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    reference = networks.run(model, {"image": image()})["y"][:, 0]
    found = [
        sqnr_db(
            reference,
            networks.run(placed(model, PlacementOptions(per_channel_weights=one)).model, {"image": image()})["y"][:, 0],
        )
        for one in (True, False)
    ]  # fmt: skip
    assert found[0] > found[1] + 10
    onnx.checker.check_model(
        placed(model, replace(ONNXRUNTIME, per_channel_weights=False)).model, full_check=True
    )


def test_layers_sharing_a_weight_get_one_each() -> None:
    b = Builder()
    b.conv("image", "a", 3, 3)
    b.node("Conv", ["a", "a.weight", "a.bias"], "y", pads=[1] * 4)
    names = {
        t.name for t in placed(b.model({"image": [1, 3, 4, 4]}, ["y"])).model.graph.initializer
    }
    assert {"conv_a/weight", "conv_y/weight"} <= names
    assert "a.weight" not in names


def test_a_weight_with_nan_is_named() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.conv("c", "y", 4, 4)
    b.weights[0].CopyFrom(numpy_helper.from_array(np.full((4, 3, 3, 3), np.nan, "f4"), "c.weight"))
    table = Table(amax={"image": 1.0, "c": 1.0}, provenance=BY)
    placement = place(b.model({"image": [1, 3, 4, 4]}, ["y"]), table)
    assert placement.layers["conv_c"] == "its weight 'c.weight' holds NaN or infinity"
    assert placement.layers["conv_y"] == "int8"


# Weights

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays.arrays(np.float32, (3, 2, 2), elements=FINITE), st.sampled_from([None, 0, 1, 2]))
def test_weights_round_to_the_nearest_step(weight: np.ndarray, axis: int | None) -> None:
    scale = weight_scale(weight, axis)
    assert scale.dtype == np.float32
    assert (scale > 0).all()
    array = quantise_weight(weight, scale, axis)
    assert np.abs(array.integers.astype(int)).max() <= 127
    shape = [-1 if index == axis else 1 for index in range(3)] if axis is not None else []
    step = scale.reshape(shape)
    near = np.where(weight_scale(weight, axis) == 1, 1, 0.5001).reshape(shape)
    assert (np.abs(array.values() - weight) <= near * step).all()


def test_a_bias_is_rounded_to_steps_of_input_times_weight_scale() -> None:
    scale = np.array([0.01, 0.02], "f4")
    array = quantise_bias(np.array([1.0, -1.0], "f4"), 0.05, scale)
    assert (array.scale == np.float32(0.05) * scale).all()
    assert array.integers.tolist() == [2000, -1000]
    assert array.integers.dtype == np.int32


def test_a_bias_that_would_overflow_int32_widens_its_channel_alone() -> None:
    weight = np.array([[1e-9], [1.0], [0.0]], "f4")
    bias = np.array([100.0, 100.0, 3.0], "f4")
    before = weight_scale(weight, 0)
    scale = scale_for_bias(before, weight, 0, bias, 0.01)
    assert scale[1] == before[1]
    array = quantise_bias(bias, 0.01, scale)
    assert np.abs(array.integers.astype(np.int64)).max() < 2**31 - 1
    np.testing.assert_allclose(array.values(), bias, rtol=1e-6)


@given(
    arrays.arrays(np.float32, (4, 2), elements=st.floats(-100, 100, width=32)),
    arrays.arrays(np.float32, 4, elements=st.floats(-1000, 1000, width=32)),
    st.floats(1e-6, 10),
)
def test_no_bias_overflows(weight: np.ndarray, bias: np.ndarray, input_scale: float) -> None:
    scale = scale_for_bias(weight_scale(weight, 0), weight, 0, bias, input_scale)
    array = quantise_bias(bias, input_scale, scale)
    assert (np.abs(array.values() - bias) <= 0.51 * array.scale + 1e-6 * np.abs(bias)).all()


# Names


@pytest.mark.parametrize("options", [TENSORRT, ONNXRUNTIME, simulation_of(TENSORRT)])
def test_weights_that_are_called_as_the_writer_calls_its_own(options: PlacementOptions) -> None:
    """TensorFlow's exporters call the weight of node `a` `a/weight`; here `b` reads it too, and stays float."""
    b = Builder()
    b.conv("image", "x", 3, 3, name="a")
    b.conv("x", "y", 3, 3, name="b")
    for tensor in b.weights:
        tensor.name = {"x.weight": "a/weight", "x.bias": "a/bias", "y.weight": "image/scale"}.get(
            tensor.name, tensor.name
        )
    for node in b.nodes:
        node.input[1], node.input[2] = "a/weight", "a/bias"
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    both = place(model, minmax(model), replace(options, exclude=frozenset({"b"})))
    onnx.checker.check_model(both.model, full_check=True)
    reference = networks.run(model, {"image": image((1, 3, 4, 4))})["y"]
    found = networks.run(both.model, {"image": image((1, 3, 4, 4))})["y"]
    assert sqnr_db(reference, found) > 25
