"""Outputs that a program of the user's own wrote: nothing is run, jobs are answered from its files."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trt_matrix.config.environments import Dumps
from trt_matrix.core.cells import Pass
from trt_matrix.core.plan import Recording
from trt_matrix.core.records import digest
from trt_matrix.dumps.answer import STATED, DumpedPass, ProgramAnswer, answer
from trt_matrix.dumps.files import files_below
from trt_matrix.dumps.layers import LayerFiles
from trt_matrix.dumps.recorded import Recorded
from trt_matrix.dumps.table_file import TableFile
from trt_matrix.dumps.tensor import ByteOrder, ChannelOrder, DType, DumpError, FileFormat
from trt_matrix.environments.base import Ending, Identity, JobRun, Transfer, untold
from trt_matrix.errors import EnvironmentUnavailableError

TABLES_VERSION = 3
"""Raise when the same file is read as another table, or is refused for another reason."""


def recording_of(entry: Dumps, known: Mapping[str, Pass]) -> Recording:
    """Returns what the plan must know of recorded outputs; `known` as for their environment."""
    return Recording(
        device=entry.device,
        passes=tuple(known[key] for key in entry.passes),
        repeats=entry.repeats,
    )


class DumpsEnvironment:
    """One folder of recorded outputs of matrix.yaml."""

    def __init__(
        self,
        entry: Dumps,
        *,
        root: Path,
        known: Mapping[str, Pass],
        heads: Sequence[str],
        images: Sequence[str],
        least_coverage: float,
    ) -> None:
        """Reads nothing yet.

        `known` is what its passes may be called → the pass; `images` are the names of the evaluation images without
        suffix, in their order; `least_coverage` is the least share of a head's tensors that a table must name.
        """
        self.name = entry.name
        self.engine: str = entry.engine
        self._entry = entry
        self._folder = root / entry.dumps
        form = FileFormat(
            dtype=DType(entry.dtype or "float32"),
            byte_order=ByteOrder(entry.byte_order or "little"),
            layout=ChannelOrder(entry.layout),
            sure=entry.dtype is not None or entry.byte_order is not None,
        )
        self._answering = ProgramAnswer(
            engine=entry.engine,
            version=entry.version,
            stated=entry.stated,
            shapes=entry.shapes,
            least_coverage=least_coverage,
            passes={
                known[key].name: DumpedPass(
                    outputs=Recorded(
                        folder=self._folder,
                        files=pass_.files,
                        images=images,
                        form=form,
                        names={head: entry.heads.get(head, head) for head in heads},
                    ),
                    table=None
                    if pass_.table is None
                    else TableFile(path=root / pass_.table, names=pass_.names),
                    layers=LayerFiles(
                        information=None if pass_.layers is None else root / pass_.layers,
                        profile=None if pass_.profile is None else root / pass_.profile,
                    ),
                )
                for key, pass_ in entry.passes.items()
            },
        )

    def obstacle(self, device: str) -> str | None:
        del device
        if not self._folder.is_dir():
            return f"{self._folder}: no such folder of recorded outputs"
        return None

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        """Looks at the files.

        The fingerprint covers name, size and time of every file: hashing gigabytes at each start
        would take as long as reading them.

        Raises:
            EnvironmentUnavailableError: the folder cannot be listed.
        """
        del offline, transfer
        try:
            files = self._files()
        except (DumpError, OSError) as error:
            raise EnvironmentUnavailableError(f"{self.name}: {error}") from error
        facts: dict[str, Any] = {
            "kind": "dumps",
            "folder": str(self._entry.dumps),
            "engine": f"{self.engine} {self._entry.version} {STATED}",
            **{name: f"{value} {STATED}" for name, value in self._entry.stated.items()},
            "files": len(files),
        }
        settings = self._entry.model_dump(mode="json", exclude={"name", "stated", "version"})
        images = [list(pass_.outputs.images) for pass_ in self._passes[:1]]
        key = {
            "settings": settings,
            "images": images,
            "files": files,
            "least_coverage": self._answering.least_coverage,
            "tables": TABLES_VERSION,
        }
        return Identity(fingerprint=digest(key), facts=facts)

    def identity(self) -> Identity | None:
        try:
            return self.prepare(offline=True)
        except EnvironmentUnavailableError:
            return None

    def run(self, job: JobRun) -> Ending:
        started = time.monotonic()
        # Files are read, nothing is run that could hang.
        answer(self._answering, job.request, job.result, job.log)
        job.tick()
        return Ending(exit_code=0, wall_s=time.monotonic() - started)

    @property
    def _passes(self) -> Sequence[DumpedPass]:
        return tuple(self._answering.passes.values())

    def _files(self) -> Mapping[str, list[int]]:
        """Returns path → [size in bytes, time of the last change in ns]."""
        paths = files_below(self._folder, ())
        stats = {name: path.stat() for name, path in paths.items()}
        beside = [pass_.table.path for pass_ in self._passes if pass_.table]
        beside += [path for pass_ in self._passes for path in pass_.layers.paths()]
        for path in beside:
            # One that is missing is told with its pass, whose outputs are there.
            with contextlib.suppress(OSError):
                stats[str(path)] = path.stat()
        return {name: [status.st_size, status.st_mtime_ns] for name, status in stats.items()}
