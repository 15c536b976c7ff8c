"""Networks converted to float16 and bfloat16: computed by ONNX Runtime, which is this test's own check."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.transformers.float16 import convert_float_to_float16

from runner.cells import Precision
from runner.core.network.canonical import canonical
from runner.core.network.graph import GraphError, load
from runner.core.reduced.converting import Converted, convert, element_types, float_tensors
from runner.core.reduced.formats import FORMATS
from runner.core.reduced.guard import values

ROOT = Path(__file__).parents[2]
FP16, BF16 = Precision.FP16, Precision.BF16
X = np.linspace(-1, 1, 2 * 8 * 8, dtype=np.float32).reshape(1, 2, 8, 8)


def weight(value: Any, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def network(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    heads: Sequence[str] = ("y",),
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Returns a network of one image (1, 2, 8, 8), whose first node may be `conv`."""
    kernel = np.random.default_rng(3).normal(size=(2, 2, 3, 3)).astype(np.float32) / 4
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info(head, TensorProto.FLOAT, None) for head in heads],
        [weight(kernel, "kernel"), *weights],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def conv(given: str = "x", made: str = "c") -> onnx.NodeProto:
    return helper.make_node("Conv", [given, "kernel"], [made], name=f"conv_{made}", pads=[1] * 4)


def node(operator: str, given: Sequence[str], made: str, **more: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(given), [made], name=made, **more)


def run(model: onnx.ModelProto, x: np.ndarray = X, heads: Sequence[str] = ()) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    return session.run(list(heads) or None, {session.get_inputs()[0].name: x})


