"""Whether `decode`, the labels and the gates on boxes fit the network; all before anything starts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trt_matrix.config.environments import Dumps
from trt_matrix.config.gates import BoxLimits, NetworkGate, own_limits, recorded
from trt_matrix.config.gates import HeadGateSection as GateSection
from trt_matrix.config.matrix import Config
from trt_matrix.config.network import Head
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.core.boxes.decoding import DecodeError, refuse
from trt_matrix.core.boxes.detection import detect_all
from trt_matrix.core.boxes.registry import style_of
from trt_matrix.core.boxes.styles import Style
from trt_matrix.core.cells import Precision
from trt_matrix.core.manifest import DecodedHead, Gate, HeadGate, PriorGrid, RecordedDecode
from trt_matrix.core.network import graph
from trt_matrix.inputs.decoder_file import detector, file_of
from trt_matrix.inputs.labels import ImageLabels
from trt_matrix.planning.problems import Add
from trt_matrix.store.results import object_of
from trt_matrix.store.untrusted import named_file

Shapes = Mapping[str, tuple[int, ...] | None]
"""Head → shape of one image's output; None where the network leaves it open."""

OF_BOXES = ("ap_drop", "ap50_drop", "iou", "lost")
"""Limits of a gate that need boxes."""

OF_LABELS = ("ap_drop", "ap50_drop")

LIMIT_SOURCE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class CheckedDecode:
    decode: RecordedDecode
    source: bytes | None
    """The user's own decoder."""


def head_gates(config: Config, ranked: Collection[str] = ()) -> tuple[HeadGate, ...]:
    """Returns the heads' gates as they are recorded; without limits on SQNR where rows are ranked: it says nothing of them."""
    gates = [HeadGate(head=name, **recorded(head.gate)) for name, head in config.heads.items()]
    return tuple(gate.without_sqnr() if gate.head in ranked else gate for gate in gates)


def network_gate(config: Config) -> Gate | None:
    """Returns the whole network's gate as it is recorded; None where there is none."""
    return None if config.gate is None else Gate(**recorded(config.gate))


def check_gates(config: Config, labels: ImageLabels | None, add: Add) -> None:
    """Tells of every limit that could never be judged."""
    if config.boxless:
        for part in ("calibration", "evaluation"):
            if getattr(config.data, part).labels is not None:
                add(("data", part, "labels"), f"are of boxes: {_no_boxes(config)}")
    gates: list[tuple[tuple[str, ...], GateSection | NetworkGate, str | None]] = [
        (("heads", name, "gate"), head.gate, name) for name, head in config.heads.items()
    ]
    if config.gate:
        gates.append((("gate",), config.gate, None))
    for where, gate, head in gates:
        _check_limits(config, labels, gate, head, where, add)
        for precision, own in own_limits(gate).items():
            place = (*where, str(precision))
            _check_limits(config, labels, own, head, place, add)
            if precision not in _planned(config):
                problem = "add it to `precisions`, or leave this gate out"
                add(place, f"no cell is in {precision}: {problem}")


def _check_limits(
    config: Config,
    labels: ImageLabels | None,
    limits: BoxLimits,
    head: str | None,
    place: tuple[str, ...],
    add: Add,
) -> None:
    for limit in OF_BOXES:
        if getattr(limits, limit) is None:
            continue
        where = (*place, limit)
        if config.decoding is None:
            add(where, f"needs boxes: {_no_boxes(config)}")
            if config.boxless:  # which labels are refused beside
                continue
        elif head and head not in config.decoded_heads():
            which = "" if config.decoding.heads else ": those with a role are"
            add(where, f"needs boxes: {head!r} is not among decode.heads{which}")
        if limit in OF_LABELS and config.data.evaluation.labels is None:
            add(where, "needs labels: give data.evaluation.labels, or gate on iou and lost")
        elif limit in OF_LABELS and labels and not labels.labels.annotations:
            add(where, "needs labelled objects: the labels have none in these images")


def _no_boxes(config: Config) -> str:
    """Returns why there are none, and what to do for what needs them."""
    return (
        "`decode: none` says that the network makes none; leave one of the two out"
        if config.boxless
        else "say in `decode` how the outputs become boxes"
    )


def _planned(config: Config) -> frozenset[Precision]:
    """Returns the precisions that cells of the experiment have, recorded ones among them."""
    recorded_passes = [
        known[name].precision
        for entry in config.environments
        if isinstance(entry, Dumps)
        for known in [config.recordable(entry)]
        for name in entry.passes
        if name in known
    ]
    return frozenset((*config.precisions, *recorded_passes))


def check_decode(
    config: Config, root: Path, image_size: tuple[int, int], shapes: Shapes, add: Add
) -> CheckedDecode | None:
    """Returns what is recorded of the decoding; None where there is none, or it cannot be used.

    `image_size` is height and width of the network's input, `shapes` are of the heads' outputs.
    """
    if config.decoding is None:
        for name, head in config.heads.items():
            for key in ("anchors", "role", "scale_x_y"):
                if getattr(head, key):
                    add(("heads", name, key), f"is for decoding boxes: {_no_boxes(config)}")
        return None
    problems = list(_unknown_heads(config))
    for key, problem in problems:
        add(("decode", key), problem)
    try:
        source = _source(config, root)
        decode = _recorded(config, image_size, source)
        if problems:
            return None
        _try(decode, source, shapes)
    except DecodeError as error:
        add(("decode", "entry_point") if config.decoding.entry_point else ("decode",), str(error))
        return None
    return CheckedDecode(decode, source)


