"""Files that a user was handed: pipes, devices, links out of the folder, types that there are not, crowds."""

import json
import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.unit import small_networks as networks
from tests.unit.experiments import changed, settings, wrong
from trt_matrix.commands.session import init
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.network import loading
from trt_matrix.core.network.graph import GraphError
from trt_matrix.errors import ConfigError
from trt_matrix.inputs.decoder_file import detector
from trt_matrix.inputs.labels import parse


def with_weights(matrix: Path) -> Path:
    """Keeps the network's weights in a file of their own; returns that file."""
    onnx.save(
        networks.detector(), matrix.parent / "tiny.onnx",
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    return matrix.parent / "weights.bin"


def replace(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    match how:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "endless":
            with path.open("wb") as stream:
                stream.truncate(1 << 40)
        case "link":
            other = path.parent.parent / f"elsewhere-{path.parent.name}"
            other.write_bytes(content)
            path.symlink_to(other)
        case "link beside":
            path.with_suffix(".real").write_bytes(content)
            path.symlink_to(path.with_suffix(".real").name)


@pytest.mark.parametrize("how", ["pipe", "device", "endless"])
def test_a_network_is_a_plain_file(matrix: Path, how: str) -> None:
    replace(matrix.parent / "tiny.onnx", how)
    (problem,) = wrong(matrix, settings())
    assert "tiny.onnx: " in problem
    with pytest.raises(ConfigError):
        init(matrix.parent / "tiny.onnx", matrix.parent / "other.yaml", force=False)


@pytest.mark.parametrize("how", ["pipe", "device", "endless", "link", "link beside"])
def test_weights_are_plain_files_beside_the_network(matrix: Path, how: str) -> None:
    weights = with_weights(matrix)
    assert wrong(matrix, settings()) == []
    replace(weights, how)
    (problem,) = wrong(matrix, settings())
    assert "its weights are to be plain files beside it" in problem


def test_weights_below_a_folder_that_is_a_link_are_refused(matrix: Path) -> None:
    model = networks.detector()
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="sub/weights.bin")
    (matrix.parent / "tiny.onnx").write_bytes(model.SerializeToString())
    (matrix.parent / "sub").symlink_to("/etc")
    (problem,) = wrong(matrix, settings())
    assert "weights" in problem


def test_a_network_that_is_reached_by_a_link_is_the_users_choice(matrix: Path) -> None:
    replace(matrix.parent / "tiny.onnx", "link")
    assert wrong(matrix, settings()) == []


@pytest.mark.parametrize("how", ["pipe", "device", "endless"])
def test_labels_are_a_plain_file(matrix: Path, how: str) -> None:
    (matrix.parent / "labels.json").write_text("{}")
    replace(matrix.parent / "labels.json", how)
    (problem,) = wrong(matrix, changed(data__evaluation__labels="labels.json"))
    assert "labels.json: " in problem


@pytest.mark.parametrize("how", ["pipe", "device", "endless"])
def test_an_experiment_is_a_plain_file(matrix: Path, how: str) -> None:
    from trt_matrix.config.yaml_file import read

    replace(matrix, how)
    with pytest.raises(ConfigError, match=r"regular file|no matrix\.yaml"):
        read(matrix)


@pytest.mark.parametrize("where", ["initializer", "input", "output", "value_info", "constant"])
@pytest.mark.parametrize("number", [99, -1, 2**31 - 1])
def test_types_of_elements_that_there_are_not(where: str, number: int) -> None:
    model = networks.detector()
    if where == "initializer":
        model.graph.initializer[0].data_type = number
    elif where == "constant":
        node = onnx.helper.make_node("Constant", [], ["c"])
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.data_type = number
        model.graph.node.append(node)
    else:
        if where == "value_info":
            model.graph.value_info.add(name="c1")
        getattr(model.graph, where)[0].type.tensor_type.elem_type = number
    with pytest.raises(GraphError, match=f"{number} is no type of elements"):
        loading.parse(model.SerializeToString(), "net.onnx")


@pytest.mark.parametrize("dims", [[7, 3, 3, 3], [8, 3, 3, -3], [2**40, 2**40]])
def test_a_weight_has_the_bytes_that_its_shape_makes(dims: list[int]) -> None:
    model = networks.detector()
    tensor = model.graph.initializer[0]
    content = np.zeros((8, 3, 3, 3), np.float32).tobytes()
    del tensor.dims[:]
    tensor.dims.extend(dims)
    tensor.data_type, tensor.raw_data = onnx.TensorProto.FLOAT, content
    with pytest.raises(GraphError, match="has 864 bytes, its shape"):
        loading.load(model.SerializeToString(), "net.onnx")


def test_a_name_that_is_no_text() -> None:
    content = networks.detector().SerializeToString().replace(b"conv_c1", b"conv_\xe2\x28")
    with pytest.raises(GraphError, match=r"is no text|not an ONNX file"):
        loading.parse(content, "net.onnx")


def test_no_damage_of_a_network_ends_in_a_traceback(matrix: Path) -> None:
    content = (matrix.parent / "tiny.onnx").read_bytes()
    random_ = random.Random(21)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(random_.choice([1, 1, 3])):
            damaged[random_.randrange(len(damaged))] = random_.randrange(256)
        (matrix.parent / "tiny.onnx").write_bytes(damaged)
        wrong(matrix, settings())  # raises what is no ConfigError


def test_a_crowd_is_no_labels_of_an_image() -> None:
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    labels = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": index, **box} for index in range(400_000)],
    }
    with pytest.raises(LabelsError, match="more than 10,000 boxes on a.png"):
        parse(json.dumps(labels).encode(), ["a.png", "b.png"])
    assert parse(json.dumps(labels).encode(), ["b.png"]).image_ids == (2,)


def test_a_crowd_is_no_answer_of_a_decoder() -> None:
    source = b"import numpy\ndef f(outputs):\n    return numpy.zeros((400_000, 7))\n"
    detect = detector(source, "m:f", [])
    with pytest.raises(DecodeError, match="400,000 boxes of one image; at most 100,000"):
        detect({"large": np.zeros((1, 1), np.float32)})
