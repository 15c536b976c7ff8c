import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.boxes.matching import (
    NO_PAIR,
    Matching,
    Sums,
    compare,
    compare_all,
    pair,
    size_indices,
    totals,
    worst_images,
)
from trt_matrix.core.boxes.nms import Boxes, SizeRange, iou

SIZES = (
    SizeRange(name="small", low_px2=0, high_px2=200),
    SizeRange(name="large", low_px2=200, high_px2=1000),
)
SETTINGS = Matching(iou_threshold=0.5, shown_score=0.25, sizes=SIZES)
HEADS = 2


def boxes(*rows: tuple[float, float, float, float, float, int, int]) -> Boxes:
    """Rows of left, top, right, bottom, score, class, head."""
    table = np.array(rows, float).reshape(-1, 7)
    return Boxes(
        table[:, :4],
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.intp),
        table[:, 6].astype(np.intp),
    )


def box(x: float, score: float, label: int = 0, head: int = 0, side: float = 10) -> Boxes:
    return boxes((x, 0, x + side, side, score, label, head))


NONE = boxes()


def sums(reference: Boxes, test: Boxes, settings: Matching = SETTINGS) -> Sums:
    pairs = pair(reference, test, settings.iou_threshold)
    return compare(reference, test, pairs, HEADS, settings)


def counted(reference: Boxes, test: Boxes) -> dict[str, int]:
    changes = totals(sums(reference, test))
    names = ("reference", "test", "kept", "lost", "faded", "new", "risen")
    return {name: getattr(changes, name) for name in names if getattr(changes, name)}


def test_a_box_that_moved_is_kept_with_its_overlap_and_score_change() -> None:
    changes = totals(sums(box(0, 0.9), box(2, 0.7)))
    assert (changes.kept, changes.lost, changes.new) == (1, 0, 0)
    assert changes.mean_iou == pytest.approx(80 / 120)
    assert changes.mean_score_change == pytest.approx(-0.2)
    assert changes.mean_abs_score_change == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("reference", "test", "expected"),
    [
        (NONE, NONE, {}),
        (box(0, 0.9), NONE, {"reference": 1, "lost": 1}),
        (NONE, box(0, 0.9), {"test": 1, "new": 1}),
        (box(0, 0.9), box(6, 0.9), {"reference": 1, "test": 1, "lost": 1, "new": 1}),
        (box(0, 0.9, label=1), box(0, 0.9), {"reference": 1, "test": 1, "lost": 1, "new": 1}),
        (box(0, 0.9), box(0, 0.2), {"reference": 1, "lost": 1, "faded": 1}),
        (box(0, 0.2), box(0, 0.9), {"test": 1, "new": 1, "risen": 1}),
        (box(0, 0.2), box(0, 0.2), {}),
        (box(0, 0.2), NONE, {}),
        (NONE, box(0, 0.2), {}),
        (box(0, 0.25), box(0, 0.25), {"reference": 1, "test": 1, "kept": 1}),
    ],
)
def test_each_fate_of_a_box(reference: Boxes, test: Boxes, expected: dict[str, int]) -> None:
    assert counted(reference, test) == expected


def test_boxes_against_themselves_change_nothing() -> None:
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 300, (50, 2))
    some = Boxes(
        np.concatenate([corners, corners + generator.uniform(5, 40, (50, 2))], axis=1),
        generator.uniform(0, 1, 50).astype(np.float32),
        generator.integers(0, 3, 50),
        generator.integers(0, HEADS, 50),
    )
    changes = totals(sums(some, some))
    assert changes.kept == changes.reference == changes.test > 20
    assert (changes.lost, changes.new, changes.mean_iou, changes.mean_abs_score_change) == (
        0,
        0,
        1.0,
        0.0,
    )


def test_the_test_box_of_highest_score_chooses_first() -> None:
    reference = box(0, 0.9)
    near, nearer = (3, 0, 13, 10, 0.8, 0, 0), (1, 0, 11, 10, 0.6, 0, 0)
    for order in ([near, nearer], [nearer, near]):
        pairs = pair(reference, boxes(*order), 0.5)
        assert pairs.of_reference.tolist() == [order.index(near)]
        assert sorted(pairs.of_test.tolist()) == [NO_PAIR, 0]