def check_categories(decode: RecordedDecode, labels: ImageLabels, add: Add) -> None:
    """Tells of labels whose categories are not the network's classes: AP would be of others."""
    known = len(labels.labels.categories)
    if decode.style and known != decode.classes:
        add(
            ("decode", "classes"),
            f"{decode.classes} classes, but the labels have {known} categories: give the category "
            "id of each class in decode.category_ids",
        )


def _unknown_heads(config: Config) -> Iterator[tuple[str, str]]:
    """Yields (key of `decode`, problem)."""
    assert config.decoding is not None  # noqa: S101 - the caller asks only then
    known = list(config.heads)
    together = [name for heads in config.decoding.together or () for name in heads]
    for key, names in (("heads", config.decoding.heads), ("together", together)):
        for name in names:
            if name not in config.heads:
                close = did_you_mean(name, known)
                yield key, f"no head is called {name!r:.80}{close}; {few(known)}"
            elif key == "together" and config.decoding.heads and name not in config.decoding.heads:
                yield key, f"{name!r:.80} is not among decode.heads, so it is not read"


def _source(config: Config, root: Path) -> bytes | None:
    entry_point = config.decoding.entry_point if config.decoding else None
    if entry_point is None:
        return None
    path = root / file_of(entry_point)
    try:
        return named_file(path, LIMIT_SOURCE_BYTES)
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror}; {entry_point} is looked for there") from error


def _recorded(config: Config, image_size: tuple[int, int], source: bytes | None) -> RecordedDecode:
    settings = config.decoding
    assert settings is not None  # noqa: S101 - the caller asks only then
    chosen = config.decoded_heads()
    stated = settings.settings()
    activation = stated.get("activation", "sigmoid")
    same = {
        name: value
        for name, value in stated.items()
        if name not in ("classes", "activation", "priors")
    }
    return RecordedDecode(
        heads=tuple(_head(name, head) for name, head in config.heads.items() if name in chosen),
        image_size=image_size,
        style=settings.style,
        entry_point=settings.entry_point,
        source=None if source is None else object_of(source, ".py"),
        together=settings.together,
        classes=stated.get("classes", 1),
        category_ids=settings.category_ids,
        activated=activation == "none",
        softmax=activation == "softmax",
        priors=tuple(
            PriorGrid.model_validate(level if isinstance(level, Mapping) else level.model_dump())
            for level in stated.get("priors", ())
        ),
        score_threshold=settings.score_threshold,
        max_candidates=settings.max_candidates,
        max_detections=settings.max_detections,
        match_iou=settings.match_iou,
        shown_score=settings.shown_score,
        **same,
    )


def _head(name: str, head: Head) -> DecodedHead:
    return DecodedHead(
        head=name,
        stride=head.stride or 0,
        anchors=head.anchors,
        role=head.role,
        scale_x_y=head.scale_x_y or 1.0,
    )


def _check_heads(decode: RecordedDecode, style: Style) -> None:
    for head in decode.heads:
        if head.role is not None and head.role not in style.roles:
            has = ", ".join(sorted(style.roles)) or "none: each head holds whole boxes"
            refuse(f"head {head.head!r}: {style.name} has no role {head.role!r}; it has {has}")
        if style.roles and (head.anchors or head.scale_x_y != 1):
            refuse(f"head {head.head!r}: {style.name} has no anchors and no scale_x_y of a head")


def _try(decode: RecordedDecode, source: bytes | None, shapes: Shapes) -> None:
    """Raises DecodeError where outputs of these shapes have no boxes, whatever their values."""
    heads = [head.head for head in decode.heads]
    known = {head: shape for head in heads if (shape := shapes.get(head)) is not None}
    style = style_of(decode)
    if style is not None:
        _check_heads(decode, style)
        style.check(decode, known)
        style.detector(decode)
        return
    assert source is not None and decode.entry_point  # noqa: S101, PT018 - read for that reason
    function = detector(source, decode.entry_point, heads)
    if len(known) == len(heads):
        zeros = {head: np.zeros((1, *shape), np.float32) for head, shape in known.items()}
        for _ in detect_all(zeros, function, heads):
            pass


def shapes_of(outputs: Mapping[str, Sequence[graph.Dim] | None], batch: int = 1) -> Shapes:
    """Returns the shapes as a job stores them, of one image: without a first axis that is the batch."""
    return {
        head: None if shape is None else _stored(shape, batch) for head, shape in outputs.items()
    }


def _stored(shape: Sequence[graph.Dim], batch: int) -> tuple[int, ...] | None:
    batched = len(shape) > 1 and (shape[0] == batch or not isinstance(shape[0], int))
    sizes = [size for size in shape[batched:] if isinstance(size, int) and size > 0]
    return tuple(sizes) if len(sizes) == len(shape) - batched else None
