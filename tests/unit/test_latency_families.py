"""Latency verdicts on made-up matrices of known causes: a small part of benchmarks.latency_verdicts."""

from collections import Counter

import pytest

from benchmarks.latency_verdicts import FAMILIES, SLOWER, row
from trt_matrix.core.verdicts.latency_rounds import LatencyPair


def counted(family: str, *, versions: int = 5, rounds: int = 5, slower: float = 0.0,
            fixed: bool = False, count: int = 60) -> Counter[str]:  # fmt: skip
    return row(family, versions, rounds, slower, fixed, count)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_cause_nobody_is_accused(family: str) -> None:
    """At 1 % of matrices, 4 of 120 are seen once in 30 families a hundred times over."""
    found = sum((counted(family, rounds=rounds) for rounds in (3, 6)), Counter[str]())
    assert found["wrong"] <= 3


def test_a_noisy_baseline_makes_nobody_slower() -> None:
    """Judged by the noise of all, 2 % of these matrices were false at 3 repeats."""
    assert counted("baseline 30 % noisy", versions=12, rounds=3, count=200)["wrong"] <= 1


@pytest.mark.parametrize("family", ["places 0 to 8 %", "10 % up within rounds"])
def test_in_a_fixed_order_nobody_is_accused(family: str) -> None:
    found = counted(family, fixed=True, rounds=10)
    assert found["wrong"] == 0
    assert found["undecided"] == found.total()


def test_the_order_is_what_keeps_places_from_accusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the refusal each of these matrices would be false."""
    monkeypatch.setattr(LatencyPair, "balanced", True)
    found = counted("places 0 to 8 %", fixed=True, rounds=10)
    assert found["wrong"] > 0.9 * found.total()


@pytest.mark.parametrize(
    ("family", "rounds", "least"),
    [
        ("noise 0.5 %", 3, 0.6),
        ("noise 2 %", 5, 0.75),
        ("rounds drift 10 %", 5, 0.75),
        ("heavy tails 2 %", 10, 0.75),
        ("places 0 to 8 %", 10, 0.75),
    ],
)
def test_a_tenth_slower_is_found(family: str, rounds: int, least: float) -> None:
    found = counted(family, rounds=rounds, slower=SLOWER)
    assert found["right"] >= least * found.total()
    assert found["wrong"] <= 1
