"""The section `decode` of matrix.yaml: how the network's outputs become boxes."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from runner.config.environments import Section
from runner.records import Layout, Style

ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def _entry_point(text: str) -> str:
    if not ENTRY_POINT.fullmatch(text):
        message = (
            f"{text!r:.80} is no entry point: package.module:function, "
            "where package/module.py lies beside matrix.yaml"
        )
        raise ValueError(message)
    return text


Share = Annotated[float, Field(ge=0, le=1)]

Pixels = Annotated[float, Field(gt=0)]

ONLY_WITH_STYLE = frozenset(
    {
        "classes",
        "layout",
        "activation",
        "bins",
        "score_threshold",
        "nms_iou",
        "max_candidates",
        "max_detections",
    }
)
"""Keys that a function of the user's own would not know of."""


class Decode(Section):
    """A style with its settings, or a function of your own."""

    style: Style | None = Field(
        None, description="What the outputs mean; the formulae are in docs/method.md, Boxes."
    )
    entry_point: Annotated[str, AfterValidator(_entry_point)] | None = Field(
        None,
        description="In place of a style: package.module:function, in a file beside this one. "
        "It is given {head: float32 array} of one image and returns an array (n, 7): left, top, "
        "right, bottom in pixels of the network's input, score, class index, head index.",
    )
    classes: int | None = Field(None, ge=1, le=100_000, description="How many the network knows.")
    category_ids: tuple[int, ...] = Field(
        (), description="Category id in the labels of each class; default: the labels' ids, rising."
    )
    heads: tuple[str, ...] = Field((), description="Heads that hold boxes; default: all.")
    together: (
        tuple[Annotated[tuple[str, ...], Field(min_length=1, description="Heads.")], ...] | None
    ) = Field(
        None,
        description="entry_point: heads that the function makes a box of together, as "
        "[[score, box, keypoints]]: what becomes of a box counts for each of them. Default: all heads; "
        "[] where every box comes from the one head that its index names.",
    )
    layout: Layout = Field(
        "channels_first", description="Axes of one image's output: boxes is (boxes, channels)."
    )
    activation: Literal["sigmoid", "none"] = Field(
        "sigmoid", description="none where the network applies the sigmoid itself."
    )
    bins: int = Field(16, ge=1, le=1000, description="yolov8: bins of a distance; 1 for a number.")
    score_threshold: Share = Field(0.01, description="Boxes with a higher score are kept.")
    nms_iou: Share = Field(
        0.5, description="Boxes of one class that overlap a better one by more are dropped."
    )
    max_candidates: int = Field(30_000, ge=1, description="Best boxes that NMS looks at, an image.")
    max_detections: int = Field(100, ge=1, le=10_000, description="Boxes kept, an image.")
    shown_score: Share = Field(
        0.25, description="Score from which a box can be lost or new: the application's own."
    )
    match_iou: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Least overlap of an int8 box and an fp32 box that are one."
    )

    @model_validator(mode="after")
    def _style_or_entry_point(self) -> Self:
        if (self.style is None) == (self.entry_point is None):
            message = "give a style, or an entry_point to a function of your own: one of the two"
            raise ValueError(message)
        if self.style and self.classes is None:
            message = f"{self.style} needs classes: how many the network knows"
            raise ValueError(message)
        if self.entry_point:
            idle = sorted(ONLY_WITH_STYLE & self.model_fields_set)
            if idle:
                message = (
                    f"{', '.join(idle)}: the function of entry_point decides that, leave it out"
                )
                raise ValueError(message)
        if self.style and self.together is not None:
            message = f"together: a box of {self.style} comes from one head, leave it out"
            raise ValueError(message)
        named = [head for heads in self.together or () for head in heads]
        if twice := next((head for head in named if named.count(head) > 1), None):
            message = f"together names {twice!r} twice: put what it is read with in one list"
            raise ValueError(message)
        if len(set(self.category_ids)) < len(self.category_ids):
            message = "category_ids holds an id twice"
            raise ValueError(message)
        if self.classes and self.category_ids and len(self.category_ids) != self.classes:
            message = (
                f"category_ids has {len(self.category_ids)} ids, there are {self.classes} classes"
            )
            raise ValueError(message)
        return self
