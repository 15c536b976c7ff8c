"""summary.md: what a person must know, for a CI job's summary page, a forum or an issue."""

import re
from collections.abc import Iterable, Sequence

from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.degree import degree
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.sentences import made_up
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind, Verdict
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
    first, *rest = headline(judgement).lines()
    told = images.lines(judgement.calibration) if judgement.calibration else ()
    parts = [
        f"## {_text(judgement.name)}: INT8 against FP32",
        f"**{_text(first, 600)}**\n",
        *(f"{_text(line, 1200)}\n" for line in rest),
        _verdict(judgement),
        *_network(judgement),
        *(_head(judgement, head) for head in judgement.heads),
        *_fixes(judgement),
        *(f"- {_text(image, 1200)}" for image in told),
    ]
    if judgement.latency_sentence:
        parts.append(f"\n**Latency**: {_text(judgement.latency_sentence, 2000)}")
    parts += (
        f"\nLayers were not timed in {_who(untimed.cells)}: {_text(untimed.problem, 600)}"
        for untimed in judgement.untimed
    )
    parts.append(
        "\n### SQNR in dB against the reference (bold: a gate of the head does not hold)\n"
    )
    parts += _matrix(judgement)
    if judgement.disturbed:
        parts.append("\n### Disturbed: do not trust the latency\n")
    for reason, ids in judgement.disturbed.items():
        parts.append(f"- {_who(ids)}: {_text(reason, 1000)}")
    if judgement.not_ok:
        parts.append("\n### Not measured\n")
    for (status, why), ids in judgement.not_ok.items():
        parts.append(f"- {_who(ids)}: {_text(str(status))}, {_text(why or '', 1000)}")
    parts.append(
        f"\n{judgement.images} evaluation images · baseline {_text(judgement.baseline)} · "
        f"run {_text(judgement.run_id)} · {_text(judgement.created)}"
    )
    return "\n".join(parts) + "\n"


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
        yield from (f"- {_text(sentence_, 600)}" for sentence_ in judgement.no_fix)
    elif rows:
        yield ""


def _network(judgement: Judgement) -> Iterable[str]:
    answer, told = judgement.network, judgement.network_sentence
    if answer:
        yield f"- **{WHOLE_NETWORK}** ({degree(answer)}): {_told(answer)}{_text(answer.text, 2000)}"
    elif told:
        yield f"- **{WHOLE_NETWORK}**: {_text(told, 2000)}"


def _head(judgement: Judgement, head: str) -> str:
    answer = judgement.answer(head)
    if answer is None:
        return f"- **{_text(head)}**: {_text(judgement.sentences.get(head, ''), 2000)}"
    rest = " ".join(filter(None, (answer.text, made_up(answer))))
    return f"- **{_text(head)}** ({degree(answer)}): {_told(answer)}{_text(rest, 2000)}"


def _told(answer: Answer) -> str:
    advice = f"{_text(answer.advice, 400)} " if answer.advice else ""
    return f"**{_text(sentence(answer.fault))}.** {advice}"


def _verdict(judgement: Judgement) -> str:
    failed = judgement.gates_failed
    cells = {cell for cell, _ in failed}
    besides = [finding.fault for finding in judgement.failing if cells.isdisjoint(finding.cells)]
    others = ""
    if besides:
        others = f"**Failed without a gate: {_text(listed(besides, 3), 600)}.**\n"
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


def _matrix(judgement: Judgement) -> Iterable[str]:
    heads = [_text(head) for head in judgement.heads]
    yield f"| environment | device | pass | {' | '.join(heads)} | latency | verdicts |"
    yield "| --- | --- | --- |" + " ---: |" * len(heads) + " ---: | --- |"
    results = [result for result in judgement.cells if result.status.ok]
    for result in results[:MOST_ROWS]:
        row = (
            *map(_text, (result.environment, result.device, result.pass_.name)),
            *(_sqnr(result.head(head)) for head in judgement.heads),
            _latency(result),
            _verdicts(result),
        )
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
    heads = grouped((kind, head.head) for head in result.heads for kind in _kinds(head.verdicts))
    told = [f"{kind} ({', '.join(map(_text, distinct(names)))})" for kind, names in heads.items()]
    told += [
        verdict.kind.replace("_", " ")
        for verdict in result.verdicts
        if verdict.kind is not Kind.INCONCLUSIVE
    ]
    return "; ".join(told) or "ok"


def _kinds(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.kind.replace("_", " ") for verdict in verdicts if verdict.kind is not Kind.OK]


def _who(ids: Sequence[str]) -> str:
    return _text(ids[0]) if len(ids) == 1 else f"{len(ids)} cells ({_text(ids[0])}, …)"


def _text(text: str, longest: int = LONGEST) -> str:
    """Returns foreign text on one line in which no character is markup."""
    line = short(" ".join(visible(text).split()), longest)
    # Nobody is to be told because a tensor is called @name.
    return MARKUP.sub(r"\\\1", line).replace("@", "&#64;")
