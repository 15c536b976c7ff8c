"""What needs no test: broken outputs, cells that did not run, int8 that is none, boxes lost for no known cause."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.rows import HeadRow, environments_of, told_of
from trt_matrix.core.answers.sureness import SEEN, UNDECIDED
from trt_matrix.core.answers.verdict_groups import VerdictGroup
from trt_matrix.core.answers.versions import converted
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import KINDS, Kind
from trt_matrix.core.words import capital, count, listed, span


def broken(rows: Sequence[HeadRow]) -> list[Finding]:
    """Returns what is wrong with outputs in themselves, one finding a reason."""
    findings = []
    for why, group in _by_why(rows, Kind.BROKEN_OUTPUT):
        names = group.environments
        finding = group.finding(
            f"a broken output: {why.split(' in ')[0]} in {listed(names, 3)}",
            f"The output of {listed(names)} in {listed(group.passes)} is broken: {why}. No number of it means "
            f"anything.{converted(group)}",
            _broken_advice(why, group),
            Severity.SEVERE,
        )
        findings.append(replace(finding, fails=True, beaten=False))
    return findings


def _broken_advice(why: str, group: VerdictGroup) -> str:
    fp32_first = "Mend fp32 there first: options, a custom layer, the parser."
    if "with its scales" in why:
        return (
            "Use another table, or keep layers in float: with these scales nothing is left of it."
        )
    results = [row.result for row in group.verdicts]
    if any(result.pass_.precision is Precision.FP32 for result in results):
        return fp32_first
    places = {result.place for result in results}
    floats = [
        row
        for row in group.rows
        if row.result.pass_.precision is Precision.FP32 and row.result.place in places
    ]
    if any(row.head.kinds & {Kind.BROKEN_OUTPUT, Kind.FP32_REGRESSION} for row in floats):
        return fp32_first
    if {row.result.place for row in floats} == places:
        precisions = distinct(str(result.pass_.precision) for result in results)
        return (
            f"fp32 is sound in {listed(group.environments, 3)}: look for the first layer that overflows or is never fed in {listed(precisions)}, and "
            "keep it in fp32."
        )
    return "Look for a layer that overflows or is never fed: run fp32 there, then precision by precision."


def unquantised(rows: Sequence[HeadRow]) -> list[Finding]:
    """Returns int8 cells in which nothing ran in int8, one finding a reason."""
    return [
        group.finding(
            f"nothing was quantised in {listed(group.environments, 3)}",
            f"Int8 in {listed(group.environments)} is none: {why}. That a gate holds there says nothing of int8.",
            "Look below at the layers' precision, and why the engine left them in float.",
            Severity.VISIBLE,
        )
        for why, group in _by_why(rows, Kind.NOTHING_QUANTISED)
    ]


def tables(rows: Sequence[HeadRow]) -> list[Finding]:
    """Returns tables of recorded outputs that are not used, one finding a reason: the outputs are judged."""
    groups = grouped(
        (row.result.table_problem, row.result) for row in rows if row.result.table_problem
    )
    return [
        Finding(
            kind=Kind.NOT_COMPARABLE,
            fault=f"not divided: the table of {listed(environments_of(results), 3)} is not used",
            text=f"The table of {listed([result.id for result in results], 3)} is not used: {why}{'' if why.endswith('?') else '.'} The "
            "outputs are judged without it: what is the table's, and what the engine's, stays open.",
            advice="Put the table right, and run again: only what its file changed is read anew.",
            environments=tuple(environments_of(results)),
            cells=tuple(result.id for result in results),
            severity=Severity.VISIBLE,
            confidence=SEEN,
        )
        for why, results in groups.items()
    ]


def unexplained(rows: Sequence[HeadRow]) -> list[Finding]:
    """Returns losses of boxes, and gates that fail, of which no test names the cause."""
    verdicts = told_of(rows, Kind.UNEXPLAINED_LOSS)
    if not verdicts:
        return []
    where = distinct(row.result.id for row in verdicts)
    suspected = distinct(present(row.verdict.suspected for row in verdicts))
    whose = " or ".join(KINDS[kind].suspicion for kind in suspected)
    why = distinct((row.verdict.why or "").replace(") (", "; ") for row in verdicts)
    finding = VerdictGroup(verdicts, rows).finding(
        f"not known; the largest part of the error is {whose}" if whose else "not known",
        f"{listed(where, 3)}: {listed(why, 2)}, and no test names a cause.",
        f"Compare the budget{' and the boxes' if any(row.head.boxes for row in verdicts) else ''} below.",
        severity.worst(severity.of_boxes(row.head.boxes) for row in verdicts),
    )
    return [finding]


def behind(rows: Sequence[HeadRow], baseline: str) -> list[Finding]:
    """Returns that the baseline itself is worse than most others, where nothing else says what it must keep.

    It is compared with none, being the baseline: a loss of its own would be lost from sight.
    """
    findings = []
    for result, head in rows:
        if result.environment != baseline or not head.error.nmse or head.budget:
            continue
        compared = [
            (other.environment, verdict.effect)
            for other, its in rows
            for verdict in its.verdicts
            if verdict.against == result.id and verdict.kind is Kind.OK and verdict.effect
        ]
        better = {
            name: -effect.db for name, effect in compared if effect.high_db <= -severity.SQNR_DB[0]
        }
        if 2 * len(better) <= len(compared) or result.pass_.precision != "int8":
            continue
        names = list(better)
        findings.append(
            Finding(
                kind=Kind.INCONCLUSIVE,
                fault=f"not decided; perhaps {baseline}, the baseline itself",
                text=f"In {result.pass_.name} {baseline}, the baseline, keeps {span(better.values())} dB less "
                f"than {listed(names, 3)}. Whether it loses that, or they ran layers in float, nobody can say "
                "without the tables.",
                advice=f"Record the tables, or name {names[0]} as `baseline`: what is measured stays.",
                environments=(baseline,),
                cells=(result.id,),
                severity=severity.of_db(max(better.values())),
                confidence=UNDECIDED,
            )
        )
    return findings


def did_not_run(results: Sequence[CellResult]) -> list[Finding]:
    """Returns what planned cells did not run: a finding a reason of those that failed, one of all others."""
    groups = grouped(
        ((result.status, operator_of(result) or _first(result)), result)
        for result in results
        if not result.status.ok or result.reason
    )
    rest = {key: cells for key, cells in groups.items() if key[0].never_started}
    findings = [
        _not_run(status, why, cells, results)
        for (status, why), cells in groups.items()
        if not status.never_started
    ]
    return [*findings, _never_started(rest)] if rest else findings


def _never_started(groups: Mapping[tuple[Status, str], Sequence[CellResult]]) -> Finding:
    cells = [result for results in groups.values() for result in results]
    told = [
        f"{listed(environments_of(results), 3)} ({why})" for (_, why), results in groups.items()
    ]
    return Finding(
        kind=Kind.COULD_NOT_RUN,
        fault=f"{count(len(cells), 'cell')} did not run",
        text=f"Not run, so nothing is known of them: {'; '.join(told)}.",
        advice="`trt-matrix doctor` says what can run here.",
        environments=tuple(environments_of(cells)),
        cells=tuple(result.id for result in cells),
        confidence=SEEN,
    )


OPERATOR = re.compile(
    r"while running (?P<ort>\w+) node"  # ONNX Runtime
    r"|No importer registered for op: (?P<trt>\w+)|Unsupported operator:? (?P<other>\w+)"  # TensorRT
)
LONGEST_REASON = 200
"""Characters; the log has all."""


def operator_of(result: CellResult) -> str | None:
    """Returns which operator of the network stopped it, where the engine says so."""
    match_ = OPERATOR.search(result.reason or "")
    return f"operator {next(filter(None, match_.groups()))}" if match_ else None


def _first(result: CellResult) -> str:
    """Returns the first line of the reason: what one cell adds to it is in its log."""
    reason = result.reason or str(result.status).replace("_", " ")
    line = reason.strip().split("\n")[0].rstrip(".")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def _not_run(
    status: Status, why: str, cells: Sequence[CellResult], results: Sequence[CellResult]
) -> Finding:
    names = environments_of(cells)
    passes = distinct(result.pass_.name for result in cells)
    told = {
        Status.OK: "ran in part",
        Status.JOB_FAILED: "failed",
        Status.CRASHED: "crashed",
        Status.TIMED_OUT: "ran out of time",
    }[status]
    ran = environments_of(
        result for result in results if result.status.ok and result.pass_.name in passes
    )
    others = [name for name in ran if name not in names]
    at = why if why.startswith("operator ") else ""
    if at:
        why = f"{why}: {_first(cells[0])}"
    return Finding(
        kind=Kind.COULD_NOT_RUN,
        fault=f"{listed(names, 3)} {told}",
        text=f"{listed(names)} {told} ({count(len(cells), 'cell')}: {listed(passes, 3)}){_span(names, others, results)}: "
        f"{why}.",
        advice=_log_advice(at, others)
        if status.failed
        else "Read the log of the repeat that failed: it may fail again.",
        environments=tuple(names),
        cells=tuple(result.id for result in cells),
        severity=Severity.SEVERE if status.failed else Severity.VISIBLE,
        confidence=SEEN,
        fails=status.failed,
    )


def _log_advice(at: str, others: Sequence[str]) -> str:
    """Returns where to look, and who ran what failed.

    It stopped `at` an operator, where anybody said; in `others` the same pass ran.
    """
    stopped = f": it stopped at {at}" if at else ""
    ran = f". {listed(others, 3)} ran it" if others else ""
    return f"Read the log, in the report under Cells{stopped}{ran}."


def _span(names: Sequence[str], others: Sequence[str], results: Sequence[CellResult]) -> str:
    """Returns `, since v3 (v2 is the last that ran)` or `, until …`, where versions in the names say so."""
    order = _order_of([*names, *others], results) if others else None
    if order is None:
        return ""
    first, last = min(names, key=order.__getitem__), max(names, key=order.__getitem__)
    if all(order[name] < order[first] for name in others):
        newest = max(others, key=order.__getitem__)
        return f", since {first} ({newest} is the last that ran)"
    if all(order[name] > order[last] for name in others):
        oldest = min(others, key=order.__getitem__)
        return f", until {last} ({oldest} is the first that ran)"
    return ""


LARGEST_MAJOR = 39
"""A larger number without a dot has lost its dots: `trt86` is 8.6."""


def _order_of(
    names: Sequence[str], results: Sequence[CellResult]
) -> Mapping[str, tuple[int, ...]] | None:
    """Returns environments' versions; None where they are not versions of one thing.

    What the engines told of themselves comes first: `trt8601` is older than `trt10`.
    """
    matches = {name: re.fullmatch(r"(\D*)(\d+(?:\.\d+)*)", name) for name in names}
    spoken = {name: (match_[1], match_[2]) for name, match_ in matches.items() if match_}
    if len(spoken) < len(matches) or len({before for before, _ in spoken.values()}) > 1:
        return None
    told = {
        result.environment: result.engine_version for result in results if result.engine_version
    }
    if all(re.match(r"\d", told.get(name, "")) for name in names):
        return {name: _numbers(told[name]) for name in names}
    if any(number.isdecimal() and int(number) > LARGEST_MAJOR for _, number in spoken.values()):
        return None
    return {name: _numbers(number) for name, (_, number) in spoken.items()}


def _numbers(version: str) -> tuple[int, ...]:
    """Returns `(8, 6, 1)` of `8.6.1+cuda11`."""
    match_ = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match_[0].split(".")) if match_ else ()


def reference(problem: str | None) -> list[Finding]:
    """Returns what is wrong with the reference's own output."""
    if problem is None:
        return []
    whole = "left out" not in problem
    return [
        Finding(
            kind=Kind.BROKEN_OUTPUT,
            fault="the reference's own output"
            if whole
            else "the reference has NaN or infinite elements",
            text=f"{capital(problem)}{', so nothing can be compared with it' if whole else ''}.",
            advice="Look at the network and at the preprocessing: the host computed it in FP32.",
            environments=(),
            severity=Severity.SEVERE if whole else Severity.VISIBLE,
            confidence=SEEN,
            fails=whole,
        )
    ]


def _by_why(rows: Sequence[HeadRow], kind: Kind) -> list[tuple[str, VerdictGroup]]:
    reasons = grouped((row.verdict.why or "", row) for row in told_of(rows, kind))
    return [(why, VerdictGroup(verdicts, rows)) for why, verdicts in reasons.items()]
