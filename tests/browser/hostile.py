"""A judgement that fills every section of the page, with hostile text for every name in it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Any

from tests.unit.judgements import FP32, SHARED, cell_result, fp32_head, head, judgement
from tests.unit.small_networks import detector
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.boxes.matching import Changes
from trt_matrix.core.boxes.results import (
    ALL,
    AveragePrecision,
    BoxErrors,
    BoxReport,
    CellBoxes,
    Fate,
    ShownBox,
    WorstImage,
)
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.judgement import CellResult, CellRun, CustomLayer, Judgement
from trt_matrix.core.layers.precisions import FLOAT, LayerPrecisions, LayerReport
from trt_matrix.core.network.lineage import Lineage, SuspectOperator, SuspectOperators
from trt_matrix.core.network.network_map import network_map
from trt_matrix.core.tables.differences import TableReport, TableUse, TensorRanges
from trt_matrix.core.verdicts.attribution import Addition, Attribution, FactorChange
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict

HOST = "http://sentinel.invalid"
EVIL = {
    "markup": f"</script></style></title><script>alert(1)</script><img src={HOST}/x onerror=alert(1)>",
    "attribute": f"\" ' onmouseover=alert(1) style=background:url({HOST}/y) x=` {{{{ 7*7 }}}}",
    "reversed": "\u202egpj.exe\u2066\u200f\u061c\u05d0\u05d1 \ufeff\u0000\x1b[31m \ud83d",
    "lines": "\n\r\n\u2028\u2029\t two lines --> ]]> <!--",
    "formula": '=HYPERLINK("http://x")|a,b',
    "long": "x" * 10_000,
}

HEADS = ("near", "far")
IMAGE = "street.jpg"
PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
WORDS = {ALL, "small", "medium", "large", "int8", FLOAT, "sqnr_db"}
"""Keys of this program, which no file can choose."""


def spoiled(made: Judgement, evil: str) -> Judgement:
    """Returns the judgement with `evil` after every text in it; what was one text still is one."""
    ids = {
        cell.cell.id: replace(
            cell.cell, environment=cell.cell.environment + evil, device=cell.cell.device + evil
        ).id
        for cell in made.cells
    }

    def spoil(value: Any) -> Any:
        if isinstance(value, Enum | Pass) or value in (None, *WORDS):
            return value
        if isinstance(value, str):
            return ids.get(value, value + evil)
        if is_dataclass(value) and not isinstance(value, type):
            changed = {field.name: spoil(getattr(value, field.name)) for field in fields(value)}
            return replace(value, **changed)
        if isinstance(value, Mapping):
            return {spoil(key): spoil(one) for key, one in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(spoil(one) for one in value)
        return value

    result: Judgement = spoil(made)
    return result


@cache
def complete() -> Judgement:
    """A baseline, a regression, a crash and what is not there; boxes, tables, layers, lineage."""
    cells = (
        _measured("ort-1.32", 0.004),
        _measured("ort-1.26", 0.03, _regressed("ort-1.26")),
        replace(cell_result("ort-1.32", FP32, [fp32_head(head) for head in HEADS]), run=_run()),
        cell_result(
            "trt-8", SHARED, device="gpu:0", status=Status.CRASHED, reason="signal", log_tail="log"
        ),
        cell_result("ngc", SHARED, device="gpu:0", status=Status.UNAVAILABLE, reason="no driver"),
    )
    network = network_map(detector(), [("near", "small"), ("far", "large")])
    ran = {layer.name: "int8" for _, layer in network.layers}
    operator = CustomLayer(node="up", operator="Upsample2", heads=("near",))
    suspect = SuspectOperator(node="resize_up", operator="Resize", custom=True)
    return judgement(
        cells,
        heads=HEADS,
        baseline="ort-1.32",
        answers=answers(HEADS, cells, "ort-1.32"),
        latency_sentence="slower",
        lineage=(
            Lineage(
                bad=("near",),
                good=("far",),
                suspects=(
                    SuspectOperators(heads=("near",), operators=(suspect,), others={"Conv": 2}),
                ),
                causes=("cause",),
                cells=("ort-1.26/cpu/int8-shared-entropy",),
                sentence="behind the upsampling",
            ),
        ),
        custom=(operator,),
        boxes=_boxes(),
        tables=_tables(),
        layers=LayerReport(
            network=network,
            ways=(
                LayerPrecisions(cells=(cells[0].cell.id,), precisions=ran),
                LayerPrecisions(cells=(cells[1].cell.id,), precisions=ran | {"resize_up": "odd"}),
            ),
            untold=(cells[3].cell.id,),
        ),
        facts={"plugins": [{"library": "libplugin.so"}], "labels": {"7": "cat"}},
    )


def _regressed(environment: str) -> tuple[Verdict, ...]:
    change = FactorChange(factor="ONNX Runtime", baseline="1.32", cell="1.26")
    other = FactorChange(factor="option threads", baseline="1", cell=None)
    attribution = Attribution(
        confounded=(change, other),
        through=("between",),
        addition=Addition(yaml="- {venv: onnxruntime}", names=("new",), left=("driver",)),
        harmless=(("Python", "hands arrays over"),),
    )
    cell = f"{environment}/cpu/{SHARED.name}"
    effect = Effect(log=1.2, low=1.1, high=1.3, p=1e-9, typical=1.2, builds=3)
    return (
        Verdict(
            kind=Kind.ENGINE_REGRESSION,
            cell=cell,
            head="near",
            against="ort-1.32/cpu/int8-shared-entropy",
            effect=effect,
            attribution=attribution,
        ),
        Verdict(kind=Kind.INCONCLUSIVE, cell=cell, head="near", needs="images"),
        Verdict(kind=Kind.NOT_COMPARABLE, cell=cell, head="near", why="no scales"),
    )


def _measured(environment: str, nmse: float, verdicts: tuple[Verdict, ...] = ()) -> CellResult:
    heads = [
        replace(
            head(
                one,
                nmse,
                float_layers=("resize_up",),
                identical_to=("other/cpu",),
                verdicts=verdicts,
            ),
            integer_operators={"Add": 2},
            float_operators={"Resize": 1},
            boxes=_errors(),
        )
        for one in HEADS
    ]
    result = cell_result(
        environment,
        SHARED,
        heads,
        version="1.0",
        facts={"stated": {"packages": ["numpy"]}, "command": ["python"]},
    )
    return replace(
        result,
        run=_run(),
        disturbed="another process",
        versions={"TensorRT": "8.5", "cuDNN": "8.9"},
        boxes=CellBoxes(whole=_errors(), heads={"near": _errors()}),
    )


def _run() -> CellRun:
    return CellRun(
        started="2026-11-23T09:15:00+00:00",
        stages={"build": (1.0, 2.0), "own": (0.1,)},
        table="ab" * 32,
        fingerprint="cd" * 32,
        engine_bytes=1_500_000,
        timing_cache="read",
    )


def _errors() -> BoxErrors:
    changes = Changes(
        reference=200, test=198, kept=190, lost=10, faded=2, new=8, risen=1,
        mean_iou=0.85, mean_score_change=0.0, mean_abs_score_change=0.01,
    )  # fmt: skip
    precision = AveragePrecision(ap=0.7, ap50=0.9, objects=12)
    return BoxErrors(
        changes=dict.fromkeys((ALL, "small", "large"), changes),
        precision=dict.fromkeys((ALL, "small", "large"), precision),
        ap_drop=0.1,
        ap50_drop=0.02,
    )


def _boxes() -> BoxReport:
    box = ShownBox(left=1, top=2, right=11, bottom=22, score=0.5, label=7, head="near", fate=Fate.LOST)  # fmt: skip
    image = WorstImage(
        file_name=IMAGE,
        width=320,
        height=320,
        cells=("ort-1.26/cpu/int8-shared-entropy",),
        heads=("near",),
        reference=(box,),
        test=(replace(box, fate=Fate.NEW),),
    )
    return BoxReport(
        heads=("near",),
        precision={ALL: AveragePrecision(ap=0.8, ap50=0.9, objects=12)},
        shown_score=0.25,
        match_iou=0.5,
        sizes={"small": (0, 1024), "large": (1024, 1e10)},
        worst=(image, replace(image, file_name="other.jpg")),
    )


def _tables() -> TableReport:
    shared = TableUse(
        digest="table-a", algorithm="entropy", note="made for the limit", own_of=("ort-1.32",),
        shared=True, cells=("ort-1.32/cpu/int8-shared-entropy",), tensors=20, unusable=1,
        compared=0, differing=0, median_ratio=None, furthest=None, furthest_ratio=None, kept=0.9,
    )  # fmt: skip
    own = replace(
        shared, digest="table-b", shared=False, compared=20, differing=3, median_ratio=1.1,
        furthest="mixed", furthest_ratio=2.0,
    )  # fmt: skip
    tensor = TensorRanges(
        tensor="mixed", heads=("near",), amax={"table-a": 1.0, "table-b": 2.0}, spread=2.0
    )
    return TableReport(
        against="table-a", tables=(shared, own), tensors=(tensor,), missing=("table-c",)
    )
