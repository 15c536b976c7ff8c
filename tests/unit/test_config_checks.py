import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit.experiments import changed, checked, image, settings, wrong
from tests.unit.small_networks import Builder, detector


def test_a_whole_experiment(matrix: Path) -> None:
    found = checked(matrix)
    assert (found.input, found.shape, found.channels_last) == ("image", (3, 16, 16), False)
    assert found.heads == (("large", "large"), ("small", "small"))
    assert found.baseline == "ort-1.32.0"
    assert [path.name for path in found.evaluation] == ["0.png", "1.png"]
    assert found.content == (matrix.parent / "tiny.onnx").read_bytes()


def test_paths_are_relative_to_the_file(matrix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert checked(matrix).calibration[0].parent == matrix.parent / "calibration"


def test_a_limit_takes_the_first(matrix: Path) -> None:
    content = changed(data__evaluation__limit=1)
    assert wrong(matrix, content) == []
    assert [path.name for path in checked(matrix).evaluation] == ["0.png"]


def test_custom_operators_are_operators_or_nodes_of_the_network(matrix: Path) -> None:
    assert wrong(matrix, changed(model__custom_operators=["Resize", "conv_c1"])) == []
    [problem] = wrong(matrix, changed(model__custom_operators=["Resise"]))
    assert (
        "no operator or node of the network is called 'Resise'; did you mean 'Resize'?" in problem
    )
    assert "its operators: Add, Concat" in problem


def test_layers_that_are_held_are_nodes_or_tensors_of_the_network(matrix: Path) -> None:
    def held(*names: str) -> dict[str, Any]:
        return changed(engines={"tensorrt": {"fp32_layers": list(names)}})

    assert wrong(matrix, held("conv_c1", "large")) == []
    [problem] = wrong(matrix, held("conv_c1", "conv_cl"))
    assert "engines.tensorrt.fp32_layers[1]" in problem
    assert "no node of the network is called 'conv_cl', and none makes it" in problem
    assert "did you mean 'conv_c" in problem
    elsewhere = {"elsewhere": ["box"], "options": {"fp32_layers": ["no\nsuch"]}}
    problems = wrong(matrix, changed(environments=[elsewhere], baseline="box"))
    assert any("environments[0].options.fp32_layers[0]" in problem for problem in problems)


def test_a_head_may_have_another_name_than_its_output(matrix: Path) -> None:
    assert wrong(matrix, changed(heads={"far": {"output": "large"}})) == []
    assert checked(matrix).heads == (("far", "large"),)


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"model__onnx": "no.onnx"}, "no.onnx: No such file or directory"),
        ({"model__onnx": ""}, "Is a directory"),
        ({"model__onnx": "x" * 300}, "File name too long"),
        ({"heads": {"smal": {}}}, "'smal' is no tensor of the network; did you mean 'small'?; "
                                  "its outputs: large, small"),
        ({"heads": {"a": {"output": "b"}}}, "'b' is no tensor of the network; its outputs: large, small"),
        ({"data__calibration__images": "none"}, "none: No such file or directory"),
        ({"data__evaluation__images": "labels.json"}, "labels.json: Not a directory"),
        ({"data__evaluation__labels": "no.json"}, "no.json: No such file or directory"),
        ({"data__evaluation__labels": "tiny.onnx"}, "tiny.onnx: not JSON"),
        ({"data__preprocess": {"size": [16, 8]}}, "[16, 8] is not the network's [height, width] [16, 16]"),
        ({"data__preprocess": {"color": "gray"}}, "gray gives 1 channels, the network's input 'image' has 3"),
        ({"baseline": "ort-1.33"}, "no environment is called 'ort-1.33'; did you mean 'ort-1.32.0'?"),
        ({"baseline": "ort-9.32"}, "no environment is called 'ort-9.32'; ort-"),
        ({"baseline": "otr-1.32.0"}, "no environment is called 'otr-1.32.0'; did you mean 'ort-1.32.0'?"),
        ({"baseline": "ort-1.3"}, "no environment is called 'ort-1.3'"),
        ({"baseline": "ort"}, "'ort' may mean ort-1.26.0 or ort-1.32.0; write it in full"),
        ({"baseline": "zzz"}, "no environment is called 'zzz'; ort-1.26.0, ort-1.32.0, ngc-19.09-py3"),
        ({"devices": ["cpu", "cpu"]}, "cpu is there twice"),
        ({"precisions": ["fp32", "fp32"]}, "fp32 is there twice"),
        ({"calibration__algorithms": ["mse", "mse"]}, "mse is there twice"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(matrix: Path, places: dict[str, Any], told: str) -> None:
    (problem,) = wrong(matrix, changed(**places))
    assert told in problem
    assert "(line " in problem


def test_two_environments_with_one_id(matrix: Path) -> None:
    ort = {"venv": "onnxruntime", "versions": ["1.32.0"]}
    (problem,) = wrong(matrix, changed(environments=[ort, {"ngc": ["a"]}, ort]))
    assert problem.startswith("environments[2]")
    assert "a second environment called 'ort-1.32.0', the first is environments[0] (line" in problem


def test_a_version_that_is_there_twice(matrix: Path) -> None:
    ort = {"venv": "onnxruntime", "versions": ["1.32.0", "1.32.0"]}
    (problem,) = wrong(matrix, changed(environments=[ort]))
    assert "a second environment called 'ort-1.32.0'" in problem


def test_the_name_of_the_reference_is_taken(matrix: Path) -> None:
    mine = {"interpreter": "/usr/bin/python3", "name": "reference"}
    (problem,) = wrong(matrix, changed(environments=[mine], baseline="reference"))
    assert "'reference' is what the host's own engine is called" in problem


def test_a_library_path_that_is_not_there(matrix: Path) -> None:
    mine = {"interpreter": "/usr/bin/python3", "name": "x", "library_path": ["lib"]}
    (problem,) = wrong(matrix, changed(environments=[mine], baseline="x"))
    assert problem.endswith("lib: no such folder")


def test_everything_that_does_not_fit_is_told_at_once(matrix: Path) -> None:
    content = changed(
        baseline="x",
        heads={"y": {}},
        data__calibration__images="z",
        data__evaluation__labels="w",
        devices=["cpu", "cpu"],
    )
    assert len(wrong(matrix, content)) == 5


def test_a_folder_without_images(matrix: Path) -> None:
    shutil.rmtree(matrix.parent / "evaluation")
    (matrix.parent / "evaluation").mkdir()
    (problem,) = wrong(matrix, settings())
    assert problem.endswith("evaluation: no image in this folder")


def test_a_file_that_is_no_image(matrix: Path) -> None:
    (matrix.parent / "calibration" / "notes.txt").write_text("x")
    (problem,) = wrong(matrix, settings())
    assert "notes.txt: no image by its name" in problem


# The network


def told_of(matrix: Path, content: bytes) -> str:
    (matrix.parent / "tiny.onnx").write_bytes(content)
    (problem,) = wrong(matrix, settings())
    assert problem.startswith("model.onnx (line ")
    return problem


def test_a_truncated_network(matrix: Path) -> None:
    whole = (matrix.parent / "tiny.onnx").read_bytes()
    assert "truncated" in told_of(matrix, whole[: len(whole) // 2])
    assert "empty" in told_of(matrix, b"")
    assert "not an ONNX file" in told_of(matrix, b"\xff" * 100)


def test_weights_in_a_file_that_is_missing(matrix: Path) -> None:
    path = matrix.parent / "tiny.onnx"
    onnx.save(
        detector(), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert wrong(matrix, settings()) == []
    assert checked(matrix).content != path.read_bytes()  # the weights are in it now
    (matrix.parent / "weights.bin").unlink()
    (problem,) = wrong(matrix, settings())
    assert "weights.bin: No such file or directory; the network keeps its weights there" in problem


def test_weights_in_a_file_that_no_system_can_name(matrix: Path) -> None:
    model = detector()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="a\0b")
    assert "plain files beside it" in told_of(matrix, model.SerializeToString())


def with_input(shape: list[int | str | None], dtype: int = TensorProto.FLOAT) -> bytes:
    model = detector()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", dtype, shape))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ([1, 3, "h", None], "has the shape [1, 3, h, ?] in its file: 'h' and dimension 3 are open"),
        ([1, 3, 0, 16], "in its file: dimension 2 is open; say which size images get"),
        ([4, 3, 16, 16], "has the shape [4, 3, 16, 16] in its file: images are fed one by one"),
        ([1, 3, 16], "has shape [1, 3, 16]: one image, such as"),
        ([1, 7, 16, 16], "has shape [1, 7, 16, 16]: 1, 3 or 4 channels are expected"),
        (["n", 3, "a\nb", 16], "has the shape [n, 3, a?b, 16] in its file: 'a\\nb' is open"),
    ],
)
def test_an_input_that_is_no_image_of_fixed_size(
    matrix: Path, shape: list[int | str | None], told: str
) -> None:
    problem = told_of(matrix, with_input(shape))
    assert told in problem
    assert "\n" not in problem


def test_a_head_that_is_no_number_to_compare(matrix: Path) -> None:
    b = Builder()
    b.conv("image", "large", 3, 4, k=1)
    b.node("ArgMax", ["large"], "small", axis=1)
    model = b.model({"image": [1, 3, 16, 16]}, ["large", "small"])
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    (matrix.parent / "tiny.onnx").write_bytes(model.SerializeToString())
    (problem,) = wrong(matrix, settings())
    assert "heads.small" in problem
    assert "'small' is int64, floating point is expected" in problem


def test_channels_last(matrix: Path) -> None:
    b = Builder()
    b.node("Transpose", ["image"], "nchw", perm=[0, 3, 1, 2])
    b.conv("nchw", "large", 3, 4, k=1)
    b.conv("nchw", "small", 3, 4, k=1)
    model = b.model({"image": [1, 12, 20, 3]}, ["large", "small"])
    (matrix.parent / "tiny.onnx").write_bytes(model.SerializeToString())
    assert wrong(matrix, settings()) == []
    found = checked(matrix)
    assert (found.shape, found.channels_last) == ((3, 12, 20), True)


# Labels


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not COCO: an object with the lists images, annotations, categories"),
        ('{"images": [], "annotations": []}', "not COCO"),
        ('{"images": {}, "annotations": [], "categories": []}', "not COCO"),
        ('{"images": [1], "annotations": [], "categories": []}', "images[0] has no file_name"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "images[0] has no file_name"),
        ('{"images": [{"file_name": "1.png"}], "annotations": [], "categories": []}', "no entry for 0.png"),
    ],
)  # fmt: skip
def test_labels_that_cannot_serve(matrix: Path, content: str, told: str) -> None:
    (matrix.parent / "labels.json").write_text(content)
    (problem,) = wrong(matrix, settings())
    assert told in problem
    assert problem.startswith("data.evaluation.labels (line ")


def test_labels_may_know_more_images_and_name_folders(matrix: Path) -> None:
    coco = {
        "images": [{"id": index, "file_name": f"val/{index}.png"} for index in range(9)],
        "annotations": [],
        "categories": [],
    }
    (matrix.parent / "labels.json").write_text(json.dumps(coco))
    assert wrong(matrix, settings()) == []


def test_images_are_found_whatever_case_their_suffix_has(matrix: Path) -> None:
    image(matrix.parent / "calibration" / "A.JPG", 5)
    assert [path.name for path in checked(matrix).calibration] == ["0.png", "1.png", "A.JPG"]
