"""What the tables themselves say of a head that a bad table costs: which tensor they clip, or what TensorRT did."""

from collections.abc import Mapping
from dataclasses import replace

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.tables.clipping import sentence
from trt_matrix.core.tables.differences import TableReport, TableUse, called
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import capital


def with_tables(judgement: Judgement, report: TableReport) -> Judgement:
    """Returns the judgement with the report of its tables, and what that says where a table is blamed."""
    uses = {cell: use for use in report.tables for cell in use.cells}
    answers, sentences = [], dict(judgement.sentences)
    for answer in judgement.answers:
        told = {
            finding: _told(finding, answer.head, judgement.heads, uses)
            for finding in answer.findings
        }
        answers.append(_answer(answer, told))
        said = dict.fromkeys(text for text in told.values() if text)
        sentences[answer.head] = " ".join(filter(None, (sentences.get(answer.head, ""), *said)))
    return replace(judgement, tables=report, answers=tuple(answers), sentences=sentences)


def _answer(answer: Answer, told: Mapping[Finding, str]) -> Answer:
    findings = tuple(
        replace(finding, text=f"{finding.text} {told[finding]}") if told[finding] else finding
        for finding in answer.findings
    )
    first = next((told[finding] for finding in answer.findings[:1]), "")
    # The first finding's is what a card says.
    text = f"{answer.text} {first}" if first else answer.text
    return replace(answer, findings=findings, text=text)


def _told(finding: Finding, head: str, heads: tuple[str, ...], uses: Mapping[str, TableUse]) -> str:
    """Returns what the tables of a finding's cells say of it; empty where nothing."""
    tables = {uses[cell].digest: uses[cell] for cell in finding.cells if cell in uses}.values()
    if finding.kind is Kind.CALIBRATOR_REGRESSION:
        return " ".join(
            capital(f"{called(use)}: {use.rule.sentence()}.") for use in tables if use.rule
        )
    if finding.kind is not Kind.CALIBRATION_PROBLEM:
        return ""
    clipping = [
        (
            called(use),
            [
                clipped
                for clipped in use.clipped
                if (not clipped.heads or head in clipped.heads)
                and not set(clipped.cells).isdisjoint(finding.cells)
            ],
        )
        for use in tables
    ]
    return " ".join(
        capital(f"{sentence(name, clipped, heads)}.") for name, clipped in clipping if clipped
    )
