"""The search on made-up networks whose cheapest sets are known by trying all."""

import itertools
import math
from collections.abc import Callable, Collection, Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trt_matrix.core.diagnosis.errors import Goal, HeadErrors, StateErrors
from trt_matrix.core.diagnosis.quantisers import Part, activation, weights
from trt_matrix.core.diagnosis.search import FloatLayers, Search, front
from trt_matrix.core.metrics import Metrics

Model = Callable[[frozenset[str]], Mapping[str, float]]
"""Layers in float → head → its error."""


def metrics(nmse: float) -> Metrics:
    return Metrics(
        nmse=nmse,
        sqnr_db=None if nmse <= 0 else -10 * math.log10(nmse),
        mse=nmse, rmse=nmse, mae=nmse, max_abs=nmse, cosine=1.0, share_over_epsilon=0.0,
        elements=1, nonfinite=0,
    )  # fmt: skip


def errors(found: Mapping[str, float]) -> StateErrors:
    return StateErrors(
        heads={
            head: HeadErrors(error=metrics(nmse), worst=metrics(nmse))
            for head, nmse in found.items()
        }
    )


def search(
    costs: Mapping[str, float],
    needs: Mapping[Part, Collection[str]],
    gains: Mapping[str, Mapping[Part, float]],
    limits_db: Mapping[str, float],
    model: Model,
    **options: float,
) -> Search:
    goals = tuple(Goal(head, "sqnr_db", limit) for head, limit in limits_db.items())
    return Search(
        costs=costs,
        freed=FloatLayers(needs={part: frozenset(layers) for part, layers in needs.items()}),
        gains={goal: gains[goal.where] for goal in goals},
        goals=goals,
        evaluate=lambda layers: errors(model(layers)),
        **options,  # type: ignore[arg-type]
    )


def additive(
    needs: Mapping[Part, Collection[str]], gains: Mapping[str, Mapping[Part, float]]
) -> Model:
    """Returns the network whose errors add up exactly."""

    def model(layers: frozenset[str]) -> Mapping[str, float]:
        on = [part for part, needed in needs.items() if not set(needed) <= layers]
        return {
            head: math.fsum(of[part] for part in on if part in of) for head, of in gains.items()
        }

    return model


def own_weights(layers: Collection[str]) -> dict[Part, Collection[str]]:
    return {weights(layer): {layer} for layer in layers}


def test_nothing_is_put_into_float_where_all_limits_hold() -> None:
    needs = own_weights("abc")
    gains = {"h": dict.fromkeys(needs, 1e-4)}
    result = search(
        dict.fromkeys("abc", 0.3), needs, gains, {"h": 20}, additive(needs, gains)
    ).run()
    assert result.chosen is not None
    assert result.chosen.layers == frozenset()
    assert len(result.tried) == 1


def test_the_one_layer_that_is_to_blame_is_found_and_nothing_else() -> None:
    layers = [f"l{number}" for number in range(40)]
    needs = own_weights(layers)
    gains = {"h": dict.fromkeys(needs, 1e-05)}
    gains["h"][weights("l17")] = 1e-1
    one = search(dict.fromkeys(layers, 1 / 40), needs, gains, {"h": 25}, additive(needs, gains))
    result = one.run()
    assert result.chosen is not None
    assert result.chosen.layers == {"l17"}
    assert result.minimal
    assert len(result.tried) <= 8


def test_a_tensor_that_two_layers_read_is_freed_by_both_together() -> None:
    """Neither of the two gives anything back alone: one at a time finds nothing."""
    layers = ["a", "b", "c", "d"]
    needs = {**own_weights(layers), activation("x"): {"b", "c"}}
    gains = {"h": {activation("x"): 1e-1, **{weights(layer): 1e-6 for layer in layers}}}
    result = search(
        dict.fromkeys(layers, 0.2), needs, gains, {"h": 30}, additive(needs, gains)
    ).run()
    assert result.chosen is not None
    assert result.chosen.layers == {"b", "c"}


def test_no_set_is_enough_within_the_cost_and_the_best_is_named() -> None:
    needs = own_weights("abc")
    gains = {"h": {weights("a"): 1e-2, weights("b"): 1e-2, weights("c"): 1e-6}}
    one = search(
        {"a": 0.4, "b": 0.4, "c": 0.2},
        needs,
        gains,
        {"h": 40},
        additive(needs, gains),
        most_cost=0.5,
    )
    result = one.run()
    assert result.chosen is None
    assert result.best.cost <= 0.5
    assert result.best.failing
    assert result.best.layers & {"a", "b"}


