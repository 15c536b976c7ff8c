"""Writes a commented matrix.yaml for a user's own network; heads are read from it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from trt_matrix.commands.init_data import GivenSamples, section
from trt_matrix.commands.yaml_text import comment, flow, quoted
from trt_matrix.config.network import LONGEST_HEAD
from trt_matrix.config.yaml_file import UNREADABLE
from trt_matrix.core.boxes.registry import STYLES, recognised
from trt_matrix.core.boxes.styles import Proposal, SeenOutput
from trt_matrix.core.manifest import Ranked
from trt_matrix.core.network import graph
from trt_matrix.core.network.boxless import A_MAP, boxless
from trt_matrix.core.network.cutting import cut
from trt_matrix.core.network.image_input import (
    CHANNELS,
    ImageInput,
    SampleInput,
    image_input,
    sample_input,
    shape_text,
)
from trt_matrix.core.network.ranked import rankings
from trt_matrix.core.network.shapes import inferred
from trt_matrix.core.network.tail_limits import limits
from trt_matrix.core.network.tails import parts, tails
from trt_matrix.core.prepared.likely import Likely, likely
from trt_matrix.core.prepared.packing import packed_input
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.planning.boxes import Shapes, shapes_of
from trt_matrix.planning.heads import is_floating

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")

VERSIONS = ("1.26.0", "1.27.0", "1.32.0")
"""Of ONNX Runtime: up to 1.26 it loses accuracy where int8 is resized."""
REPEATS = 3


def text(
    path: Path,
    model: onnx.ModelProto,
    notes: Sequence[str] = (),
    samples: GivenSamples | None = None,
    versions: Sequence[str] = VERSIONS,
    repeats: int = REPEATS,
) -> str:
    """Returns the YAML for the network at `path`, to be saved beside it; its weights may be missing.

    Each of `notes` becomes a comment above `model`; the last of `versions`, of ONNX Runtime, is the baseline.

    Raises:
        GraphError: the network has no input that images can fill, no output to compare, or one whose
            name, or its file's, no YAML can hold.
    """
    proposed = likely(model, samples.arrays if samples else None)
    model = proposed.prepared.model
    batch = proposed.wishes.batch
    parts = proposed.prepared.parts
    image = packed_input(graph.inputs(model)[0].name, parts) if parts else _taken(model, batch)
    model, tail = _in_front_of_tail(model)
    outputs = graph.outputs(model)
    if not any(is_floating(output.dtype) for output in outputs):
        message = "no output is floating point: export the network without its decoding of boxes, or its ArgMax"
        raise graph.GraphError(message)
    for name in (
        str(path),
        *proposed.wishes.constants,
        *proposed.wishes.shapes,
        *(output.name for output in outputs),
    ):
        if UNREADABLE.search(name):
            raise graph.GraphError(f"the name {name!a:.80} holds a control character: rename it")
    pairs = [(output.name, output.name) for output in outputs]
    ranked = rankings(model, pairs).rows
    shapes = _shapes(outputs, batch)
    proposals = _proposals(model, shapes, image)
    none = "" if proposals or ranked or tail else _no_boxes(model, shapes, image)
    chosen = proposals[0] if len(proposals) == 1 and not proposals[0].doubt else None
    held = chosen.heads if chosen else {}
    style = str(chosen.decode["style"]) if chosen else None
    published = STYLES[style].preprocess if style else {}
    heads = "\n".join(
        _head(output, number, image, ranked.get(output.name), held.get(output.name, {}))
        for number, output in enumerate(outputs, 1)
    )
    heads = tail + heads + _offered(ranked, dict(pairs))
    experiment = UNSAFE.sub("-", path.stem).strip("-._+")[:100] or "experiment"
    comments = "".join(f"{line}\n" for note in notes for line in comment(note))
    guessed = guesses(
        proposed,
        pixels=_takes_pixels(image, samples) and chosen is None,
        boxless=bool(none) and isinstance(image, ImageInput),
    )
    return f"""\
# One INT8 experiment: the same network, images and tables in every environment below.
# `trt-matrix plan` shows what it will run; `trt-matrix run` runs it.
# For completion in an editor: trt-matrix schema > matrix.schema.json, and as the first line here
#   yaml-language-server: $schema=matrix.schema.json
name: {quoted(experiment)}
{_guessed(guessed)}{comments}{_model(path, proposed)}

# Outputs to compare. A head that does not interest you can be left out.
# `stride` is guessed from the sizes: pixels of the input per cell of the head.
heads:
{heads}

{GATES_OF_HEADS if none else GATES_OF_BOXES}

{section(image, proposed.prepared.pixels, samples, published, style, boxless=bool(none), parts=parts)}

{_decode_none(none, image) if none else f"{DECODE}{_decode(proposals, chosen)}"}

calibration:
  algorithms: [entropy, minmax]     # also percentile, mse, robust: own tables of every environment
  shared: entropy                   # the one table that all environments are given; also best

