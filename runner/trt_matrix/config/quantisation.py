"""The section `quantisation` of matrix.yaml: what of the network runs on integers, and on which."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, Tag

from trt_matrix.config.sections import BRANCH, Section, branches

Weights = Literal["per_channel", "per_tensor"]
T = TypeVar("T")


_one_or_several = branches(list | tuple, "several", "one")


def _different(value: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(value)) < len(value):
        raise ValueError("names one twice")
    return value


Layers = Annotated[tuple[str, ...], AfterValidator(_different)]
"""Names of nodes of the network."""


class Quantisation(Section):
    outputs: Literal["float", "int8"] = Field(
        "float",
        description="The heads' outputs in explicit int8: float as TensorRT leaves them (ONNX Runtime then "
        "computes the last convolution in float), or int8.",
    )
    activations: Literal["auto", "uint8", "int8"] = Field(
        "auto",
        description="Of ONNX Runtime on processors: uint8 around 128 where an x86 has VNNI and int8 "
        "elsewhere, or one of them. The steps are the same, the kernels are not.",
    )
    weights: Annotated[
        Annotated[Weights, Tag(f"{BRANCH}one")]
        | Annotated[
            Annotated[tuple[Weights, ...], Field(min_length=1), AfterValidator(_different)],
            Tag(f"{BRANCH}several"),
        ],
        _one_or_several,
    ] = Field(
        "per_channel",
        description="A scale an output channel, one for the whole tensor, or a list of both: each is a "
        "pass of its own.",
    )
    exclude: Layers = Field(
        (),
        description="Layers (nodes of the network) that stay in float in every pass with Q/DQ nodes.",
    )
    mixed: Annotated[
        Annotated[Literal["auto"] | None, Tag(f"{BRANCH}one")]
        | Annotated[Annotated[Layers, Field(min_length=1)], Tag(f"{BRANCH}several")],
        _one_or_several,
    ] = Field(
        "auto",
        description="The pass `int8-mixed`, the shared table with some layers in float: auto tries in every "
        "environment the set that `diagnose` finds where int8 breaks a gate or loses boxes; a list is that set; "
        "null is no such pass.",
    )

    @property
    def finds_mixed(self) -> bool:
        """Whether the layers of `int8-mixed` are to be looked for."""
        return self.mixed == "auto"

    @property
    def mixed_layers(self) -> tuple[str, ...]:
        """Those that `int8-mixed` keeps in float beside `exclude`, as far as they are asked for by name."""
        return self.mixed if isinstance(self.mixed, tuple) else ()

    @property
    def all_weights(self) -> Sequence[Weights]:
        return (self.weights,) if isinstance(self.weights, str) else self.weights
