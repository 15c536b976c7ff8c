"""No sentence of any report may contradict the numbers beside it: held over random judgements."""

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.unit.random_judgements import Draw
from trt_matrix.core import severity
from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.sentences import made_up
from trt_matrix.core.answers.strips import strips
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import FAULTS, Kind
from trt_matrix.judging.outcome import Outcome
from trt_matrix.report.cards import cards
from trt_matrix.report.questions import questions
from trt_matrix.report.reasoning import version_or_calibration
from trt_matrix.report.summary import summary

AMOUNT = 2000
ACQUITTAL = re.compile(
    r"nothing is wrong|nothing to do|no head is bad|no harm\b(?! seen)", re.IGNORECASE
)
INNOCENT_TABLE = re.compile(r"not the (calibration|table)", re.IGNORECASE)
SHARE = re.compile(r"(\d+) % (8 bits|the table|the engine)(?! own)")
WORDLESS = re.compile(r"\b(None|nan|inf|NaN dB)\b|\?|\.\.(\s|$)|\.;|  |\(\)| ,|: \.", re.MULTILINE)
CERTAIN = re.compile(r"(?<!Not )(?<!How )\bsure\b|builds? of each|by chance", re.IGNORECASE)


@cache
def judged() -> tuple[Judgement, ...]:
    return tuple(with_fixes(Draw(seed).judgement()) for seed in range(AMOUNT))


def texts(made: Judgement) -> Iterator[str]:
    """Yields everything that the answers say, in every report."""
    for answer in told(made):
        yield from (answer.fault, answer.text, answer.advice, answer.confidence, *answer.unseen)
        yield made_up(answer)
        for one in answer.findings:
            yield from (one.fault, one.text, one.advice, one.confidence)
    yield from made.sentences.values()
    for one in questions(made, headline(made)):
        yield from (one.why, one.evidence)
    page = summary(made).split("### SQNR")[0].replace("\\", "")
    terminal = Outcome(made, Path("run"), Path("report.html"), {"wall": 1.0}).text()
    yield from (line.strip() for line in f"{page}\n{terminal}".splitlines())
    yield from made.no_fix
    for one in made.fixes:
        yield from (one.what, one.why)
    for card in cards(made):
        yield from (card.word, card.gate, *card.remedies)


def told(made: Judgement) -> tuple[Answer, ...]:
    assert made.network
    return (made.network, *made.answers)


def rows(made: Judgement, head: str | None = None) -> Iterator[tuple[CellResult, HeadResult]]:
    for result in made.judged:
        for one in result.heads:
            if head is None or one.head == head:
                yield result, one


def wrong(made: Judgement, head: str | None) -> bool:
    """Whether anything is lost, failed, broken, not decided or run in part, asked of the results alone."""
    if any(one.status.failed or (one.heads and one.reason) for one in made.cells):
        return True
    if head is None and any(one.passed is False for one in made.judged):
        return True
    return any(
        one.passed is False
        or any(v.kind in FAULTS - {Kind.PRECISION_FALLBACK} for v in one.verdicts)
        or any(v.kind in (Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE) for v in one.verdicts)
        or severity.of_boxes(one.boxes).rank >= Severity.VISIBLE.rank
        for _, one in rows(made, head)
    )


def shares(one: HeadResult) -> dict[str, float] | None:
    """Returns the parts of the error, from its budget alone."""
    if one.budget is None:
        return None
    parts = {
        "8 bits": one.budget.limit,
        "the table": one.budget.calibration,
        "the engine": max(one.budget.engine, 0.0),
    }
    return {name: part / sum(parts.values()) for name, part in parts.items()}


@pytest.mark.parametrize("number", range(20))
def test_sentences_hold(number: int) -> None:
    for made in judged()[number::20]:
        everything = list(texts(made))
        for text in everything:
            assert not WORDLESS.search(text), text
        holds_of_acquittals(made, everything)
        holds_of_shares(made, everything)
        holds_of_answers(made)


def holds_of_acquittals(made: Judgement, everything: list[str]) -> None:
    if wrong(made, None):
        found = [text for text in everything if ACQUITTAL.search(text)]
        lone = {one.head: one for one in made.answers if not wrong(made, one.head)}
        # A clean head may be called so, in its own sentences and where it is named.
        assert not [
            text
            for text in found
            if not any(name in text or text in texts_of(one) for name, one in lone.items())
        ]
    for answer in made.answers:
        if wrong(made, answer.head):
            mine = " ".join((answer.fault, answer.text, answer.advice, made.sentences[answer.head]))
            assert not ACQUITTAL.search(mine), mine
            assert not answer.clean
    for card in cards(made):
        if card.mark == "✓":
            assert card.answer
            assert card.answer.clean


def texts_of(answer: Answer) -> tuple[str, ...]:
    return (answer.fault, answer.text, answer.advice, "no harm")


def holds_of_shares(made: Judgement, everything: list[str]) -> None:
    largest = set()
    for answer in made.answers:
        if answer.shares is None:
            continue
        mine = next(one for r, one in rows(made, answer.head) if r.cell.id == answer.shares.cell)
        parts = shares(mine)
        assert parts
        said = {name: int(share) for share, name in SHARE.findall(made_up(answer))}
        assert sum(said.values()) == 100
        assert all(abs(said.get(name, 0) - 100 * part) < 1 for name, part in parts.items())
        assert made_up(answer) in made.sentences[answer.head]
        assert f"{answer.head} {answer.shares.sentence()}" in version_or_calibration(made)
        largest.add(max(parts, key=lambda name: parts[name]))
    known = {
        f"{percent} % {name}"
        for _, one in rows(made)
        for name, part in (shares(one) or {}).items()
        for percent in (math.floor(100 * part), math.ceil(100 * part))
    }
    for text in everything:
        assert {f"{share} % {name}" for share, name in SHARE.findall(text)} <= known, text
        if "the table" in largest:
            assert not INNOCENT_TABLE.search(text), text


def holds_of_answers(made: Judgement) -> None:
    by_id = {one.cell.id: one for one in made.cells}
    for answer in told(made):
        named = {cell for one in answer.findings for cell in one.cells}
        assert {one.cell.id for one in made.cells if one.status.failed} <= named
        worst = severity.worst(one.severity for one in answer.findings if not one.beaten)
        assert answer.severity.rank >= worst.rank
        for one in answer.findings:
            assert one.severity.rank < Severity.VISIBLE.rank or "footnote" not in one.advice
            tested = [
                v.effect.builds
                for cell in one.cells
                for head in by_id[cell].heads
                if head.head == answer.head
                for v in head.verdicts
                if v.effect and v.kind is one.kind
            ]
            if tested and min(tested) == 1:
                for text in (one.confidence, one.text, one.fault):
                    assert not CERTAIN.search(text), text
    acquitted = [one for one in made.answers if "Not the version's" in one.text]
    for answer in acquitted:
        assert any(one.all and one.head == answer.head for one in made.equal)


def test_a_card_says_of_a_head_what_its_strip_says() -> None:
    seen = set()
    for made in judged()[:300]:
        strips_ = {one.head: one for one in strips(made)}
        for card in cards(made):
            if card.head in strips_:
                strip = strips_[card.head]
                assert (card.state, card.word) == (strip.state, strip.word)
                assert card.mark != "–" or card.state == "none"
                seen.add(card.state)
    assert {"severe", "open", "clean"} <= seen
