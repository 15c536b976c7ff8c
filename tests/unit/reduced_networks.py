"""Small networks to convert below float32, and what converting any must keep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from trt_matrix.core.cells import Precision
from trt_matrix.core.network.loading import load
from trt_matrix.core.reduced.converting import Converted, convert, element_types, float_tensors

ROOT = Path(__file__).parents[2]
FP16, BF16 = Precision.FP16, Precision.BF16
X = np.linspace(-1, 1, 2 * 8 * 8, dtype=np.float32).reshape(1, 2, 8, 8)


def weight(value: Any, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def network(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    heads: Sequence[str] = ("y",),
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Returns a network of one image (1, 2, 8, 8), whose first node may be `conv`."""
    kernel = np.random.default_rng(3).normal(size=(2, 2, 3, 3)).astype(np.float32) / 4
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info(head, TensorProto.FLOAT, None) for head in heads],
        [weight(kernel, "kernel"), *weights],
    )
    imports = [
        helper.make_opsetid("", opset),
        *(helper.make_opsetid(domain, 1) for domain in domains),
    ]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def conv(given: str = "x", made: str = "c") -> onnx.NodeProto:
    return helper.make_node("Conv", [given, "kernel"], [made], name=f"conv_{made}", pads=[1] * 4)


def node(operator: str, given: Sequence[str], made: str, **more: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(given), [made], name=made, **more)


def run(model: onnx.ModelProto, x: np.ndarray = X, heads: Sequence[str] = ()) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    return session.run(list(heads) or None, {session.get_inputs()[0].name: x})


def rounded_everywhere(model: onnx.ModelProto, x: np.ndarray = X) -> np.ndarray:
    """Computes by ONNX's own reference, in which every float16 tensor is one.

    ONNX Runtime drops conversions between two nodes that it computes in float32 all the same.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
        return outputs[0]


def ranges(model: onnx.ModelProto, x: np.ndarray = X) -> dict[str, float]:
    giving, names = float_tensors(model)
    found = run(giving, x, names)
    return {name: float(np.abs(array).max()) for name, array in zip(names, found, strict=True)}


def converted(
    model: onnx.ModelProto, precision: Precision = FP16, amax: dict[str, float] | None = None
) -> Converted:
    """Converts, and holds what must always be: valid ONNX, whose inputs and heads are of their types."""
    before = model.SerializeToString(deterministic=True)
    made = convert(model, precision, ranges(model) if amax is None else amax)
    assert model.SerializeToString(deterministic=True) == before, "it is not changed"
    if not any(node.domain for node in made.model.graph.node):
        load(made.model.SerializeToString(), "the converted network")
        onnx.shape_inference.infer_shapes(made.model, check_type=True, strict_mode=True)
    for ours, theirs in (
        (made.model.graph.output, model.graph.output),
        (made.model.graph.input, model.graph.input),
    ):
        names = [value.name for value in theirs if value.name in {each.name for each in ours}]
        assert [value.name for value in ours] == names
        assert {value.type.tensor_type.elem_type for value in ours} == {TensorProto.FLOAT}
    return made


def types_of(model: onnx.ModelProto) -> dict[str, str]:
    """Returns node → type of its first output."""
    known = element_types(model)
    return {
        node.name: TensorProto.DataType.Name(known.get(node.output[0], 0))
        for node in model.graph.node
        if node.op_type != "Cast" or not node.name.endswith("/Cast")
    }


def sqnr_db(got: np.ndarray, wanted: np.ndarray) -> float:
    error = float(np.square(got.astype(np.float64) - wanted).sum())
    return 10 * float(np.log10(np.square(wanted.astype(np.float64)).sum() / error))


def branch(name: str, nodes: Sequence[onnx.NodeProto]) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [output])
