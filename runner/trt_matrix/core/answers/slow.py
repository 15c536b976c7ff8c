"""Why is int8 no faster than fp32 there? From what was recorded, or nothing is said.

What can be known: the layers that stayed in float (the engine's own list), what the GPU computes and what an inference
takes besides (its own clock), what the layers take (the engine's profiler, where the job asked it), what it
does between formats, and that the clock was disturbed or scatters. ONNX Runtime on a processor tells but the first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from trt_matrix.core.answers.speed import SLOWER, SpeedPair, pairs
from trt_matrix.core.cells import FP32
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.diagnosis.latencies import is_reformatting
from trt_matrix.core.evidence import disturbed, latency_disturbed, timed
from trt_matrix.core.judgement import Judgement, SlowCause, SlowInt8, Untimed
from trt_matrix.core.layers.engine_layers import INT8, LayerTime, LayerTimes
from trt_matrix.core.layers.precisions import LayerReport
from trt_matrix.core.records import Record, StoredObject
from trt_matrix.core.words import capital, count, listed

LEAST = 0.05
"""Share of the work, or of the time, below which nothing is explained by it."""
BOUND = 1.5
"""A GPU that takes so many times what its layers take together waits for them to be started."""
MOST = 3
"""Layers told by name."""
ORDER: Sequence[SlowCause | None] = tuple(SlowCause)

TimesOf = Callable[[StoredObject], LayerTimes | None]


def with_slow(judgement: Judgement, records: Iterable[Record], times_of: TimesOf) -> Judgement:
    """Returns it with the reasons of every int8 cell that is no faster than its fp32, those that are known.

    `times_of`: layers.json of the store → what its layers took; None where that is gone, or was not told.
    """
    by_id = {record.cell: record for record in records}
    fp32 = {
        (record.environment, record.device): record
        for record in by_id.values()
        if record.pass_ == FP32
    }
    int8s = []
    for pair in pairs(judgement.cells):
        cell = pair.result.cell
        record, base = by_id.get(cell.id), fp32.get((cell.environment, cell.device))
        if pair.faster or record is None or base is None:
            continue
        # Repeats that were disturbed and do not count say nothing.
        if busy := [disturbed(side) for side in (record, base) if latency_disturbed(side)]:
            reasons = [_Reason(SlowCause.DISTURBED, f"What was timed was disturbed: {busy[0]}.")]
        else:
            sides = (
                _Side.of(record, judgement.layers, times_of),
                _Side.of(base, judgement.layers, times_of),
            )
            tried = (
                _scatter(pair),
                _in_float(cell.id, judgement.layers),
                _outside(*sides),
                _layers(*sides),
                _launches(sides[0]),
            )
            reasons = [reason for reason in tried if reason]
        if reasons:
            explains = [reason for reason in reasons if reason.cause]
            most = min(explains, key=lambda reason: ORDER.index(reason.cause), default=None)
            int8s.append(
                SlowInt8(
                    cell=cell.id,
                    ratio=pair.ratio,
                    reasons=tuple(reason.text for reason in reasons),
                    cause=most.cause if most else None,
                    clause=most.clause if most else "",
                )
            )
    return replace(judgement, slow=tuple(int8s))


def untimed(
    records: Iterable[Record], problem_of: Callable[[StoredObject], str | None]
) -> tuple[Untimed, ...]:
    """Returns why layers were not timed, with the cells of which that is true.

    `problem_of`: layers.json of the store → why its layers have no times; None where they have, or were not asked.
    """
    cells = grouped(
        (problem, record.cell)
        for record in records
        for measurement in timed(record)
        if measurement.layers and (problem := problem_of(measurement.layers))
    )
    return tuple(
        Untimed(cells=tuple(distinct(ids)), problem=problem) for problem, ids in cells.items()
    )


class _Reason(NamedTuple):
    cause: SlowCause | None
    """None of what explains nothing by itself."""
    text: str
    clause: str = ""
    """For the second line of the headline."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What the GPU told of one cell; seconds, medians."""

    gpu_s: tuple[float, ...]
    """What it computed, copies apart, of each repeat; empty where it cannot tell."""
    rest_s: tuple[float, ...]
    """What an inference took besides, of each repeat."""
    layers: int
    """Of an engine; 0 where they were not timed."""
    multiplying_s: float
    reformatting_s: float
    others_s: float

    @property
    def layers_s(self) -> float:
        return self.multiplying_s + self.reformatting_s + self.others_s

    @classmethod
    def of(cls, record: Record, report: LayerReport | None, times_of: TimesOf) -> "_Side":
        measured = timed(record)
        clocks = [
            (
                float(np.median(measurement.latency.device_s)),
                float(np.median(measurement.latency.samples_s)),
            )
            for measurement in measured
            if measurement.latency and measurement.latency.device_s
        ]
        if len(clocks) != len(measured):
            clocks = []
        gpu = tuple(gpu for gpu, _ in clocks), tuple(whole - gpu for gpu, whole in clocks)
        multiplying = (
            {name for _, layer in report.network.layers if layer.macs for name in layer.outputs}
            if report
            else set()
        )
        all_times = [
            times
            for measurement in measured
            if measurement.layers and (times := times_of(measurement.layers))
        ]
        if not all_times or not multiplying or len(all_times) != len(measured):
            return cls(*gpu, 0, 0.0, 0.0, 0.0)
        sums = np.median(
            [_sums(layer_times.layers, multiplying) for layer_times in all_times], axis=0
        )
        layers = round(float(np.median([len(layer_times.layers) for layer_times in all_times])))
        return cls(*gpu, layers, *map(float, sums))


