"""Layers in float as a way out: measured, predicted, held by an option, or not kept."""

from dataclasses import replace

import pytest

from tests.unit.fixes import (
    IMPLICIT,
    IMPLICIT_MIXED,
    LAYERS,
    MIXED,
    PLACED,
    TABLE,
    boxes,
    cell,
    diagnosis,
    only,
    record,
    told,
)
from tests.unit.judgements import BASELINE
from trt_matrix.core.fix import Basis, FixKind
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import LayerPrecisions, LayerReport
from trt_matrix.core.network.network_map import NetworkMap
from trt_matrix.core.verdicts.verdict import Kind, Verdict

# Layers in float


def test_layers_in_float_are_measured_beside_what_was_predicted() -> None:
    judgement = told(
        cell(BASELINE, whole=boxes(20, 0.1)),
        cell(BASELINE, MIXED, 22.4, whole=boxes(2, 0.01)),
        errors={
            (replace(PLACED, in_float=_in_float()).name, TABLE): {"small": 10**-2.25, "large": 1e-3}
        },
        diagnosis=diagnosis(),
    )
    fix = only(judgement)
    assert (fix.kind, fix.basis) == (FixKind.LAYERS, Basis.MEASURED)
    assert fix.command == 'quantisation: {exclude: ["stem/Conv", "small/Conv"]}'
    assert fix.predicted is not None
    assert fix.predicted.sqnr_db["small"] == pytest.approx(22.5)
    assert fix.predicted.ap_drop == pytest.approx(0.01)
    assert fix.reaches.sqnr_db["small"] == pytest.approx(22.4)


def _in_float() -> str:
    return cell(BASELINE, MIXED).placed.in_float  # type: ignore[union-attr]


def test_what_was_predicted_of_another_set_is_not_told_of_this_one() -> None:
    other = diagnosis(chosen=record(25, 0, ("neck",)), confirmed=record(25, 0, ("neck",)))
    judgement = told(cell(BASELINE), cell(BASELINE, MIXED, 22), diagnosis=other)
    (measured,) = [fix for fix in judgement.fixes if fix.basis is Basis.MEASURED]
    assert measured.predicted is None


def test_layers_that_gain_decibels_and_lose_precision_are_no_fix() -> None:
    judgement = told(
        cell(BASELINE, whole=boxes(10, 0.02)), cell(BASELINE, MIXED, 22, whole=boxes(10, 0.08))
    )
    assert judgement.fixes == ()
    assert "no fix" in judgement.no_fix[0]


def _report(*ran_in_int8: str, cells: tuple[str, ...]) -> LayerReport:
    way = LayerPrecisions(cells=cells, precisions=dict.fromkeys(ran_in_int8, INT8))
    return LayerReport(network=NetworkMap(heads=("small",), parts=(), inputs=()), ways=(way,))


def test_a_version_that_did_not_keep_them_in_float_is_told() -> None:
    mixed = cell(BASELINE, MIXED, 20)
    judgement = told(
        cell(BASELINE), mixed, layers=_report("stem/Conv", "else/Conv", cells=(mixed.cell.id,))
    )
    assert f"{BASELINE} ran stem/Conv in int8 all the same" in only(judgement).why
    honest = told(cell(BASELINE), mixed, layers=_report("else/Conv", cells=(mixed.cell.id,)))
    assert "all the same" not in only(honest).why


def test_where_they_were_not_kept_and_nothing_is_gained_that_is_why() -> None:
    mixed = cell(BASELINE, MIXED, 16.1)
    judgement = told(cell(BASELINE), mixed, layers=_report("stem/Conv", cells=(mixed.cell.id,)))
    assert judgement.fixes == ()
    assert judgement.no_fix == (
        f"In {mixed.cell.id} nothing is gained by 2 layers in float: it ran stem/Conv in int8 all the same.",
    )


def test_a_broken_output_is_no_fix() -> None:
    broken = Verdict(kind=Kind.BROKEN_OUTPUT, cell="c", head="small", why="all zero")
    judgement = told(cell(BASELINE), cell(BASELINE, MIXED, 90, verdicts=[broken]))
    assert judgement.fixes == ()


def test_implicit_layers_are_held_by_the_options_of_the_environment() -> None:
    judgement = told(cell("trt", IMPLICIT), cell("trt", IMPLICIT_MIXED, 22))
    assert only(judgement).command == 'options: {fp32_layers: ["stem/Conv", "small/Conv"]}'
    assert told(cell("trt", IMPLICIT), cell("trt", MIXED, 22)).fixes == ()


def test_an_environment_that_holds_layers_shows_what_that_does() -> None:
    held = {"probed": {"engine": {"options": {"fp32_layers": ["up/Resize"]}}}}
    judgement = told(
        cell("trt", IMPLICIT, version="8.6.0"),
        cell("trt-held", IMPLICIT, 22, version="8.6.0", facts=held),
    )
    fix = only(judgement)
    assert (fix.kind, fix.command) == (FixKind.LAYERS, 'options: {fp32_layers: ["up/Resize"]}')
    other = told(
        cell("trt", IMPLICIT, version="8.6.0"),
        cell("trt-held", IMPLICIT, 22, version="8.5.0", facts=held),
    )
    assert other.fixes == ()


def test_layers_that_no_engine_ran_are_simulated_on_the_images_that_did_not_choose_them() -> None:
    fix = only(told(cell(BASELINE, whole=boxes(20, 0.1)), diagnosis=diagnosis()))
    assert (fix.kind, fix.basis, fix.cells) == (FixKind.LAYERS, Basis.SIMULATED, ())
    assert (fix.now.sqnr_db["small"], fix.reaches.sqnr_db["small"]) == (16.5, 22.0)
    assert (fix.now.lost, fix.reaches.lost) == (10, 1)
    assert fix.reaches.latency_s is None
    assert "64 images that it was not chosen on" in fix.why


def test_a_set_that_other_images_did_not_confirm_does_not_hold() -> None:
    fix = only(
        told(
            cell(BASELINE),
            diagnosis=diagnosis(
                confirmed=record(19, 1, LAYERS, failing=True), confirmed_holds=False
            ),
        )
    )
    assert fix.reaches.holds is False
    assert "a limit does not hold there" in fix.why


def test_where_no_set_is_enough_the_best_is_told_as_that() -> None:
    fix = only(
        told(
            cell(BASELINE),
            diagnosis=diagnosis(
                chosen=None, confirmed=None, best=record(18.5, 5, LAYERS, failing=True)
            ),
        )
    )
    assert fix.reaches.holds is False
    assert "no set that was tried keeps every limit" in fix.why
    assert "the 64 images that it was chosen on" in fix.why


def test_a_diagnosis_of_another_table_or_placement_says_nothing_of_this_cell() -> None:
    for changed in ({"table_sha256": "cd" * 32}, {"placement": "tensorrt"}):
        assert told(cell(BASELINE), diagnosis=diagnosis(**changed)).fixes == ()
