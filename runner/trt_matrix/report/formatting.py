"""Numbers and foreign text as a reader should see them; pure, used as filters by the templates.

Every function takes None for "no value" and answers with a dash, so templates need no conditions.
"""

import math
import re
from collections.abc import Sequence

from markupsafe import Markup

from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.core.words import capital, count, visible

ABSENT = "–"
MINUS = "−"
THIN = "\N{NARROW NO-BREAK SPACE}"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

TELLING_DB = 1.0
"""A bound above this says more of the measurement than of the cell."""

TERMINAL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def finalize(value: object) -> object:
    """What jinja applies to each expression before it escapes it; markup made here passes."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def log(text: str) -> str:
    """Returns a log as plain text: no terminal colours, line feeds alone end lines."""
    return TERMINAL_SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def short(text: str, limit: int = 40) -> str:
    """Returns at most `limit` characters; what is left out is the middle: versions stand at ends."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def fixed(value: float | None, decimals: int = 1) -> str:
    """Returns `value` with `decimals` digits after the point and a true minus; never `−0.0`."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:,.{decimals}f}"
    return text.strip("-") if not text.strip("-0.,") else text.replace("-", MINUS)


def signed(value: float | None, decimals: int = 1) -> str:
    """Returns `value` as in `fixed`, with a plus where it is positive after rounding."""
    text = fixed(value, decimals)
    negative_or_zero = text.startswith((MINUS, ABSENT)) or not text.strip("0.,")
    return text if negative_or_zero else f"+{text}"


def number(value: float | None, digits: int = 3) -> str:
    """Returns `value` to `digits` significant digits: `0.0123`, `12,300`, `1.23×10⁻⁵`."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    mantissa, _, exponent_text = f"{value:.{digits - 1}e}".partition("e")
    exponent = int(exponent_text)
    if -3 <= exponent < 6:
        rounded = float(f"{mantissa}e{exponent}")
        return fixed(rounded, max(0, digits - 1 - exponent))
    return f"{mantissa.replace('-', MINUS)}×10{superscript(exponent)}"


def superscript(exponent: int) -> str:
    return str(exponent).translate(SUPERSCRIPTS)


def duration(seconds: float | None) -> str:
    """Returns seconds to 3 significant digits in the unit that fits: `12.3 ms`, `840 µs`."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    rounded = float(f"{seconds:.2e}")  # first, so that 999.9 µs is 1.00 ms
    for unit, size_s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if rounded >= size_s:
            return f"{number(rounded / size_s)}{THIN}{unit}"
    return f"{number(rounded / 1e-9)}{THIN}ns"


def percent(share: float | None) -> str:
    """Returns a share (0 to 1) in percent; 100 % and 0 % are said only where they are exact."""
    if share is None or not math.isfinite(share):
        return ABSENT
    if share in (0, 1):
        return f"{share * 100:.0f}{THIN}%"
    if share < 0.0005:
        return f"<0.1{THIN}%"
    if 0.9995 <= share < 1:
        return f">99.9{THIN}%"
    return f"{fixed(share * 100)}{THIN}%"


def ratio(value: float | None) -> str:
    """Returns a ratio to 3 significant digits, at most 2 after the point: `0.98×`, `12.3×`."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{fixed(value, 2 if value < 10 else 1 if value < 100 else 0)}×"


def cosine(value: float | None) -> str:
    """Returns a cosine similarity to 6 places: nearly all of them begin with 0.99."""
    return fixed(value, 6)


def listed(names: Sequence[str], most: int = 1) -> str:
    """Returns `a`, `a and b`, `a + 3 more`: the first `most` names, then how many more."""
    shown, rest = names[:most], len(names) - most
    text = ", ".join(shown)
    return f"{text} + {rest} more" if rest > 0 else text


def sentence(text: str) -> str:
    """Returns `text` with its first letter a capital, the others as they are."""
    return capital(text)


def effect(change: Effect) -> str:
    """Returns `+6.1 dB (5.2 to 6.9)`; without the interval where the noise is unknown."""
    text = f"{signed(change.db, 1)} dB"
    if change.typical is not None and change.db < change.typical_db / 2:
        return f"{signed(change.typical_db, 1)} dB on the typical image"
    if not change.known or not math.isfinite(change.low):
        return f"{text}, noise unknown"
    return f"{text} ({fixed(change.low_db, 1)} to {fixed(change.high_db, 1)})"


def unseen(verdict: Verdict) -> str:
    """Returns the second half of `ok`: how much worse it may be all the same; empty where that is not known."""
    if verdict.kind is not Kind.OK or verdict.bound_db is None:
        return ""
    bound = max(verdict.bound_db, 0.0)
    if bound < 0.05:
        return "no worse than the baseline"
    text = fixed(math.ceil(bound * 10 - 1e-9) / 10)
    if bound <= TELLING_DB:
        return f"at most {text} dB worse"
    return f"up to {text} dB would not have been seen"


def ticks(text: str) -> Markup:
    """Returns `text` with what stands between backticks as code, as the terminal and Markdown have it."""
    parts = re.split(r"`([^`]+)`", visible(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )


FILTERS = {
    filter_.__name__: filter_
    for filter_ in (
        cosine,
        count,
        duration,
        effect,
        fixed,
        listed,
        log,
        number,
        percent,
        ratio,
        sentence,
        short,
        signed,
        superscript,
        ticks,
        unseen,
    )
}
