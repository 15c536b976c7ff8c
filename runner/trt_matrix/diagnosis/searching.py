"""The search for the set of layers to keep in float, and its confirmation on other images."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.diagnosis.errors import Goal, StateErrors, failing, loss
from trt_matrix.core.diagnosis.quantisers import (
    Exclude,
    Part,
    Quantised,
    activation,
    excluding,
    weights,
)
from trt_matrix.core.diagnosis.record import SearchRecord, SetRecord
from trt_matrix.core.diagnosis.recording import goal_record, set_record, tried_record
from trt_matrix.core.diagnosis.search import FloatLayers, Search, TriedLayers, front
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.words import count, listed
from trt_matrix.diagnosis.evaluation import Evaluation
from trt_matrix.diagnosis.sensitivity import Sensitivity
from trt_matrix.diagnosis.subject import Subject

UNREACHED_DB = 60.0
"""No int8 network keeps as much."""

LARGER = (1, 2, 4, 8)
"""Layers by which a set grows, in turn, that other images did not confirm."""

MOST_LOOKS = 5
"""Sets that are judged on the other images."""

EXPLORED = (1, 2, 3, 4, 6, 8, 12)
"""Sizes of the sets that the front is drawn from beside those that the search tries."""


@dataclass(kw_only=True)
class Searching:
    """The search of one diagnosis: its goals, its costs and its images."""

    subject: Subject
    found: Quantised
    known: Sensitivity
    evaluation: Evaluation
    goals: tuple[Goal, ...]
    most_cost: float
    shares: Mapping[str, float]
    """Layer that multiplies → its share of what the network costs."""
    unit: str
    """What a share is of: `time` or `work`."""
    chosen_on: Sequence[int]
    confirmed_on: Sequence[int]

    def run(self) -> SearchRecord:
        """Searches, and confirms what is found on the other images."""
        search = self._search(self.goals)
        result = search.run()
        start = result.tried[0]
        # Limits that nothing keeps, so that every head counts alike.
        each = tuple(Goal(head, "sqnr_db", UNREACHED_DB) for head, _ in self.subject.heads)
        exploring = search if start.failing else self._search(each)
        path = result.paths[0] if result.paths else exploring.order(exploring.look(frozenset()))
        for size in EXPLORED:
            if size <= len(path):
                exploring.look(frozenset(path[:size]))
        tried = tuple(exploring.tried.values())
        chosen = result.chosen if start.failing else None
        confirmed: SetRecord | None = None
        holds: bool | None = None
        looks = 0
        if chosen and self.confirmed_on:
            chosen, confirmed, holds, looks = self._confirmed(search, chosen, path)
        return SearchRecord(
            goals=tuple(map(goal_record, self.goals)),
            failing=tuple(map(goal_record, start.failing)),
            chosen=self._told(chosen) if chosen else None,
            confirmed=confirmed,
            confirmed_holds=holds,
            looks=looks,
            minimal=result.minimal and chosen is result.chosen,
            best=self._told(result.best) if start.failing and not chosen else None,
            front=self._front(tried),
            evaluations=len(tried),
            sentence=self._sentence(start, chosen, result.best, holds=holds, looks=looks),
        )

    @functools.cached_property
    def costs(self) -> Mapping[str, float]:
        """Layer in int8 → its share of what the network costs."""
        in_int8 = self.found.state.layers
        return {layer: share for layer, share in self.shares.items() if layer in in_int8}

    @functools.cached_property
    def excluding(self) -> Exclude:
        return excluding(self.found, self.subject.table, self.subject.options)

    @functools.cached_property
    def freed(self) -> FloatLayers:
        """What each layer alone keeps in int8 tells which layers each part needs in float."""
        layers = list(self.costs)
        needs: dict[Part, set[str]] = {weights(layer): {layer} for layer in layers}
        for number, layer in enumerate(layers):
            self.evaluation.told(f"what each layer needs: {number + 1} of {len(layers)}")
            alone = self.excluding(frozenset(layers) - {layer})
            for tensor in alone.tensors:
                needs.setdefault(activation(tensor), set()).add(layer)
        together: dict[Part, frozenset[str]] = {}
        for unit in self.known.units:
            known = [needs[part] for part in unit.parts if part in needs]
            if known:
                together[unit.parts[0]] = frozenset().union(*known)
        return FloatLayers(needs=together)

    def evaluate(self, layers: frozenset[str]) -> StateErrors:
        """Returns what a set of layers in float costs on the images that are chosen on."""
        if not layers:
            return self.known.full
        what = f"{count(len(layers), 'layer')} in float"
        state, worst = self.excluding(layers), self.known.evaluated.worst
        return self.evaluation.evaluate([state], self.chosen_on, what, worst=worst).errors(state)

    def _search(self, goals: tuple[Goal, ...]) -> Search:
        return Search(
            costs=self.costs,
            freed=self.freed,
            gains={goal: self.known.gains(goal) for goal in goals},
            goals=goals,
            evaluate=self.evaluate,
            most_cost=self.most_cost,
        )

    def _confirmed(
        self, search: Search, chosen: TriedLayers, path: Sequence[str]
    ) -> tuple[TriedLayers, SetRecord, bool, int]:
        """Judges a set on the other images, and dearer ones where these do not confirm it.

        Returns:
            The set, what it costs on the other images, whether all limits hold there, and how many sets
            were judged on them: each look is a chance to hold by luck.
        """
        rest = [layer for layer in path if layer not in chosen.layers]
        larger = [chosen.layers | set(rest[:more]) for more in LARGER if more <= len(rest)]
        holding = [tried.layers for tried in search.tried.values() if tried.holds]
        dearer = {layers for layers in (*larger, *holding) if search.cost(layers) > chosen.cost}
        ranked = sorted(dearer, key=lambda layers: (search.cost(layers), sorted(layers)))
        first: SetRecord | None = None
        looks = 0
        for layers in (chosen.layers, *filter(search.affordable, ranked)):
            tried = search.look(layers)
            if not tried.holds or looks == MOST_LOOKS:
                continue
            looks += 1
            state = self.excluding(tried.layers)
            evaluated = self.evaluation.evaluate([state], self.confirmed_on, "confirmation")
            errors = evaluated.errors(state)
            broken = failing(self.goals, errors)
            ordered = sorted(layers, key=lambda layer: self._order[layer])
            record = set_record(ordered, tried.cost, errors, broken)
            first = first or record
            if not broken:
                return tried, record, True, looks
        assert first is not None  # noqa: S101 - the chosen set holds, so it was judged
        return chosen, first, False, looks

    def _front(self, tried: Sequence[TriedLayers]) -> tuple[SetRecord, ...]:
        """Returns the sets that no cheaper one beats for some head, or for all boxes together."""
        measures = [(head, "sqnr_db") for head, _ in self.subject.heads]
        if self.evaluation.boxes:
            measures.append((WHOLE_NETWORK, "ap_drop" if self.subject.labels else "lost"))
        kept: dict[frozenset[str], TriedLayers] = {}
        for where, name in measures:
            best = front(tried, functools.partial(loss, where=where, name=name))
            kept |= {each.layers: each for each in best}
        ordered = sorted(kept.values(), key=lambda each: (each.cost, len(each.layers)))
        return tuple(map(self._told, ordered))

    def _told(self, tried: TriedLayers) -> SetRecord:
        # What was only explored was held against no limit of the user's.
        judged = dataclasses.replace(tried, failing=failing(self.goals, tried.errors))
        return tried_record(judged, self._order)

    @functools.cached_property
    def _order(self) -> Mapping[str, int]:
        return {node.name: index for index, node in enumerate(self.found.model.graph.node)}

    def _sentence(
        self,
        start: TriedLayers,
        chosen: TriedLayers | None,
        best: TriedLayers,
        *,
        holds: bool | None,
        looks: int,
    ) -> str:
        if not self.goals:
            return (
                "No limit is set, so nothing says what is enough: give the heads gates in matrix.yaml, or "
                "--goal sqnr_db=25. The sets below are the best that were found for their cost."
            )
        if not start.failing:
            return "Every limit holds with all layers in int8: none need be in float."
        unit = self.unit
        does = "does" if len(start.failing) == 1 else "do"
        broken = (
            f"{len(start.failing)} of {count(len(self.goals), 'limit')} {does} not hold in int8 "
            f"({listed([goal.text() for goal in start.failing])})"
        )
        if chosen is None:
            left = listed([goal.text() for goal in best.failing])
            return (
                f"{broken}, and no set is enough that costs at most {self.most_cost:.0%} of the "
                f"network's {unit}: the best that was reached, {count(len(best.layers), 'layer')} in "
                f"float ({best.cost:.1%} of the {unit}), still breaks {left}."
            )
        what = (
            f"{broken}; with {count(len(chosen.layers), 'layer')} in float ({chosen.cost:.1%} of the "
            f"{unit}) every limit holds in simulation"
        )
        if holds is None:
            return (
                f"{what}. There are too few images to confirm it on others than it was chosen on: "
                "take it for a guess."
            )
        if not holds:
            return (
                f"{what} on the images that it was chosen on, but not on {len(self.confirmed_on)} others, "
                f"nor did a dearer one of {count(looks, 'set')} that were judged there: no set is confirmed."
            )
        confirmed = (
            f"{what}, confirmed on {len(self.confirmed_on)} images that it was not chosen on"
        )
        return f"{confirmed} ({looks} sets were judged there)." if looks > 1 else f"{confirmed}."
