"""One range on both sides of what only moves values: found, carried into implicit int8, written as a cache, measured."""

import dataclasses
import functools
import json
import math
from typing import Any

import onnx
import pytest

from tests.unit import h200, judgements
from tests.unit.only_fields import only_fields
from tests.unit.small_networks import resized
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.simulated import Simulated
from trt_matrix.core.answers.strips import best_fix
from trt_matrix.core.answers.wanting import why_mix
from trt_matrix.core.cells import Cell, Pass, Precision, TableSource
from trt_matrix.core.diagnosis.record import (
    LEAST_DB,
    Diagnosis,
    EngineLoss,
    ImplicitBuilds,
    Resizing,
    SearchRecord,
)
from trt_matrix.core.fix import Basis, Fix, FixKind
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.scale_groups import equal_ranges
from trt_matrix.core.records import Record
from trt_matrix.core.tables.table import from_json
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.diagnosis.during_run import layers_to_hold
from trt_matrix.report.fix_lines import on_card

judged = functools.cache(h200.judged)
MIXED, EQUAL = (h200.DATA.parent / f"h200-{name}" for name in ("mixed", "equal"))


def test_what_is_resized_gets_the_range_of_its_input() -> None:
    assert equal_ranges(resized(), {"image": 1, "a": 4, "up": 3, "head": 9}) == {"up": 4}


def test_what_is_joined_gets_the_range_of_the_whole() -> None:
    amax = {"image": 1, "a": 4, "up": 3, "wide": 2, "side_up": 2, "both": 5, "head": 9}
    assert equal_ranges(resized(joined=True), amax) == dict.fromkeys(
        ("a", "up", "wide", "side_up"), 5
    )


@pytest.mark.parametrize(
    "amax",
    [
        {"image": 1, "a": 4, "up": 4},  # equal
        {"image": 1, "up": 3},  # nothing to be made equal to
        {"image": 1, "a": 4},  # not in the table, so not carried
    ],
)
def test_nothing_else_is_changed(amax: dict[str, float]) -> None:
    assert equal_ranges(resized(), amax) == {}


def test_a_cubic_resizing_overshoots_and_keeps_its_own() -> None:
    assert equal_ranges(resized("cubic"), {"image": 1, "a": 4, "up": 5}) == {}


def test_the_h200_lost_two_heads_by_unequal_ranges_and_none_by_equal_ones() -> None:
    """Same table, same choice of int8 resizings: only the ranges on their two sides differ."""
    found = {}
    for folder in (MIXED, EQUAL):
        for result in judged(folder).cells:
            found[folder.name, result.cell.pass_.name] = {
                head.head: head.error.sqnr_db or math.nan for head in result.heads
            }
    lost = found["h200-mixed", "int8-implicit-shared-file"]
    held = found["h200-mixed", "int8-implicit-mixed"]
    equal = found["h200-equal", "int8-implicit-shared-file"]
    qdq = found["h200-equal", "int8-shared-file"]
    assert lost["medium"] < 17
    assert lost["small"] < 15
    for head in ("large", "medium", "small"):
        assert held[head] > qdq[head] - 0.1
        assert equal[head] > qdq[head] - 0.1


def test_the_ranges_that_ran_there_are_those_that_are_made_here() -> None:
    (table,) = (
        from_json(path.read_text()) for path in (EQUAL / "tables").glob("7301ca8fe2ff.json")
    )
    form = canonical(onnx.load(h200.ROOT / "demo" / "digits3.onnx"))
    carried = {
        name: value
        for result in map(Record.model_validate, json.loads((EQUAL / "records.json").read_text()))
        for measurement in result.measurements
        for name, value in measurement.carried.items()
    }
    assert carried == equal_ranges(form, table.amax)
    assert set(carried) == {"neck16/reduce", "neck16/upsample", "neck8/reduce", "neck8/upsample"}
    # A cell's facts have them, and what was held; a cell where neither was so has neither.
    facts = {
        (folder.name, cell.cell.pass_.name): cell.facts
        for folder in (MIXED, EQUAL)
        for cell in judged(folder).cells
    }
    assert facts["h200-equal", "int8-implicit-shared-file"]["carried"] == carried
    held = facts["h200-mixed", "int8-implicit-mixed"]
    assert held["held"] == ["neck16/upsample", "neck8/upsample"]
    assert "carried" not in held
    assert not {"carried", "held"} & facts["h200-mixed", "int8-implicit-shared-file"].keys()


def test_the_verdict_on_the_h200_is_the_implicit_scales_and_the_first_fix_holds_the_resizings() -> (
    None
):
    judgement = judged(MIXED)
    for head in ("medium", "small"):
        (answer,) = [answer for answer in judgement.answers if answer.head == head]
        assert answer.findings[0].kind is Kind.IMPLICIT_REGRESSION
    first = judgement.fixes[0]
    assert (first.kind, first.basis) == (FixKind.LAYERS, Basis.MEASURED)
    assert first.cells == ("trt-8.5.3.1/gpu:*/int8-implicit-mixed",)
    # With equal ranges nothing of the kind is said.
    kinds = {finding.kind for finding in judged(EQUAL).findings}
    assert Kind.IMPLICIT_REGRESSION not in kinds


