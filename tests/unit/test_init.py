from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.unit.experiments import checked, image, problems
from tests.unit.public_networks import dynamic, half, paddle, rt_detr, ssd
from tests.unit.small_networks import Builder, detector
from tests.unit.test_samples import sound, two_frames
from trt_matrix.commands import session
from trt_matrix.commands.init import text
from trt_matrix.commands.yaml_text import quoted
from trt_matrix.config.gates import HeadGateSection, recorded
from trt_matrix.config.matrix import validate
from trt_matrix.config.yaml_file import UNREADABLE, parse, read
from trt_matrix.core.network.graph import GraphError
from trt_matrix.errors import ConfigError


def write(folder: Path, model: onnx.ModelProto, name: str = "my net.onnx") -> Path:
    """Does what a user does: saves the file, then adds the two folders."""
    (folder / name).write_bytes(model.SerializeToString())
    matrix = folder / "matrix.yaml"
    matrix.write_text(text(Path(name), model), "utf-8")
    for part in ("calibration", "evaluation"):
        (folder / "images" / part).mkdir(parents=True)
        image(folder / "images" / part / "0.png", 0)
    return matrix


def test_the_file_is_valid_as_soon_as_the_folders_are_there(tmp_path: Path) -> None:
    found = checked(write(tmp_path, detector()))
    assert found.config.name == "my-net"
    assert found.heads == (("large", "large"), ("small", "small"))
    assert found.config.heads["large"].stride == 4
    assert found.config.heads["small"].stride == 2
    assert found.baseline == "ort-1.32.0"


def test_no_gate_is_set_that_nobody_chose(tmp_path: Path) -> None:
    """A head whose objects were all set to background keeps 27 dB: any number would acquit."""
    matrix = write(tmp_path, detector())
    found = checked(matrix).config
    assert found.gate is None
    assert all(recorded(head.gate) == recorded(HeadGateSection()) for head in found.heads.values())
    assert "sqnr_db:" not in matrix.read_text()


def test_the_gate_that_is_offered_works_once_boxes_can_be_made(tmp_path: Path) -> None:
    matrix = write(tmp_path, detector())
    written = matrix.read_text().replace("# gate: {lost", "gate: {lost")
    matrix.write_text(written)
    told = wrong_as_written(matrix)
    assert any("gate.lost" in one and "say in `decode`" in one for one in told)
    assert any("gate.ap_drop" in one and "give data.evaluation.labels" in one for one in told)


