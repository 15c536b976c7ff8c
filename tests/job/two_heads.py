"""A tiny two-head network and a request for it: what the contract tests hand to the job."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

SHAPES = {
    "image": [1, 3, 16, 16],
    "c1": [1, 8, 8, 8],
    "r1": [1, 8, 8, 8],
    "large": [1, 6, 4, 4],
    "up": [1, 6, 8, 8],
    "small": [1, 4, 8, 8],
}
TENSORS = list(SHAPES)


def network(outputs: list[str]) -> bytes:
    """Two heads, strides 4 and 2, the second behind a Resize; (1, 3, 16, 16) float32."""
    rng = np.random.default_rng(1)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["large"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node(
            "Resize",
            ["large", "", "scales"],
            ["up"],
            mode="linear",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Conv", ["up", "w3"], ["small"]),
    ]
    initializers = [
        weights("w1", 8, 3, 3, 3),
        weights("w2", 6, 8, 3, 3),
        weights("w3", 4, 6, 1, 1),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
    ]
    float_type = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "two-heads",
        [helper.make_tensor_value_info("image", float_type, SHAPES["image"])],
        [helper.make_tensor_value_info(name, float_type, SHAPES[name]) for name in outputs],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return model.SerializeToString()


def one_pass(name: str, **changes: Any) -> dict[str, Any]:
    given = {"precision": "fp32", "model": "model.onnx", "table": None, "compare_with": None}
    return {"name": name, **given, **changes}


def golden() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "engine": "onnxruntime",
        "engine_options": {"threads": 1, "graph_optimization": "basic"},
        "input": "image",
        "heads": [["large", "large"], ["small", "small"]],
        "evaluation": "evaluation.npy",
        "calibration": {
            "model": "calibration.onnx",
            "images": "calibration.npy",
            "tensors": TENSORS,
            "algorithms": [
                {"name": "minmax", "options": {}},
                {"name": "entropy", "options": {}},
                {"name": "percentile", "options": {"percentile": 99.0}},
                {"name": "mse", "options": {}},
                {"name": "robust", "options": {}},
            ],
        },
        "passes": [one_pass("fp32"), one_pass("again", compare_with="fp32")],
        "timing": {"min_samples": 3, "max_samples": 5, "max_s": 0.05, "warm_up_max_s": 0.05},
    }


def write_request(folder: Path, request: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(json.dumps(request))
    return folder
