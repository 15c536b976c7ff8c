"""What matrix.yaml says of images: where they lie, how they are fed, what is calibrated with them."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Tag, model_validator

from trt_matrix.config.decoding import Share
from trt_matrix.config.sections import BRANCH, Section, branches
from trt_matrix.config.shared_table import Algorithm, Shared, SharedTable, name_of

Calibrator = Literal["entropy", "entropy2", "legacy", "minmax"]


PerChannel = Annotated[
    Annotated[float, Tag(f"{BRANCH}one")] | Annotated[tuple[float, ...], Tag(f"{BRANCH}each")],
    branches(list | tuple, "each", "one"),
]
"""One number for all channels, or one each."""


Filter = Literal["bilinear", "linear", "nearest", "box", "hamming", "bicubic", "lanczos"]


class Images(Section):
    images: Path | None = Field(None, description="A folder of images.")
    arrays: Path | None = Field(
        None,
        description="In place of images: a folder of .npy or .npz files, one a sample, of the shape that the network "
        "takes. They are fed as they are.",
    )
    half: Literal["odd", "even"] | None = Field(
        None,
        description="Use every second file by name, the 1st, 3rd, … or the 2nd, 4th, …: one folder for both sets.",
    )
    limit: int | None = Field(None, ge=1, description="Use the first so many, by name.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.images is None) == (self.arrays is None):
            raise ValueError("say where the samples are: either `images` or `arrays`")
        return self

    @property
    def key(self) -> Literal["images", "arrays"]:
        return "images" if self.arrays is None else "arrays"

    @property
    def folder(self) -> Path:
        folder = self.images or self.arrays
        assert folder is not None  # noqa: S101 - held above
        return folder


class LabelledImages(Images):
    labels: Path | None = Field(
        None,
        description="COCO JSON of those images, or a folder with a file for each: YOLO's text or Pascal "
        "VOC's XML. Of the calibration images it says which sizes of objects they show.",
    )


class Preprocess(Section):
    """value = (pixel · scale − mean) / std, after resizing."""

    resize: Literal["letterbox", "stretch"] = "letterbox"
    position: Literal["center", "top_left"] = Field(
        "center", description="Where a letterboxed image lies; what is beside it is padding."
    )
    filter: Filter = Field(
        "bilinear",
        description="How it is resized: linear is OpenCV's INTER_LINEAR, which looks at four pixels however "
        "much it shrinks; the others are Pillow's.",
    )
    size: tuple[int, int] | None = Field(
        None,
        description="[height, width]: that of the network, the default; a network that leaves its size open is pinned to it.",
    )
    scale: float = Field(1 / 255, gt=0)
    mean: PerChannel = 0.0
    std: PerChannel = 1.0
    color: Literal["rgb", "bgr", "gray", "rgba", "bgra"] = Field(
        "rgb",
        description="Channels, in the order in which they are fed; a is how opaque a pixel is, 255 where a file "
        "does not say, 0 beside a letterboxed image.",
    )
    pad: int = Field(114, ge=0, le=255, description="Pixel value beside a letterboxed image.")

    @property
    def channels(self) -> int:
        return {"gray": 1, "rgba": 4, "bgra": 4}.get(self.color, 3)

    @property
    def blue_first(self) -> bool:
        return self.color in ("bgr", "bgra")

    def recorded(self) -> dict[str, Any]:
        """Returns what a run writes down, and what images are known by.

        What came later and is at its default is left out: images made before it are the same still.
        """
        later = {
            name
            for name in ("position", "filter")
            if getattr(self, name) == type(self).model_fields[name].default
        }
        return self.model_dump(mode="json", exclude=later)

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> Self:
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.channels:
                raise ValueError(
                    f"{name} has {len(value)} values, {self.color} has {self.channels} channels"
                )
        if 0 in (self.std if isinstance(self.std, tuple) else (self.std,)):
            raise ValueError("std is 0: every value would be infinite")
        return self


class Data(Section):
    calibration: LabelledImages
    evaluation: LabelledImages
    preprocess: Preprocess = Preprocess()

    @property
    def are_arrays(self) -> bool:
        return self.evaluation.arrays is not None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.calibration.key != self.evaluation.key:
            message = f"calibration has {self.calibration.key}, evaluation {self.evaluation.key}: take one kind"
            raise ValueError(message)
        if self.are_arrays and "preprocess" in self.model_fields_set:
            message = "arrays are fed as they are, so there is nothing to preprocess: leave `preprocess` out"
            raise ValueError(message)
        if self.are_arrays and (self.calibration.labels or self.evaluation.labels):
            message = "labels belong to images by their names: with arrays leave `labels` out"
            raise ValueError(message)
        return self


class Forensics(Section):
    """What takes too long for every run (docs/how-to/calibration-images.md has seconds); the rest is always done."""

    learning_curve: bool = Field(
        False,
        description="Make tables of 1, 4, 16, … calibration images, several draws each, and simulate them: "
        "would more images help?",
    )
    preprocessing: bool = Field(
        False,
        description="Feed the float network its evaluation images in every known preprocessing: does it find "
        "more in another? Needs labels.",
    )


class CalibrationSection(Section):
    algorithms: tuple[Algorithm, ...] = Field(
        ("entropy", "minmax"), min_length=1, description="Own tables that every environment makes."
    )
    shared: Shared = Field(
        "entropy",
        description="The one table given to all environments: an algorithm's, {table: FILE}, null, or `best`: for "
        "each tensor the algorithm that costs the heads least in simulation on calibration images.",
    )
    percentile: float = Field(99.99, gt=50, le=100, description="For the algorithm percentile.")
    calibrators: tuple[Calibrator, ...] = Field(
        ("entropy2", "minmax"), description="TensorRT's own, to 10: tables that it makes itself."
    )
    transplant: Literal["cache", "dynamic_range"] = Field(
        "cache", description="How TensorRT gets the shared table where its scales are implicit."
    )
    equal_ranges: bool | None = Field(
        None,
        description="Carried so, what only moves values (resizing, pooling, transposing) has one range on both "
        "sides, as with Q/DQ nodes; false carries the table as it is. TensorRT can lose heads by unequal ones. Left "
        "out, it is true for a table that the run makes and false for a file's, which is judged as it is.",
    )
    coverage: Share = Field(
        0.9,
        description="Least share of a head's tensors that must have got a scale of the table: below, "
        "what int8 costs there is not judged.",
    )
    forensics: Forensics = Forensics()

    @property
    def shared_name(self) -> str | None:
        """What passes with the shared table are called after: its algorithm, or `file`."""
        return name_of(self.shared)

    @property
    def carried_equal(self) -> bool:
        """Whether the shared table is carried into implicit int8 with equal ranges.

        A file's is not unless that is asked for: a faulty cache that was mended before it is tried would be acquitted.
        """
        if self.equal_ranges is not None:
            return self.equal_ranges
        return not isinstance(self.shared, SharedTable)
