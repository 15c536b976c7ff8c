"""The table `best`: for each tensor the range, of those that the algorithms gave it, that costs the heads least.

Coordinate descent over tensors, judged by a simulation that is passed in. With NMSE_h of head h and L_h the
smallest NMSE_h of the single tables, a table costs

    J = mean over heads of NMSE_h / L_h                                    1.26 is 1 dB above each head's best

Two parts of the calibration images, which share none (but where there is one image alone): a range is chosen on
the first, and kept only if J is smaller on the second as well and no head is worse there than with the table
that the search began with. That is the single table with the smallest J on the second part: so `best` is never
worse there than any single table. On other images it may be; nothing here sees the evaluation images.

At most `MOST_TRIALS` simulations of the first part, and one of the second for each that looks better; so the
cost does not grow with the network beyond what one inference costs. The tensors whose ranges are furthest
apart have their turn first, since there most is to be won.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

CLOSE = 1.03
"""Ranges that are nearer than this ratio cost alike, and one of them is tried."""
MOST_TRIALS = 400
LEAST_GAIN = 1e-4
"""Of J, relative: less is rounding."""
EXACT = 1e-12
"""NMSE that counts as none: a head that 8 bits do not touch asks for nothing."""

Ranges = Mapping[str, float]
"""Tensor → amax."""


class ImagePart(IntEnum):
    """Of the calibration images."""

    CHOOSE = 0
    CONFIRM = 1


Simulate = Callable[[Ranges, ImagePart], Sequence[float]]
"""The NMSE of each head with these ranges, over a part of the images; NaN or infinity where it breaks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BestTable:
    """What the search ended with."""

    amax: Ranges
    start: str
    """The single table that it began with."""
    changed: Mapping[str, str]
    """Tensor → the algorithm whose range it took in place of that one's, in the order of being taken."""
    trials: int
    """Simulations of the first part, those of the single tables apart."""
    left: int
    """Tensors whose ranges differ and that had no turn."""
    cost: float
    """J on the second part."""
    start_cost: float
    """The same of the table that it began with."""


def best_ranges(
    tables: Mapping[str, Ranges],
    tensors: Collection[str],
    simulate: Simulate,
    told: Callable[[int, int], None],
    *,
    most: int = MOST_TRIALS,
) -> BestTable:
    """Returns the ranges that cost least.

    Args:
        tables: Algorithm → its ranges, of the same tensors; at least one.
        tensors: Those whose ranges the simulation asks for; others stay as they are.
        simulate: Deterministic.
        told: Called with (tensors tried, tensors to try) as it goes on; what it raises ends the search.
        most: Simulations of the first part at most, beside those of the single tables.
    """
    search = _Search(tables, simulate)
    todo = _by_spread(tables, tensors)
    trials, tried = 0, 0
    for tensor in todo:
        told(tried, len(todo))
        options = search.options(tensor)
        if trials + len(options) > most:
            break
        trials += len(options)
        search.improve(tensor, options)
        tried += 1
    told(tried, len(todo))
    return BestTable(
        amax=search.amax,
        start=search.start,
        changed=search.changed,
        trials=trials,
        left=len(todo) - tried,
        cost=search.cost[ImagePart.CONFIRM],
        start_cost=search.start_cost,
    )


class _Search:
    def __init__(self, tables: Mapping[str, Ranges], simulate: Simulate) -> None:
        self.tables = tables
        self.simulate = simulate
        errors = {
            part: {name: simulate(ranges, part) for name, ranges in tables.items()}
            for part in ImagePart
        }
        self.least = {part: _least(list(of_tables.values())) for part, of_tables in errors.items()}
        costs = {
            part: {name: self._cost(of_heads, part) for name, of_heads in of_tables.items()}
            for part, of_tables in errors.items()
        }
        # The first of equal ones, and the first of all where every one breaks.
        self.start = min(tables, key=lambda name: costs[ImagePart.CONFIRM][name])
        self.amax = dict(tables[self.start])
        self.cost = {part: cost[self.start] for part, cost in costs.items()}
        self.start_cost = self.cost[ImagePart.CONFIRM]
        self.allowed = errors[ImagePart.CONFIRM][self.start]
        """NMSE of each head that the second part must keep."""
        self.changed: dict[str, str] = {}

    def options(self, tensor: str) -> dict[str, float]:
        """Returns algorithm → range, of those that differ from the present one and from each other."""
        options: dict[str, float] = {}
        for name, ranges in self.tables.items():
            known = (self.amax[tensor], *options.values())
            if tensor in ranges and all(_ratio(ranges[tensor], amax) > CLOSE for amax in known):
                options[name] = ranges[tensor]
        return options

    def improve(self, tensor: str, options: Mapping[str, float]) -> None:
        """Takes the best of the options, where it is better on both parts."""
        costs = {}
        for name, amax in options.items():
            errors = self.simulate({**self.amax, tensor: amax}, ImagePart.CHOOSE)
            costs[name] = self._cost(errors, ImagePart.CHOOSE)
        best = min(costs, key=lambda name: costs[name], default=None)
        if best is None or not costs[best] < self.cost[ImagePart.CHOOSE] * (1 - LEAST_GAIN):
            return
        changed = {**self.amax, tensor: options[best]}
        errors = self.simulate(changed, ImagePart.CONFIRM)
        cost = self._cost(errors, ImagePart.CONFIRM)
        worse = any(now > was for now, was in zip(errors, self.allowed, strict=True))
        if worse or not cost < self.cost[ImagePart.CONFIRM]:
            return
        self.amax = changed
        self.cost = {ImagePart.CHOOSE: costs[best], ImagePart.CONFIRM: cost}
        self.changed[tensor] = best

    def _cost(self, errors: Sequence[float], part: ImagePart) -> float:
        if not all(math.isfinite(error) for error in errors):
            return math.inf
        ratios = [error / least for error, least in zip(errors, self.least[part], strict=True)]
        return sum(ratios) / len(ratios) if ratios else 0.0


def _least(errors: Sequence[Sequence[float]]) -> list[float]:
    """Returns the smallest NMSE of each head over the single tables."""
    columns = zip(*errors, strict=True)
    return [max(min(filter(math.isfinite, column), default=EXACT), EXACT) for column in columns]


def _by_spread(tables: Mapping[str, Ranges], tensors: Collection[str]) -> list[str]:
    """Returns the tensors whose ranges differ, the furthest apart first."""
    spreads: dict[str, float] = {}
    for tensor in dict.fromkeys(tensors):
        known = [ranges[tensor] for ranges in tables.values() if tensor in ranges]
        if len(known) == len(tables) and (spread := _ratio(max(known), min(known))) > CLOSE:
            spreads[tensor] = spread
    return sorted(spreads, key=lambda tensor: (-spreads[tensor], tensor))


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
