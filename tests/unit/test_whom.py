"""Whose fault it is over all heads, and whom to send it to: every kind of finding to who can mend it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit import h200
from tests.unit.judgements import SHARED, cell_result, head, judgement
from tests.unit.test_headline import fact, fix
from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.strips import Strip
from trt_matrix.core.answers.whom import (
    CALIBRATOR,
    ENGINES,
    EXPORTER,
    FIXERS,
    QUANTISER,
    UNDECIDED,
    send_to,
    whose,
)
from trt_matrix.core.fix import Basis, FixKind
from trt_matrix.core.severity import Severity
from trt_matrix.core.shares import Shares
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind, Verdict

CELL = "v1/cpu/int8-shared-entropy"
V1 = cell_result("v1", SHARED, [head("small", 0.04)])


def found(kind: Kind, **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "kind": kind, "fault": "somebody's", "text": "Seen.", "advice": "", "environments": ("v1",),
        "cells": (V1.cell.id,),
    }  # fmt: skip
    return Finding(**(values | changes))


def answered(*findings: Finding, **changes: Any) -> Answer:
    values: dict[str, Any] = {
        "head": "small", "fault": "somebody's", "findings": findings, "text": "", "advice": "",
        "confidence": "", "passed": None, "severity": Severity.SEVERE,
    }  # fmt: skip
    return Answer(**(values | changes))


def sent(
    kind: Kind,
    *,
    answer: Answer | None = None,
    whole: Answer | None = None,
    fixes: tuple[FixKind, ...] = (),
    **changes: Any,
) -> str:
    """Returns to whom a finding of this kind goes, in a matrix of two versions of two engines."""
    finding = found(kind, **changes)
    cells = [
        replace(cell_result("v0", SHARED, [head("small")]), versions={"ONNX Runtime": "1.22"}),
        replace(V1, versions={"TensorRT": "10.4", "CUDA": "12"}),
    ]
    made = judgement(cells, heads=("small",), baseline="v0")
    helps = tuple(replace(fix(0.2, 0.02, Basis.MEASURED), kind=kind) for kind in fixes)
    return send_to(
        replace(made, fixes=helps), answer or answered(finding), finding, whole or answered()
    )


TENSORRT = "the maintainers of TensorRT, with a ticket (trt-matrix ticket)"


def parts(limit: float, table: float, engine: float, cell: str = V1.cell.id) -> Shares:
    return Shares(cell=cell, limit=limit, table=table, engine=engine)


@pytest.mark.parametrize("kind", sorted(ENGINES - {Kind.FP32_REGRESSION}))
def test_what_an_engine_did_goes_to_its_maintainers(kind: Kind) -> None:
    assert sent(kind) == TENSORRT
    assert sent(kind, environments=("v0",)).startswith("the maintainers of ONNX Runtime, ")


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (Kind.CALIBRATION_PROBLEM, CALIBRATOR),
        (Kind.INT8_LIMIT, QUANTISER),
        (Kind.PER_TENSOR_WEIGHTS, QUANTISER),
        (Kind.NOTHING_QUANTISED, QUANTISER),
        (Kind.FP32_REGRESSION, f"{TENSORRT}, or {EXPORTER}"),
        (Kind.NOT_COMPARABLE, ""),
    ],
)
def test_each_kind_goes_to_who_can_mend_it(kind: Kind, to: str) -> None:
    assert sent(kind) == to


@pytest.mark.parametrize(
    ("shares", "to"),
    [
        (parts(0.5, 0.3, 0.2), QUANTISER),
        (parts(0.3, 0.5, 0.2), CALIBRATOR),
        (parts(0.2, 0.3, 0.5), TENSORRT),
        (None, QUANTISER),
    ],
)
def test_a_loss_that_no_test_explains_goes_to_whom_its_largest_part_is(
    shares: Shares | None, to: str
) -> None:
    kind = Kind.UNEXPLAINED_LOSS
    assert sent(kind, answer=answered(shares=shares)) == to
    # Shares of a table say nothing of a finding that a test explains.
    assert sent(Kind.ENGINE_LOSS, answer=answered(shares=shares)) == TENSORRT


def test_a_broken_output_is_the_tables_only_in_the_cell_whose_parts_are_known() -> None:
    broken = Kind.BROKEN_OUTPUT
    assert sent(broken, answer=answered(shares=parts(0.1, 0.8, 0.1))) == CALIBRATOR
    assert sent(broken, answer=answered(shares=parts(0.1, 0.8, 0.1, cell="another"))) == TENSORRT


def test_the_boxes_of_all_heads_together_are_nobodys_to_send() -> None:
    assert sent(Kind.UNEXPLAINED_LOSS, answer=answered(head=WHOLE_NETWORK)) == ""
    assert sent(Kind.INT8_LIMIT, answer=answered(head=WHOLE_NETWORK)) == QUANTISER


def test_where_nothing_is_wrong_there_is_nobody_to_send_it_to() -> None:
    clean = answered(clean=True)
    assert sent(Kind.ENGINE_LOSS, whole=clean) == "nobody: there is nothing to do"
    made = judgement([V1], heads=("small",), baseline="v1")
    assert send_to(made, None, found(Kind.ENGINE_LOSS), answered()) == ""
    assert send_to(made, answered(), None, answered()) == ""


def test_a_layer_is_the_quantisers_and_the_choice_the_engines() -> None:
    chosen = answered(fault="a layer's: Resize in int8")
    assert sent(Kind.INCONCLUSIVE, answer=chosen) == f"{QUANTISER}; {TENSORRT} for the choice"
    custom = answered(fault="a custom layer's: Decode in int8")
    assert sent(Kind.INCONCLUSIVE, answer=custom) == "whoever wrote the custom layer"


@pytest.mark.parametrize("kind", FIXERS)
def test_before_it_is_decided_it_goes_to_who_can_do_what_helps(kind: FixKind) -> None:
    open_ = Kind.INCONCLUSIVE
    visible, harmless = (answered(severity=one) for one in (Severity.VISIBLE, Severity.HARMLESS))
    to = f"{FIXERS[kind]}, for the fix; nobody else before it is decided"
    assert sent(open_, whole=visible, fixes=(kind,)) == to
    assert sent(open_, whole=harmless, fixes=(kind,)) == UNDECIDED, "nobody would see it"
    assert sent(open_, whole=visible) == UNDECIDED
    assert sent(open_, whole=visible, fixes=(FixKind.VERSION,)) == UNDECIDED


def test_a_table_that_covers_too_little_is_whose_table_it_is() -> None:
    assert sent(Kind.NOT_COMPARABLE, fault="the table of v1") == CALIBRATOR
    assert sent(Kind.NOT_COMPARABLE, text="In v1 its table covers 3 of 9 tensors.") == CALIBRATOR


def test_without_a_version_it_is_the_engine() -> None:
    made = judgement([V1], heads=("small",), baseline="v1")
    told = send_to(made, answered(), found(Kind.ENGINE_LOSS), answered())
    assert told == "the maintainers of the engine, with a ticket (trt-matrix ticket)"
    everywhere = found(Kind.ENGINE_LOSS, environments=())
    named = replace(made, cells=(replace(V1, versions={"TensorRT": "10.4"}),))
    assert send_to(named, answered(), everywhere, answered()) == TENSORRT


# Whose


def strip(head: str, fault: str, state: str = "severe", *, nothing: bool = False) -> Strip:
    return Strip(head=head, state=state, word=state, fault=fault, nothing=nothing)


WHOLE = answered(fault="the whole network's")


@pytest.mark.parametrize(
    ("told", "whose_it_is"),
    [
        ([], "the whole network's"),
        ([strip("a", "x", "clean"), strip("b", "")], "the whole network's"),
        ([strip("a", "x"), strip("b", "x")], "x"),
        ([strip("a", "x"), strip("b", "", "clean")], "x (a)"),
        ([strip("a", "x"), strip("b", "y")], "x (a); y (b)"),
        ([strip(name, name.upper()) for name in "abcd"], "A (a); B (b); 2 more"),
        ([*(strip(one, "x") for one in "abcd"), strip("e", "y")], "x (a, b, c and 1 more); y (e)"),
        ([strip("a", "layer: p"), strip("b", "layer: q")], "layer: p (a); q (b)"),
        ([strip("a", "layer: p: x"), strip("b", "layer: q: x")], "layer: p: x (a); q: x (b)"),
        ([strip("a", "layer: p"), strip("b", "table: q")], "layer: p (a); table: q (b)"),
        ([strip("a", "x"), strip("b", "dark", "none", nothing=True)], "x (a)"),
        ([strip("a", "x"), strip("b", "dark", "none")], "x (a); dark (b)"),
        ([strip("a", "x"), strip("b", "seen", "severe", nothing=True)], "x (a); seen (b)"),
        ([strip("a", "dark", "none", nothing=True)], "dark"),
    ],
)
def test_whose_it_is_names_each_fault_with_its_heads(told: list[Strip], whose_it_is: str) -> None:
    assert whose(told, WHOLE) == whose_it_is


# As a report tells it


@pytest.mark.parametrize(
    ("limit", "table", "to"),
    [
        (0.01, 1.2, "whoever calibrates"),
        (0.01, 0.02, "maintainers"),
        (1.2, 0.0, "whoever quantises"),
    ],
)
def test_a_broken_output_goes_to_whom_its_largest_part_is(
    limit: float, table: float, to: str
) -> None:
    """A table of noise made an int8 output worse than zeros: "100 % the table", and it was sent to the engine's."""
    broken = Verdict(
        kind=Kind.BROKEN_OUTPUT,
        cell="v1/cpu/int8-shared-entropy",
        head="small",
        why="worse than zeros",
    )
    bad = head("small", 1.3, limit=limit, calibration=table, verdicts=(broken,))
    told = headline(judgement([cell_result("v1", SHARED, [bad])], heads=("small",), baseline="v1"))
    assert to in fact(told, "Send to")
    assert told.strips[0].shares
    assert (told.strips[0].shares.largest == "the table") == (to == "whoever calibrates")


