"""Small random networks of what detectors are made of, and random tables for them."""

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.unit.small_networks import Builder
from trt_matrix.core.network.calibration_graph import calibration_model

CHANNELS = 4
SIZE = 8


@st.composite
def networks_of(draw: st.DrawFn) -> onnx.ModelProto:
    """A network of 2 to 12 layers over tensors of one shape, with 1 to 3 outputs."""
    b = Builder(draw(st.integers(0, 5)))
    b.conv("image", "t0", 3, CHANNELS)
    known = ["t0"]
    b.weight("same", np.array([1, 1, 1, 1], "f4"))
    for index in range(1, draw(st.integers(2, 12))):
        x, y = draw(st.sampled_from(known[-4:])), f"t{index}"
        match draw(
            st.sampled_from(("conv", "norm", "Relu", "silu", "Add", "Concat", "pool", "carry"))
        ):
            case "conv":
                b.conv(x, y, CHANNELS, CHANNELS, draw(st.sampled_from((1, 3))))
            case "norm":
                b.conv(x, f"{y}.conv", CHANNELS, CHANNELS)
                ones = [b.weight(f"{y}.{n}", np.full(CHANNELS, v, "f4"))
                        for n, v in (("gamma", 1.5), ("beta", 0.1), ("mean", 0.2), ("variance", 0.8))]  # fmt: skip
                b.node("BatchNormalization", [f"{y}.conv", *ones], y)
            case "silu":
                b.node("Sigmoid", [x], f"{y}.sigmoid")
                b.node("Mul", [x, f"{y}.sigmoid"], y)
            case "Add":
                b.node("Add", [x, draw(st.sampled_from(known))], y)
            case "Concat":
                b.node("Concat", [x, draw(st.sampled_from(known))], f"{y}.joined", axis=1)
                b.conv(f"{y}.joined", y, 2 * CHANNELS, CHANNELS, 1)
            case "pool":
                kind = draw(st.sampled_from(("MaxPool", "AveragePool")))
                b.node(kind, [x], y, kernel_shape=[3, 3], pads=[1] * 4)
            case "carry":
                b.node("Resize", [x, "", "same"], y, mode="nearest")
            case relu:
                b.node(relu, [x], y)
        known.append(y)
    heads = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
    return b.model({"image": [1, 3, SIZE, SIZE]}, heads)


@st.composite
def scales_of(draw: st.DrawFn, model: onnx.ModelProto) -> dict[str, float]:
    """A scale for every tensor that needs one, exact float32; some are left out."""
    _, names = calibration_model(model)
    some = st.floats(2.0**-40, 2.0**20, width=32, allow_nan=False)
    given = {name: draw(some) for name in names}
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        given.pop(name, None)
    return given
