"""What TensorRT is asked of a network that comes quantised: by way of packs, without any TensorRT."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from PIL import Image

from tests.unit import small_networks as networks
from tests.unit.matrices import Told
from tests.unit.quantised import by_tool, pairs
from trt_matrix.commands import session
from trt_matrix.packs.packing import pack
from trt_matrix.ticket.random_data import random_weights


def write(folder: Path, model: onnx.ModelProto, **stated: Any) -> Path:
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    (folder / "images").mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    images = {"images": "images"}
    settings = {
        "name": "shipped",
        "model": {"onnx": "net.onnx", **stated},
        "heads": {value.name: {} for value in model.graph.output},
        "data": {"calibration": images, "evaluation": images},
        "precisions": ["fp32", "fp16", "int8"],
        "repeats": 1,
        "devices": ["gpu:*"],
        "baseline": "trt-8.6.1",
        "environments": [{"elsewhere": ["trt-8.6.1"]}],
    }
    matrix = folder / "matrix.yaml"
    matrix.write_text(yaml.safe_dump(settings))
    return matrix


def asked(folder: Path, matrix: Path) -> dict[str, Any]:
    """Returns pass → what the one request of a pack asks of it."""
    packed = pack(matrix, folder / "results", folder / "p.tar", select=[], progress=Told())
    assert len(packed.requests) == 1
    with tarfile.open(folder / "p.tar") as archive:
        (name,) = [
            name for name in archive.getnames() if "/requests/" in name and name.endswith(".json")
        ]
        stream = archive.extractfile(name)
        assert stream is not None
        request = json.load(stream)
    return {pass_["name"]: pass_ for pass_ in request["passes"]}


def known(folder: Path, file: str) -> onnx.ModelProto:
    return onnx.load(str(folder / "results" / ".store" / "objects" / file))


def test_pairs_are_explicit_int8_and_nothing_else_is(tmp_path: Path) -> None:
    found = asked(tmp_path, write(tmp_path, pairs()))
    assert list(found) == ["fp32", "fp16", "int8-shipped"]
    int8 = found["int8-shipped"]
    assert (int8["precision"], int8["implicit"], int8["table"]) == ("int8", None, None)
    assert int8["compare_with"] == "fp32"
    assert known(tmp_path, int8["model"]) == pairs()
    assert found["fp32"]["model"] == found["fp16"]["model"]
    assert networks.operators(known(tmp_path, found["fp32"]["model"])) == [
        "Conv", "Relu", "Conv", "Conv",
    ]  # fmt: skip


def test_variants_are_tried_in_the_form_of_each_pass(tmp_path: Path) -> None:
    older = pairs()
    older.ir_version = 7
    (tmp_path / "older.onnx").write_bytes(older.SerializeToString())
    matrix = write(tmp_path, pairs(), variants=["older.onnx"])
    found = asked(tmp_path, matrix)
    (alternative,) = found["int8-shipped"]["alternatives"]
    assert known(tmp_path, alternative) == older
    (alternative,) = found["fp32"]["alternatives"]
    assert "QuantizeLinear" not in networks.operators(known(tmp_path, alternative))


def test_operators_on_integers_are_unsupported_there_with_the_reason(tmp_path: Path) -> None:
    matrix = write(tmp_path, by_tool(networks.detector(), tmp_path, "QOperator"))
    planned = session.plan_experiment(matrix, tmp_path / "results", select=["*int8*"])
    [told] = [line for line in planned.text().splitlines() if "int8-shipped  " in line]
    assert "unsupported: TensorRT reads QuantizeLinear and DequantizeLinear alone" in told
    assert "QLinearConv" in told


def test_integer_weights_and_biases_do_not_leave_in_a_ticket(tmp_path: Path) -> None:
    for form in ("QDQ", "QOperator", "dynamic"):
        model = by_tool(networks.detector(), tmp_path, form)
        drawn, _ = random_weights(model, 0)
        for before, after in zip(model.graph.initializer, drawn.graph.initializer, strict=True):
            values = onnx.numpy_helper.to_array(before)
            is_weight = (values.ndim > 1 or values.dtype == np.int32) and values.any()
            if is_weight and values.dtype.kind in "iu" and values.dtype.itemsize in (1, 4):
                same = np.array_equal(values, onnx.numpy_helper.to_array(after))
                assert not same, (form, before.name)
        networks.run(drawn, {"image": networks.image()})
