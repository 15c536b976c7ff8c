"""Putting names and numbers into a sentence as a person would."""

import json
import re
from collections.abc import Iterable, Sequence

VERBS = {
    "is": ("is", "are"),
    "have": ("has", "have"),
    "lose": ("loses", "lose"),
    "keep": ("keeps", "keep"),
    "cost": ("costs", "cost"),
    "stand": ("stands", "stand"),
}


UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # zero width, direction marks
    "\ud800-\udfff]"  # lone surrogates: no file can hold them
)


def visible(text: str) -> str:
    """Returns `text` with every character that is invisible or steers the display spelled out.

    A name holding U+202E (right-to-left override) would otherwise rewrite what stands beside it, and a
    job's ESC ] would rename the terminal: whatever is shown to people goes through here once.
    """
    return UNSEEN.sub(lambda match_: f"[U+{ord(match_[0]):04X}]", text)


def one_line(text: str) -> str:
    """Returns foreign text as one visible line, so that it cannot pass for a line of ours."""
    return visible(" ".join(text.splitlines()))


def listed(names: Sequence[str], most: int = 6) -> str:
    """Joins names as a person would; says how many more there are."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def verb(name: str, subjects: Sequence[str]) -> str:
    """Returns the form of a verb that so many subjects take."""
    one, many = VERBS[name]
    return one if len(subjects) == 1 else many


_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


def yaml_word(text: str) -> str:
    """Returns a name as matrix.yaml may have it between other words: in quotes where it needs them."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """Returns `1 cell`, `1,200 cells`."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def span(values: Iterable[float]) -> str:
    """Returns `0.2 to 0.3`, or one number where both are the same; a small one is not 0.0."""
    numbers = sorted(values)
    if not numbers:
        return "an unknown number of"
    decimals = 2 if 0 < abs(numbers[0]) < 0.1 else 1
    low, high = (f"{end:z.{decimals}f}" for end in (numbers[0], numbers[-1]))
    return low if low == high else f"{low} to {high}"


def capital(text: str) -> str:
    """Returns the text with its first letter a capital, unless it begins with a name: `ort-1.22.1`, `cuDNN`."""
    first = text.split(maxsplit=1)[0].strip(".,:;'") if text.strip() else ""
    plain = first.replace("'", "").isalpha() and not any(
        character.isupper() for character in first[1:]
    )
    return text[:1].upper() + text[1:] if plain else text
