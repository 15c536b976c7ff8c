"""Why int8 is no faster: what an H200 told of its own layers, and what must not be said of others."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.unit import h200
from tests.unit.new_records import remeasured
from tests.unit.pages import parse
from trt_matrix.core.answers.slow import untimed, with_slow
from trt_matrix.core.answers.speed import _clause, cost
from trt_matrix.core.judgement import Judgement, SlowCause, Untimed
from trt_matrix.core.layers.engine_layers import LayerTimes
from trt_matrix.core.layers.precisions import LayerPrecisions
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.judging.run_files import problem_of
from trt_matrix.report.html import render
from trt_matrix.report.summary import summary
from trt_matrix.store.results import Store

DATA = h200.ROOT / "tests" / "data" / "h200-docker"
QDQ = "trt-8.5.3.1/gpu:0/int8-shared-file"
IMPLICIT = "trt-8.5.3.1/gpu:0/int8-implicit-shared-file"


@cache
def judged() -> Judgement:
    return h200.judged(DATA)


@cache
def records() -> tuple[Record, ...]:
    return tuple(map(Record.model_validate, json.loads((DATA / "records.json").read_text())))


def kept(stored: StoredObject) -> LayerTimes | None:
    return h200.times_of(DATA).get(stored.sha256)


def none(stored: StoredObject) -> None:
    assert stored


def why(
    judgement: Judgement | None = None,
    ran: tuple[Record, ...] | None = None,
    times_of: Callable[[StoredObject], LayerTimes | None] = kept,
) -> dict[str, str]:
    int8s = with_slow(judgement or judged(), ran or records(), times_of).slow
    assert all(int8.reasons for int8 in int8s)
    return {int8.cell: " ".join(int8.reasons) for int8 in int8s}


def retimed(change: Callable[[str, Any], Any]) -> tuple[Record, ...]:
    """Returns the records with other times: (pass, `Timing`) → `Timing`."""

    def changed(record: Record) -> Record:
        name = record.pass_.name
        return remeasured(record, lambda it: {"latency": change(name, it.latency)})

    return tuple(map(changed, records()))


def test_it_is_told_from_what_the_gpu_recorded() -> None:
    """By Q/DQ the GPU gains 0.03 ms; copies and starting take more than it computes, and repeats scatter more."""
    found = why()
    assert set(found) == {QDQ}, "the implicit one is faster"
    assert (
        "The GPU itself computes faster in int8, 0.196 to 0.233 ms against 0.245 to 0.248;"
        in found[QDQ]
    )
    assert (
        "copies and starting it take 0.232 to 0.27 ms more (0.179 to 0.244 in fp32)" in found[QDQ]
    )
    assert (
        "Not decided: repeats differ by more than their samples (int8 0.428 to 0.503 ms; fp32"
        in found[QDQ]
    )
    assert (
        "those that multiply 182 µs against 265; all others 65 µs against 34 in fp32" in found[QDQ]
    )
    assert "in float" not in found[QDQ], "all of it ran in int8"
    assert "waiting for the next one" not in found[QDQ]


def test_without_layer_times_only_the_clocks_speak() -> None:
    assert "profiled" not in why(times_of=none)[QDQ]
    silent = retimed(lambda _, latency: latency.model_copy(update={"device_s": None}))
    found = why(ran=silent, times_of=none)[QDQ]
    assert "GPU" not in found
    assert found.startswith("Not decided")


def test_layers_that_took_no_time_tell_nothing() -> None:
    def stopped(stored: StoredObject) -> LayerTimes | None:
        times = kept(stored)
        return times and replace(
            times, layers=tuple(replace(layer, seconds=0.0) for layer in times.layers)
        )

    assert why(times_of=stopped) == why(times_of=none)


def test_where_nothing_was_recorded_nothing_is_said() -> None:
    """ONNX Runtime on a processor: 4 times slower, all on integers, and no clock but the host's."""
    found = {int8.cell for int8 in h200.judged().slow}
    assert found
    assert not any(one.startswith("ort-") for one in found)


