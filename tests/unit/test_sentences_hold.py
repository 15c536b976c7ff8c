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


def texts(judgement: Judgement) -> Iterator[str]:
    """Yields everything that the answers say, in every report."""
    for answer in told(judgement):
        yield from (answer.fault, answer.text, answer.advice, answer.confidence, *answer.unseen)
        yield made_up(answer)
        for finding in answer.findings:
            yield from (finding.fault, finding.text, finding.advice, finding.confidence)
    yield from judgement.sentences.values()
    for question in questions(judgement, headline(judgement)):
        yield from (question.why, question.evidence)
    page = summary(judgement).split("### SQNR")[0].replace("\\", "")
    terminal = Outcome(judgement, Path("run"), Path("report.html"), {"wall": 1.0}).text()
    yield from (line.strip() for line in f"{page}\n{terminal}".splitlines())
    yield from judgement.no_fix
    for fix in judgement.fixes:
        yield from (fix.what, fix.why)
    for card in cards(judgement):
        yield from (card.word, card.gate, *card.remedies)


def told(judgement: Judgement) -> tuple[Answer, ...]:
    assert judgement.network
    return (judgement.network, *judgement.answers)


def rows(judgement: Judgement, head: str | None = None) -> Iterator[tuple[CellResult, HeadResult]]:
    for result in judgement.judged:
        for head_result in result.heads:
            if head is None or head_result.head == head:
                yield result, head_result


def wrong(judgement: Judgement, head: str | None) -> bool:
    """Whether anything is lost, failed, broken, not decided or run in part, asked of the results alone."""
    if any(result.status.failed or (result.heads and result.reason) for result in judgement.cells):
        return True
    if head is None and any(result.passed is False for result in judgement.judged):
        return True
    return any(
        row.passed is False
        or any(v.kind in FAULTS - {Kind.PRECISION_FALLBACK} for v in row.verdicts)
        or any(v.kind in (Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE) for v in row.verdicts)
        or severity.of_boxes(row.boxes).rank >= Severity.VISIBLE.rank
        for _, row in rows(judgement, head)
    )


def shares(head: HeadResult) -> dict[str, float] | None:
    """Returns the parts of the error, from its budget alone."""
    if head.budget is None:
        return None
    parts = {
        "8 bits": head.budget.limit,
        "the table": head.budget.calibration,
        "the engine": max(head.budget.engine, 0.0),
    }
    return {name: part / sum(parts.values()) for name, part in parts.items()}


@pytest.mark.parametrize("number", range(20))
def test_sentences_hold(number: int) -> None:
    for judgement in judged()[number::20]:
        everything = list(texts(judgement))
        for text in everything:
            assert not WORDLESS.search(text), text
        holds_of_acquittals(judgement, everything)
        holds_of_shares(judgement, everything)
        holds_of_answers(judgement)


def holds_of_acquittals(judgement: Judgement, everything: list[str]) -> None:
    if wrong(judgement, None):
        found = [text for text in everything if ACQUITTAL.search(text)]
        lone = {
            answer.head: answer for answer in judgement.answers if not wrong(judgement, answer.head)
        }
        # A clean head may be called so, in its own sentences and where it is named.
        assert not [
            text
            for text in found
            if not any(name in text or text in texts_of(answer) for name, answer in lone.items())
        ]
    for answer in judgement.answers:
        if wrong(judgement, answer.head):
            mine = " ".join(
                (answer.fault, answer.text, answer.advice, judgement.sentences[answer.head])
            )
            assert not ACQUITTAL.search(mine), mine
            assert not answer.clean
    for card in cards(judgement):
        if card.mark == "✓":
            assert card.answer
            assert card.answer.clean


def texts_of(answer: Answer) -> tuple[str, ...]:
    return (answer.fault, answer.text, answer.advice, "no harm")


def holds_of_shares(judgement: Judgement, everything: list[str]) -> None:
    largest = set()
    for answer in judgement.answers:
        if answer.shares is None:
            continue
        mine = next(
            row for r, row in rows(judgement, answer.head) if r.cell.id == answer.shares.cell
        )
        parts = shares(mine)
        assert parts
        said = {name: int(share) for share, name in SHARE.findall(made_up(answer))}
        assert sum(said.values()) == 100
        assert all(abs(said.get(name, 0) - 100 * part) < 1 for name, part in parts.items())
        assert made_up(answer) in judgement.sentences[answer.head]
        assert f"{answer.head} {answer.shares.sentence()}" in version_or_calibration(judgement)
        largest.add(max(parts, key=lambda name: parts[name]))
    known = {
        f"{percent} % {name}"
        for _, row in rows(judgement)
        for name, part in (shares(row) or {}).items()
        for percent in (math.floor(100 * part), math.ceil(100 * part))
    }
    for text in everything:
        assert {f"{share} % {name}" for share, name in SHARE.findall(text)} <= known, text
        if "the table" in largest:
            assert not INNOCENT_TABLE.search(text), text


def holds_of_answers(judgement: Judgement) -> None:
    by_id = {result.cell.id: result for result in judgement.cells}
    for answer in told(judgement):
        named = {cell for finding in answer.findings for cell in finding.cells}
        assert {result.cell.id for result in judgement.cells if result.status.failed} <= named
        worst = severity.worst(
            finding.severity for finding in answer.findings if not finding.beaten
        )
        assert answer.severity.rank >= worst.rank
        for finding in answer.findings:
            assert finding.severity.rank < Severity.VISIBLE.rank or "footnote" not in finding.advice
            tested = [
                v.effect.builds
                for cell in finding.cells
                for head in by_id[cell].heads
                if head.head == answer.head
                for v in head.verdicts
                if v.effect and v.kind is finding.kind
            ]
            if tested and min(tested) == 1:
                for text in (finding.confidence, finding.text, finding.fault):
                    assert not CERTAIN.search(text), text
    acquitted = [answer for answer in judgement.answers if "Not the version's" in answer.text]
    for answer in acquitted:
        assert any(
            equivalence.all and equivalence.head == answer.head for equivalence in judgement.equal
        )


def test_a_card_says_of_a_head_what_its_strip_says() -> None:
    seen = set()
    for judgement in judged()[:300]:
        strips_ = {strip.head: strip for strip in strips(judgement)}
        for card in cards(judgement):
            if card.head in strips_:
                strip = strips_[card.head]
                assert (card.state, card.word) == (strip.state, strip.word)
                assert card.mark != "–" or card.state == "none"
                seen.add(card.state)
    assert {"severe", "open", "clean"} <= seen