def wrong_as_written(matrix: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        checked(matrix)
    return list(caught.value.problems)


def test_an_output_called_like_the_whole_network_gets_another_name(tmp_path: Path) -> None:
    found = checked(write(tmp_path, simple([1, 3, 8, 8], "whole network")))
    assert found.heads == (("head-1", "whole network"),)


def test_shapes_are_told_beside_the_heads() -> None:
    assert "large: {stride: 4}   # [1, 6, 4, 4]" in text(Path("a.onnx"), detector())


def simple(shape: list[int | str], *outputs: str, channels: int = 3) -> onnx.ModelProto:
    b = Builder()
    for output in outputs:
        b.conv("image", output, channels, 4, k=1)
    return b.model({"image": shape}, outputs)


def test_a_grey_network(tmp_path: Path) -> None:
    found = checked(write(tmp_path, simple([1, 1, 8, 12], "y", channels=1)))
    assert found.config.data.preprocess.color == "gray"
    assert found.config.data.preprocess.size == (8, 12)


def test_channels_last(tmp_path: Path) -> None:
    b = Builder()
    b.node("Transpose", ["image"], "nchw", perm=[0, 3, 1, 2])
    b.conv("nchw", "map", 3, 5, k=1, strides=[4, 4])
    b.node("Transpose", ["map"], "nhwc", perm=[0, 2, 3, 1])
    found = checked(write(tmp_path, b.model({"image": [1, 16, 24, 3]}, ["nhwc"])))
    assert found.channels_last
    assert found.config.data.preprocess.size == (16, 24)
    assert found.config.heads["nhwc"].stride == 4


def test_an_output_that_is_no_map_has_no_stride() -> None:
    b = Builder()
    b.conv("image", "map", 3, 4, k=1)
    b.node("GlobalAveragePool", ["map"], "pooled")
    b.node("Flatten", ["pooled"], "flat")
    written = text(Path("a.onnx"), b.model({"image": [1, 3, 8, 12]}, ["flat", "pooled"]))
    assert "  flat: {}   # [1, 4]" in written
    assert "  pooled: {}" in written


def test_an_output_that_cannot_be_compared_is_left_out(tmp_path: Path) -> None:
    model = simple([1, 3, 8, 8], "y")
    model.graph.node.append(helper.make_node("ArgMax", ["y"], ["best"], name="best", axis=1))
    model.graph.output.append(
        helper.make_tensor_value_info("best", TensorProto.INT64, [1, 1, 8, 8])
    )
    found = checked(write(tmp_path, model))
    assert found.heads == (("y", "y"),)
    assert "  # not comparable, int64:  best:" in (tmp_path / "matrix.yaml").read_text()


@pytest.mark.parametrize(
    "output",
    ["y:0", "model/y", "Größe", "1.5", "yes", "null", "a b", "a'b", 'a"b', "{x}", "#c", "-", "\u2028",
     "../x", "/", "<<", "=", "*a", "!t", "a\nb", "\u202egnp.exe", "\ufeff", "\U0001f600", " a "],
)  # fmt: skip
def test_heads_may_have_any_name(tmp_path: Path, output: str) -> None:
    assert checked(write(tmp_path, simple([1, 3, 8, 8], output))).heads == ((output, output),)


@pytest.mark.parametrize("output", ["x" * 300, "\u200f" * 200, '"' * 5000])
def test_a_head_with_a_long_name_gets_a_short_one(tmp_path: Path, output: str) -> None:
    model = simple([1, 3, 8, 8], "first", output)
    assert checked(write(tmp_path, model)).heads == (("first", "first"), ("head-2", output))


def test_a_head_with_a_line_break_is_told_on_one_line() -> None:
    written = text(Path("a.onnx"), simple([1, 3, 8, 8], "a\nb\u202ec"))
    (problem,) = problems(written.replace("stride: 1", "stride: 0"))
    assert problem.startswith("heads.a\\nb\\u202ec.stride (line ")
    assert "\n" not in problem


@pytest.mark.parametrize("name", ["a\x00b", "\x1b[31mred", "\x7f"])
def test_what_no_yaml_can_hold_is_to_be_renamed(name: str) -> None:
    with pytest.raises(GraphError, match="holds a control character: rename it"):
        text(Path("a.onnx"), simple([1, 3, 8, 8], "y", name))
    with pytest.raises(GraphError, match="holds a control character: rename it"):
        text(Path(name), detector())


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("yolov4.onnx", "yolov4"),
        ("2024.onnx", "2024"),
        ("null.onnx", "null"),
        ("größe.onnx", "gr-e"),
        ("模型.onnx", "experiment"),
        ("..onnx", "experiment"),
        ("a'b: {c.onnx", "a-b-c"),
        (f"{'x' * 200}.onnx", "x" * 100),
    ],
)
def test_the_name_follows_from_the_file(tmp_path: Path, file: str, name: str) -> None:
    assert checked(write(tmp_path, detector(), file)).config.name == name


def test_a_symbol_in_a_shape_adds_nothing_to_the_file() -> None:
    model = simple([1, 3, 8, 8], "y")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n]\nname: hostile\n#"
    written = text(Path("a.onnx"), model)
    assert yaml.safe_load(written)["name"] == "a"
    assert "\nname: hostile" not in written


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            simple(["n", 3, "length"], "y"),
            "'length' is open; say what it gets, such as model: {shapes:",
        )
    ],
)
def test_a_network_that_cannot_be_used(model: onnx.ModelProto, told: str) -> None:
    with pytest.raises(GraphError) as caught:
        text(Path("a.onnx"), model)
    assert told in str(caught.value)