def rounded_everywhere(model: onnx.ModelProto, x: np.ndarray = X) -> np.ndarray:
    """Computes by ONNX's own reference, in which every float16 tensor is one.

    ONNX Runtime drops conversions between two nodes that it computes in float32 all the same.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return ReferenceEvaluator(model).run(None, {"x": x})[0]


def ranges(model: onnx.ModelProto, x: np.ndarray = X) -> dict[str, float]:
    giving, names = float_tensors(model)
    found = run(giving, x, names)
    return {name: float(np.abs(one).max()) for name, one in zip(names, found, strict=True)}


def converted(
    model: onnx.ModelProto, precision: Precision = FP16, amax: dict[str, float] | None = None
) -> Converted:
    """Converts, and holds what must always be: valid ONNX, whose inputs and heads are of their types."""
    before = model.SerializeToString(deterministic=True)
    made = convert(model, precision, ranges(model) if amax is None else amax)
    assert model.SerializeToString(deterministic=True) == before, "it is not changed"
    if not any(one.domain for one in made.model.graph.node):
        load(made.model.SerializeToString(), "the converted network")
        onnx.shape_inference.infer_shapes(made.model, check_type=True, strict_mode=True)
    for ours, theirs in (
        (made.model.graph.output, model.graph.output),
        (made.model.graph.input, model.graph.input),
    ):
        names = [one.name for one in theirs if one.name in {each.name for each in ours}]
        assert [one.name for one in ours] == names
        assert {one.type.tensor_type.elem_type for one in ours} == {TensorProto.FLOAT}
    return made


def types_of(model: onnx.ModelProto) -> dict[str, str]:
    """Returns node → type of its first output."""
    known = element_types(model)
    return {
        one.name: TensorProto.DataType.Name(known.get(one.output[0], 0))
        for one in model.graph.node
        if one.op_type != "Cast" or not one.name.endswith("/Cast")
    }


def sqnr_db(got: np.ndarray, wanted: np.ndarray) -> float:
    error = float(np.square(got.astype(np.float64) - wanted).sum())
    return 10 * float(np.log10(np.square(wanted.astype(np.float64)).sum() / error))


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


def test_scales_of_a_resize_stay_exact_where_others_read_them_too() -> None:
    model = network(
        [
            conv(),
            node("Resize", ["c", "roi", "scales"], "r", mode="nearest"),
            node("ReduceMean", ["r"], "m", keepdims=1),
            node("Mul", ["m", "scales"], "y"),
        ],
        [weight([1, 1, 1.126, 1.126], "scales"), weight([], "roi")],
    )
    made = converted(model)
    assert [one.shape for one in run(made.model)] == [one.shape for one in run(model)]
    kinds = element_types(made.model)
    (resize,) = (one for one in made.model.graph.node if one.op_type == "Resize")
    assert [kinds[name] for name in resize.input] == [
        TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.FLOAT,
    ]  # fmt: skip
    (mul,) = (one for one in made.model.graph.node if one.op_type == "Mul")
    assert kinds[mul.input[1]] == TensorProto.FLOAT16


def branch(name: str, nodes: Sequence[onnx.NodeProto]) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [output])


def test_networks_inside_an_if_get_what_they_take_in_float32() -> None:
    deeper = helper.make_node(
        "If", ["yes"], ["d"],
        then_branch=branch("a", [node("Add", ["c", "c"], "p")]),
        else_branch=branch("b", [node("Neg", ["c"], "q")]),
    )  # fmt: skip
    model = network(
        [
            conv(),
            node("ReduceSum", ["c"], "s", keepdims=0),
            node("Greater", ["s", "limit"], "yes"),
            helper.make_node(
                "If", ["yes"], ["i"], name="choice",
                then_branch=branch("then", [deeper]),
                else_branch=branch("else", [node("Add", ["c", "limit"], "e")]),
            ),
            conv("i", "y"),
        ],
        [weight(-100.0, "limit")],
    )  # fmt: skip
    for precision in (FP16, BF16):
        made = converted(model, precision)
        assert "networks of its own" in made.kept["choice"]
        assert sqnr_db(run(converted(model).model)[0], run(model)[0]) > 50


def test_a_loop_is_left_as_it_is() -> None:
    body = helper.make_graph(
        [node("Add", ["carried", "c"], "next"), node("Identity", ["go"], "on")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    trips = numpy_helper.from_array(np.array(3), "trips")
    model = network(
        [
            conv(),
            helper.make_node("Loop", ["trips", "", "c"], ["l"], name="loop", body=body),
            conv("l", "y"),
        ],
        [trips],
    )
    made = converted(model)
    assert set(made.kept) == {"loop"}
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 50


def test_sizes_are_computed_in_float32() -> None:
    """8 · 1.126 is 9.008; in float16 the factor is 1.1260, in bfloat16 1.125, and 9 rows are 8 or 9."""
    model = network(
        [
            conv(),
            node("Shape", ["c"], "shape"),
            node("Cast", ["shape"], "sizes", to=TensorProto.FLOAT),
            node("Mul", ["sizes", "factor"], "scaled"),
            node("Floor", ["scaled"], "floor"),
            node("Cast", ["floor"], "whole", to=TensorProto.INT64),
            node("Resize", ["c", "", "", "whole"], "y", mode="nearest"),
        ],
        [weight([1, 1, 1.126, 1.126], "factor")],
    )
    for precision in (FP16, BF16):
        made = converted(model, precision)
        assert types_of(made.model)["scaled"] == "FLOAT"
        assert "scaled" not in made.kept, "it reads no image: nothing of it is lost"
    assert run(converted(model).model)[0].shape == run(model)[0].shape


def test_casts_inside_to_int_and_back_stay_what_they_are() -> None:
    model = network(
        [
            conv(),
            node("Mul", ["c", "many"], "m"),
            node("Cast", ["m"], "i", to=TensorProto.INT32),
            node("Cast", ["i"], "f", to=TensorProto.FLOAT),
            node("Cast", ["f"], "d", to=TensorProto.DOUBLE),
            node("Cast", ["d"], "g", to=TensorProto.FLOAT),
            conv("g", "y"),
        ],
        [weight(100.0, "many")],
    )
    made = converted(model)
    operators = [one.op_type for one in made.model.graph.node]
    assert operators.count("Cast") > 4
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 40


def test_rankings_and_boxes() -> None:
    model = network(
        [
            conv(),
            node("Reshape", ["c", "flat"], "rows"),
            helper.make_node("TopK", ["rows", "k"], ["y", "at"], name="topk"),
            node("Reshape", ["c", "boxes_shape"], "boxes"),
            node("Reshape", ["c", "scores_shape"], "scores"),
            node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], "kept"),
            node("Cast", ["kept"], "z", to=TensorProto.FLOAT),
        ],
        [
            *(
                numpy_helper.from_array(np.array(value), name)
                for name, value in (
                    ("flat", [1, 128]), ("k", [5]), ("boxes_shape", [1, 32, 4]),
                    ("scores_shape", [1, 1, 128]), ("most", [3]),
                )
            ),
            weight([0.5], "iou"),
        ],
        ("y", "z"),
    )  # fmt: skip
    del model.graph.node[4]
    model.graph.node.insert(4, node("ReduceMax", ["boxes"], "best", axes=[2], keepdims=0))
    model.graph.node.insert(5, node("Unsqueeze", ["best", "one"], "scores"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    made = converted(model)
    assert set(made.kept) == {"kept"}
    assert "areas overflow" in made.kept["kept"]
    assert types_of(made.model)["topk"] in ("FLOAT16", "FLOAT")
    got, wanted = run(made.model)[0], run(model)[0]
    np.testing.assert_allclose(got, wanted, rtol=2e-3)


def test_masks_and_bounds_at_the_end_of_float32() -> None:
    low = float(np.finfo(np.float32).min)
    model = network(
        [
            conv(),
            node("Clip", ["c", "zero", "end"], "bounded"),
            node("Greater", ["c", "zero"], "which"),
            node("Where", ["which", "bounded", "masked"], "w"),
            node("Softmax", ["w"], "soft", axis=3),
            conv("soft", "y"),
        ],
        [weight(0.0, "zero"), weight(-low, "end"), weight(low, "masked")],
    )
    made = converted(model)
    assert set(made.kept) == {"w", "soft"}, (
        "a bound beyond the end bounds nothing, and is moved there"
    )
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 50


def test_infinite_masks_are_infinite_in_every_format() -> None:
    mask = np.where(np.tri(8, dtype=bool), 0.0, -np.inf)
    model = network(
        [
            conv(),
            node("Add", ["c", "mask"], "w"),
            node("Softmax", ["w"], "soft"),
            conv("soft", "y"),
        ],
        [weight(mask, "mask")],
    )
    made = converted(model, amax={"c": 1.0})
    assert not made.kept
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 50


def test_custom_operators_keep_their_types_and_are_named() -> None:
    model = network(
        [
            conv(),
            helper.make_node("Upsampler", ["c"], ["u"], name="up", domain="my"),
            conv("u", "y"),
        ],
        domains=["my"],
    )
    model.graph.value_info.append(helper.make_tensor_value_info("u", TensorProto.FLOAT, X.shape))
    made = converted(model, amax={})
    assert set(made.kept) == {"up"}
    assert "no operator of ONNX" in made.kept["up"]
    (custom,) = (one for one in made.model.graph.node if one.domain == "my")
    (cast,) = (one for one in made.model.graph.node if custom.input[0] in one.output)
    assert helper.get_attribute_value(cast.attribute[0]) == TensorProto.FLOAT
    del model.graph.value_info[:]
    made = converted(model, amax={})
    assert set(made.kept) == {"up", "conv_y"}, "nobody says what it gives"
    assert "not known" in made.kept["conv_y"]


def test_float16_inside_stays_as_it_is() -> None:
    half = [
        node("Cast", ["c"], "h", to=TensorProto.FLOAT16),
        node("Relu", ["h"], "r"),
        node("Cast", ["r"], "f", to=TensorProto.FLOAT),
    ]
    model = network([conv(), *half, conv("f", "y")])
    made = converted(model)
    assert types_of(made.model)["r"] == "FLOAT16"
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 50


def test_float16_all_through_has_nothing_to_convert() -> None:
    kernel = numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float16), "k16")
    model = network(
        [
            node("Cast", ["x"], "h", to=TensorProto.FLOAT16),
            node("Conv", ["h", "k16"], "c"),
            node("Cast", ["c"], "y", to=TensorProto.FLOAT),
        ],
        [kernel],
    )
    made = convert(model, FP16, {})
    assert types_of(made.model)["c"] == "FLOAT16"
    assert (made.reduced, made.kept) == (0, {})


def test_sequences_are_left_alone() -> None:
    model = network(
        [
            conv(),
            node("SplitToSequence", ["c"], "s", axis=1),
            node("ConcatFromSequence", ["s"], "t", axis=1),
            conv("t", "y"),
        ]
    )
    made = converted(model, amax={})
    assert set(made.kept) == {"s", "t"}
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 50


def test_heads_that_are_read_inside_and_inputs_that_are_heads() -> None:
    model = network([conv(), node("Relu", ["c"], "y"), conv("y", "z")], heads=("c", "y", "z"))
    made = converted(model)
    for got, wanted in zip(run(made.model), run(model), strict=True):
        assert sqnr_db(got, wanted) > 55
        assert got.dtype == np.float32


def test_names_that_are_taken_are_not_given_twice() -> None:
    model = network(
        [
            conv("x", "x/float16"),
            node("Relu", ["x/float16"], "y/float16"),
            conv("y/float16", "y"),
            conv("x", "z"),
        ],
        heads=("y", "z"),
    )
    made = converted(model)
    assert sqnr_db(run(made.model)[0], run(model)[0]) > 55


def test_q_dq_networks_are_refused() -> None:
    model = network(
        [
            node("QuantizeLinear", ["x", "s"], "q"),
            node("DequantizeLinear", ["q", "s"], "d"),
            conv("d", "y"),
        ],
        [weight(0.1, "s")],
    )
    with pytest.raises(GraphError, match="takes the float network"):
        convert(model, FP16, {})


def test_a_network_of_which_nothing_can_be_converted_is_refused_with_the_reason() -> None:
    model = network([node("Conv", ["x", "w"], "y")], [weight(np.full((2, 2, 1, 1), 1e9), "w")])
    with pytest.raises(GraphError, match="its constant w reaches 1e\\+09, beyond float16's 65504"):
        convert(model, FP16, {})
    convert(model, BF16, {})


def test_operators_that_no_opset_gives_bfloat16_are_kept_and_named() -> None:
    model = network([conv(), node("Celu", ["c"], "e"), conv("e", "y")])
    made = converted(model, BF16)
    assert made.kept == {"e": "Celu of opset 12 takes no bfloat16"}


def test_a_network_that_cannot_be_brought_to_a_newer_opset_says_so() -> None:
    model = network([conv(), node("Relu", ["c"], "y")], opset=13)

    def fails(*_: object) -> None:
        message = "no adapter"
        raise RuntimeError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx.version_converter, "convert_version", fails)
        with pytest.raises(GraphError, match=r"Conv of opset 11 takes no bfloat16.*no adapter"):
            convert(model, BF16, {})


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
    for one in exact.graph.initializer:
        if one.data_type == TensorProto.BFLOAT16:
            rounded = numpy_helper.to_array(one).astype(np.float32)
            one.CopyFrom(numpy_helper.from_array(rounded, one.name))
    casts = [one for one in exact.graph.node if one.op_type == "Cast"]
    for one in casts:
        one.attribute[0].i = TensorProto.FLOAT
    assert len(casts) == 4
    x = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    for got, wanted in zip(run(exact, x), run(model, x), strict=True):
        assert sqnr_db(got, wanted) > 30


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
    finite = [one for one in numbers if np.isfinite(one)]
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
