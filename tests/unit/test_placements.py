"""The choices of a placement: types of activations, scales of weights, what becomes of the heads."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.unit import small_networks as networks
from tests.unit.processors import EXACT, HERE, MAY_SATURATE
from tests.unit.small_networks import Builder, image
from trt_matrix.core.hosts.processor import Processor, processor_of
from trt_matrix.core.layers.executed import executed_share, float_ends
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import simulation_of
from trt_matrix.core.qdq.placements import (
    INT8_KERNELS,
    PRECISE,
    Activations,
    Placed,
    Weights,
    activations_for,
    placed_of,
    saturates,
)
from trt_matrix.core.qdq.writer import UNSIGNED_ZERO
from trt_matrix.core.tables.table import Provenance, Table

VNNI = Processor(machine="x86_64", flags=frozenset({"avx2", "avx512_vnni"}))
OLD = Processor(machine="x86_64", flags=frozenset({"avx2"}))
ARM = Processor(machine="aarch64", flags=frozenset({"asimddp", "i8mm"}))
UINT8 = Placed(engine="onnxruntime", activations=Activations.UINT8)
EVERY = [
    Placed(engine=engine, activations=activations, weights=weights, int8_outputs=outputs)
    for engine in ("onnxruntime", "tensorrt")
    for activations in Activations
    for weights in Weights
    for outputs in (False, True)
]


def table_of(model: onnx.ModelProto, seeds: int = 4, share: float = 1.0) -> Table:
    """What the network's own values reach, so that little is clipped; `share` of that clips more."""
    with_outputs, tensors = calibration_model(model)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    amax: dict[str, float] = {}
    for seed in range(seeds):
        feed = {"image": image(tuple(shape), seed=seed)}
        found = {**networks.run(with_outputs, feed), **feed}
        for name in tensors:
            amax[name] = max(amax.get(name, 0.0), share * float(np.abs(found[name]).max()))
    return Table(amax=amax, provenance=Provenance(algorithm="seen"))


