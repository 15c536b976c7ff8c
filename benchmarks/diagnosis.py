"""`trt-matrix diagnose` beside ONNX Runtime's per-tensor debugging tools: time, memory, and what is answered.

python -m benchmarks.diagnosis [--quick]
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from benchmarks import machine

DEMO = Path(__file__).parents[1] / "demo"

LAYERS = 60
SIZE = 320
WIDTHS = ((16, 6), (32, 14), (64, 20), (96, 20))
"""Channels of each stage, and its convolutions; each stage halves the image."""

WAYS = {
    "ort": "ONNX Runtime's qdq_loss_debug: error of every tensor",
    "theory": "the same here: error of every tensor, causes, images",
    "whole networks": "a Q/DQ network a group, alone and left out, each run whole: error of every head",
    "diagnose": "trt-matrix diagnose: all of it, and the search",
}


def network() -> onnx.ModelProto:
    """Returns a network of 60 convolutions at 320 × 320 with three heads, random weights."""
    random = np.random.default_rng(0)
    nodes, weights, heads = [], [], []
    before, channels, number = "image", 3, 0

    def conv(source: str, target: str, inside: int, outside: int, kernel: int, stride: int) -> None:
        spread = np.sqrt(2 / (inside * kernel * kernel))
        weight = random.normal(0, spread, (outside, inside, kernel, kernel)).astype("f4")
        bias = random.normal(0, 0.1, outside).astype("f4")
        weights.append(numpy_helper.from_array(weight, f"{target}.weight"))
        weights.append(numpy_helper.from_array(bias, f"{target}.bias"))
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{target}.weight", f"{target}.bias"], [target],
                name=f"conv/{target}", pads=[kernel // 2] * 4, strides=[stride, stride],
            )
        )  # fmt: skip

    for stage, (width, count) in enumerate(WIDTHS):
        for index in range(count - (1 if stage else 0)):
            kernel = 3 if index % 2 == 0 else 1
            conv(before, f"c{number}", channels, width, kernel, 2 if index == 0 else 1)
            nodes.append(
                helper.make_node("Relu", [f"c{number}"], [f"r{number}"], name=f"relu/{number}")
            )
            before, channels, number = f"r{number}", width, number + 1
        if stage:
            conv(before, f"head{stage}", width, 18, 1, 1)
            heads.append(f"head{stage}")
    graph = helper.make_graph(
        nodes, "sixty",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in heads],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def write(folder: Path, images: int) -> Path:
    """Writes the experiment; returns where matrix.yaml is."""
    model = network()
    onnx.save(model, folder / "sixty.onnx")
    content = {
        "name": "sixty",
        "model": {"onnx": "sixty.onnx"},
        "heads": {value.name: {"gate": {"sqnr_db": 24}} for value in model.graph.output},
        "data": {
            "calibration": {"images": str(DEMO / "images" / "calibration"), "limit": 8},
            "evaluation": {"images": str(DEMO / "images" / "evaluation"), "limit": images},
        },
        "baseline": "ort-1.32",
        "environments": [{"venv": "onnxruntime", "versions": ["1.32.0"]}],
    }
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def one(way: str, folder: Path, images: int) -> None:
    """Does one way over, in this process; what all ways need is prepared and not timed."""
    from trt_matrix.core.diagnosis.quantisers import quantised
    from trt_matrix.diagnosis.diagnosing import diagnose
    from trt_matrix.diagnosis.running import opened
    from trt_matrix.diagnosis.simulator import Simulator
    from trt_matrix.diagnosis.subject import DiagnosisWish
    from trt_matrix.diagnosis.theory import theory

    def silent(_: str) -> None:
        pass

    subject, store = opened(str(folder / "matrix.yaml"), folder / "results", None, silent)
    start, cpu = time.perf_counter(), time.process_time()
    if way == "diagnose":
        diagnosis = diagnose(subject, DiagnosisWish(images=images), store, silent)
        what = f"{len(diagnosis.tensors)} tensors, {len(diagnosis.heads)} heads, {diagnosis.search.evaluations} sets"
    elif way == "theory":
        simulator = Simulator(
            quantised(subject.model, subject.table, subject.options),
            [tensor for _, tensor in subject.heads],
        )
        what = f"{len(theory(subject, simulator, range(images), silent))} tensors"
    elif way == "ort":
        what = f"{_ort(folder, subject.images[:images])} tensors"
    else:
        what = f"{_whole(subject, images)} networks"
    spent = time.process_time() - cpu
    print(f"{time.perf_counter() - start:.2f} {spent:.2f} {what}")


def _ort(folder: Path, images: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> int:
    """Returns how many tensors ONNX Runtime's tools compared."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization import qdq_loss_debug as debug

    class Reader(CalibrationDataReader):
        def __init__(self, count: int) -> None:
            self.left: Iterator[int] = iter(range(count))

        def get_next(self) -> dict[str, object] | None:
            index = next(self.left, None)
            return None if index is None else {"image": np.array(images[index : index + 1])}

    float_model, placed = folder / "sixty.onnx", folder / "ort.onnx"
    quantize_static(float_model, placed, Reader(2))
    start, cpu = time.perf_counter(), time.process_time()
    found = []
    for model in (float_model, placed):
        path = folder / f"{model.stem}-told.onnx"
        debug.modify_model_output_intermediate_tensors(model, path)
        found.append(debug.collect_activations(str(path), Reader(len(images))))
    matched = debug.create_activation_matching(found[1], found[0])
    errors = debug.compute_activation_error(matched)
    weights = debug.compute_weight_error(
        debug.create_weight_matching(str(float_model), str(placed))
    )
    print(
        f"{time.perf_counter() - start:.2f} {time.process_time() - cpu:.2f} {len(errors) + len(weights)} tensors"
    )
    sys.exit(0)