CELL = "trt-8.5.3.1/gpu:*/int8-implicit-shared-file"


def builds(cell: str = CELL, kept: float = 14.7, **changes: Any) -> ImplicitBuilds:
    """Builds with a table that ran the resizing in int8; Q/DQ would keep 22.5 dB."""
    implicit_builds = ImplicitBuilds(
        table="entropy2",
        cells=(cell,),
        in_int8=("up",),
        held=(),
        measured_db={"small": (kept, kept + 0.2)},
        qdq_db={"small": 22.5},
        given_on_db={"small": 14.6},
    )
    return implicit_builds.model_copy(update=changes)


def loss(*ways: ImplicitBuilds) -> EngineLoss:
    return EngineLoss(
        heads=("small",),
        why="integers given on",
        layers=("up",),
        resizings=(
            Resizing(layer="up", source="a", target="b", source_range=9.0, target_range=6.0),
        ),
        ways=ways or (builds(),),
        held_db={"small": 22.6},
        images=16,
        sentence="",
        elsewhere=None,
    )


def diagnosis(engine_loss: EngineLoss | None) -> Diagnosis:
    return only_fields(
        Diagnosis,
        engine_loss=engine_loss,
        search=only_fields(SearchRecord, chosen=None, best=None),
        table_sha256="none of these",
        placement="",
        mix=None,
    )


def rows(judgement: Judgement, engine_loss: EngineLoss) -> list[Fix]:
    told = with_fixes(dataclasses.replace(judgement, diagnosis=diagnosis(engine_loss)), Simulated())
    return [fix for fix in told.fixes if fix.kind is FixKind.RANGES]


def test_a_loss_by_two_ranges_is_mended_by_one() -> None:
    judgement = judged(MIXED)
    (fix,) = rows(judgement, loss())
    assert fix.needed
    assert best_fix([fix], "small") is fix
    assert fix.basis is Basis.SIMULATED
    assert "14.7 to 22.5 dB" in fix.why
    assert "in tables that lose so, the two differ by up to 1.50 times" in fix.why
    assert "--trt 8.5.3.1" in fix.command
    assert not rows(judgement, loss().model_copy(update={"resizings": ()}))


def sound(*cells: Cell) -> Judgement:
    """Cells whose gates hold, of which no test says anything: 14 dB, and a gate of 10."""
    return judgements.judgement(
        [
            judgements.cell_result(
                cell.environment,
                cell.pass_,
                [judgements.head("small", 0.04, gate_sqnr_db=10)],
                device=cell.device,
                version="8.5.3.1",
            )
            for cell in cells
        ]
    )


def test_a_table_that_loses_so_is_told_of_where_another_is_in_use_and_all_gates_hold() -> None:
    engine_loss = loss(
        builds(SHARED.id, 22.4), builds(OWN.id, table_sha256="12ab34cd56ef" + 52 * "0")
    )
    assert not with_fixes(sound(SHARED, OWN), Simulated()).fixes
    (fix,) = rows(sound(SHARED, OWN), engine_loss)
    assert fix.against == OWN.id
    assert fix.what == "one range on both sides of up in tables/12ab34cd56ef.json"
    assert "migrate tables/12ab34cd56ef.json --to cache --trt 8.5.3.1" in fix.command
    # It is no remedy of a head that nothing is wrong with.
    mended = dataclasses.replace(sound(SHARED, OWN), fixes=(fix,))
    assert not fix.needed
    assert best_fix(mended.fixes) is best_fix(mended.fixes, "small") is None
    assert on_card(mended, "small") == ()
    # Of a diagnosis that does not say which table it was, the cell's own does.
    known = Simulated(tables={OWN.id: "98" * 32})
    judgement = dataclasses.replace(sound(OWN), diagnosis=diagnosis(loss(builds(OWN.id))))
    (fix,) = with_fixes(judgement, known).fixes
    assert fix.what.endswith("in tables/989898989898.json")


def test_only_what_ran_in_int8_without_being_held_and_lost_is_mended() -> None:
    mixed = implicit_cell(TableSource.SHARED, mixed=True)
    for ways in (
        builds(mixed.id),
        builds(SHARED.id, 21.6),  # less than is asked about
        builds(SHARED.id, in_int8=("another",)),
        builds("trt-10.0/gpu:*/int8-implicit-shared-file"),  # not of this run
    ):
        assert not rows(sound(SHARED, mixed), loss(ways))


