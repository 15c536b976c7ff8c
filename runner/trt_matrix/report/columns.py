"""The columns of the long table: name, type, meaning with its unit, and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trt_matrix.report import entries
from trt_matrix.report.entries import Entry


class ColumnType(Enum):
    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    TRUTH = "truth"
    NAMES = "names"
    """Several texts, or none; all other values may also be None: not known."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: ColumnType
    doc: str
    value: Callable[[Entry], Any]


TEXT, NUMBER, WHOLE, TRUTH, NAMES = ColumnType

OF_BOXES = ("boxes", "mean_iou", "ap")
"""How the names of columns begin that are empty of a network without boxes."""


def _columns(
    value: Callable[[str], Callable[[Entry], Any]], form: str, *fields: tuple[str, ColumnType, str]
) -> tuple[Column, ...]:
    """Returns a column for each field of one part of an entry; `form` makes its name of the field's."""
    return tuple(Column(form.format(name), type_, doc, value(name)) for name, type_, doc in fields)


COLUMNS = (
    Column("run", TEXT, "Id of the run.", lambda e: e.judgement.run_id),
    Column("cell", TEXT, "Id of the cell: environment/device/pass.", lambda e: e.cell.id),
    Column("environment", TEXT, "Name in matrix.yaml.", lambda e: e.cell.environment),
    Column(
        "is_baseline",
        TRUTH,
        "Whether the others are compared with this environment.",
        lambda e: e.cell.environment == e.judgement.baseline,
    ),
    Column(
        "engine_version", TEXT, "Found inside the environment.", lambda e: e.cell.engine_version
    ),
    Column("device", TEXT, "cpu or one GPU.", lambda e: e.cell.device),
    Column(
        "pass_name", TEXT, "Precision and table: int8-shared-entropy.", lambda e: e.cell.pass_.name
    ),
    Column("precision", TEXT, "fp32, tf32, fp16, bf16 or int8.", lambda e: e.cell.pass_.precision),
    Column(
        "table_source",
        TEXT,
        "own: made by this environment's calibrator; shared: one table for all.",
        lambda e: e.cell.pass_.source,
    ),
    Column(
        "algorithm", TEXT, "Calibration algorithm of the table.", lambda e: e.cell.pass_.algorithm
    ),
    Column("head", TEXT, "Named output of the network.", lambda e: e.head),
    *_columns(
        entries.cell,
        "{}",
        ("status", TEXT, "How execution ended; ok where there are numbers."),
        ("reason", TEXT, "Why the status is not ok."),
    ),
    Column("images", WHOLE, "Evaluation images.", lambda e: e.judgement.images),
    *_columns(
        entries.cell,
        "{}",
        ("repeats", WHOLE, "Times the cell was built and run."),
        ("reused", TRUTH, "Whether an earlier run made all numbers."),
        (
            "disturbed",
            TEXT,
            "What disturbed the GPU in how many repeats; its latency is of the others, where there are any.",
        ),
        (
            "watched",
            TRUTH,
            "Whether the GPU was looked at before and after, or `disturbed` cannot be known; empty without.",
        ),
    ),
    *_columns(
        entries.error,
        "{}",
        (
            "sqnr_db",
            NUMBER,
            "Signal-to-quantisation-noise ratio against the reference, dB: -10 log10(nmse); empty where nmse is 0 (identical) or undefined.",
        ),
        ("nmse", NUMBER, "sum d^2 / sum r^2 against the reference, d = y - r."),
        ("mse", NUMBER, "Mean of d^2."),
        ("rmse", NUMBER, "Square root of mse."),
        ("mae", NUMBER, "Mean of |d|."),
        ("max_abs", NUMBER, "Largest |d|."),
        ("cosine", NUMBER, "Cosine similarity of y and r."),
        ("share_over_epsilon", NUMBER, "Share (0 to 1) of elements with |d| > epsilon."),
        ("elements", WHOLE, "Elements compared, over all images."),
        ("nonfinite", WHOLE, "Elements NaN or infinite, left out of every sum."),
    ),
    Column(
        "sqnr_against_own_fp32_db",
        NUMBER,
        "As sqnr_db, against this environment's own fp32 in place of the reference.",
        entries.against_fp32("sqnr_db"),
    ),
    *_columns(
        entries.budget,
        "{}_nmse",
        ("observed", NUMBER, "Mean over repeats: limit + calibration + engine."),
        ("limit", NUMBER, "Smallest simulated nmse over all candidate tables."),
        ("calibration", NUMBER, "What this table costs beyond the limit."),
        (
            "engine",
            NUMBER,
            "Observed less simulated with this table; negative where the engine did better.",
        ),
    ),
    *(
        Column(
            f"{part}_{name}_nmse",
            NUMBER,
            f"{name.capitalize()} end of the 95 % bootstrap interval of {part}_nmse.",
            entries.budget_end(part, end),
        )
        for part in ("observed", "limit", "calibration", "engine")
        for end, name in enumerate(("low", "high"))
    ),
    Column(
        "noise_nmse", NUMBER, "Standard deviation of nmse over repeats.", entries.budget("noise")
    ),
    Column(
        "verdicts",
        NAMES,
        "What the numbers say: ok, or what is wrong (docs/concepts/method.md).",
        entries.verdict_kinds,
    ),
    Column(
        "severity",
        TEXT,
        "How much what was found of the head in this cell matters: none, harmless, visible, severe.",
        lambda e: e.severity,
    ),
    *_columns(
        entries.effect,
        "effect_{}",
        (
            "db",
            NUMBER,
            "What the verdict with the largest effect costs, dB, against what it was compared with.",
        ),
        ("low_db", NUMBER, "Lower end of its 95 % interval."),
        ("high_db", NUMBER, "Upper end of it."),
        ("typical_db", NUMBER, "The same effect on the typical image, dB."),
    ),
    Column(
        "unseen_db",
        NUMBER,
        "Of ok: how much worse than the baseline it may be all the same, dB (error 5 %).",
        entries.bound_db,
    ),
    Column(
        "factors",
        NAMES,
        "What changed alone, and the effect with it: whose fault a regression is.",
        entries.factors("factors"),
    ),
    Column(
        "confounded_factors",
        NAMES,
        "What changed together, so that no single one can be named.",
        entries.factors("confounded"),
    ),
    Column(
        "boxes",
        NUMBER,
        "Boxes of this head that the reference shows.",
        entries.box_changes("reference"),
    ),
    *_columns(
        entries.box_changes,
        "boxes_{}",
        ("lost", NUMBER, "Of those, the ones that the cell does not show; mean over repeats."),
        ("new", NUMBER, "Boxes of this head that only the cell shows; mean over repeats."),
    ),
    Column(
        "mean_iou",
        NUMBER,
        "Mean overlap of the boxes that both show.",
        entries.box_changes("mean_iou"),
    ),
    *_columns(
        entries.precision,
        "{}",
        (
            "ap",
            NUMBER,
            "AP (IoU 0.50 to 0.95) of the reference with this head's output, and of those it makes boxes with, from the cell.",
        ),
        ("ap50", NUMBER, "The same at IoU 0.5."),
    ),
    *_columns(
        entries.boxes,
        "{}",
        ("ap_drop", NUMBER, "AP of the reference less ap."),
        ("ap50_drop", NUMBER, "AP50 of the reference less ap50."),
    ),
    Column(
        "ap_low", NUMBER, "Lower end of ap's 95 % interval over images.", entries.ap_end("ap", 0)
    ),
    Column("ap_high", NUMBER, "Upper end of it.", entries.ap_end("ap", 1)),
    Column("ap50_low", NUMBER, "Lower end of ap50's.", entries.ap_end("ap50", 0)),
    Column("ap50_high", NUMBER, "Upper end of it.", entries.ap_end("ap50", 1)),
    Column("ap_drop_low", NUMBER, "Lower end of ap_drop's, paired.", entries.ap_end("ap_drop", 0)),
    Column("ap_drop_high", NUMBER, "Upper end of it.", entries.ap_end("ap_drop", 1)),
    Column("ap50_drop_low", NUMBER, "Lower end of ap50_drop's.", entries.ap_end("ap50_drop", 0)),
    Column("ap50_drop_high", NUMBER, "Upper end of it.", entries.ap_end("ap50_drop", 1)),
    Column(
        "gates_failed", NAMES, "Limits that do not hold, with their values.", entries.failed_gates
    ),
    Column("gate_sqnr_db", NUMBER, "The head's limit in this precision, dB.", entries.sqnr_limit),
    Column(
        "passed",
        TRUTH,
        "Whether every gate holds; empty where none applies.",
        entries.result_field("passed"),
    ),
    Column(
        "network_passed",
        TRUTH,
        "Whether the whole network keeps its gate in this cell; empty where none applies.",
        lambda e: e.cell.passed,
    ),
    Column(
        "network_gates_failed",
        NAMES,
        "Limits of the whole network that do not hold, with their values.",
        entries.network_failed,
    ),
    Column(
        "integer_share",
        NUMBER,
        "Share (0 to 1) of the head's multiply-accumulates run by integer kernels.",
        entries.result_field("integer_share"),
    ),
    *_columns(
        entries.names,
        "{}",
        ("float_layers", NAMES, "Quantised layers that ran in floating point."),
        (
            "placed_float",
            NAMES,
            "Quantised layers that the placement leaves in floating point: the last ones before float outputs.",
        ),
    ),
    *_columns(
        entries.counted,
        "{}",
        ("integer_operators", NAMES, "Other operators that ran on integers, and how many."),
        ("float_operators", NAMES, "The same where they ran in floating point."),
    ),
    Column(
        "identical_to", NAMES, "Cells with bit-identical output.", entries.names("identical_to")
    ),
    *_columns(
        entries.latency,
        "latency_{}",
        ("median_s", NUMBER, "Seconds per inference of `batch` images."),
        ("low_s", NUMBER, "Lower end of the median's 95 % interval."),
        ("high_s", NUMBER, "Upper end of the median's 95 % interval."),
        ("p5_s", NUMBER, "5th percentile."),
        ("p25_s", NUMBER, "25th percentile."),
        ("p75_s", NUMBER, "75th percentile."),
        ("p90_s", NUMBER, "90th percentile."),
        ("p99_s", NUMBER, "99th percentile."),
        ("samples", WHOLE, "Inferences timed, over all rounds."),
        ("scatters", TRUTH, "Whether medians of repeats differ by more than samples of one do."),
    ),
    Column("batch", WHOLE, "Images per inference.", entries.latency("batch")),
    Column(
        "latency_image_s",
        NUMBER,
        "The median divided by `batch`: seconds per image.",
        entries.latency("image_s"),
    ),
    Column(
        "latency_verdicts",
        NAMES,
        "Slower than the baseline beyond the noise, or not decidable yet (docs/concepts/method.md).",
        entries.latency_verdicts,
    ),
)


def filled(*, boxless: bool) -> tuple[Column, ...]:
    """Returns the columns that can hold something."""
    return tuple(column for column in COLUMNS if not (boxless and column.name.startswith(OF_BOXES)))
