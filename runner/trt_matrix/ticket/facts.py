"""A run in its ticket: report, tables for machines, records, logs, tables, matrix.yaml, environments."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import yaml

from trt_matrix.config.yaml_file import read
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record, Start, StoredObject
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.judging.run import rendered
from trt_matrix.store.results import RunFolder
from trt_matrix.ticket import plugins
from trt_matrix.ticket.folder import LONGEST_LOG, Folder, shortened
from trt_matrix.ticket.kinds import HiddenKind
from trt_matrix.ticket.requests import again, job_id
from trt_matrix.ticket.script import requirements

if TYPE_CHECKING:
    from trt_matrix.judging.pictures import Pictures

RUN = "run"
ENVIRONMENTS = "environments"
MATRIX = f"{RUN}/matrix.yaml"
MANIFEST = f"{RUN}/manifest.json"


def record_name(cell: str) -> str:
    return f"{RUN}/records/{job_id(cell)}.json"


def told(run: RunFolder, manifest: Manifest, records: Sequence[Record]) -> Iterator[Any]:
    """Yields everything of a run that holds text, so that secrets are learned from it."""
    yield read(run.folder / "matrix.yaml").value
    yield from stated(manifest, records)
    for path in sorted((run.folder / "logs").rglob("*.log")):
        yield shortened(path, LONGEST_LOG)
    for name in manifest.tables:
        yield _json_or_text(_table(run, name))
    for record in records:
        for stored, _ in _build_files(record, record.cell):
            if run.store.has(stored):
                yield _json_or_text(run.store.path(stored).read_text("utf-8", "replace"))
    yield from plugins.texts(run, manifest.asked)


def stated(manifest: Manifest, records: Sequence[Record]) -> Iterator[Any]:
    yield manifest.model_dump(mode="json")
    for record in records:
        yield record.model_dump(mode="json")


def write_run(
    folder: Folder,
    run: RunFolder,
    manifest: Manifest,
    records: Sequence[Record],
    judgement: Judgement,
    pictures: "Pictures | None" = None,
) -> Mapping[str, str]:
    """Writes all of it; returns environment → name of the file with its packages.

    The report is rendered again, from the judgement without its secrets, and shows `pictures`.
    """
    clean = folder.redactor.dataclass(judgement, "report.html")
    shown = pictures and pictures.renamed(lambda name: folder.redactor.text(name, "report.html"))
    judgement_file = JudgementFile(
        schema_version=1,
        judgement=clean,
        pictures=shown and shown.cut_out,
        fed=shown.fed if shown else {},
        seconds=dict(manifest.seconds),
    )
    rendered(judgement_file.write(folder.root), folder.root)
    folder.json(MANIFEST, manifest.model_dump(mode="json"))
    for record in records:
        cell = folder.redactor.text(record.cell, MANIFEST)
        folder.json(record_name(cell), record.model_dump(mode="json"))
        _write_build(folder, run, record, cell)
    _write_matrix(folder, run)
    for path in sorted((run.folder / "logs").rglob("*.log")):
        folder.log(f"{RUN}/{path.relative_to(run.folder).as_posix()}", path)
    for name in manifest.tables:
        _write(folder, f"{RUN}/tables/{name[:12]}.json", _table(run, name))
    return _write_environments(folder, manifest, records)


def _write_build(folder: Folder, run: RunFolder, record: Record, cell: str) -> None:
    for stored, name in _build_files(record, cell):
        if run.store.has(stored):
            _write(folder, name, run.store.path(stored).read_text("utf-8", "replace"))


def _build_files(record: Record, cell: str) -> Iterator[tuple[StoredObject, str]]:
    """Yields what TensorRT told of the engine that it built, and the scales that it calibrated."""
    measurement = again(record)
    if measurement and measurement.layers:
        yield measurement.layers, f"{RUN}/layers/{job_id(cell)}.json"
    if measurement and measurement.cache:
        yield measurement.cache, f"{RUN}/caches/{job_id(cell)}.cache"


def _write(folder: Folder, name: str, text: str) -> None:
    """Writes a file, of JSON value by value: a secret may be spelt otherwise inside its texts."""
    value = _json_or_text(text)
    if isinstance(value, str):
        folder.text(name, text)
    else:
        folder.json(name, value)


def _json_or_text(text: str) -> Any:
    """Returns a JSON object or list; the text where it holds none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) else text


def _table(run: RunFolder, name: str) -> str:
    path = run.folder / "tables" / f"{name[:12]}.json"
    return path.read_text("utf-8", "replace") if path.exists() else "{}"


def _write_matrix(folder: Folder, run: RunFolder) -> None:
    """Writes matrix.yaml from its content alone: comments are for those who share a desk."""
    path = run.folder / "matrix.yaml"
    content = folder.redactor.value(read(path).value, MATRIX)
    folder.own(MATRIX, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100))
    lines = path.read_text("utf-8", "replace").splitlines()
    folder.redactor.count(HiddenKind.COMMENT, MATRIX, sum("#" in line for line in lines))


def _write_environments(
    folder: Folder, manifest: Manifest, records: Sequence[Record]
) -> Mapping[str, str]:
    starts: dict[str, Start] = {}
    if manifest.reference and manifest.reference.start:
        starts[manifest.reference.start.environment] = manifest.reference.start
    for record in records:
        measurement = again(record)
        if measurement and measurement.start:
            starts[record.environment] = measurement.start
    names: dict[str, str] = {}
    for environment, start in starts.items():
        facts = {"identity": start.identity, "probe": start.probe, "gpu": start.gpu}
        folder.json(f"{ENVIRONMENTS}/{environment}.json", facts)
        packages = requirements(start.identity)
        if packages:
            names[environment] = folder.text(f"{ENVIRONMENTS}/{environment}.txt", packages)
    installed = sorted(
        f"{distribution.name}=={distribution.version}\n"
        for distribution in metadata.distributions()
    )
    folder.text(f"{ENVIRONMENTS}/trt-matrix.txt", "".join(dict.fromkeys(installed)))
    return names
