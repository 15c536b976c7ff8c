"""Reads and builds converted networks with NVIDIA's own parser and builder, without a GPU.

    pip download --no-deps -d WHEELS tensorrt-rtx-cu12-bindings==1.7.1.116 tensorrt-rtx-cu12-libs==1.7.1.116
    .venv/bin/python tests/contract/on_real_parser.py WHEELS/*.whl --networks demo/*.onnx [--sm SM86]

TensorRT-RTX has the parser of TensorRT 11, strongly typed networks alone, and builds for GPUs that are not
there. For each network in fp16 and bf16 it prints the types of the layers that were made of it, and fails
where a convolution has another than was asked for, or the network's inputs and outputs are not FLOAT.
Tensors are judged by weights alone here: nothing is run.
"""

import argparse
import ctypes
import importlib
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx

from runner.cells import Precision
from runner.core.reduced.converting import convert

CONTAINERS = Path(__file__).parents[2] / "containers"
TYPES = {Precision.FP16: "HALF", Precision.BF16: "BF16"}
LIBRARIES = ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1")


def bindings(wheels: list[Path], folder: Path) -> Any:
    """Returns the module of the wheels, which the job then finds as `tensorrt`."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    for name in LIBRARIES:
        (found,) = folder.rglob(name)
        ctypes.CDLL(str(found), ctypes.RTLD_GLOBAL)
    sys.path[:0] = [str(folder), str(CONTAINERS)]
    (package,) = (one.name for one in folder.glob("tensorrt*bindings"))
    module = importlib.import_module(package)
    sys.modules["tensorrt"] = module
    return module


def check(trt: Any, path: Path, precision: Precision, sm: str, folder: Path) -> str:
    """Returns one line about a network in a precision.

    Raises:
        AssertionError: the parser or the builder made something else of it than was written.
    """
    from job.engines.tensorrt import configuration, log, network, options

    made = convert(onnx.load(path), precision, {})
    file = folder / f"{path.stem}-{precision}.onnx"
    file.write_bytes(made.model.SerializeToString())
    heard = log.Log()
    builder = trt.Builder(heard)
    parsed = network.parse(builder, heard, str(file), explicit=False, strong=True)
    definition = parsed.definition
    types: Counter[str] = Counter()
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        kind, dtype = network.word(layer.type), network.word(layer.get_output(0).dtype)
        types[f"{kind} {dtype}"] += 1
        if kind in ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY"):
            expected = "FLOAT" if layer.name in made.kept else TYPES[precision]
            assert dtype == expected, (layer.name, dtype)
    ends = [definition.get_input(one) for one in range(definition.num_inputs)]
    ends += [definition.get_output(one) for one in range(definition.num_outputs)]
    assert {network.word(one.dtype) for one in ends} == {"FLOAT"}, [one.name for one in ends]
    config = builder.create_builder_config()
    choice = configuration.Choice(str(precision), "fp32", True, None)
    configuration.configure(config, choice, dict(options.DEFAULTS))
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, sm), 0)
    start = time.perf_counter()
    plan = builder.build_serialized_network(definition, config)
    assert plan is not None, heard.told()
    seconds = time.perf_counter() - start
    floats = {
        name: n for name, n in sorted(types.items()) if name.endswith(("FLOAT", TYPES[precision]))
    }
    return (
        f"{path.name} {precision}: {definition.num_layers} layers, {plan.nbytes / 1e6:.1f} MB for {sm} in "
        f"{seconds:.1f} s, kept in float32: {', '.join(made.kept) or 'nothing'}\n    {floats}"
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("wheels", nargs="+", type=Path)
    arguments.add_argument("--networks", nargs="+", type=Path, required=True)
    arguments.add_argument("--sm", default="SM86")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tensorrt = bindings(given.wheels, Path(temporary))
        print("TensorRT-RTX", tensorrt.__version__)
        for one in given.networks:
            for wanted in TYPES:
                print(check(tensorrt, one, wanted, given.sm, Path(temporary)), flush=True)
