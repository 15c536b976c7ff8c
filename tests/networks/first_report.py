"""`init MODEL --images FOLDER --run` as a person types it, and what it must leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import yaml
from onnx import helper
from PIL import Image

from trt_matrix.cli import app
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record
from trt_matrix.store.results import Store

VERSION = "1.32.0"


@dataclass(frozen=True, slots=True)
class First:
    """One first report."""

    results: Path
    written: Mapping[str, Any]
    """matrix.yaml."""
    manifest: Manifest
    records: Sequence[Record]
    store: Store
    page: str


def first_report(model: Path, samples: Path, folder: Path, *, gone: int = 0) -> First:
    """Runs the command in process; exit code 0 is asked for.

    Args:
        model: The network's file.
        samples: A folder of images or arrays.
        folder: Where matrix.yaml and results go.
        gone: Exit code that is right.
    """
    matrix, results = folder / "matrix.yaml", folder / "results"
    arguments = ["init", str(model), "--images", str(samples), "--versions", VERSION, "--run"]
    arguments += ["--repeats", "1", "-o", str(matrix), "--results", str(results), "--quiet"]
    assert (app(arguments, standalone_mode=False) or 0) == gone
    store = Store(results)
    run = store.open_run("latest")
    return First(
        results=results,
        written=yaml.safe_load(matrix.read_text("utf-8")),
        manifest=run.manifest(),
        records=run.records(),
        store=store,
        page=(results / "latest" / "report.html").read_text("utf-8"),
    )


def fill(folder: Path, samples: str, shape: tuple[int, ...], count: int = 6) -> None:
    """Makes samples: photographs are not needed to see that something runs."""
    folder.mkdir()
    random = np.random.default_rng(7)
    for index in range(count):
        if samples == "arrays":
            np.save(folder / f"{index}.npy", random.normal(0, 1, shape).astype("f4"))
        else:
            # Blots with some noise, each image of another brightness: of noise alone all are alike.
            channels = 4 if samples == "rgba" else 3
            coarse = random.integers(0, 40 * (index + 1), (3, 4, channels), dtype=np.uint8)
            blots = Image.fromarray(coarse).resize((32, 24), Image.Resampling.BILINEAR)
            noise = random.integers(0, 16, (24, 32, channels), dtype=np.uint8)
            Image.fromarray(np.asarray(blots) + noise).save(folder / f"{index}.png")


def as_the_file_says(
    model: onnx.ModelProto,
    fed: npt.NDArray[np.float32],
    constants: Mapping[str, Any],
    heads: Sequence[str],
) -> Mapping[str, npt.NDArray[Any]]:
    """Returns what the user's own file gives for one sample, computed by ONNX Runtime without this tool.

    Args:
        model: As its file holds it; what no head needs is left away, which may be what no engine here has.
        fed: The sample as the run fed it, without a batch.
        constants: What matrix.yaml says of other inputs.
        heads: Tensors that are wanted.
    """
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    needed, nodes = set(heads), []
    waiting = list(model.graph.node)
    while any(set(node.output) & needed for node in waiting):
        for node in [node for node in waiting if set(node.output) & needed]:
            waiting.remove(node)
            nodes.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in attribute.g.node:
                    needed.update(inner.input)
    in_order = [node for node in model.graph.node if node in nodes]
    del kept.graph.node[:], kept.graph.output[:]
    kept.graph.node.extend(in_order)
    kept.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in heads)
    fed_to = [value for value in model.graph.input if value.name in needed]
    del kept.graph.input[:]
    kept.graph.input.extend(fed_to)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        kept.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    weights = {tensor.name for tensor in model.graph.initializer}
    feed = {}
    for argument in session.get_inputs():
        if argument.name in weights:
            continue
        dtype = TYPES[argument.type]
        if argument.name not in constants:
            batch = (
                argument.shape[0] if argument.shape and isinstance(argument.shape[0], int) else 1
            )
            feed[argument.name] = np.repeat(fed[None], max(batch, 1), axis=0).astype(dtype)
            continue
        value = np.asarray(constants[argument.name], dtype)
        shape = (1,) * (len(argument.shape) - value.ndim) + value.shape
        sizes = [size if isinstance(size, int) and size > 0 else 1 for size in argument.shape]
        feed[argument.name] = np.broadcast_to(
            value.reshape(shape), np.broadcast_shapes(shape, sizes)
        )
    return dict(zip(heads, session.run(list(heads), feed), strict=True))


TYPES = {
    "tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(uint8)": "u1",
    "tensor(int64)": "i8", "tensor(bool)": "?",
}  # fmt: skip
