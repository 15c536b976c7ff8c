"""The smallest set of layers to keep in float that keeps every limit, found with few evaluations.

1. What each part (an activation's pair, a layer's weights) costs is known from sensitivity. What a set of
   layers gives back is predicted as the sum over the parts that the placement then leaves in float; an
   activation that several layers read is left in float only if all of them are.
2. Two orders are made of this, by gain and by gain for cost. Along each the first set that keeps every
   limit is looked for: where the prediction says, then corrected by what was found, then by halving.
   Losses need not fall along an order, so the cheapest that was *seen* to hold is taken, nothing inferred.
3. One step back: members are left out, half of them at a time and then one by one, as long as all limits
   hold. What is left has no member that can go, unless the evaluations ran out, which is told.

After qualcomm's automatic mixed precision (lazy evaluation, interpolation) and Zeller and Hildebrandt 2002
(leaving out by halves); here for several heads and limits at once.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from trt_matrix.core.diagnosis.errors import Goal, StateErrors, failing
from trt_matrix.core.diagnosis.quantisers import Part

MOST_EVALUATIONS = 60
"""Of one search."""

MOST_COST = 0.5
"""Share of the network's cost that a set may put into float; beyond, int8 is hardly worth its trouble."""

MOST_MOVES = 96
"""Parts that are looked at, those that give most; others matter to nobody."""

LEAST_GAIN = 1e-4
"""Of what is wanted; what gives less back is never put into float for its own sake."""

MOST_CAP = 64
"""Predictions are never taken to be wrong by more."""

COST_OF_A_LAYER = 0.25
"""What a layer in float costs beside its work, as a share of the average layer's: conversions around it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatLayers:
    """What leaving layers in float leaves in float."""

    needs: Mapping[Part, frozenset[str]]
    """Part → the layers that all must be in float for it to be."""

    def by(self, layers: Collection[str]) -> frozenset[Part]:
        chosen = set(layers)
        return frozenset(part for part, needed in self.needs.items() if needed <= chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedLayers:
    """A set of layers in float, evaluated."""

    layers: frozenset[str]
    cost: float
    """Share of the network's cost, 0 to 1."""
    errors: StateErrors
    failing: tuple[Goal, ...]
    """Limits that it does not keep."""

    @property
    def holds(self) -> bool:
        return not self.failing

    @property
    def excess(self) -> float:
        """How many times each broken limit's loss is what is allowed, summed."""
        losses = ((goal.loss(self.errors), max(goal.allowed, 1e-12)) for goal in self.failing)
        return math.fsum(min(1e9, loss / allowed) for loss, allowed in losses)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """What a search came to."""

    tried: tuple[TriedLayers, ...]
    """Every set, in the order of evaluation; the first is the empty one."""
    chosen: TriedLayers | None
    """The cheapest that keeps every limit; None where none was found."""
    minimal: bool = False
    """Whether leaving out any one member was seen to break a limit."""
    paths: tuple[tuple[str, ...], ...] = ()
    """The orders that were followed."""

    @property
    def best(self) -> TriedLayers:
        """Returns the set that comes nearest to keeping every limit, the cheaper of equal ones."""
        return min(self.tried, key=lambda tried: (len(tried.failing), tried.excess, tried.cost))


