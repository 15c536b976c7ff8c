"""Which positions of outputs can hold boxes: what must be known of outputs for boxes to be made without them."""

from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.registry import style_of
from trt_matrix.core.boxes.styles import PositionGate
from trt_matrix.core.manifest import RecordedDecode


def gates_of(decode: RecordedDecode | None) -> tuple[PositionGate, ...] | None:
    """Returns the gates of all heads that hold boxes; None where boxes can only be made of whole outputs.

    That is where a function of the user's own decodes, and where every score counts.
    """
    if decode is None:
        return ()
    if decode.score_threshold <= 0:
        return None
    try:
        style = style_of(decode)
        return style.gates(decode) if style and style.gates else None
    except DecodeError:
        return None
