"""All styles of `decode:`: those of every module in `decoders`."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence

from trt_matrix.core.boxes import decoders
from trt_matrix.core.boxes.decoding import refuse
from trt_matrix.core.boxes.styles import Proposal, SeenOutput, Style
from trt_matrix.core.collecting import present
from trt_matrix.core.manifest import RecordedDecode


def every() -> Iterator[Style]:
    """Yields the styles of every module in `decoders`, by the modules' names."""
    for name in sorted(module.name for module in pkgutil.iter_modules(decoders.__path__)):
        yield from importlib.import_module(f"{decoders.__name__}.{name}").STYLES


def by_name(styles: Iterator[Style]) -> Mapping[str, Style]:
    """Raises ValueError where two have one name."""
    named: dict[str, Style] = {}
    for style in styles:
        if style.name in named:
            message = f"two decoders call a style {style.name!r}"
            raise ValueError(message)
        named[style.name] = style
    return named


STYLES: Mapping[str, Style] = by_name(every())
"""Name → style."""


def style_of(decode: RecordedDecode) -> Style | None:
    """Returns the style of a run; None where a function of the user's own decodes.

    Raises:
        DecodeError: this version knows no such style.
    """
    if decode.style is None:
        return None
    if decode.style not in STYLES:
        refuse(f"no style is called {decode.style!r:.80} here; there are {', '.join(STYLES)}")
    return STYLES[decode.style]


def recognised(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> tuple[Proposal, ...]:
    """Returns how these outputs may be decoded: one without a doubt, or all that shapes and names fit.

    `image` is height and width of the network's input in pixels.
    """
    fitting = present(style.recognise(outputs, image) for style in STYLES.values())
    sure = [proposal for proposal in fitting if not proposal.doubt]
    return tuple(sure if len(sure) == 1 else fitting)
