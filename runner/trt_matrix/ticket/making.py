"""A finished run → the zip that is attached to a support ticket."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trt_matrix.config import catalog
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.plan import select as chosen_cells
from trt_matrix.core.records import Calibration, Record
from trt_matrix.environments.factory import reference_environment
from trt_matrix.environments.machine import program
from trt_matrix.errors import NothingSelectedError
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.judging.run import judgement_of, pictures_of
from trt_matrix.report.summary import SUMMARY
from trt_matrix.store.objects import require_folder
from trt_matrix.store.results import RunFolder, finished_run, sha256_of
from trt_matrix.ticket import archive, facts
from trt_matrix.ticket.content import NAME, ROOT, CellOfTicket, StandIn, TicketContent
from trt_matrix.ticket.folder import Folder, hashes
from trt_matrix.ticket.here import hidden, secrets_here
from trt_matrix.ticket.jobs import OBJECTS, Inputs, TicketJobs, companion_of, inputs_of, obstacle
from trt_matrix.ticket.kinds import HiddenKind, Secret
from trt_matrix.ticket.plugins import Plugins, plugins_of
from trt_matrix.ticket.redaction import Redactor, versions_in
from trt_matrix.ticket.requests import again
from trt_matrix.ticket.script import JOBS, SCRIPT
from trt_matrix.ticket.stand_ins import StandIns, WantedStandIns

MOST_IMAGES = 16
"""Evaluation images that the jobs of a ticket work on, where nothing else is asked for."""

OTHER_JOB = "the job's program has changed since the run: what runs again is not quite what ran"
NOT_ASKED = "not asked for with --cell"

WORDS = ("name", "version", "engine", "environment", "driver", "packages", "options", "gpu")
"""Keys of facts that are read by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketWish:
    """What is to be in a ticket."""

    cells: Sequence[str] = ()
    """Globs over cell ids: whose jobs; all where there is none."""
    hide: Sequence[str] = ()
    """Texts that must not be in it."""
    images: int = MOST_IMAGES
    no_images: bool = False
    no_weights: bool = False
    no_plugins: bool = False
    """Custom layers stay at home, and the jobs that need them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeTicket:
    path: Path
    sha256: str
    content: TicketContent
    size_bytes: int

    def text(self) -> str:
        removed: Counter[str] = Counter()
        for out in self.content.removed:
            removed[out.kind] += out.count
        jobs = [cell for cell in self.content.cells if cell.reproduce]
        without = Counter(cell.why_not for cell in self.content.cells if cell.why_not)
        lines = [
            f"{self.path}: {self.size_bytes / 1e6:.1f} MB, sha256 {self.sha256}",
            self._jobs(len(jobs)),
            *(f"  {count} without a job: {reason}" for reason, count in without.items()),
            "taken out: " + (", ".join(f"{count} × {kind}" for kind, count in removed.items())),
            *(f"not taken out: {kind}" for kind in self.content.kept),
            *([OTHER_JOB] if jobs and not self.content.same_job else []),
        ]
        if self.content.stand_in:
            lines.append(self.content.stand_in.sentence)
        lines.append(
            f"read it before you send it; {ROOT}/{SUMMARY} in it is to be pasted into a forum"
        )
        return "\n".join(lines)

    def _jobs(self, count: int) -> str:
        content = self.content
        if not count:
            return f"none of its {len(content.cells)} cells can be run again from it"
        return (
            f"{count} of {len(content.cells)} cells can be run again from it, on "
            f"{content.images} of {content.of_images} images"
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """A run, and what of it was chosen."""

    run: RunFolder
    manifest: Manifest
    records: Sequence[Record]
    chosen: frozenset[str]
    packages: Mapping[str, str]
    """environment → name of the file with its packages."""


def make(
    name: str,
    results: Path,
    output: Path,
    wish: TicketWish,
    warn: Callable[[str], None] = lambda _: None,
) -> MadeTicket:
    """Writes the ticket of a finished run, its folder or `latest`, to the zip `output`.

    Raises:
        NothingSelectedError: no cell matches.
        StoreError: the run cannot be read, the ticket cannot be written, or it would hold a secret.
    """
    require_folder(output)
    run = finished_run(name, results, warn)
    manifest, records = run.manifest(), run.records()
    chosen = _chosen(records, wish.cells)
    wish = replace(wish, no_images=wish.no_images or not manifest.show_images)
    redactor = _redactor(run, manifest, records, wish)
    judgement = judgement_of(run, tuple(record.planned() for record in records))
    with run.store.workspace() as workspace:
        folder = Folder(workspace / ROOT, redactor)
        pictures = None if wish.no_images else pictures_of(run, judgement)
        packages = facts.write_run(folder, run, manifest, records, judgement, pictures)
        parts = Parts(run, manifest, records, chosen, packages)
        inputs, stand_in = _inputs(parts, wish, workspace / "stand-ins", folder)
        cells = _write_jobs(folder, parts, inputs, wanted=not wish.no_plugins)
        content = _seal(folder, manifest, cells, len(inputs.kept) if inputs else 0, stand_in)
        archive.write(folder.root, output)
    size_bytes = output.stat().st_size
    return MadeTicket(path=output, sha256=sha256_of(output), content=content, size_bytes=size_bytes)


def _chosen(records: Sequence[Record], patterns: Sequence[str]) -> frozenset[str]:
    cells = [record.planned() for record in records]
    unmatched = [pattern for pattern in patterns if not chosen_cells(cells, [pattern])]
    if unmatched:
        known = ", ".join(cell.id for cell in cells[:3])
        raise NothingSelectedError(f"no cell matches {' '.join(unmatched)}; there are: {known} …")
    return frozenset(cell.id for cell in chosen_cells(cells, patterns))


def _redactor(
    run: RunFolder, manifest: Manifest, records: Sequence[Record], wish: TicketWish
) -> Redactor:
    """Returns a redactor that has seen all that will be written."""
    names = _image_names(manifest) if wish.no_images else ()
    redactor = Redactor(
        [
            *hidden(list(wish.hide)),
            *secrets_here(os.environ, run.store.results),
            *(Secret(HiddenKind.IMAGE_NAME, name) for name in names),
        ],
        versions={*versions_in([*facts.stated(manifest, records)]), *_catalogued()},
        vocabulary={*_words()},
    )
    for value in facts.told(run, manifest, records):
        redactor.learn(value)
    return redactor


def _image_names(manifest: Manifest) -> Iterator[str]:
    """Yields the names of all images that a run wrote down, each once."""
    calibration = manifest.calibration
    sets = (calibration.calibration.files, calibration.evaluation.files) if calibration else ()
    evaluated = (image.file_name for image in manifest.evaluation)
    yield from dict.fromkeys((*evaluated, *(name for files in sets for name in files)))


def _catalogued() -> Iterator[str]:
    """Yields TensorRT's own versions: some of them could be addresses of a private network."""
    for row in catalog.rows():
        for value in (row.tensorrt, row.cuda, row.cudnn):
            if value:
                yield str(value)