def test_a_prediction_that_is_wrong_costs_evaluations_and_no_truth() -> None:
    """The parts' errors are predicted ten times too large for one layer, and it lies first."""
    layers = [f"l{number}" for number in range(12)]
    needs = own_weights(layers)
    truth = {"h": {weights(layer): 1e-3 for layer in layers}}
    told = {"h": {**truth["h"], weights("l3"): 1e-2}}
    costs = dict.fromkeys(layers, 1 / 24)
    result = search(costs, needs, told, {"h": 24}, additive(needs, truth)).run()
    assert result.chosen is not None
    # 12e-3 must fall to 3.98e-3: nine layers have to go, whichever.
    assert len(result.chosen.layers) == 9
    assert not result.chosen.failing


def test_what_was_never_seen_to_hold_is_never_chosen() -> None:
    """A network in which more float is worse, now and then: the chosen set is one that was evaluated."""
    layers = [f"l{number}" for number in range(8)]
    needs = own_weights(layers)
    gains = {"h": {weights(layer): 1e-3 for layer in layers}}

    def model(chosen: frozenset[str]) -> Mapping[str, float]:
        return {"h": 1e-1 if len(chosen) % 2 else 1e-4 * (9 - len(chosen))}

    result = search(dict.fromkeys(layers, 0.05), needs, gains, {"h": 33}, model).run()
    assert result.chosen is not None
    assert model(result.chosen.layers)["h"] <= 10**-3.3
    assert result.chosen in result.tried


def test_evaluations_end_and_a_set_that_was_not_stepped_back_is_not_called_minimal() -> None:
    layers = [f"l{number:02}" for number in range(30)]
    needs = own_weights(layers)
    gains = {"h": {weights(layer): 1e-3 for layer in layers}}
    one = search(
        dict.fromkeys(layers, 1 / 60), needs, gains, {"h": 20}, additive(needs, gains),
        most_evaluations=3,
    )  # fmt: skip
    result = one.run()
    assert len(result.tried) <= 4
    assert not result.minimal


@settings(max_examples=60)
@given(data=st.data(), heads=st.integers(1, 3), layers=st.integers(1, 7))
def test_no_member_can_go_and_the_cost_is_near_the_least(
    data: st.DataObject, heads: int, layers: int
) -> None:
    names = [f"l{number}" for number in range(layers)]
    needs: dict[Part, Collection[str]] = own_weights(names)
    for number in range(data.draw(st.integers(0, 3))):
        needs[activation(f"x{number}")] = data.draw(st.sets(st.sampled_from(names), min_size=1))
    size = st.floats(1e-6, 1e-1)
    gains = {f"h{one}": {part: data.draw(size) for part in needs} for one in range(heads)}
    raw = {name: data.draw(st.floats(0.05, 1)) for name in names}
    costs = {name: cost / sum(raw.values()) for name, cost in raw.items()}
    limits = {head: data.draw(st.floats(5, 40)) for head in gains}
    model = additive(needs, gains)
    one = search(costs, needs, gains, limits, model, most_cost=1.0)
    result = one.run()

    def good(chosen: frozenset[str]) -> bool:
        return all(
            model(chosen)[head] <= 0 or -10 * math.log10(model(chosen)[head]) >= limit
            for head, limit in limits.items()
        )

    sets = [frozenset(c) for n in range(layers + 1) for c in itertools.combinations(names, n)]
    cheapest = min((one.cost(chosen) for chosen in sets if good(chosen)), default=None)
    assume(cheapest is not None)
    assert result.chosen is not None
    assert cheapest is not None
    assert good(result.chosen.layers)
    assert result.minimal
    for layer in result.chosen.layers:
        assert not good(result.chosen.layers - {layer})
    assert result.chosen.cost <= cheapest + 0.5


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_nothing_on_the_front_is_beaten(points: list[tuple[float, float]]) -> None:
    needs = own_weights("a")
    one = search({"a": 0.5}, needs, {"h": {}}, {"h": 10}, lambda _: {"h": 1.0})
    tried = []
    for index, (cost, loss) in enumerate(points):
        tried_layers = one.look(frozenset())
        tried.append(
            type(tried_layers)(
                layers=frozenset([str(index)]), cost=cost, errors=errors({"h": loss}), failing=()
            )
        )
    kept = front(tried, lambda state: state.heads["h"].nmse)
    for point in tried:
        beaten = any(
            other.cost <= point.cost and other.errors.heads["h"].nmse < point.errors.heads["h"].nmse
            for other in tried
        )
        if point in kept:
            assert not beaten
    assert kept


@pytest.mark.parametrize("unknown", [math.inf, math.nan])
def test_a_head_that_is_not_finite_does_not_hold_and_breaks_nothing(unknown: float) -> None:
    needs = own_weights("ab")
    gains = {"h": {weights("a"): 0.1}}
    result = search({"a": 0.1, "b": 0.1}, needs, gains, {"h": 10}, lambda _: {"h": unknown}).run()
    assert result.chosen is None
