"""The network that gives out the largest magnitude of each tensor: exactly numpy's, in every opset."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.unit.small_networks import Builder, detector
from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.maxima import OUTPUT, maxima_model


def run(model: onnx.ModelProto, image: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(outputs, {"image": image})


@pytest.mark.parametrize("opset", [9, 13, 17, 18])
def test_it_gives_the_largest_magnitudes_and_the_heads(opset: int) -> None:
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "r1")
    b.conv("r1", "head", 8, 4)
    model, tensors = calibration_model(b.model({"image": [1, 3, 16, 16]}, ["head"], opset=opset))
    image = np.random.default_rng(1).normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    inner = [tensor for tensor in tensors if tensor != "image"]
    values = dict(zip(inner, run(model, image, inner), strict=True)) | {"image": image}
    maxima = maxima_model(model, tensors, ("head",))
    assert [value.name for value in maxima.graph.output] == ["head", OUTPUT]
    row, head = run(maxima, image, [OUTPUT, "head"])
    assert row.shape == (1, len(tensors))
    np.testing.assert_array_equal(row[0], [np.abs(values[name]).max() for name in tensors])
    np.testing.assert_array_equal(head, values["head"])


def test_the_network_itself_is_not_touched() -> None:
    model, tensors = calibration_model(detector())
    before = model.SerializeToString()
    maxima_model(model, tensors)
    assert model.SerializeToString() == before


def test_names_that_are_taken_are_left_alone() -> None:
    b = Builder()
    b.conv("image", "maxima", 3, 4)
    b.node("Relu", ["maxima"], "maxima_")
    model, tensors = calibration_model(b.model({"image": [1, 3, 8, 8]}, ["maxima_"]))
    (row,) = run(maxima_model(model, tensors), np.ones((1, 3, 8, 8), np.float32), [OUTPUT])
    assert row.shape == (1, len(tensors))


def test_a_network_without_ranges_is_refused() -> None:
    with pytest.raises(graph.GraphError, match="no tensor"):
        maxima_model(onnx.ModelProto(), ())
