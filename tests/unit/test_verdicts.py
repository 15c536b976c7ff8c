"""Verdicts on matrices made by hand; families of made-up ones are in test_verdict_families.py."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from trt_matrix.core.cells import Precision
from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.decisions import step_found, verdicts
from trt_matrix.core.verdicts.sample import Floats, Sample, level
from trt_matrix.core.verdicts.verdict import KINDS, Kind, Verdict

IMAGES = 40
ENERGY = np.full(IMAGES, 10.0)
PATTERN = np.linspace(0.5, 1.5, IMAGES)


def builds(*nmse: float, pattern: Floats = PATTERN) -> Sample:
    return Sample(np.stack([one * ENERGY * pattern for one in nmse]), ENERGY)


def cell(name: str, nmse: float, **changes: object) -> CellError:
    """Returns an int8 cell; three builds that cannot differ."""
    values = {
        "cell": f"{name}/cpu/int8-shared",
        "environment": name,
        "device": "cpu",
        "pass_": "int8-shared",
        "precision": Precision.INT8,
        "sample": builds(nmse, nmse, nmse),
        "placement": "engine",
        "table": "t",
        "fixed": True,
    }
    return CellError(**(values | changes))  # type: ignore[arg-type]


def floating(name: str, sqnr_db: float, precision: Precision, **changes: object) -> CellError:
    made: dict[str, object] = {
        "precision": precision,
        "placement": None,
        "table": None,
        "pass_": str(precision),
    }
    nmse = 10 ** (-sqnr_db / 10)
    made["sample"] = builds(nmse, nmse, nmse, pattern=np.ones(IMAGES))
    return cell(name, nmse, cell=f"{name}/cpu/{precision}", **made | changes)


def free(name: str, *nmse: float, **changes: object) -> CellError:
    """Returns a cell whose builds may differ."""
    return cell(name, nmse[0], sample=builds(*nmse), fixed=False, **changes)


def exact(nmse: float) -> Sample:
    return Sample((nmse * ENERGY * PATTERN)[None], ENERGY, exact=True)


def errors(cells: Sequence[CellError], gate: float | None = 0.01, **tables: float) -> MeasuredHead:
    return MeasuredHead(
        head="small",
        cells=cells,
        simulations={("engine", table): exact(nmse) for table, nmse in tables.items()},
        gate_nmse=gate,
    )


def judged(
    *cells: CellError, gate: float | None = 0.01, **tables: float
) -> dict[str, tuple[Verdict, ...]]:
    found: dict[str, tuple[Verdict, ...]] = {}
    for one in verdicts([errors(cells, gate, **tables)], "base", Rules()):
        name = one.cell.split("/")[0]
        found[name] = (*found.get(name, ()), one)
    return found


def told(*cells: CellError, gate: float | None = 0.01, **tables: float) -> dict[str, set[Kind]]:
    found = judged(*cells, gate=gate, **tables)
    return {name: {one.kind for one in some} for name, some in found.items()}


def worse(db: float, nmse: float = 0.004) -> float:
    return float(nmse * np.exp(db * DB))


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
    found = {one.kind for one in verdicts([head], "base", Rules())}
    assert (Kind.INT8_LIMIT in found) is limit


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
    found = {(one.cell, one.kind, one.against) for one in verdicts([head], "base", Rules())}
    assert found == {
        ("base/gpu/int8-shared", Kind.OK, None),
        ("base/gpu/int8-implicit", Kind.IMPLICIT_REGRESSION, "base/gpu/int8-shared"),
    }


# Three builds that are assumed to differ by 1.5 dB; 0.001 one-sided, half of it for each of two views.
MARGIN = float(stats.norm.isf(0.0005)) * 1.5 / 3**0.5


@pytest.mark.parametrize(("share", "found"), [(0.0, False), (0.99, False), (1.01, True)])
@pytest.mark.parametrize(
    ("precision", "floor", "kind"),
    [
        (Precision.FP32, 60, Kind.FP32_REGRESSION),
        (Precision.TF32, 40, Kind.TF32_REGRESSION),
        (Precision.FP16, 40, Kind.FP16_REGRESSION),
        (Precision.BF16, 24, Kind.BF16_REGRESSION),
    ],
)
def test_each_floating_precision_has_a_level_of_its_own(
    precision: Precision, floor: float, kind: Kind, share: float, *, found: bool
) -> None:
    one = floating("base", floor - share * MARGIN, precision)
    seen = [(v.kind, v.against) for v in judged(one)["base"]]
    assert ((kind, f"{floor} dB") in seen) is found
    if not share:
        assert seen == [(Kind.OK, None)]


def test_fp32_that_is_wrong_on_a_few_images_is_not_ok() -> None:
    """41 dB in fp32: 3 of 40 images are at 30 dB, the others are exact."""
    pattern = np.full(IMAGES, 1e-10)
    pattern[[3, 17, 30]] = 1e-3
    one = floating("base", 40, Precision.FP32, sample=builds(1, 1, 1, pattern=pattern))
    assert told(one)["base"] == {Kind.FP32_REGRESSION}


def test_a_reduced_precision_is_compared_with_the_baseline_too() -> None:
    base = floating("base", 60, Precision.FP16)
    found = judged(base, floating("new", 55, Precision.FP16))
    assert [(one.kind, one.against) for one in found["new"]] == [
        (Kind.FP16_REGRESSION, "base/cpu/fp16")
    ]
    assert {one.kind for one in found["base"]} == {Kind.OK}
    assert told(base, floating("new", 59.6, Precision.FP16))["new"] == {Kind.OK}
    fp32 = told(floating("base", 140, Precision.FP32), floating("new", 100, Precision.FP32))
    assert fp32["new"] == {Kind.OK}, (
        "of fp32 only the level matters: both are far more exact than int8"
    )


def test_below_its_level_and_below_the_baseline_is_told_as_both() -> None:
    found = judged(floating("base", 60, Precision.FP16), floating("new", 30, Precision.FP16))
    assert {one.against for one in found["new"]} == {"40 dB", "base/cpu/fp16"}


def test_one_build_in_floating_point_is_judged_with_an_assumed_noise() -> None:
    """1.5 dB a build: a broken one is far beyond that, and a build that just misses is not."""
    once = {"sample": builds(1e-3), "fixed": False}
    broken = floating("base", 30, Precision.FP32, **once)
    assert told(broken)["base"] == {Kind.FP32_REGRESSION}
    near = {"sample": builds(10**-5.9), "fixed": False}
    assert Kind.FP32_REGRESSION not in told(floating("base", 59, Precision.FP32, **near))["base"]


@pytest.mark.parametrize("change", ["device", "placement", "fixed"])
def test_noise_belongs_to_one_kind_of_cell(change: str) -> None:
    """A GPU whose builds differ by half makes a CPU's bit-identical repeats no less certain."""
    others = {"device": "gpu", "placement": "tensorrt"}
    changes = {change: others[change]} if change in others else {}
    loud = replace(free("gpu", 0.002, 0.004, 0.008), **changes)
    found = told(cell("base", 0.004), cell("new", worse(0.8)), loud, t=0.004)
    assert Kind.ENGINE_REGRESSION in found["new"]


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


