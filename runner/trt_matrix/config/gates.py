"""The sections `gate` of matrix.yaml: what a head, and the whole network, may lose."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from trt_matrix.config.decoding import Share
from trt_matrix.config.sections import Section
from trt_matrix.core.cells import Precision

OWN = (Precision.FP16, Precision.TF32, Precision.BF16)
"""Precisions that may have limits of their own."""


class BoxLimits(Section):
    """Limits of a cell in int8, fp16, tf32 or bf16 against the reference."""

    ap_drop: Share | None = Field(
        None, description="Largest loss of AP (IoU 0.50 to 0.95) against the reference."
    )
    ap50_drop: Share | None = Field(
        None, description="Largest loss of AP50 against the reference; it hardly sees moved boxes."
    )
    iou: Share | None = Field(
        None, description="Least mean IoU of the reference's boxes and those of the cell."
    )
    lost: Share | None = Field(
        None, description="Largest share of the reference's boxes that the cell may lose."
    )


class HeadLimits(BoxLimits):
    """The same of one head, and its SQNR."""

    sqnr_db: float | None = Field(
        None, description="Least SQNR against the reference, in dB; it sees no box that is lost."
    )


OWN_LIMITS = "Limits of {} cells where they differ from these; null for none."


class NetworkGate(BoxLimits):
    """All heads of a cell together: what an application sees of it."""

    fp16: BoxLimits | None = Field(None, description=OWN_LIMITS.format("fp16"))
    tf32: BoxLimits | None = Field(None, description=OWN_LIMITS.format("tf32"))
    bf16: BoxLimits | None = Field(None, description=OWN_LIMITS.format("bf16"))


class HeadGateSection(HeadLimits):
    """One head, in every precision but fp32."""

    fp16: HeadLimits | None = Field(None, description=OWN_LIMITS.format("fp16"))
    tf32: HeadLimits | None = Field(None, description=OWN_LIMITS.format("tf32"))
    bf16: HeadLimits | None = Field(None, description=OWN_LIMITS.format("bf16"))


def own_limits(gate: HeadGateSection | NetworkGate) -> Mapping[Precision, BoxLimits]:
    """Returns the limits of precisions that have their own."""
    gates = {precision: getattr(gate, str(precision)) for precision in OWN}
    return {precision: own_gate for precision, own_gate in gates.items() if own_gate is not None}


def recorded(gate: HeadGateSection | NetworkGate) -> Mapping[str, Any]:
    """Returns the fields of `manifest.Gate`."""
    own = {
        precision: own_limit.model_dump(include=own_limit.model_fields_set)
        for precision, own_limit in own_limits(gate).items()
    }
    return gate.model_dump(exclude={str(precision) for precision in OWN}) | {"by_precision": own}
