"""`init` names the family of published networks by shapes and names, and says where these do not decide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.unit.decodings import told_of
from tests.unit.small_networks import Builder
from trt_matrix.commands.init import text
from trt_matrix.core.boxes.registry import recognised
from trt_matrix.core.boxes.styles import SeenOutput
from trt_matrix.core.network.shapes import inferred
from trt_matrix.core.network.tails import parts as parts_of
from trt_matrix.core.network.tails import tails

Shape = tuple[int, ...]
Tails = Mapping[str, frozenset[str]]

RAW: frozenset[str] = frozenset()
SQUASHED = frozenset({"Sigmoid"})
SOFTMAX = frozenset({"Softmax"})
DECODED = frozenset({"Exp", "Mul", "Add"})
MADE = frozenset({"Mul", "Add", "Sub", "Sigmoid", "Softmax"})
"""What YOLOv8 has behind its convolutions."""


def seen(shapes: Mapping[str, Shape], behind: Tails | None = None) -> list[SeenOutput]:
    return [
        SeenOutput(name=name, shape=shape, tail=None if behind is None else behind[name])
        for name, shape in shapes.items()
    ]


def per_stride(
    size: tuple[int, int], strides: Sequence[int], parts: Mapping[str, int], anchors: int = 1
) -> dict[str, Shape]:
    """{part}_{stride} → (rows, columns), part by part."""
    return {
        f"{part}_{stride}": (-(-size[0] // stride) * -(-size[1] // stride) * anchors, columns)
        for part, columns in parts.items()
        for stride in strides
    }


def numbered(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The same outputs, called by numbers as PyTorch calls them."""
    return {str(440 + number): shape for number, shape in enumerate(shapes.values())}


N3, N4 = (8, 16, 32), (8, 16, 32, 64)
S320, S416, S640 = (320, 320), (416, 416), (640, 640)
NANODET = per_stride(S320, N3, {"cls_pred_stride": 80, "dis_pred_stride": 32})
INTEGRATED = per_stride(S320, N3, {"cls_pred_stride": 80, "dis_pred_stride": 4})
PLUS = per_stride(S416, N4, {"cls_pred_stride": 80, "dis_pred_stride": 32})
SCRFD = per_stride(S640, N3, {"score": 1, "bbox": 4, "kps": 10}, anchors=2)
YUNET = per_stride(S640, N3, {"cls": 1, "obj": 1, "bbox": 4, "kps": 10})
RETINAFACE: dict[str, Shape] = {"loc": (16800, 4), "conf": (16800, 2), "landms": (16800, 10)}
ULTRA: dict[str, Shape] = {"scores": (4420, 2), "boxes": (4420, 4)}
CENTERFACE: dict[str, Shape] = {
    "537": (1, 80, 80), "538": (2, 80, 80), "539": (2, 80, 80), "540": (10, 80, 80),
}  # fmt: skip
MAPS_85: dict[str, Shape] = {"a": (85, 52, 52), "b": (85, 26, 26), "c": (85, 13, 13)}
DETR: dict[str, Shape] = {"pred_logits": (100, 92), "pred_boxes": (100, 4)}