def _whole(subject: "object", images: int) -> int:
    """Computes every layer alone in int8 and alone in float without cutting anything; returns how many networks."""
    import onnxruntime

    from trt_matrix.containers.job.reductions import compare
    from trt_matrix.core.network.operators import MACS
    from trt_matrix.core.qdq.explicit import place
    from trt_matrix.core.qdq.options import simulation_of
    from trt_matrix.diagnosis.subject import Subject

    assert isinstance(subject, Subject)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    heads = [tensor for _, tensor in subject.heads]

    def outputs(model: onnx.ModelProto) -> list[list[object]]:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return [session.run(heads, {"image": subject.image(index)}) for index in range(images)]

    layers = [node.name for node in subject.model.graph.node if node.op_type in MACS]
    reference = outputs(subject.model)
    made = 0
    for layer in layers:
        for exclude in ({layer}, set(layers) - {layer}):
            how = dataclasses.replace(simulation_of(subject.options), exclude=frozenset(exclude))
            for y, r in zip(
                outputs(place(subject.model, subject.table, how).model), reference, strict=True
            ):
                for value, wanted in zip(y, r, strict=True):
                    compare(value, wanted)
            made += 1
    return made


def measured(images: int, ways: list[str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for way in ways:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), images)
            command = [sys.executable, "-m", "benchmarks.diagnosis", "--one", way, "--folder", name]
            _, peak, told = machine.run(
                [*command, "--images", str(images)], env=machine.environment_of_job()
            )
        seconds, cpu, what = told.strip().splitlines()[-1].split(" ", 2)
        rows.append((WAYS[way], str(images), seconds, cpu, f"{peak / 1e6:.0f}", what))
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images: does it run at all?")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        one(options.one, options.folder, options.images)
        return
    rows = measured(2, list(WAYS)) if options.quick else []
    if not options.quick:
        rows = [*measured(8, ["ort", "theory", "diagnose"]), *measured(32, list(WAYS))]
    print(f"{machine.facts()}.")
    print(
        f"A network of {LAYERS} convolutions at {SIZE} × {SIZE}, three heads, no boxes. Seconds of the analysis "
        "alone: images, tables and quantised networks are there before. Peak: anonymous memory of the "
        "process. ONNX Runtime's tools keep every activation of every image, and tell what each tensor "
        "loses, not what any head loses by it.\n"
    )
    print(machine.table(["", "images", "s", "CPU s", "peak MB", "answered"], rows))


if __name__ == "__main__":
    main()
