"""Operators and graphs that are traps for a conversion to float16 or bfloat16."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.reduced_networks import (
    BF16,
    FP16,
    X,
    branch,
    conv,
    converted,
    network,
    node,
    run,
    sqnr_db,
    types_of,
    weight,
)
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.reduced.converting import convert, element_types


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
    (resize,) = (node for node in made.model.graph.node if node.op_type == "Resize")
    assert [kinds[name] for name in resize.input] == [
        TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.FLOAT,
    ]  # fmt: skip
    (mul,) = (node for node in made.model.graph.node if node.op_type == "Mul")
    assert kinds[mul.input[1]] == TensorProto.FLOAT16


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
    operators = [node.op_type for node in made.model.graph.node]
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
    (custom,) = (node for node in made.model.graph.node if node.domain == "my")
    (cast,) = (node for node in made.model.graph.node if custom.input[0] in node.output)
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


def test_a_type_that_shape_inference_does_not_tell_is_read_from_the_definition() -> None:
    model = network(
        [conv(), node("GroupNormalization", ["c", "g", "b"], "n", num_groups=1), conv("n", "y")],
        [weight(np.ones(1), "g"), weight(np.zeros(1), "b")],
        opset=18,
    )
    assert not convert(model, FP16, {}).kept


@pytest.mark.parametrize(
    "layer",
    [
        node("HardSwish", ["c"], "t"),
        helper.make_node("ConvTranspose", ["c", "k"], ["t"], name="t", strides=[2, 2]),
    ],
)
def test_bfloat16_that_tensorrt_does_not_build_is_not_asked_for(layer: onnx.NodeProto) -> None:
    model = network([conv(), layer, conv("t", "y")], [weight(np.ones((2, 2, 2, 2)), "k")])
    made = converted(model, BF16)
    assert set(made.kept) == {"t"}
    assert "seen in TensorRT-RTX" in made.kept["t"]
    assert not converted(model, FP16).kept