CLEAR: list[tuple[dict[str, Shape], tuple[int, int], Tails | None, dict[str, Any]]] = [
    (NANODET, S320, None, {"style": "nanodet", "classes": 80}),
    (INTEGRATED, S320, None, {"style": "nanodet", "classes": 80, "bins": 1}),
    (PLUS, S416, None, {"style": "nanodet-plus", "classes": 80}),
    ({"output": (2125, 112)}, S320, None, {"style": "nanodet-plus", "classes": 80}),
    ({"output": (3598, 112)}, S416, None, {"style": "nanodet-plus", "classes": 80}),
    ({"output": (3598, 112)}, S416, {"output": SQUASHED}, {"style": "nanodet-plus", "classes": 80}),
    ({"output": (2100, 112)}, S320, {"output": SQUASHED | {"Mul"}}, {"style": "nanodet", "classes": 80}),
    ({"output": (2100, 112)}, S320, {"output": RAW}, {"style": "nanodet", "classes": 80, "activation": "sigmoid"}),
    ({"output": (3549, 124)}, S416, {"output": SQUASHED}, {"style": "nanodet", "classes": 80, "bins": 11}),
    ({"output": (3549, 85)}, S416, {"output": SQUASHED | {"Exp", "Mul"}}, {"style": "yolov5-decoded", "classes": 80, "layout": "boxes"}),
    ({"output": (8400, 12)}, S640, {"output": SQUASHED}, {"style": "yolox", "classes": 7}),
    (YUNET, S640, None, {"style": "yunet"}),
    (numbered(YUNET), S640, None, {"style": "yunet"}),
    (SCRFD, S640, None, {"style": "scrfd"}),
    (numbered(SCRFD), S640, None, {"style": "scrfd"}),
    (RETINAFACE, S640, None, {"style": "retinaface"}),
    (RETINAFACE, S640, {"loc": RAW, "conf": RAW, "landms": RAW}, {"style": "retinaface", "activation": "softmax"}),
    (ULTRA, (240, 320), {"scores": SOFTMAX, "boxes": DECODED}, {"style": "ultraface"}),
    ({"output0": (84, 8400)}, S640, None, {"style": "yolov8-decoded", "classes": 80}),
    ({"output0": (84, 8400)}, S640, {"output0": MADE}, {"style": "yolov8-decoded", "classes": 80}),
    ({"output": (25200, 85)}, S640, None, {"style": "yolov5-decoded", "classes": 80, "layout": "boxes"}),
    ({"a": (144, 80, 80), "b": (144, 40, 40), "c": (144, 20, 20)}, S640, None, {"style": "yolov8", "classes": 80}),
    ({"a": (144, 80, 80), "b": (144, 40, 40), "c": (144, 20, 20)}, S640, dict.fromkeys("abc", SQUASHED), {"style": "yolov8", "classes": 80, "activation": "none"}),
    (CENTERFACE, S320, None, {"style": "centerface"}),
    ({"hm": (80, 128, 128), "wh": (2, 128, 128), "reg": (2, 128, 128)}, (512, 512), None, {"style": "centernet", "classes": 80}),
    (DETR, (800, 800), {"pred_logits": RAW, "pred_boxes": SQUASHED}, {"style": "detr", "classes": 91}),
    ({"logits": (300, 80), "boxes": (300, 4)}, S640, {"logits": RAW, "boxes": SQUASHED}, {"style": "rtdetr", "classes": 80}),
]  # fmt: skip


@pytest.mark.parametrize(("shapes", "size", "behind", "decode"), CLEAR)
def test_published_networks_are_recognised(
    shapes: dict[str, Shape], size: tuple[int, int], behind: Tails | None, decode: dict[str, Any]
) -> None:
    (proposal,) = recognised(seen(shapes, behind), size)
    assert proposal.doubt == ""
    assert proposal.decode == decode
    heads: dict[str, dict[str, Any]] = {name: {} for name in shapes}
    heads |= {name: dict(settings) for name, settings in proposal.heads.items()}
    assert told_of(heads, proposal.decode, size, shapes)[1] == []


@pytest.mark.parametrize(
    ("parts", "squashed", "decode"),
    [
        ({4, 1, 80}, True, {"style": "yolox", "classes": 80, "layout": "channels_first"}),
        ({4, 1, 80}, False, {"style": "yolox", "classes": 80, "layout": "channels_first", "activation": "sigmoid"}),
        ({64, 21}, False, {"style": "yolov8", "classes": 21}),
        ({64, 21}, True, {"style": "yolov8", "classes": 21, "activation": "none"}),
        ({4, 81}, False, {"style": "yolov8", "classes": 81, "bins": 1}),
        ({85}, True, None),
        ({85}, False, None),
        ({30, 55}, False, None),
    ],
)  # fmt: skip
def test_the_convolutions_behind_85_channels_say_whose_they_are(
    parts: set[int], squashed: bool, decode: dict[str, Any] | None
) -> None:
    """YOLOX has 5 and 80; YOLOv8 64 and 21 classes, or without bins 4 and 81: as many."""
    outputs = [
        SeenOutput(
            name=name, shape=shape, tail=SQUASHED if squashed else RAW, parts=frozenset(parts)
        )
        for name, shape in MAPS_85.items()
    ]
    proposals = recognised(outputs, S416)
    assert decode is None or proposals[0].decode == decode
    assert [proposal.doubt for proposal in proposals] == [""] or all(
        proposal.doubt for proposal in proposals
    )
    assert len(proposals) == 1 or decode is None


