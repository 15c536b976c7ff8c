"""Writes a commented matrix.yaml for a user's own network; heads are read from it."""

import re
from pathlib import Path

import onnx

from runner.core import graph

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def text(path: Path, model: onnx.ModelProto) -> str:
    """Returns the YAML for the network at `path`, to be saved beside it.

    Raises:
        GraphError: the network has no single float32 image input.
    """
    info = graph.require_float32_input(model)
    height, width, color = _layout(info)
    name = UNSAFE.sub("-", path.stem).strip("-.") or "experiment"
    heads = "\n".join(_head(output, height) for output in graph.outputs(model))
    return f"""\
# yaml-language-server: $schema=runner/matrix.schema.json
# One INT8 experiment: the same network, images and tables in every environment below.
# `trt-matrix plan` shows what it will run; `trt-matrix run` runs it.
name: {name}
model: {{onnx: {_quoted(str(path))}}}

# Outputs to compare. `gate` is the least SQNR (dB against FP32) that an int8 cell must keep;
# below it the exit code is 1. A head that does not interest you can be left out.
heads:
{heads}

data:
  # 128 or more images like those the network will see; not those you evaluate on.
  calibration: {{images: images/calibration}}
  evaluation: {{images: images/evaluation}}   # labels: labels.json (COCO), where you have them
  # value = (pixel * scale - mean) / std, after resizing. It must be what the network was trained with:
  # a wrong one here looks exactly like a bad calibration.
  preprocess:
    resize: letterbox          # or stretch
    size: [{height}, {width}]          # height, width
    scale: 0.00392156862745098 # 1/255
    mean: 0                    # or one value a channel: [0.485, 0.456, 0.406]
    std: 1
    color: {color}                 # rgb, bgr or gray

calibration:
  algorithms: [entropy, minmax]   # also percentile, mse: own tables of every environment
  shared: entropy                 # the one table that all environments are given

precisions: [fp32, int8]
repeats: 3                        # each is a new process and a new build: the noise floor
devices: [cpu, "gpu:*"]
baseline: ort-1.32                # the environment that the others are compared with
environments:
  - {{venv: onnxruntime, versions: ["1.26.0", "1.27.0", "1.32.0"]}}
  # - {{ngc: ["24.04-py3", "26.05-py3"]}}
"""


def _layout(info: graph.TensorInfo) -> tuple[int, int, str]:
    """Returns height, width and colour order of an image input."""
    shape = info.shape or ()
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]):
        told = list(info.shape) if info.shape is not None else "of unknown rank"
        message = (
            f"input {info.name!r} has shape {told}; an image of fixed size, such as "
            "[1, 3, 320, 320], is expected: export the network so"
        )
        raise graph.GraphError(message)
    sizes = [int(size or 0) for size in shape]
    channels_last = sizes[1] not in (1, 3) and sizes[3] in (1, 3)
    channels, height, width = (
        (sizes[3], sizes[1], sizes[2]) if channels_last else (sizes[1], sizes[2], sizes[3])
    )
    return height, width, "gray" if channels == 1 else "rgb"


def _head(output: graph.TensorInfo, height: int) -> str:
    shape = list(output.shape) if output.shape is not None else []
    stride = ""
    if len(shape) == 4 and isinstance(shape[2], int) and shape[2] > 1 and height % shape[2] == 0:
        stride = f"stride: {height // shape[2]}, "
    dims = ", ".join("?" if size is None else str(size) for size in shape)
    return f"  {_quoted(output.name)}: {{{stride}gate: {{sqnr_db: 20}}}}   # [{dims}]"


def _quoted(name: str) -> str:
    """Returns a name as YAML reads it back: plain where that is safe, in quotes elsewhere."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", name) and name.lower() not in {
        "null", "true", "false", "yes", "no", "on", "off", "y", "n",
    }  # fmt: skip
    if plain:
        return name
    escaped = name.encode("unicode_escape").decode().replace('"', '\\"')
    return f'"{escaped}"'
