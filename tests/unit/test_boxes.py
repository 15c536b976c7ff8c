import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.boxes.nms import Boxes, concatenate, iou, suppress

MANY = 1_000_000


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    """Rows of left, top, right, bottom, score, class; of head 0."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(
        table[:, :4],
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.intp),
        np.zeros(len(table), np.intp),
    )


def suppressed(found: Boxes, threshold: float = 0.5, limit: int = MANY) -> Boxes:
    return suppress(found, iou_threshold=threshold, max_candidates=MANY, max_detections=limit)


def test_iou_of_known_rectangles() -> None:
    one = np.array([0.0, 0.0, 10.0, 10.0])
    others = np.array(
        [[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [20, 20, 30, 30], [2, 2, 4, 4]]
    )
    assert iou(others.astype(float), one).tolist() == [1, 50 / 150, 0, 0, 4 / 100]


def test_the_better_of_two_overlapping_boxes_of_a_class_stays() -> None:
    kept = suppressed(
        boxes((0, 0, 10, 10, 0.6, 0), (1, 0, 11, 10, 0.9, 0), (50, 50, 60, 60, 0.1, 0))
    )
    assert kept.corners[:, 0].tolist() == [1, 50]
    assert kept.scores.tolist() == pytest.approx([0.9, 0.1])


def test_boxes_of_other_classes_are_no_rivals() -> None:
    kept = suppressed(boxes((0, 0, 10, 10, 0.6, 0), (0, 0, 10, 10, 0.9, 1)))
    assert kept.classes.tolist() == [1, 0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    """b overlaps a, c overlaps b and not a: a and c stay."""
    a, b, c = (0, 0, 10, 10, 0.9, 0), (0, 3, 10, 13, 0.8, 0), (0, 6, 10, 16, 0.7, 0)
    assert suppressed(boxes(a, b, c)).corners[:, 1].tolist() == [0, 6]
    assert suppressed(boxes(b, c)).corners[:, 1].tolist() == [3]


def test_an_overlap_of_just_the_threshold_is_allowed() -> None:
    pair = boxes((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 5, 0.8, 0))
    assert len(suppressed(pair, threshold=0.5)) == 2
    assert len(suppressed(pair, threshold=0.49)) == 1


def test_equal_scores_keep_their_order() -> None:
    row = [(float(x), 0.0, x + 5.0, 5.0, 0.5, 0) for x in (40, 0, 80, 20)]
    assert suppressed(boxes(*row)).corners[:, 0].tolist() == [40, 0, 80, 20]


def test_no_boxes_stay_no_boxes() -> None:
    assert len(suppressed(boxes())) == 0
    assert len(concatenate([])) == 0
    assert concatenate([]).corners.shape == (0, 4)


def test_thousands_of_identical_boxes_are_one_box_a_class() -> None:
    found = boxes(*[(0, 0, 10, 10, 0.5, index % 3) for index in range(9000)])
    assert suppressed(found).classes.tolist() == [0, 1, 2]


def test_limits_keep_the_best() -> None:
    found = boxes(
        *[(20.0 * index, 0, 20.0 * index + 10, 10, index / 1000, 0) for index in range(1000)]
    )
    assert suppressed(found, limit=3).scores.tolist() == pytest.approx([0.999, 0.998, 0.997])
    few = suppress(found, iou_threshold=0.5, max_candidates=2, max_detections=100)
    assert few.scores.tolist() == pytest.approx([0.999, 0.998])


def test_back_in_the_image_that_was_letterboxed() -> None:
    """640 × 480 in an input of 320 × 320: halved, 40 rows of padding above."""
    placed = boxes((10, 50, 30, 60, 0.9, 4)).in_image(scale=(0.5, 0.5), offset=(0, 40))
    assert placed.corners.tolist() == [[20, 20, 60, 40]]
    assert placed.classes.tolist() == [4]
    stretched = boxes((10, 50, 30, 60, 0.9, 4)).in_image(scale=(0.5, 2.0), offset=(0, 0))
    assert stretched.corners.tolist() == [[20, 25, 60, 30]]


SIDES = st.integers(1, 30).map(float)
PLACES = st.integers(-20, 40).map(float)


@st.composite
def some_boxes(draw: st.DrawFn) -> Boxes:
    rows = []
    for _ in range(draw(st.integers(0, 25))):
        left, top, width, height = draw(st.tuples(PLACES, PLACES, SIDES, SIDES))
        score = draw(st.integers(1, 8)) / 8
        rows.append((left, top, left + width, top + height, score, draw(st.integers(0, 2))))
    return boxes(*rows)


def by_definition(found: Boxes, threshold: float) -> list[int]:
    """Greedy suppression, one pair at a time, as Felzenszwalb et al. (2010, section 7.2) put it."""
    kept: list[int] = []
    for index in sorted(range(len(found)), key=lambda index: -found.scores[index]):
        rivals = [other for other in kept if found.classes[other] == found.classes[index]]
        if all(iou(found.corners[index], found.corners[other]) <= threshold for other in rivals):
            kept.append(index)
    return kept


@given(some_boxes(), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_suppression_is_the_greedy_definition(found: Boxes, threshold: float) -> None:
    expected = found.take(np.array(by_definition(found, threshold), np.intp))
    actual = suppressed(found, threshold)
    assert actual.corners.tolist() == expected.corners.tolist()
    assert actual.classes.tolist() == expected.classes.tolist()
    assert actual.scores.tolist() == expected.scores.tolist()


@given(some_boxes(), some_boxes())
def test_iou_is_symmetric_and_between_0_and_1(some: Boxes, others: Boxes) -> None:
    one, other = some.corners[:, None], others.corners[None]
    overlaps = iou(one, other)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    assert (overlaps == iou(other, one)).all()
    assert (np.diagonal(iou(one, some.corners[None])) == 1).all()
