"""What stands together on the first screen agrees: of recorded runs and of random ones, whatever is in them."""

from collections import Counter

import pytest

from tests.unit import h200
from tests.unit.judgements import whole
from tests.unit.random_judgements import Draw
from trt_matrix.core.answers.findings import lead
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.undecided import PERHAPS
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.verdict import KINDS, Kind
from trt_matrix.report.html import render
from trt_matrix.report.questions import NO, YES, questions

RECORDED = ("h200", "h200-cudnn", "h200-docker", "h200-images", "h200-mixed", "h200-packages")


@pytest.mark.parametrize("name", RECORDED)
def test_of_recorded_runs(name: str) -> None:
    agree(h200.judged(h200.ROOT / "tests" / "data" / name))


def test_of_a_whole_matrix() -> None:
    agree(whole())


@pytest.mark.parametrize("seed", range(80))
def test_of_random_runs(seed: int) -> None:
    agree(Draw(seed).judgement())


def agree(made: Judgement) -> None:
    told = headline(made)
    facts = dict(told.facts)
    answers = {one.question: one for one in questions(made, told)}
    open_ = {
        (first.fault.partition(PERHAPS)[2], answer.head)
        for answer in made.answers
        if (first := lead(answer.findings, answer.unseen)) and first.kind is Kind.INCONCLUSIVE
    }
    # Said once: what to do is not in the sentence above it, nor one sentence twice.
    said = [*told.text.rstrip(".").split("; "), *told.remedy.split(". ")]
    assert max(Counter(said).values()) == 1, said
    # What is not decided is answered by nobody with no.
    for suspicion, _ in open_:
        if suspicion == KINDS[Kind.CALIBRATION_PROBLEM].suspicion:
            assert answers["Is it the calibration's?"].answer != NO
    if told.state in ("severe", "visible"):
        assert answers["Does it matter?"].answer == YES
    if told.state == "clean":
        assert answers["Does it matter?"].answer == NO
        assert not told.remedy
    # That nothing was found stands beside no fault.
    if "nothing found" in facts.get("Whose", ""):
        assert all(one.nothing or one.state == "clean" for one in told.strips)
    # A measured promise is nobody's to ignore.
    if told.measured and facts.get("Send to", "").startswith("nobody"):
        assert "→" not in told.remedy or any(one.kind == "version" for one in made.fixes)
    for strip in told.strips:
        if strip.shares:
            assert sum(strip.shares.percents.values()) == 100
        if strip.reaches:
            assert strip.state not in ("clean", "none")
    page = render(made)
    assert "…" not in page.partition('<p class="cost">')[2].partition("</p>")[0]
