"""`trt_matrix.load`: a finished run as tidy pandas frames, every column documented."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trt_matrix.containers.job.reductions import SUMS
from trt_matrix.core.evidence import good
from trt_matrix.core.records import Measurement
from trt_matrix.core.tables.table import TableError, from_json
from trt_matrix.errors import StoreError
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.report.columns import COLUMNS, NAMES, NUMBER, TEXT, TRUTH, WHOLE
from trt_matrix.report.frames import long_table
from trt_matrix.store.results import RunFolder, Store, explained

if TYPE_CHECKING:
    import pandas as pd

CELL = {"cell": "Id of the cell: environment/device/pass."}
REPEAT = {"repeat": "Which build and start of the cell, from 0."}

DOCS: Mapping[str, Mapping[str, str]] = {
    "heads": {column.name: column.doc for column in COLUMNS},
    "cells": CELL
    | {
        "environment": "Name in matrix.yaml.",
        "device": "cpu or one GPU.",
        "pass_name": "Precision and table: int8-shared-entropy.",
        "status": "How it ended: ok, job_failed, crashed, timed_out, unsupported, …",
        "reason": "One sentence where status is not ok.",
        "repeats": "Measurements that succeeded.",
        "reused": "How many of the measurements an earlier run made.",
        "table": "Digest of the calibration table; empty without one.",
        "engine_version": "Found inside the environment.",
    },
    "images": CELL
    | {"head": "Output of the network."}
    | REPEAT
    | {
        "image": "Evaluation image, from 0, in the order of their names.",
        "d2": "Sum of d² over the finite elements, d = output − reference.",
        "d1": "Sum of |d|.",
        "dmax": "Largest |d|.",
        "r2": "Sum of squares of the reference: the signal's energy.",
        "y2": "Sum of squares of the output.",
        "ry": "Sum of reference · output.",
        "n": "Elements that are finite on both sides.",
        "over": "Elements with |d| above epsilon.",
        "nonfinite": "Elements NaN or infinite on either side; in no sum.",
    },
    "latencies": CELL
    | REPEAT
    | {
        "sample": "Inference, from 0, after the warm-up.",
        "seconds": "Its duration.",
        "batch": "Images in it.",
    },
    "tables": {
        "table": "Digest of the table.",
        "tensor": "Name in the network.",
        "amax": "Largest magnitude that is kept; scale = amax / 127.",
    },
}
"""Frame → column → what it holds, with its unit."""


SHOWN = ("environment", "device", "pass_name", "head", "status", "sqnr_db", "verdicts")
"""Columns of the heads that a notebook shows."""
DTYPES = {TEXT: "string", NUMBER: "float64", WHOLE: "Int64", TRUTH: "boolean", NAMES: "object"}
"""Of pandas, each of which can say that a value is not known."""


@dataclass(frozen=True, repr=False)
class Results:
    """One run. `docs["heads"]["sqnr_db"]` says what a column holds.

    Attributes:
        run: Id of the run.
        heads: One row a cell and head: results.csv, typed.
        cells: One row a cell, also those that did not run.
        images: One row a cell, head, repeat and image: the sums that every error metric is made
            from. NMSE of a cell is `d2.sum() / r2.sum()`.
        latencies: One row a timed inference.
        tables: One row a calibration table and tensor.
    """

    run: str
    heads: "pd.DataFrame"
    cells: "pd.DataFrame"
    images: "pd.DataFrame"
    latencies: "pd.DataFrame"
    tables: "pd.DataFrame"

    docs = DOCS

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(getattr(self, name))}" for name in DOCS)
        return f"<Results {self.run}: rows of {sizes}>"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the heads of each cell in a few columns, and what else there is."""
        shown = self.heads[[name for name in SHOWN if name in self.heads]]
        return f"<p>{escape(repr(self))}</p>{shown.to_html(index=False, max_rows=20)}"


