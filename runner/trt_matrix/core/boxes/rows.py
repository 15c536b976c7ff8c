"""Decoders whose outputs are rows: one for every cell of a grid, every prior, or every query.

What all of them share is here: which heads make a box together, shapes and layouts, where rows lie,
thresholds and suppression. A family adds two formulae, of scores and of corners (`Rows`).

Rows are in the order grid, row of cells, column, anchor. A box with a coordinate that is not finite, or
without area, is no box: it is left out and counted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from trt_matrix.core.boxes.activations import (
    least_activated,
    least_below_largest,
    least_logit,
    probability,
    sigmoid,
    softmax,
)
from trt_matrix.core.boxes.decoding import refuse
from trt_matrix.core.boxes.nms import Boxes, Floats, concatenate, suppress
from trt_matrix.core.boxes.places import Level, Places, grid, level_of, places
from trt_matrix.core.boxes.styles import Detector, Output, PositionGate, Recognise, Shapes, Style
from trt_matrix.core.manifest import RecordedDecode, Role

Parts = Mapping[Role, Output]
"""Role → values, shape (rows, channels)."""

Channels = Mapping[Role, Callable[[RecordedDecode], int]]

COMMON = frozenset({"layout", "activation", "nms_iou"})

JOINED: None = None
"""In place of a role: the head holds all of a box."""


def class_scores(parts: Parts, _places: Places, decode: RecordedDecode) -> Output:
    """Returns probabilities, shape (rows, classes): σ or softmax of each class, times the objectness."""
    scores = class_chances(parts["scores"], decode)
    return scores * chances(parts["objectness"], decode) if "objectness" in parts else scores


def class_chances(scores: Output, decode: RecordedDecode) -> Output:
    """Returns the classes' own probabilities, shape (rows, classes), without that of no object."""
    every = softmax(scores) if decode.softmax and not decode.activated else chances(scores, decode)
    return {"none": every, "first": every[:, 1:], "last": every[:, :-1]}[decode.background]


def chances(values: Output, decode: RecordedDecode) -> Output:
    """σ of values of any shape, or they themselves where the network has applied it."""
    return probability(values) if decode.activated else sigmoid(values)


def score_channels(decode: RecordedDecode) -> int:
    return decode.classes + (decode.background != "none")