def test_it_chooses_the_box_that_it_overlaps_most_then_the_likelier_one() -> None:
    reference = boxes((4, 0, 14, 10, 0.9, 0, 0), (1, 0, 11, 10, 0.5, 0, 0))
    assert pair(reference, box(0, 0.9), 0.5).of_reference.tolist() == [NO_PAIR, 0]
    even = boxes((2, 0, 12, 10, 0.5, 0, 0), (-2, 0, 8, 10, 0.9, 0, 0))
    assert pair(even, box(0, 0.9), 0.5).of_reference.tolist() == [NO_PAIR, 0]


def test_one_that_lost_its_first_choice_takes_the_next() -> None:
    reference = boxes((0, 0, 10, 10, 0.9, 0, 0), (3, 0, 13, 10, 0.8, 0, 0))
    test = boxes((0, 0, 10, 10, 0.9, 0, 0), (1, 0, 11, 10, 0.8, 0, 0))
    pairs = pair(reference, test, 0.5)
    assert pairs.of_test.tolist() == [0, 1]
    assert pairs.ious.tolist() == pytest.approx([1, 80 / 120])


def test_thousands_of_identical_boxes_pair_one_to_one() -> None:
    many = boxes(*[(0, 0, 10, 10, 0.5, 0, 0)] * 1500)
    few = boxes(*[(0, 0, 10, 10, 0.5, 0, 0)] * 1000)
    assert counted(many, few) == {"reference": 1500, "test": 1000, "kept": 1000, "lost": 500}


def test_a_pair_counts_where_the_reference_box_is_a_new_box_where_it_is() -> None:
    reference = boxes((0, 0, 14, 14, 0.9, 0, 0), (100, 0, 110, 10, 0.9, 0, 0))
    test = boxes((0, 0, 15, 15, 0.9, 0, 1), (200, 0, 240, 40, 0.9, 0, 1))
    found = sums(reference, test)
    assert found["kept"].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert found["lost"].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert found["new"].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert found["test"].tolist() == [[0, 0, 0], [0, 1, 1]]


def test_sizes_hold_their_lower_end_and_not_their_upper() -> None:
    areas = np.array([0.0, 199.9, 200.0, 999.0, 1000.0, 1e9])
    assert size_indices(areas, SIZES).tolist() == [0, 0, 1, 1, 2, 2]
    assert size_indices(areas[:2], ()).tolist() == [0, 0]
    assert size_indices(areas[:0], SIZES).shape == (0,)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([(0, 10), (5, 20)], "overlap"),
        ([(5, 20), (0, 10)], "overlap"),
        ([(0, 10), (10, 10)], "empty"),
        ([(float("nan"), 10)], "empty"),
    ],
)
def test_size_ranges_that_count_a_box_twice_or_never_are_refused(
    ranges: list[tuple[float, float]], message: str
) -> None:
    sizes = tuple(
        SizeRange(name=str(index), low_px2=low, high_px2=high)
        for index, (low, high) in enumerate(ranges)
    )
    with pytest.raises(ValueError, match=message):
        Matching(sizes=sizes)


def test_the_sums_of_all_images_add_up() -> None:
    reference = [box(0, 0.9), NONE, box(0, 0.9, head=1), box(0, 0.9)]
    test = [box(0, 0.9), box(0, 0.9), NONE, box(2, 0.9)]
    found = compare_all(reference, test, HEADS, SETTINGS)
    assert found.shape == (4, HEADS, 3)
    assert totals(found).lost == 1
    assert totals(found[:, 0]).lost == 0
    assert totals(found[:, 1]).lost == 1
    assert totals(found[:2]).new == 1
    assert totals(found[:, :, 2]).reference == 0
    assert totals(found).mean_iou == pytest.approx((1 + 80 / 120) / 2)


def test_no_images_and_no_pairs_have_no_means() -> None:
    nothing = totals(compare_all([], [], HEADS, SETTINGS))
    assert (nothing.reference, nothing.mean_iou, nothing.mean_score_change) == (0, None, None)
    assert totals(sums(box(0, 0.9), NONE)).mean_iou is None