def load(path: Path | str) -> Results:
    """Reads the results of one run.

    Args:
        path: Its folder, `results/latest` or `results/20261123T091500Z-digits3`.

    Raises:
        StoreError: it holds no finished run, or one that is damaged, or another release judged it.
        ModuleNotFoundError: pandas, which the extra `frames` brings, is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - of an extra, and it takes a second
    except ModuleNotFoundError as error:
        message = "trt_matrix.load needs pandas: pip install 'trt-matrix[frames]'"
        raise ModuleNotFoundError(message, name="pandas") from error

    run = _opened(Path(path))
    heads = frame_of(long_table(JudgementFile.read(run.folder).judgement))
    frames = {
        "cells": pd.DataFrame(list(_cells(run)), columns=list(DOCS["cells"])),
        "images": pd.DataFrame(_images(run), columns=list(DOCS["images"])),
        "latencies": pd.DataFrame(list(_latencies(run)), columns=list(DOCS["latencies"])),
        "tables": pd.DataFrame(list(_tables(run)), columns=list(DOCS["tables"])),
    }
    return Results(run=run.id, heads=heads, **frames)


def frame_of(table: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Returns a long table as a frame; the types of its columns do not depend on its content."""
    import pandas as pd  # noqa: PLC0415 - as above

    columns = {
        column.name: pd.Series([row[column.name] for row in table], dtype=DTYPES[column.type])
        for column in COLUMNS
    }
    return pd.DataFrame(columns)


def _opened(folder: Path) -> RunFolder:
    resolved = folder.resolve()
    if not (resolved.parent / Store.FOLDER).is_dir():
        message = f"{folder}: no folder of results; name one such as results/latest"
        raise StoreError(message)
    store = Store(resolved.parent)
    store.tell = lambda text: warnings.warn(text, stacklevel=3)
    return store.open_run(resolved.name)


def _cells(run: RunFolder) -> Iterator[dict[str, Any]]:
    for record in run.records():
        measured = good(record)
        first = measured[0] if measured else None
        engine = first.start.probe.get("engine") if first and first.start else None
        yield {
            "cell": record.cell,
            "environment": record.environment,
            "device": record.device,
            "pass_name": record.pass_.name,
            "status": str(record.status),
            "reason": record.reason,
            "repeats": len(measured),
            "reused": record.reused,
            "table": first.table if first else None,
            "engine_version": engine.get("version") if isinstance(engine, Mapping) else None,
        }


def _good(run: RunFolder) -> Iterator[tuple[str, Measurement]]:
    return ((record.cell, measured) for record in run.records() for measured in good(record))


def _images(run: RunFolder) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - as above

    manifest = run.manifest()
    reference = manifest.reference
    if reference is None or not reference.status.ok:
        return pd.DataFrame()
    frames = []
    for cell, measurement in _good(run):
        for gate in manifest.heads:
            sums = run.store.sums(
                measurement.outputs[gate.head], reference.outputs[gate.head], manifest.epsilon
            )
            place = {"cell": cell, "head": gate.head, "repeat": measurement.repeat}
            index = {"image": np.arange(len(sums))}
            frames.append(
                pd.DataFrame(place | index | {name: sums[name] for name in SUMS.names or ()})
            )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _latencies(run: RunFolder) -> Iterator[dict[str, Any]]:
    for cell, measurement in _good(run):
        if latency := measurement.latency:
            for sample, seconds in enumerate(latency.samples_s):
                yield {
                    "cell": cell,
                    "repeat": measurement.repeat,
                    "sample": sample,
                    "seconds": seconds,
                    "batch": latency.batch,
                }


def _tables(run: RunFolder) -> Iterator[dict[str, Any]]:
    for digest in run.manifest().tables:
        path = run.folder / "tables" / f"{digest[:12]}.json"
        try:
            with explained(path):
                table = from_json(path.read_text("utf-8"))
        except TableError as error:
            message = f"{path}: damaged ({error}); run `trt-matrix run` again"
            raise StoreError(message) from error
        for tensor, amax in table.amax.items():
            yield {"table": digest, "tensor": tensor, "amax": amax}
