"""What is asked of each cell before any test: which kinds, against what, and which builds may speak for chance."""

from dataclasses import replace

import pytest

from tests.unit.made_cells import builds, cell, errors, exact, free, worse
from trt_matrix.core.cells import Precision
from trt_matrix.core.qdq.placements import Placed, Weights
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.hypotheses import Hypothesis, ask
from trt_matrix.core.verdicts.verdict import Kind


def asked(*cells: CellError, gate: float | None = None, **tables: float) -> list[Hypothesis]:
    return of_head(errors(cells, gate, **tables))


def of_head(head: MeasuredHead) -> list[Hypothesis]:
    return ask([head], "base", Noises([head], 1.5), Rules())


def kinds(hypotheses: list[Hypothesis], of: CellError) -> set[tuple[Kind, str]]:
    return {
        (hypothesis.kind, hypothesis.against)
        for hypothesis in hypotheses
        if hypothesis.cell == of.cell
    }


BASE = cell("base", 0.004)


def test_a_mixed_cell_is_asked_nothing_and_those_behind_it_are() -> None:
    held = cell("held", 0.1, mixed=True, cell="held/cpu/mixed")
    new = cell("new", 0.016)
    hypotheses = asked(held, BASE, new, t=0.004)
    assert kinds(hypotheses, held) == set()
    assert (Kind.ENGINE_REGRESSION, BASE.cell) in kinds(hypotheses, new)


def test_the_baseline_is_compared_on_its_other_devices_with_the_first() -> None:
    first = replace(BASE, device="gpu:0", cell="base/gpu:0/int8")
    second = replace(BASE, device="gpu:1", cell="base/gpu:1/int8")
    hypotheses = asked(first, second)
    assert kinds(hypotheses, first) == set()
    assert kinds(hypotheses, second) == {(Kind.ENGINE_REGRESSION, first.cell)}


