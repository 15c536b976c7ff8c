"""The section `decode` of matrix.yaml: how the network's outputs become boxes."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from trt_matrix.config.sections import Section
from trt_matrix.core.boxes import styles
from trt_matrix.core.boxes.registry import STYLES
from trt_matrix.core.manifest import Background, Layout

ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def _entry_point(text: str) -> str:
    if not ENTRY_POINT.fullmatch(text):
        raise ValueError(
            f"{text!r:.80} is no entry point: package.module:function, "
            "where package/module.py lies beside matrix.yaml"
        )
    return text


Share = Annotated[float, Field(ge=0, le=1)]

Pixels = Annotated[float, Field(gt=0)]

if TYPE_CHECKING:
    Style = str
else:
    # One file adds a style: its name is known when that is found, not when types are checked.
    Style = Literal[tuple(map(str, STYLES))]

NONE = "none"


def _none(value: Any) -> Any:
    if value != NONE:
        raise ValueError(
            f"{value!r:.80} is neither none, where the network makes no boxes, "
            "nor says how they are made, as {style: yolov8, classes: 80}"
        )
    return value


NoBoxes = Annotated[Literal["none"], BeforeValidator(_none)]
"""In place of the section: the network makes no boxes, so none are missed."""

ONLY_WITH_STYLE = styles.SETTINGS | {
    "classes",
    "score_threshold",
    "max_candidates",
    "max_detections",
}
"""Keys that a function of the user's own would not know of."""


class PriorLevel(Section):
    """Prior boxes of one grid of cells.

    Of each cell in this order: a size's square, the square of side √(size · max size), then for each ratio
    √ratio times as wide as the size and as much less high, and the other way round; then the next size.
    """

    stride: int = Field(ge=1, description="Pixels per cell.")
    sizes: tuple[Pixels, ...] = Field(min_length=1, description="Sides in pixels.")
    max_sizes: tuple[Pixels, ...] = Field((), description="One for each size, or none.")
    ratios: tuple[Pixels, ...] = Field((), description="Width to height, beside 1.")

    @model_validator(mode="after")
    def _one_max_size_each(self) -> Self:
        if self.max_sizes and len(self.max_sizes) != len(self.sizes):
            message = f"{len(self.max_sizes)} max_sizes for {len(self.sizes)} sizes: one each"
            raise ValueError(message)
        return self


class Decode(Section):
    """A style with its settings, or a function of your own."""

    style: Style | None = Field(
        None, description="What the outputs mean; the formulae are in docs/reference/decoders.md."
    )
    entry_point: Annotated[str, AfterValidator(_entry_point)] | None = Field(
        None,
        description="In place of a style: package.module:function, in a file beside this one. "
        "It is given {head: float32 array} of one image and returns an array (n, 7): left, top, "
        "right, bottom in pixels of the network's input, score, class index, head index. It suppresses "
        "by itself what the application suppresses: all it returns counts.",
    )
    classes: int | None = Field(
        None, ge=1, le=100_000, description="How many the network knows, without the background."
    )
    category_ids: tuple[int, ...] = Field(
        (), description="Category id in the labels of each class; default: the labels' ids, rising."
    )
    class_names: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (),
        description="Names of the classes in the network's order: what labels in Pascal VOC's XML call them.",
    )
    heads: tuple[str, ...] = Field(
        (),
        description="Heads that hold boxes; default: those with a role where a style wants roles, else all.",
    )
    together: (
        tuple[Annotated[tuple[str, ...], Field(min_length=1, description="Heads.")], ...] | None
    ) = Field(
        None,
        description="entry_point: heads that the function makes a box of together, as "
        "[[score, box, keypoints]]: what becomes of a box counts for each of them. Default: all heads; "
        "[] where every box comes from the one head that its index names.",
    )
    layout: Layout | None = Field(
        None,
        description="Axes of one image's output: boxes is (boxes, channels); default: the style's.",
    )
    activation: Literal["sigmoid", "softmax", "none"] | None = Field(
        None,
        description="What makes scores of the outputs; none where the network itself has applied it. "
        "Default: the style's.",
    )
    background: Background | None = Field(
        None, description="Where among the scores that of no object stands; default: the style's."
    )
    bins: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Bins of a distance (reg_max + 1); 1 for a number. Default: the style's.",
    )
    strides: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None,
        description="Pixels per cell of the grids that follow each other in the rows of a head without a "
        "stride of its own; default: the style's.",
    )
    anchors_per_cell: int | None = Field(
        None, ge=1, le=1000, description="Rows of one cell; default: the style's."
    )
    cell_offset: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="Where in its cell a box is measured from: 0.5 is the middle; default: the style's.",
    )
    priors: tuple[PriorLevel, ...] | None = Field(
        None, description="Of ssd and retinaface, the grids in the order of the rows."
    )
    clip_priors: bool | None = Field(
        None, description="Centres and sizes of priors end at the input's size, as in ssd.pytorch."
    )
    variances: tuple[Pixels, Pixels] | None = Field(
        None, description="Of centres and sizes, with priors; default: [0.1, 0.2]."
    )
    score_threshold: Share = Field(0.01, description="Boxes with a higher score are kept.")
    nms_iou: Share | None = Field(
        None,
        description="Boxes of one class that overlap a better one by more are dropped; default: the "
        "style's, mostly 0.5.",
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
        if self.style:
            self._check_style(STYLES[self.style])
        if self.entry_point:
            idle = sorted(ONLY_WITH_STYLE & self.model_fields_set)
            if idle:
                raise ValueError(
                    f"{', '.join(idle)}: the function of entry_point decides that, leave it out"
                )
        if self.style and self.together is not None:
            raise ValueError(f"together: {self.style} knows which heads make a box, leave it out")
        named = [head for heads in self.together or () for head in heads]
        if twice := next((head for head in named if named.count(head) > 1), None):
            message = f"together names {twice!r} twice: put what it is read with in one list"
            raise ValueError(message)
        for name, setting, given in (
            ("category_ids", "id", self.category_ids),
            ("class_names", "name", self.class_names),
        ):
            if len(set(given)) < len(given):
                raise ValueError(f"{name} holds {'an' if setting == 'id' else 'a'} {setting} twice")
            if self.classes and given and len(given) != self.classes:
                message = f"{name} has {len(given)} {setting}s, there are {self.classes} classes"
                raise ValueError(message)
        return self

    def _check_style(self, style: styles.Style) -> None:
        if self.classes is None and "classes" not in style.defaults:
            raise ValueError(f"{self.style} needs classes: how many the network knows")
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        idle = sorted((styles.SETTINGS & given) - style.settings)
        if idle:
            raise ValueError(
                f"{', '.join(idle)}: {self.style} has no such setting, leave it out; it has "
                f"{', '.join(sorted(style.settings))}"
            )

    def settings(self) -> Mapping[str, Any]:
        """Returns what the style is read with: what is given, else what the style says; no Nones."""
        given = {
            name: value
            for name in (*styles.SETTINGS, "classes")
            if (value := getattr(self, name)) is not None
        }
        style = STYLES[self.style] if self.style else None
        return {**(style.defaults if style else {}), **given}