precisions: [fp32, int8]
{f"repeats: {repeats}":<35} # each is a new process and a new build: the noise floor
devices: [cpu, "gpu:*"]
{f"baseline: {quoted(f'ort-{versions[-1]}')}":<35} # the environment that the others are compared with
environments:
  - {{venv: onnxruntime, versions: {json.dumps(list(versions))}}}
  # - {{ngc: ["24.04-py3", "26.05-py3"]}}
"""


GATES_OF_BOXES = """\
# Limits of cells in int8, fp16 and tf32; beyond one the exit code is 1. None is set: only you know
# what your application may lose. Say below how outputs become boxes, then choose for the whole network
#   lost: share of FP32's boxes that may be gone; ap_drop: AP that may be (needs labels);
# gate: {lost: 0.005, ap_drop: 0.01}
# A head may have a `gate` of its own, there also sqnr_db (dB against FP32). No number of dB is safe on
# every network: run once without, see which SQNR goes with lost boxes, and set it above that."""
GATES_OF_HEADS = """\
# Limits of cells in int8, fp16 and tf32; beyond one the exit code is 1. None is set: only you know
# what your application may lose. A head may have a gate of its own: NAME: {gate: {sqnr_db: 25}} asks for
# 25 dB against FP32 (6 dB more halve the error). No number of dB is safe on every network: run once
# without, see with which SQNR your application's own measure still holds, and set it there."""
DECODE = """\
# How the outputs become boxes: then lost, new and moved boxes are counted, and with labels AP, and
# gates may name lost, iou, ap_drop and ap50_drop. Styles and their settings: docs/reference/decoders.md.
"""


def _shapes(outputs: Sequence[graph.TensorInfo], batch: int) -> Shapes:
    """Returns floating-point output → shape for one image."""
    return shapes_of(
        {output.name: output.shape for output in outputs if is_floating(output.dtype)}, batch
    )


def _no_boxes(model: onnx.ModelProto, shapes: Shapes, image: ImageInput | SampleInput) -> str:
    """Returns why the network makes no boxes, to be read after "makes no boxes, since"; empty where it may."""
    if isinstance(image, SampleInput):
        return "it takes no image"
    return boxless(model, shapes, (image.height, image.width)) or ""


def _decode_none(why: str, image: ImageInput | SampleInput) -> str:
    note = "Boxes are looked at in images alone, and it takes none: it is judged by the errors of its heads."
    if isinstance(image, ImageInput):
        text_too = " Detectors of text give such a map, too." if A_MAP in why else ""
        note = (
            f"A guess: it makes no boxes, since {why}.{text_too} So it is judged by the errors of its heads. Where "
            "your program makes boxes of them all the same, name its function (`entry_point` in "
            "docs/reference/decoders.md) in place of none."
        )
    return "\n".join([*comment(note), "decode: none"])


def _proposals(
    model: onnx.ModelProto, shapes: Shapes, image: ImageInput | SampleInput
) -> Sequence[Proposal]:
    """Returns how the outputs may be decoded; nothing where the shape of one is not known, or no image is fed."""
    if isinstance(image, SampleInput):
        return ()
    behind = tails(model, shapes)
    known = inferred(model)
    outputs = [
        SeenOutput(
            name=name, shape=shape, tail=behind[name].operators, parts=parts(behind[name], known)
        )
        for name, shape in shapes.items()
        if shape is not None
    ]
    if len(outputs) < len(shapes):
        return ()
    return recognised(outputs, (image.height, image.width))


NOT_RECOGNISED = """\
# Styles with anchors want them in each head: {stride: 8, anchors: [[10, 13], [16, 30], [33, 23]]}
# decode: {style: yolov8, classes: 80}   # or entry_point: file:function, which suppresses by itself
# decode: none                           # where it makes no boxes: a classifier, a segmenter, depth"""


def _decode(proposals: Sequence[Proposal], chosen: Proposal | None) -> str:
    """Returns the section `decode`, or comments where names and shapes do not decide what it is."""
    if chosen is not None:
        note = comment(f"Recognised: {chosen.reason}. Look at the boxes of a first run to be sure.")
        return "\n".join([*note, f"decode: {flow(chosen.decode)}"])
    if not proposals:
        return NOT_RECOGNISED
    lines = list(
        comment("Not decided, since names and shapes fit what follows; choose, and complete it:")
    )
    for proposal in proposals:
        lines += comment(
            f"- {proposal.reason}. Not known: {proposal.doubt or 'which of these it is'}."
        )
        lines.append(f"#   decode: {flow(proposal.decode)}")
        lines += [
            f"#   heads: {quoted(name)}: {flow(settings)}"
            for name, settings in proposal.heads.items()
            if settings
        ]
    return "\n".join(lines)


def _taken(model: onnx.ModelProto, batch: int) -> ImageInput | SampleInput:
    """Returns what a network takes: an image where it can be one.

    Raises:
        GraphError: see `sample_input`.
    """
    try:
        return image_input(model, batch)
    except graph.GraphError:
        return sample_input(model, batch)