@pytest.mark.parametrize(
    ("parts", "sure"), [({4, 1, 80}, True), ({85}, False), ({64, 21}, None), ({4, 81}, None)]
)
def test_the_convolutions_behind_rows_of_85_columns_say_whose_they_are(
    parts: set[int], sure: bool | None
) -> None:
    output = SeenOutput(name="o", shape=(3549, 85), tail=SQUASHED, parts=frozenset(parts))
    proposals = recognised([output], S416)
    assert [(proposal.decode["style"], not proposal.doubt) for proposal in proposals] == (
        [] if sure is None else [("yolox", sure)]
    )


def test_roles_follow_names_where_shapes_are_alike() -> None:
    (proposal,) = recognised(seen(YUNET), S640)
    assert proposal.heads["obj_16"] == {"stride": 16, "role": "objectness"}
    assert proposal.heads["cls_32"] == {"stride": 32, "role": "scores"}
    assert not any(name.startswith("kps") for name in proposal.heads)
    reverse = dict(reversed(YUNET.items()))
    assert recognised(seen(reverse), S640)[0].heads == proposal.heads
    swapped: dict[str, Shape] = {"reg": (2, 80, 80), "hm": (7, 80, 80), "wh": (2, 80, 80)}
    (proposal,) = recognised(seen(swapped), S320)
    assert {name: held["role"] for name, held in proposal.heads.items()} == {
        "hm": "scores", "wh": "sizes", "reg": "offsets",
    }  # fmt: skip


AMBIGUOUS: list[tuple[dict[str, Shape], tuple[int, int], Tails | None, set[str], str]] = [
    ({"output": (3549, 85)}, S416, None, {"yolox", "yolov5-decoded"}, "whether the network decodes its rows"),
    ({"output": (3549, 85)}, S416, {"output": frozenset({"Mul", "Add"})}, {"yolox", "yolov5-decoded"}, "decodes its rows"),
    ({"output": (3549, 45)}, S416, {"output": SQUASHED}, {"yolox", "nanodet"}, "5 and classes, or classes and distances (nanodet, yolov8)"),
    ({"output": (3549, 85)}, S416, {"output": SQUASHED}, {"yolox"}, "5 and classes, or classes and distances (nanodet, yolov8)"),
    (MAPS_85, S416, None, {"yolox", "yolov8"}, "whether the 85 are not 5 and 80 (yolox)"),
    (MAPS_85, S416, dict.fromkeys("abc", RAW), {"yolox", "yolov8"}, "of bins (yolov8)"),
    (MAPS_85, S416, dict.fromkeys("abc", SQUASHED), {"yolox", "yolov8"}, "of bins (yolov8)"),
    ({"output": (25200, 57)}, S640, None, {"yolov5-decoded"}, "not points of a pose"),
    (per_stride(S640, N3, {"a": 1, "b": 1, "c": 4}), S640, None, {"yunet"}, "as in FCOS"),
    ({"logits": (900, 256), "boxes": (900, 4)}, S640, {"logits": RAW, "boxes": SQUASHED}, {"rtdetr"}, "a sigmoid each"),
    ({"output": (2125, 52)}, S320, None, {"nanodet-plus"}, "which of the 52 columns are classes"),
    (numbered(PLUS), S416, None, set(), ""),
    (numbered(INTEGRATED), S320, None, {"nanodet"}, "cell_offset: 0.5"),
    (per_stride(S416, N4, {"cls": 80, "reg": 32}), S416, None, {"nanodet-plus", "picodet"}, "cell_offset: 0.5"),
    (ULTRA, (240, 320), None, {"ultraface", "ssd"}, "whether the network decodes its boxes itself"),
    ({"conf": (8732, 21), "loc": (8732, 4)}, (300, 300), None, {"ssd"}, "give decode.priors"),
    (DETR, (800, 800), None, {"detr"}, "softmax with no object last (detr) or a sigmoid each"),
    ({"output0": (56, 8400)}, S640, None, {"yolov8-decoded"}, "not points of a pose"),
    ({"a": (5, 80, 80), "b": (2, 80, 80), "c": (2, 80, 80)}, S320, None, {"centernet"}, "which map holds sizes"),
    ({"a": (255, 52, 52), "b": (255, 26, 26), "c": (255, 13, 13)}, S416, None, {"yolov3", "yolov5", "yolov7"}, "its `anchors` for each head"),
    ({"a": (255, 52, 52), "b": (255, 26, 26), "c": (255, 13, 13)}, S416, dict.fromkeys("abc", SQUASHED), {"yolov5", "yolox"}, "three anchors (yolov5)"),
    ({"a": (18, 52, 52), "b": (18, 26, 26), "c": (18, 13, 13)}, S416, dict.fromkeys("abc", SQUASHED), {"yolox"}, "three anchors (yolov5)"),
    ({"output": (25200, 16)}, S640, {"output": MADE}, {"yolov5-decoded"}, "pose or face"),
    ({"output": (25200, 21)}, S640, None, {"yolov5-decoded"}, "pose or face"),
    ({"output": (25200, 200)}, S640, {"output": MADE}, {"yolov5-decoded"}, "angles"),
    ({"output0": (68, 8400)}, S640, {"output0": MADE}, {"yolov8-decoded"}, "not points of a pose"),
]  # fmt: skip


