"""A stored run → its judgement, its report and what machines read; needs no engine."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from runner.core.changes import changes
from runner.core.evidence import Evidence
from runner.core.judgement import Judgement
from runner.core.metrics import Sums
from runner.difference import Difference
from runner.outcome import Outcome
from runner.plan import Cell
from runner.records import Manifest, Object, Record
from runner.store import Run, Store, explained


def judge_again(name: str, results: Path) -> Outcome:
    """Judges a finished run from its stored records and writes its report; no engine is needed."""
    run = Store(results).open_run(name)
    return report(run, tuple(record.planned() for record in run.records()))


def difference(before: str, after: str, results: Path) -> Difference:
    """Says what changed between two finished runs; both are judged again."""
    store = Store(results)
    runs = [store.open_run(name) for name in (before, after)]
    old, new = (
        judgement_of(run, tuple(record.planned() for record in run.records())) for run in runs
    )
    return Difference(runs[0].id, runs[1].id, changes(old, new))


def report(run: Run, cells: Sequence[Cell]) -> Outcome:
    """Judges a finished run and writes its report, its tables and its summaries."""
    # Here, since pyarrow and templates take most of a second, and `plan` needs none.
    from runner.report import frames, html, junit, summary  # noqa: PLC0415

    judgement = judgement_of(run, cells)
    with explained(run.folder):
        frames.write(frames.long_table(judgement), run.folder)
    run.write_text(junit.JUNIT, junit.junit(judgement))
    run.write_text(summary.SUMMARY, summary.summary(judgement))
    page = run.write_text("report.html", html.render(judgement))
    return Outcome(judgement, run.folder, page, run.manifest().seconds)


def judgement_of(run: Run, cells: Sequence[Cell]) -> Judgement:
    from runner.core.judge import judge  # noqa: PLC0415 - as above
    from runner.detections import box_evidence  # noqa: PLC0415

    manifest = run.manifest()
    found = evidence(run, manifest, cells, run.records())
    return judge(dataclasses.replace(found, boxes=box_evidence(run.store, manifest)))


def evidence(
    run: Run, manifest: Manifest, cells: Sequence[Cell], records: Sequence[Record]
) -> Evidence:
    @functools.cache  # several questions are answered from the same sums
    def sums_of(y: Object, r: Object) -> Sums:
        return run.store.sums(y, r, manifest.epsilon)

    return Evidence(manifest, cells, records, sums_of)
