"""Judgements of runs in which something is wrong and something else is better: what fixes are looked for in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.unit.judgements import BASELINE, SHARED, cell_result, changes, head, judgement
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.simulated import Simulated
from trt_matrix.core.boxes.results import ALL, BoxErrors, CellBoxes
from trt_matrix.core.cells import Pass
from trt_matrix.core.diagnosis.record import (
    Diagnosis,
    GoalRecord,
    HeadDiagnosis,
    Numbers,
    SearchRecord,
    SetRecord,
)
from trt_matrix.core.fix import Fix, FixKind
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.qdq.placements import Placed, Weights, kept_in_float
from trt_matrix.core.rules import DB
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict

IMPLICIT = replace(SHARED, implicit=True)
PER_TENSOR = replace(SHARED, per_tensor=True)
LAYERS = ("stem/Conv", "small/Conv")
MIXED = replace(SHARED, exclude=LAYERS, mixed=True)
IMPLICIT_MIXED = replace(MIXED, implicit=True)
TABLE = "ab" * 32
PLACED = Placed(engine="onnxruntime")
BOXES = 400.0


def boxes(lost: float, ap_drop: float | None = None, new: float = 0.0) -> BoxErrors:
    made = changes(lost, BOXES, new, mean_iou=0.97)
    return BoxErrors(changes={ALL: made}, ap_drop=ap_drop, ap50_drop=ap_drop)


def cell(
    environment: str,
    pass_: Pass = SHARED,
    small_db: float = 16.0,
    large_db: float = 30.0,
    *,
    whole: BoxErrors | None = None,
    engine: float = 0.0,
    noise: float | None = 0.0,
    fixed: bool = True,
    verdicts: Sequence[Verdict] = (),
    **changes: Any,
) -> CellResult:
    """An int8 cell of two heads, with gates of 20 dB; ONNX Runtime's, whose builds cannot differ.

    What small loses beyond 8 bits' own is the table's but for `engine`.
    """
    small, large = (10 ** (-db / 10) for db in (small_db, large_db))
    table = small - 0.004 - engine
    heads = [
        head("small", small, limit=0.004, calibration=table, noise=noise, verdicts=tuple(verdicts)),
        head("large", large, limit=large, calibration=0.0, noise=noise),
    ]
    placed = replace(
        PLACED,
        in_float=kept_in_float(pass_.exclude),
        weights=Weights.PER_TENSOR if pass_.per_tensor else Weights.PER_CHANNEL,
    )
    result = cell_result(environment, pass_, heads, **changes)
    return replace(
        result, fixed=fixed, placed=placed, boxes=CellBoxes(whole=whole) if whole else None
    )


def told(
    *cells: CellResult,
    errors: Mapping[tuple[str, str], Mapping[str, float]] | None = None,
    algorithms: Mapping[str, str] | None = None,
    **changes: Any,
) -> Judgement:
    """A judgement with its fixes; every cell ran with one table."""
    simulated = Simulated(
        errors=errors or {},
        tables={result.cell.id: TABLE for result in cells},
        algorithms=algorithms or {},
    )
    return with_fixes(judgement(cells, heads=("small", "large"), **changes), simulated)


def only(made: Judgement) -> Fix:
    (fix,) = made.fixes
    return fix


def regression(environment: str, kind: Kind = Kind.ENGINE_REGRESSION, **changes: Any) -> Verdict:
    return Verdict(
        kind=kind,
        cell=f"{environment}/cpu/{SHARED.name}",
        head="small",
        against=f"{BASELINE}/cpu/{SHARED.name}",
        **changes,
    )


def better(environment: str, by_db: float, half_db: float) -> Verdict:
    """What a version that is better than the baseline has: no fault, and the effect."""
    low, high = -(by_db + half_db) * DB, -(by_db - half_db) * DB
    effect = Effect(log=-by_db * DB, low=low, high=high, p=1.0, builds=3)
    return regression(environment, Kind.OK, effect=effect)


def record(
    small_db: float, lost: float, layers: Sequence[str] = (), failing: bool = False
) -> SetRecord:
    heads = {"small": Numbers(sqnr_db=small_db), "large": Numbers(sqnr_db=30.0)}
    return SetRecord(
        layers=tuple(layers),
        cost=0.1,
        whole=Numbers(lost=lost, lost_share=lost / 200, ap_drop=lost / 100),
        heads=heads,
        failing=(GoalRecord(where="small", name="sqnr_db", limit=20.0),) if failing else (),
    )


def diagnosis(**changes: Any) -> Diagnosis:
    """One of the shared table; all in int8 keeps 16 dB of small and loses 10 boxes on either half."""
    search = SearchRecord(
        goals=(GoalRecord(where="small", name="sqnr_db", limit=20.0),),
        failing=(GoalRecord(where="small", name="sqnr_db", limit=20.0),),
        chosen=changes.pop("chosen", record(23.0, 0, LAYERS)),
        confirmed=changes.pop("confirmed", record(22.0, 1, LAYERS)),
        confirmed_holds=changes.pop("confirmed_holds", True),
        looks=1,
        minimal=True,
        best=changes.pop("best", None),
        front=(),
        evaluations=9,
        sentence="",
    )
    heads = tuple(
        HeadDiagnosis(
            head=name,
            int8=Numbers(sqnr_db=db),
            weights_only_db=None,
            activations_only_db=None,
            predicted_db=None,
            rounding_db=None,
            beyond_db=None,
            trust=None,
            worst_images=(),
            suspects=(),
            parts=(),
        )
        for name, db in (("small", 16.0), ("large", 30.0))
    )
    values: dict[str, Any] = {
        "name": "x", "run": None, "model_sha256": "0", "engine": "onnxruntime",
        "placement": PLACED.name, "table": "entropy", "table_sha256": TABLE,
        "cost_unit": "multiply-accumulates", "images_chosen_on": 64, "images_confirmed_on": 64,
        "heads": heads, "whole": Numbers(lost=10, lost_share=0.05, ap_drop=0.1), "tensors": (),
        "skipped": {}, "search": search, "elsewhere": None, "seconds": {},
        "other_images": record(16.5, 10, failing=True),
    }  # fmt: skip
    return Diagnosis(**{**values, **changes})


def kinds(made: Judgement) -> list[FixKind]:
    return [fix.kind for fix in made.fixes]
