"""Writes a commented matrix.yaml for a user's own network; heads are read from it."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from runner.checks.heads import is_floating
from runner.config.matrix import LONGEST_HEAD
from runner.config.yaml_file import UNREADABLE
from runner.core.network import graph
from runner.core.network.image_input import ImageInput, image_input, shape_text
from runner.core.network.ranked import rankings
from runner.core.verdicts.gates import WHOLE_NETWORK
from runner.records import Ranked

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")

PLAIN = re.compile(r"(?!(null|true|false|yes|no|on|off|y|n)\Z)[A-Za-z_][A-Za-z0-9_./-]*", re.I)
"""What YAML reads as that very text without quotes."""


def text(path: Path, model: onnx.ModelProto, notes: Sequence[str] = ()) -> str:
    """Returns the YAML for the network at `path`, to be saved beside it.

    Args:
        path: As the file is to call it.
        model: The network; its weights may be missing.
        notes: What is to be known of it: each becomes a comment above `model`.

    Raises:
        GraphError: the network has no single image input of fixed size, no output to compare, or
            one whose name, or its file's, no YAML can hold.
    """
    image = image_input(model)
    outputs = graph.outputs(model)
    if not any(is_floating(output.dtype) for output in outputs):
        message = "no output is floating point: export the network without its decoding of boxes"
        raise graph.GraphError(message)
    for name in (str(path), *(output.name for output in outputs)):
        if UNREADABLE.search(name):
            message = f"the name {name!a:.80} holds a control character: rename it"
            raise graph.GraphError(message)
    pairs = [(output.name, output.name) for output in outputs]
    ranked = rankings(model, pairs).rows
    heads = "\n".join(
        _head(output, number, image, ranked.get(output.name))
        for number, output in enumerate(outputs, 1)
    )
    heads += _offered(ranked, dict(pairs))
    experiment = UNSAFE.sub("-", path.stem).strip("-._+")[:100] or "experiment"
    size = f"size: [{image.height}, {image.width}]"
    color = f"color: {'gray' if image.channels == 1 else 'rgb'}"
    comments = "".join(f"{line}\n" for note in notes for line in _comment(note))
    return f"""\
# One INT8 experiment: the same network, images and tables in every environment below.
# `trt-matrix plan` shows what it will run; `trt-matrix run` runs it.
# For completion in an editor: trt-matrix schema > matrix.schema.json, and as the first line here
#   yaml-language-server: $schema=matrix.schema.json
name: {quoted(experiment)}
{comments}model: {{onnx: {quoted(str(path))}}}

# Outputs to compare. A head that does not interest you can be left out.
# `stride` is guessed from the sizes: pixels of the input per cell of the head.
heads:
{heads}

# Limits of cells in int8, fp16 and tf32; beyond one the exit code is 1. None is set: only you know
# what your application may lose. Say below how outputs become boxes, then choose for the whole network
#   lost: share of FP32's boxes that may be gone; ap_drop: AP that may be (needs labels);
# gate: {{lost: 0.005, ap_drop: 0.01}}
# A head may have a `gate` of its own, there also sqnr_db (dB against FP32). No number of dB is safe on
# every network: run once without, see which SQNR goes with lost boxes, and set it above that.

data:
  # 128 or more images like those the network will see; not those you evaluate on.
  calibration: {{images: images/calibration}}
  evaluation: {{images: images/evaluation}}   # labels: labels.json (COCO), where you have them
  # value = (pixel * scale - mean) / std, after resizing. It must be what the network was trained
  # with: a wrong one here looks exactly like a bad calibration.
  preprocess:
    resize: letterbox               # keeps proportions; or stretch
    {size:<31} # height, width of the network's input
    scale: 0.00392156862745098      # 1/255
    mean: 0                         # or one value a channel: [0.485, 0.456, 0.406]
    std: 1                          # likewise
    {color:<31} # rgb, bgr or gray: what the network was trained with
    pad: 114                        # pixel value beside a letterboxed image

# How the outputs become boxes: then lost, new and moved boxes are counted, and with labels AP, and
# gates may name lost, iou, ap_drop and ap50_drop. Styles with anchors want them in each head:
# {{stride: 8, anchors: [[10, 13], [16, 30], [33, 23]]}}
# decode: {{style: yolov8, classes: 80}}   # yolov3, yolov5, yolov7, …-decoded, or entry_point: file:function

calibration:
  algorithms: [entropy, minmax]     # also percentile, mse, robust: own tables of every environment
  shared: entropy                   # the one table that all environments are given; also best

precisions: [fp32, int8]
repeats: 3                          # each is a new process and a new build: the noise floor
devices: [cpu, "gpu:*"]
baseline: ort-1.32                  # the environment that the others are compared with
environments:
  - {{venv: onnxruntime, versions: ["1.26.0", "1.27.0", "1.32.0"]}}
  # - {{ngc: ["24.04-py3", "26.05-py3"]}}
"""


def _comment(note: str) -> Sequence[str]:
    plain = "".join(c if c.isprintable() else "?" for c in note)
    return textwrap.wrap(plain, 98, initial_indent="# ", subsequent_indent="# ")


def _offered(ranked: Mapping[str, Ranked], outputs: Mapping[str, str]) -> str:
    """Returns comments with the heads that could stand in place of those whose rows are ranked."""
    offered: dict[str, None] = {}
    for one in ranked.values():
        offered.update((name, None) for name in one.before if name not in outputs)
    usable = [name for name in offered if not UNREADABLE.search(name)]
    called = "raw" if "raw" not in outputs else "before"
    names = [f"{called}-{number}" for number in range(1, len(usable) + 1)]
    lines = [
        f"  # {name}: {{output: {quoted(tensor)}}}"
        for name, tensor in zip(names if len(names) > 1 else [called], usable, strict=False)
    ]
    if not lines:
        return ""
    told = "  # Tensors inside the network, before the rows are ranked: heads to judge by SQNR instead."
    return "\n".join(("", told, *lines))


def _head(output: graph.TensorInfo, number: int, image: ImageInput, ranked: Ranked | None) -> str:
    name = quoted(output.name)
    settings = []
    if len(name) > LONGEST_HEAD or output.name == WHOLE_NETWORK:
        # Quoted, since YAML limits what it takes for a key (1024 characters), escapes and all.
        settings.append(f"output: {name}")
        name = f"head-{number}"
    if stride := _stride(output, image):
        settings.append(f"stride: {stride}")
    line = f"  {name}: {{{', '.join(settings)}}}   # {shape_text(output)}"
    if ranked:
        line += f"; rows ranked by {ranked.operator}: compared as boxes where `decode` says how"
    return line if is_floating(output.dtype) else f"  # not comparable, {output.dtype}:{line}"


def _stride(output: graph.TensorInfo, image: ImageInput) -> int | None:
    """Returns pixels per cell where the output is a map of cells; None where it is not."""
    if output.shape is None or len(output.shape) != 4:
        return None
    # Channels may come first or last; a map has the proportions of the image.
    for rows, columns in (output.shape[2:], output.shape[1:3]):
        if isinstance(rows, int) and isinstance(columns, int) and rows > 0 and columns > 0:
            stride = image.height // rows
            if stride and (stride * rows, stride * columns) == (image.height, image.width):
                return stride
    return None


def quoted(name: str) -> str:
    """Returns a name as YAML reads it back: plain where that is safe, in quotes elsewhere."""
    if PLAIN.fullmatch(name):
        return name
    # A JSON string is a YAML string, but for line breaks that JSON does not know (U+2028).
    text = json.dumps(name, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
