"""What matrix.yaml says of the network's inputs: what is done, told, written down and refused."""

import hashlib
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.unit.experiments import changed, checked, wrong
from tests.unit.public_networks import dynamic, rt_detr, shuffled, ssd
from trt_matrix.config.data import Preprocess
from trt_matrix.planning.inputs import pixel_problem


def told_with(matrix: Path, model: onnx.ModelProto, **places: Any) -> list[str]:
    (matrix.parent / "tiny.onnx").write_bytes(model.SerializeToString())
    return wrong(matrix, changed(**{"heads": {"large": {}}, **places}))


def test_what_is_done_to_the_network_is_told_and_written_down(matrix: Path) -> None:
    model = shuffled(rt_detr())
    constants = {"orig_target_sizes": [16, 16]}
    assert told_with(matrix, model, model__constants=constants) == []
    found = checked(matrix)
    assert (matrix.parent / "tiny.onnx").read_bytes() == model.SerializeToString()
    assert found.notes[0] == (
        "tiny.onnx is prepared before it runs: its nodes are put in the order in which they compute; "
        "'orig_target_sizes' is the constant [[16, 16]]; 'images', [N, 3, 16, 16] in its file, is "
        "pinned to [1, 3, 16, 16]. The file itself stays as it is."
    )
    facts = found.facts["prepared"]
    assert facts["sorted"]
    assert facts["constants"] == {"orig_target_sizes": "[[16, 16]]"}
    assert facts["file_sha256"] == hashlib.sha256(model.SerializeToString()).hexdigest()
    assert (found.input, found.shape) == ("images", (3, 16, 16))
    # What runs has the heads as its outputs; its identity is that of these bytes.
    assert found.content == found.model.SerializeToString(deterministic=True)
    assert found.whole == facts["sha256"]


def test_what_is_prepared_alike_is_the_same_network(matrix: Path) -> None:
    constants = {"orig_target_sizes": [16, 16]}
    contents = set()
    for model in (rt_detr(), shuffled(shuffled(rt_detr()))):
        assert told_with(matrix, model, model__constants=constants) == []
        contents.add(checked(matrix).content)
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("constants", {"orig_target_size": [1, 1]}, "no input of the network is called 'orig_target_size'; did you mean 'orig_target_sizes'?; its inputs: images, orig_target_sizes"),
        ("constants", {"orig_target_sizes": [1, 2, 3]}, "it has the shape [3], which does not fit; 'orig_target_sizes' takes int64 [N, 2]"),
        ("constants", {"orig_target_sizes": ["a", "b"]}, "no finite number"),
        ("constants", {"orig_target_sizes": [1.5, 1]}, "cannot be int64"),
        ("constants", {}, "model: {constants: {orig_target_sizes: [16, 16]}}"),
        ("constants", [1], "model.constants"),
        ("shapes", {"images": [1, 3, 0, 16]}, "model.shapes.images[2]"),
        ("shapes", {"images": [1, 3, -5, 16]}, "model.shapes.images[2]"),
        ("shapes", {"images": [1, 3, 16.5, 16]}, "model.shapes.images[2]"),
        ("shapes", {"images": 16}, "model.shapes.images"),
        ("shapes", {"image": [1, 3, 16, 16]}, "shapes.image (line"),
    ],
)  # fmt: skip
def test_what_is_said_of_inputs_and_is_wrong(matrix: Path, key: str, value: Any, told: str) -> None:
    found = told_with(matrix, rt_detr(), **{f"model__{key}": value})
    assert any(told in one for one in found), found


def test_a_shape_that_the_network_refuses_is_told_where_it_stands(matrix: Path) -> None:
    model = dynamic(["n", 3, "h", "w"])
    (told,) = told_with(matrix, model, model__shapes={"image": [1, 3, 18, 16]})
    assert told.startswith("model.shapes.image (line ")
    assert "the network does not take 'image' as [1, 3, 18, 16]" in told


def test_pixels_that_are_no_whole_numbers_do_not_fill_bytes(matrix: Path) -> None:
    (told,) = told_with(matrix, ssd())
    assert told.startswith("data.preprocess (line 2): input 'image_tensor:0' takes uint8")
    assert "{scale: 1, mean: 0, std: 1} gives pixels as they are" in told
    for wrong_ in ({"scale": 2}, {"mean": 0.5}, {"mean": [0, 0, 1]}, {"std": 2}, {"mean": -1}):
        assert told_with(matrix, ssd(), data__preprocess={"scale": 1, **wrong_}), wrong_
    assert told_with(matrix, ssd(), data__preprocess={"scale": 1}) == []
    found = checked(matrix)
    assert (found.channels_last, found.shape) == (True, (3, 16, 16))
    assert (pixel_problem(Preprocess(scale=1, mean=128), "x", "int8"), bool(pixel_problem(Preprocess(scale=1), "x", "int8"))) == (None, True)  # fmt: skip


def test_a_variant_gets_what_the_network_gets(matrix: Path) -> None:
    (matrix.parent / "old.onnx").write_bytes(shuffled(rt_detr()).SerializeToString())
    places = {"model__constants": {"orig_target_sizes": [16, 16]}, "model__variants": ["old.onnx"]}
    assert told_with(matrix, rt_detr(), **places) == []
    (variant,) = checked(matrix).variants
    assert [tensor.name for tensor in variant.model.graph.input] == ["images"]
