"""Networks that end in suppression or ranking: refused with what to write, cut on request, the same boxes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import TensorProto, helper

from tests.unit.experiments import changed, checked, wrong
from tests.unit.small_networks import Builder
from trt_matrix.commands import init
from trt_matrix.core.boxes.nms import Boxes, suppress
from trt_matrix.core.network import graph, loading
from trt_matrix.core.network.cutting import cut
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.tail_limits import limits

CELLS, CLASSES, KEPT = 64, 3, 8

Output = tuple[str, int, Sequence[Any]]


class Detector(Builder):
    """A trunk that gives `boxes`, (1, 64, 4) as corners in pixels, and `scores`, (1, 64, 3); then a tail."""

    def __init__(self) -> None:
        super().__init__()
        self.node("Relu", [self.conv("image", "c1", 3, 8, strides=[2, 2])], "stem")
        self.conv("stem", "c2", 8, 4 + CLASSES, k=1)
        self.weight("rows", np.array([1, 4 + CLASSES, CELLS]))
        self.node("Reshape", ["c2", "rows"], "columns")
        self.node("Transpose", ["columns"], "raw", perm=[0, 2, 1])
        for name, value in (("0", 0), ("2", 2), ("4", 4), ("7", 7), ("kept", KEPT)):
            self.weight(name, np.array([value]))
        for name, first, last in (("xy", "0", "2"), ("wh", "2", "4"), ("logits", "4", "7")):
            self.node("Slice", ["raw", first, last, "2"], name)
            self.node("Sigmoid", [name], {"logits": "scores"}.get(name, f"{name}_share"))
        for name, factor in (("sixteen", 16.0), ("half", 3.0), ("iou", 0.4), ("least", 0.3)):
            self.weight(name, np.array([factor], np.float32))
        self.node("Mul", ["xy_share", "sixteen"], "centre")
        self.node("Mul", ["wh_share", "half"], "reach")
        self.node("Sub", ["centre", "reach"], "low")
        self.node("Add", ["centre", "reach"], "high")
        self.node("Concat", ["low", "high"], "boxes", axis=2)

    def several(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **more: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_0", **more))

    def ending(self, *outputs: Output) -> onnx.ModelProto:
        model = self.model({"image": [1, 3, 16, 16]}, ["boxes"])
        del model.graph.output[:]
        model.graph.output.extend(helper.make_tensor_value_info(*output) for output in outputs)
        return model


def suppressed(*, gathered: bool) -> onnx.ModelProto:
    detector = Detector()
    detector.node("Transpose", ["scores"], "by_class", perm=[0, 2, 1])
    detector.weight("most", np.array([CELLS]))
    detector.several(
        "NonMaxSuppression", ["boxes", "by_class", "most", "iou", "least"], ["selected"]
    )
    if not gathered:
        return detector.ending(("selected", TensorProto.INT64, ["found", 3]))
    detector.weight("which", np.array(2))
    detector.node("Gather", ["selected", "which"], "place", axis=1)
    detector.node("Gather", ["boxes", "place"], "dets", axis=1)
    return detector.ending(("dets", TensorProto.FLOAT, [1, "found", 4]))


def plugin(operator: str = "EfficientNMS_TRT", domain: str = "") -> onnx.ModelProto:
    detector = Detector()
    outputs = ["num_dets", "det_boxes", "det_scores", "det_classes"]
    detector.several(operator, ["boxes", "scores"], outputs, domain=domain, plugin_version="1")
    model = detector.ending(
        ("num_dets", TensorProto.INT32, [1, 1]),
        ("det_boxes", TensorProto.FLOAT, [1, 10, 4]),
        ("det_scores", TensorProto.FLOAT, [1, 10]),
        ("det_classes", TensorProto.INT32, [1, 10]),
    )
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def best_rows() -> onnx.ModelProto:
    detector = Detector()
    detector.node("ReduceMax", ["scores"], "best", axes=[2], keepdims=0)
    detector.several("TopK", ["best", "kept"], ["top", "places"], axis=1)
    detector.node("Unsqueeze", ["places", "2"], "column")
    detector.weight("wide", np.array([1, KEPT, 4]))
    detector.node("Expand", ["column", "wide"], "index")
    detector.node("GatherElements", ["boxes", "index"], "dets", axis=1)
    return detector.ending(
        ("dets", TensorProto.FLOAT, [1, KEPT, 4]), ("top", TensorProto.FLOAT, [1, KEPT])
    )


PLUGINS = [
    ("EfficientNMS_TRT", ""), ("EfficientNMS_TRT", "TRT"), ("BatchedNMSDynamic_TRT", ""),
    ("TRTBatchedNMS", "mmdeploy"),
]  # fmt: skip


def put(matrix: Path, model: onnx.ModelProto) -> Path:
    (matrix.parent / "tiny.onnx").write_bytes(model.SerializeToString())
    return matrix


def run(model: onnx.ModelProto, seed: int, *names: str) -> list[np.ndarray]:
    image = np.random.default_rng(seed).normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: list[np.ndarray] = session.run(list(names), {"image": image})
    return found


# What plan says


@pytest.mark.parametrize(("operator", "domain"), PLUGINS)
def test_a_plugin_is_told_with_what_to_write_in_its_place(
    matrix: Path, operator: str, domain: str
) -> None:
    put(matrix, plugin(operator, domain))
    (problem,) = wrong(matrix, changed(heads={"det_boxes": {}}))
    assert f"is made by {operator} (node {operator}_0), a plugin of TensorRT" in problem
    written = problem.split("`")[-2]
    heads = yaml.safe_load(written)["heads"]
    assert heads == {"raw-1": {"output": "boxes"}, "raw-2": {"output": "scores"}}
    assert wrong(matrix, changed(heads=heads)) == []
    found = checked(matrix)
    assert [output.name for output in graph.outputs(found.model)] == ["boxes", "scores"]
    assert operator not in {node.op_type for node in found.model.graph.node}
    assert all(node.domain == "" for node in found.model.graph.node)


def test_rows_without_a_fixed_number_are_told(matrix: Path) -> None:
    put(matrix, suppressed(gathered=True))
    (problem,) = wrong(matrix, changed(heads={"dets": {}}))
    assert "has as many rows as NonMaxSuppression (node NonMaxSuppression_0) leaves" in problem
    assert "`heads: {raw-1: {output: boxes}, raw-2: {output: by_class}}`" in problem


def test_positions_alone_are_told_with_the_tensors_before(matrix: Path) -> None:
    put(matrix, suppressed(gathered=False))
    (problem,) = wrong(matrix, changed(heads={"selected": {}}))
    assert "raw-2: {output: by_class}" in problem


def test_a_fixed_number_of_rows_can_run(matrix: Path) -> None:
    assert limits(best_rows(), {"dets": "dets", "top": "top"}) == {}
    put(matrix, best_rows())
    assert wrong(matrix, changed(heads={"dets": {}})) == []


def test_a_head_beside_the_tail_is_free_of_it() -> None:
    assert limits(suppressed(gathered=True), {"boxes": "boxes", "scores": "scores"}) == {}
    assert list(limits(plugin(), {"boxes": "boxes", "det_boxes": "det_boxes"})) == ["det_boxes"]


def test_an_operator_that_is_no_plugin_is_no_valid_network_as_before() -> None:
    content = plugin("Reluu").SerializeToString()
    with pytest.raises(GraphError, match="No Op registered for Reluu"):
        loading.load(content, "x.onnx")


def test_a_loaded_network_keeps_its_plugins_as_they_were() -> None:
    content = plugin().SerializeToString()
    assert loading.load(content, "x.onnx").SerializeToString() == content


# init


@pytest.mark.parametrize(
    ("model", "heads"),
    [
        (suppressed(gathered=False), ["boxes", "by_class"]),
        (suppressed(gathered=True), ["boxes", "by_class"]),
        (plugin(), ["boxes", "scores"]),
        (best_rows(), ["dets", "top"]),
    ],
)
def test_init_cuts_where_it_must(matrix: Path, model: onnx.ModelProto, heads: list[str]) -> None:
    put(matrix, model)
    text = init.text(Path("tiny.onnx"), model)
    assert list(yaml.safe_load(text)["heads"]) == heads
    assert ("cut in front of that end" in text) == (heads[0] == "boxes")
    assert wrong(matrix, changed(heads={head: {} for head in heads})) == []


# The same boxes


def test_boxes_of_the_cut_network_are_those_that_its_own_suppression_left() -> None:
    whole = suppressed(gathered=False)
    front = cut(whole, ["boxes", "by_class"])
    kept = 0
    for seed in range(4):
        (selected,) = run(whole, seed, "selected")
        boxes, by_class = (array[0] for array in run(front, seed, "boxes", "by_class"))
        classes, cells = np.nonzero(by_class > 0.3)
        found = suppress(
            Boxes(
                boxes[cells].astype(np.float64), by_class[classes, cells], classes,
                np.zeros(len(cells), np.intp),
            ),
            iou_threshold=0.4, max_candidates=10_000, max_detections=10_000,
        )  # fmt: skip
        theirs = {(int(label), *boxes[cell].tolist()) for _, label, cell in selected}
        ours = {
            (int(label), *box)
            for label, box in zip(found.classes, found.corners.tolist(), strict=True)
        }
        assert ours == theirs
        assert len(ours) == len(selected) < len(cells)  # something was suppressed
        kept += len(ours)
    assert kept > 20


def test_rows_of_the_cut_network_are_those_that_its_own_ranking_left() -> None:
    whole = best_rows()
    dets, top = run(whole, 0, "dets", "top")
    boxes, best = run(cut(whole, ["boxes", "best"]), 0, "boxes", "best")
    order = np.argsort(-best[0], kind="stable")[:KEPT]
    np.testing.assert_array_equal(boxes[0][order], dets[0])
    np.testing.assert_array_equal(best[0][order], top[0])