def pooled() -> onnx.ModelProto:
    """Everything for which the zero point matters: padding, pooling, concatenating, resizing."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8)], "r1")
    b.node("MaxPool", ["r1"], "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b.node("LeakyRelu", [b.conv("p", "c2", 8, 8)], "l2")
    b.weight("twice", np.array([1, 1, 2, 2], "f4"))
    b.node("Resize", ["l2", "", "twice"], "up", mode="nearest",
           coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    b.node("Concat", ["up", "r1"], "joined", axis=1)
    b.node("AveragePool", [b.conv("joined", "c3", 16, 8)], "a", kernel_shape=[2, 2])
    b.node("Sigmoid", [b.conv("a", "c4", 8, 8)], "s")
    b.conv("s", "y", 8, 4)
    return b.model({"image": [1, 3, 16, 16]}, ["y"])


# Names


@pytest.mark.parametrize("placed", EVERY, ids=lambda one: one.name)
def test_a_name_is_read_back_as_the_placement_it_names(placed: Placed) -> None:
    assert placed_of(placed.name) == placed
    # It becomes the name of a pass and of files.
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}", placed.name)


def test_all_names_differ() -> None:
    assert len({placed.name for placed in EVERY}) == len(EVERY)


def test_records_of_before_there_was_a_choice_mean_what_they_did() -> None:
    assert placed_of("onnxruntime") == Placed(engine="onnxruntime", int8_outputs=True)
    assert placed_of("tensorrt") == Placed(engine="tensorrt")


@given(st.text(max_size=60))
def test_any_other_text_is_no_placement(text: str) -> None:
    placed = placed_of(text)
    assert placed is None or placed.name == text or text in ("onnxruntime", "tensorrt")


@pytest.mark.parametrize(
    "text", ["", "onnxruntime-", "openvino", "onnxruntime-uint8", "tensorrt-int8-per_channel-float_outputs\n"]
)  # fmt: skip
def test_parts_of_names_are_no_placements(text: str) -> None:
    assert placed_of(text) is None


# Which activations


@pytest.mark.parametrize(
    ("processor", "expected", "why"),
    [
        (VNNI, Activations.UINT8, "VNNI"),
        (replace(VNNI, flags=frozenset({"avx_vnni"})), Activations.UINT8, "VNNI"),
        (OLD, Activations.INT8, "no VNNI"),
        (ARM, Activations.INT8, "aarch64"),
        (replace(ARM, flags=frozenset({"avx512_vnni"})), Activations.INT8, "aarch64"),
        (None, Activations.INT8, "not known"),
    ],
)
def test_uint8_is_for_x86_with_vnni_alone(
    processor: Processor | None, expected: Activations, why: str
) -> None:
    choice = activations_for("onnxruntime", on_cpu=True, asked=None, processor=processor)
    assert choice.activations is expected
    assert why in choice.why


def test_no_gpu_and_no_other_engine_gets_uint8() -> None:
    assert (
        activations_for("onnxruntime", on_cpu=False, asked=None, processor=VNNI).activations
        == "int8"
    )
    assert activations_for("tensorrt", on_cpu=False, asked=Activations.UINT8, processor=VNNI).activations == "int8"  # fmt: skip


@pytest.mark.parametrize("asked", list(Activations))
def test_what_matrix_yaml_asks_for_is_given(asked: Activations) -> None:
    for processor in (VNNI, OLD, ARM, None):
        choice = activations_for("onnxruntime", on_cpu=True, asked=asked, processor=processor)
        assert choice.activations is asked


def test_only_uint8_on_x86_without_vnni_may_saturate() -> None:
    assert saturates(UINT8, on_cpu=True, processor=OLD)
    for processor in (VNNI, ARM, None):
        assert not saturates(UINT8, on_cpu=True, processor=processor)
    assert not saturates(UINT8, on_cpu=False, processor=OLD)
    int8 = Placed(engine="onnxruntime")
    assert not saturates(int8, on_cpu=True, processor=OLD)
    assert not saturates(int8, on_cpu=True, processor=OLD, session={INT8_KERNELS: "1"})
    assert saturates(int8, on_cpu=True, processor=OLD, session={}), "made uint8 first"
    for placed in (int8, UINT8):
        assert not saturates(placed, on_cpu=True, processor=OLD, session={PRECISE: "1"})
    assert saturates(UINT8, on_cpu=True, processor=OLD, session={INT8_KERNELS: "1", PRECISE: "0"})


@given(st.one_of(st.none(), st.integers(), st.text()), st.one_of(st.none(), st.text(), st.lists(st.one_of(st.text(), st.integers()))))  # fmt: skip
def test_a_probe_that_tells_nonsense_makes_no_processor(machine: object, flags: object) -> None:
    processor = processor_of(machine, flags)
    assert (processor is not None) == (isinstance(machine, str) and isinstance(flags, list))


# The grid


@pytest.mark.parametrize("make", [networks.detector, pooled])
@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("outputs", [False, True])
def test_uint8_around_128_has_the_steps_of_int8(make, share: float, *, outputs: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """In exact arithmetic bit for bit, at both ends too: values far beyond the range are fed."""
    model = make()
    table = table_of(model, share=share)
    unsigned = replace(UINT8, int8_outputs=outputs)
    signed = replace(unsigned, activations=Activations.INT8)
    for placed in (lambda one: one.options(), lambda one: simulation_of(one.options())):
        model_proto, other = (place(model, table, placed(p)).model for p in (signed, unsigned))
        for seed in range(3):
            feed = {"image": 3 * image(seed=seed)}
            expected = networks.run(model_proto, feed)
            for head, array in networks.run(other, feed).items():
                np.testing.assert_array_equal(array, expected[head])


def lost_and_apart(
    make: Callable[[], onnx.ModelProto], placed: Placed, config: Mapping[str, str]
) -> Iterator[tuple[float, float]]:
    """Yields of each head what 8 bits must cost, and how far the engine is from that, in dB kept."""
    model = make()
    table = table_of(model)
    engine = place(model, table, placed.options()).model
    exact = place(model, table, simulation_of(placed.options())).model
    feed = {"image": image()}
    expected = networks.run(exact, feed)
    whole = networks.run(model, feed)
    for head, array in networks.run(engine, feed, optimised=True, config=config).items():
        ends = (whole[head], array)
        signal = float((expected[head] ** 2).sum())
        lost, apart = (float(((end - expected[head]) ** 2).sum()) / signal for end in ends)
        yield sqnr_db(lost) or math.inf, sqnr_db(apart) or math.inf


@pytest.mark.parametrize("make", [networks.detector, pooled])
@pytest.mark.parametrize("outputs", [False, True])
def test_integer_kernels_of_uint8_do_what_the_simulation_says(
    make: Callable[[], onnx.ModelProto], *, outputs: bool
) -> None:
    """Padding is with the zero point, MaxPool, Concat and Resize leave it: else whole borders were wrong."""
    placed = replace(UINT8, int8_outputs=outputs)
    for lost, apart in lost_and_apart(make, placed, EXACT):
        assert apart > lost + 3


@pytest.mark.skipif(not MAY_SATURATE, reason="the kernels of this processor do not saturate")
@pytest.mark.parametrize("make", [networks.detector, pooled])
def test_they_saturate_where_this_tool_says_so(make: Callable[[], onnx.ModelProto]) -> None:
    """The real kernels of a processor without VNNI; int8 activations are made uint8 first unless asked to stay."""
    int8 = Placed(engine="onnxruntime")
    for placed, config, saturating in (
        (UINT8, {}, True),
        (UINT8, {INT8_KERNELS: "1"}, True),
        (UINT8, {PRECISE: "1"}, False),
        (int8, {}, True),
        (int8, {INT8_KERNELS: "1"}, False),
    ):
        assert saturates(placed, on_cpu=True, processor=HERE, session=config) is saturating
        apart = [one for _, one in lost_and_apart(make, placed, config)]
        assert (min(apart) < 40) is saturating, (placed.name, config, apart)


def test_zero_points_of_activations_are_128_and_those_of_weights_0() -> None:
    model = networks.detector()
    model_proto = place(model, table_of(model), UINT8.options()).model
    values = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model_proto.graph.initializer
    }
    kinds = {name.rpartition("/")[2]: values[name] for name in values}
    zeros = [values[f"{tensor}/zero_point"] for tensor in place(model, table_of(model), UINT8.options()).quantised]  # fmt: skip
    assert {(zero.dtype, int(zero)) for zero in zeros} == {(np.dtype("uint8"), int(UNSIGNED_ZERO))}
    assert kinds["weight"].dtype == np.int8
    assert not any(values[name].any() for name in values if name.endswith("weight_zero_point"))


# Heads


def test_heads_are_float_in_every_engine_and_int8_where_asked() -> None:
    model = networks.detector()
    for placed in EVERY:
        model_proto = place(model, table_of(model), placed.options()).model
        makers = {name: node.op_type for node in model_proto.graph.node for name in node.output}
        kinds = {makers[value.name] for value in model_proto.graph.output}
        assert kinds == ({"DequantizeLinear"} if placed.int8_outputs else {"Conv"}), placed.name


def test_layers_that_the_placement_leaves_in_float_are_no_fallback(tmp_path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    model = networks.detector()
    given_ = place(model, table_of(model), UINT8.options()).model
    saved = str(tmp_path / "executed.onnx")
    networks.run(given_, {"image": image()}, optimised=True, saved=saved, config={"session.qdqisint8allowed": "1"})  # fmt: skip
    shares = executed_share(onnx.load(saved), given_, ["large", "small"])
    assert shares["large"].placed_float == ("conv_large",)
    assert shares["small"].placed_float == ("conv_small",)
    assert shares["small"].float_layers == ()
    for share in shares.values():
        assert share.integer_macs + share.placed_float_macs == share.total_macs


def test_a_layer_that_an_engine_left_in_float_by_itself_still_is_one(tmp_path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    model = networks.detector()
    given_ = place(model, table_of(model), UINT8.options()).model
    saved = str(tmp_path / "executed.onnx")
    networks.run(given_, {"image": image()}, optimised=False, saved=saved)
    share = executed_share(onnx.load(saved), given_, ["large"])["large"]
    assert share.float_layers == ("conv_c1", "conv_c2")
    assert share.placed_float == ("conv_large",)


def test_what_stands_between_a_layer_and_its_quantisation_is_looked_through() -> None:
    b = Builder()
    b.node("Relu", [b.conv("image", "c", 3, 4)], "r")
    b.conv("r", "d", 4, 4)
    b.node("Sigmoid", ["d"], "s")
    b.node("Reshape", ["s", b.weight("flat", np.array([1, -1]))], "y")
    model = b.model({"image": [1, 3, 8, 8]}, ["y"])
    model_proto = place(model, table_of(model), Placed(engine="tensorrt").options()).model
    assert float_ends(model_proto) == ("conv_d",)
