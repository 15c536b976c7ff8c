"""The scales of a quantised network as a table: exact where a table can hold them, else named with the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType

from tests.unit import small_networks as networks
from tests.unit.placed_networks import minmax
from tests.unit.quantised import Quantising, by_tool, mixed, pairs
from tests.unit.small_networks import Builder
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions
from trt_matrix.core.shipped.stripping import stripped
from trt_matrix.core.tables.forms import TableForm
from trt_matrix.core.tables.qdq_table import from_qdq
from trt_matrix.core.tables.reading import read
from trt_matrix.core.tables.table import LEVELS, TableError

SHAPE = [1, 3, 16, 16]


def uint8() -> onnx.ModelProto:
    b = Quantising()
    b.pair("image", "a", 0.03, 7)
    b.conv("a", "y", 3, 4)
    return b.model({"image": SHAPE}, ["y"])


def weights_alone() -> onnx.ModelProto:
    b = Quantising()
    b.qconv("image", "y", 3, 4)
    return b.model({"image": SHAPE}, ["y"])


@pytest.mark.parametrize("options", [TENSORRT, ONNXRUNTIME])
@pytest.mark.parametrize("make", [networks.detector, mixed])
def test_the_scales_that_we_place_are_read_back_exactly(
    make: Any, options: PlacementOptions
) -> None:
    model = make()
    placed = place(model, minmax(model), options)
    read_table = read(placed.model.SerializeToString())
    assert read_table.form is TableForm.NETWORK
    assert read_table.form.scales
    assert read_table.unusable == {}
    table = read_table.table()
    assert {name: np.float32(table.scale(name)) for name in table.amax} == {
        name: np.float32(scale) for name, scale in placed.quantised.items()
    }


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
def test_of_onnx_runtimes_quantiser_the_names_are_those_that_it_was_given(
    form: str, activations: QuantType, tmp_path: Path
) -> None:
    model = mixed()
    table = from_qdq(
        by_tool(model, tmp_path, form, activations=activations, ActivationSymmetric=True)
    )
    given_names = {"image", *(name for node in model.graph.node for name in node.output)}
    assert set(table.names) <= given_names
    ranges = minmax(model, *(networks.image(seed=seed) for seed in range(8))).amax
    common = [name for name in table.values if name in ranges]
    assert len(common) >= 10
    assert len(table.values) >= len(table.unusable)  # Softmax and Sigmoid have grids of their own
    for name in ("image", "r1", "silu", "classes"):
        assert table.values[name] == pytest.approx(ranges[name], rel=0.02), name


def test_int8_and_moved_uint8_are_the_same_grid_and_no_other_is_approximated() -> None:
    b = Quantising()
    b.pair("image", "a", 0.03, 0, np.int8)
    b.pair(b.conv("a", "c", 3, 4), "b", 0.03, 128)
    b.pair(b.conv("b", "d", 4, 4), "e", 6 / 255)
    b.pair(b.conv("e", "f", 4, 4), "g", 0.03, -128, np.int8)
    b.pair(b.conv("g", "h", 4, 4), "i", [0.1, 0.2, 0.3, 0.4], 0, np.int8, axis=1)
    b.pair(b.conv("i", "j", 4, 4), "k", [0.1] * 4, 0, np.int8, axis=1)
    b.pair(b.conv("k", "l", 4, 4), "m", 0.001, 0, np.int16)
    b.conv("m", "y", 4, 4)
    table = from_qdq(b.model({"image": SHAPE}, ["y"], opset=21))
    grid = LEVELS * float(np.float32(0.03))
    assert table.values == {"image": grid, "c": grid, "j": LEVELS * float(np.float32(0.1))}
    assert {name: why[:30] for name, why in table.unusable.items()} == {
        "d": "it is uint8 with zero point 0,",
        "f": "it is int8 with zero point -12",
        "h": "it has a scale for each of 4 c",
        "l": "it is int16, and a table's gri",
    }
    assert table.table().unusable == table.unusable


def test_two_scales_of_one_tensor_are_told_and_the_same_twice_is_one() -> None:
    b = Quantising()
    b.pair("image", "a", 0.03, 0, np.int8)
    b.pair("a", "b", 0.05, 0, np.int8)  # requantised, as before a concatenation
    c = b.conv("b", "c", 3, 4)
    b.pair(c, "d", 0.02, 0, np.int8)
    b.pair(c, "e", 0.02, 128)
    b.conv("d", "y", 4, 4)
    b.conv("e", "z", 4, 4)
    table = from_qdq(b.model({"image": SHAPE}, ["y", "z"]))
    assert list(table.values) == ["c"]
    assert "2 scales, such as 0.03 and 0.05" in table.unusable["image"]


def test_constants_count_wherever_they_stand_and_weights_never() -> None:
    model = pairs()
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    del moved.graph.initializer[:]
    nodes = [
        helper.make_node("Constant", [], [weight.name], value=weight)
        for weight in model.graph.initializer
    ]
    for node in reversed(nodes):
        moved.graph.node.insert(0, node)
    assert from_qdq(moved) == from_qdq(model)
    assert set(from_qdq(model).names) == {"image", "r1", "large", "small"}


def test_scales_in_another_file_or_computed_are_told_and_no_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Quantising()
    b.pair("image", "a", 0.03, 0, np.int8)
    b.pair(b.conv("a", "c", 3, 4), "d", 0.02, 0, np.int8)
    b.conv("d", "y", 4, 4)
    model = b.model({"image": SHAPE}, ["y"])
    (scale,) = (weight for weight in model.graph.initializer if weight.name == "d.scale")
    onnx.external_data_helper.set_external_data(scale, location="weights.bin")
    scale.ClearField("raw_data")
    (tmp_path / "weights.bin").write_bytes(np.float32(7).tobytes())
    monkeypatch.chdir(tmp_path)
    table = read(model.SerializeToString())
    assert list(table.values) == ["image"]
    assert "another file" in table.unusable["c"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (networks.detector, "it is a float network"),
        (uint8, "none of the 1 activations"),
        (weights_alone, "no scales of activations"),
    ],
)
def test_networks_without_a_table_say_what_they_are(make: Any, told: str) -> None:
    with pytest.raises(TableError, match=told):
        read(make().SerializeToString())


def test_dynamic_quantisation_has_no_scales(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="dynamic"):
        from_qdq(by_tool(mixed(), tmp_path, "dynamic"))


def test_wrong_scales_are_set_apart_as_in_every_table() -> None:
    b = Quantising()
    x = "image"
    for index, scale in enumerate((0.03, 0.0, -0.1, np.nan, np.inf)):
        b.pair(x, f"q{index}", scale, 0, np.int8)
        x = b.conv(f"q{index}", f"c{index}", 3, 3)
    table = from_qdq(b.model({"image": SHAPE}, [x])).table()
    assert list(table.amax) == ["image"]
    assert set(table.unusable) == {"c0", "c1", "c2", "c3"}


def test_half_precision_scales_are_numbers_and_integers_are_none() -> None:
    b = Builder()
    b.weight("s", np.float16(0.03))
    b.weight("z", np.int8(0))
    b.node("QuantizeLinear", ["image", "s", "z"], "q")
    b.node("DequantizeLinear", ["q", "s", "z"], "x")
    model = b.model({"image": SHAPE}, ["x"], opset=19)
    # The output is what went in: quantised, it has no other name.
    assert from_qdq(model).values == {"image": LEVELS * float(np.float16(0.03))}
    (scale,) = (weight for weight in model.graph.initializer if weight.name == "s")
    scale.CopyFrom(numpy_helper.from_array(np.array(3, np.int32), "s"))
    with pytest.raises(TableError, match="no number"):
        from_qdq(model)


def test_names_agree_with_the_float_network_that_we_strip() -> None:
    for model in (pairs(), place(networks.detector(), minmax(networks.detector())).model):
        assert set(from_qdq(model).values) <= set(stripped(model).amax)


@given(st.data())
def test_a_damaged_network_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(pairs().SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(2, len(content)))
    try:
        table = read(bytes(content[:cut]))
    except TableError:
        return
    assert table.names


def test_a_network_in_circles_is_read_without_hanging() -> None:
    b = Quantising()
    b.pair("image", "a", 0.03, 0, np.int8)
    b.conv("a", "y", 3, 4)
    model = b.model({"image": SHAPE}, ["y"])
    z = ["a.scale", "a.zero"]
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["loop.d", *z], ["loop.q"]),
            helper.make_node("DequantizeLinear", ["loop.q", *z], ["loop.d"]),
        ]
    )
    assert "image" in from_qdq(model).values
