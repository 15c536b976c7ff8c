"""What a style of `decode:` is: a name, what matrix.yaml may leave out, and the way to boxes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.manifest import RecordedDecode

Output = npt.NDArray[np.float32]

Detector = Callable[[Mapping[str, Output]], Boxes]
"""From the raw outputs of one image, by head, to its boxes: what a decoder of the user's own is."""

Shapes = Mapping[str, tuple[int, ...]]
"""Head → shape of one image's output."""

SETTINGS = frozenset({"layout", "activation", "bins", "background", "strides", "anchors_per_cell",
                      "cell_offset", "priors", "clip_priors", "variances", "nms_iou"})  # fmt: skip
"""Keys of `decode:` that not every style knows of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenOutput:
    """An output of a network, as `init` sees it."""

    name: str
    shape: tuple[int, ...]
    """Of one image."""
    tail: frozenset[str] | None = None
    """Operators between the last convolutions and it, without those that only move values; None where
    they are not known."""
    parts: frozenset[int] | None = None
    """Channels that those convolutions give out; None where they are not known."""

    def applies(self, *operators: str) -> bool | None:
        """Whether one of them is in its tail; None where the tail is not known."""
        return None if self.tail is None else not self.tail.isdisjoint(operators)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """How outputs might be decoded."""

    decode: Mapping[str, Any]
    """Of `decode:`, the style among it."""
    heads: Mapping[str, Mapping[str, Any]]
    """Output → its settings in `heads:`; others hold no boxes."""
    reason: str
    """What it was recognised by."""
    doubt: str = ""
    """What shapes and names do not tell, if anything."""


Recognise = Callable[[Sequence[SeenOutput], tuple[int, int]], Proposal | None]
"""(outputs, height and width of the input) → proposal; None where these are no outputs of the style."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionGate:
    """Which positions of heads that make boxes together can hold one: `job.protocol.GATE_KEYS`.

    Of all others the decoder makes no box, whatever they hold, as long as they do not pass: what is decoded of
    the positions that pass is decoded of all.
    """

    heads: Mapping[str, int | None]
    """Head → channels of a position, that its shape ends with; None where they are its first axis."""
    head: str
    scores: tuple[tuple[int, ...], ...]
    among: tuple[tuple[int, ...], ...] | None = None
    alone: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    least: float


Gates = Callable[[RecordedDecode], tuple[PositionGate, ...]]
"""Raises DecodeError where the settings do not fit themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    name: str
    what: str
    """For people: which published networks, in a line."""
    detector: Callable[[RecordedDecode], Detector]
    """Raises DecodeError where the settings do not fit themselves."""
    check: Callable[[RecordedDecode, Shapes], None]
    """Raises DecodeError where no outputs of these shapes can be decoded; heads may be missing."""
    together: Callable[[RecordedDecode], tuple[tuple[str, ...], ...]] = lambda _: ()
    """→ sets of heads that a box is made of together; heads in none make boxes alone."""
    roles: frozenset[str] = frozenset()
    """What heads may hold parts of a box; empty where every head holds whole boxes."""
    whole: bool = True
    """A head without a role holds whole boxes."""
    settings: frozenset[str] = frozenset()
    """Those of SETTINGS that it knows of."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Key of `decode:` → what it is where matrix.yaml leaves it out."""
    recognise: Recognise = lambda _outputs, _image: None
    gates: Gates | None = None
    """None: nobody knows which values decide, so outputs travel whole from where there is no decoder."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    """Keys of `data.preprocess` in which the published networks differ from its defaults: `init` writes them."""