@pytest.mark.parametrize(("shapes", "size", "behind", "styles", "doubt"), AMBIGUOUS)
def test_what_shapes_and_names_do_not_decide_is_said(
    shapes: dict[str, Shape],
    size: tuple[int, int],
    behind: Tails | None,
    styles: set[str],
    doubt: str,
) -> None:
    proposals = recognised(seen(shapes, behind), size)
    assert {proposal.decode["style"] for proposal in proposals} >= styles
    if doubt:
        assert all(proposal.doubt for proposal in proposals) or len(proposals) > 1
        assert any(doubt in proposal.doubt for proposal in proposals)


@pytest.mark.parametrize(
    "shapes",
    [
        {"y": (1000,)},
        {"y": (1000, 1)},
        {"y": ()},
        {},
        {"y": (0, 4), "x": (0, 2)},
        {"mask": (1, 320, 320)},
        {"output0": (116, 8400), "output1": (32, 160, 160)},
        {"boxes": (100, 4), "scores": (100,), "labels": (100,)},
        {"a": (6, 4, 4), "b": (6, 8, 8)},
    ],
)
def test_other_networks_are_none_of_these(shapes: dict[str, Shape]) -> None:
    for size in (S320, S640, (16, 16)):
        assert recognised(seen(shapes), size) == ()


def test_what_has_the_shapes_of_raw_outputs_and_computes_more_is_not_taken_for_them() -> None:
    """Features of a pyramid end in SiLU; YOLO-NAS has decoded its boxes."""
    maps: dict[str, Shape] = {"a": (256, 80, 80), "b": (256, 40, 40), "c": (256, 20, 20)}
    assert recognised(seen(maps, dict.fromkeys("abc", SQUASHED | {"Mul"})), S640) == ()
    pair: dict[str, Shape] = {"boxes": (8400, 4), "scores": (8400, 80)}
    behind = {"boxes": frozenset({"Add", "Sub", "Mul"}), "scores": SQUASHED}
    assert recognised(seen(pair, behind), S640) == ()


# In a network


def faces(*, squashed: bool, parts: tuple[int, ...] = (4, 1, 80)) -> onnx.ModelProto:
    """Maps of one anchor a cell: 85 channels at strides 8, 16, 32."""
    b = Builder()
    for stride in N3:
        made = [
            b.conv("image", f"p{stride}_{part}", 3, part, k=1, strides=[stride, stride])
            for part in parts
        ]
        b.node("Concat", made, f"m{stride}", axis=1)
        if squashed:
            b.node("Sigmoid", [f"m{stride}"], f"s{stride}")
    outputs = [f"{'s' if squashed else 'm'}{stride}" for stride in N3]
    return b.model({"image": [1, 3, 64, 96]}, outputs)


def rows(*, exponent: bool) -> onnx.ModelProto:
    b = Builder()
    parts = []
    b.weight("shape", [1, 12, -1])
    for stride in N3:
        b.conv("image", f"m{stride}", 3, 12, k=1, strides=[stride, stride])
        b.node("Exp" if exponent else "Sigmoid", [f"m{stride}"], f"e{stride}")
        parts.append(b.node("Reshape", [f"e{stride}", "shape"], f"r{stride}"))
    b.node("Concat", parts, "columns", axis=2)
    b.node("Transpose", ["columns"], "out", perm=[0, 2, 1])
    return b.model({"image": [1, 3, 64, 96]}, ["out"])


