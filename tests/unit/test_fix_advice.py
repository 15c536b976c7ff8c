"""What a fix makes of the advice of a head."""

import pytest

from tests.unit.fixes import (
    MIXED,
    cell,
    told,
)
from tests.unit.judgements import BASELINE
from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.verdict import Kind


def advised(*, fixed_db: float = 23.0, kind: Kind = Kind.INT8_LIMIT) -> tuple[Judgement, str]:
    """A head with a finding and the advice to look for layers, beside a cell with layers in float."""
    look = "Try which layers to keep in float: trt-matrix diagnose."
    finding = Finding(kind=kind, fault="f", text="t", advice=look, environments=(BASELINE,))
    answer = Answer(
        head="small", fault="f", findings=(finding,), text="t", advice=look, confidence="",
        passed=False,
    )  # fmt: skip
    judgement = told(cell(BASELINE), cell(BASELINE, MIXED, fixed_db), answers=(answer,))
    return judgement, look


def test_8_bits_own_loss_gets_the_layers_that_were_found_to_help() -> None:
    judgement, _ = advised()
    (answer,) = judgement.answers
    assert answer.advice == (
        "Keep 2 layers in float: stem/Conv and small/Conv: 16.0 → 23.0 dB (measured)."
    )
    assert answer.findings[0].advice == answer.advice


@pytest.mark.parametrize(
    ("fixed_db", "kind"),
    [
        (16.01, Kind.INT8_LIMIT),
        (16.49, Kind.INT8_LIMIT),
        (15.0, Kind.INT8_LIMIT),
        (23.0, Kind.CALIBRATION_PROBLEM),
    ],
    ids=["gains nothing", "nobody would see it", "loses", "another cause"],
)
def test_what_does_not_help_or_is_of_another_cause_leaves_the_advice(
    fixed_db: float, kind: Kind
) -> None:
    judgement, look = advised(fixed_db=fixed_db, kind=kind)
    assert (judgement.answers[0].advice, judgement.answers[0].findings[0].advice) == (look, look)


def test_where_the_gate_fails_all_the_same_there_is_more_to_look_for() -> None:
    judgement, look = advised(fixed_db=18.0)
    (answer,) = judgement.answers
    assert answer.advice.startswith("Keep 2 layers in float: ")
    assert answer.advice.endswith(f"16.0 → 18.0 dB (measured). {look}")
