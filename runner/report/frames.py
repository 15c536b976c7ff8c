"""The long table: one row a cell and head, one column a quantity, units in the names."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from job import protocol
from runner.core import severity
from runner.core.answers.rows import loss_db
from runner.core.boxes.results import ALL
from runner.core.judgement import CellResult, HeadResult, Judgement
from runner.core.latency import Latency
from runner.core.metrics import Metrics
from runner.core.severity import Severity
from runner.core.verdicts.budget import Budget
from runner.core.verdicts.verdict import Kind, Verdict

CSV = "results.csv"
PARQUET = "results.parquet"
SEPARATOR = "; "
"""Between the names of a column that holds several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What one row is made from; `result` is None where the cell did not run."""

    judgement: Judgement
    cell: CellResult
    head: str
    result: HeadResult | None
    severity: Severity | None = None
    """None where nothing was found there."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: pa.DataType
    doc: str
    value: Callable[[Entry], Any]


def _error(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        error: Metrics | None = entry.result.error if entry.result else None
        return getattr(error, name) if error else None

    return value


def _interval(part: str, end: int) -> Callable[[Entry], Any]:
    def of(entry: Entry) -> Any:
        budget: Budget | None = entry.result.budget if entry.result else None
        ends = budget.intervals.get(part) if budget else None
        return ends[end] if ends else None

    return of


def _budget(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        budget: Budget | None = entry.result.budget if entry.result else None
        return getattr(budget, name) if budget else None

    return value


def _latency(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        latency: Latency | None = entry.cell.latency
        return getattr(latency, name) if latency else None

    return value


def _changes(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        return getattr(boxes.changes[ALL], name) if boxes else None

    return value


def _precision(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        return getattr(boxes.precision[ALL], name) if boxes and boxes.precision else None

    return value


def _drop(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        return getattr(boxes, name) if boxes else None

    return value


def _ap_end(name: str, end: int) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        ends = boxes.intervals.get(name) if boxes else None
        return ends[end] if ends else None

    return value


def _failed_gates(entry: Entry) -> Any:
    gates = entry.result.gates if entry.result else ()
    return SEPARATOR.join(one.text() for one in gates if not one.passed) or None


def _network_failed(entry: Entry) -> Any:
    return SEPARATOR.join(one.text() for one in entry.cell.gates if not one.passed) or None


def _sqnr_limit(entry: Entry) -> Any:
    gates = entry.result.gates if entry.result else ()
    return next((one.limit for one in gates if one.name == "sqnr_db"), None)


def _result(name: str) -> Callable[[Entry], Any]:
    return lambda entry: getattr(entry.result, name) if entry.result else None


def _joined(name: str) -> Callable[[Entry], Any]:
    return lambda entry: SEPARATOR.join(getattr(entry.result, name)) if entry.result else None


def _counted(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        counts = getattr(entry.result, name) if entry.result else {}
        return " ".join(f"{kind}:{number}" for kind, number in sorted(counts.items()))

    return value


def _verdicts(entry: Entry) -> Any:
    told = entry.result.verdicts if entry.result else ()
    return SEPARATOR.join(dict.fromkeys(str(verdict.kind) for verdict in told)) or None


def _factors(part: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        told = entry.result.verdicts if entry.result else ()
        found = (getattr(one.attribution, part) for one in told if one.attribution)
        names = dict.fromkeys(change.factor for changes in found for change in changes)
        return SEPARATOR.join(names) or None

    return value


def _severities(judgement: Judgement) -> Mapping[tuple[str, str], Severity]:
    """Returns (cell, head) → how much the worst matters of what was found of that head there."""
    found: dict[tuple[str, str], Severity] = {}
    for answer in judgement.answers:
        for one in answer.findings:
            for cell in one.cells:
                key = (cell, answer.head)
                found[key] = severity.worst((one.severity, found.get(key, Severity.NONE)))
    return found


def _worst(entry: Entry) -> Verdict | None:
    """Returns the verdict, of those that say that something is wrong or may be, with the largest effect."""
    found = [
        (loss, one)
        for one in (entry.result.verdicts if entry.result else ())
        if one.kind is not Kind.OK and (loss := loss_db(one)) is not None
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _effect(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        worst = _worst(entry)
        found = getattr(worst.effect, name) if worst and worst.effect else None
        return found if found is not None and math.isfinite(found) else None

    return value


def _bound(entry: Entry) -> Any:
    bounds = [one.bound_db for one in entry.result.verdicts] if entry.result else []
    return next((one for one in bounds if one is not None), None)


def _latency_verdicts(entry: Entry) -> Any:
    return SEPARATOR.join(str(verdict.kind) for verdict in entry.cell.verdicts) or None


def _against_fp32(entry: Entry) -> Any:
    against = entry.result.against_fp32 if entry.result else None
    return against.sqnr_db if against else None


TEXT, NUMBER, WHOLE, TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()

COLUMNS = (
    Column("run", TEXT, "Id of the run.", lambda e: e.judgement.run_id),
    Column("cell", TEXT, "Id of the cell: environment/device/pass.", lambda e: e.cell.cell.id),
    Column("environment", TEXT, "Name in matrix.yaml.", lambda e: e.cell.cell.environment),
    Column(
        "is_baseline",
        TRUTH,
        "Whether the others are compared with this environment.",
        lambda e: e.cell.cell.environment == e.judgement.baseline,
    ),
    Column(
        "engine_version", TEXT, "Found inside the environment.", lambda e: e.cell.engine_version
    ),
    Column("device", TEXT, "cpu or one GPU.", lambda e: e.cell.cell.device),
    Column(
        "pass", TEXT, "Precision and table: int8-shared-entropy.", lambda e: e.cell.cell.pass_.name
    ),
    Column(
        "precision", TEXT, "fp32, tf32, fp16, bf16 or int8.", lambda e: e.cell.cell.pass_.precision
    ),
    Column(
        "table_source",
        TEXT,
        "own: made by this environment's calibrator; shared: one table for all.",
        lambda e: e.cell.cell.pass_.source,
    ),
    Column(
        "algorithm",
        TEXT,
        "Calibration algorithm of the table.",
        lambda e: e.cell.cell.pass_.algorithm,
    ),
    Column("head", TEXT, "Named output of the network.", lambda e: e.head),
    Column(
        "status", TEXT, "How execution ended; ok where there are numbers.", lambda e: e.cell.status
    ),
    Column("reason", TEXT, "Why the status is not ok.", lambda e: e.cell.reason),
    Column("images", WHOLE, "Evaluation images.", lambda e: e.judgement.images),
    Column("repeats", WHOLE, "Times the cell was built and run.", lambda e: e.cell.repeats),
    Column("reused", TRUTH, "Whether an earlier run made all numbers.", lambda e: e.cell.reused),
    Column(
        "disturbed",
        TEXT,
        "What disturbed the GPU in how many repeats: its latency is not to be trusted.",
        lambda e: e.cell.disturbed,
    ),
    Column(
        "watched",
        TRUTH,
        "Whether the GPU was looked at before and after, or `disturbed` cannot be known; empty without.",
        lambda e: e.cell.watched,
    ),
    Column(
        "sqnr_db",
        NUMBER,
        "Signal-to-quantisation-noise ratio against the reference, dB: -10 log10(nmse); "
        "empty where nmse is 0 (identical) or undefined.",
        _error("sqnr_db"),
    ),
    Column("nmse", NUMBER, "sum d^2 / sum r^2 against the reference, d = y - r.", _error("nmse")),
    Column("mse", NUMBER, "Mean of d^2.", _error("mse")),
    Column("rmse", NUMBER, "Square root of mse.", _error("rmse")),
    Column("mae", NUMBER, "Mean of |d|.", _error("mae")),
    Column("max_abs", NUMBER, "Largest |d|.", _error("max_abs")),
    Column("cosine", NUMBER, "Cosine similarity of y and r.", _error("cosine")),
    Column(
        "share_over_epsilon",
        NUMBER,
        "Share (0 to 1) of elements with |d| > epsilon.",
        _error("share_over_epsilon"),
    ),
    Column("elements", WHOLE, "Elements compared, over all images.", _error("elements")),
    Column(
        "nonfinite", WHOLE, "Elements NaN or infinite, left out of every sum.", _error("nonfinite")
    ),
    Column(
        "sqnr_against_own_fp32_db",
        NUMBER,
        "As sqnr_db, against this environment's own fp32 in place of the reference.",
        _against_fp32,
    ),
    Column(
        "observed_nmse",
        NUMBER,
        "Mean over repeats: limit + calibration + engine.",
        _budget("observed"),
    ),
    Column(
        "limit_nmse", NUMBER, "Smallest simulated nmse over all candidate tables.", _budget("limit")
    ),
    Column(
        "calibration_nmse",
        NUMBER,
        "What this table costs beyond the limit.",
        _budget("calibration"),
    ),
    Column(
        "engine_nmse",
        NUMBER,
        "Observed less simulated with this table; negative where the engine did better.",
        _budget("engine"),
    ),
    *(
        Column(
            f"{part}_{name}_nmse",
            NUMBER,
            f"{name.capitalize()} end of the 95 % bootstrap interval of {part}_nmse.",
            _interval(part, end),
        )
        for part in ("observed", "limit", "calibration", "engine")
        for end, name in enumerate(("low", "high"))
    ),
    Column("noise_nmse", NUMBER, "Standard deviation of nmse over repeats.", _budget("noise")),
    Column(
        "verdicts",
        TEXT,
        "What the numbers say: ok, or what is wrong (docs/method.md).",
        _verdicts,
    ),
    Column(
        "severity",
        TEXT,
        "How much what was found of the head in this cell matters: none, harmless, visible, severe.",
        lambda entry: entry.severity,
    ),
    Column(
        "effect_db",
        NUMBER,
        "What the verdict with the largest effect costs, dB, against what it was compared with.",
        _effect("db"),
    ),
    Column("effect_low_db", NUMBER, "Lower end of its 95 % interval.", _effect("low_db")),
    Column("effect_high_db", NUMBER, "Upper end of it.", _effect("high_db")),
    Column(
        "effect_typical_db",
        NUMBER,
        "The same effect on the typical image, dB.",
        _effect("typical_db"),
    ),
    Column(
        "unseen_db",
        NUMBER,
        "Of ok: how much worse than the baseline it may be all the same, dB (error 5 %).",
        _bound,
    ),
    Column(
        "factors",
        TEXT,
        "What changed alone, and the effect with it: whose fault a regression is.",
        _factors("factors"),
    ),
    Column(
        "confounded_factors",
        TEXT,
        "What changed together, so that no single one can be named.",
        _factors("confounded"),
    ),
    Column(
        "boxes",
        NUMBER,
        "Boxes of this head that the reference shows.",
        _changes("reference"),
    ),
    Column(
        "boxes_lost",
        NUMBER,
        "Of those, the ones that the cell does not show; mean over repeats.",
        _changes("lost"),
    ),
    Column(
        "boxes_new",
        NUMBER,
        "Boxes of this head that only the cell shows; mean over repeats.",
        _changes("new"),
    ),
    Column(
        "mean_iou",
        NUMBER,
        "Mean overlap of the boxes that both show.",
        _changes("mean_iou"),
    ),
    Column(
        "ap",
        NUMBER,
        "AP (IoU 0.50 to 0.95) of the reference with this head's output, and of those it makes boxes with, from the cell.",
        _precision("ap"),
    ),
    Column("ap50", NUMBER, "The same at IoU 0.5.", _precision("ap50")),
    Column("ap_drop", NUMBER, "AP of the reference less ap.", _drop("ap_drop")),
    Column("ap50_drop", NUMBER, "AP50 of the reference less ap50.", _drop("ap50_drop")),
    Column("ap_low", NUMBER, "Lower end of ap's 95 % interval over images.", _ap_end("ap", 0)),
    Column("ap_high", NUMBER, "Upper end of it.", _ap_end("ap", 1)),
    Column("ap50_low", NUMBER, "Lower end of ap50's.", _ap_end("ap50", 0)),
    Column("ap50_high", NUMBER, "Upper end of it.", _ap_end("ap50", 1)),
    Column("ap_drop_low", NUMBER, "Lower end of ap_drop's, paired.", _ap_end("ap_drop", 0)),
    Column("ap_drop_high", NUMBER, "Upper end of it.", _ap_end("ap_drop", 1)),
    Column("ap50_drop_low", NUMBER, "Lower end of ap50_drop's.", _ap_end("ap50_drop", 0)),
    Column("ap50_drop_high", NUMBER, "Upper end of it.", _ap_end("ap50_drop", 1)),
    Column("gates_failed", TEXT, "Limits that do not hold, with their values.", _failed_gates),
    Column("gate_sqnr_db", NUMBER, "The head's limit in this precision, dB.", _sqnr_limit),
    Column(
        "passed", TRUTH, "Whether every gate holds; empty where none applies.", _result("passed")
    ),
    Column(
        "network_passed",
        TRUTH,
        "Whether the whole network keeps its gate in this cell; empty where none applies.",
        lambda entry: entry.cell.passed,
    ),
    Column(
        "network_gates_failed",
        TEXT,
        "Limits of the whole network that do not hold, with their values.",
        _network_failed,
    ),
    Column(
        "integer_share",
        NUMBER,
        "Share (0 to 1) of the head's multiply-accumulates run by integer kernels.",
        _result("integer_share"),
    ),
    Column(
        "float_layers",
        TEXT,
        "Quantised layers that ran in floating point.",
        _joined("float_layers"),
    ),
    Column(
        "placed_float",
        TEXT,
        "Quantised layers that the placement leaves in floating point: the last ones before float outputs.",
        _joined("placed_float"),
    ),
    Column(
        "integer_operators",
        TEXT,
        "Other operators that ran on integers, and how many.",
        _counted("integer_operators"),
    ),
    Column(
        "float_operators",
        TEXT,
        "The same where they ran in floating point.",
        _counted("float_operators"),
    ),
    Column("identical_to", TEXT, "Cells with bit-identical output.", _joined("identical_to")),
    Column(
        "latency_median_s", NUMBER, "Seconds per inference of `batch` images.", _latency("median_s")
    ),
    Column("latency_low_s", NUMBER, "Lower end of the median's 95 % interval.", _latency("low_s")),
    Column(
        "latency_high_s", NUMBER, "Upper end of the median's 95 % interval.", _latency("high_s")
    ),
    Column("latency_p5_s", NUMBER, "5th percentile.", _latency("p5_s")),
    Column("latency_p25_s", NUMBER, "25th percentile.", _latency("p25_s")),
    Column("latency_p75_s", NUMBER, "75th percentile.", _latency("p75_s")),
    Column("latency_p90_s", NUMBER, "90th percentile.", _latency("p90_s")),
    Column("latency_p99_s", NUMBER, "99th percentile.", _latency("p99_s")),
    Column("latency_samples", WHOLE, "Inferences timed, over all rounds.", _latency("samples")),
    Column("batch", WHOLE, "Images per inference.", _latency("batch")),
    Column(
        "latency_verdicts",
        TEXT,
        "Slower than the baseline beyond the noise, or not decidable yet (docs/method.md).",
        _latency_verdicts,
    ),
)

SCHEMA = pa.schema(
    [pa.field(one.name, one.type, metadata={"description": one.doc}) for one in COLUMNS]
)


def long_table(judgement: Judgement) -> pa.Table:
    """Returns one row a cell × head in the order of the plan; columns and types as in COLUMNS.

    A cell that did not run has one row a head all the same: status, reason and empty numbers.
    """
    severities = _severities(judgement)
    entries = [
        Entry(
            judgement=judgement,
            cell=cell,
            head=head,
            result=results.get(head),
            severity=severities.get((cell.cell.id, head)),
        )
        for cell in judgement.cells
        for results in [{one.head: one for one in cell.heads}]
        for head in judgement.heads
    ]
    rows = [{column.name: _value(column, entry) for column in COLUMNS} for entry in entries]
    if not rows:
        return SCHEMA.empty_table()
    # As JSON, because pa.array and whatever uses it imports pandas, which takes a second.
    lines = "\n".join(json.dumps(row, allow_nan=False) for row in rows).encode()
    return pa_json.read_json(
        io.BytesIO(lines),
        read_options=pa_json.ReadOptions(block_size=len(lines) + 1),
        parse_options=pa_json.ParseOptions(explicit_schema=SCHEMA),
    ).cast(SCHEMA)


def _value(column: Column, entry: Entry) -> Any:
    value = column.value(entry)
    return _encodable(str(value)) if column.type == TEXT and value is not None else value


def _encodable(text: str) -> str:
    """Returns `text` with lone surrogates, which no file can hold, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def write(table: pa.Table, folder: Path) -> tuple[Path, Path]:
    """Writes results.csv and results.parquet into `folder`, each whole or not at all.

    The parquet file carries each column's meaning in its field's metadata, key `description`.

    Returns:
        The two paths.

    Raises:
        OSError: the folder cannot be written.
    """
    csv_path, parquet_path = folder / CSV, folder / PARQUET
    protocol.write_bytes(str(csv_path), _csv(table))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    protocol.write_bytes(str(parquet_path), sink.getvalue())
    return csv_path, parquet_path


def _csv(table: pa.Table) -> bytes:
    """Returns the table as RFC 4180 has it, but for plain line ends; what is empty is null."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, table.column_names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.to_pylist())
    return text.getvalue().encode()
