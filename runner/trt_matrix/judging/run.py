"""A stored run → its judgement, its report and what machines read; needs no engine."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trt_matrix.core.cells import Cell, Status
from trt_matrix.core.changes import changes
from trt_matrix.core.evidence import Evidence, SumsOf
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.errors import GoneError
from trt_matrix.execution.progress import Stage, untold
from trt_matrix.judging.diff import RunDifference
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.judging.outcome import Outcome
from trt_matrix.judging.settled import flat_of
from trt_matrix.store.results import RunFolder, explained, finished_run, write_text

if TYPE_CHECKING:
    from trt_matrix.judging.pictures import Pictures


def judge_again(
    name: str,
    results: Path,
    *,
    images: bool = True,
    most_cells: int | None = None,
    stage: Stage = untold,
    warn: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Judges a finished run from its stored records and writes its report; no engine is needed.

    `images`: whether the report may show any, where the run's matrix.yaml says so too. `most_cells` are told in detail
    below the matrix; None: as many as a page should hold.
    """
    run = finished_run(name, results, warn)
    cells = tuple(record.planned() for record in run.records())
    return report(run, cells, images=images, most_cells=most_cells, stage=stage)


def difference(
    before: str, after: str, results: Path, warn: Callable[[str], None] = lambda _: None
) -> RunDifference:
    """Says what changed between two finished runs; both are judged again."""
    runs = [finished_run(name, results, warn) for name in (before, after)]
    old, new = (
        judgement_of(run, tuple(record.planned() for record in run.records())) for run in runs
    )
    return RunDifference(runs[0].id, runs[1].id, changes(old, new))


def report(
    run: RunFolder,
    cells: Sequence[Cell],
    *,
    images: bool = True,
    most_cells: int | None = None,
    stage: Stage = untold,
) -> Outcome:
    """Judges a finished run, writes judgement.json, and from that its report, its tables and its summaries."""
    judgement = judgement_of(run, cells, stage)
    stage("report", "write")
    shown = pictures_of(run, judgement) if images else None
    judgement_file = JudgementFile(
        schema_version=1,
        judgement=judgement,
        pictures=shown and shown.cut_out,
        fed=shown.fed if shown else {},
        seconds=dict(run.manifest().seconds),
    )
    written = judgement_file.write(run.folder)
    del judgement, judgement_file  # of 10,000 cells they are large, and are read again
    return rendered(written, run.folder, most_cells=most_cells)


def pictures_of(run: RunFolder, judgement: Judgement) -> "Pictures | None":
    """Returns the worst images; None where none may be shown."""
    from trt_matrix.judging.pictures import pictures  # noqa: PLC0415 - as below
    from trt_matrix.report.sections import shown_images  # noqa: PLC0415

    manifest = run.manifest()
    if judgement.boxes is None or not manifest.show_images:
        return None
    return pictures(run.store, manifest, shown_images(judgement))


def rendered(
    source: Path, folder: Path, *, images: bool = True, most_cells: int | None = None
) -> Outcome:
    """Writes the report, its tables and its summaries, from a judgement.json and nothing else.

    `source` may be the folder that it is in. `images` and `most_cells` are as in `judge_again`.

    Raises:
        StoreError: it cannot be read, or these cannot be written.
    """
    # Here, since pyarrow, where it is, and templates take most of a second, and `plan` needs none.
    from trt_matrix.report import frames, html, junit, model_explorer, summary  # noqa: PLC0415

    judgement_file = JudgementFile.read(source)
    judgement = judgement_file.judgement
    pictures, fed = (judgement_file.pictures, judgement_file.fed) if images else (None, {})
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        frames.write(frames.long_table(judgement), folder)
    write_text(folder / junit.JUNIT, junit.junit(judgement))
    write_text(folder / summary.SUMMARY, summary.summary(judgement))
    _write_node_data(folder / model_explorer.FOLDER, model_explorer.node_data(judgement))
    page = write_text(folder / "report.html", html.render(judgement, pictures, most_cells, fed))
    return Outcome(judgement, folder, page, judgement_file.seconds)


def _write_node_data(folder: Path, files: Mapping[str, str]) -> None:
    """Writes these files, and takes away those of an earlier judgement."""
    with explained(folder):
        if files:
            folder.mkdir(exist_ok=True)
        for old in folder.glob("*.json"):
            if old.name not in files:
                old.unlink()
    for name, text in files.items():
        write_text(folder / name, text)