def test_what_is_not_decided_says_what_it_would_be() -> None:
    """One build that may differ says nothing of the next."""
    (one,) = judged(free("base", 0.02), t=0.004)["base"]
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert one.needs == "2 more repeats"
    assert one.why == "one build says nothing of the next"
    assert one.more_repeats


def test_one_build_that_cannot_differ_decides() -> None:
    once = cell("base", 0.02, sample=builds(0.02))
    assert told(once, t=0.004)["base"] == {Kind.ENGINE_LOSS}


def test_a_loss_that_no_noise_excuses_is_looked_into_however_builds_differ() -> None:
    """Two builds that differ by more than the effect: chance is possible, nothing wrong is not."""
    (one,) = judged(free("base", 0.004, 0.06), t=0.004)["base"]
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert one.more_repeats


def test_images_are_not_asked_for_where_only_builds_differ() -> None:
    """All images say the same, builds differ by a factor of 50: no number of images helps."""
    (one,) = judged(free("base", 0.002, 0.1), t=0.004)["base"]
    assert (one.kind, one.needs) == (Kind.INCONCLUSIVE, "more than 50 repeats")
    assert not one.more_repeats, "so many are not run by themselves"


@pytest.mark.parametrize(("share", "kind"), [(0.99, Kind.OK), (1.01, Kind.INCONCLUSIVE)])
def test_from_5_db_on_a_difference_is_looked_into(share: float, kind: Kind) -> None:
    middle = np.log(worse(share * 5))
    loud = free("base", float(np.exp(middle - 3)), float(np.exp(middle + 3)))
    assert told(loud, t=0.004, gate=None)["base"] == {kind}


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
    one = replace(head, simulations={("engine", "a"): _half(0.001, 0.004)})
    assert one.best["engine"].errors == pytest.approx(one.simulations["engine", "a"].errors)


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
            one.kind is Kind.CALIBRATION_PROBLEM for one in verdicts([head], "base", Rules())
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
    (found,) = (v for v in verdicts([head], "base", Rules()) if v.cell == other.cell)
    assert (found.kind, found.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_REGRESSION)
    assert found.needs == "more evaluation images"
    assert "one image has" in (found.why or "")


