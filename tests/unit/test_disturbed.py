"""A disturbed start, from its record to what people read: marked, and no latency verdict rests on it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.judgements import FP32, cell_result, head, judgement
from tests.unit.new_records import new_measurement, new_record, new_start, remeasured
from trt_matrix.core.evidence import disturbed, latency_disturbed, timed, watched
from trt_matrix.core.records import LatencySamples, Measurement, Record
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.latency import latency_verdicts
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.judging.outcome import Outcome
from trt_matrix.report import frames
from trt_matrix.report.html import render
from trt_matrix.report.summary import summary

BUSY = "the GPU was busy with python (7)"
HOT = "it was throttled: heat"


def record(environment: str, *rounds: tuple[float, str | None]) -> Record:
    """Returns a record of these (median seconds, what disturbed the start), in turn before and after
    the baseline's."""
    first = environment == "base"
    measurements = [
        new_measurement(
            fingerprint=f"{environment}-{repeat}",
            repeat=repeat,
            latency=LatencySamples(batch=1, samples_s=(median,), warm_up=1),
            start=new_start(
                started=f"2026-11-23T12:{2 * repeat + ((repeat % 2 == 1) is first):02}:00+00:00",
                disturbed=reason,
            ),
        )
        for repeat, (median, reason) in enumerate(rounds)
    ]
    return new_record(environment, measurements=measurements, device="gpu:0")


def medians(rounds: Sequence[Measurement]) -> list[float]:
    return [measurement.latency.samples_s[0] for measurement in rounds if measurement.latency]


def test_disturbed_repeats_tell_no_latency_where_others_do() -> None:
    mixed = record("a", (0.01, None), (0.05, BUSY), (0.011, None))
    assert medians(timed(mixed)) == [0.01, 0.011]
    assert disturbed(mixed) == f"1 of 3 repeats: {BUSY}"
    assert not latency_disturbed(mixed)


def test_where_all_are_disturbed_they_are_told_with_their_mark() -> None:
    spoilt = record("a", (0.05, BUSY), (0.06, HOT), (0.07, BUSY))
    assert medians(timed(spoilt)) == [0.05, 0.06, 0.07]
    assert disturbed(spoilt) == f"3 of 3 repeats: {BUSY}; {HOT}"
    assert latency_disturbed(spoilt)
    assert disturbed(record("a", (0.05, BUSY))) == BUSY


def test_a_quiet_record_has_no_mark() -> None:
    quiet = record("a", (0.01, None), (0.02, None))
    assert medians(timed(quiet)) == [0.01, 0.02]
    assert disturbed(quiet) is None


def test_a_gpu_that_nobody_looked_at_is_told() -> None:
    def looked_at(record: Record, *which: int) -> Record:
        def gpu(measurement: Measurement) -> dict[str, Any]:
            return {"gpu": {"before": {}}} if measurement.repeat in which else {}

        return remeasured(record, gpu, "start")

    quiet = record("a", (0.01, None), (0.02, None))
    assert watched(looked_at(quiet, 0, 1)) is True
    assert watched(looked_at(quiet, 1)) is False
    assert watched(quiet) is False
    assert watched(quiet.model_copy(update={"device": "cpu"})) is None
    untimed = remeasured(quiet, lambda _: {"latency": None})
    assert watched(untimed) is None, "nothing to doubt"
    spoilt = looked_at(record("a", (0.01, None), (0.05, BUSY)), 1)
    assert watched(spoilt) is False, "of the repeat that counts"


def test_the_page_and_the_table_say_what_was_not_watched() -> None:
    cells = [
        dataclasses.replace(SPOILT, watched=one, disturbed=None) for one in (True, False, None)
    ]
    made = judgement(cells, heads=("small",))
    assert [row["watched"] for row in frames.long_table(made)] == [True, False, None]
    assert render(made).count("Not watched: this machine cannot see") == 1


def told(*records: Record) -> dict[str, Verdict]:
    return dict(latency_verdicts(records, "base", Rules()))


BASE = record("base", (0.0100, None), (0.0101, None), (0.0099, None), (0.0100, None))


def test_a_slowdown_of_a_disturbed_gpu_is_no_regression() -> None:
    rounds = (0.0130, 0.0131, 0.0129, 0.0130)
    quiet = record("slow", *((round_, None) for round_ in rounds))
    spoilt = record("slow", *((round_, BUSY) for round_ in rounds))
    assert told(BASE, quiet)["slow/gpu:0/fp32"].kind is Kind.LATENCY_REGRESSION
    verdict = told(BASE, spoilt)["slow/gpu:0/fp32"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs == "measuring again (--fresh) with the GPU to itself"


def test_one_disturbed_repeat_makes_no_regression() -> None:
    """With it the mean would be three times the baseline's."""
    spiky = record("a", (0.0100, None), (0.0101, None), (0.2, BUSY), (0.0101, None))
    assert told(BASE, spiky) == {}


def test_repeats_of_which_each_was_disturbed_on_one_side_are_not_compared() -> None:
    rounds = ((0.0130, None), (0.0131, BUSY), (0.0129, None), (0.0130, BUSY))
    other = tuple((0.01, BUSY if reason is None else None) for _, reason in rounds)
    verdict = told(record("base", *other), record("slow", *rounds))["slow/gpu:0/fp32"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs == "measuring both in one run (--fresh)"


SPOILT = dataclasses.replace(
    cell_result("trt", FP32, heads=(head("small"),), device="gpu:0"),
    disturbed=BUSY,
    latency_disturbed=True,
)


def test_people_and_programs_are_told() -> None:
    made = judgement([SPOILT, dataclasses.replace(SPOILT, disturbed=None)], heads=("small",))
    assert f"### Disturbed: do not trust the latency\n\n- trt/gpu:0/fp32: {BUSY}\n" in summary(
        made
    ).replace("\\", "")
    outcome = Outcome(made, Path("run"), Path("report.html"), {})
    assert (
        f"disturbed: trt/gpu:0/fp32, {BUSY}; its latency is not to be trusted: run again with --fresh"
        in outcome.text().splitlines()
    )
    assert [cell["disturbed"] for cell in outcome.summary()["cells"]] == [BUSY, None]
    assert [row["disturbed"] for row in frames.long_table(made)] == [BUSY, None]


def test_many_cells_are_counted_and_none_is_silent() -> None:
    twice = Outcome(judgement([SPOILT, SPOILT]), Path("run"), Path("report.html"), {}).text()
    assert f"disturbed: 2 cells, {BUSY}; their latency is not to be trusted" in twice
    quiet = judgement([dataclasses.replace(SPOILT, disturbed=None)])
    assert "isturbed" not in summary(quiet)
    assert "isturbed" not in Outcome(quiet, Path("run"), Path("report.html"), {}).text()
