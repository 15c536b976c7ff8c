"""Putting names and numbers into a sentence as a person would."""

from collections.abc import Iterable, Sequence

VERBS = {
    "is": ("is", "are"),
    "lose": ("loses", "lose"),
    "keep": ("keeps", "keep"),
    "cost": ("costs", "cost"),
    "stand": ("stands", "stand"),
}


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


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """Returns `1 cell`, `1,200 cells`."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def span(values: Iterable[float]) -> str:
    """Returns `0.2 to 0.3`, or one number where both are the same; a small one is not 0.0."""
    numbers = sorted(values)
    if not numbers:
        return "an unknown number of"
    decimals = 2 if 0 < abs(numbers[0]) < 0.1 else 1
    low, high = (f"{one:z.{decimals}f}" for one in (numbers[0], numbers[-1]))
    return low if low == high else f"{low} to {high}"


def capital(text: str) -> str:
    """Returns the text with its first letter a capital, unless it begins with a name: `ort-1.22.1`, `cuDNN`."""
    first = text.split(maxsplit=1)[0].strip(".,:;'") if text.strip() else ""
    plain = first.replace("'", "").isalpha() and not any(one.isupper() for one in first[1:])
    return text[:1].upper() + text[1:] if plain else text