def test_what_one_version_loses_is_not_told_of_another_with_the_same_table() -> None:
    other = dataclasses.replace(SHARED, environment="trt-8.6.0")
    both = builds(cells=(SHARED.id, other.id), measured_db={"small": (22.3, 14.7)})
    (fix,) = rows(sound(SHARED, other), loss(both))
    assert fix.against == other.id
    lose = builds(cells=(SHARED.id, other.id), measured_db={"small": (16.0, 14.7)})
    (fix,) = rows(sound(SHARED, other), loss(lose))
    assert fix.now.sqnr_db == {"small": 14.7}, "the worst, where neither is the baseline"
    assert "In trt-8.6.0 small 14.7 to 22.5 dB" in fix.why
    assert "a gain in 2 environments" in fix.why
    based = dataclasses.replace(sound(SHARED, other), baseline=SHARED.environment)
    (fix,) = rows(based, loss(lose))
    assert fix.now.sqnr_db == {"small": 16.0}


def test_by_how_much_the_ranges_differ_is_that_of_the_farthest_either_way() -> None:
    second = Resizing(layer="up2", source="c", target="d", source_range=4.0, target_range=10.0)
    engine_loss = loss(builds(SHARED.id, in_int8=("up", "up2")))
    engine_loss = engine_loss.model_copy(update={"resizings": (*engine_loss.resizings, second)})
    (fix,) = rows(sound(SHARED), engine_loss)
    assert "up to 2.50 times" in fix.why
    assert fix.what.startswith("one range on both sides of up and up2")


# Which layers are held for it


def implicit_cell(source: TableSource, *, mixed: bool = False) -> Cell:
    algorithm = "file" if source is TableSource.SHARED else "entropy2"
    pass_ = Pass(
        precision=Precision.INT8, source=source, algorithm=algorithm, implicit=True, mixed=mixed
    )
    return Cell(environment="trt-8.5.3.1", device="gpu:*", pass_=pass_)


SHARED, OWN = (implicit_cell(one) for one in (TableSource.SHARED, TableSource.OWN))


def test_a_head_is_lost_from_one_decibel_on() -> None:
    assert builds(kept=22.5 - LEAST_DB).lost() == ("small",)
    assert builds(kept=22.5 - LEAST_DB + 0.01).lost() == ()
    # One build of several is enough; what keeps all, or was not measured, loses nothing.
    assert builds(measured_db={"small": (22.5, None, 20.0)}).loses("small")
    assert not builds(measured_db={"small": (None, None)}).loses("small")
    assert not builds().loses("large")
    assert builds(qdq_db={"small": None}).loses("small"), "exact by Q/DQ"


@pytest.mark.parametrize(
    ("ways", "held"),
    [
        ((builds(SHARED.id),), ("up",)),
        # It is the calibrator's own table that loses.
        ((builds(SHARED.id, 22.4), builds(OWN.id)), ()),
        ((builds(OWN.id),), ()),
        # The shared one loses in builds that ran the resizing in floating point: not by it.
        ((builds(SHARED.id, in_int8=()), builds(OWN.id)), ()),
        # What was held already is no reason to hold it.
        ((builds(implicit_cell(TableSource.SHARED, mixed=True).id),), ()),
    ],
)
def test_layers_are_held_where_the_shared_table_loses_by_them(
    ways: tuple[ImplicitBuilds, ...], held: tuple[str, ...]
) -> None:
    mixed = implicit_cell(TableSource.SHARED, mixed=True)
    assert layers_to_hold(diagnosis(loss(*ways)), [SHARED, OWN, mixed]) == held


def test_of_several_resizings_those_are_held_that_the_losing_builds_ran() -> None:
    engine_loss = loss(builds(SHARED.id), builds(OWN.id, in_int8=("up", "up2")))
    engine_loss = engine_loss.model_copy(update={"layers": ("up", "up2")})
    assert layers_to_hold(diagnosis(engine_loss), [SHARED, OWN]) == ("up",)
    # Where no resizing is to blame, builds do not say which of the layers it was.
    engine_loss = engine_loss.model_copy(update={"resizings": (), "why": "builds differ"})
    assert layers_to_hold(diagnosis(engine_loss), [SHARED, OWN]) == ("up", "up2")
    assert layers_to_hold(diagnosis(engine_loss), [OWN]) == ()
    assert layers_to_hold(diagnosis(None), [SHARED]) == ()


@pytest.mark.parametrize(
    ("pass_", "wanted"),
    [
        (SHARED.pass_, True),
        (OWN.pass_, True),
        (dataclasses.replace(SHARED.pass_, implicit=False), True),
        (dataclasses.replace(OWN.pass_, implicit=False), False),
        (implicit_cell(TableSource.SHARED, mixed=True).pass_, False),
        (Pass(precision=Precision.FP16), False),
    ],
)
def test_layers_are_looked_for_where_implicit_int8_fails_with_any_table(
    pass_: Pass, *, wanted: bool
) -> None:
    failing = judgements.cell_result("trt", pass_, [judgements.head("small", 0.5, gate_sqnr_db=20)])
    told = why_mix(judgements.judgement([failing]))
    assert (told == f"small breaks its gate in {failing.cell.id}") is wanted
    assert (told is None) is not wanted
    fine = judgements.cell_result("trt", pass_, [judgements.head("small", 1e-4, gate_sqnr_db=20)])
    assert why_mix(judgements.judgement([fine])) is None
