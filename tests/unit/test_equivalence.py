"""Two that lose the same: a test of its own, and not the absence of a difference."""

from collections.abc import Sequence

import numpy as np
import pytest

from trt_matrix.core.cells import Precision
from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.equivalence import Equivalence, equivalences
from trt_matrix.core.verdicts.sample import Sample

IMAGES = 32
ENERGY = np.full(IMAGES, 10.0)


def cell(name: str, *db: float, **changes: object) -> CellError:
    """Returns a cell whose builds are so many dB worse than 24 dB on every image."""
    rows = np.array([[0.04 * np.exp(one * DB)] * IMAGES for one in db])
    values = {
        "cell": f"{name}/cpu/int8",
        "environment": name,
        "device": "cpu",
        "pass_": "int8",
        "precision": Precision.INT8,
        "sample": Sample(rows, ENERGY),
        "placement": "p",
        "table": "t",
        "fixed": True,
    }
    return CellError(**(values | changes))  # type: ignore[arg-type]


def equal(*cells: CellError, baseline: str = "base") -> Sequence[Equivalence]:
    head = MeasuredHead(head="small", cells=cells, simulations={}, gate_nmse=None)
    return equivalences([head], baseline, Rules())


@pytest.mark.parametrize("worse", [1, -1])
@pytest.mark.parametrize(("share", "same"), [(0.99, True), (1.01, False)])
def test_within_one_decibel_in_either_direction(share: float, worse: int, *, same: bool) -> None:
    found = equal(cell("base", 0, 0), cell("new", worse * share, worse * share))
    assert bool(found) is same
    if same:
        assert found[0].within_db == pytest.approx(0.99)
        assert not found[0].same_bits


def test_the_same_bits_are_said_to_be_so() -> None:
    (equivalence,) = equal(cell("base", 0, 0), cell("a", 0, 0), cell("b", 0, 0))
    assert equivalence.environments == ("base", "a", "b")
    assert (equivalence.same_bits, equivalence.all, equivalence.within_db) == (True, True, 0)
    assert (equivalence.head, equivalence.device, equivalence.pass_, equivalence.baseline) == (
        "small",
        "cpu",
        "int8",
        "base",
    )


def test_one_that_differs_is_left_out_and_that_is_told() -> None:
    (equivalence,) = equal(cell("base", 0, 0), cell("a", 0, 0), cell("bad", 6, 6))
    assert equivalence.environments == ("base", "a")
    assert not equivalence.all


def test_builds_that_differ_are_in_the_bound() -> None:
    quiet = equal(cell("base", 0, 0.1, -0.1, fixed=False), cell("a", 0, 0.1, -0.1, fixed=False))
    assert 0 < quiet[0].within_db < 1
    loud = equal(cell("base", 0, 2, -2, fixed=False), cell("a", 0, 2, -2, fixed=False))
    assert loud == (), "the same mean, and nothing is shown"


def test_one_build_that_may_differ_shows_nothing() -> None:
    assert equal(cell("base", 0, fixed=False), cell("a", 0, fixed=False)) == ()
    assert len(equal(cell("base", 0), cell("a", 0))) == 1, "one that cannot differ does"


def test_of_builds_that_may_differ_the_fewest_are_told_and_of_others_none() -> None:
    (fixed,) = equal(cell("base", 0, 0), cell("a", 0, 0, 0))
    assert fixed.builds is None
    (one_chooses,) = equal(cell("base", 0, 0), cell("a", 0, 0.1, -0.1, fixed=False))
    assert one_chooses.builds == 2
    (both,) = equal(
        cell("base", 0, 0.1, -0.1, 0, fixed=False), cell("a", 0, 0.1, -0.1, fixed=False)
    )
    assert both.builds == 3


def test_an_image_view_that_differs_forbids_it() -> None:
    """The sum is the same, the typical image is not."""
    rows = np.full((2, IMAGES), 0.02)
    rows[:, 0] += 0.02 * IMAGES
    assert equal(cell("base", 0, 0), cell("a", 0, 0, sample=Sample(rows, ENERGY))) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"table": "other"},
        {"pass_": "int8-own"},
        {"device": "gpu"},
        {"held": True},
        {"precision": Precision.FP16},
    ],
)
def test_only_versions_with_the_same_table_in_the_same_pass_are_compared(
    change: dict[str, object],
) -> None:
    if "precision" in change:
        both = (cell("base", 0, 0, **change), cell("a", 0, 0, **change))
        assert equal(*both) == ()
        return
    assert equal(cell("base", 0, 0), cell("a", 0, 0, **change)) == ()


def test_own_tables_that_nobody_knows_are_not_the_same_table() -> None:
    own = {"table": None, "own": True}
    assert equal(cell("base", 0, 0, **own), cell("a", 0, 0, **own)) == ()
    shared = {"table": None, "own": False}
    assert len(equal(cell("base", 0, 0, **shared), cell("a", 0, 0, **shared))) == 1


def test_without_the_baseline_there_is_nothing_to_be_equal_to() -> None:
    assert equal(cell("a", 0, 0), cell("b", 0, 0)) == ()


def test_a_true_difference_of_the_margin_is_rarely_called_the_same() -> None:
    generator = np.random.default_rng(12)
    claimed = {0.0: 0, 1.0: 0}
    for apart in claimed:
        for _ in range(200):
            both = [
                cell(name, *(where + generator.normal(0, 0.4, 5)), fixed=False)
                for name, where in (("base", 0.0), ("new", apart))
            ]
            claimed[apart] += bool(equal(*both))
    assert claimed[1.0] <= 0.1 * 200, "5 %, and what 200 tries add"
    assert claimed[0.0] >= 0.8 * 200
