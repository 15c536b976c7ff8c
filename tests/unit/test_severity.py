"""How much a loss matters: at every border, and of boxes the worse of what is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judgements import changes
from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.severity import (
    AP,
    LOST,
    SQNR_DB,
    Severity,
    box_harm,
    boxes_apart,
    of_boxes,
    of_db,
    worst,
)

NONE, HARMLESS, VISIBLE, SEVERE = Severity


def boxes(
    ap_drop: float | None = None, lost: float = 0.0, reference: float = 1000.0, new: float = 0.0
) -> BoxErrors:
    return BoxErrors(changes={ALL: changes(lost, reference, new)}, ap_drop=ap_drop)


def small_ones(lost: float, reference: float, of_all: float = 0.0) -> BoxErrors:
    """Returns what became of small boxes among 10,000, of all of which so many are lost."""
    return BoxErrors(
        changes={ALL: changes(of_all, 10_000), "small": changes(lost, reference)}, ap_drop=None
    )


BORDERS = [
    (0.99, 0, HARMLESS),
    (1, 0, VISIBLE),
    (1.01, 0, VISIBLE),
    (0.99, 1, VISIBLE),
    (1, 1, SEVERE),
    (1.01, 1, SEVERE),
]


@pytest.mark.parametrize(("share", "border", "severity"), BORDERS)
def test_each_border_is_where_it_is_said(share: float, border: int, severity: Severity) -> None:
    assert of_db(share * SQNR_DB[border]) is severity
    assert of_boxes(boxes(ap_drop=share * AP[border])) is severity
    assert of_boxes(boxes(lost=1000 * share * LOST[border])) is severity
    assert of_boxes(boxes(new=1000 * share * LOST[border])) is severity
    same = boxes(ap_drop=0.0)
    assert boxes_apart(boxes(ap_drop=share * AP[border]), same) is severity
    assert boxes_apart(boxes(lost=1000 * share * LOST[border]), same) is severity


def test_the_borders_are_those_of_the_page() -> None:
    assert (AP, LOST, SQNR_DB) == ((0.01, 0.15), (0.005, 0.05), (0.5, 3.0))


@pytest.mark.parametrize(("reference", "severity"), [(19, NONE), (20, SEVERE), (21, SEVERE)])
def test_boxes_of_one_size_count_by_themselves_from_20_on(
    reference: int, severity: Severity
) -> None:
    lost = small_ones(reference, reference)
    assert of_boxes(lost) is severity
    told = [f"of small ones {reference} of {reference} are lost"] if severity is SEVERE else []
    assert box_harm(lost) == told


def test_one_size_is_told_only_where_it_is_worse_than_all_together() -> None:
    as_bad = small_ones(30, 100, of_all=3000)
    assert box_harm(as_bad) == ["3000 of 10000 boxes are lost"]
    worse = small_ones(1, 30, of_all=1)
    assert box_harm(worse) == ["1 of 10000 boxes is lost", "of small ones 1 of 30 is lost"]


@pytest.mark.parametrize(
    ("new", "told"),
    [(4.95, []), (5, ["5 new boxes beside 1000"]), (60, ["60 new boxes beside 1000"])],
)
def test_new_boxes_are_told_from_half_a_percent_on(new: float, told: list[str]) -> None:
    assert box_harm(boxes(new=new)) == told


@pytest.mark.parametrize(
    ("drop", "told"),
    [
        (None, []),
        (0.000495, []),
        (0.0005, ["AP falls by 0.001"]),
        (0.000505, ["AP falls by 0.001"]),
    ],
)
def test_ap_that_rounds_to_nothing_is_not_told(drop: float | None, told: list[str]) -> None:
    assert box_harm(boxes(drop)) == told


@pytest.mark.parametrize("value", [None, 0.0, -1.0])
def test_nothing_lost_or_known_is_none(value: float | None) -> None:
    assert of_db(value) is NONE
    assert of_boxes(boxes(ap_drop=value)) is NONE
    assert of_boxes(None) is NONE


def test_of_ap_and_lost_boxes_the_worse_counts() -> None:
    assert of_boxes(boxes(ap_drop=0.001, lost=100)) is SEVERE
    assert of_boxes(boxes(ap_drop=0.2, lost=1)) is SEVERE
    assert of_boxes(boxes(ap_drop=-0.1, lost=1)) is HARMLESS


def test_a_reference_without_boxes_has_no_share_of_them() -> None:
    empty = boxes(ap_drop=None, reference=0.0)
    assert of_boxes(empty) is NONE
    assert boxes_apart(boxes(lost=500), empty) is NONE


def test_apart_is_what_one_loses_more() -> None:
    assert boxes_apart(boxes(ap_drop=0.3, lost=100), boxes(ap_drop=0.295, lost=97)) is HARMLESS
    assert boxes_apart(boxes(ap_drop=0.1), boxes(ap_drop=0.3)) is NONE, "it is the better one"
    assert boxes_apart(None, boxes(ap_drop=0.3)) is NONE
    assert boxes_apart(boxes(ap_drop=0.3), None) is NONE


@given(st.lists(st.sampled_from(list(Severity))))
def test_the_worst_of_all_is_not_below_any(some: list[Severity]) -> None:
    assert all(worst(some).rank >= severity.rank for severity in some)
    assert worst(some) in [*some, NONE]


@given(st.floats(0, 100), st.floats(0, 100))
def test_more_is_never_less_severe(one: float, more: float) -> None:
    assert of_db(one).rank <= of_db(one + more).rank