def test_layers_in_float_are_named_only_where_every_layer_is_known() -> None:
    layers = judged().layers
    assert layers
    way = next(way for way in layers.ways if QDQ in way.cells)
    work = {layer.name: layer.macs for _, layer in layers.network.layers if layer.macs}
    largest = max(work, key=lambda name: work[name])
    share = 100 * work[largest] / sum(work.values())

    def among(*precisions: Mapping[str, str]) -> str:
        ways = tuple(
            LayerPrecisions(cells=(QDQ,), precisions=precision) for precision in precisions
        )
        return why(replace(judged(), layers=replace(layers, ways=ways)))[QDQ]

    held = {**way.precisions, largest: "fp32"}
    expected = f"1 of {len(work)} layers that multiply ran in float, {share:.0f} % of the"
    assert expected in among(held)
    assert largest in among(held)
    assert "in float" not in among(held, way.precisions), "another build of the cell had none"
    unknown = {name: ran for name, ran in held.items() if name != min(work, key=lambda n: work[n])}
    assert "in float" not in among(unknown)
    smallest = min(work, key=lambda name: work[name])
    assert "in float" not in among({**way.precisions, smallest: "fp32"}), "it explains nothing"


def test_a_gpu_that_is_no_faster_is_not_excused_by_copies() -> None:
    def equal(name: str, latency: Any) -> Any:
        return latency.model_copy(update={"device_s": (0.00025,) * 40})

    found = why(ran=retimed(equal))[QDQ]
    assert "The GPU itself computes no faster in int8: 0.25 ms against 0.25." in found
    assert "copies" not in found

    def overlaps(name: str, latency: Any) -> Any:
        # One of two builds is faster than any of fp32's: is int8 faster?
        again = 0.0002 if name.startswith("int8") and latency.samples_s[0] < 0.00045 else 0.00025
        return latency.model_copy(update={"device_s": (again,) * 40})

    found = why(ran=retimed(overlaps))[QDQ]
    assert "faster in int8 is not known: 0.2 to 0.25 ms against 0.25." in found
    assert "copies" not in found


def test_a_gpu_that_waits_for_its_layers_is_told() -> None:
    def waits(name: str, latency: Any) -> Any:
        seconds = 0.0004 if name.startswith("int8") else 0.00025
        return latency.model_copy(update={"device_s": (seconds,) * 40})

    assert (
        "Its 36 layers take 247 µs together, the GPU 400 at least" in why(ran=retimed(waits))[QDQ]
    )
    assert "waiting" not in why(ran=retimed(waits), times_of=none)[QDQ]


def test_reformatting_is_told_where_it_takes_a_part_of_the_time() -> None:
    def more(stored: StoredObject) -> LayerTimes | None:
        times = kept(stored)
        layers = [
            replace(layer, seconds=9 * layer.seconds)
            if layer.name.startswith("Reformatting")
            else layer
            for layer in (times.layers if times else ())
        ]
        return replace(times, layers=tuple(layers)) if times else None

    assert "reformatting" not in why()[QDQ]
    assert (
        "reformatting 72 µs against 0; all others 57 µs against 34 in fp32"
        in why(times_of=more)[QDQ]
    )


def test_of_a_disturbed_clock_nothing_else_is_said() -> None:
    def busy(cell: str, repeats: int) -> tuple[Record, ...]:
        def disturbed(measurement: Measurement) -> Mapping[str, Any]:
            return {"disturbed": "busy" if measurement.repeat < repeats else None}

        return tuple(
            remeasured(record, disturbed, "start") if record.cell == cell else record
            for record in records()
        )

    number = next(len(record.measurements) for record in records() if record.cell == QDQ)
    said = f"What was timed was disturbed: {number} of {number} repeats: busy."
    assert why(ran=busy(QDQ, number))[QDQ] == said
    assert why(ran=busy("trt-8.5.3.1/gpu:0/fp32", 99))[QDQ].startswith("What was timed was")
    assert "disturbed" not in why(ran=busy(QDQ, 1))[QDQ], "the others alone count"


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>"])
def test_the_page_tells_it_beside_the_times(evil: str) -> None:
    (int8,) = judged().slow
    hostile = replace(judged(), slow=(replace(int8, reasons=(*int8.reasons, evil)),))
    page = render(hostile)
    text = parse(page).by_id("latency").text
    assert f"{QDQ}: Not decided: repeats" in text
    assert evil not in page
    assert "repeats 428" in text
    assert (
        "what is known of why"
        not in parse(render(replace(judged(), slow=()))).by_id("latency").text
    )


def test_the_second_line_of_the_headline_tells_the_cause() -> None:
    """Not decided here, since repeats scatter: that copies take long explains nothing that was not shown."""
    told = cost(judged())
    assert (
        "in 1 that is not decided: repeats differ by more than their samples (int8 0.428 to" in told
    )
    assert "copies" not in told
    assert "not decided: repeats" not in cost(replace(judged(), slow=()))


