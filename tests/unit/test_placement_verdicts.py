"""What a placement does to verdicts: no fault of an engine, a factor of its own, a limit of its own."""

import dataclasses

import numpy as np

from tests.unit.judgements import BASELINE
from tests.unit.probes import start
from tests.unit.test_head_answers import told, verdict, with_verdicts
from trt_matrix.core.cells import Precision
from trt_matrix.core.factors.cell_factors import EffectKind, difference, factors
from trt_matrix.core.qdq.placements import Activations, Placed, Weights
from trt_matrix.core.records import IntegerShare
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.attribution import Attribution, FactorChange
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.decisions import verdicts
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.verdict import Kind

ENERGY = np.full(40, 10.0)
PATTERN = np.linspace(0.5, 1.5, 40)
INT8 = Placed(engine="onnxruntime")
UINT8 = dataclasses.replace(INT8, activations=Activations.UINT8)
PER_TENSOR = dataclasses.replace(INT8, weights=Weights.PER_TENSOR)


def sample(nmse: float, *, exact: bool = False) -> Sample:
    return Sample(np.stack([nmse * ENERGY * PATTERN] * (1 if exact else 2)), ENERGY, exact=exact)


def cell(name: str, nmse: float, placed: Placed, pass_: str = "int8", **changes: object) -> CellError:  # fmt: skip
    values = {"table": "t", "fixed": True, "quantised": True, **changes}
    return CellError(
        cell=f"{name}/cpu/{pass_}",
        environment=name,
        device="cpu",
        pass_=pass_,
        precision=Precision.INT8,
        sample=sample(nmse),
        placement=placed.name,
        **values,  # type: ignore[arg-type]
    )


def kinds(cells: list[CellError], simulations: dict[tuple[str, str], float], gate: float | None = None) -> dict[str, set[Kind]]:  # fmt: skip
    head = MeasuredHead(
        head="small",
        cells=cells,
        simulations={key: sample(value, exact=True) for key, value in simulations.items()},
        gate_nmse=gate,
    )
    found: dict[str, set[Kind]] = {}
    for one in verdicts([head], "base", Rules()):
        found.setdefault(one.cell, set()).add(one.kind)
    return found


# The type of activations is a factor


def test_two_cells_that_differ_in_the_type_alone_differ_in_that_factor() -> None:
    one, other = factors(start("1.32.0"), INT8.name), factors(start("1.32.0"), UINT8.name)
    for question in EffectKind:
        assert difference(one, other, question).factors == {"type of activations"}
    assert one.values["type of activations"] == "int8"


def test_the_type_and_the_version_together_are_two_factors() -> None:
    one, other = factors(start("1.26.0"), INT8.name), factors(start("1.32.0"), UINT8.name)
    assert difference(one, other, EffectKind.ENGINE).factors == {"engine", "type of activations"}


def test_float_cells_and_old_records_have_no_such_factor_to_differ_in() -> None:
    assert "type of activations" not in factors(start("1.32.0")).values
    assert (
        "type of activations" not in factors(start("8.6.1", engine="tensorrt"), "tensorrt").values
    )
    old, new = factors(start("1.32.0"), "onnxruntime"), factors(start("1.32.0"), INT8.name)
    assert difference(old, new, EffectKind.ENGINE).factors == {"outputs of int8"}


def test_a_regression_that_comes_with_the_type_is_not_the_versions() -> None:
    change = FactorChange(factor="type of activations", baseline="int8", cell="uint8")
    one = told(
        with_verdicts(
            "old", verdict(Kind.ENGINE_REGRESSION, attribution=Attribution(factors=(change,)))
        ),
        with_verdicts(BASELINE),
    )
    assert one["fault"].startswith("no version's: the type of activations")
    assert "type of activations changed alone" in one["text"].lower()


# Saturation is named


def test_a_loss_on_a_processor_that_saturates_says_so() -> None:
    bad = with_verdicts("old", verdict(Kind.ENGINE_LOSS))
    one = told(dataclasses.replace(bad, placed=UINT8, may_saturate=True))
    assert "saturate" in one["fault"]
    assert "no VNNI" in one["text"]
    assert "activations: int8" in one["advice"]
    assert "session.x64quantprecision" in one["advice"]
    other = told(dataclasses.replace(bad, placed=UINT8, may_saturate=False))
    assert "saturate" not in " ".join(other.values())


