"""Slower than the baseline: found where repeats say so, and not where they do not."""

import math

import numpy as np
import pytest
from scipy import stats

from runner.cells import Pass, Precision, Status
from runner.core.rules import Rules
from runner.core.verdicts.latency import latency_sentence, latency_verdicts
from runner.core.verdicts.verdict import Kind, Verdict
from runner.records import Measurement, Record, Start, Timing

FP32 = Pass(precision=Precision.FP32)


def record(
    environment: str,
    *medians: float,
    hour: int = 12,
    device: str = "cpu",
    fingerprint: str | None = None,
    status: Status = Status.OK,
) -> Record:
    return Record(
        cell=f"{environment}/{device}/fp32",
        environment=environment,
        device=device,
        pass_=FP32,
        status=status,
        measurements=tuple(
            Measurement(
                fingerprint=fingerprint or f"{environment}/{device}",
                name="fp32",
                repeat=repeat,
                status=Status.OK,
                model_sha256="0",
                latency=Timing(batch=1, samples_s=(median * 0.9, median, median * 1.1), warm_up=1),
                start=Start(
                    environment=environment,
                    device=device,
                    identity={},
                    probe={},
                    command=(),
                    started=f"2026-11-23T{hour:02}:{repeat:02}:00+00:00",
                    wall_s=1.0,
                ),
            )
            for repeat, median in enumerate(medians)
        ),
    )


def told(*records: Record) -> dict[str, Verdict]:
    return dict(latency_verdicts(records, "base", Rules()))


def test_a_clear_slowdown_is_found_with_its_numbers() -> None:
    found = told(record("base", 0.0100, 0.0101, 0.0099), record("slow", 0.0130, 0.0131, 0.0129))
    verdict = found["slow/cpu/fp32"]
    assert verdict.kind is Kind.LATENCY_REGRESSION
    assert verdict.head is None
    assert verdict.against == "base/cpu/fp32"
    assert verdict.relative == pytest.approx(0.3, abs=0.01)
    assert verdict.effect
    assert verdict.effect.low < 0.003 < verdict.effect.high
    assert verdict.effect.noise_multiple
    assert verdict.effect.noise_multiple > 5


def test_p_and_interval_are_students_with_pooled_variance() -> None:
    base, slow = [0.010, 0.011, 0.0105], [0.014, 0.0155, 0.0149]
    verdict = told(record("base", *base), record("slow", *slow))["slow/cpu/fp32"]
    expected = stats.ttest_ind(np.log(slow), np.log(base))
    interval = expected.confidence_interval(0.95)
    assert verdict.effect
    assert verdict.effect.p == pytest.approx(expected.pvalue)
    scale = math.exp(np.log(base).mean())
    assert verdict.effect.low == pytest.approx(scale * math.expm1(interval.low))
    assert verdict.effect.high == pytest.approx(scale * math.expm1(interval.high))


def test_faster_equal_and_meaningless_are_silent() -> None:
    base = record("base", 0.0100, 0.0101, 0.0099)
    assert told(base, record("fast", 0.005, 0.005, 0.005)) == {}
    assert told(base, record("same", 0.0100, 0.0101, 0.0099)) == {}
    assert told(base, record("hair", 0.0103, 0.0104, 0.0102)) == {}


def test_within_the_noise_is_silent() -> None:
    assert told(record("base", 0.010, 0.015, 0.012), record("slow", 0.012, 0.016, 0.014)) == {}


def test_one_repeat_asks_for_more() -> None:
    verdict = told(record("base", 0.010), record("slow", 0.020))["slow/cpu/fp32"]
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, "2 more repeats")


def test_two_repeats_that_hint_ask_for_as_many_as_decide() -> None:
    records = (record("base", 0.0100, 0.0104), record("slow", 0.0120, 0.0116))
    verdict = told(*records)["slow/cpu/fp32"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs
    count = int(verdict.needs.split()[0])
    assert verdict.needs.endswith("more repeats" if count > 1 else "more repeat")
    more = 2 + count
    base = np.resize([0.0100, 0.0104], more)
    slow = np.resize([0.0120, 0.0116], more)
    assert told(record("base", *base), record("slow", *slow))["slow/cpu/fp32"].kind is (
        Kind.LATENCY_REGRESSION
    )


def test_measured_at_another_time_is_not_compared() -> None:
    base = record("base", 0.0100, 0.0101, 0.0099, hour=9)
    verdict = told(base, record("slow", 0.0130, 0.0131, 0.0129))["slow/cpu/fp32"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs == "measuring both in one run (--fresh)"


def test_what_was_measured_nobody_knows_when_is_not_compared() -> None:
    base, slow = record("base", 0.0100, 0.0101, 0.0099), record("slow", 0.0130, 0.0131, 0.0129)
    dateless = [
        one.model_copy(
            update={
                "measurements": tuple(
                    each.model_copy(
                        update={
                            "start": each.start and each.start.model_copy(update={"started": ""})
                        }
                    )
                    for each in one.measurements
                )
            }
        )
        for one in (base, slow)
    ]
    for first, second in ((base, dateless[1]), (dateless[0], slow), dateless):
        verdict = told(first, second)["slow/cpu/fp32"]
        assert verdict.kind is Kind.INCONCLUSIVE
        assert verdict.needs == "measuring both in one run (--fresh)"


def test_devices_and_failures_are_kept_apart() -> None:
    base = record("base", 0.0100, 0.0101, 0.0099)
    assert told(base, record("slow", 0.02, 0.02, 0.02, device="gpu:0")) == {}
    assert told(base, record("slow", 0.02, 0.02, 0.02, status=Status.CRASHED)) == {}
    assert told(base, record("slow")) == {}
    assert told(base, record("slow", 0.0, 0.0, 0.0)) == {}
    assert told(record("slow", 0.02, 0.02, 0.02)) == {}


def test_cells_that_share_a_measurement_add_no_degrees_of_freedom() -> None:
    records = [record("base", 0.0100, 0.0104), record("slow", 0.0120, 0.0116)]
    alone = told(*records)["slow/cpu/fp32"].effect
    copies = [record(f"copy{n}", 0.0100, 0.0104, fingerprint="base/cpu") for n in range(9)]
    crowd = told(*records, *copies)["slow/cpu/fp32"].effect
    assert alone
    assert crowd
    assert crowd.p == pytest.approx(alone.p)


def test_false_alarms_are_rare() -> None:
    """19 equal environments whose restarts differ by 5 %: hardly a matrix complains."""
    generator = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        records = [
            record(name, *(0.01 * np.exp(generator.normal(0, 0.05, 3))))
            for name in ("base", *(f"v{n}" for n in range(19)))
        ]
        alarms += any(one.kind is Kind.LATENCY_REGRESSION for one in told(*records).values())
    assert alarms <= 4


def test_the_sentence_names_the_slowest_first_and_what_is_open() -> None:
    base = record("base", 0.0100, 0.0101, 0.0099)
    slow = [record(f"s{n}", *(0.01 * (1.2 + n / 10) * np.ones(3))) for n in range(7)]
    old = record("old", 0.03, 0.03, 0.03, hour=3)
    sentence = latency_sentence(list(told(base, *slow, old).values()), "base")
    assert sentence.startswith(
        "Slower than base, beyond the noise: s6/cpu/fp32 takes 80 % longer than base/cpu/fp32; s5"
    )
    assert "; and 2 more. 1 cell may be slower: measuring both in one run (--fresh)" in sentence
    assert latency_sentence([], "base") == ""
