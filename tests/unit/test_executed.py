from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.unit import small_networks as networks
from tests.unit.small_networks import Builder, image
from trt_matrix.core.layers.executed import executed_share
from trt_matrix.core.network import shapes
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions
from trt_matrix.core.records import IntegerShare
from trt_matrix.core.tables.table import Provenance, Table

WHOLE = replace(ONNXRUNTIME, quantise_outputs=True)
"""Heads quantised too, as the recorded graphs were."""
RECORDED = Path(__file__).parents[1] / "data" / "executed"
INT8_ALLOWED = {"session.qdqisint8allowed": "1"}
HEADS = ["large", "small"]
COUNTS = shapes.macs(networks.detector())
SMALL = sum(count for name, count in COUNTS.items() if name != "conv_large")
LARGE = sum(COUNTS[name] for name in ("conv_c1", "conv_c2", "conv_large"))


def placed(options: PlacementOptions) -> onnx.ModelProto:
    _, names = calibration_model(networks.detector())
    table = Table(amax=dict.fromkeys(names, 4.0), provenance=Provenance(algorithm="made up"))
    return place(networks.detector(), table, options).model


def executed(model: onnx.ModelProto, folder: Path, *, optimised: bool = True) -> onnx.ModelProto:
    """The graph that the installed ONNX Runtime makes of `model`."""
    saved = str(folder / "executed.onnx")
    networks.run(model, {"image": image()}, optimised=optimised, saved=saved, config=INT8_ALLOWED)
    return onnx.load(saved)


def shares(graph: onnx.ModelProto) -> dict[str, IntegerShare]:
    return executed_share(graph, networks.detector(), HEADS)


def test_the_placement_for_onnxruntime_runs_on_integers_whole(tmp_path: Path) -> None:
    executed_shares = shares(executed(placed(WHOLE), tmp_path))
    assert {head: share.ratio for head, share in executed_shares.items()} == {
        "large": 1.0,
        "small": 1.0,
    }
    assert executed_shares["large"].total_macs == executed_shares["large"].integer_macs == LARGE
    assert executed_shares["small"].total_macs == SMALL
    assert executed_shares["small"].float_layers == ()
    assert executed_shares["small"].integer_operators["Concat"] == 1
    assert executed_shares["small"].integer_operators["Add"] == 1
    assert executed_shares["large"].integer_operators == {}


def test_heads_left_in_float_are_named(tmp_path: Path) -> None:
    options = PlacementOptions(fuse=False, int32_bias=True)
    executed_shares = shares(executed(placed(options), tmp_path))
    assert executed_shares["large"].float_layers == ("conv_large",)
    assert executed_shares["large"].integer_macs == LARGE - COUNTS["conv_large"]
    assert executed_shares["small"].float_layers == ("conv_small",)
    assert executed_shares["small"].ratio == (SMALL - COUNTS["conv_small"]) / SMALL


def test_a_float_network_has_no_integer_share_and_nothing_to_complain_of(tmp_path: Path) -> None:
    executed_shares = shares(executed(networks.detector(), tmp_path))
    for share in executed_shares.values():
        assert share.integer_macs == 0
        assert share.ratio == 0.0
        assert share.float_layers == ()
        assert share.integer_operators == {}
    assert executed_shares["small"].float_operators["Resize"] == 1


def test_without_optimisation_every_quantised_layer_ran_in_float(tmp_path: Path) -> None:
    executed_shares = shares(executed(placed(WHOLE), tmp_path, optimised=False))
    assert executed_shares["large"].float_layers == ("conv_c1", "conv_c2", "conv_large")
    assert executed_shares["large"].ratio == 0.0


def test_layers_whose_scales_were_folded_away_are_named(tmp_path: Path) -> None:
    """ONNX Runtime told to leave Q/DQ alone reorders the float weights and renames the kernels."""
    given, saved = placed(WHOLE), str(tmp_path / "executed.onnx")
    config = {"session.disable_quant_qdq": "1"}
    networks.run(given, {"image": image()}, optimised=True, saved=saved, config=config)
    graph = onnx.load(saved)
    assert shares(graph)["large"].ratio == 0.0
    executed_shares = executed_share(graph, given, HEADS)
    assert executed_shares["large"].float_layers == ("conv_c1", "conv_c2", "conv_large")
    assert executed_shares["small"].ratio == 0.0


def test_an_excluded_layer_is_float_but_not_silently(tmp_path: Path) -> None:
    options = PlacementOptions(
        fuse=False, int32_bias=True, quantise_outputs=True, exclude=frozenset({"conv_c4"})
    )
    share = shares(executed(placed(options), tmp_path))["small"]
    assert share.integer_macs == SMALL - COUNTS["conv_c4"]
    assert share.float_layers == ()


@pytest.mark.parametrize("version", ["1.18.1", "1.26.0"])
def test_older_versions_name_their_nodes_otherwise(version: str) -> None:
    graph = onnx.load(RECORDED / f"placed-for-ort-ran-by-ort-{version}.onnx")
    executed_shares = shares(graph)
    assert {head: share.ratio for head, share in executed_shares.items()} == {
        "large": 1.0,
        "small": 1.0,
    }
    assert executed_shares["small"].integer_operators == {
        "Add": 1,
        "Concat": 1,
        "LeakyRelu": 1,
        "Resize": 1,
    }
    assert executed_shares["small"].float_operators == {"Relu": 3}


