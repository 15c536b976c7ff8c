"""Verdicts on int8 cells made by hand; families of made-up ones are in test_verdict_families.py."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.made_cells import ENERGY, IMAGES, builds, cell, errors, free, judged, told, worse
from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.cell_errors import MeasuredHead, Noises
from trt_matrix.core.verdicts.decisions import step_found, verdicts
from trt_matrix.core.verdicts.sample import Sample, level
from trt_matrix.core.verdicts.verdict import KINDS, Kind


def test_the_same_environment_under_two_names_is_ok() -> None:
    assert told(cell("base", 0.004), cell("twin", 0.004), t=0.004) == {
        "base": {Kind.OK},
        "twin": {Kind.OK},
    }


@pytest.mark.parametrize(("share", "kind"), [(0.99, Kind.OK), (1.01, Kind.ENGINE_REGRESSION)])
def test_only_beyond_half_a_decibel_a_difference_counts(share: float, kind: Kind) -> None:
    found = told(cell("base", 0.004), cell("new", worse(share * 0.5)), t=0.0042)
    assert found["new"] == {kind}


def test_a_better_engine_is_no_regression() -> None:
    assert told(cell("base", 0.004), cell("new", 0.002), t=0.004)["new"] == {Kind.OK}


def test_float_layers_are_a_fallback_only_where_they_help() -> None:
    helped = cell("new", 0.002, integer_share=0.6)
    assert told(cell("base", 0.004), helped, t=0.004)["new"] == {Kind.PRECISION_FALLBACK}
    useless = cell("new", 0.004, integer_share=0.6)
    assert told(cell("base", 0.004), useless, t=0.004)["new"] == {Kind.OK}


def test_a_head_can_carry_several() -> None:
    found = told(cell("base", 0.02), cell("new", 0.03), t=0.02, good=0.004)
    assert found["base"] == {Kind.CALIBRATION_PROBLEM}
    assert found["new"] == {Kind.CALIBRATION_PROBLEM, Kind.ENGINE_REGRESSION}


@pytest.mark.parametrize("gate", [0.01, None])
def test_a_worse_table_is_a_problem_with_and_without_a_gate(gate: float | None) -> None:
    found = told(cell("base", 0.009), gate=gate, t=0.009, good=0.001)
    assert found["base"] == {Kind.CALIBRATION_PROBLEM}


@pytest.mark.parametrize(("share", "kind"), [(0.99, Kind.OK), (1.01, Kind.CALIBRATION_PROBLEM)])
def test_a_table_half_a_decibel_worse_is_a_problem(share: float, kind: Kind) -> None:
    bad = worse(share * 0.5, 0.001)
    assert told(cell("base", bad), t=bad, good=0.001)["base"] == {kind}


def test_beyond_the_gate_with_every_table_is_the_limit_of_eight_bits() -> None:
    assert told(cell("base", 0.02), t=0.02, other=0.02)["base"] == {Kind.INT8_LIMIT}
    both = told(cell("base", 0.03), t=0.03, good=0.02)["base"]
    assert both == {Kind.INT8_LIMIT, Kind.CALIBRATION_PROBLEM}


@pytest.mark.parametrize(("share", "limit"), [(0.99, False), (1.01, True)])
def test_the_limit_is_beyond_the_gate_by_whatever_the_images_show(
    share: float, *, limit: bool
) -> None:
    """The cell fails by itself; with exact arithmetic every image just holds the gate, or just does not."""
    head = MeasuredHead(
        head="small",
        cells=[cell("base", 0.03)],
        simulations={("engine", "t"): level(0.01 * share, ENERGY)},
        gate_nmse=0.01,
    )
    kinds = {verdict.kind for verdict in verdicts([head], "base", Rules())}
    assert (Kind.INT8_LIMIT in kinds) is limit


def test_a_cell_that_holds_its_gate_has_shown_that_8_bits_are_enough() -> None:
    found = told(cell("base", 0.009, integer_share=0.5), t=0.02)["base"]
    assert found == {Kind.PRECISION_FALLBACK}


def test_a_calibrator_that_alone_is_bad_is_no_problem_of_the_calibration() -> None:
    base, new = cell("base", 0.004, own=True), cell("new", 0.03, own=True, table="worse")
    found = told(base, new, t=0.004, worse=0.03)
    assert found == {"base": {Kind.OK}, "new": {Kind.CALIBRATOR_REGRESSION}}


def test_a_calibrator_that_makes_a_bad_table_worse_is_both() -> None:
    base, new = cell("base", 0.02, own=True), cell("new", 0.03, own=True, table="worse")
    found = told(base, new, t=0.02, worse=0.03, good=0.004)
    assert found["base"] == {Kind.CALIBRATION_PROBLEM}
    assert found["new"] == {Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION}


def test_one_table_that_costs_more_implicitly_is_neither_the_tables_nor_the_versions_fault() -> (
    None
):
    explicit = cell("base", 0.004, cell="base/gpu/int8-shared", device="gpu")
    implicit = cell(
        "base",
        0.016,
        cell="base/gpu/int8-implicit",
        device="gpu",
        pass_="int8-implicit",
        implicit=True,
    )
    head = errors((explicit, implicit), None, t=0.004)
    found = {
        (verdict.cell, verdict.kind, verdict.against)
        for verdict in verdicts([head], "base", Rules())
    }
    assert found == {
        ("base/gpu/int8-shared", Kind.OK, None),
        ("base/gpu/int8-implicit", Kind.IMPLICIT_REGRESSION, "base/gpu/int8-shared"),
    }


def test_beyond_the_gate_with_a_table_that_nobody_knows_is_not_decided() -> None:
    # A limit is known of this placement: 8 bits would do.
    assert told(cell("app", 0.02, table=None), best=0.004) == {"app": {Kind.INCONCLUSIVE}}
    assert told(cell("app", 0.02, table=None)) == {"app": {Kind.INCONCLUSIVE}}
    assert told(cell("app", 0.008, table=None), best=0.004) == {"app": {Kind.OK}}


def test_beyond_the_gate_with_every_known_table_is_the_limit_whatever_table_it_had() -> None:
    assert told(cell("app", 0.05, table=None), best=0.03) == {"app": {Kind.INT8_LIMIT}}


@pytest.mark.parametrize("gate", [0.01, 0.5, None])
def test_an_engine_that_loses_what_the_table_would_keep_is_told_without_any_better_version(
    gate: float | None,
) -> None:
    """The same scales in exact arithmetic keep more: with a gate, with one that holds, and without."""
    lost = cell("base", 0.02), cell("twin", 0.02)
    expected = {"base": {Kind.ENGINE_LOSS}, "twin": {Kind.ENGINE_LOSS}}
    assert told(*lost, t=0.004, gate=gate) == expected
    better = told(cell("base", 0.004), cell("new", 0.02), t=0.004, gate=gate)
    assert better["new"] == {Kind.ENGINE_REGRESSION}, "the baseline shows that it can be done"


@pytest.mark.parametrize(("share", "kind"), [(0.99, Kind.OK), (1.01, Kind.ENGINE_LOSS)])
def test_a_loss_counts_from_half_a_decibel_on(share: float, kind: Kind) -> None:
    assert told(cell("base", worse(share * 0.5)), t=0.004)["base"] == {kind}


def test_what_is_better_than_8_bits_allow_is_not_why_a_gate_fails() -> None:
    loud = free("base", 0.0002, 0.02, integer_share=0.5)
    found = judged(loud, t=0.02, better=0.0103)["base"]
    assert {one.suspected or one.kind for one in found} == {Kind.PRECISION_FALLBACK}
    assert not KINDS[Kind.PRECISION_FALLBACK].fault


@pytest.mark.parametrize(("share", "problem"), [(0.99, False), (1.01, True)])
def test_a_cell_that_is_as_good_as_with_the_best_table_has_not_paid_for_its_own(
    share: float, *, problem: bool
) -> None:
    spared = cell("base", worse(share * 0.5, 0.01), integer_share=0.5)
    found = told(spared, t=0.02, better=0.01)["base"]
    assert (Kind.CALIBRATION_PROBLEM in found) is problem


# What the baseline cannot vouch for


def test_a_baseline_that_ran_layers_in_float_accuses_nobody() -> None:
    """The others cost what their scales must: it is the baseline that is better than 8 bits."""
    base = cell("base", 0.001, integer_share=0.5)
    found = told(base, cell("new", 0.004, integer_share=1.0), t=0.004)
    assert found == {"base": {Kind.PRECISION_FALLBACK}, "new": {Kind.OK}}


@pytest.mark.parametrize("share", [0.5, None])
def test_a_baseline_that_is_better_than_its_scales_allow_ran_in_float_whatever_it_says(
    share: float | None,
) -> None:
    base = cell("base", 0.001, integer_share=share)
    found = told(base, cell("new", 0.004), t=0.004)
    assert found["new"] == {Kind.OK}


def test_beside_a_baseline_in_float_a_version_is_accused_of_what_its_scales_do_not_explain() -> (
    None
):
    base = cell("base", 0.001, integer_share=0.5)
    found = told(base, cell("new", 0.008), t=0.004)
    assert Kind.ENGINE_REGRESSION in found["new"]
    unknown = told(base, cell("new", 0.008), other=0.004)
    assert Kind.ENGINE_REGRESSION not in unknown["new"], "nobody knows what its scales must cost"


def test_where_nothing_was_quantised_nothing_is_compared() -> None:
    none = cell("new", 0.02, quantised=False)
    assert told(cell("base", 0.004), none, t=0.004)["new"] == {Kind.OK}
    rounded = cell("new", 0.02, integer_share=0.0)
    found = told(cell("base", 0.004), rounded, t=0.004)
    assert found["new"] == {Kind.ENGINE_REGRESSION}, "it rounds, and multiplies in float"
    base = cell("base", 1e-9, quantised=False)
    assert told(base, cell("new", 0.004), t=0.004)["new"] == {Kind.OK}, "nor with it"


# Tables


def test_own_tables_that_nobody_knows_are_the_versions() -> None:
    own = {"own": True, "placement": None}
    base, new = cell("base", 0.004, table="a", **own), cell("new", 0.008, table="b", **own)
    assert told(base, new)["new"] == {Kind.VERSION_REGRESSION}
    assert told(replace(base, table=None), replace(new, table=None))["new"] == {
        Kind.VERSION_REGRESSION
    }
    same = replace(new, sample=base.sample)
    assert told(base, same)["new"] == {Kind.OK}


def test_shared_scales_in_the_network_itself_are_the_engines() -> None:
    """Q/DQ nodes in the network: no table, and not made by the environment."""
    changes = {"table": None, "placement": None}
    found = told(cell("base", 0.004, **changes), cell("new", 0.008, **changes))
    assert found["new"] == {Kind.ENGINE_REGRESSION}


def _half(first: float, second: float) -> Sample:
    errors = np.where(np.arange(IMAGES) % 2 == 0, first, second) * ENERGY
    return Sample(errors[None], ENERGY, exact=True)


def test_the_best_table_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    """Two tables that are lucky on one half each: neither is better on images that did not choose it."""
    head = MeasuredHead(
        head="small",
        cells=[],
        simulations={("engine", "a"): _half(0.001, 0.004), ("engine", "b"): _half(0.004, 0.001)},
        gate_nmse=None,
    )
    assert head.best["engine"].nmse == pytest.approx(0.004)
    assert head.best["engine"].exact
    measured_head = replace(head, simulations={("engine", "a"): _half(0.001, 0.004)})
    assert measured_head.best["engine"].errors == pytest.approx(
        measured_head.simulations["engine", "a"].errors
    )


def test_of_many_tables_that_scatter_by_chance_none_is_a_problem() -> None:
    generator = np.random.default_rng(9)
    problems = 0
    for _ in range(20):
        scattered = {
            ("engine", f"t{index}"): Sample(
                0.004 * ENERGY * generator.lognormal(0, 0.5, (1, IMAGES)), ENERGY, exact=True
            )
            for index in range(87)
        }
        mine = Sample(scattered["engine", "t0"].errors.repeat(2, axis=0), ENERGY)
        head = MeasuredHead(
            head="small",
            cells=[cell("base", 0.004, table="t0", sample=mine)],
            simulations=scattered,
            gate_nmse=None,
        )
        problems += any(
            verdict.kind is Kind.CALIBRATION_PROBLEM
            for verdict in verdicts([head], "base", Rules())
        )
    assert problems == 0


# Images


def test_views_that_contradict_on_one_dominant_image_are_told_and_not_decided() -> None:
    heavy = np.full(IMAGES, 0.1)
    heavy[0] = 20.0
    lost = heavy * 0.7
    lost[0] = 60.0
    one = cell("base", 0.004, sample=builds(0.004, 0.004, pattern=heavy))
    other = cell("new", 0.004, sample=builds(0.004, 0.004, pattern=lost))
    head = MeasuredHead(head="small", cells=[one, other], simulations={}, gate_nmse=None)
    (verdict,) = (v for v in verdicts([head], "base", Rules()) if v.cell == other.cell)
    assert (verdict.kind, verdict.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_REGRESSION)
    assert verdict.needs == "more evaluation images"
    assert "one image has" in (verdict.why or "")


def test_one_image_is_not_enough() -> None:
    energy = np.array([10.0])
    one = cell("base", 0.004, sample=Sample(np.full((3, 1), 0.04), energy))
    other = cell("new", 0.004, sample=Sample(np.full((3, 1), 0.4), energy))
    head = MeasuredHead(head="small", cells=[one, other], simulations={}, gate_nmse=None)
    verdict = {v.cell: v for v in verdicts([head], "base", Rules())}[other.cell]
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, "more evaluation images")


def test_a_step_is_found_as_the_whole_is() -> None:
    cells = [cell("base", 0.004), cell("mid", 0.004), cell("new", 0.016)]
    head = errors(cells)
    ids = [cell.cell for cell in cells]
    kind, noises = Kind.ENGINE_REGRESSION, Noises([head], 1.5)
    assert not step_found(kind, noises, head, (ids[0], ids[1]), Rules())
    assert step_found(kind, noises, head, (ids[1], ids[2]), Rules())


def test_every_look_has_its_share_of_the_error_rates() -> None:
    assert Rules().guard == 0.009
    assert Rules(looks=3).guard == 0.003
    assert Rules(looks=5).familywise_error_rate == pytest.approx(0.001)


# Exact arithmetic


@pytest.mark.parametrize(("share", "kind"), [(0.99, Kind.OK), (1.01, Kind.INCONCLUSIVE)])
def test_little_that_only_other_images_would_decide_is_not_chased(share: float, kind: Kind) -> None:
    """Two tables in exact arithmetic, 1 dB apart in both views; images scatter too much to decide."""
    generator = np.random.default_rng(4)
    scatter = generator.normal(0, 0.3, IMAGES)
    other = np.exp(generator.permutation(scatter) + share * DB)
    bad = Sample((0.004 * ENERGY * other)[None], ENERGY, exact=True)
    good = Sample((0.004 * ENERGY * np.exp(scatter))[None], ENERGY, exact=True)
    head = MeasuredHead(
        head="small",
        cells=[cell("base", 0.004, sample=Sample(bad.errors.repeat(3, axis=0), ENERGY))],
        simulations={("engine", "t"): bad, ("engine", "good"): good},
        gate_nmse=None,
    )
    assert head.best["engine"].errors == pytest.approx(good.errors), "on both halves"
    (verdict,) = verdicts([head], "base", Rules())
    assert verdict.kind is kind
    if kind is Kind.INCONCLUSIVE:
        assert (verdict.suspected, verdict.needs) == (
            Kind.CALIBRATION_PROBLEM,
            "more evaluation images",
        )
