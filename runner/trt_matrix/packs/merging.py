"""results.tar → what the environments that run elsewhere answer with: checked, then kept."""

import json
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel

from trt_matrix.containers.job import protocol
from trt_matrix.core.words import count
from trt_matrix.environments.base import Environment
from trt_matrix.errors import StoreError
from trt_matrix.execution.answer_models import PassAnswer, plain_json, valid
from trt_matrix.execution.left import LEFT, LeftFacts, LeftFile, question
from trt_matrix.packs.environment import (
    ENDING,
    LOG,
    MergedEnvironment,
    calibration_key,
    pass_key,
    pool,
)
from trt_matrix.packs.packing import sent
from trt_matrix.packs.returned import ReturnedEnding, ReturnedManifest, ReturnedRequest
from trt_matrix.store.results import Store, explained, sha256_of
from trt_matrix.store.unpacking import is_plain, take_out
from trt_matrix.store.untrusted import UntrustedError, content, remove

MANIFEST = "results.json"
MOST_FILES = 1_000_000
MOST_BYTES = 1 << 40
MOST_JSON_BYTES = 256 << 20
"""Of results.json: a hash for each of a million files."""

T = TypeVar("T", bound=BaseModel)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Merged:
    environments: Mapping[str, int]
    """environment → answers that came back."""
    failed: int
    stayed_bytes: int = 0
    """Of outputs that are there still."""

    def text(self) -> str:
        lines = [
            f"{name}: {count(answers, 'answer')}" for name, answers in self.environments.items()
        ]
        if self.failed:
            lines.append(f"{self.failed} of them failed there: the report says why")
        if self.stayed_bytes:
            lines.append(
                f"{self.stayed_bytes / 1e6:.0f} MB of outputs stayed there; sums, hashes and the values that boxes are "
                "made of came"
            )
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
        # All of it is read before any of it is kept.
        starts = [
            _read_start(archive, ending.parent, manifest)
            for ending in sorted(folder.glob(f"*/start-*/{ENDING}"))
        ]
        counts: dict[str, int] = {}
        failed = 0
        for start in starts:
            environment = requests[start.folder.parent.name]["environment"]
            with explained(archive):
                kept, broken = _keep(start, pool(store.root, environment))
            counts[environment] = counts.get(environment, 0) + kept
            failed += broken
    return Merged(counts, failed, sum(left_file.size_bytes for left_file in manifest.left.values()))


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
                if not member.isfile() or not is_plain(member.name):
                    message = f"{archive}: {member.name!a:.200} is no plain file below the archive"
                    raise StoreError(message)
                if number > MOST_FILES or total > MOST_BYTES:
                    raise StoreError(f"{archive}: more than any pack answers; it is no results.tar")
                if total > shutil.disk_usage(folder).free:
                    raise StoreError(f"{archive}: {total / 1e9:.1f} GB do not fit on this disk")
                take_out(opened, member, folder / member.name)
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        ArithmeticError,
        ValueError,
    ) as error:
        message = f"{archive}: no archive of run-pack.py ({error!s:.200}); copy it again"
        raise StoreError(message) from error


def _checked(archive: Path, folder: Path) -> ReturnedManifest:
    """Returns the manifest after every file was found to be what it says, and no other there."""
    manifest = _json(archive, folder, MANIFEST, ReturnedManifest)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    present.discard(MANIFEST)
    files = manifest.files
    wrong = sorted((present ^ files.keys()) | (present & manifest.left.keys())) + [
        name for name in sorted(present & files.keys()) if sha256_of(folder / name) != files[name]
    ]
    if wrong:
        names = ", ".join(f"{name:.200}" for name in wrong[:5])
        raise StoreError(f"{archive}: changed on the way: {names}; copy it again")
    return manifest


def _json(archive: Path, folder: Path, name: str, kind: type[T]) -> T:
    """Returns a small JSON file of the archive, typed and bounded."""
    try:
        return valid(kind, plain_json(content(folder, name, MOST_JSON_BYTES)))
    except (FileNotFoundError, UntrustedError, ValueError) as error:
        message = f"{archive}: {name} is missing or damaged ({error!s:.300}); copy it again"
        raise StoreError(message) from error


def _requests(
    archive: Path, manifest: ReturnedManifest, store: Store
) -> Mapping[str, Mapping[str, Any]]:
    """Returns id → what the pack asked."""
    path = sent(store.root, manifest.pack)
    if not path.is_file():
        raise StoreError(f"{archive}: answers a pack that was not made from {store.results}")
    requests = {
        request["id"]: request for request in json.loads(path.read_text("utf-8"))["requests"]
    }
    names = {*manifest.files, *manifest.left}
    unknown = {name.split("/")[0] for name in names} - requests.keys()
    if unknown:
        message = f"{archive}: holds {', '.join(f'{name:.200}' for name in sorted(unknown)[:5])}, which that pack never asked"
        raise StoreError(message)
    return requests