def _words() -> Iterator[str]:
    """Yields the words that every ticket holds, whoever made it."""
    yield from WORDS
    for model in (Manifest, Record, Calibration, TicketContent, JudgementFile):
        yield from _keys(model.model_json_schema())
    for file in resources.files("trt_matrix.report").joinpath("templates").iterdir():
        yield from re.findall(r"\w+", file.read_text("utf-8"))
    yield from re.findall(r"\w+", SCRIPT)


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            yield from properties
        for word in schema.get("enum") or ():
            yield str(word)
        for inner in schema.values():
            yield from _keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _keys(inner)


def _inputs(
    parts: Parts, wish: TicketWish, workspace: Path, folder: Folder
) -> tuple[Inputs | None, StandIn | None]:
    """Returns what the jobs work on; None where there can be none."""
    run, manifest, asked = parts.run, parts.manifest, parts.manifest.asked
    inputs = inputs_of(run, manifest, asked, wish.images) if asked else None
    if asked is None or inputs is None or not (wish.no_images or wish.no_weights):
        return inputs, None
    chosen = [record for record in parts.records if record.cell in parts.chosen and again(record)]
    companions = filter(None, (companion_of(record, parts.records) for record in chosen))
    wanted = WantedStandIns(
        weights=wish.no_weights,
        images=wish.no_images,
        records=(*chosen, *companions),
        workspace=workspace,
    )
    stand_ins = StandIns(run, manifest, asked, reference_environment(), wanted).made(inputs)
    folder.redactor.count(HiddenKind.IMAGES, JOBS, wish.no_images)
    folder.redactor.count(HiddenKind.WEIGHTS, JOBS, wish.no_weights)
    return stand_ins


