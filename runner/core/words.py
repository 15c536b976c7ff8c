"""Putting names and numbers into a sentence as a person would."""

from collections.abc import Iterable, Sequence

VERBS = {"is": ("is", "are"), "lose": ("loses", "lose")}


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


def span(values: Iterable[float]) -> str:
    """Returns `0.2 to 0.3`, or one number where both are the same."""
    numbers = sorted(values)
    if not numbers:
        return "?"
    low, high = f"{numbers[0]:.1f}", f"{numbers[-1]:.1f}"
    return low if low == high else f"{low} to {high}"
