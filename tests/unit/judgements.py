"""Judgements for tests of what is made from one; the numbers fit each other, no engine ran."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.unit.passes import FP32, MINMAX, OWN, SHARED
from trt_matrix.core.answers.gate_sentences import network_gates_sentence
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.answers.unexplained import with_unexplained
from trt_matrix.core.boxes.matching import Changes
from trt_matrix.core.cells import Cell, Pass, Status
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.latency import Latency
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.metrics import Metrics, sqnr_db
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.core.verdicts.gates import all_hold, gate_results
from trt_matrix.core.verdicts.verdict import Verdict

HEADS = ("large", "medium", "small")
PASSES = (FP32, SHARED, OWN, MINMAX)
VERSIONS = ("1.18.1", "1.22.1", "1.26.0", "1.27.0", "1.30.0", "1.32.0")
NGC = ("18.12-py3", "19.09-py3", "21.06-py3", "24.04-py3", "26.05-py3", "26.08-py3")
BASELINE = "ort-1.32.0"
NO_DRIVER = "no NVIDIA driver: install one, or leave the ngc rows out with --select 'ort-*'"


def errors(nmse: float | None, *, elements: int = 2_000_000, nonfinite: int = 0) -> Metrics:
    """Metrics of a head whose reference has a mean square of 4."""
    mse = None if nmse is None else 4 * nmse
    return Metrics(
        nmse=nmse,
        sqnr_db=sqnr_db(nmse),
        mse=mse,
        rmse=None if mse is None else math.sqrt(mse),
        mae=None if mse is None else 0.8 * math.sqrt(mse),
        max_abs=None if mse is None else 9 * math.sqrt(mse),
        cosine=None if nmse is None else 1 - nmse / 2,
        share_over_epsilon=None if nmse is None else min(1.0, 40 * nmse),
        elements=elements,
        nonfinite=nonfinite,
    )


def head(
    name: str = "small",
    nmse: float | None = 0.012,
    *,
    limit: float = 0.006,
    calibration: float = 0.002,
    noise: float | None = 0.0004,
    share: float | None = 0.973,
    gate_sqnr_db: float | None = 20.0,
    float_layers: tuple[str, ...] = (),
    identical_to: tuple[str, ...] = (),
    nonfinite: int = 0,
    verdicts: tuple[Verdict, ...] = (),
) -> HeadResult:
    """An int8 result; its engine part is what limit and calibration leave of `nmse`."""
    error = errors(nmse, nonfinite=nonfinite)
    gates = gate_results(HeadGate(head=name, sqnr_db=gate_sqnr_db), error, None)
    return HeadResult(
        head=name,
        error=error,
        against_fp32=error,
        budget=None
        if nmse is None
        else Budget(
            observed=nmse,
            limit=limit,
            calibration=calibration,
            engine=nmse - limit - calibration,
            noise=noise,
        ),
        integer_share=share,
        float_layers=float_layers,
        identical_to=identical_to,
        verdicts=verdicts,
        gate_sqnr_db=gate_sqnr_db,
        gates=gates,
        passed=all_hold(gates),
    )


def fp32_head(
    name: str = "small", nmse: float | None = 3.1e-13, identical_to: tuple[str, ...] = ()
) -> HeadResult:
    return HeadResult(
        head=name,
        error=errors(nmse),
        against_fp32=None,
        budget=None,
        integer_share=None,
        float_layers=(),
        identical_to=identical_to,
        gate_sqnr_db=None,
        passed=None,
    )


def changes(
    lost: float = 0.0,
    reference: float = 1000.0,
    new: float = 0.0,
    mean_iou: float | None = 1.0,
    **more: Any,
) -> Changes:
    """Returns what became of boxes of which so many are lost and so many new; what is kept keeps its score."""
    values = {
        "reference": reference,
        "test": reference - lost + new,
        "kept": reference - lost,
        "lost": lost,
        "faded": 0.0,
        "new": new,
        "risen": 0.0,
        "mean_iou": mean_iou,
        "mean_score_change": 0.0,
        "mean_abs_score_change": 0.0,
    }
    return Changes(**(values | more))


def latency(median_s: float = 0.0123, batch: int = 1) -> Latency:
    return Latency(
        median_s=median_s,
        low_s=median_s * 0.985,
        high_s=median_s * 1.02,
        p90_s=median_s * 1.1,
        p99_s=median_s * 1.31,
        samples=240,
        batch=batch,
    )


def cell_result(
    environment: str = "ort-1.32.0",
    pass_: Pass = SHARED,
    heads: Sequence[HeadResult] = (),
    *,
    device: str = "cpu",
    status: Status = Status.OK,
    reason: str | None = None,
    latency_s: float | None = 0.0123,
    log_tail: str | None = None,
    version: str | None = None,
    facts: Mapping[str, Any] | None = None,
    reused: bool = False,
) -> CellResult:
    ok = status is Status.OK
    return CellResult(
        cell=Cell(environment=environment, device=device, pass_=pass_),
        status=status,
        reason=reason,
        repeats=3 if ok else 0,
        engine_version=version,
        latency=latency(latency_s) if ok and latency_s is not None else None,
        heads=tuple(heads),
        reused=reused,
        log_tail=log_tail,
        facts=facts or {},
    )


def judgement(cells: Sequence[CellResult], **changes: Any) -> Judgement:
    heads = changes.pop("heads", HEADS)
    values: dict[str, Any] = {
        "name": "digits3",
        "run_id": "20261123T091500Z-digits3",
        "created": "2026-11-23T09:15:00+00:00",
        "baseline": BASELINE,
        "heads": heads,
        "images": 128,
        "cells": tuple(cells),
        "sentences": dict.fromkeys(heads, "All environments agree within 0.5 dB."),
        "facts": {"model": {"file": "digits3.onnx", "sha256": "9f" * 32}, "images": 128},
    }
    values |= changes
    values.setdefault("answers", answers(heads, values["cells"], values["baseline"]))
    values.setdefault("network_sentence", network_gates_sentence(values["cells"]))
    told = (values["cells"], values["answers"], values["network_sentence"])
    values.setdefault("network", network_answer(*told))
    values.setdefault(
        "gates_set", any(head_result.gates for result in cells for head_result in result.heads)
    )
    return Judgement(**values)


# A whole matrix, shaped like the demo's: one engine regression, a crash, rows without a driver

SIMULATED = {
    (SHARED, "large"): (0.0011, 0.0002),
    (SHARED, "medium"): (0.0016, 0.0003),
    (SHARED, "small"): (0.0021, 0.0005),
    (OWN, "large"): (0.0011, 0.0),
    (OWN, "medium"): (0.0016, 0.0),
    (OWN, "small"): (0.0021, 0.0),
    (MINMAX, "large"): (0.0011, 0.0012),
    (MINMAX, "medium"): (0.0016, 0.0019),
    (MINMAX, "small"): (0.0021, 0.0109),
}
ENGINE = {
    "old": {"large": 0.0001, "medium": 0.0041, "small": 0.0092},
    "new": {"large": -0.0001, "medium": 0.0002, "small": -0.0003},
}
CRASH_LOG = "\n".join(
    [
        "stage: build int8-own-minmax",
        "\x1b[31m2026-11-23 09:21:07.112 [E:onnxruntime] Non-zero status code returned\x1b[0m",
        *(f"  frame {index}: libonnxruntime.so.1.22.1+0x{index * 4096:x}" for index in range(12)),
        "Segmentation fault (core dumped)",
    ]
)


def _environment_facts(version: str) -> dict[str, Any]:
    return {
        "stated": {
            "packages": {"numpy": "1.26.4", "onnxruntime": version},
            "hashes": [f"onnxruntime sha256:{version.replace('.', '') * 12}"],
        },
        "probed": {
            "engine": {"name": "onnxruntime", "version": version, "providers": ["CPU"]},
            "python": "3.11.9",
            "processor": {"model": "Xeon", "cores": 2, "flags": ["avx2", "avx512_vnni"]},
        },
        "command": ["python", "-m", "job", "REQUEST", "RESULT"],
    }


def _environment(version: str) -> list[CellResult]:
    old = version < "1.27"
    siblings = [f"ort-{one}" for one in VERSIONS if one != version and (one < "1.27") == old]
    facts = _environment_facts(version)
    results = []
    for pass_ in PASSES:
        if (version, pass_) == ("1.22.1", MINMAX):
            results.append(
                cell_result(
                    f"ort-{version}",
                    pass_,
                    status=Status.CRASHED,
                    reason="segmentation fault in stage build; see the log",
                    log_tail=CRASH_LOG,
                    version=version,
                    facts=facts,
                )
            )
            continue
        identical = tuple(f"{name}/cpu/{pass_.name}" for name in siblings)
        same = identical if version != "1.18.1" else ()
        wobble = 1 + 0.01 * VERSIONS.index(version)
        heads = []
        for name in HEADS:
            if pass_ is FP32:
                heads.append(fp32_head(name, 0.0 if name == "large" else 3.1e-13 * wobble, same))
                continue
            limit, calibration = SIMULATED[pass_, name]
            engine = ENGINE["old" if old else "new"][name] * (wobble if version == "1.18.1" else 1)
            heads.append(
                head(
                    name,
                    limit + calibration + engine,
                    limit=limit,
                    calibration=calibration,
                    noise=0.00002 if name == "large" else 0.0003,
                    share=0.9973 if old else 1.0,
                    gate_sqnr_db=20.0,
                    float_layers=("/up2/Resize", "/neck/Concat_1") if old else (),
                    identical_to=same,
                )
            )
        results.append(
            cell_result(
                f"ort-{version}",
                pass_,
                heads,
                latency_s=(0.0121 if pass_ is FP32 else 0.0068 if old else 0.0049) * wobble,
                version=version,
                facts=facts,
                reused=version == "1.18.1",
            )
        )
    return results


def whole() -> Judgement:
    cells = [cell for version in VERSIONS for cell in _environment(version)]
    cells += [
        cell_result(
            f"ngc-{tag}", pass_, device="gpu:*", status=Status.UNAVAILABLE, reason=NO_DRIVER
        )
        for tag in NGC
        for pass_ in PASSES
    ]
    return judgement(
        with_unexplained(cells),
        sentences={
            "large": "All 6 environments agree within 0.5 dB at the same scales. In ort-1.32.0 the "
            "shared entropy table keeps 29.2 dB; 8 bits with the best table known would keep "
            "29.6 dB, so most of the loss is 8 bits' own. Every int8 cell holds the gate of 20 dB.",
            "medium": "At the same scales ort-1.18.1, ort-1.22.1 and ort-1.26.0 lose 4.6 dB against "
            "ort-1.32.0: the engine changed, not the calibration.",
            "small": "At the same scales ort-1.18.1, ort-1.22.1 and ort-1.26.0 lose 7.1 dB against "
            "ort-1.32.0: the engine changed, not the calibration. Below the gate of 20 dB: "
            "ort-1.18.1/cpu/int8-own-minmax and ort-1.26.0/cpu/int8-own-minmax.",
        },
        facts={
            "tool": {"name": "trt-matrix", "version": "0.1.0"},
            "reference": {"engine": "onnxruntime", "version": "1.32.0", "optimisation": "off"},
            "model": {"file": "digits3.onnx", "sha256": "9f" * 32},
            "tables": {"entropy": {"sha256": "c4" * 32, "images": 128}},
            "host": {"cpu": "2 cores", "driver": None},
        },
    )