def _model(path: Path, proposed: Likely) -> str:
    """Returns the section `model`: on one line where the file says it all."""
    wishes = proposed.wishes
    if not (wishes.constants or wishes.shapes or wishes.batch > 1):
        return f"model: {{onnx: {quoted(str(path))}}}"
    lines = ["model:", f"  onnx: {quoted(str(path))}"]
    if wishes.batch > 1:
        lines.append(
            f"  batch: {wishes.batch}   # built into the file; latencies are those of so many images"
        )
    for key, entries in (("shapes", wishes.shapes), ("constants", wishes.constants)):
        if entries:
            lines += [f"  {key}:"]
            lines += [f"    {quoted(name)}: {json.dumps(value)}" for name, value in entries.items()]
    return "\n".join(lines)


def guesses(proposed: Likely, *, pixels: bool, boxless: bool) -> Sequence[str]:
    """Returns what of the proposal nothing says.

    `pixels`: what becomes of pixels is written, and of no known family; `boxless`: that an image gives no boxes.
    """
    return (
        *proposed.guesses,
        *(["the preprocessing"] if pixels else ()),
        *(["that it makes no boxes (decode: none)"] if boxless else ()),
    )


def _takes_pixels(image: ImageInput | SampleInput, samples: GivenSamples | None) -> bool:
    return (
        isinstance(image, ImageInput)
        and image.channels in CHANNELS
        and not (samples and samples.key == "arrays")
    )


def _guessed(guesses: Sequence[str]) -> str:
    if not guesses:
        return ""
    return (
        "# Guesses: nothing in the network says them. Every run warns of them; delete what you have checked.\n"
        f"guessed: {json.dumps(guesses)}\n"
    )


def _in_front_of_tail(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Returns the network cut in front of outputs that cannot be run and compared, and comments that say so.

    It is as it was where there are none, or nothing before them could be a head: then the check tells.
    """
    outputs = [output.name for output in graph.outputs(model)]
    limited = limits(model, {name: name for name in outputs})
    before = dict.fromkeys(tensor for _, ranked in limited.values() for tensor in ranked.before)
    if not before or any(UNREADABLE.search(name) for name in (*limited, *before)):
        return model, ""
    model_proto = cut(model, [*(name for name in outputs if name not in limited), *before])
    lines = [f"{name!r} {reason}." for name, (reason, _) in limited.items()]
    lines += [
        "So the network is cut in front of that end. Its own suppression is not run: `decode` says below how "
        "boxes are made of these tensors."
    ]
    return model_proto, "".join(f"  {line}\n" for text in lines for line in comment(text))


def _offered(ranked: Mapping[str, Ranked], outputs: Mapping[str, str]) -> str:
    """Returns comments with the heads that could stand in place of those whose rows are ranked."""
    offered: dict[str, None] = {}
    for rows in ranked.values():
        offered.update((name, None) for name in rows.before if name not in outputs)
    usable = [name for name in offered if not UNREADABLE.search(name)]
    called = "raw" if "raw" not in outputs else "before"
    names = [f"{called}-{number}" for number in range(1, len(usable) + 1)]
    lines = [
        f"  # {name}: {{output: {quoted(tensor)}}}"
        for name, tensor in zip(names if len(names) > 1 else [called], usable, strict=False)
    ]
    if not lines:
        return ""
    title = "  # Tensors inside the network, before the rows are ranked: heads to judge by SQNR instead."
    return "\n".join(("", title, *lines))


def _head(
    output: graph.TensorInfo,
    number: int,
    image: ImageInput | SampleInput,
    ranked: Ranked | None,
    held: Mapping[str, object],
) -> str:
    name = quoted(output.name)
    settings = []
    if len(name) > LONGEST_HEAD or output.name == WHOLE_NETWORK:
        # Quoted, since YAML limits what it takes for a key (1024 characters), escapes and all.
        settings.append(f"output: {name}")
        name = f"head-{number}"
    optional: dict[str, object] = {"stride": _stride(output, image), **held}
    settings += [f"{key}: {value}" for key, value in optional.items() if value]
    line = f"  {name}: {{{', '.join(settings)}}}   # {shape_text(output)}"
    if ranked:
        line += f"; rows ranked by {ranked.operator}: compared as boxes where `decode` says how"
    return line if is_floating(output.dtype) else f"  # not comparable, {output.dtype}:{line}"


def _stride(output: graph.TensorInfo, image: ImageInput | SampleInput) -> int | None:
    """Returns pixels per cell where the output is a map of cells; None where it is not."""
    if isinstance(image, SampleInput) or output.shape is None or len(output.shape) != 4:
        return None
    # Channels may come first or last; a map has the proportions of the image.
    for rows, columns in (output.shape[2:], output.shape[1:3]):
        if isinstance(rows, int) and isinstance(columns, int) and rows > 0 and columns > 0:
            stride = image.height // rows
            if stride and (stride * rows, stride * columns) == (image.height, image.width):
                return stride
    return None