def _sums(layers: Iterable[LayerTime], multiplying: set[str]) -> tuple[float, float, float]:
    """Returns the seconds of layers that multiply, of reformatting, and of all others."""
    sums = [0.0, 0.0, 0.0]
    for layer in layers:
        kind = 1 if is_reformatting(layer.name) else 0 if multiplying & {*layer.tensors} else 2
        sums[kind] += layer.seconds
    return sums[0], sums[1], sums[2]


def _scatter(pair: SpeedPair) -> _Reason | None:
    """Repeats that scatter hide what is between them: only where the intervals do not tell."""
    if pair.slower or not (pair.int8.scatters or pair.fp32.scatters):
        return None
    told = [
        f"{called} {_span(latency.rounds_s)} ms"
        for called, latency in (("int8", pair.int8), ("fp32", pair.fp32))
        if latency.scatters
    ]
    clause = f"repeats differ by more than their samples ({'; '.join(told)})"
    return _Reason(SlowCause.SCATTER, f"Not decided: {clause}.", clause)


def _in_float(cell: str, report: LayerReport | None) -> _Reason | None:
    """Layers that multiply and ran in float; of builds that differ, the one with the least."""
    ways = [way.precisions for way in report.ways if cell in way.cells] if report else []
    if not report or not ways:
        return None
    macs = {layer.name: layer.macs for _, layer in report.network.layers if layer.macs}
    if not macs or any(name not in ran for ran in ways for name in macs):
        return None

    def floats(ran: Mapping[str, str]) -> list[str]:
        return sorted((name for name in macs if ran[name] != INT8), key=lambda name: -macs[name])

    least = min((floats(way) for way in ways), key=lambda names: sum(map(macs.__getitem__, names)))
    share = sum(macs[name] for name in least) / sum(macs.values())
    if share < LEAST:
        return None
    clause = (
        f"{len(least)} of {count(len(macs), 'layer')} that multiply ran in float, {100 * share:.0f} % of the "
        "multiplications"
    )
    return _Reason(SlowCause.FLOAT, f"{clause}: {listed(least, MOST)}.", clause)


def _outside(int8: _Side, fp32: _Side) -> _Reason | None:
    """What the GPU itself computes, and what an inference takes besides; no conclusion where repeats overlap."""
    if not int8.gpu_s or not fp32.gpu_s:
        return None
    both = f"{_span(int8.gpu_s)} ms against {_span(fp32.gpu_s)}"
    if min(int8.gpu_s) * SLOWER >= max(fp32.gpu_s):
        clause = "the GPU itself computes no faster in int8"
        return _Reason(SlowCause.GPU, f"{capital(clause)}: {both}.", f"{clause} ({both} ms)")
    if max(int8.gpu_s) * SLOWER > min(fp32.gpu_s):
        return _Reason(
            None, f"Whether the GPU itself computes faster in int8 is not known: {both}."
        )
    clause = "the GPU itself computes faster in int8"
    besides = f"take {_span(int8.rest_s)} ms more ({_span(fp32.rest_s)} in fp32)"
    return _Reason(
        SlowCause.AROUND,
        f"{capital(clause)}, {both}; copies and starting it {besides}.",
        f"{clause} ({both} ms), and copies and starting it {besides}",
    )


def _layers(int8: _Side, fp32: _Side) -> _Reason | None:
    """Where the time of the layers went, one by one as the profiler runs them."""
    if not int8.layers_s or not fp32.layers_s:
        return None
    formats = int8.reformatting_s / int8.layers_s >= LEAST
    kinds = [("those that multiply", int8.multiplying_s, fp32.multiplying_s)]
    if formats:
        kinds += [("reformatting", int8.reformatting_s, fp32.reformatting_s)]
    mine, before = (
        side.others_s + (0.0 if formats else side.reformatting_s) for side in (int8, fp32)
    )
    kinds += [("all others", mine, before)]
    told = "; ".join(
        f"{called} {_us(mine)} µs against {_us(before)}" for called, mine, before in kinds
    )
    return _Reason(None, f"Its layers, profiled one by one: {told} in fp32.")


def _launches(int8: _Side) -> _Reason | None:
    if not int8.gpu_s or not int8.layers_s or min(int8.gpu_s) < BOUND * int8.layers_s:
        return None
    both = (
        f"{int8.layers} layers take {_us(int8.layers_s)} µs together, the GPU {_us(min(int8.gpu_s))} at least: "
        "the rest is waiting for the next one to be started"
    )
    return _Reason(SlowCause.LAUNCHES, f"Its {both}.", f"its {both}")


def _span(seconds: Sequence[float]) -> str:
    low, high = _ms(min(seconds)), _ms(max(seconds))
    return low if low == high else f"{low} to {high}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.0f}"
