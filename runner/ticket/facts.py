"""A run in its ticket: report, tables for machines, records, logs, tables, matrix.yaml, environments."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import yaml

from runner.config.yaml_file import read
from runner.core.judgement import Judgement
from runner.judging.run import write_report
from runner.records import Manifest, Record, Start
from runner.store import Run
from runner.ticket import plugins
from runner.ticket.folder import LONGEST_LOG, Folder, shortened
from runner.ticket.kinds import Kind
from runner.ticket.requests import again, job_id
from runner.ticket.script import requirements

RUN = "run"
ENVIRONMENTS = "environments"
MATRIX = f"{RUN}/matrix.yaml"
MANIFEST = f"{RUN}/manifest.json"


def record_name(cell: str) -> str:
    return f"{RUN}/records/{job_id(cell)}.json"


def told(run: Run, manifest: Manifest, records: Sequence[Record]) -> Iterator[Any]:
    """Yields everything of a run that holds text, so that secrets are learned from it."""
    yield read(run.folder / "matrix.yaml").value
    yield from stated(manifest, records)
    for path in sorted((run.folder / "logs").rglob("*.log")):
        yield shortened(path, LONGEST_LOG)
    for name in manifest.tables:
        yield _table(run, name)
    yield from plugins.texts(run, manifest.asked)


def stated(manifest: Manifest, records: Sequence[Record]) -> Iterator[Any]:
    yield manifest.model_dump(mode="json")
    for record in records:
        yield record.model_dump(mode="json")


def write_run(
    folder: Folder,
    run: Run,
    manifest: Manifest,
    records: Sequence[Record],
    judgement: Judgement,
    pictures: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """Writes all of it; returns environment → name of the file with its packages.

    The report is rendered again, from the judgement without its secrets, and shows `pictures` (file
    name → `data:` URI).
    """
    clean = folder.redactor.dataclass(judgement, "report.html")
    shown = pictures and {
        folder.redactor.text(name, "report.html"): uri for name, uri in pictures.items()
    }
    write_report(clean, folder.root, shown)
    folder.json(MANIFEST, manifest.model_dump(mode="json"))
    for record in records:
        cell = folder.redactor.text(record.cell, MANIFEST)
        folder.json(record_name(cell), record.model_dump(mode="json"))
        _write_build(folder, run, record, cell)
    _write_matrix(folder, run)
    for path in sorted((run.folder / "logs").rglob("*.log")):
        folder.log(f"{RUN}/{path.relative_to(run.folder).as_posix()}", path)
    for name in manifest.tables:
        folder.text(f"{RUN}/tables/{name[:12]}.json", _table(run, name))
    return _write_environments(folder, manifest, records)


def _write_build(folder: Folder, run: Run, record: Record, cell: str) -> None:
    """Writes what TensorRT told of the engine that it built, and the scales that it calibrated."""
    measurement = again(record)
    for stored, name in (
        (measurement and measurement.layers, f"{RUN}/layers/{job_id(cell)}.json"),
        (measurement and measurement.cache, f"{RUN}/caches/{job_id(cell)}.cache"),
    ):
        if stored and run.store.has(stored):
            folder.text(name, run.store.path(stored).read_text("utf-8", "replace"))


def _table(run: Run, name: str) -> str:
    path = run.folder / "tables" / f"{name[:12]}.json"
    return path.read_text("utf-8") if path.exists() else "{}"


def _write_matrix(folder: Folder, run: Run) -> None:
    """Writes matrix.yaml from its content alone: comments are for those who share a desk."""
    path = run.folder / "matrix.yaml"
    content = folder.redactor.value(read(path).value, MATRIX)
    folder.own(MATRIX, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100))
    lines = path.read_text("utf-8", "replace").splitlines()
    folder.redactor.count(Kind.COMMENT, MATRIX, sum("#" in line for line in lines))


def _write_environments(
    folder: Folder, manifest: Manifest, records: Sequence[Record]
) -> Mapping[str, str]:
    found: dict[str, Start] = {}
    if manifest.reference and manifest.reference.start:
        found[manifest.reference.start.environment] = manifest.reference.start
    for record in records:
        measurement = again(record)
        if measurement and measurement.start:
            found[record.environment] = measurement.start
    names: dict[str, str] = {}
    for environment, start in found.items():
        facts = {"identity": start.identity, "probe": start.probe, "gpu": start.gpu}
        folder.json(f"{ENVIRONMENTS}/{environment}.json", facts)
        packages = requirements(start.identity)
        if packages:
            names[environment] = folder.text(f"{ENVIRONMENTS}/{environment}.txt", packages)
    installed = sorted(f"{one.name}=={one.version}\n" for one in metadata.distributions())
    folder.text(f"{ENVIRONMENTS}/trt-matrix.txt", "".join(dict.fromkeys(installed)))
    return names
