"""Names of nodes, copies and variants: taken where each means one tensor, never where it may mean two."""

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import small_networks as networks
from tests.unit.small_networks import Builder
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.tables.names import Naming, naming
from trt_matrix.core.tables.node_names import other_names


def chain(*, norm: bool = False, copy: bool = False, names: bool = True) -> onnx.ModelProto:
    """Tensors are numbers, as old exporters call them; nodes have names."""
    b = Builder(1)
    x, number = "image", 10
    for index in range(6):
        y = b.conv(x, str(number), 3 if index == 0 else 4, 4, name=f"conv{index}")
        if norm:
            for part, value in (("s", 1.5), ("b", 0.1), ("m", 0.0), ("v", 1.0)):
                b.weight(f"{part}{index}", [value] * 4)
            b.weights[-4:] = [onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight).astype("f4"), weight.name) for weight in b.weights[-4:]]  # fmt: skip
            y = b.node("BatchNormalization", [y, *(f"{part}{index}" for part in "sbmv")], str(number + 1), name=f"bn{index}")  # fmt: skip
        x = b.node("Relu", [y], str(number + 2), name=f"conv{index}/relu")
        if copy:
            x = b.node("Identity", [x], f"copy{index}")
        number += 3
    b.conv(x, "head", 4, 4, name="last")
    model = b.model({"image": [1, 3, 16, 16]}, ["head"])
    if not names:
        for node in model.graph.node:
            node.name = ""
    return model


def of(
    theirs: list[str],
    model: onnx.ModelProto,
    variants: tuple[onnx.ModelProto, ...] = (),
    least: float = 0.9,
) -> Naming:
    _, wanted = calibration_model(model)
    return naming(theirs, wanted, {}, least, other_names(model, variants, wanted))


MADE = {f"conv{index}": str(10 + 3 * index) for index in range(6)}
RELUS = {f"conv{index}/relu": str(12 + 3 * index) for index in range(6)}
NODES = {**MADE, **RELUS, "last": "head"}


@pytest.mark.parametrize(
    "called",
    [
        lambda name: name,
        lambda name: f"{name}:0",
        lambda name: f"{name}_output_0",
        lambda name: f"{name}_output",
        lambda name: f"scope/{name}:0",
        lambda name: f"yolov3/{name}",
    ],
)
def test_names_of_nodes_are_those_of_what_they_give(called: object) -> None:
    theirs = {called(name): tensor for name, tensor in NODES.items()}  # type: ignore[operator]
    found = of(["image", *theirs], chain())
    assert found.names == theirs
    assert found.by_nodes
    assert found.unmapped == ()


def test_a_fused_layer_gives_what_its_last_node_gives() -> None:
    theirs = {f"conv{index} + conv{index}/relu": str(12 + 3 * index) for index in range(6)}
    found = of(["image", "last", *theirs], chain(), least=0.5)
    assert found.names == {**theirs, "last": "head"}
    assert set(found.unmapped) == set(MADE.values())


def test_a_folded_batch_normalisation_is_found_under_either_name() -> None:
    """The convolution's own output needs no range: what is quantised is behind the normalisation."""
    model = chain(norm=True)
    folded = {f"conv{index}": str(11 + 3 * index) for index in range(6)}
    both = {**RELUS, "last": "head"}
    assert of(["image", *folded, *both], model).names == {**folded, **both}
    norms = {f"bn{index}": tensor for index, tensor in enumerate(folded.values())}
    found = of(["image", *folded, *norms, *both], model)
    assert found.names == {**norms, **both}, "that of the normalisation is the surer one"


def test_two_names_of_one_tensor_are_taken_for_neither() -> None:
    theirs = ["image", *NODES, "conv3:0"]
    found = of(theirs, chain(), least=0.8)
    assert "19" in found.unmapped
    assert not {"conv3", "conv3:0"} & set(found.names)


def test_a_copy_is_the_tensor_that_it_copies() -> None:
    model = chain(copy=True)
    _, wanted = calibration_model(model)
    assert "copy2" in wanted, "a copy that is read needs a range of its own"
    b = Builder(2)
    b.node("Dropout", [b.node("Relu", [b.conv("image", "c", 3, 4)], "r")], "d", name="drop")
    b.node("Softmax", ["d"], "y")
    dropped = b.model({"image": [1, 3, 16, 16]}, ["y"])
    found = of(["image", "c", "d"], dropped, least=0.5)
    assert found.names == {"d": "r"}


def test_a_variant_says_what_its_tensors_are() -> None:
    model = chain()
    variant = onnx.ModelProto()
    variant.CopyFrom(model)
    for node in variant.graph.node:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                if name.isdigit():
                    field[index] = f"v{name}"
    theirs = {f"v{tensor}": tensor for tensor in (*MADE.values(), *RELUS.values())}
    found = of(["image", "head", *theirs], model, (variant,))
    assert found.names == theirs
    assert of(["image", "head", *theirs], chain(names=False)).by_nodes is False
    assert of(["image", "head", "v10"], model, (variant,)).names == {}, "one alone is not enough"


def test_too_few_names_of_nodes_are_chance() -> None:
    found = of(["image", "conv0", "conv3", "other", "another"], chain())
    assert found.names == {}
    assert not found.by_nodes


def test_numbers_mean_nothing_and_ours_mean_themselves() -> None:
    model = chain()
    for node, name in zip(model.graph.node, ["12", "10", "13", "15"], strict=False):
        node.name = name
    _, wanted = calibration_model(model)
    (first, *_) = other_names(model, (), wanted)
    assert not any(name.isdigit() for name in first)
    assert not set(first) & set(wanted)


def test_nodes_without_names_or_with_one_name_say_nothing() -> None:
    for model in (chain(names=False), networks.detector()):
        _, wanted = calibration_model(model)
        for node in model.graph.node:
            node.name = "same"
        tiers = other_names(model, (), wanted)
        assert "same" not in tiers[0]


ATOMS = st.sampled_from(["image", "head", "10", "12", *NODES, "conv0:0", "conv0 + conv0/relu", "x/conv1", " + ", "", "conv9"])  # fmt: skip


@settings(max_examples=150)
@given(st.lists(ATOMS, unique=True, max_size=20), st.floats(0, 1))
def test_whatever_they_are_called_no_two_become_one(theirs: list[str], least: float) -> None:
    model = chain()
    _, wanted = calibration_model(model)
    found = naming(theirs, wanted, {}, least, other_names(model, (), wanted))
    assert set(found.names) <= set(theirs)
    assert set(found.names.values()) <= set(wanted)
    assert len(set(found.names.values())) == len(found.names)
    assert not set(found.names.values()) & set(theirs), "what is called alike stays"
    assert set(found.unmapped) == set(wanted) - set(theirs) - set(found.names.values())
