"""The budget's parts by hand, its intervals against scipy's bootstrap and by coverage."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trt_matrix.core.cells import Precision
from trt_matrix.core.verdicts.budget import Budget, budgets
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.sample import Sample

ENERGY = np.full(30, 10.0)


def sample(*nmse: float, exact: bool = False) -> Sample:
    pattern = np.linspace(0.5, 1.5, len(ENERGY))
    return Sample(np.stack([value * ENERGY * pattern for value in nmse]), ENERGY, exact=exact)


def cell(one: Sample, *, table: str | None = "a", name: str = "c", **changes: object) -> CellError:
    values = {
        "cell": name, "environment": "e", "device": "cpu", "pass_": "int8-shared", "precision": Precision.INT8,
        "sample": one, "placement": "ort", "table": table,
    }  # fmt: skip
    return CellError(**(values | changes))  # type: ignore[arg-type]


def errors(cells: Sequence[CellError], simulations: dict[tuple[str, str], Sample]) -> MeasuredHead:
    return MeasuredHead(head="h", cells=cells, simulations=simulations, gate_nmse=None)


def made(head: MeasuredHead) -> Mapping[str, Budget]:
    return budgets(head, Noises([head], 1.5))


def split(one: Sample, table: str = "a", **simulated: float) -> Budget:
    simulations = {("ort", name): sample(nmse, exact=True) for name, nmse in simulated.items()}
    return made(errors([cell(one, table=table)], simulations))["c"]


def test_observed_is_limit_and_calibration_and_engine() -> None:
    budget = split(sample(0.010, 0.012), "b", a=0.004, b=0.006)
    assert budget.observed == pytest.approx(0.011)
    assert budget.limit == pytest.approx(0.004)
    assert budget.calibration == pytest.approx(0.002)
    assert budget.engine == pytest.approx(0.005)
    assert budget.limit + budget.calibration + budget.engine == pytest.approx(budget.observed)
    assert budget.noise == pytest.approx(0.002 / math.sqrt(2))


def test_a_better_result_than_its_simulation_has_a_negative_engine_part() -> None:
    assert split(sample(0.001), a=0.004).engine == pytest.approx(-0.003)


def test_one_repeat_leaves_what_builds_move_without_an_interval() -> None:
    budget = split(sample(0.005), a=0.004, b=0.003)
    assert budget.noise is None
    assert set(budget.intervals) == {"limit", "calibration"}


def test_one_image_has_no_interval() -> None:
    energy = np.array([10.0])
    one = Sample(np.array([[1.0], [1.1]]), energy)
    simulated = Sample(np.array([[0.5]]), energy, exact=True)
    budget = made(errors([cell(one)], {("ort", "a"): simulated}))["c"]
    assert budget.intervals == {}
    assert budget.engine == pytest.approx(0.055)


def test_no_interval_of_an_error_goes_below_zero_however_builds_differ() -> None:
    """Two repeats have one degree of freedom: 2.5 % of its t lie below -12.7."""
    budget = split(sample(0.002, 0.010), "b", a=0.004, b=0.0041)
    ends = budget.intervals
    assert ends["observed"][0] == 0
    assert ends["observed"][1] > budget.observed
    assert ends["limit"][0] >= 0
    assert ends["calibration"][0] >= 0
    assert ends["engine"][0] < 0 < ends["engine"][1], "which has a sign"
    assert ends["engine"][0] >= -0.0062, "but cannot take away more than the simulated error"


def test_without_its_simulation_there_is_no_budget() -> None:
    one = sample(0.1, 0.1)
    assert made(errors([cell(one)], {})) == {}
    other = {("ort", "b"): sample(0.1, exact=True)}
    assert made(errors([cell(one), cell(one, table=None)], other)) == {}
    fp32 = cell(one, precision=Precision.FP32, table="b")
    assert made(errors([fp32], other)) == {}


def test_a_simulation_of_another_placement_is_no_limit() -> None:
    simulations = {("ort", "a"): sample(0.004, exact=True), ("trt", "a"): sample(0.001, exact=True)}
    budget = made(errors([cell(sample(0.004))], simulations))["c"]
    assert budget.limit == pytest.approx(0.004)


def test_an_energy_that_some_images_lack_is_no_division_by_zero() -> None:
    energy = np.array([0.0, 0.0, 0.0, 5.0])
    one = Sample(np.array([[0.0, 0.0, 0.0, 1.0]] * 2), energy)
    simulated = Sample(np.array([[0.0, 0.0, 0.0, 0.5]]), energy, exact=True)
    budget = made(errors([cell(one)], {("ort", "a"): simulated}))["c"]
    assert all(math.isfinite(end) for ends in budget.intervals.values() for end in ends)


def test_intervals_are_those_of_scipys_paired_bootstrap() -> None:
    generator = np.random.default_rng(5)
    energy = generator.lognormal(3, 0.4, 60)
    mine, best = (
        energy * generator.lognormal(-5, 0.5, 60),
        energy * generator.lognormal(-6, 0.5, 60),
    )
    simulations = {
        ("ort", "a"): Sample(mine[None], energy, exact=True),
        ("ort", "b"): Sample(best[None], energy, exact=True),
    }
    one = Sample(np.stack([mine * 1.3] * 2), energy)
    budget = made(errors([cell(one)], simulations))["c"]

    def interval(difference: np.ndarray) -> tuple[float, float]:
        result = stats.bootstrap(
            (difference, energy),
            lambda d, r, axis: d.sum(axis=axis) / r.sum(axis=axis),
            paired=True,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(1),
        )
        return result.confidence_interval.low, result.confidence_interval.high

    for part, difference in (
        ("limit", best), ("calibration", mine - best), ("observed", mine * 1.3), ("engine", mine * 0.3)
    ):  # fmt: skip
        assert budget.intervals[part] == pytest.approx(interval(difference), rel=0.05)


def test_the_engine_interval_covers_the_truth() -> None:
    """Builds differ by 2 %: 95 % of the intervals must hold the engine part of an endless average."""
    generator = np.random.default_rng(11)
    energy = generator.lognormal(3, 0.3, 64)
    truth = 0.001
    held = 0
    for _ in range(200):
        chosen = energy * generator.lognormal(0, 0.3, 64) / np.exp(0.045)
        simulated = Sample((0.004 * chosen)[None], energy, exact=True)
        cells = [
            cell(
                Sample(
                    np.stack([0.005 * chosen * (1 + generator.normal(0, 0.02)) for _ in range(3)]),
                    energy,
                ),
                name=f"c{index}",
            )
            for index in range(4)
        ]
        budget = made(errors(cells, {("ort", "a"): simulated}))["c0"]
        low, high = budget.intervals["engine"]
        held += low <= truth <= high
    assert 180 <= held <= 200


def test_another_cell_changes_no_interval() -> None:
    simulations = {("ort", "a"): sample(0.004, exact=True)}
    error = cell(sample(0.005, 0.005))
    alone = made(errors([error], simulations))["c"]
    both = made(errors([cell(sample(0.006, 0.006), name="d"), error], simulations))["c"]
    for part, ends in alone.intervals.items():
        assert both.intervals[part] == pytest.approx(ends)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1e-3, 1e6)),
        min_size=2,
        max_size=12,
    )
)
def test_the_parts_add_up_whatever_the_numbers(rows: list[tuple[float, float, float]]) -> None:
    observed, expected, energy = np.array(rows).T
    simulated = Sample(expected[None], energy, exact=True)
    best = Sample(expected[None] / 2, energy, exact=True)
    error = cell(Sample(np.stack([observed, observed]), energy))
    budget = made(errors([error], {("ort", "a"): simulated, ("ort", "b"): best}))["c"]
    assert budget.limit + budget.calibration + budget.engine == pytest.approx(
        budget.observed, rel=1e-6
    )
    for low, high in budget.intervals.values():
        assert low <= high
