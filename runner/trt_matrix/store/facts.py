"""Small JSON by fingerprint beside the objects: what was measured, and what was made of what."""

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic

from trt_matrix.containers.job import protocol
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import DerivedObject, Stored, StoredObject, digest
from trt_matrix.store.arrays import read_array
from trt_matrix.store.locks import held
from trt_matrix.store.objects import Objects, explained
from trt_matrix.store.sealing import sealed, unsealed
from trt_matrix.store.untrusted import remove

Fact = TypeVar("Fact", bound=Stored)

SUMS_VERSION = 1
"""Raise when `job.reductions` changes what it computes."""

_HASH = re.compile(r"\b[0-9a-f]{64}\b")


class Facts(Objects):
    """Objects, and what is known of them, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(root / "objects")

    def _fact(self, kind: str, fingerprint: str) -> Path:
        return self.root / "facts" / kind / f"{fingerprint}.json"

    def get(self, kind: type[Fact], fingerprint: str) -> Fact | None:
        """Returns the stored fact; None where there is none, or only a damaged one (with a warning)."""
        path = self._fact(kind.__name__.lower(), fingerprint)
        return self.read_fact(kind, path, "what it told is measured again")

    def keep(self, fact: Stored, fingerprint: str) -> None:
        self._seal(self._fact(type(fact).__name__.lower(), fingerprint), fact)

    def _seal(self, path: Path, fact: Stored) -> None:
        with explained(self.root):
            protocol.write_json(str(path), sealed(fact))

    def derive(self, key: Any, suffix: str, make: Callable[[Path], None]) -> StoredObject:
        """Returns the object, its name ending in `suffix`, that `make` writes to the path that it is given; once for each key.

        The key is any JSON value; every SHA-256 in it names something that the object is made of.
        """
        if known := self.derived(key):
            return known
        with self.workspace() as folder:
            target = folder / f"derived{suffix}"
            with explained(target):
                make(target)
            stored = self.adopt(target)
        fact = DerivedObject(**stored.model_dump(), sources=tuple(sorted(hashes(json.dumps(key)))))
        self._seal(self._derived(key), fact)
        return stored

    def derived(self, key: Any) -> StoredObject | None:
        """Returns what `derive` made earlier for `key`; makes nothing."""
        known = self.read_fact(DerivedObject, self._derived(key), "it is made again")
        return known.object if known and self.has(known) else None

    def _derived(self, key: Any) -> Path:
        return self._fact("object", digest(key))

    def sums(self, y: StoredObject, r: StoredObject, epsilon: float) -> Sums:
        """Returns the per-image sums of `y` against `r`, computed once for the two contents."""
        # Imported here: the sums of an unchanged experiment are read, never computed.
        from trt_matrix.containers.job.reductions import compare  # noqa: PLC0415

        def make(target: Path) -> None:
            np.save(target, compare(self.array(y), self.array(r), epsilon))

        sums: Sums = read_array(
            self.path(self.derive(_sums_key(y.sha256, r.sha256, epsilon), ".npy", make))
        )
        return sums

    def take_sums(self, y: str, r: str, epsilon: float, sums: Sums) -> Sums:
        """Keeps sums of outputs that stayed elsewhere, and returns what is known of the same contents.

        `y` and `r` are the SHA-256 of the output and of what it was compared with, `epsilon` as `self.sums` takes it. The given
        `sums` are not kept where others are known.
        """
        key = _sums_key(y, r, epsilon)
        known: Sums = read_array(
            self.path(self.derive(key, ".npy", lambda target: np.save(target, sums)))
        )
        return known

    def read_fact(self, kind: type[Fact], path: Path, consequence: str) -> Fact | None:
        """Returns what a file holds; None where it is missing or damaged (with a warning of what follows)."""
        try:
            with explained(path):
                content = path.read_bytes() if path.exists() else None
            return None if content is None else unsealed(kind, content)
        except ValueError as error:
            text = f"{path}: damaged, or of another version ({_told(error)}); {consequence}"
            self.warn(text)
            return None

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yields an empty folder on the store's file system; it is removed on every path.

        It is held by a lock while it is in use, which ends with this process however that ends.
        """
        work = self.root / "work"
        with contextlib.ExitStack() as holding:
            with explained(self.root), held(work):  # so that no sweep comes in between
                folder = Path(tempfile.mkdtemp(dir=work))
                holding.enter_context(held(folder))
            holding.callback(remove, folder)
            yield folder


def _told(error: ValueError) -> str:
    """Returns the first problem: `latency.samples_s: Field required`."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _sums_key(y: str, r: str, epsilon: float) -> Mapping[str, Any]:
    return {"sums": SUMS_VERSION, "y": y, "r": r, "epsilon": epsilon}


def hashes(text: str) -> frozenset[str]:
    """Returns every SHA-256 (hex) in a text."""
    return frozenset(_HASH.findall(text))