@pytest.mark.parametrize(
    ("slower", "said"),
    [
        ({"device_s": (0.00025,) * 40}, "Why: the GPU itself computes no faster in int8 (0.25 ms"),
        ({"device_s": (0.0002,) * 40}, "Why: the GPU itself computes faster in int8 (0.2 ms"),
        ({"device_s": None}, ""),
    ],
)
def test_of_int8_that_is_slower_the_measured_cause_is_told(slower: Any, said: str) -> None:
    cell = next(result for result in judged().cells if result.cell.id == QDQ)
    fp32 = next(result for result in judged().cells if result.cell.pass_.name == "fp32")
    assert cell.latency
    assert fp32.latency
    late = replace(
        cell.latency,
        **{name: 3 * getattr(fp32.latency, name) for name in ("median_s", "low_s", "high_s")},
    )
    judgement = replace(judged(), cells=(fp32, replace(cell, latency=late)))

    def clocks(name: str, latency: Any) -> Any:
        gpu = (
            slower
            if name.startswith("int8") or slower["device_s"] is None
            else {"device_s": (0.00025,) * 40}
        )
        return latency.model_copy(update=gpu)

    told = cost(with_slow(judgement, retimed(clocks), none))
    assert "INT8 is 3.0 times slower than FP32 on gpu:0" in told
    assert (said in told) if said else "Why" not in told


def test_causes_of_several_cells_are_told_once_with_how_many_have_them() -> None:
    recorded = h200.judged(h200.CUDNN)
    told = cost(recorded)
    assert (
        "Why: 24 of 24 layers that multiply ran in float, 100 % of the multiplications, in both cells."
        in told
    )
    judgement = replace(recorded, slow=recorded.slow[:1])
    assert "100 % of the multiplications, in 1 of 2 cells." in cost(judgement)
    unlike = replace(recorded.slow[0], clause="9 of 24 layers that multiply ran in float")
    apart = cost(replace(recorded, slow=(unlike, recorded.slow[1])))
    assert "and the like in the other" in apart
    # Of how many it is so stands beside it: "in 12 that is not decided: …, and the like in 1 more" was of two.
    assert _clause((unlike, recorded.slow[1]), of=12).endswith(", and the like in 1 more of 12")
    assert _clause((unlike, *recorded.slow), of=3).endswith(", and the like in all 2 others")
    assert _clause((unlike,), of=3).endswith(", in 1 of 3 cells")
    old = tuple(replace(int8, cause=None, clause="") for int8 in recorded.slow)
    assert "Why" not in cost(replace(recorded, slow=old)), "a judgement of before there were causes"
    disturbed = tuple(replace(int8, cause=SlowCause.DISTURBED) for int8 in recorded.slow)
    assert "Why" not in cost(replace(recorded, slow=disturbed))


PROBLEM = "RuntimeError: the profiler gave no layer"


def test_why_layers_have_no_times_is_told_with_every_cell_of_which_it_is_true() -> None:
    def of(stored: StoredObject) -> str | None:
        return None if kept(stored) else PROBLEM

    assert untimed(records(), of) == (), "all were timed"
    (one,) = untimed(records(), lambda _: PROBLEM)
    with_layers = [
        record.cell for record in records() if any(m.layers for m in record.measurements)
    ]
    assert one.problem == PROBLEM
    assert list(one.cells) == with_layers
    other = {records()[0].measurements[0].layers}
    first, second = untimed(records(), lambda stored: "a" if stored in other else "b")
    assert (first.problem, second.problem) == ("a", "b")
    assert first.cells[0] == second.cells[0] == records()[0].cell, "repeats differ"


def test_why_layers_have_no_times_stands_where_they_would_be() -> None:
    evil = "<script>alert(1)</script> `x`"
    judgement = replace(judged(), untimed=(Untimed(cells=(QDQ,), problem=evil),))
    page = render(judgement)
    said = f"Layers were to be timed one by one, and were not, in {QDQ}: {evil}"
    assert said in parse(page).by_id("latency").text
    assert evil not in page
    assert "Layers were not timed in trt-8.5.3.1/gpu:0/int8-shared-file: " in summary(judgement)
    assert evil not in summary(judgement)
    assert "not timed" not in summary(judged())
    assert "to be timed" not in parse(render(judged())).by_id("latency").text


def test_it_is_read_of_what_the_engine_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    layers = {"schema_version": 1, "layers": []}
    times = {"runs": 0, "layers": [], "problem": PROBLEM}

    def told(**more: object) -> str | None:
        return problem_of(store)(store.put(json.dumps({**layers, **more}).encode(), ".json"))

    assert told(times=times) == PROBLEM
    assert told(times={**times, "runs": 5, "problem": None}) is None
    assert told() is None, "nobody asked for times"
    assert told(times={**times, "problem": 7}) is None, "a damaged file tells nothing"