def test_a_loss_that_others_have_too_is_not_put_down_to_saturation() -> None:
    bad = with_verdicts("old", verdict(Kind.ENGINE_LOSS))
    arm = with_verdicts("arm", verdict(Kind.ENGINE_LOSS))
    one = told(dataclasses.replace(bad, placed=UINT8, may_saturate=True), arm)
    assert "saturate" not in " ".join(one.values())


# Layers that the placement leaves in float


def share(integer: int, total: int, placed: int) -> IntegerShare:
    return IntegerShare(
        integer_macs=integer, total_macs=total, float_layers=(), placed_float_macs=placed,
        placed_float=("last",) if placed else (),
    )  # fmt: skip


def test_what_is_kept_leaves_out_what_the_placement_never_offered() -> None:
    assert share(99, 100, 1).kept == 1.0
    assert share(99, 100, 1).ratio == 0.99
    assert share(49, 100, 1).kept == 49 / 99
    # Nothing is left that could show a fallback: it may be one all the same, if it is better than simulated.
    assert share(0, 100, 100).kept == 0.0
    assert share(0, 100, 0).kept == 0.0
    assert share(0, 0, 0).kept == 0.0


def test_a_baseline_with_float_heads_has_not_fallen_back() -> None:
    """Else its regressions would ask for more proof, and be better than 'its scales allow'."""
    whole = cell("base", 0.004, UINT8, integer_share=share(99, 100, 1).kept)
    worse = cell("new", 0.0060, UINT8, integer_share=1.0)
    simulations = {(UINT8.name, "t"): 0.0062}
    assert Kind.ENGINE_REGRESSION not in kinds(
        [dataclasses.replace(whole, integer_share=0.5), worse], simulations
    ).get("new/cpu/int8", set())
    found = kinds([dataclasses.replace(whole, sample=sample(0.0058)), dataclasses.replace(worse, sample=sample(0.0068))], simulations)  # fmt: skip
    assert found["new/cpu/int8"] >= {Kind.ENGINE_REGRESSION}


# One scale a weight


def test_per_tensor_is_judged_against_a_scale_a_channel_with_the_same_table() -> None:
    cells = [cell("base", 0.02, PER_TENSOR), cell("base", 0.004, INT8, "int8-c")]
    simulations = {(PER_TENSOR.name, "t"): 0.02, (INT8.name, "t"): 0.004}
    found = kinds(cells, simulations)
    assert found["base/cpu/int8"] == {Kind.PER_TENSOR_WEIGHTS}
    assert found["base/cpu/int8-c"] == {Kind.OK}


def test_a_better_table_in_another_placement_is_no_better_table() -> None:
    """The limit is of one placement: what per-tensor weights cost is not the calibration's."""
    cells = [cell("base", 0.02, PER_TENSOR)]
    found = kinds(cells, {(PER_TENSOR.name, "t"): 0.02, (INT8.name, "u"): 0.001})
    assert found["base/cpu/int8"] == {Kind.OK}


def test_per_tensor_that_costs_nothing_is_not_told() -> None:
    cells = [cell("base", 0.004, PER_TENSOR)]
    simulations = {(PER_TENSOR.name, "t"): 0.004, (INT8.name, "t"): 0.0039}
    assert kinds(cells, simulations)["base/cpu/int8"] == {Kind.OK}


def test_implicit_int8_is_compared_with_its_twin_and_not_with_per_tensor_weights() -> None:
    tensorrt = Placed(engine="tensorrt")
    other = dataclasses.replace(tensorrt, weights=Weights.PER_TENSOR)
    cells = [
        cell("base", 0.008, tensorrt, "implicit", implicit=True),
        cell("base", 0.004, tensorrt, "explicit"),
        cell("base", 0.0081, other, "per-tensor"),
    ]
    found = kinds(cells, {(tensorrt.name, "t"): 0.004, (other.name, "t"): 0.0081})
    assert Kind.IMPLICIT_REGRESSION in found["base/cpu/implicit"]
