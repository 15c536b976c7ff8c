"""Verdicts on made-up matrices with a known cause; families of thousands in benchmarks/verdicts."""

from dataclasses import replace

import numpy as np

from runner.core.rules import Rules
from runner.core.verdicts.cell_errors import CellError, HeadErrors
from runner.core.verdicts.decisions import verdicts
from runner.core.verdicts.effects import Sample
from runner.core.verdicts.verdict import Kind

ENERGY = np.full(40, 10.0)


def cell(name: str, nmse: float, **changes: object) -> CellError:
    pattern = np.linspace(0.5, 1.5, 40)
    values = {
        "cell": f"{name}/cpu/int8-shared",
        "environment": name,
        "device": "cpu",
        "pass_": "int8-shared",
        "int8": True,
        "sample": Sample(np.stack([nmse * ENERGY * pattern] * 3), ENERGY),
        "placement": "engine",
        "table": "t",
    }
    return CellError(**(values | changes))  # type: ignore[arg-type]


def exact(nmse: float) -> Sample:
    return Sample((nmse * ENERGY * np.linspace(0.5, 1.5, 40))[None], ENERGY, exact=True)


def told(*cells: CellError, gate: float | None = 0.01, **tables: float) -> dict[str, set[Kind]]:
    head = HeadErrors(
        head="small",
        cells=cells,
        simulations={("engine", table): exact(nmse) for table, nmse in tables.items()},
        gate_nmse=gate,
    )
    found: dict[str, set[Kind]] = {}
    for one in verdicts([head], "base", Rules()):
        found.setdefault(one.cell.split("/")[0], set()).add(one.kind)
    return found


def test_the_same_environment_under_two_names_is_ok() -> None:
    assert told(cell("base", 0.004), cell("twin", 0.004), t=0.004) == {
        "base": {Kind.OK},
        "twin": {Kind.OK},
    }


def test_a_real_but_meaningless_difference_is_ok() -> None:
    found = told(cell("base", 0.004), cell("new", 0.004 * 1.005), t=0.004)
    assert found["new"] == {Kind.OK}
    found = told(cell("base", 0.004), cell("new", 0.004 * 1.02), t=0.004)
    assert found["new"] == {Kind.ENGINE_REGRESSION}


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


def test_with_a_gate_that_holds_a_worse_table_is_no_problem() -> None:
    assert told(cell("base", 0.009), t=0.009, good=0.001)["base"] == {Kind.OK}
    found = told(cell("base", 0.009), gate=None, t=0.009, good=0.001)
    assert found["base"] == {Kind.CALIBRATION_PROBLEM}


def test_beyond_the_gate_with_every_table_is_the_limit_of_eight_bits() -> None:
    assert told(cell("base", 0.03), t=0.03, good=0.02)["base"] == {Kind.INT8_LIMIT}


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
    head = HeadErrors(
        head="small", cells=(explicit, implicit), gate_nmse=None,
        simulations={("engine", "t"): exact(0.004)},
    )  # fmt: skip
    found = {(one.cell, one.kind, one.against) for one in verdicts([head], "base", Rules())}
    assert found == {
        ("base/gpu/int8-shared", Kind.OK, None),
        ("base/gpu/int8-implicit", Kind.IMPLICIT_REGRESSION, "base/gpu/int8-shared"),
    }


def test_tf32_and_fp16_are_no_fp32_regression() -> None:
    half = cell("base", 1e-5, int8=False, reduced=True, placement=None, table=None)
    full = cell("new", 1e-5, int8=False, placement=None, table=None)
    assert told(half, full) == {"base": {Kind.OK}, "new": {Kind.FP32_REGRESSION}}


def test_noise_belongs_to_one_kind_of_cell() -> None:
    """A GPU whose builds differ by half makes a CPU's bit-identical repeats no less certain."""
    pattern = ENERGY * np.linspace(0.5, 1.5, 40)
    loud = Sample(np.stack([0.002 * pattern, 0.008 * pattern]), ENERGY)
    gpu = cell("gpu", 0.004, device="gpu", placement="tensorrt", sample=loud)
    found = told(cell("base", 0.004), cell("new", 0.0044), gpu, t=0.004)
    assert found["new"] == {Kind.ENGINE_REGRESSION}


def test_beyond_the_gate_with_a_table_that_nobody_knows_is_not_decided() -> None:
    # A limit is known of this placement: 8 bits would do.
    assert told(cell("app", 0.02, table=None), best=0.004) == {"app": {Kind.INCONCLUSIVE}}
    assert told(cell("app", 0.02, table=None)) == {"app": {Kind.INCONCLUSIVE}}
    assert told(cell("app", 0.008, table=None), best=0.004) == {"app": {Kind.OK}}


def test_beyond_the_gate_with_every_known_table_is_the_limit_whatever_table_it_had() -> None:
    assert told(cell("app", 0.05, table=None), best=0.03) == {"app": {Kind.INT8_LIMIT}}


def test_an_engine_that_loses_what_the_table_would_keep_is_told_without_any_better_version() -> (
    None
):
    """Every version fails the gate, the same scales in exact arithmetic hold it."""
    lost = cell("base", 0.02), cell("twin", 0.02)
    assert told(*lost, t=0.004) == {"base": {Kind.ENGINE_LOSS}, "twin": {Kind.ENGINE_LOSS}}
    better = told(cell("base", 0.004), cell("new", 0.02), t=0.004)
    assert better["new"] == {Kind.ENGINE_REGRESSION}, "the baseline shows that it can be done"
    assert told(*lost, t=0.004, gate=None)["base"] == {Kind.OK}, "nobody said that it matters"
    assert Kind.ENGINE_LOSS not in told(*lost, t=0.015, best=0.004)["base"], "it is the table's"


def test_what_is_not_decided_says_what_it_would_be() -> None:
    once = Sample((0.02 * ENERGY)[None], ENERGY)
    head = HeadErrors(
        head="small",
        cells=[cell("base", 0.02, sample=once)],
        simulations={("engine", "t"): exact(0.004)},
        gate_nmse=0.01,
    )
    (one,) = verdicts([head], "base", Rules())
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert one.needs == "2 more repeats"


def test_a_gate_that_fails_is_never_ok_where_the_table_would_hold_it() -> None:
    """Two builds that differ by more than the effect: chance is possible, nothing wrong is not."""
    loud = Sample(np.stack([0.002 * ENERGY, 0.06 * ENERGY]), ENERGY)
    head = HeadErrors(
        head="small",
        cells=[cell("base", 0.03, sample=loud)],
        simulations={("engine", "t"): exact(0.004)},
        gate_nmse=0.01,
    )
    (one,) = verdicts([head], "base", Rules())
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert "more repeats" in one.needs
    (one,) = verdicts([replace(head, gate_nmse=0.05)], "base", Rules())
    assert one.kind is Kind.OK, "the gate holds"


def test_what_is_better_than_8_bits_allow_is_not_why_a_gate_fails() -> None:
    loud = Sample(np.stack([0.0002 * ENERGY, 0.02 * ENERGY]), ENERGY)
    head = HeadErrors(
        head="small",
        cells=[cell("base", 0.0101, sample=loud, integer_share=0.5)],
        simulations={("engine", "t"): exact(0.02), ("engine", "better"): exact(0.0103)},
        gate_nmse=0.01,
    )
    (one,) = verdicts([head], "base", Rules())
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.INT8_LIMIT)
