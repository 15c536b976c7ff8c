"""The section `quantisation` of matrix.yaml: what of the network runs on integers, and on which."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from runner.config.environments import BRANCH, Section

Weights = Literal["per_channel", "per_tensor"]


def _one_or_several(value: Any) -> str:
    return f"{BRANCH}{'several' if isinstance(value, list | tuple) else 'one'}"


def _different(value: tuple[Weights, ...]) -> tuple[Weights, ...]:
    if len(set(value)) < len(value):
        message = "names one twice"
        raise ValueError(message)
    return value


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
        Discriminator(_one_or_several),
    ] = Field(
        "per_channel",
        description="A scale an output channel, one for the whole tensor, or a list of both: each is a "
        "pass of its own.",
    )

    @property
    def all_weights(self) -> Sequence[Weights]:
        return (self.weights,) if isinstance(self.weights, str) else self.weights