def test_one_image_is_not_enough() -> None:
    energy = np.array([10.0])
    one = cell("base", 0.004, sample=Sample(np.full((3, 1), 0.04), energy))
    other = cell("new", 0.004, sample=Sample(np.full((3, 1), 0.4), energy))
    head = MeasuredHead(head="small", cells=[one, other], simulations={}, gate_nmse=None)
    found = {v.cell: v for v in verdicts([head], "base", Rules())}[other.cell]
    assert (found.kind, found.needs) == (Kind.INCONCLUSIVE, "more evaluation images")


# Builds that may differ


def test_all_builds_of_one_version_may_have_chosen_badly() -> None:
    """Three of each are not enough of two versions; five are."""
    base, new = (free(name, *[nmse] * 3) for name, nmse in (("base", 0.004), ("new", 0.016)))
    found = judged(base, new, gate=None)["new"]
    assert [(one.kind, one.suspected) for one in found] == [
        (Kind.INCONCLUSIVE, Kind.ENGINE_REGRESSION)
    ]
    assert found[0].needs == "1 more repeat"
    assert "up to 1 time in 64" in (found[0].why or "")
    more = [free(name, *[nmse] * 4) for name, nmse in (("base", 0.004), ("new", 0.016))]
    assert told(*more, gate=None)["new"] == {Kind.ENGINE_REGRESSION}
    sure = [cell(name, nmse) for name, nmse in (("base", 0.004), ("new", 0.016))]
    assert told(*sure, gate=None)["new"] == {Kind.ENGINE_REGRESSION}


def test_builds_of_a_fixed_kind_that_differ_all_the_same_may_have_chosen() -> None:
    """What differs is not fixed, whatever was declared: two good and two bad builds prove nothing."""
    base = cell("base", 0.004, sample=builds(0.004, 0.00401))
    new = cell("new", 0.016, sample=builds(0.016, 0.01601))
    assert Kind.ENGINE_REGRESSION not in told(base, new, gate=None)["new"]


def test_a_cell_whose_layers_are_held_is_no_witness_against_builds_that_choose() -> None:
    """Its choice was taken from it: that its builds are alike says nothing of others."""
    pair = [free(name, *[nmse] * 3) for name, nmse in (("base", 0.004), ("new", 0.016))]
    others = [free(name, *[0.004] * 3) for name in ("a", "b", "c", "d")]
    assert told(*pair, *others, gate=None)["new"] == {Kind.ENGINE_REGRESSION}
    held = [replace(one, held=True) for one in others]
    assert told(*pair, *held, gate=None)["new"] == {Kind.INCONCLUSIVE}


