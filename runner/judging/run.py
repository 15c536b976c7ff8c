"""A stored run → its judgement, its report and what machines read; needs no engine."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.cells import Cell
from runner.commands.diff import Difference
from runner.core.changes import changes
from runner.core.evidence import Evidence
from runner.core.judgement import Judgement
from runner.core.metrics import Sums
from runner.core.verdicts.seen import flat
from runner.execution.progress import Stage, untold
from runner.outcome import Outcome
from runner.records import Manifest, Object, Record
from runner.report.limits import MOST
from runner.store import Run, Store, explained, write_text


def judge_again(
    name: str,
    results: Path,
    *,
    images: bool = True,
    most_cells: int = MOST,
    stage: Stage = untold,
) -> Outcome:
    """Judges a finished run from its stored records and writes its report; no engine is needed.

    Args:
        name: Of the run's folder.
        results: Where it is.
        images: Whether the report may show images, where the run's matrix.yaml says so too.
        most_cells: Are told in detail below the matrix.
        stage: Told what is being judged.
    """
    run = Store(results).open_run(name)
    cells = tuple(record.planned() for record in run.records())
    return report(run, cells, images=images, most_cells=most_cells, stage=stage)


def difference(before: str, after: str, results: Path) -> Difference:
    """Says what changed between two finished runs; both are judged again."""
    store = Store(results)
    runs = [store.open_run(name) for name in (before, after)]
    old, new = (
        judgement_of(run, tuple(record.planned() for record in run.records())) for run in runs
    )
    return Difference(runs[0].id, runs[1].id, changes(old, new))


def report(
    run: Run,
    cells: Sequence[Cell],
    *,
    images: bool = True,
    most_cells: int = MOST,
    stage: Stage = untold,
) -> Outcome:
    """Judges a finished run and writes its report, its tables and its summaries."""
    judgement = judgement_of(run, cells, stage)
    stage("report", "write")
    pictures = pictures_of(run, judgement) if images else None
    page = write_report(judgement, run.folder, pictures, most_cells)
    return Outcome(judgement, run.folder, page, run.manifest().seconds)


def pictures_of(run: Run, judgement: Judgement) -> Mapping[str, str] | None:
    """Returns file name → the image as a `data:` URI, of the worst; None where none may be shown."""
    from runner.judging.pictures import pictures  # noqa: PLC0415 - as below
    from runner.report.sections import shown_images  # noqa: PLC0415

    manifest = run.manifest()
    if judgement.boxes is None or not manifest.show_images:
        return None
    return pictures(run.store, manifest, shown_images(judgement))


def write_report(
    judgement: Judgement,
    folder: Path,
    pictures: Mapping[str, str] | None = None,
    most_cells: int = MOST,
) -> Path:
    """Writes the report, its tables and its summaries into `folder`; returns where the page is.

    Args:
        judgement: All that is told.
        folder: Of a run, or of a ticket.
        pictures: File name → the image as a `data:` URI; None where images are to be left out.
        most_cells: Are told in detail below the matrix.
    """
    # Here, since pyarrow and templates take most of a second, and `plan` needs none.
    from runner.report import frames, html, junit, summary  # noqa: PLC0415

    with explained(folder):
        frames.write(frames.long_table(judgement), folder)
    write_text(folder / junit.JUNIT, junit.junit(judgement))
    write_text(folder / summary.SUMMARY, summary.summary(judgement))
    return write_text(folder / "report.html", html.render(judgement, pictures, most_cells))


def judgement_of(run: Run, cells: Sequence[Cell], stage: Stage = untold) -> Judgement:
    from runner.core.answers.bridges import with_bridges  # noqa: PLC0415 - as above
    from runner.core.answers.choices import with_choices  # noqa: PLC0415 - as above
    from runner.core.answers.table_facts import with_tables  # noqa: PLC0415
    from runner.core.judge import judge  # noqa: PLC0415
    from runner.core.layers.choices import choices  # noqa: PLC0415
    from runner.core.layers.precisions import layer_report  # noqa: PLC0415
    from runner.core.tables.differences import table_report  # noqa: PLC0415
    from runner.judging.calibration import calibration_report  # noqa: PLC0415
    from runner.judging.detections import box_evidence  # noqa: PLC0415
    from runner.run_files import (  # noqa: PLC0415
        layers_of,
        model_of,
        network_of,
        ranges_of,
        scaled_tensors,
    )

    stage("report", "judge")
    manifest, records = run.manifest(), run.records()
    found = evidence(run, manifest, cells, records)
    model = model_of(run, manifest)
    network = network_of(manifest, model)
    boxes = box_evidence(run.store, manifest, stage)
    ranges, heads_of = ranges_of(run, manifest), network.heads_of if network else {}
    judged = with_tables(
        judge(dataclasses.replace(found, boxes=boxes)),
        table_report(manifest, records, ranges, heads_of, scaled_tensors(model)),
    )
    judged = dataclasses.replace(
        judged, calibration=calibration_report(run.store, found, boxes, ranges, heads_of)
    )
    if network is None:
        return with_bridges(judged)
    told = functools.cache(layers_of(run.store))
    return with_bridges(
        dataclasses.replace(
            with_choices(judged, choices(network, records, told, found.sqnr_of)),
            layers=layer_report(network, records, told),
        )
    )


def evidence(
    run: Run, manifest: Manifest, cells: Sequence[Cell], records: Sequence[Record]
) -> Evidence:
    @functools.cache  # several questions are answered from the same sums
    def sums_of(y: Object, r: Object) -> Sums:
        return run.store.sums(y, r, manifest.epsilon)

    @functools.cache
    def flat_of(output: Object) -> str | None:
        return flat(run.store.array(output)) if run.store.has(output) else None

    return Evidence(manifest, cells, records, sums_of, flat_of=flat_of)