def _write_jobs(
    folder: Folder, parts: Parts, inputs: Inputs | None, *, wanted: bool
) -> tuple[CellOfTicket, ...]:
    """Writes the jobs of the chosen cells; returns all cells. `wanted` tells whether plugins go along."""
    asked = parts.manifest.asked
    jobs, plugins = None, Plugins()
    if asked and inputs:
        plugins = plugins_of(folder, parts.run, asked, OBJECTS, wanted=wanted)
        jobs = TicketJobs(folder, parts.run, parts.manifest, asked, inputs, plugins.entries)
    cells = []
    for record in parts.records:
        why_not = obstacle(asked, record, plugins.why_not)
        if record.cell not in parts.chosen:
            why_not = NOT_ASKED
        elif why_not is None and jobs is None:
            why_not = "there is no reference to compare with"
        path = None
        if jobs and why_not is None:
            companion = companion_of(record, parts.records)
            path = jobs.add(record, companion, parts.packages.get(record.environment, ""))
        cells.append(_cell(folder, record, path, why_not))
    if jobs:
        jobs.seal()
    return tuple(cells)


def _cell(folder: Folder, record: Record, path: str | None, why_not: str | None) -> CellOfTicket:
    redactor = folder.redactor
    return CellOfTicket(
        cell=redactor.text(record.cell, NAME),
        status=str(record.status),
        reproduce=path,
        why_not=None if why_not is None else redactor.text(why_not, NAME),
    )


def _seal(
    folder: Folder,
    manifest: Manifest,
    cells: tuple[CellOfTicket, ...],
    images: int,
    stand_in: StandIn | None,
) -> TicketContent:
    """Writes summary.md and ticket.json, and reads everything once more."""
    if stand_in:
        stand_in = StandIn.model_validate(folder.redactor.value(stand_in.model_dump(), NAME))
    removed = folder.redactor.removed()
    summary = folder.root / SUMMARY
    text = summary.read_text("utf-8") + _how_to_use(cells, stand_in)
    folder.own(SUMMARY, text)
    content = TicketContent.model_validate(
        {
            "tool": version("trt-matrix"),
            "run": folder.redactor.text(manifest.run_id, NAME),
            "images": images,
            "of_images": manifest.images,
            "same_job": manifest.facts.get("tool", {}).get("job_sha256") == program(),
            "cells": cells,
            "stand_in": stand_in,
            "removed": [
                {"kind": str(text.kind), "file": text.file, "count": text.times} for text in removed
            ],
            "kept": sorted(folder.redactor.kept),
            "files": hashes(folder.root),
        }
    )
    folder.own(NAME, content.model_dump_json(indent=1) + "\n")
    folder.check(f"{JOBS}/job/")
    return content


def _how_to_use(cells: Sequence[CellOfTicket], stand_in: StandIn | None) -> str:
    ready = [cell for cell in cells if cell.reproduce]
    lines = ["", "### The ticket", ""]
    if ready:
        lines += [
            f"{len(ready)} cells can be run again from the attached zip, with nothing but Python or "
            "Docker, for example:",
            "",
            f"    {ROOT}/{ready[0].reproduce} --docker",
            "",
        ]
    if stand_in:
        lines += [stand_in.sentence, ""]
    lines.append(
        "`trt-matrix verify TICKET.zip` checks that it is whole; `--rerun CELL` runs a cell."
    )
    return "\n".join(lines) + "\n"
