"""summary.md: what a person must know, for a CI job's summary page, a forum or an issue."""

import re
from collections.abc import Iterable, Sequence

from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.degree import degree
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.sentences import made_up
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed, visible
from trt_matrix.report import images
from trt_matrix.report.fields import a_batch
from trt_matrix.report.fix_lines import TITLE, fix_rows
from trt_matrix.report.formatting import ABSENT, duration, fixed, sentence, short

SUMMARY = "summary.md"

MARKUP = re.compile(r"([\\`*_\[\]<>#|~&])")
LONGEST = 200
"""Characters of a name."""
MOST_ROWS = 200
"""A job summary may hold 1 MB; the rest is in results.csv."""


def summary(judgement: Judgement) -> str:
    """Returns Markdown (GitHub's): a sentence a head, the matrix, what did not run."""
    parts = (
        f"## {_text(judgement.name)}: INT8 against FP32",
        *_headline(judgement),
        _verdict(judgement),
        _network(judgement),
        *(_head(judgement, head) for head in judgement.heads),
        *_fixes(judgement),
        *(f"- {_text(image, 1200)}" for image in _images(judgement)),
        f"\n**Latency**: {_text(judgement.latency_sentence, 2000)}"
        if judgement.latency_sentence
        else None,
        *_untimed(judgement),
        "\n### SQNR in dB against the reference (bold: a gate of the head does not hold)\n",
        *_matrix(judgement),
        *_disturbed(judgement.cells),
        *_not_ok(judgement.cells),
        f"\n{judgement.images} evaluation images · baseline {_text(judgement.baseline)} · "
        f"run {_text(judgement.run_id)} · {_text(judgement.created)}",
    )
    return "\n".join(part for part in parts if part is not None) + "\n"


def _headline(judgement: Judgement) -> Iterable[str]:
    """Yields what the page's first screen says, a paragraph a line of it."""
    first, *rest = headline(judgement).lines()
    yield f"**{_text(first, 600)}**\n"
    for line in rest:
        yield f"{_text(line, 1200)}\n"


def _images(judgement: Judgement) -> Iterable[str]:
    return images.lines(judgement.calibration) if judgement.calibration else ()


def _fixes(judgement: Judgement) -> Iterable[str]:
    """Yields what would fix it, a row each, and what would not."""
    rows = fix_rows(judgement)
    if rows:
        heads = [f"{_text(head)}, dB" for head in judgement.heads]
        yield f"\n### {TITLE}, most first\n"
        columns = [*heads, *(() if judgement.boxless else ("AP drop", "boxes lost")), "latency"]
        yield f"| do | {' | '.join(columns)} | gates | known |"
        yield "| --- |" + " ---: |" * len(columns) + " --- | --- |"
    for row in rows:
        how = f" ({_text(row.fix.command, 600)})" if row.fix.command else ""
        told = (
            f"{_text(row.fix.what, 300)}{how}", *row.sqnr_db,
            *(() if judgement.boxless else (row.ap_drop, row.lost)), row.latency, row.gates,
            f"{_text(row.shown_by)}. {_text(row.fix.why, 800)}",
        )  # fmt: skip
        yield f"| {' | '.join(told)} |"
    if judgement.no_fix:
        yield ""
        yield from (f"- {_text(one, 600)}" for one in judgement.no_fix)
    elif rows:
        yield ""


def _network(judgement: Judgement) -> str | None:
    answer = judgement.network
    if answer is None:
        told = judgement.network_sentence
        return f"- **{WHOLE_NETWORK}**: {_text(told, 2000)}" if told else None
    return f"- **{WHOLE_NETWORK}** ({degree(answer)}): {_told(answer)}{_text(answer.text, 2000)}"


def _head(judgement: Judgement, head: str) -> str:
    answer = next((one for one in judgement.answers if one.head == head), None)
    if answer is None:
        return f"- **{_text(head)}**: {_text(judgement.sentences.get(head, ''), 2000)}"
    rest = " ".join(filter(None, (answer.text, made_up(answer))))
    return f"- **{_text(head)}** ({degree(answer)}): {_told(answer)}{_text(rest, 2000)}"


def _told(answer: Answer) -> str:
    advice = f"{_text(answer.advice, 400)} " if answer.advice else ""
    return f"**{_text(sentence(answer.fault))}.** {advice}"