def judgement_of(run: RunFolder, cells: Sequence[Cell], stage: Stage = untold) -> Judgement:
    from trt_matrix.core.answers.bridges import with_bridges  # noqa: PLC0415 - as above
    from trt_matrix.core.answers.choices import with_choices  # noqa: PLC0415 - as above
    from trt_matrix.core.answers.fixes import with_fixes  # noqa: PLC0415
    from trt_matrix.core.answers.simulated import simulated  # noqa: PLC0415
    from trt_matrix.core.answers.slow import untimed, with_slow  # noqa: PLC0415
    from trt_matrix.core.answers.table_facts import with_tables  # noqa: PLC0415
    from trt_matrix.core.judge import judge  # noqa: PLC0415
    from trt_matrix.core.layers.choices import choices  # noqa: PLC0415
    from trt_matrix.core.layers.deciding import decided  # noqa: PLC0415
    from trt_matrix.core.layers.precisions import layer_report  # noqa: PLC0415
    from trt_matrix.core.tables.differences import table_report  # noqa: PLC0415
    from trt_matrix.judging.calibration import calibration_report  # noqa: PLC0415
    from trt_matrix.judging.detections import box_evidence  # noqa: PLC0415
    from trt_matrix.judging.run_files import (  # noqa: PLC0415
        deciding_of,
        diagnosis_of,
        layers_of,
        model_of,
        network_of,
        problem_of,
        ranges_of,
        times_of,
    )

    stage("report", "judge")
    evidence_ = evidence(run, run.manifest(), cells, run.records())
    manifest, records = evidence_.manifest, evidence_.records
    model = model_of(run, manifest)
    network = network_of(manifest, model)
    boxes = box_evidence(run.store, manifest, stage)
    ranges, heads_of = ranges_of(run, manifest), network.heads_of if network else {}
    deciding = deciding_of(model)
    decides = decided(records, ranges, deciding) if deciding else {}
    judged = with_tables(
        judge(dataclasses.replace(evidence_, boxes=boxes)),
        table_report(manifest, records, ranges, heads_of, decides),
    )
    scaled = frozenset(tensor for tensors in decides.values() for tensor in tensors)
    judged = dataclasses.replace(
        judged,
        calibration=calibration_report(run.store, evidence_, boxes, ranges, heads_of, scaled),
        diagnosis=diagnosis_of(run),
    )
    if network is not None:
        told = functools.cache(layers_of(run.store))
        judged = dataclasses.replace(
            with_choices(judged, choices(network, records, told, evidence_.sqnr_of)),
            layers=layer_report(network, records, told),
        )
    judged = dataclasses.replace(
        with_slow(judged, records, times_of(run.store)),
        untimed=untimed(records, problem_of(run.store)),
    )
    return with_fixes(with_bridges(judged), simulated(evidence_))


def evidence(
    run: RunFolder, manifest: Manifest, cells: Sequence[Cell], records: Sequence[Record]
) -> Evidence:
    @functools.cache  # several questions are answered from the same sums
    def sums_of(y: StoredObject, r: StoredObject) -> Sums:
        return run.store.sums(y, r, manifest.epsilon)

    known = functools.partial(_known, sums_of)
    return Evidence(
        _with_sums(manifest, known),
        cells,
        [_told(record, manifest, known) for record in records],
        sums_of,
        flat_of=functools.cache(functools.partial(flat_of, run.store)),
        known=known,
    )


Known = Callable[[StoredObject, StoredObject], bool]


def _known(sums_of: SumsOf, y: StoredObject, r: StoredObject) -> bool:
    """Says whether there are sums, or can be: outputs that were not kept cannot be compared anew."""
    try:
        sums_of(y, r)
    except GoneError:
        return False
    return True


def _left(
    measurements: Iterable[Measurement], reference: Measurement, known: Known
) -> tuple[Measurement, ...]:
    """Returns those that failed, or of whose every output it is known how it compares."""
    return tuple(
        measurement
        for measurement in measurements
        if not measurement.status.ok
        or all(
            known(output, reference.outputs[head])
            for head, output in measurement.outputs.items()
            if head in reference.outputs
        )
    )


def _told(record: Record, manifest: Manifest, known: Known) -> Record:
    """Returns the record without what nothing is known of any more: its cell says so."""
    if manifest.reference is None or not record.status.ok:
        return record
    left = _left(record.measurements, manifest.reference, known)
    whole = len(left) == len(record.measurements)
    if whole or any(measurement.status.ok for measurement in left):
        return record.model_copy(update={"measurements": left})
    return record.model_copy(
        update={"measurements": (), "status": Status.NOT_RUN, "reason": GONE, "reused": 0}
    )


GONE = "its outputs were not kept, and what was made of them is gone or damaged: run again, it is measured anew"


def _with_sums(manifest: Manifest, known: Known) -> Manifest:
    if manifest.reference is None:
        return manifest
    left = _left(manifest.simulations, manifest.reference, known)
    return manifest.model_copy(update={"simulations": left})
