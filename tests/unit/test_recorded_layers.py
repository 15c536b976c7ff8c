"""What a program recorded of its engine's layers: trtexec's --exportLayerInfo and --exportProfile."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from trt_matrix.dumps.layers import LayerFiles, TakenLayers, layers_of, take_layers
from trt_matrix.execution.answer_models import LayersAnswer

SAMPLE = Path(__file__).parents[1] / "data" / "tensorrt_layers" / "trt-8.5.3.1-int8.json"


def network(*names: str) -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["x"], [f"{name}_out"], name=name) for name in names]
    nodes.append(helper.make_node("Relu", ["x"], ["y"]))
    return helper.make_model(helper.make_graph(nodes, "g", [], []))


def taken(folder: Path, information: Any = None, profile: Any = None) -> TakenLayers:
    paths = []
    for name, told in (("layers.json", information), ("profile.json", profile)):
        path = folder / name
        if told is not None:
            path.write_bytes(told if isinstance(told, bytes) else json.dumps(told).encode())
        paths.append(None if told is None else path)
    return take_layers(LayerFiles(information=paths[0], profile=paths[1]), network("/conv", "act"))


def test_a_real_engines_layers(tmp_path: Path) -> None:
    model = network("/model.0/conv/Conv", "/model.0/act/Sigmoid", "/model.0/act/Mul")
    layers = take_layers(LayerFiles(information=SAMPLE), model)
    assert layers.answer is not None
    assert not layers.notes
    convolution = layers.answer["layers"][1]
    assert convolution["precision"] == "int8"
    assert convolution["tensors"] == [f"{name}_out" for name in layers_of(model) if name[0] == "/"]


def test_layers_and_their_times(tmp_path: Path) -> None:
    layer = {"Name": "/conv + PWN(act)", "Inputs": [{"Name": "x", "Format/Datatype": "Int8"}]}
    times = [{"count": 20}, {"name": "/conv + PWN(act)", "averageMs": 2.0}]
    layers = taken(tmp_path, {"Layers": [layer]}, times)
    assert layers.answer is not None
    assert layers.answer["layers"][0]["precision"] == "int8"
    assert layers.answer["times"] == {
        "runs": 20,
        "layers": [
            {"name": "/conv + PWN(act)", "tensors": ["/conv_out", "act_out"], "seconds": 0.002}
        ],
        "problem": None,
    }
    answer = LayersAnswer.model_validate(layers.answer).times  # what `diagnose` reads
    assert answer is not None
    assert (answer.runs, answer.layers[0].seconds) == (20, 0.002)
    alone = taken(tmp_path, None, times)
    assert alone.answer is not None
    assert [layer["precision"] for layer in alone.answer["layers"]] == [None]


def test_a_node_without_a_name_is_called_after_its_tensor(tmp_path: Path) -> None:
    layers = taken(tmp_path, {"Layers": ["node_of_y"]})
    assert layers.answer is not None
    assert layers.answer["layers"][0]["tensors"] == ["y"]
    assert "detailed" in layers.notes[0]


@pytest.mark.parametrize(
    ("information", "profile", "said"),
    [
        ([{"count": 1}], None, "no list of `Layers`"),
        ({"Layers": ["of", "another"]}, None, "none of its 2 names a node"),
        ({"Layers": [{"Name": 5}]}, None, "its layers are not used"),
        (b"{", None, "its layers are not used"),
        (None, {"Layers": []}, "its times are not used: it is no list of layers"),
        (None, [{"name": "other", "averageMs": 1.0}], "none of its 1 layers names a node"),
        (None, [{"name": "/conv", "averageMs": -1.0}], "its times are not used"),
    ],
)
def test_what_cannot_be_used_is_told_and_raises_nothing(
    tmp_path: Path, information: Any, profile: Any, said: str
) -> None:
    layers = taken(tmp_path, information, profile)
    assert layers.answer is None
    assert said in layers.notes[0]


def test_a_missing_file_is_told() -> None:
    layers = take_layers(LayerFiles(profile=Path("/nowhere/profile.json")), network("a"))
    assert (layers.answer, len(layers.notes)) == (None, 1)
    assert "profile.json: its times are not used: No such file" in layers.notes[0]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.sampled_from(["/conv", "Int8", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Name", "name", "averageMs", "count", "Inputs", "Weights", "Type", "Metadata"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(JSON, JSON)
def test_any_json_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, layers: Any, profile: Any
) -> None:
    taken_layers = taken(tmp_path_factory.getbasetemp(), {"Layers": [layers]}, [profile])
    assert taken_layers.answer is not None or taken_layers.notes
