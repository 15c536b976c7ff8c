"""How much an answer matters in one word: what fails before what is undecided, before how bad it is."""

from typing import Any

import pytest

from trt_matrix.core.answer import BEARABLE, BOXES, Answer, Finding
from trt_matrix.core.answers.degree import degree, how_sure, is_open, state
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind

NONE, HARMLESS, VISIBLE, SEVERE = Severity


def found(kind: Kind = Kind.ENGINE_LOSS, **changes: Any) -> Finding:
    return Finding(kind=kind, fault="", text="", advice="", environments=(), **changes)


def told(*findings: Finding, severity: Severity = NONE, **changes: Any) -> Answer:
    values: dict[str, Any] = {
        "head": "small", "fault": "somebody's", "findings": findings, "text": "", "advice": "",
        "confidence": "", "passed": None, "severity": severity,
    }  # fmt: skip
    return Answer(**(values | changes))


OPEN, LOSS = found(Kind.INCONCLUSIVE), found()
BEATEN = found(Kind.INCONCLUSIVE, beaten=True)


@pytest.mark.parametrize(
    ("answer", "one_state", "one_degree"),
    [
        (None, "none", "not known"),
        (told(clean=True), "clean", "no harm"),
        (told(), "none", "no harm seen"),
        (told(passed=True), "none", "no harm seen"),
        # A gate that fails is severe, however little is lost.
        (told(OPEN, passed=False, severity=SEVERE), "severe", "severe"),
        (told(found(fails=True), severity=SEVERE), "severe", "severe"),
        # What is not decided is not called bad yet, unless a layer was seen to do it.
        (told(OPEN, severity=SEVERE), "open", "not decided"),
        (told(OPEN, LOSS), "open", "not decided"),
        (told(OPEN, severity=SEVERE, fault="a layer's: Resize"), "severe", "severe"),
        (told(OPEN, severity=VISIBLE, fault="a layer's: Resize"), "visible", "visible"),
        # A loss that is known leads, and what else is open does not take it back.
        (told(LOSS, OPEN, severity=SEVERE), "severe", "severe"),
        (told(LOSS, OPEN, severity=VISIBLE), "visible", "visible"),
        (told(LOSS, OPEN, severity=HARMLESS), "open", "not decided"),
        (told(LOSS, severity=HARMLESS), "harmless", "harmless"),
        (told(LOSS, BEATEN, severity=HARMLESS), "harmless", "harmless"),
        (told(LOSS, severity=HARMLESS, confidence="not decided"), "open", "not decided"),
        (told(severity=HARMLESS, clean=True), "clean", "harmless"),
        # An error of which nobody knows whether it matters is neither harm nor none.
        (told(unseen=(BOXES,)), "none", "not known"),
        (told(unseen=("speed", BEARABLE)), "none", "not known"),
        (told(unseen=("speed",)), "none", "no harm seen"),
        (told(unseen=(BOXES,), passed=True), "none", "no harm seen"),
        (told(unseen=(BOXES,), severity=VISIBLE), "visible", "visible"),
        # A table that another one beats leads only where all else was looked at.
        (told(BEATEN, severity=VISIBLE), "open", "not decided"),
        (told(BEATEN, severity=VISIBLE, unseen=(BOXES,)), "visible", "visible"),
    ],
)
def test_the_word_of_every_answer(answer: Answer | None, one_state: str, one_degree: str) -> None:
    assert (state(answer), degree(answer)) == (one_state, one_degree)


def test_how_sure_it_is_is_told_where_the_fault_does_not_say_it() -> None:
    assert how_sure(told(confidence="not decided")) == ""
    assert how_sure(told(confidence="5 builds of each")) == "5 builds of each"


def test_what_another_table_would_settle_leaves_nothing_open() -> None:
    assert is_open((LOSS, OPEN))
    assert not is_open((LOSS, BEATEN))
    assert not is_open(())