def test_counts_are_those_of_one_repeat_and_shares_those_of_all() -> None:
    kept, lost = sums(box(0, 0.9), box(2, 0.9)), sums(box(0, 0.9), NONE)
    changes = totals(np.concatenate([kept, lost, lost]), repeats=3)
    counts = (changes.reference, changes.kept, changes.lost)
    assert counts == pytest.approx((1, 1 / 3, 2 / 3))
    assert changes.lost_share == pytest.approx(2 / 3)
    assert changes.mean_iou == totals(kept).mean_iou, "of the pairs that there are"


def test_shares_without_any_box() -> None:
    nothing = totals(sums(NONE, box(0, 0.9)))
    assert (nothing.new, nothing.lost_share, nothing.new_share) == (1, None, None)
    assert totals(sums(box(0, 0.9), NONE)).lost_share == 1


def test_unequal_numbers_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_all([NONE], [NONE, NONE], HEADS, SETTINGS)


def test_the_worst_images_come_first_and_untouched_ones_never() -> None:
    reference = [box(0, 0.9), box(0, 0.9), box(0, 0.9), box(0, 0.9), NONE]
    test = [box(0, 0.9), box(1, 0.9), NONE, box(2, 0.9), boxes(*[(0, 0, 9, 9, 0.9, 0, 0)] * 2)]
    found = compare_all(reference, test, HEADS, SETTINGS)
    assert worst_images(found, 10) == (4, 2, 3, 1)
    assert worst_images(found, 2) == (4, 2)
    assert worst_images(found[:1], 10) == ()
    assert worst_images(found[:0], 10) == ()


@st.composite
def some_boxes(draw: st.DrawFn) -> Boxes:
    rows = []
    for _ in range(draw(st.integers(0, 12))):
        x, y = draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
        side, score = draw(st.integers(3, 20)), draw(st.integers(0, 8)) / 8
        label, head = draw(st.integers(0, 1)), draw(st.integers(0, HEADS - 1))
        rows.append((x, y, x + side, y + side, score, label, head))
    return boxes(*rows)


def by_definition(reference: Boxes, test: Boxes, threshold: float) -> list[int]:
    """The reference box of each test box, one pair at a time, after COCOeval.evaluateImg."""
    chosen = [NO_PAIR] * len(test)
    for chooser in sorted(range(len(test)), key=lambda index: -test.scores[index]):
        best, most = NO_PAIR, threshold
        for index in sorted(range(len(reference)), key=lambda index: -reference.scores[index]):
            overlap = iou(test.corners[chooser], reference.corners[index])
            free = index not in chosen and test.classes[chooser] == reference.classes[index]
            if free and (overlap > most or (overlap == most and best == NO_PAIR)):
                best, most = index, float(overlap)
        chosen[chooser] = best
    return chosen


@given(some_boxes(), some_boxes(), st.sampled_from([0.3, 0.5, 1.0]))
def test_pairs_are_those_of_the_greedy_definition(
    reference: Boxes, test: Boxes, threshold: float
) -> None:
    pairs = pair(reference, test, threshold)
    assert pairs.of_test.tolist() == by_definition(reference, test, threshold)
    for index, other in enumerate(pairs.of_reference):
        if other == NO_PAIR:
            assert index not in pairs.of_test
            assert pairs.ious[index] == 0
        else:
            assert pairs.of_test[other] == index
            assert pairs.ious[index] == iou(reference.corners[index], test.corners[other])


@given(some_boxes(), some_boxes())
def test_every_shown_box_has_exactly_one_fate(reference: Boxes, test: Boxes) -> None:
    found = sums(reference, test)
    assert (found["kept"] + found["lost"] == found["reference"]).all()
    assert found["kept"].sum() + found["new"].sum() == found["test"].sum()
    assert (found["faded"] <= found["lost"]).all()
    assert (found["risen"] <= found["new"]).all()
    assert found["reference"].sum() == (reference.scores >= SETTINGS.shown_score).sum()
    assert (found["iou"] <= found["kept"]).all()
