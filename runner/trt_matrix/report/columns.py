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
        "pass_name",
        TEXT,
        "Precision and table: int8-shared-entropy.",
        lambda e: e.cell.pass_.name,
    ),
    Column("precision", TEXT, "fp32, tf32, fp16, bf16 or int8.", lambda e: e.cell.pass_.precision),
    Column(
        "table_source",
        TEXT,
        "own: made by this environment's calibrator; shared: one table for all.",
        lambda e: e.cell.pass_.source,
    ),
    Column(
        "algorithm",
        TEXT,
        "Calibration algorithm of the table.",
        lambda e: e.cell.pass_.algorithm,
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
        "What disturbed the GPU in how many repeats; its latency is of the others, where there are any.",
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
        entries.error("sqnr_db"),
    ),
    Column(
        "nmse", NUMBER, "sum d^2 / sum r^2 against the reference, d = y - r.", entries.error("nmse")
    ),
    Column("mse", NUMBER, "Mean of d^2.", entries.error("mse")),
    Column("rmse", NUMBER, "Square root of mse.", entries.error("rmse")),
    Column("mae", NUMBER, "Mean of |d|.", entries.error("mae")),
    Column("max_abs", NUMBER, "Largest |d|.", entries.error("max_abs")),
    Column("cosine", NUMBER, "Cosine similarity of y and r.", entries.error("cosine")),
    Column(
        "share_over_epsilon",
        NUMBER,
        "Share (0 to 1) of elements with |d| > epsilon.",
        entries.error("share_over_epsilon"),
    ),
    Column("elements", WHOLE, "Elements compared, over all images.", entries.error("elements")),
    Column(
        "nonfinite",
        WHOLE,
        "Elements NaN or infinite, left out of every sum.",
        entries.error("nonfinite"),
    ),
    Column(
        "sqnr_against_own_fp32_db",
        NUMBER,
        "As sqnr_db, against this environment's own fp32 in place of the reference.",
        entries.against_fp32_db,
    ),
    Column(
        "observed_nmse",
        NUMBER,
        "Mean over repeats: limit + calibration + engine.",
        entries.budget("observed"),
    ),
    Column(
        "limit_nmse",
        NUMBER,
        "Smallest simulated nmse over all candidate tables.",
        entries.budget("limit"),
    ),
    Column(
        "calibration_nmse",
        NUMBER,
        "What this table costs beyond the limit.",
        entries.budget("calibration"),
    ),
    Column(
        "engine_nmse",
        NUMBER,
        "Observed less simulated with this table; negative where the engine did better.",
        entries.budget("engine"),
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
        lambda entry: entry.severity,
    ),
    Column(
        "effect_db",
        NUMBER,
        "What the verdict with the largest effect costs, dB, against what it was compared with.",
        entries.effect("db"),
    ),
    Column("effect_low_db", NUMBER, "Lower end of its 95 % interval.", entries.effect("low_db")),
    Column("effect_high_db", NUMBER, "Upper end of it.", entries.effect("high_db")),
    Column(
        "effect_typical_db",
        NUMBER,
        "The same effect on the typical image, dB.",
        entries.effect("typical_db"),
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
    Column(
        "boxes_lost",
        NUMBER,
        "Of those, the ones that the cell does not show; mean over repeats.",
        entries.box_changes("lost"),
    ),
    Column(
        "boxes_new",
        NUMBER,
        "Boxes of this head that only the cell shows; mean over repeats.",
        entries.box_changes("new"),
    ),
    Column(
        "mean_iou",
        NUMBER,
        "Mean overlap of the boxes that both show.",
        entries.box_changes("mean_iou"),
    ),
    Column(
        "ap",
        NUMBER,
        "AP (IoU 0.50 to 0.95) of the reference with this head's output, and of those it makes boxes with, from the cell.",
        entries.precision("ap"),
    ),
    Column("ap50", NUMBER, "The same at IoU 0.5.", entries.precision("ap50")),
    Column("ap_drop", NUMBER, "AP of the reference less ap.", entries.drop("ap_drop")),
    Column("ap50_drop", NUMBER, "AP50 of the reference less ap50.", entries.drop("ap50_drop")),
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
        lambda entry: entry.cell.passed,
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
    Column(
        "float_layers",
        NAMES,
        "Quantised layers that ran in floating point.",
        entries.names("float_layers"),
    ),
    Column(
        "placed_float",
        NAMES,
        "Quantised layers that the placement leaves in floating point: the last ones before float outputs.",
        entries.names("placed_float"),
    ),
    Column(
        "integer_operators",
        NAMES,
        "Other operators that ran on integers, and how many.",
        entries.counted("integer_operators"),
    ),
    Column(
        "float_operators",
        NAMES,
        "The same where they ran in floating point.",
        entries.counted("float_operators"),
    ),
    Column(
        "identical_to", NAMES, "Cells with bit-identical output.", entries.names("identical_to")
    ),
    Column(
        "latency_median_s",
        NUMBER,
        "Seconds per inference of `batch` images.",
        entries.latency("median_s"),
    ),
    Column(
        "latency_low_s",
        NUMBER,
        "Lower end of the median's 95 % interval.",
        entries.latency("low_s"),
    ),
    Column(
        "latency_high_s",
        NUMBER,
        "Upper end of the median's 95 % interval.",
        entries.latency("high_s"),
    ),
    Column("latency_p5_s", NUMBER, "5th percentile.", entries.latency("p5_s")),
    Column("latency_p25_s", NUMBER, "25th percentile.", entries.latency("p25_s")),
    Column("latency_p75_s", NUMBER, "75th percentile.", entries.latency("p75_s")),
    Column("latency_p90_s", NUMBER, "90th percentile.", entries.latency("p90_s")),
    Column("latency_p99_s", NUMBER, "99th percentile.", entries.latency("p99_s")),
    Column(
        "latency_samples", WHOLE, "Inferences timed, over all rounds.", entries.latency("samples")
    ),
    Column(
        "latency_scatters",
        TRUTH,
        "Whether medians of repeats differ by more than samples of one do.",
        entries.latency("scatters"),
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