def always(channels: int) -> Callable[[RecordedDecode], int]:
    return lambda _: channels


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The formulae of one family; pure functions of arrays.

    `scores` gives probabilities of all rows, shape (rows, classes), `corners` left, top, right, bottom
    in pixels, shape (n, 4), of the rows that it is given.
    """

    corners: Callable[[Parts, Places, RecordedDecode], Floats]
    scores: Callable[[Parts, Places, RecordedDecode], Output] = class_scores
    channels: Channels = field(
        default_factory=lambda: {"scores": score_channels, "boxes": always(4)}
    )
    """Role → columns of a row."""
    joined: tuple[Role, ...] = ()
    """Their order in a head that holds all; empty where no published network has one."""
    lie: Literal["cells", "priors", "anywhere"] = "cells"
    one_class: bool = False
    """A row is a box of its best class alone."""
    least: Callable[[float], float] = lambda score: score
    """Score → the least that the objectness, or a class where there is none, has of a row that has it."""
    suppresses: bool = True


@dataclass(frozen=True, slots=True)
class _HeadGroup:
    """Heads that make boxes together."""

    heads: Mapping[Role | None, str]
    stride: int
    """0: all strides of the style."""


def style(
    name: str,
    what: str,
    form: Rows,
    *,
    settings: frozenset[str] = frozenset(),
    defaults: Mapping[str, Any] | None = None,
    recognise: Recognise = lambda _outputs, _image: None,
    preprocess: Mapping[str, Any] | None = None,
) -> Style:
    """Returns the style of a family of this form.

    The other arguments are fields of `Style`; `settings` are those beside the common ones.
    """
    return Style(
        name=name,
        what=what,
        detector=lambda decode: _detector(decode, form),
        check=lambda decode, shapes: _check(decode, form, shapes),
        together=lambda decode: tuple(
            tuple(group.heads.values()) for group in _groups(decode, form)
        ),
        gates=lambda decode: tuple(_gate(decode, form, group) for group in _groups(decode, form)),
        roles=frozenset(form.channels),
        whole=bool(form.joined),
        settings=(COMMON if form.suppresses else COMMON - {"nms_iou"}) | settings,
        defaults={"layout": "boxes"} | dict(defaults or {}),
        recognise=recognise,
        preprocess=preprocess or {},
    )


def _detector(decode: RecordedDecode, form: Rows) -> Detector:
    heads = [head.head for head in decode.heads]
    groups = [
        (
            group,
            places(
                _levels(decode, form, group.stride),
                decode.image_size,
                clip_priors=decode.clip_priors,
            ),
            min(map(heads.index, group.heads.values())),
        )
        for group in _groups(decode, form)
    ]

    def detect(outputs: Mapping[str, Output]) -> Boxes:
        gone = [head.head for head in decode.heads if head.head not in outputs]
        if gone:
            there = ", ".join(map(repr, outputs)) or "none"
            refuse(f"no output of head {gone[0]!r}; there are {there}: check decode.heads")
        boxes = concatenate(
            [_candidates(outputs, decode, form, group, where, at) for group, where, at in groups]
        )
        if form.suppresses:
            return suppress(
                boxes,
                iou_threshold=decode.nms_iou,
                max_candidates=decode.max_candidates,
                max_detections=decode.max_detections,
            )
        return boxes.take(np.argsort(-boxes.scores, kind="stable")[: decode.max_detections])

    return detect


def _candidates(
    outputs: Mapping[str, Output],
    decode: RecordedDecode,
    form: Rows,
    group: _HeadGroup,
    places: Places,
    head: int,
) -> Boxes:
    _check_group(decode, form, group, {name: outputs[name].shape for name in group.heads.values()})
    parts = _parts(outputs, decode, form, group)
    # Broken outputs (NaN, infinities, huge exponents) are left out; they are not worth a warning.
    with np.errstate(over="ignore", invalid="ignore"):
        scores = form.scores(parts, places, decode)
        kept = scores > np.float32(decode.score_threshold)
        if form.one_class and scores.size:
            kept &= np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
        classes, rows = np.nonzero(kept.T)
        best = np.argsort(-scores[rows, classes], kind="stable")[: decode.max_candidates]
        classes, rows = classes[np.sort(best)], rows[np.sort(best)]
        corners = form.corners(
            {role: values[rows] for role, values in parts.items()}, places.take(rows), decode
        )
    chosen = scores[rows, classes].astype(np.float32)
    return Boxes(
        corners.astype(np.float64), chosen, classes, np.full(len(rows), head, np.intp)
    ).usable()


def _groups(decode: RecordedDecode, form: Rows) -> tuple[_HeadGroup, ...]:
    """Raises DecodeError where the heads' roles and strides make no boxes."""
    roles = ", ".join(form.channels)
    groups: list[_HeadGroup] = []
    by_stride: dict[int, dict[Role | None, str]] = {}
    for head in decode.heads:
        if head.role is None:
            if not form.joined:
                refuse(
                    f"head {head.head!r} has no role: {decode.style} makes a box of several heads, each "
                    f"with a `role`: {roles}. Leave heads out of decode.heads that hold none of them"
                )
            groups.append(_HeadGroup({JOINED: head.head}, head.stride))
            continue
        if head.role not in form.channels:
            refuse(f"head {head.head!r}: {decode.style} has no role {head.role}; it has {roles}")
        others = by_stride.setdefault(head.stride, {})
        where = f"stride {head.stride}" if head.stride else "all strides"
        if head.role in others:
            refuse(
                f"heads {others[head.role]!r} and {head.head!r} both hold {head.role} of "
                f"{where}: give each the stride of its cells"
            )
        others[head.role] = head.head
    for stride, heads in by_stride.items():
        lacking = [role for role in form.channels if role not in heads]
        if lacking:
            refuse(
                f"no head holds the {lacking[0]} that belong to {next(iter(heads.values()))!r}: "
                f"{decode.style} makes a box of {roles}, heads of one stride together; check `role` "
                "and `stride` of the heads"
            )
        groups.append(_HeadGroup(heads, stride))
    if not groups:
        refuse("decode.heads is empty: name the outputs that hold boxes")
    return tuple(groups)


def _levels(decode: RecordedDecode, form: Rows, stride: int) -> tuple[Level, ...]:
    """Returns the grids of a group; none where rows lie anywhere."""
    if form.lie == "anywhere":
        return ()
    if form.lie == "priors":
        levels = tuple(level_of(prior) for prior in decode.priors if stride in (0, prior.stride))
        if not levels:
            refuse(
                f"decode.priors has none{f' of stride {stride}' if stride else ''}: {decode.style} "
                "needs the prior boxes that the network was trained with"
            )
        return levels
    strides = (stride,) if stride else decode.strides
    if not strides:
        refuse(f"{decode.style} needs decode.strides, or the `stride` of each head, in pixels")
    return tuple(Level(pixels, decode.anchors_per_cell) for pixels in strides)


