"""What a family of matrices is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.verdicts.made import Matrix

Make = Callable[[np.random.Generator, int], Matrix]
"""(generator, repeats) → a matrix."""

REPEATS = (2, 3, 5, 10, 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    name: str
    """As on the command line."""
    about: str
    """What is true in it, and which kinds of verdict are allowed beside what was planted, and why."""
    variants: Mapping[str, Make]
    """By name: sizes where something is planted, shapes of chance elsewhere."""
    equal: bool = False
    """Whether builds are equal and nothing is wrong, so that little may be left undecided."""
    judged: bool = False
    """Whether it takes a whole judgement: outputs or runs are broken."""
    repeats: tuple[int, ...] = REPEATS
    power: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """(variant, repeats) → share that must be found."""
    climbs: bool = False
    """Whether variants are in an order in which more must be found from one to the next."""
    weight: float = 1.0
    """Of the matrices asked for, how many are made: large ones take long."""
