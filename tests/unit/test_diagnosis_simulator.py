"""Whatever is quantised, segments give the bits of the whole network that the placement writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.unit import diagnoses
from tests.unit import small_networks as networks
from trt_matrix.core.diagnosis.groups import groups
from trt_matrix.core.diagnosis.quantisers import (
    DiagnosisError,
    QuantiserPair,
    State,
    excluding,
    quantised,
)
from trt_matrix.core.diagnosis.segments import segments
from trt_matrix.core.diagnosis.tensors import clamps
from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions, simulation_of
from trt_matrix.diagnosis.simulator import Simulator, whole_outputs
from trt_matrix.diagnosis.theory import theory

PLACEMENTS = {
    "int8 outputs": replace(ONNXRUNTIME, quantise_outputs=True),
    "uint8": replace(ONNXRUNTIME, unsigned_activations=True),
    "onnxruntime": ONNXRUNTIME,
    "tensorrt": TENSORRT,
    "per tensor": replace(ONNXRUNTIME, per_channel_weights=False),
    "fused, outputs too": replace(TENSORRT, quantise_outputs=True),
}


def chained() -> onnx.ModelProto:
    """A head that a further layer reads, an operator with two outputs, and an If that reads from outside."""
    b = networks.Builder(3)
    b.conv("image", "c1", 3, 8)
    b.nodes.append(helper.make_node("Split", ["c1"], ["left", "right"], name="split", axis=1))
    b.conv("left", "first", 4, 4, name="first")
    b.conv("first", "c2", 4, 4, name="second")
    value = helper.make_tensor_value_info("branch", TensorProto.FLOAT, None)
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["c2", "right"], ["branch"], name=f"{name}_node")],
            name,
            [],
            [value],
        )
        for name, op in (("then", "Add"), ("else", "Mul"))
    }
    b.weight("yes", np.array(True))
    b.node("If", ["yes"], "chosen", **branches)
    b.conv("chosen", "last", 4, 2, name="third")
    return b.model({"image": [1, 3, 16, 16]}, ["first", "last"])


NETWORKS = {
    "detector": networks.detector(),
    "old": networks.old_detector(),
    "three heads": diagnoses.three_heads(),
    "chained": chained(),
}


def made(
    name: str, options: PlacementOptions
) -> tuple[onnx.ModelProto, diagnoses.Table, Simulator, list[str]]:
    model = canonical(NETWORKS[name])
    table = diagnoses.minmax(model, diagnoses.images(2))
    heads = [value.name for value in model.graph.output]
    return model, table, Simulator(quantised(model, table, options), heads), heads


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_any_layers_in_float_give_the_bits_of_the_placed_network(
    network: str, placement: str
) -> None:
    options = PLACEMENTS[placement]
    model, table, simulator, heads = made(network, options)
    image = diagnoses.images(1, seed=5)
    leaving = excluding(simulator.found, table, options)
    layers = sorted(simulator.found.state.layers)
    sets: tuple[list[str], ...] = ([], layers[:1], layers[1:], layers[::2], layers)
    simulator = simulator.covering([leaving(frozenset(chosen)) for chosen in sets])
    floats = simulator.base(image, State())
    integers = simulator.base(image, simulator.found.state)
    for chosen in sets:
        exclude = frozenset(chosen)
        placed = place(model, table, replace(simulation_of(options), exclude=exclude))
        wanted = whole_outputs(placed.model, image, heads)
        state = leaving(exclude)
        for array in (
            simulator.run(image, state),
            simulator.outputs(state, floats),
            simulator.outputs(state, integers),
        ):
            for head in heads:
                np.testing.assert_array_equal(array[head], wanted[head], err_msg=str(chosen))


@settings(max_examples=40)
@given(data=st.data())
def test_what_did_not_change_is_what_it_would_be_computed_anew(data: st.DataObject) -> None:
    model, table, simulator, heads = CHAINED
    every = simulator.found.state
    del model, table

    def state() -> State:
        pairs = data.draw(st.sets(st.sampled_from(sorted(every.pairs))))
        layers = data.draw(st.sets(st.sampled_from(sorted(every.layers))))
        return State(frozenset(pairs), frozenset(layers))

    image = diagnoses.images(1, seed=9)
    base = simulator.base(image, state())
    wanted = state()
    fresh, reused = simulator.run(image, wanted), simulator.outputs(wanted, base)
    for head in heads:
        np.testing.assert_array_equal(fresh[head], reused[head])


CHAINED = made("chained", ONNXRUNTIME)


def test_an_unchanged_head_is_the_very_array_of_the_base() -> None:
    _, _, simulator, _ = made("three heads", ONNXRUNTIME)
    base = simulator.base(diagnoses.images(1), State())
    found = simulator.outputs(State(frozenset(), frozenset(["a"])), base)
    before = simulator.heads_of(base)
    assert found["head_b"] is before["head_b"]
    assert found["head_a"] is not before["head_a"]
    assert not np.array_equal(found["head_a"], before["head_a"])


@pytest.mark.parametrize("network", NETWORKS)
def test_segments_hold_every_node_once_and_wait_for_nothing_behind_them(network: str) -> None:
    model = canonical(NETWORKS[network])
    found = segments(model, {"c1"})
    assert sorted(index for segment in found for index in segment.nodes) == list(
        range(len(model.graph.node))
    )
    known = {info.name for info in graph.inputs(model)}
    for segment in found:
        assert set(segment.reads) <= known
        assert len(segment.layers) <= 1
        known.update(segment.gives)
    assert {value.name for value in model.graph.output} <= known


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_quantiser_is_in_exactly_one_group(network: str, placement: str) -> None:
    _, _, simulator, _ = made(network, PLACEMENTS[placement])
    every = simulator.found.state
    found = groups(simulator.found)
    assert sorted(name for group in found for name in group.tensors) == sorted(every.tensors)
    assert sorted(name for group in found for name in group.layers) == sorted(every.layers)
    assert len({group.name for group in found}) == len(found)


def test_groups_are_called_after_the_layer_the_join_or_the_input() -> None:
    _, _, simulator, _ = made("detector", ONNXRUNTIME)
    found = {group.name: group for group in groups(simulator.found)}
    assert found["image"].operator == "input"
    # The convolution with its activation; the branch that only the concatenation reads moves with it.
    assert found["conv_c2"].tensors == ("c2", "s4")
    assert set(found["concat_joined"].tensors) >= {"joined", "up"}
    assert found["conv_c3"].layers == ("conv_c3",)


def test_a_tensor_inside_a_segment_cannot_be_quantised_unasked() -> None:
    _, _, simulator, _ = made("three heads", TENSORRT)
    inside = QuantiserPair("t1", 0.1, 0, "int8")
    assert "t1" not in simulator.tensors
    with pytest.raises(DiagnosisError, match="'t1'"):
        simulator.run(diagnoses.images(1), State(frozenset([inside])))


def test_an_operator_that_onnx_runtime_has_not_is_told_by_name() -> None:
    b = networks.Builder()
    b.conv("image", "c1", 3, 8)
    b.node("Mystery", ["c1"], "m", domain="nobody", name="mystery")
    b.conv("m", "head", 8, 2)
    model = b.model({"image": [1, 3, 16, 16]}, ["c1"])
    model.graph.output[0].name = "head"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model = graph.named(model)
    table = diagnoses.Table(
        amax={"image": 1.0, "m": 1.0, "head": 1.0},
        provenance=diagnoses.Provenance(algorithm="minmax"),
    )
    with pytest.raises(DiagnosisError, match="Mystery"):
        Simulator(quantised(canonical(model), table, ONNXRUNTIME), ["head"])


@pytest.mark.parametrize(
    ("zero", "dtype", "limits"), [(0, "int8", (-128.5, 127.5)), (0, "uint8", (-0.5, 255.5))]
)
def test_what_a_pair_can_hold_ends_half_a_step_beyond(
    zero: int, dtype: str, limits: tuple[float, float]
) -> None:
    pair = QuantiserPair("x", 0.5, zero, dtype)
    assert pair.limits == tuple(0.5 * limit for limit in limits)


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_tensor_on_its_own_is_quantised_as_the_operators_do(
    unsigned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors, clipping and ranges of single tensors, held against ONNX Runtime and numpy, image by image."""
    monkeypatch.setattr("trt_matrix.diagnosis.theory.BLOCK", 100)  # blocks that end inside a tensor
    options = replace(ONNXRUNTIME, unsigned_activations=unsigned)
    factors = {"b_in": 0.3, "b_mid": 0.3, "image": 0.2}
    one = diagnoses.subject(
        diagnoses.three_heads(),
        tmp_path,
        factors=factors,
        options=options,
        data=diagnoses.images(5),
    )
    simulator = diagnoses.simulator(one)
    theories = theory(one, simulator, range(5), lambda _: None)
    bases = [simulator.base(one.image(index), State()).raw for index in range(5)]
    for pair in simulator.found.state.pairs:
        found = theories["activation", pair.tensor]
        behind = clamps(one.model).get(pair.tensor)
        error = clipped = elements = 0.0
        amax = 0.0
        for raw in bases:
            value = raw[pair.tensor]
            if behind:
                value = np.maximum(value, 0)
            error += float(((simulator.quantise(pair, value) - value).astype("f8") ** 2).sum())
            clipped += np.count_nonzero((value < pair.limits[0]) | (value > pair.limits[1]))
            elements += value.size
            amax = max(amax, float(np.abs(value).max()))
        assert found.elements == elements
        assert found.mse == pytest.approx(error / elements, rel=1e-5)
        assert found.clipped_share == pytest.approx(clipped / elements, abs=1e-12)
        assert found.amax == amax
        assert found.name == pair.tensor
    assert {theory.name for theory in theories.values() if "clipped" in theory.causes} == {
        "b_in",
        "b_mid",
        "image",
    }


def test_a_float_network_that_overflows_is_refused_with_its_tensor(tmp_path: Path) -> None:
    one = diagnoses.subject(diagnoses.three_heads(), tmp_path, data=diagnoses.images(2))
    broken = replace(one, images=np.where(one.images > 2, np.inf, one.images).astype("f4"))
    with pytest.raises(DiagnosisError, match="is NaN or infinite in the float network"):
        theory(broken, diagnoses.simulator(one), [0, 1], lambda _: None)