def _gate(decode: RecordedDecode, form: Rows, group: _HeadGroup) -> PositionGate:
    """Returns where a group can hold a box: a score is never above its objectness, nor above its class."""
    role: Role = "objectness" if "objectness" in form.channels else "scores"
    channels = {head: _channels(decode, form, held) for held, head in group.heads.items()}
    levels = _levels(decode, form, group.stride)
    first = decode.layout == "channels_first"
    anchors = levels[0].anchors if first and len(levels) == 1 else 1

    def of(wanted: Role) -> tuple[str, tuple[tuple[int, ...], ...]]:
        """Returns the head that holds a role, and its channels, an anchor each."""
        joined = JOINED in group.heads
        head = group.heads[JOINED if joined else wanted]
        before = form.joined[: form.joined.index(wanted)] if joined else ()
        at = sum(form.channels[earlier](decode) for earlier in before)
        end = at + form.channels[wanted](decode)
        firsts = range(0, anchors * channels[head], channels[head])
        return head, tuple(tuple(range(start + at, start + end)) for start in firsts)

    def classes(every: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        left, right = (decode.background == side for side in ("first", "last"))
        return tuple(of_anchor[left : len(of_anchor) - right] for of_anchor in every)

    head, every = of(role)
    scoring, scores = of("scores")
    softmax_ = decode.softmax and not decode.activated
    among = every if softmax_ and role == "scores" else None
    least = least_below_largest if among else least_logit
    if decode.activated:
        least = least_activated
    alone = tuple(channel for class_ in classes(scores) for channel in class_)
    return PositionGate(
        heads={name: None if first else number for name, number in channels.items()},
        head=head,
        scores=classes(every) if role == "scores" else every,
        among=among,
        # Through a softmax every value counts for the others.
        alone={} if softmax_ else {scoring: alone},
        least=least(form.least(decode.score_threshold)),
    )


def _check(decode: RecordedDecode, form: Rows, shapes: Shapes) -> None:
    for group in _groups(decode, form):
        _levels(decode, form, group.stride)
        _check_group(decode, form, group, shapes)


def _check_group(decode: RecordedDecode, form: Rows, group: _HeadGroup, shapes: Shapes) -> None:
    """Raises DecodeError where a head has another shape than its formula wants; some may be unknown."""
    levels = _levels(decode, form, group.stride)
    counted: dict[str, int] = {}
    for role, head in group.heads.items():
        if head not in shapes:
            continue
        channels, shape = _channels(decode, form, role), tuple(shapes[head])
        if not levels:
            at = 1 if decode.layout == "channels_first" else 0
            if len(shape) != 2 or shape[1 - at] != channels:
                wanted = f"({channels}, rows)" if at else f"(rows, {channels})"
                refuse(f"{_has(head, shape)}; {wanted} is expected: {_columns(decode, form, role)}")
            counted[head] = shape[at]
            continue
        permitted = _permitted(decode, levels, channels)
        if shape not in permitted:
            refuse(
                f"{_has(head, shape)}; {' or '.join(map(str, permitted))} is expected: "
                f"{_rows_text(decode, levels)}; {_columns(decode, form, role)}"
            )
    if len(set(counted.values())) > 1:
        refuse(f"heads of one box have different numbers of rows: {counted}")


def _has(head: str, shape: Sequence[int]) -> str:
    return f"head {head!r}: one image's output has shape {tuple(shape)}"


def _channels(decode: RecordedDecode, form: Rows, role: Role | None) -> int:
    roles = form.joined if role is None else (role,)
    return sum(form.channels[part](decode) for part in roles)


def _columns(decode: RecordedDecode, form: Rows, role: Role | None) -> str:
    roles = form.joined if role is None else (role,)
    held = " + ".join(f"{form.channels[part](decode)} of {part}" for part in roles)
    return f"{held} a row (check decode.classes, bins, background and layout)"


def _rows_text(decode: RecordedDecode, levels: Sequence[Level]) -> str:
    height, width = decode.image_size
    grids = [
        f"{rows} × {columns}{f' × {level.anchors}' if level.anchors > 1 else ''} of stride {level.stride}"
        for level in levels
        for rows, columns in [grid(decode.image_size, level.stride)]
    ]
    return f"cells {', '.join(grids)} in an input of {height} × {width} pixels"


def _permitted(
    decode: RecordedDecode, levels: Sequence[Level], channels: int
) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes that an output of these grids can have."""
    grids = [grid(decode.image_size, level.stride) for level in levels]
    rows = sum(math.prod(cells) * level.anchors for cells, level in zip(grids, levels, strict=True))
    if decode.layout == "boxes":
        return ((rows, channels), (rows,)) if channels == 1 else ((rows, channels),)
    first = decode.layout == "channels_first"
    if len(levels) > 1:
        return ((channels, rows) if first else (rows, channels),)
    (height, width), together = grids[0], channels * levels[0].anchors
    if first:
        return (together, height, width), (together, height * width)
    return (height, width, together), (height * width, together)


def _parts(
    outputs: Mapping[str, Output], decode: RecordedDecode, form: Rows, group: _HeadGroup
) -> dict[Role, Output]:
    parts: dict[Role, Output] = {}
    for role, head in group.heads.items():
        channels = _channels(decode, form, role)
        values = _as_rows(np.asarray(outputs[head], np.float32), decode, channels)
        if role is not None:
            parts[role] = values
            continue
        start = 0
        for joined_role in form.joined:
            end = start + form.channels[joined_role](decode)
            parts[joined_role], start = values[:, start:end], end
    return parts


def _as_rows(output: Output, decode: RecordedDecode, channels: int) -> Output:
    """Returns shape (rows, channels)."""
    if decode.layout != "channels_first":
        return output.reshape(-1, channels)
    cells = math.prod(output.shape[1:])
    anchors = output.shape[0] // channels
    return output.reshape(anchors, channels, cells).transpose(2, 0, 1).reshape(-1, channels)
