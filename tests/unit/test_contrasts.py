"""Chains of single-factor steps, against every path there is."""

from collections.abc import Mapping, Sequence
from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.factors.contrasts import ChainStep, Design, Differing

Points = Mapping[str, Sequence[int]]
"""place → one value a factor."""


def differing(points: Points) -> Differing:
    def found(one: str, other: str) -> frozenset[str]:
        pairs = zip(points[one], points[other], strict=True)
        return frozenset(f"f{index}" for index, (a, b) in enumerate(pairs) if a != b)

    return found


def steps(points: Points, start: str = "a", end: str = "b") -> tuple[ChainStep, ...]:
    return Design(list(points), differing(points)).chain(start, end)


def test_cells_that_differ_in_one_factor_need_no_other() -> None:
    found = steps({"a": (0, 0), "b": (1, 0), "c": (2, 0)})
    assert found == (ChainStep("a", "b", frozenset({"f0"})),)


def test_equal_cells_have_nothing_between() -> None:
    assert steps({"a": (0, 0), "b": (0, 0)}) == ()


def test_a_corner_separates_two_factors() -> None:
    found = steps({"a": (0, 0), "b": (1, 1), "corner": (0, 1)})
    assert [(step.end, sorted(step.factors)) for step in found] == [
        ("corner", ["f1"]),
        ("b", ["f0"]),
    ]


def test_without_a_corner_they_stay_together() -> None:
    found = steps({"a": (0, 0), "b": (1, 1), "far": (2, 2)})
    assert found == (ChainStep("a", "b", frozenset({"f0", "f1"})),)


def test_a_cell_on_another_device_is_no_evidence() -> None:
    detour = {"a": (0, 0, 0), "b": (1, 1, 0), "c": (0, 0, 1), "d": (0, 1, 1), "e": (1, 1, 1)}
    assert len(steps(detour)) == 1


def test_a_version_between_is_evidence() -> None:
    found = steps({"a": (0, 0), "b": (2, 2), "c": (1, 0), "d": (1, 2)})
    assert [step.end for step in found] == ["c", "d", "b"]


def test_of_three_factors_one_can_be_separated() -> None:
    found = steps({"a": (0, 0, 0), "b": (1, 1, 1), "c": (0, 0, 1)})
    assert [sorted(step.factors) for step in found] == [["f2"], ["f0", "f1"]]


values = st.integers(0, 2)


@given(st.lists(st.tuples(values, values, values, values), min_size=2, max_size=6))
def test_no_path_needs_fewer_cells_or_then_fewer_steps(rows: list[tuple[int, ...]]) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    points = dict(zip(names, rows, strict=False))
    apart = differing(points)
    found = steps(points)
    if not apart("a", "b"):
        assert found == ()
        return
    assert (found[0].start, found[-1].end) == ("a", "b")
    assert all(step.end == other.start for step, other in pairwise(found))
    assert all(step.factors == apart(step.start, step.end) != frozenset() for step in found)

    held = [place for place in points if apart("a", place) | apart(place, "b") <= apart("a", "b")]
    between = [place for place in held if place not in ("a", "b")]

    def cost(path: Sequence[str]) -> tuple[int, int]:
        sizes = [len(apart(*pair)) for pair in pairwise(path)]
        return sum(size - 1 for size in sizes), len(sizes)

    paths = [
        ("a", *middle, "b")
        for length in range(len(between) + 1)
        for middle in permutations(between, length)
    ]
    whole = [path for path in paths if all(apart(*pair) for pair in pairwise(path))]
    assert cost(["a", *(step.end for step in found)]) == min(map(cost, whole))


@given(st.lists(st.tuples(values, values, values), min_size=2, max_size=6))
def test_the_way_back_needs_as_many_cells(rows: list[tuple[int, ...]]) -> None:
    points = dict(zip("abcdef", rows, strict=False))
    there, back = steps(points), steps(points, "b", "a")
    assert sum(len(step.factors) for step in there) == sum(len(step.factors) for step in back)
    assert len(there) == len(back)