@dataclass(frozen=True, slots=True)
class _Start:
    """One start there, found to be what it should."""

    folder: Path
    asked: Mapping[str, Any]
    ending: ReturnedEnding
    files: Mapping[str, str]
    """Every file of it, also those that stayed there → SHA-256."""
    left: Mapping[str, LeftFile]
    """Those that stayed."""

    def left_facts(self, name: str) -> LeftFacts | None:
        """Returns what is known of the outputs of a pass that stayed; None where none did."""
        left = _below(_of_pass(name), self.left)
        settle = question(self.asked.get("settle"))
        if not left or settle is None:
            return None
        return LeftFacts(settle=settle, files=left, own=self._own(name))

    def _own(self, name: str) -> Mapping[str, str]:
        """Returns head → SHA-256 of the own fp32 that a pass was compared with there, or of none."""
        given = self.asked["settle"]["own"]
        if given is not None:
            return {head: file.partition(".")[0] for head, file in given.items()}
        (other,) = (
            pass_["compare_with"] for pass_ in self.asked["passes"] if pass_["name"] == name
        )
        answer = f"{_of_pass(other)}{protocol.PASS}"
        if other is None or answer not in self.files:
            return {}
        pass_answer = valid(PassAnswer, plain_json(content(self.folder, answer, MOST_JSON_BYTES)))
        digests = {
            head: self.files.get(_of_pass(other) + output.file)
            for head, output in pass_answer.outputs.items()
        }
        return {head: sha256 for head, sha256 in digests.items() if sha256}


def _below(folder: str, files: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the files below a folder, by their names there."""
    return {
        name.removeprefix(folder): value for name, value in files.items() if name.startswith(folder)
    }


def _of_pass(name: str) -> str:
    return f"result/{protocol.PASSES}/{name}/"


def _read_start(archive: Path, start: Path, manifest: ReturnedManifest) -> _Start:
    home = start.parent.parent
    name = start.relative_to(home).as_posix()
    request = f"{name}/request/{protocol.REQUEST}"
    asked = _json(archive, home, request, ReturnedRequest).model_dump(mode="json")
    ending = _json(archive, home, f"{name}/{ENDING}", ReturnedEnding)
    if not (start / LOG).is_file():
        raise StoreError(f"{archive}: {name}/{LOG} is missing; copy it again")
    try:
        asked = _unpointed(asked)
        keys = [pass_key(asked, pass_) for pass_ in asked["passes"]]
        keys += [calibration_key(asked)] if asked["calibration"] else []
        left = _below(f"{name}/", manifest.left)
        there = {file: stayed.sha256 for file, stayed in left.items()}
        files = {**_below(f"{name}/", manifest.files), **there}
        read = _Start(start, asked, ending, files, left)
        for pass_ in asked["passes"]:  # here, before anything is kept
            read.left_facts(pass_["name"])
    except (AttributeError, KeyError, TypeError, ValueError, UntrustedError) as error:
        message = f"{archive}: {request} is no request ({error!r:.200}); copy it again"
        raise StoreError(message) from error
    return read


def _keep(start: _Start, target: Path) -> tuple[int, int]:
    """Copies the answers of one start to `target`; returns how many, and how many of them failed."""
    result = start.folder / "result"
    kept = broken = 0
    for pass_ in start.asked["passes"]:
        answered = (result / protocol.PASSES / pass_["name"] / protocol.PASS).is_file()
        if answered or pass_["name"] in start.ending.failed:
            answer = target / pass_key(start.asked, pass_)
            _write(start, answer, None if not answered else pass_["name"])
            kept, broken = kept + 1, broken + (not answered)
    if start.asked["calibration"]:
        answered = (result / protocol.CALIBRATION).is_file()
        _write(start, target / calibration_key(start.asked), "" if answered else None)
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


def _write(start: _Start, answer: Path, answered: str | None) -> None:
    """Puts one answer into the pool, whole or not at all; a later one takes its place.

    `answered` is the pass, "" for a calibration; None where there was no answer.
    """
    partial = answer.with_name(f"{answer.name}{protocol.PARTIAL}")
    remove(partial)
    result = start.folder / "result"
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
            result / protocol.PASSES / answered,
            partial / "result" / protocol.PASSES / answered,
            ignore=shutil.ignore_patterns(LEFT),  # is written here alone
        )
        if facts := start.left_facts(answered):
            protocol.write_json(str(partial / LEFT), facts.model_dump(mode="json"))
    ending = start.ending.model_dump(mode="json")
    protocol.write_json(str(partial / ENDING), {**ending, "failed": answered is None})
    shutil.copyfile(start.folder / LOG, partial / LOG)
    remove(answer)
    partial.replace(answer)