def _verdict(judgement: Judgement) -> str:
    failed = judgement.gates_failed
    besides = [
        finding
        for finding in judgement.failing
        if set(finding.cells).isdisjoint(cell for cell, _ in failed)
    ]
    others = (
        f"**Failed without a gate: {_text(listed([beside.fault for beside in besides], 3), 600)}.**\n"
        if besides
        else ""
    )
    return others + _gates(judgement, failed)


def _gates(judgement: Judgement, failed: Sequence[tuple[str, str]]) -> str:
    gated = sum(
        bool(cell.gates) + sum(bool(head.gates) for head in cell.heads) for cell in judgement.judged
    )
    if failed:
        return f"**{len(failed)} of {gated} gated results fail.**\n"
    if gated:
        return f"{gated} gated results, all hold.\n"
    unseen = "Gates are set, and no cell that they apply to gave a result.\n"
    return unseen if judgement.gates_set else "No gate is set.\n"


def _untimed(judgement: Judgement) -> Iterable[str]:
    """Yields why layers have no times, where the latency is told."""
    for untimed in judgement.untimed:
        yield f"\nLayers were not timed in {_who(untimed.cells)}: {_text(untimed.problem, 600)}"


def _matrix(judgement: Judgement) -> Iterable[str]:
    heads = [_text(head) for head in judgement.heads]
    yield f"| environment | device | pass | {' | '.join(heads)} | latency | verdicts |"
    yield "| --- | --- | --- |" + " ---: |" * len(heads) + " ---: | --- |"
    results = [cell for cell in judgement.cells if cell.status.ok]
    for result in results[:MOST_ROWS]:
        by_head = {head.head: head for head in result.heads}
        cell = result.cell
        values = [_sqnr(by_head.get(head)) for head in judgement.heads]
        latency = _latency(result)
        row = (
            _text(cell.environment), _text(cell.device), _text(cell.pass_.name), *values, latency,
            _verdicts(result),
        )  # fmt: skip
        yield f"| {' | '.join(row)} |"
    if len(results) > MOST_ROWS:
        yield f"\n… and {len(results) - MOST_ROWS} more in results.csv"


def _latency(result: CellResult) -> str:
    if result.latency is None:
        return ABSENT
    batch = a_batch(result.latency)
    return duration(result.latency.median_s) + (f" ({batch})" if batch else "")


def _sqnr(head: HeadResult | None) -> str:
    if head is None:
        return ABSENT
    if head.error.nonfinite:
        return "**NaN**"
    text = "exact" if head.sqnr_db is None else fixed(head.sqnr_db)
    return f"**{text}**" if head.passed is False else text


def _verdicts(result: CellResult) -> str:
    heads: dict[Kind, list[str]] = {}
    for head in result.heads:
        for verdict in head.verdicts:
            if verdict.kind is not Kind.OK:
                heads.setdefault(verdict.kind, []).append(head.head)
    told = [
        f"{kind.replace('_', ' ')} ({', '.join(map(_text, dict.fromkeys(names)))})"
        for kind, names in heads.items()
    ]
    told += [
        verdict.kind.replace("_", " ")
        for verdict in result.verdicts
        if verdict.kind is not Kind.INCONCLUSIVE
    ]
    return "; ".join(told) or "ok"


def _disturbed(cells: Iterable[CellResult]) -> Iterable[str]:
    reasons: dict[str, list[str]] = {}
    for result in cells:
        if result.disturbed and result.latency_disturbed:
            reasons.setdefault(result.disturbed, []).append(result.id)
    if reasons:
        yield "\n### Disturbed: do not trust the latency\n"
    for reason, ids in reasons.items():
        yield f"- {_who(ids)}: {_text(reason, 1000)}"


def _who(ids: Sequence[str]) -> str:
    return _text(ids[0]) if len(ids) == 1 else f"{len(ids)} cells ({_text(ids[0])}, …)"


def _not_ok(cells: Iterable[CellResult]) -> Iterable[str]:
    reasons: dict[tuple[Status, str | None], list[str]] = {}
    for result in cells:
        if not result.status.ok:
            reasons.setdefault((result.status, result.reason), []).append(result.id)
    if reasons:
        yield "\n### Not measured\n"
    for (status, reason), ids in reasons.items():
        yield f"- {_who(ids)}: {_text(str(status))}, {_text(reason or '', 1000)}"


def _text(text: str, longest: int = LONGEST) -> str:
    """Returns foreign text on one line in which no character is markup."""
    line = short(" ".join(visible(text).split()), longest)
    # Nobody is to be told because a tensor is called @name.
    return MARKUP.sub(r"\\\1", line).replace("@", "&#64;")
