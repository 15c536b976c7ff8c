"""Values put together: each once, by what they have in common, without those that are not known."""

from collections.abc import Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def distinct(values: Iterable[V]) -> list[V]:
    """Returns each value once, where it stands first."""
    return list(dict.fromkeys(values))


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Returns key → its values, in the order in which keys, and values of each, come first."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def present(values: Iterable[V | None]) -> list[V]:
    """Returns the values that are not None."""
    return [value for value in values if value is not None]
