"""Ranges and weights that float16 or bfloat16 cannot hold, computed by ONNX Runtime as this test's own check."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from tests.unit.reduced_networks import (
    BF16,
    FP16,
    ROOT,
    conv,
    converted,
    network,
    node,
    ranges,
    rounded_everywhere,
    run,
    sqnr_db,
    types_of,
    weight,
)
from trt_matrix.core.cells import Precision
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.reduced.formats import FORMATS
from trt_matrix.core.reduced.guard import values

OVERFLOWING = network(
    [
        conv(),
        node("Mul", ["c", "up"], "larger"),
        node("Mul", ["larger", "up"], "large"),
        node("Relu", ["large"], "still_large"),
        node("Mul", ["still_large", "down"], "smaller"),
        node("Mul", ["smaller", "down"], "small"),
        conv("small", "y"),
    ],
    [weight(1e3, "up"), weight(1e-3, "down")],
)
"""Scaled up inside to nearly a million, and down again, by factors that float16 has."""


def test_what_overflows_is_kept_in_float32_and_named() -> None:
    made = converted(OVERFLOWING)
    assert set(made.kept) == {"large", "still_large", "smaller"}
    assert made.kept["still_large"].startswith("large reaches ")
    assert "float16's 65504" in made.kept["large"]
    types = types_of(made.model)
    assert {name for name, type_ in types.items() if type_ == "FLOAT"} == set(made.kept)
    assert sqnr_db(rounded_everywhere(made.model), run(OVERFLOWING)[0]) > 55


def test_without_the_guard_it_would_overflow() -> None:
    made = converted(OVERFLOWING, amax={})
    assert not made.kept
    assert not np.isfinite(rounded_everywhere(made.model)).all()


def test_bfloat16_reaches_as_far_as_float32() -> None:
    made = converted(OVERFLOWING, BF16)
    assert not made.kept
    assert set(types_of(made.model).values()) == {"BFLOAT16"}


def test_what_nearly_overflows_is_told() -> None:
    model = network([conv(), node("Mul", ["c", "up"], "y")], [weight(8e3, "up")])
    made = converted(model)
    assert set(made.near) == {"y"}
    assert not made.kept


@pytest.mark.parametrize(
    ("factor", "why"),
    [(1e6, "beyond float16's 65504"), (3e-8, "lost in float16"), (1e-12, "100 % of it are lost")],
)
def test_weights_are_never_clamped(factor: float, why: str) -> None:
    model = network(
        [conv(), node("Mul", ["c", "up"], "t"), node("Mul", ["t", "down"], "y")],
        [weight([[[[factor]]]], "up"), weight([[[[1 / factor]]]], "down")],
    )
    made = converted(model)
    alone = converted(model, amax={})  # without ranges the weights themselves are seen
    assert alone.kept["t"].startswith("its constant up")
    assert why in alone.kept["t"]
    assert {"t", "y"} & set(made.kept)
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 50


def test_a_tensor_of_denormal_values_is_kept() -> None:
    model = network(
        [conv(), node("Mul", ["c", "a"], "t"), node("Mul", ["t", "b"], "y")],
        [weight(1e-4, "a"), weight(1e4, "b")],
    )
    amax = ranges(model) | {"t": 1e-6}
    made = converted(model, amax=amax)
    assert "stays below 1e-06" in made.kept["y"]


def test_a_few_small_weights_are_counted_not_hidden() -> None:
    kernel = np.full((2, 2, 3, 3), 0.5, np.float32)
    kernel[0, 0, 0] = 1e-9
    model = network([node("Conv", ["x", "w"], "y", pads=[1] * 4)], [weight(kernel, "w")])
    made = converted(model)
    assert made.zeroed == {"w": 3}
    assert not made.kept


@given(
    st.lists(
        st.sampled_from(
            ["Relu", "Sigmoid", "Neg", "Exp", "up", "down", "Identity", "Floor", "int"]
        ),
        max_size=12,
    ),
    st.sampled_from([FP16, BF16]),
)
def test_any_chain_is_valid_and_never_overflows_where_float32_does_not(
    chain: list[str], precision: Precision
) -> None:
    nodes, last = [conv("x", "t0")], "t0"
    for index, operator in enumerate(chain, 1):
        name = f"t{index}"
        if operator in ("up", "down"):
            nodes.append(node("Mul", [last, operator], name))
        elif operator == "int":
            nodes += [node("Floor", [last], f"{name}f"), node("Neg", [f"{name}f"], name)]
        else:
            nodes.append(node(operator, [last], name))
        last = name
    model = network(
        [*nodes, node("Identity", [last], "y")], [weight(3e3, "up"), weight(1 / 3e3, "down")]
    )
    known = {name: one for name, one in ranges(model).items() if np.isfinite(one)}
    made = converted(model, precision, known)
    if precision is FP16 and len(known) == len(ranges(model)):
        assert np.isfinite(rounded_everywhere(made.model)).all(), made.kept


@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.sampled_from([FP16, BF16]))
def test_weights_are_held_against_the_format_whatever_they_are(
    numbers: list[float], precision: Precision
) -> None:
    model = network([conv("x", "y")], [weight(numbers, "w")])
    found = values(model, {}, FORMATS[precision])
    finite = [number for number in numbers if np.isfinite(number)]
    largest = max((abs(one) for one in finite), default=0.0)
    if largest > FORMATS[precision].largest * (1 + FORMATS[precision].roundoff):
        assert "beyond" in found.weights["w"]
    if all(one in (0.0, 1.0, -2.0) for one in finite):
        assert "w" not in found.weights


def test_external_and_constant_weights() -> None:
    """Constants written as nodes are weights too; those of other files are read before (`graph.load`)."""
    value = weight(np.full((1, 2, 1, 1), 0.3), "value")
    model = network([node("Constant", [], "k", value=value), conv(), node("Mul", ["c", "k"], "y")])
    made = converted(model)
    assert types_of(made.model) == {"conv_c": "FLOAT16", "y": "FLOAT16"}


REAL = ["digits3.onnx", "digits3-opset9.onnx"]


@pytest.mark.parametrize("file", REAL)
def test_the_demo_is_what_onnx_runtimes_own_converter_makes_of_it(file: str) -> None:
    """On a network without any trap both must give the same bits."""
    model = onnx.load(ROOT / "demo" / file)
    x = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    made = converted(model, amax=ranges(model, x))
    assert not made.kept
    theirs = convert_float_to_float16(canonical(model), keep_io_types=True)
    for ours, other, exact in zip(run(made.model, x), run(theirs, x), run(model, x), strict=True):
        np.testing.assert_array_equal(ours, other)
        assert sqnr_db(ours, exact) > 50


@pytest.mark.parametrize("file", REAL)
def test_the_demo_in_bfloat16_is_valid_and_the_same_function(file: str) -> None:
    model = onnx.load(ROOT / "demo" / file)
    made = converted(model, BF16, amax={})
    assert not made.kept
    # ONNX Runtime has no bfloat16 kernels on a CPU: with float32 in the place of its types, what was
    # written is computed, its weights as they were rounded.
    exact = onnx.ModelProto.FromString(made.model.SerializeToString())
    del exact.graph.value_info[:]
    for tensor in exact.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            rounded = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    casts = [node for node in exact.graph.node if node.op_type == "Cast"]
    for cast in casts:
        cast.attribute[0].i = TensorProto.FLOAT
    assert len(casts) == 4
    x = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    for got, wanted in zip(run(exact, x), run(model, x), strict=True):
        assert sqnr_db(got, wanted) > 30