def test_nan_is_the_engines_whatever_another_cell_is_made_of() -> None:
    broken = Verdict(
        kind=Kind.BROKEN_OUTPUT, cell="v2/cpu/int8-shared-entropy", head="small", why="NaN"
    )
    cells = [
        cell_result("v1", SHARED, [head("small", 0.3, limit=0.01, calibration=0.28)]),
        cell_result("v2", SHARED, [head("small", None, nonfinite=9, verdicts=(broken,))]),
    ]
    told = headline(judgement(cells, heads=("small",), baseline="v1"))
    assert "maintainers" in fact(told, "Send to")


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        (FixKind.LAYERS, "whoever quantises the network, for the fix"),
        (FixKind.TABLE, "whoever calibrates, for the fix"),
        (FixKind.VERSION, "nobody before it is decided"),
    ],
)
def test_who_can_mend_it_is_told_before_it_is_decided_who_is_to_blame(
    kind: FixKind, who: str
) -> None:
    verdict = Verdict(
        kind=Kind.INCONCLUSIVE, cell="c", head="small", needs="3 more repeats",
        suspected=Kind.ENGINE_LOSS,
    )  # fmt: skip
    made = judgement(
        [cell_result("v1", SHARED, [head("small", 0.04, verdicts=(verdict,))])],
        heads=("small",),
        baseline="v1",
    )
    told = headline(replace(made, fixes=(replace(fix(0.2, 0.02, Basis.MEASURED), kind=kind),)))
    assert fact(told, "Send to").startswith(who)
    assert fact(headline(made), "Send to") == "nobody before it is decided"


def test_whose_it_is_leaves_out_heads_in_which_nothing_was_found() -> None:
    loss = Verdict(kind=Kind.ENGINE_LOSS, cell="c", head="small")
    cells = [cell_result("v1", SHARED, [head("large", 0.008), head("small", verdicts=(loss,))])]
    told = headline(judgement(cells, heads=("large", "small"), baseline="v1"))
    assert fact(told, "Whose") == "the engine's int8 kernels (small)"
    sound = [cell_result("v1", SHARED, [head("large", 0.008), head("small", 0.008)])]
    told = headline(judgement(sound, heads=("large", "small"), baseline="v1"))
    assert fact(told, "Whose") == "nothing found, but not all was seen"


def test_one_kind_of_fault_in_two_heads_is_named_once() -> None:
    assert fact(headline(h200.judged()), "Whose") == (
        "a layer's: neck8/upsample/Resize in int8 (small); neck16/upsample/Resize in int8 (medium)"
    )
