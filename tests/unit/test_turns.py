"""The order of environments in rounds: random, in pairs of both orders, the same wherever it is made."""

from collections import Counter
from itertools import permutations

import pytest

from trt_matrix.core.turns import turns

NAMES = ["v0", "v1", "v2", "v3", "v4"]


def order(repeat: int, seed: str = "run", names: list[str] | None = None) -> list[str]:
    return turns(NAMES if names is None else names, repeat, seed=seed, earlier={})


def test_every_second_round_is_the_reverse_and_every_pair_is_new() -> None:
    rounds = [order(repeat) for repeat in range(20)]
    assert all(sorted(round_) == NAMES for round_ in rounds)
    for first, second in zip(rounds[::2], rounds[1::2], strict=True):
        assert second == first[::-1]
    assert len({tuple(round_) for round_ in rounds[::2]}) > 7


def test_the_order_is_that_of_the_seed_not_of_the_arguments() -> None:
    assert order(0) == order(0, names=NAMES[::-1]) == ["v0", "v2", "v3", "v4", "v1"]
    assert order(0, seed="another run") != order(0)


def test_fewer_environments_keep_their_order_among_themselves() -> None:
    """Those that get more repeats than others are in pairs too."""
    for repeat in range(8):
        few = order(repeat, names=["v4", "v1"])
        assert few == [name for name in order(repeat) if name in few]


def test_all_orders_are_as_likely() -> None:
    drawn = Counter(
        tuple(order(0, seed=str(seed), names=["a", "b", "c"])) for seed in range(3000)
    )  # fmt: skip
    assert set(drawn) == set(permutations("abc"))
    # 500 each: 5 standard deviations are 102.
    assert all(abs(number - 500) < 102 for number in drawn.values())


def test_the_second_of_a_pair_reverses_what_really_was() -> None:
    """Made by another run, interrupted in between."""
    earlier = {name: f"2026-11-28T12:0{minute}:00+00:00" for minute, name in enumerate(NAMES)}
    for seed in ("a", "b", "c"):
        assert turns(NAMES, 3, seed=seed, earlier=earlier) == NAMES[::-1]
        assert turns(NAMES, 2, seed=seed, earlier=earlier) == order(2, seed=seed), "a new pair"


@pytest.mark.parametrize("unknown", [{}, {"v0": ""}])
def test_where_the_first_is_not_known_the_seed_has_it(unknown: dict[str, str]) -> None:
    earlier = dict.fromkeys(NAMES[1:], "2026-11-28T12:00:00+00:00") | unknown
    assert turns(NAMES, 1, seed="run", earlier=earlier) == order(0)[::-1]


def test_nobody_has_no_turn() -> None:
    assert turns([], 0, seed="run", earlier={}) == []
