"""A custom layer and a UFF file on a real TensorRT 8.5.1.7: tests/data/custom_h200, docs/reference/verified.md."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

DATA = Path(__file__).parents[1] / "data" / "custom_h200"
ARRAYS = dict(np.load(DATA / "outputs.npz"))
TOLD = json.loads((DATA / "told.json").read_text())


def sqnr_db(output: np.ndarray, reference: np.ndarray) -> float:
    error = np.sum((output.reshape(reference.shape) - reference).astype(np.float64) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / max(error, 1e-300)))


@pytest.mark.parametrize("plugin", ["float", "int8"])
def test_the_plugin_upsamples_as_its_definition_says(plugin: str) -> None:
    session = onnxruntime.InferenceSession(
        DATA / "network.onnx", providers=["CPUExecutionProvider"]
    )
    images = ARRAYS["images"]
    answers = [session.run(["large", "small"], {"image": image[None]}) for image in images]
    for index, head in enumerate(("large", "small")):
        reference = np.concatenate([answer[index] for answer in answers])
        assert sqnr_db(ARRAYS[f"{plugin}-fp32-{head}"], reference) > 130


@pytest.mark.parametrize("plugin", ["float", "int8"])
def test_layers_tell_in_which_precision_the_plugin_and_its_neighbours_ran(plugin: str) -> None:
    assert TOLD[plugin]["version"] == "8.5.1.7"
    assert TOLD[plugin]["creators"] == [["UpsampleNearest 1"]]
    for name, pass_ in TOLD[plugin]["passes"].items():
        ((layer),) = pass_["custom"]
        assert (layer["name"], layer["precision"]) == ("upsample", "fp32")
        assert [each["name"] for each in layer["before"] + layer["after"]] == ["conv2", "conv3"]
        assert layer["scaled"] == ({"up": True} if name.startswith("int8") else None)


def test_a_uff_network_gives_what_its_nodes_say() -> None:
    images = ARRAYS["images"]
    relu = np.maximum(images, 0)
    for name in ("fp32", "int8-minmax"):
        assert np.array_equal(ARRAYS[f"uff-{name}-large"].reshape(images.shape), relu)
        assert np.array_equal(ARRAYS[f"uff-{name}-small"].reshape(images.shape), relu + images)
