"""Networks with a planted cause, made ready to be diagnosed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from tests.unit.small_networks import Builder
from trt_matrix.core.diagnosis.quantisers import quantised
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.options import ONNXRUNTIME, PlacementOptions
from trt_matrix.core.tables.table import Provenance, Table
from trt_matrix.diagnosis.simulator import Simulator
from trt_matrix.diagnosis.subject import Subject

SHAPE = (3, 16, 16)

INT8_OUTPUTS = replace(ONNXRUNTIME, quantise_outputs=True)


def images(count: int = 20, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (count, *SHAPE)).astype("f4")


def three_heads(seed: int = 0, layers: int = 3) -> onnx.ModelProto:
    """A trunk of `layers` convolutions called trunk1…, then three heads of two: `a1`, `a`, `b1`, `b`, `c1`, `c`."""
    b = Builder(seed)
    before, channels = "image", 3
    for number in range(1, layers + 1):
        b.conv(before, f"t{number}", channels, 8, name=f"trunk{number}")
        before = b.node("Relu", [f"t{number}"], f"trunk{number}_out")
        channels = 8
    for head in "abc":
        b.conv(before, f"{head}_mid", 8, 8, name=f"{head}1")
        b.node("Relu", [f"{head}_mid"], f"{head}_in")
        b.conv(f"{head}_in", f"head_{head}", 8, 6, k=1, name=head)
    return b.model({"image": [1, *SHAPE]}, ["head_a", "head_b", "head_c"])


def minmax(
    model: onnx.ModelProto,
    data: npt.NDArray[np.float32],
    factors: Mapping[str, float] | None = None,
) -> Table:
    """Returns largest magnitudes over `data`, some times a factor: what a wrong calibration would say."""
    names = tensors(model)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    given = {value.name for value in (*whole.graph.output, *whole.graph.input)}
    whole.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name not in given
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    outputs = [output.name for output in session.get_outputs()]
    found = dict.fromkeys(names, 0.0)
    for image in data:
        values = dict(zip(outputs, session.run(None, {"image": image[None]}), strict=True))
        values["image"] = image
        for name in names:
            found[name] = max(found[name], float(np.abs(values[name]).max()))
    for name, factor in (factors or {}).items():
        found[name] *= factor
    return Table(
        amax={name: amax for name, amax in found.items() if amax > 0},
        provenance=Provenance(algorithm="minmax"),
    )


def subject(
    model: onnx.ModelProto,
    folder: Path,
    *,
    factors: Mapping[str, float] | None = None,
    options: PlacementOptions = INT8_OUTPUTS,
    gates: Mapping[str, float] | None = None,
    data: npt.NDArray[np.float32] | None = None,
) -> Subject:
    """Returns a network ready to be diagnosed, its heads called by their tensors.

    Args:
        model: The network.
        folder: Where the diagnosis is written.
        factors: Tensor → what its range is wrong by.
        options: The placement.
        gates: Head → least SQNR.
        data: Evaluation images, which the table is made of, too.
    """
    network = canonical(model)
    data = images() if data is None else data
    heads = [value.name for value in network.graph.output]
    return Subject(
        name="planted",
        model=network,
        model_sha256="0" * 64,
        heads=tuple((name, name) for name in heads),
        table=minmax(network, data, factors),
        table_name="minmax of a test",
        others={"entropy of a test": minmax(network, data)},
        engine="onnxruntime",
        placement="onnxruntime",
        options=options,
        images=data,
        images_sha256="1" * 64,
        files=tuple(f"{index:04}.jpg" for index in range(len(data))),
        gates={name: HeadGate(head=name, sqnr_db=(gates or {}).get(name)) for name in heads},
        gate=None,
        decode=None,
        labels=None,
        evaluation=(),
        folder=folder,
    )


def simulator(one: Subject) -> Simulator:
    found = quantised(one.model, one.table, one.options)
    return Simulator(found, [tensor for _, tensor in one.heads])


def dead_channel(model: onnx.ModelProto, conv: str, factor: float) -> None:
    """Makes one channel's weights so many times larger, and its bias so low that Relu gives nothing of it.

    The network's function hardly changes, and no activation's range does: only one scale for all of
    the layer's weights is spoilt.
    """
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name in (f"{conv}.weight", f"{conv}.w"):
            array[0] *= factor
        elif tensor.name in (f"{conv}.bias", f"{conv}.b"):
            array[0] = -1e6
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
