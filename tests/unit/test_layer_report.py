"""The network as its heads see it, and in which precision its layers ran."""

from typing import Any

import onnx
import pytest

from tests.unit.new_records import new_measurement, new_record
from tests.unit.small_networks import Builder, detector, old_detector
from trt_matrix.core.cells import Pass, Precision, Status, TableSource
from trt_matrix.core.layers.engine_layers import EngineLayer
from trt_matrix.core.layers.precisions import from_layers, from_shares, layer_report
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.core.records import IntegerShare, Record, StoredObject

HEADS = [("big", "large"), ("little", "small")]
LAYERS = StoredObject(sha256="ab" * 32, suffix=".json", size_bytes=1)


@pytest.fixture(scope="module")
def network() -> NetworkMap:
    return network_map(detector(), HEADS)


def test_layers_are_parted_by_the_heads_that_depend_on_them(network: NetworkMap) -> None:
    parts = {part.heads: part for part in network.parts}
    assert list(parts) == [("big", "little"), ("big",), ("little",)]
    trunk, own = parts["big", "little"], parts["little",]
    assert [layer.operator for layer in trunk.layers] == ["Conv", "Relu", "Conv", "Relu"]
    assert (trunk.reads, own.reads) == ((), (0,))
    assert {layer.operator for layer in own.layers} >= {"Resize", "Concat", "Add"}
    assert all((layer.macs > 0) == (layer.operator == "Conv") for _, layer in network.layers)


def test_a_tensor_feeds_the_heads_behind_it(network: NetworkMap) -> None:
    assert network.heads_of["image"] == network.heads_of["s4"] == ("big", "little")
    assert network.heads_of["up"] == network.heads_of["small"] == ("little",)
    assert "up.weight" not in network.heads_of


def test_an_old_form_of_the_network_has_the_same_parts(network: NetworkMap) -> None:
    old = network_map(old_detector(), HEADS)
    assert [(part.heads, part.reads) for part in old.parts] == [
        (part.heads, part.reads) for part in network.parts
    ]


def test_parts_read_only_parts_of_more_heads() -> None:
    """Three heads, one in another's cone: the order holds whatever the graph."""
    b = Builder()
    b.node("Relu", ["image"], "a")
    b.node("Sigmoid", ["a"], "b")
    b.node("Add", ["a", "b"], "c")
    b.node("Mul", ["c", "image"], "d")
    model = b.model({"image": [1, 4]}, ["b", "c", "d"])
    found = network_map(model, [(one, one) for one in "bcd"])
    assert [part.heads for part in found.parts] == [("b", "c", "d"), ("c", "d"), ("d",)]
    assert [part.reads for part in found.parts] == [(), (0,), (1,)]


def test_a_head_that_the_network_lacks_is_an_error() -> None:
    with pytest.raises(GraphError, match="no tensor 'gone'"):
        network_map(detector(), [("head", "gone")])


def test_tensorrt_tells_layers_by_the_tensors_they_give_out(network: NetworkMap) -> None:
    layers = [
        EngineLayer(tensors=("c1", "s2"), precision="int8"),
        EngineLayer(tensors=("up",), precision="fp16"),
        EngineLayer(tensors=("joined", "elsewhere"), precision=None),
    ]
    ran = from_layers(network, layers)
    assert ran == {"conv_c1": "int8", "relu_s2": "int8", "resize_up": "fp16"}


def macs(network: NetworkMap, head: str, *but: str) -> int:
    cone = [layer for part, layer in network.layers if head in part.heads]
    return sum(layer.macs for layer in cone if layer.name not in but)


def share(integer: int, floats: tuple[str, ...] = (), **operators: dict[str, int]) -> IntegerShare:
    return IntegerShare(integer_macs=integer, total_macs=10**9, float_layers=floats, **operators)


def test_shares_tell_what_they_leave_no_choice_about(network: NetworkMap) -> None:
    little = share(
        macs(network, "little", "conv_c5"),
        ("conv_c5",),
        integer_operators={"Resize": 1, "Relu": 1},
        float_operators={"Concat": 1, "Relu": 2},
    )
    ran = from_shares(network, {"little": little})
    assert ran["conv_c5"] == "float"
    assert ran["conv_c4"] == ran["conv_c1"] == "int8"
    assert (ran["resize_up"], ran["concat_joined"]) == ("int8", "float")
    assert "relu_s2" not in ran, "some Relu ran on integers, and it is not told which"
    assert "conv_large" not in ran, "no share of that head is known"


def test_layers_that_do_not_add_up_are_not_told(network: NetworkMap) -> None:
    assert "conv_c1" not in from_shares(network, {"big": share(1)})
    assert from_shares(network, {"big": share(0)})["conv_c1"] == "float"
    assert from_shares(network, {}) == {}


def record(name: str, **measured: Any) -> Record:
    measurement = new_measurement(name="int8-shared-entropy", **measured)
    pass_ = Pass(precision=Precision.INT8, source=TableSource.SHARED, algorithm="entropy")
    return new_record(name, pass_, (measurement,), status=measurement.status)


def test_cells_that_ran_alike_are_one_way(network: NetworkMap) -> None:
    whole = {"big": share(macs(network, "big"))}
    records = [
        record("a", shares=whole),
        record("b", layers=LAYERS),
        record("c", shares=whole),
        record("d", status=Status.CRASHED, shares=whole),
        record("e"),
        record("f", layers=LAYERS.model_copy(update={"sha256": "cd" * 32}), shares=whole),
    ]
    told = {LAYERS.sha256: [EngineLayer(tensors=("c1",), precision="int8")]}
    report = layer_report(network, records, lambda stored: told.get(stored.sha256))
    names = [[cell.partition("/")[0] for cell in way.cells] for way in report.ways]
    assert names == [["a", "c", "f"], ["b"]], "where layers.json is gone, the shares tell"
    assert report.untold == ("e/cpu/int8-shared-entropy",)


def test_float_cells_ran_in_float_and_are_not_told(network: NetworkMap) -> None:
    one = record("a", shares={"big": share(macs(network, "big"))})
    float_ = one.model_copy(update={"pass_": Pass(precision=Precision.FP32)})
    report = layer_report(network, [float_], lambda _: None)
    assert (report.ways, report.untold) == ((), ())


def test_the_model_is_not_changed() -> None:
    model = detector()
    before = model.SerializeToString()
    network_map(model, HEADS)
    assert model.SerializeToString() == before
    assert isinstance(model, onnx.ModelProto)
