"""The geometry of the charts."""

import dataclasses
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judgements import latency
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.report.bars import (
    OUTLIER,
    TICKS,
    budget_bar,
    budget_scale,
    latency_mark,
    latency_scale,
    scale,
)

ERRORS = st.floats(min_value=1e-12, max_value=10)


def budget(
    limit: float,
    calibration: float,
    engine: float,
    noise: float | None = None,
    interval: tuple[float, float] | None = None,
) -> Budget:
    return Budget(
        observed=limit + calibration + engine,
        limit=limit,
        calibration=calibration,
        engine=engine,
        noise=noise,
        intervals={"observed": interval} if interval else {},
    )


@given(st.lists(ERRORS, min_size=1, max_size=40))
def test_a_scale_has_few_round_ticks_and_room_for_all_but_outliers(values: list[float]) -> None:
    axis = scale(values)
    assert axis.end >= min(max(values), OUTLIER * statistics.median(values))
    assert axis.ticks[0] == 0
    assert 2 <= len(axis.ticks) <= TICKS + 1
    assert axis.ticks[-1] <= axis.end * (1 + 1e-9)
    assert axis.exponent % 3 == 0
    shown = [f"{axis.scaled(tick):.{axis.tick_decimals}f}" for tick in axis.ticks]
    assert len(set(shown)) == len(shown)


def test_every_ordinary_value_lies_on_the_scale() -> None:
    axis = scale([0.002, 0.004, 0.011])
    assert axis.at(0) == 0
    assert axis.at(0.011) == pytest.approx(100 / 1.04, abs=0.01)
    assert axis.ticks == pytest.approx((0, 0.002, 0.004, 0.006, 0.008, 0.01))
    assert (axis.exponent, axis.decimals) == (-3, 2)


def test_no_values_give_an_axis_all_the_same() -> None:
    assert scale([]).end == scale([0.0, math.nan, math.inf, -1.0]).end == 1.0


def test_one_broken_build_does_not_flatten_the_others() -> None:
    good = [budget(0.01, 0.002, 0.001)] * 5
    broken = budget(0.01, 0.002, 40.0)
    axis = budget_scale([*good, broken], None)
    assert axis.end < 0.1
    assert budget_bar(broken, axis).beyond
    assert budget_bar(broken, axis).observed == 100
    assert not budget_bar(good[0], axis).beyond


def test_parts_stack_up_to_the_observed_error() -> None:
    axis = scale([0.04])
    bar = budget_bar(budget(0.01, 0.005, 0.02, interval=(0.032, 0.038)), axis)
    assert [part.kind for part in bar.segments] == ["limit", "calibration", "engine"]
    ends = [part.start + part.width for part in bar.segments]
    assert [part.start for part in bar.segments[1:]] == pytest.approx(ends[:2], abs=0.01)
    assert (
        ends[2] == pytest.approx(bar.observed, abs=0.01) == pytest.approx(axis.at(0.035), abs=0.01)
    )
    assert bar.whisker == pytest.approx((axis.at(0.032), axis.at(0.038)))


def test_a_negative_engine_part_runs_back_from_the_simulated_to_the_observed_error() -> None:
    axis = scale([0.04])
    bar = budget_bar(budget(0.01, 0.01, -0.015), axis)
    gain = bar.segments[2]
    assert gain.kind == "gain"
    assert gain.start == pytest.approx(bar.observed) == pytest.approx(axis.at(0.005))
    assert gain.start + gain.width == pytest.approx(axis.at(0.02), abs=0.01)
    assert bar.whisker is None


@given(ERRORS, st.floats(0, 1), st.floats(-1, 10), st.floats(0, 5))
def test_every_mark_stays_inside_the_chart(
    limit: float, calibration: float, engine: float, width: float
) -> None:
    observed = limit + calibration + engine
    one = budget(limit, calibration, engine, interval=(observed - width, observed + width))
    bar = budget_bar(one, budget_scale([one], 0.01))
    places = [bar.observed, *(bar.whisker or ())]
    places += [place for part in bar.segments for place in (part.start, part.start + part.width)]
    assert all(0 <= place <= 100.01 for place in places)


@pytest.mark.parametrize(("gate", "drawn"), [(0.03, True), (0.012, True), (0.5, False)])
def test_a_gate_is_on_the_scale_where_it_lies_near(gate: float, drawn: bool) -> None:
    axis = budget_scale([budget(0.01, 0.005, 0.01)], gate)
    assert (gate <= axis.end) == drawn


def test_nan_has_no_place() -> None:
    with pytest.raises(ValueError, match="NaN has no place"):
        scale([1.0]).at(math.nan)


def test_a_wide_interval_is_cut_and_does_not_flatten_the_bars() -> None:
    axis = budget_scale([budget(0.01, 0.0, 0.01, interval=(-0.05, 0.2))], None)
    assert axis.end < 0.03
    assert budget_scale([budget(0.01, 0.0, 0.01, interval=(0.019, 0.021))], None).end > 0.021


def test_latency_marks_stand_in_order() -> None:
    one = dataclasses.replace(
        latency(0.01), p5_s=0.009, p25_s=0.0095, p75_s=0.0105, rounds_s=(0.0099, 0.0102)
    )
    mark = latency_mark(one, scale([0.02]))
    assert mark.spread
    assert mark.middle
    low, high = mark.spread
    assert 0 < low < mark.middle[0] < mark.median < mark.middle[1] < high < mark.tail < 100
    assert mark.width == pytest.approx(mark.middle[1] - mark.middle[0], abs=0.01)
    assert low < mark.rounds[0] < mark.rounds[1] < high
    assert not mark.beyond


def test_a_run_that_kept_medians_alone_has_no_more_marks_than_that() -> None:
    mark = latency_mark(latency(0.01), scale([0.01]))
    assert (mark.spread, mark.middle, mark.rounds, mark.width) == (None, None, (), 0.0)
    assert mark.beyond, "its 99th percentile is 31 % slower than the end of this scale"


def test_a_latency_scale_holds_nine_samples_of_ten() -> None:
    assert latency_scale([latency(0.01)]).end >= 0.011