@dataclass(kw_only=True, slots=True)
class Search:
    """Looks for the cheapest set of layers in float that keeps every limit."""

    costs: Mapping[str, float]
    """Layer that can be left in float → its share of the network's cost."""
    freed: FloatLayers
    gains: Mapping[Goal, Mapping[Part, float]]
    """Limit → part → what leaving it in float gives back, as `Goal.loss` counts it."""
    goals: tuple[Goal, ...]
    evaluate: Callable[[frozenset[str]], StateErrors]
    most_cost: float = MOST_COST
    most_evaluations: int = MOST_EVALUATIONS
    tried: dict[frozenset[str], TriedLayers] = field(default_factory=dict)

    def run(self) -> SearchResult:
        """Follows both orders, and leaves out what need not be in float."""
        start = self.look(frozenset())
        if start.holds:
            return SearchResult(tried=(start,), chosen=start, minimal=True)
        paths = [self.order(start, cost_power=power) for power in (1.0, 0.0)]
        for path in paths:
            self._first_that_holds(path, start)
        chosen = self._cheapest()
        minimal = False
        if chosen is not None:
            minimal = self._step_back(chosen)
            chosen = self._cheapest()
        return SearchResult(
            tried=tuple(self.tried.values()),
            chosen=chosen,
            minimal=minimal,
            paths=tuple(map(tuple, paths)),
        )

    def look(self, layers: frozenset[str]) -> TriedLayers:
        """Evaluates a set, once."""
        if layers not in self.tried:
            errors = self.evaluate(layers)
            self.tried[layers] = TriedLayers(
                layers=layers,
                cost=self.cost(layers),
                errors=errors,
                failing=failing(self.goals, errors),
            )
        return self.tried[layers]

    def cost(self, layers: Collection[str]) -> float:
        """Returns the share of the network's cost, 0 to 1, of these layers."""
        return math.fsum(self.costs[layer] for layer in sorted(layers))

    def affordable(self, layers: Collection[str]) -> bool:
        return self.cost(layers) <= self.most_cost + 1e-9  # sums of shares are rounded

    @property
    def spent(self) -> bool:
        return len(self.tried) >= self.most_evaluations

    def order(self, start: TriedLayers, *, cost_power: float = 1.0) -> list[str]:
        """Returns layers in the order in which they are put into float.

        Each step takes the layers that one part needs (a layer's weights: itself) and gives most back of
        what the broken limits still want, for their cost to the power of `cost_power`.
        """
        wanted = {
            goal: goal.loss(start.errors) - goal.allowed
            for goal in start.failing
            if math.isfinite(goal.loss(start.errors))
        }
        path: list[str] = []
        moves = self._moves(wanted)
        cap = 1.0
        while moves:
            before = set(path)
            had = self._benefit(before, wanted, cap)
            scored = []
            for move in sorted(moves, key=sorted):
                new = move - before
                if not self.affordable(before | new):
                    continue
                gain = self._benefit(before | new, wanted, cap) - had
                cost = self.cost(new) + COST_OF_A_LAYER / len(self.costs) * len(new)
                scored.append((gain / cost**cost_power, -cost, sorted(new)))
            best = max(scored, default=None, key=lambda move: move[:2])
            if best is None:
                break
            if best[0] <= 1e-9:
                if cap >= MOST_CAP:
                    break
                # All that is wanted is predicted to be had: go on as if more were.
                cap *= 2
                continue
            path.extend(best[2])
            moves = {move for move in moves if not move <= set(path)}
        return path

    def _moves(self, wanted: Mapping[Goal, float]) -> set[frozenset[str]]:
        """Returns sets of layers that go into float together: what each part needs that matters."""
        wants = [(self.gains.get(goal, {}), want) for goal, want in wanted.items() if want > 0]
        matters = {
            part: math.fsum(gains.get(part, 0.0) / want for gains, want in wants)
            for part in self.freed.needs
        }
        ranked = sorted(matters, key=lambda part: (-matters[part], part))
        return {
            self.freed.needs[part]
            for part in ranked[:MOST_MOVES]
            if matters[part] > LEAST_GAIN and self.freed.needs[part] <= self.costs.keys()
        }

    def _benefit(self, layers: Collection[str], wanted: Mapping[Goal, float], cap: float) -> float:
        freed = self.freed.by(layers)
        return math.fsum(
            min(cap, self._given(freed, goal) / want) for goal, want in wanted.items() if want > 0
        )

    def _given(self, freed: Collection[Part], goal: Goal) -> float:
        gains = self.gains.get(goal, {})
        return math.fsum(sorted(gains[part] for part in freed if part in gains))

    def _first_that_holds(self, path: Sequence[str], start: TriedLayers) -> None:
        """Looks for the shortest beginning of a path that holds; guesses first, then halves."""
        low, high = 0, None
        trust = 1.0
        for _ in range(4):
            guess = self._guess(path, start, trust)
            if guess is None or guess <= low or self.spent:
                break
            tried = self.look(frozenset(path[:guess]))
            if tried.holds:
                high = guess
                break
            low = guess
            trust = min(trust, self._trust(path[:guess], start, tried)) * 0.9
        step = max(1, low)
        while high is None and low < len(path) and not self.spent:
            guess = min(len(path), low + step)
            tried = self.look(frozenset(path[:guess]))
            low, high = (low, guess) if tried.holds else (guess, None)
            step *= 2
        while high is not None and high - low > 1 and not self.spent:
            middle = (low + high) // 2
            if self.look(frozenset(path[:middle])).holds:
                high = middle
            else:
                low = middle

    def _guess(self, path: Sequence[str], start: TriedLayers, trust: float) -> int | None:
        """Returns after how many layers every limit should hold, if predictions are to be had `trust` of."""
        for length in range(1, len(path) + 1):
            freed = self.freed.by(path[:length])
            if all(
                goal.loss(start.errors) - trust * self._given(freed, goal) <= goal.allowed
                for goal in start.failing
            ):
                return length
        return None

    def _trust(self, layers: Sequence[str], start: TriedLayers, tried: TriedLayers) -> float:
        """Returns what share of the predicted gain was really had, of the worst limit."""
        freed = self.freed.by(layers)
        shares = [
            (goal.loss(start.errors) - goal.loss(tried.errors)) / predicted
            for goal in start.failing
            if (predicted := self._given(freed, goal)) > 0
        ]
        return max(0.05, min(1.0, min(shares, default=1.0)))

    def _cheapest(self) -> TriedLayers | None:
        holding = [tried for tried in self.tried.values() if tried.holds]
        return min(
            (tried for tried in holding if self.affordable(tried.layers)),
            key=lambda tried: (tried.cost, len(tried.layers), sorted(tried.layers)),
            default=None,
        )

    def _step_back(self, chosen: TriedLayers) -> bool:
        """Leaves members out as long as every limit holds; returns whether no one member can go."""
        kept = self._least_useful_first(chosen)
        size = max(1, len(kept) // 2)
        while kept:
            removed = False
            for start in range(0, len(kept), size):
                rest = frozenset(kept).difference(kept[start : start + size])
                if self.spent and rest not in self.tried:
                    return False
                if self.look(rest).holds:
                    kept = [layer for layer in kept if layer in rest]
                    removed = True
                    break
            if not removed:
                if size == 1:
                    return True
                size //= 2
            else:
                size = min(size, max(1, len(kept) // 2))
        return True

    def _least_useful_first(self, chosen: TriedLayers) -> list[str]:
        """Members by what leaving them out would take back for what it saves."""

        def use(layer: str) -> float:
            lost = self.freed.by(chosen.layers) - self.freed.by(chosen.layers - {layer})
            gain = math.fsum(
                self._given(lost, goal) / max(goal.allowed, 1e-12) for goal in self.gains
            )
            return gain / (self.costs[layer] + COST_OF_A_LAYER / max(len(self.costs), 1))

        return sorted(chosen.layers, key=lambda layer: (use(layer), layer))


def front(
    tried: Collection[TriedLayers], loss: Callable[[StateErrors], float]
) -> tuple[TriedLayers, ...]:
    """Returns the sets that no cheaper one beats by `loss`, by rising cost."""
    result: list[TriedLayers] = []
    for each in sorted(tried, key=lambda each: (each.cost, loss(each.errors), len(each.layers))):
        if not result or loss(each.errors) < loss(result[-1].errors):
            result.append(each)
    return tuple(result)
