"""results.tar → what the environments that run elsewhere answer with: checked, then kept."""

import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from job import protocol
from runner.core.words import count
from runner.environments.base import Environment
from runner.errors import StoreError
from runner.packs.environment import ENDING, LOG, MergedEnvironment, pool
from runner.packs.keys import calibration_key, pass_key
from runner.packs.packing import sent
from runner.store import Store, explained, sha256_of
from runner.unpacking import stays_below, take_out

MANIFEST = "results.json"
MOST_FILES = 1_000_000
MOST_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class Merged:
    environments: Mapping[str, int]
    """environment → answers that came back."""
    failed: int

    def text(self) -> str:
        lines = [
            f"{name}: {count(answers, 'answer')}" for name, answers in self.environments.items()
        ]
        if self.failed:
            lines.append(f"{self.failed} of them failed there: the report says why")
        return "\n".join(lines) + "\nnow run `trt-matrix run`: it takes them in and judges all"


def merge(archive: Path, results: Path) -> Merged:
    """Keeps the answers of an archive that run-pack.py wrote.

    Raises:
        StoreError: no such archive, damaged, changed on the way, or of a pack that was not made here.
    """
    store = Store(results)
    with store.workspace() as folder:
        _extract(archive, folder)
        manifest = _checked(archive, folder)
        requests = _requests(archive, manifest, store)
        counts: dict[str, int] = {}
        failed = 0
        for start in sorted(folder.glob(f"*/start-*/{ENDING}")):
            one = requests[start.parent.parent.name]
            target = pool(store.root, one["environment"])
            kept, broken = _keep(start.parent, target)
            counts[one["environment"]] = counts.get(one["environment"], 0) + kept
            failed += broken
    return Merged(counts, failed)


def answering(results: Path) -> Callable[[Environment], Environment]:
    """Returns what puts merged answers in the place of environments that cannot run here."""

    def around(environment: Environment) -> Environment:
        folder = pool(results / Store.FOLDER, environment.name)
        return MergedEnvironment(environment, folder) if folder.is_dir() else environment

    return around


def _extract(archive: Path, folder: Path) -> None:
    """Unpacks plain files alone, each below `folder`."""
    total = 0
    try:
        with explained(archive), tarfile.open(archive) as opened:
            for number, member in enumerate(opened):
                total += member.size
                if not member.isfile() or not stays_below(member.name):
                    message = f"{archive}: {member.name!a:.200} is no plain file below the archive"
                    raise StoreError(message)
                if number > MOST_FILES or total > MOST_BYTES:
                    message = f"{archive}: more than any pack answers; it is no results.tar"
                    raise StoreError(message)
                if total > shutil.disk_usage(folder).free:
                    message = f"{archive}: {total / 1e9:.1f} GB do not fit on this disk"
                    raise StoreError(message)
                take_out(opened, member, folder / member.name)
    except tarfile.TarError as error:
        message = f"{archive}: no archive of run-pack.py ({error}); copy it again"
        raise StoreError(message) from error


def _checked(archive: Path, folder: Path) -> Mapping[str, Any]:
    """Returns the manifest after every file was found to be what it says, and no other there."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        pack, files = str(manifest["pack"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{archive}: {MANIFEST} is missing or damaged; copy it again"
        raise StoreError(message) from error
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found.discard(MANIFEST)
    wrong = sorted(found ^ files.keys()) + [
        name for name in sorted(found & files.keys()) if sha256_of(folder / name) != files[name]
    ]
    if wrong:
        message = f"{archive}: changed on the way: {', '.join(wrong[:5])}; copy it again"
        raise StoreError(message)
    return {"pack": pack, "files": files}


def _requests(
    archive: Path, manifest: Mapping[str, Any], store: Store
) -> Mapping[str, Mapping[str, Any]]:
    """Returns id → what the pack asked."""
    path = sent(store.root, manifest["pack"])
    if not manifest["pack"].isalnum() or not path.is_file():
        message = f"{archive}: answers a pack that was not made from {store.results}"
        raise StoreError(message)
    requests = {one["id"]: one for one in json.loads(path.read_text("utf-8"))["requests"]}
    unknown = {name.split("/")[0] for name in manifest["files"]} - requests.keys()
    if unknown:
        message = f"{archive}: holds {', '.join(sorted(unknown)[:5])}, which that pack never asked"
        raise StoreError(message)
    return requests


def _keep(start: Path, target: Path) -> tuple[int, int]:
    """Moves the answers of one start to `target`; returns how many, and how many of them failed."""
    asked = _unpointed(json.loads((start / "request" / protocol.REQUEST).read_text("utf-8")))
    ending = json.loads((start / ENDING).read_text("utf-8"))
    kept = broken = 0
    for one in asked["passes"]:
        answered = (start / "result" / protocol.PASSES / one["name"] / protocol.PASS).is_file()
        if answered or one["name"] in ending["failed"]:
            _write(
                start, target / pass_key(asked, one), ending, None if not answered else one["name"]
            )
            kept, broken = kept + 1, broken + (not answered)
    if asked["calibration"]:
        answered = (start / "result" / protocol.CALIBRATION).is_file()
        _write(start, target / calibration_key(asked), ending, "" if answered else None)
        kept, broken = kept + 1, broken + (not answered)
    return kept, broken


def _unpointed(value: Any) -> Any:
    """Returns a request as it was asked: its files by their names, which say their content."""
    if isinstance(value, dict):
        return {key: _unpointed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unpointed(inner) for inner in value]
    if isinstance(value, str) and value.startswith("../../../../objects/"):
        return PurePosixPath(value).name
    return value


def _write(start: Path, answer: Path, ending: Mapping[str, Any], answered: str | None) -> None:
    """Puts one answer into the pool, whole or not at all; a later one takes its place.

    Args:
        start: Folder of the start.
        answer: Where it goes.
        ending: How the start ended.
        answered: The pass, "" for a calibration; None where there was no answer.
    """
    partial = answer.with_name(f"{answer.name}{protocol.PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    result = start / "result"
    names = [protocol.PROBE]
    if answered is None:
        names += [protocol.STAGE, protocol.RESULT]
    elif answered == "":
        names += [protocol.CALIBRATION]
    (partial / "result").mkdir(parents=True)
    for name in names:
        if (result / name).is_file():
            shutil.copyfile(result / name, partial / "result" / name)
    if answered:
        shutil.copytree(
            result / protocol.PASSES / answered, partial / "result" / protocol.PASSES / answered
        )
    protocol.write_json(str(partial / ENDING), {**ending, "failed": answered is None})
    shutil.copyfile(start / LOG, partial / LOG)
    shutil.rmtree(answer, ignore_errors=True)
    partial.replace(answer)