def test_every_device_is_one_more_chance_for_builds_that_choose() -> None:
    """Four builds of each of two versions are enough on one GPU (1 of 256), and not on three."""

    def on(device: str) -> list[CellError]:
        return [
            replace(free(name, *[nmse] * 4), device=device, cell=f"{name}/{device}/int8-shared")
            for name, nmse in (("base", 0.004), ("new", 0.016))
        ]

    assert told(*on("gpu:0"), gate=None)["new"] == {Kind.ENGINE_REGRESSION}
    three = [one for device in ("gpu:0", "gpu:1", "gpu:2") for one in on(device)]
    assert told(*three, gate=None)["new"] == {Kind.INCONCLUSIVE}


def test_a_step_is_found_as_the_whole_is() -> None:
    cells = [cell("base", 0.004), cell("mid", 0.004), cell("new", 0.016)]
    head = errors(cells)
    ids = [one.cell for one in cells]
    kind, noises = Kind.ENGINE_REGRESSION, Noises([head], 1.5)
    assert not step_found(kind, noises, head, (ids[0], ids[1]), Rules())
    assert step_found(kind, noises, head, (ids[1], ids[2]), Rules())


def test_every_look_has_its_share_of_the_error_rates() -> None:
    assert Rules().guard == 0.009
    assert Rules(looks=3).guard == 0.003
    assert Rules(looks=5).familywise_error_rate == pytest.approx(0.001)


def test_ok_says_what_would_not_have_been_seen() -> None:
    base, new = free("base", 0.004, 0.0041, 0.0039), free("new", 0.004, 0.0039, 0.0041)
    (one,) = judged(base, new, gate=None)["new"]
    assert one.kind is Kind.OK
    assert one.against == base.cell
    assert one.bound_db is not None
    assert 0 < one.bound_db < 1
    (alone,) = judged(free("base", 0.004), free("new", 0.004), gate=None)["new"]
    assert alone.bound_db is None, "one build says nothing of the next"


# What all versions show alike


@pytest.mark.parametrize("versions", [2, 3, 6])
def test_what_three_versions_lose_alike_needs_no_more_builds(versions: int) -> None:
    names = ["base", *(f"v{index}" for index in range(1, versions))]
    lost = [free(name, 0.02 * (1 + 0.01 * place)) for place, name in enumerate(names)]
    found = judged(*lost, t=0.004, gate=None)
    kinds = {one.kind for some in found.values() for one in some}
    if versions < 3:
        assert kinds == {Kind.INCONCLUSIVE}
        return
    assert kinds == {Kind.ENGINE_LOSS}
    assert {one.versions for some in found.values() for one in some} == {versions}


def test_what_one_version_loses_alone_is_not_every_versions() -> None:
    lost = [free("base", 0.02), free("a", 0.02), free("b", 0.02), free("sound", 0.004)]
    found = told(*lost, t=0.004, gate=None)
    assert Kind.ENGINE_LOSS not in set().union(*found.values())


def test_where_other_versions_have_builds_better_than_their_scales_a_loss_may_be_chance() -> None:
    """Builds have states then: all of one version may be in the bad one, if there are few."""
    lost = free("base", *[0.25] * 3)
    alone = told(lost, gate=None, t=0.008)
    assert alone["base"] == {Kind.ENGINE_LOSS}
    better = free("a", 0.004, 0.02, 0.02)
    (found,) = (v for v in judged(lost, better, gate=None, t=0.008)["base"])
    assert (found.kind, found.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert "exact arithmetic, and builds of other versions are better" in (found.why or "")


def test_layers_that_are_held_are_no_version() -> None:
    lost = [free("base", 0.02), free("a", 0.02), replace(free("b", 0.02), held=True)]
    found = told(*lost, t=0.004, gate=None)
    assert Kind.ENGINE_LOSS not in set().union(*found.values())


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
    (found,) = verdicts([head], "base", Rules())
    assert found.kind is kind
    if kind is Kind.INCONCLUSIVE:
        assert (found.suspected, found.needs) == (
            Kind.CALIBRATION_PROBLEM,
            "more evaluation images",
        )
