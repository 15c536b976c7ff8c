"""The network of matrix.yaml: its file, its plugins, and its heads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, StringConstraints, model_validator

from trt_matrix.config.decoding import Pixels
from trt_matrix.config.gates import HeadGateSection
from trt_matrix.config.sections import Section
from trt_matrix.core.manifest import Role
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK

MOST_IMAGES = 1024
"""In a batch."""

Major = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}$")]
"""A major version of TensorRT."""


class Plugin(Section):
    """Custom layers for TensorRT: libraries that are there, or sources compiled in each environment."""

    libraries: Mapping[Major, Path] = Field(
        {}, description='Major version of TensorRT → shared library: {"8": libyolo-trt8.so}.'
    )
    sources: tuple[Path, ...] = Field(
        (), description="C++ or CUDA sources of one library, and headers of its own beside them."
    )
    flags: tuple[str, ...] = Field((), description='For the compiler: ["-DUPSAMPLE_INT8=1"].')

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.libraries) == bool(self.sources):
            raise ValueError("a plugin has either `libraries` or `sources`")
        if self.flags and self.libraries:
            raise ValueError("`flags` are for the compiler, libraries are compiled already")
        if len({file.name for file in self.sources}) < len(self.sources):
            raise ValueError("two sources have one name: they are compiled in one folder")
        return self

    @property
    def files(self) -> Mapping[str, Path]:
        """Major version, or a source's name → file."""
        return self.libraries or {file.name: file for file in self.sources}


class Uff(Section):
    """The same function as TensorFlow's converters wrote it for TensorRT 5 to 8."""

    file: Path = Field(description="The .uff file, relative to this file.")
    input: str | None = Field(
        None, description="Its input node; the name of the ONNX network's input where left out."
    )
    outputs: Mapping[str, str] = Field(
        {}, description="Head → node; the name of the ONNX network's output where left out."
    )


class Model(Section):
    onnx: Path = Field(
        description="The network, relative to this file: float32, or quantised already."
    )
    quantised: Literal["shipped", "strip"] = Field(
        "shipped",
        description="What to do with a network that is quantised already: run it as it is, as the int8 "
        "cell, or strip it to its float form and quantise that anew. A float network does not care.",
    )
    shapes: Mapping[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(
        {},
        description="Input → its sizes, the batch first, where the file leaves them open: {image: [1, 3, 320, 320]}. "
        "Height and width of images may also come from data.preprocess.size.",
    )
    batch: int = Field(
        1,
        ge=1,
        le=MOST_IMAGES,
        description="Images that the network is given at once, and is timed with; of a file that leaves its batch open, "
        "or fixes it at this number.",
    )
    constants: Mapping[str, pydantic.JsonValue] = Field(
        {},
        description="Input that no image fills → what it is fed with every image, a number or nested lists: "
        "{scale_factor: [1, 1]}.",
    )
    variants: tuple[Path, ...] = Field(
        (),
        description="The same function in forms that older parsers of TensorRT read, the newest first: "
        "of an older opset, with Upsample in place of Resize. Each version takes the first it can read.",
    )
    uff: Uff | None = Field(
        None,
        description="The same function as a UFF file, for versions of TensorRT whose ONNX parser reads "
        "none of the other forms.",
    )
    plugins: tuple[Plugin, ...] = Field(
        (), description="Custom layers of the network, for TensorRT."
    )
    custom_operators: tuple[str, ...] = Field(
        (),
        description="Operators, or names of nodes, to be called custom beside those of a domain of "
        "their own: a Resize that a plugin does.",
    )


class Head(Section):
    output: str | None = Field(
        None,
        description="An output of the network, or any floating-point tensor inside it; default: the "
        "head's name. Naming one inside gives it out, and what no head needs is left away.",
    )
    variants: Mapping[str, str] = Field(
        {},
        description="File of model.variants → what this tensor is called there, where it differs.",
    )
    stride: int | None = Field(None, ge=1, description="Pixels per cell, for decoding boxes.")
    anchors: tuple[tuple[Pixels, Pixels], ...] = Field(
        (),
        description="[width, height] in pixels, in the order of the channels, for decoding boxes.",
    )
    role: Role | None = Field(
        None,
        description="What it holds of a box that a style of `decode` makes of several heads of one stride.",
    )
    scale_x_y: float | None = Field(
        None,
        ge=1,
        le=3,
        description="yolov3, v4: Darknet's setting of this head, where it is not 1.",
    )
    gate: HeadGateSection = HeadGateSection()


LONGEST_HEAD = 200
"""Characters in the name of a head."""


def named_heads(heads: Mapping[str, Head]) -> Mapping[str, Head]:
    for name in heads:
        if not 0 < len(name) <= LONGEST_HEAD:
            raise ValueError(
                f"a head's name has 1 to {LONGEST_HEAD} characters, {name!r:.20} has {len(name)}; "
                "call it as you like and give its `output`"
            )
        if name == WHOLE_NETWORK:
            raise ValueError(
                f"no head is called {name!r}, which is where gates on all heads together are told; "
                "call it as you like and give its `output`"
            )
    return heads