@pytest.mark.parametrize("version", ["1.18.1", "1.26.0"])
def test_convolutions_fused_with_their_activation_stay_in_float(version: str) -> None:
    graph = onnx.load(RECORDED / f"placed-for-trt-ran-by-ort-{version}.onnx")
    executed_shares = shares(graph)
    assert "FusedConv" in networks.operators(graph)
    assert executed_shares["large"].float_layers == ("conv_c1", "conv_c2", "conv_large")
    assert executed_shares["large"].ratio == 0.0


def test_the_network_that_was_given_serves_as_well_as_the_float_one() -> None:
    graph = onnx.load(RECORDED / "placed-for-ort-ran-by-ort-1.18.1.onnx")
    assert executed_share(graph, placed(WHOLE), HEADS) == shares(graph)
    graph = onnx.load(RECORDED / "placed-for-trt-ran-by-ort-1.26.0.onnx")
    # Only the network that was given says that nothing quantises the heads' outputs.
    for head, share in executed_share(graph, placed(TENSORRT), HEADS).items():
        assert share.placed_float == (f"conv_{head}",)
        assert share.placed_float_macs == COUNTS[f"conv_{head}"]
        float_layers = (*share.float_layers, *share.placed_float)
        merged = share.model_copy(
            update={"float_layers": float_layers, "placed_float": (), "placed_float_macs": 0}
        )
        assert merged == shares(graph)[head]


def test_linear_resizing_left_the_integers_with_1_27(tmp_path: Path) -> None:
    """Up to 1.26 a Resize between equal scales runs on integers (microsoft/onnxruntime#28448)."""
    before = shares(onnx.load(RECORDED / "placed-for-ort-ran-by-ort-1.26.0.onnx"))["small"]
    now = shares(executed(placed(WHOLE), tmp_path))["small"]
    assert (before.integer_operators.get("Resize"), before.float_operators.get("Resize")) == (
        1,
        None,
    )
    assert (now.integer_operators.get("Resize"), now.float_operators.get("Resize")) == (None, 1)


def test_gemm_and_matmul(tmp_path: Path) -> None:
    b = Builder()
    b.node("Flatten", ["image"], "flat")
    b.weight("g", b.random.normal(0, 0.1, (10, 768)).astype("f4"))
    b.node("Gemm", ["flat", "g", b.weight("gb", np.ones(10, "f4"))], "h", transB=1)
    b.weight("m", b.random.normal(0, 0.3, (10, 5)).astype("f4"))
    b.node("MatMul", ["h", "m"], "y")
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    amax = dict.fromkeys(("image", "flat", "h", "y"), 4.0)
    table = Table(amax=amax, provenance=Provenance(algorithm="made up"))
    for options in (ONNXRUNTIME, PlacementOptions(fuse=False, int32_bias=True)):
        graph = executed(place(model, table, options).model, tmp_path)
        share = executed_share(graph, model, ["y"])["y"]
        assert share.total_macs == 10 * 768 + 10 * 5
        assert share.ratio == 1.0, networks.operators(graph)


def test_layers_that_share_a_weight_are_told_apart(tmp_path: Path) -> None:
    b = Builder()
    b.conv("image", "a", 3, 3)
    b.node("Conv", ["a", "a.weight", "a.bias"], "y", pads=[1] * 4)
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    amax = dict.fromkeys(("image", "a", "y"), 4.0)
    table = Table(amax=amax, provenance=Provenance(algorithm="made up"))
    options = PlacementOptions(fuse=False, int32_bias=True)
    graph = executed(place(model, table, options).model, tmp_path)
    share = executed_share(graph, model, ["y"])["y"]
    assert share.float_layers == ("conv_y",)
    assert share.ratio == 0.5


def test_shape_arithmetic_is_not_counted(tmp_path: Path) -> None:
    b = Builder()
    b.node("Shape", ["c"], "s")
    b.nodes.insert(0, b.nodes.pop())
    b.conv("image", "c", 3, 4)
    b.nodes.insert(0, b.nodes.pop())
    b.node("Slice", ["s", b.weight("zero", np.array([0])), b.weight("one", np.array([1]))], "n")
    b.node("Concat", ["n", b.weight("rest", np.array([-1]))], "shape", axis=0)
    b.node("Reshape", ["c", "shape"], "r")
    b.node("Softmax", ["r"], "y")
    model = b.model({"image": ["n", 3, 16, 16]}, ["y"])
    share = executed_share(executed(model, tmp_path, optimised=False), model, ["y"])["y"]
    assert share.float_operators == {"Softmax": 1}


def test_a_head_without_layers_of_which_nothing_ran_on_integers_has_ratio_0(tmp_path: Path) -> None:
    b = Builder()
    b.node("Relu", ["image"], "y")
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    assert executed_share(executed(model, tmp_path), model, ["y"])["y"].ratio == 0.0


def test_a_head_without_layers_that_ran_on_integers_has_no_ratio() -> None:
    share = IntegerShare(
        integer_macs=0, total_macs=0, float_layers=(), integer_operators={"MaxPool": 1}
    )
    assert share.ratio is None


def test_an_unknown_head_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no tensor 'tiny'"):
        executed_share(networks.detector(), networks.detector(), ["tiny"])