def test_the_tail_of_an_output_begins_behind_the_last_convolution() -> None:
    model = rows(exponent=True)
    found = tails(model, ["out", "m8"])
    assert found["out"].operators == {"Exp"}
    assert set(found["out"].convolutions) == {"m8", "m16", "m32"}
    assert found["m8"].operators == frozenset()
    assert parts_of(found["m8"], inferred(model)) == frozenset({12})
    assert parts_of(found["m8"], {}) is None


def test_init_writes_what_it_recognised() -> None:
    written = text(Path("a.onnx"), faces(squashed=True))
    found = yaml.safe_load(written)
    assert found["decode"] == {"style": "yolox", "classes": 80, "layout": "channels_first"}
    assert found["heads"]["s16"] == {"stride": 16}
    assert "# Recognised: 85 channels are 5 and 80 classes, one anchor a cell." in written
    raw = yaml.safe_load(text(Path("a.onnx"), faces(squashed=False)))
    assert raw["decode"]["activation"] == "sigmoid"
    eighth = yaml.safe_load(text(Path("a.onnx"), faces(squashed=False, parts=(64, 21))))
    assert eighth["decode"] == {"style": "yolov8", "classes": 21}
    assert "decode" not in yaml.safe_load(text(Path("a.onnx"), faces(squashed=False, parts=(85,))))


def test_init_says_where_it_cannot_decide() -> None:
    decoded = yaml.safe_load(text(Path("a.onnx"), rows(exponent=True)))
    assert decoded["decode"] == {"style": "yolov5-decoded", "classes": 7, "layout": "boxes"}
    b = Builder()
    for stride in N3:
        b.conv("image", f"m{stride}", 3, 255, k=1, strides=[stride, stride])
    model = b.model({"image": [1, 3, 64, 96]}, [f"m{stride}" for stride in N3])
    written = text(Path("a.onnx"), model)
    assert "decode" not in yaml.safe_load(written)
    assert "# Not decided, since names and shapes fit what follows" in written
    for style in ("yolov3", "yolov5", "yolov7"):
        assert f"#   decode: {{style: {style}, classes: 80}}" in written
    assert "#   heads: m8: {stride: 8}" in written


def test_init_recognises_nothing_where_a_shape_is_open() -> None:
    model = faces(squashed=True)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "h"
    written = text(Path("a.onnx"), model)
    assert "# decode: {style: yolov8, classes: 80}" in written
    assert "decode" not in yaml.safe_load(written)


def test_turned_boxes_are_not_taken_for_upright_ones() -> None:
    outputs: dict[str, Shape] = {"output0": (11, 8400)}
    assert recognised(seen(outputs, {"output0": MADE}), S640)[0].decode["classes"] == 7
    assert recognised(seen(outputs, {"output0": MADE | {"Cos", "Sin"}}), S640) == ()


def test_queries_that_a_ranking_chose_are_recognised_too() -> None:
    """RT-DETR's own rows are chosen by TopK: they are judged as boxes, which needs `decode`."""
    b = Builder()
    b.conv("image", "map", 3, 8, k=1)
    b.weight("flat", np.array([1, 8, -1], "i8"))
    b.node("Reshape", ["map", "flat"], "columns")
    b.node("Transpose", ["columns"], "tokens", perm=[0, 2, 1])
    b.node("ReduceMax", ["tokens"], "best", axes=[2], keepdims=0)
    b.weight("k", np.array([300], "i8"))
    top = onnx.helper.make_node("TopK", ["best", "k"], ["values", "chosen"], name="topk", axis=1)
    b.nodes.append(top)
    b.weight("first", np.array([0], "i8"))
    b.node("Squeeze", ["chosen", "first"], "rows")
    b.node("Gather", ["tokens", "rows"], "queries", axis=1)
    for name, columns in (("pred_logits", 80), ("raw", 4)):
        b.weight(f"{name}.weight", b.random.normal(0, 1, (8, columns)).astype("f4"))
        b.node("MatMul", ["queries", f"{name}.weight"], name)
    b.node("Sigmoid", ["raw"], "pred_boxes")
    model = b.model({"image": [1, 3, 32, 32]}, ["pred_logits", "pred_boxes"])
    written = text(Path("a.onnx"), model)
    found = yaml.safe_load(written)
    assert "rows ranked by TopK" in written
    assert found["decode"] == {"style": "rtdetr", "classes": 80}
    assert found["heads"]["pred_boxes"] == {"role": "boxes"}