@pytest.mark.parametrize(
    ("one", "other", "guarded"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_builds_of_either_side_may_have_chosen(one: bool, other: bool, guarded: bool) -> None:
    sides = [
        replace(free(name, 0.004, 0.004), fixed=not chooses)
        for name, chooses in (("base", one), ("new", other))
    ]
    (hypothesis,) = (each for each in asked(*sides) if each.kind is Kind.ENGINE_REGRESSION)
    assert hypothesis.guarded is guarded


def test_of_two_own_tables_the_calibrator_is_asked_and_of_unknown_ones_the_version() -> None:
    base = cell("base", 0.02, own=True, table="s")
    new = cell("new", 0.02, own=True, table="t")
    both = kinds(asked(base, new, s=0.004, t=0.01), new)
    assert (Kind.CALIBRATOR_REGRESSION, base.cell) in both
    for known in ({"s": 0.02}, {"t": 0.02}, {}):
        told = kinds(asked(base, new, **known), new)
        assert (Kind.VERSION_REGRESSION, base.cell) in told
        assert Kind.CALIBRATOR_REGRESSION not in {kind for kind, _ in told}


def test_a_baseline_better_than_its_scales_allow_accuses_no_unknown_table() -> None:
    base = cell("base", 0.004, own=True, table="s")
    new = cell("new", 0.02, own=True, table="t")
    for share, accused in ((0.99, True), (1.01, False)):
        told = kinds(asked(base, new, s=worse(share * 0.5)), new)
        assert ((Kind.VERSION_REGRESSION, base.cell) in told) is accused


@pytest.mark.parametrize(("share", "told"), [(None, False), (0.99, True), (1.0, False)])
def test_only_what_ran_partly_in_float_may_have_fallen_back(
    share: float | None, *, told: bool
) -> None:
    hypotheses = asked(replace(BASE, integer_share=share), t=0.02)
    assert ((Kind.PRECISION_FALLBACK, "its simulation") in kinds(hypotheses, BASE)) is told


def test_implicit_scales_are_compared_with_their_twin_and_without_one_with_exact_arithmetic() -> (
    None
):
    implicit = cell("base", 0.02, implicit=True, cell="base/cpu/int8-implicit")
    assert kinds(asked(implicit, t=0.004), implicit) == {
        (Kind.ENGINE_LOSS, "its simulation"),
        (Kind.CALIBRATION_PROBLEM, "the best table"),
    }
    hypotheses = asked(implicit, BASE, t=0.004)
    assert (Kind.IMPLICIT_REGRESSION, BASE.cell) in kinds(hypotheses, implicit)
    assert Kind.ENGINE_LOSS not in {kind for kind, _ in kinds(hypotheses, implicit)}
    assert Kind.IMPLICIT_REGRESSION not in {kind for kind, _ in kinds(hypotheses, BASE)}


@pytest.mark.parametrize(("share", "states"), [(0.99, False), (1.01, True)])
def test_builds_have_states_where_another_version_has_one_half_a_decibel_better(
    share: float, *, states: bool
) -> None:
    lost = free("base", 0.02, 0.02)
    better = free("new", worse(-share * 0.5), 0.02)

    def loss(*others: CellError) -> Hypothesis:
        made = asked(lost, *others, t=0.004, s=0.004)
        (found,) = (
            hypothesis
            for hypothesis in made
            if hypothesis.kind is Kind.ENGINE_LOSS and hypothesis.cell == lost.cell
        )
        return found

    assert loss(better).guarded is states
    assert [other.cell for other in loss(better).others] == [better.cell]
    assert not loss(replace(better, held=True)).guarded, "its choice was taken from it"
    assert not loss(replace(better, table="s")).guarded, "other scales are other arithmetic"
    assert not loss(replace(better, held=True), replace(better, table="s")).others
    sure = replace(lost, fixed=True)
    hypotheses = asked(sure, better, t=0.004)
    assert not any(
        hypothesis.guarded
        for hypothesis in hypotheses
        if hypothesis.cell == sure.cell and hypothesis.kind is Kind.ENGINE_LOSS
    )
    assert loss(better).pass_ == "cpu/int8-shared", "each pass is a chance for builds that choose"


def test_of_a_table_it_is_asked_against_the_gate_the_best_and_a_scale_a_channel() -> None:
    per_tensor = Placed(engine="onnxruntime", weights=Weights.PER_TENSOR)
    channel = per_tensor.per_channel.name
    error = cell("base", 0.05, placement=per_tensor.name)
    head = MeasuredHead(
        head="small",
        cells=[error],
        simulations={
            (per_tensor.name, "t"): exact(0.05),
            (per_tensor.name, "s"): exact(0.02),
            (channel, "t"): exact(0.03),
        },
        gate_nmse=0.01,
    )
    assert kinds(of_head(head), error) == {
        (Kind.ENGINE_LOSS, "its simulation"),
        (Kind.INT8_LIMIT, "the gate"),
        (Kind.CALIBRATION_PROBLEM, "the best table"),
        (Kind.PER_TENSOR_WEIGHTS, "a scale a channel"),
    }
    # A scale a channel that holds the gate shows that 8 bits are enough.
    enough = replace(head, simulations={**head.simulations, (channel, "t"): exact(0.0099)})
    assert Kind.INT8_LIMIT not in {kind for kind, _ in kinds(of_head(enough), error)}


def test_a_reduced_precision_is_asked_against_its_level_and_the_baseline() -> None:
    half = [
        cell(name, 1e-5, precision=Precision.FP16, placement=None, table=None, pass_="fp16",
             cell=f"{name}/cpu/fp16", sample=builds(1e-5))
        for name in ("base", "new")
    ]  # fmt: skip
    hypotheses = asked(*half)
    assert kinds(hypotheses, half[0]) == {(Kind.FP16_REGRESSION, "40 dB")}
    assert kinds(hypotheses, half[1]) == {
        (Kind.FP16_REGRESSION, "40 dB"),
        (Kind.FP16_REGRESSION, half[0].cell),
    }