def without_shape() -> onnx.ModelProto:
    model = dynamic(["n", 3, "h", "w"])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        (simple(["n", 3, 8, 8], "y"), ["model: {onnx: my net.onnx}", "size: [8, 8]"]),
        (dynamic(["n", 3, "h", "w"]), ["size: [640, 640]", 'guessed: ["the size [640, 640]", "the preprocessing"]']),
        (without_shape(), ["    image: [1, 3, 640, 640]", 'guessed: ["the size [640, 640]", "the shape of image", "the preprocessing"]']),
        (dynamic(["n", "c", 16, 16]), ["    image: [1, 3, 16, 16]", 'guessed: ["the shape of image", "the preprocessing"]']),
        (paddle(), ["    scale_factor: [1, 1]"]),
        (rt_detr(), ["    orig_target_sizes: [16, 16]", "boxes: {}   # [1, 16, 4]"]),
        (ssd(), ["scale: 1 ", "mean: 0 ", "# its input takes uint8: pixels as they are"]),
        (half(), ["scale: 0.0039"]),
    ],
)  # fmt: skip
def test_what_cannot_be_fed_as_it_is_gets_what_it_lacks(
    tmp_path: Path, model: onnx.ModelProto, lines: list[str]
) -> None:
    written = write(tmp_path, model)
    for line in lines:
        assert line.replace("my net.onnx", '"my net.onnx"') in written.read_text()
    checked(written)


@pytest.mark.parametrize("model", [two_frames(), sound()])
def test_what_takes_no_image_files_gets_folders_of_arrays(
    tmp_path: Path, model: onnx.ModelProto
) -> None:
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(text(Path("net.onnx"), model))
    shape = [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    assert f"shape {shape}, or an .npz" in matrix.read_text()
    for part in ("calibration", "evaluation"):
        (tmp_path / "arrays" / part).mkdir(parents=True)
        np.save(tmp_path / "arrays" / part / "0.npy", np.zeros(shape))
    assert checked(matrix).sample == tuple(shape)


def test_a_guess_is_named_in_the_file(tmp_path: Path) -> None:
    model = detector()
    model.graph.input.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, [1]))
    model.graph.node.append(helper.make_node("Add", ["small", "t"], ["far"], "far"))
    model.graph.output.append(helper.make_tensor_value_info("far", TensorProto.FLOAT, None))
    written = write(tmp_path, model)
    assert "    t: [0]" in written.read_text()
    assert 'guessed: ["what t is fed", "the preprocessing"]' in written.read_text()
    checked(written)


def test_an_input_whose_name_no_yaml_can_hold() -> None:
    model = rt_detr()
    model.graph.input[1].name = model.graph.node[3].input[0] = "a\x00size"
    with pytest.raises(GraphError, match="holds a control character: rename it"):
        text(Path("a.onnx"), model)


def test_a_network_whose_outputs_are_all_integers() -> None:
    model = simple([1, 3, 8, 8], "y")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(GraphError, match="no output is floating point"):
        text(Path("a.onnx"), model)


@given(st.text(min_size=1, max_size=20).filter(lambda name: not UNREADABLE.search(name)))
def test_yaml_reads_back_what_is_quoted(name: str) -> None:
    assert parse(f"{quoted(name)}: {quoted(name)}\n", "f").value == {name: name}
    assert parse(f"a: {{b: {quoted(name)}}}\n", "f").value == {"a": {"b": name}}


def test_networks_of_every_kind_are_taken_or_refused_in_one_sentence(tmp_path: Path) -> None:
    """ONNX's own: text, sequences, several inputs, scalars, no outputs of floats, gradients."""
    files = sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("model.onnx"))[::3]
    assert len(files) > 40
    taken = 0
    for file in files:
        try:
            session.init(file, tmp_path / "matrix.yaml", force=True)
        except ConfigError as error:
            (problem,) = error.problems
            assert "\n" not in problem
        else:
            taken += 1
            validate(read(tmp_path / "matrix.yaml"))
    assert taken > len(files) // 2
