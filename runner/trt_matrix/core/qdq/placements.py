"""Which of the possible placements a cell runs with, under a name that its record keeps.

Four choices make two simulations incomparable: the type of the activations, whether weights have a scale a
channel, whether the heads' outputs are quantised, and which layers are kept in float. The limit of 8 bits is
taken in each such placement.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from trt_matrix.core.hosts.processor import Processor
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions
from trt_matrix.core.words import count

ENGINES = {"onnxruntime": ONNXRUNTIME, "tensorrt": TENSORRT}
"""engine → what its network needs besides."""


def rules_of(engine: str) -> str:
    """Returns the engine by whose rules Q/DQ nodes are placed: ONNX Runtime's for a function of the user's own."""
    return engine if engine in ENGINES else "onnxruntime"


class Activations(StrEnum):
    INT8 = "int8"
    UINT8 = "uint8"


class Weights(StrEnum):
    PER_CHANNEL = "per_channel"
    PER_TENSOR = "per_tensor"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """One placement: what decides where Q/DQ stands and what integers it makes."""

    engine: str
    activations: Activations = Activations.INT8
    weights: Weights = Weights.PER_CHANNEL
    int8_outputs: bool = False
    in_float: str = ""
    """Which layers are kept in float: `kept_in_float` of their names; empty where none is."""

    @property
    def name(self) -> str:
        """`onnxruntime-uint8-per_channel-float_outputs`; letters that a pass and a file may have."""
        kept = f"-{self.in_float}" if self.in_float else ""
        return f"{self.engine}-{self.activations}-{self.weights}-{self.outputs}_outputs{kept}"

    @property
    def outputs(self) -> str:
        return "int8" if self.int8_outputs else "float"

    @property
    def told(self) -> str:
        """`uint8 activations, weights per channel, float outputs, 3 layers kept in float`."""
        weights = self.weights.replace("_", " ")
        layers = int(self.in_float.partition("_")[0]) if self.in_float else 0
        kept = f", {count(layers, 'layer')} kept in float" if layers else ""
        return f"{self.activations} activations, weights {weights}, {self.outputs} outputs{kept}"

    @property
    def per_channel(self) -> "Placed":
        """The same with a scale an output channel."""
        return replace(self, weights=Weights.PER_CHANNEL)

    def options(self, exclude: Collection[str] = ()) -> PlacementOptions:
        """Returns what to place with; `exclude` are the layers that `in_float` stands for."""
        assert kept_in_float(exclude) == self.in_float  # noqa: S101 - a name that lies is no name
        return replace(
            ENGINES[self.engine],
            exclude=frozenset(exclude),
            per_channel_weights=self.weights is Weights.PER_CHANNEL,
            quantise_outputs=self.int8_outputs,
            unsigned_activations=self.activations is Activations.UINT8,
        )


def kept_in_float(layers: Collection[str]) -> str:
    """Returns what a placement calls a set of layers: `3_in_float_1a2b3c4d`, empty of none."""
    if not layers:
        return ""
    named = hashlib.sha256("\0".join(sorted(layers)).encode()).hexdigest()
    return f"{len(set(layers))}_in_float_{named[:8]}"


_NAME = re.compile(
    f"(?P<engine>{'|'.join(ENGINES)})"
    f"(?:-(?P<activations>{'|'.join(Activations)})-(?P<weights>{'|'.join(Weights)})"
    "-(?P<outputs>float|int8)_outputs(?:-(?P<in_float>[1-9][0-9]*_in_float_[0-9a-f]{8}))?)?"
)


def placed_of(name: str) -> Placed | None:
    """Returns the placement of a record; None where its name is none.

    Records made before there was a choice name only the engine: ONNX Runtime had int8 outputs then.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    engine = match["engine"]
    if match["outputs"] is None:
        return Placed(engine=engine, int8_outputs=engine == "onnxruntime")
    return Placed(
        engine=engine,
        activations=Activations(match["activations"]),
        weights=Weights(match["weights"]),
        int8_outputs=match["outputs"] == "int8",
        in_float=match["in_float"] or "",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """What matrix.yaml asks of every placement."""

    int8_outputs: bool = False
    activations: Activations | None = None
    """None leaves the choice to `activations_for`."""


@dataclass(frozen=True, slots=True)
class PlacementChoice:
    activations: Activations
    why: str


def activations_for(
    engine: str, *, on_cpu: bool, asked: Activations | None, processor: Processor | None
) -> PlacementChoice:
    """Returns the type of the activations, and why.

    The choice is here where None is `asked` for in matrix.yaml; the processor is None where nobody knows it
    before the cell ran.
    """
    if engine != "onnxruntime":
        return PlacementChoice(Activations.INT8, "TensorRT takes int8 alone")
    if asked is not None:
        return PlacementChoice(asked, "matrix.yaml asks for it")
    if not on_cpu:
        return PlacementChoice(Activations.INT8, "it runs on a GPU")
    if processor is None:
        why = (
            "the processor that it runs on is not known beforehand; "
            "`quantisation: {activations: uint8}` asks for the faster kernels of x86 with VNNI"
        )
    elif not processor.is_x86:
        why = f"{processor.machine} multiplies int8 by int8"
    elif not processor.has_vnni:
        why = "this x86 processor has no VNNI, and without it kernels of u8 by s8 can saturate"
    else:
        why = "ONNX Runtime's fast kernels of x86 with VNNI multiply u8 by s8"
        return PlacementChoice(Activations.UINT8, why)
    return PlacementChoice(Activations.INT8, why)


PRECISE = "session.x64quantprecision"
INT8_KERNELS = "session.qdqisint8allowed"
"""Configuration entries of ONNX Runtime's sessions (onnxruntime_session_options_config_keys.h). On x86 without VNNI
its kernels of u8 by s8 saturate. With the first at "1" they are u8 by u8, which is exact; without the second at "1"
int8 activations are made uint8 first, so they saturate likewise. Both at "1" and int8: it has no such kernel."""


def saturates(
    placed: Placed,
    *,
    on_cpu: bool,
    processor: Processor | None,
    session: Mapping[str, object] | None = None,
) -> bool:
    """Whether integer kernels of this placement may saturate on the processor that it ran on.

    `session` are the configuration entries of its session, None where they are not known.
    """
    if placed.engine != "onnxruntime" or not on_cpu or str((session or {}).get(PRECISE)) == "1":
        return False
    made_unsigned = session is not None and str(session.get(INT8_KERNELS)) != "1"
    unsigned = placed.activations is Activations.UINT8 or made_unsigned
    return unsigned and processor is not None and processor.is_x86 and not processor.has_vnni
