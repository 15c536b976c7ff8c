"""Slower than the baseline: found where rounds say so, and not where they do not."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from scipy import stats

from tests.unit.new_records import new_measurement, new_record, new_start, remeasured
from trt_matrix.core.cells import Status
from trt_matrix.core.records import LatencySamples, Measurement, Record
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.latency import LEAST, latency_sentence, latency_verdicts, slower_than
from trt_matrix.core.verdicts.verdict import Kind, Verdict

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def matrix(
    medians: Mapping[str, Sequence[float]],
    orders: Sequence[Sequence[str]] = (),
    *,
    device: str = "cpu",
    started: Mapping[tuple[str, int], datetime] | None = None,
) -> list[Record]:
    """Returns the records of a run whose jobs took a minute each.

    Args:
        medians: environment → seconds of each round.
        orders: Of each round; without: that of `medians`, then its reverse, and so on.
        device: Of all.
        started: (environment, round) → when, where it is not as the orders say.
    """
    times: dict[tuple[str, int], datetime] = {}
    for number in range(max(map(len, medians.values()))):
        names = list(medians)[:: -1 if number % 2 else 1]
        for name in orders[number] if orders else names:
            times[name, number] = NOON + timedelta(minutes=len(times))
    times |= started or {}
    return [
        record(name, seconds, [times[name, number] for number in range(len(seconds))], device)
        for name, seconds in medians.items()
    ]


def record(
    environment: str, seconds: Sequence[float], started: Sequence[datetime], device: str
) -> Record:
    measurements = [
        new_measurement(
            fingerprint=f"{environment}/{device}/{repeat}",
            repeat=repeat,
            latency=LatencySamples(
                batch=1, samples_s=(0.9 * median, median, 1.1 * median), warm_up=1
            ),
            start=new_start(started=when.isoformat()),
        )
        for repeat, (median, when) in enumerate(zip(seconds, started, strict=True))
    ]
    return new_record(environment, measurements=measurements, device=device)


def told(records: Sequence[Record]) -> dict[str, Verdict]:
    """Returns environment → its verdict."""
    verdicts = latency_verdicts(records, "base", Rules())
    return {cell.partition("/")[0]: verdict for cell, verdict in verdicts.items()}


BASE = (0.0100, 0.0101, 0.0099, 0.0100)
SLOW = (0.0130, 0.0131, 0.0129, 0.0130)


def test_a_clear_slowdown_is_found_with_its_numbers() -> None:
    verdict = told(matrix({"base": BASE, "slow": SLOW}))["slow"]
    assert verdict.kind is Kind.LATENCY_REGRESSION
    assert (verdict.cell, verdict.against) == ("slow/cpu/fp32", "base/cpu/fp32")
    assert verdict.head is None
    assert verdict.effect
    assert verdict.effect.relative == pytest.approx(0.3, abs=0.01)
    assert verdict.effect.low < math.log(1.3) < verdict.effect.high
    assert verdict.effect.builds == 4
    assert verdict.effect.known


def test_two_cells_are_students_paired_test_against_the_least_slowdown() -> None:
    base = [0.010, 0.011, 0.0105, 0.0102]
    slow = [0.014, 0.0155, 0.0149, 0.0141]
    effect = told(matrix({"base": base, "slow": slow}))["slow"].effect
    expected = stats.ttest_1samp(np.log(slow) - np.log(base), LEAST, alternative="greater")
    interval = stats.ttest_rel(np.log(slow), np.log(base)).confidence_interval(0.95)
    assert effect
    assert effect.p == pytest.approx(expected.pvalue)
    assert (effect.low, effect.high) == pytest.approx(tuple(interval))


@pytest.mark.parametrize("back", ["dcba slow base", "c slow a b base d"])
@pytest.mark.parametrize("rounds", [4, 5])
def test_many_cells_tell_the_noise_and_the_price_of_a_place_together(
    rounds: int, back: str
) -> None:
    """As least squares of cells, rounds and places together has it; a pair need not be as far apart both ways."""
    generator = np.random.default_rng(9)
    names = ["base", "slow", "a", "b", "c", "d"]
    orders = [back.replace("dcba", "d c b a").split() if n % 2 else names for n in range(rounds)]
    places = np.array([[order.index(name) for order in orders] for name in names])
    logs = generator.normal(math.log(0.01), 0.02, (6, rounds)) + 0.03 * places
    logs[1] += 0.12
    medians = dict(zip(names, np.exp(logs).tolist(), strict=True))
    effect = told(matrix(medians, orders))["slow"].effect
    cell, round_ = np.indices(logs.shape).reshape(2, -1)
    design = np.column_stack(
        [cell[:, None] == range(6), round_[:, None] == range(1, rounds), places.ravel()]
    ).astype(float)
    solution, squares, rank, _ = np.linalg.lstsq(design, logs.ravel())
    price = solution[-1]
    degrees = logs.size - int(rank)
    assert degrees == 5 * (rounds - 1) - 1
    flat = logs - price * places
    apart = flat[1] - flat[0]
    before, after = apart[::2], apart[1::2]
    mean = (before.mean() + after.mean()) / 2
    moved = (places[1] - places[0])[::2].mean() / 2 + (places[1] - places[0])[1::2].mean() / 2
    of_price = np.linalg.inv(design.T @ design)[-1, -1]
    variance = max(2 * squares[0] / degrees, apart.var(ddof=1))
    share = (1 / len(before) + 1 / len(after)) / 4 + of_price * moved**2 / 2
    assert effect
    assert effect.log == pytest.approx(mean)
    t = (mean - math.log(1.02)) / math.sqrt(variance * share)
    assert effect.p == pytest.approx(stats.t.sf(t, degrees), rel=1e-4)


def test_faster_equal_and_meaningless_are_silent() -> None:
    hair = [1.03 * one for one in BASE]
    assert told(matrix({"base": BASE, "fast": [0.005] * 4, "same": BASE, "hair": hair})) == {}


def test_within_the_noise_is_silent() -> None:
    assert told(matrix({"base": (0.010, 0.015, 0.012), "slow": (0.0145, 0.012, 0.012)})) == {}


@pytest.mark.parametrize(("others", "needs"), [(0, "3 more repeats"), (4, "2 more repeats")])
def test_one_repeat_asks_for_as_many_as_can_decide(others: int, needs: str) -> None:
    """Two cells alone need a fourth: three slow rounds against three fast ones are 1 in 64 by luck."""
    rows = {"base": [0.010], "slow": [0.020]} | {f"v{n}": [0.010] for n in range(others)}
    verdict = told(matrix(rows))["slow"]
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, needs)
    assert verdict.effect
    assert not verdict.effect.known


def test_two_repeats_that_hint_ask_for_as_many_as_decide() -> None:
    rows = {
        "base": [0.0100, 0.0101], "slow": [0.0115, 0.0114],
        "a": [0.0101, 0.0100], "b": [0.0100, 0.0102], "c": [0.0099, 0.0101],
    }  # fmt: skip
    verdict = told(matrix(rows))["slow"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs
    count = int(verdict.needs.split()[0])
    assert verdict.needs == f"{count} more repeat{'s' if count > 1 else ''}"

    def decided(rounds: int) -> bool:
        longer = {name: np.resize(seconds, rounds).tolist() for name, seconds in rows.items()}
        return told(matrix(longer))["slow"].kind is Kind.LATENCY_REGRESSION

    assert decided(2 + count + count % 2)
    assert not decided(2)


# Which cell ran when


def test_what_always_ran_after_the_baseline_is_not_accused() -> None:
    rows = {"base": BASE, "slow": SLOW}
    verdict = told(matrix(rows, [("base", "slow")] * 4))["slow"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.why == "slow always ran after base: not compared"
    assert verdict.needs == "measuring again (--fresh)"
    verdict = told(matrix(rows, [("slow", "base")] * 4))["slow"]
    assert verdict.why == "slow always ran before base: not compared"
    once = told(matrix(rows, [("base", "slow")] * 3 + [("slow", "base")]))["slow"]
    assert once.kind is Kind.LATENCY_REGRESSION


def test_a_reverse_round_does_not_excuse_many_in_one_order() -> None:
    """An old run in fixed order, and one round more since: whoever is second takes 12 % longer."""
    orders = [("base", "same")] * 19 + [("same", "base")]
    generator = np.random.default_rng(5)
    rows = {name: (0.01 * np.exp(generator.normal(0, 0.005, 20))).tolist() for name in orders[0]}
    for number, order in enumerate(orders):
        rows[order[1]][number] *= 1.12
    apart = np.log(rows["same"]) - np.log(rows["base"])
    naive = stats.ttest_1samp(apart, LEAST, alternative="greater")
    assert naive.pvalue < 1e-5, "the mean of all rounds would accuse it"
    assert "same" not in told(matrix(rows, orders))


@pytest.mark.parametrize("others", [(), ("x", "y", "z")])
def test_repeats_of_different_runs_are_no_rounds(others: tuple[str, ...]) -> None:
    """`added` came a day later, when all took 20 % longer; then came two rounds with all of them."""
    first = ("base", *others)
    days = [(first, range(3)), (("added",), range(3)), ((*first, "added"), (3, 4))]
    started = {
        (name, number): NOON
        + timedelta(days=day, minutes=10 * number + (place, -place)[number % 2])
        for day, (names, numbers) in enumerate(days)
        for number in numbers
        for place, name in enumerate(names)
    }
    rows = {name: [0.0100, 0.0101, 0.0099, 0.0120, 0.0121] for name in first}
    rows["added"] = [0.0120, 0.0121, 0.0119, 0.0121, 0.0120]
    assert told(matrix(rows, started=started)) == {}
    apart = {name: seconds[:3] for name, seconds in rows.items()}
    verdict = told(matrix(apart, started=started))["added"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs == "measuring both in one run (--fresh)"


@pytest.mark.parametrize("dateless", [{"base"}, {"slow"}, {"base", "slow"}])
@pytest.mark.parametrize("said", ["", "yesterday"])
def test_what_was_measured_nobody_knows_when_is_not_compared(dateless: set[str], said: str) -> None:
    records = [
        remeasured(record, lambda _: {"started": said}, "start")
        if record.environment in dateless
        else record
        for record in matrix({"base": BASE, "slow": SLOW})
    ]
    verdict = told(records)["slow"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.needs == "measuring both in one run (--fresh)"


def test_times_of_other_zones_are_the_same_times() -> None:
    """11:30 in UTC is after 13:00 at +02:00, whatever the letters say."""
    records = matrix({"base": BASE, "slow": SLOW})

    def there(measurement: Measurement) -> dict[str, str]:
        assert measurement.start
        here = datetime.fromisoformat(measurement.start.started)
        return {"started": here.astimezone(timezone(timedelta(hours=2))).isoformat()}

    records[1] = remeasured(records[1], there, "start")
    assert told(records)["slow"].kind is Kind.LATENCY_REGRESSION


def test_cells_get_more_rounds_than_others() -> None:
    """As `repeats: {min, max}` gives them: what the others have still counts."""
    short = {"a": BASE[:2], "b": BASE[:2], "c": BASE[:2]}
    rows = {"base": (*BASE, *BASE), "slow": (*SLOW, *SLOW), **short}
    orders = [[*rows], [*rows][::-1]] + [["base", "slow"], ["slow", "base"]] * 3
    verdict = told(matrix(rows, orders))["slow"]
    assert verdict.kind is Kind.LATENCY_REGRESSION
    assert verdict.effect
    assert verdict.effect.builds == 8


def test_batches_of_different_sizes_are_not_compared() -> None:
    """An engine built for eight images at once takes eight times as long, and is not slower."""
    records = matrix({"base": BASE, "slow": [8 * one for one in BASE]})
    records[1] = remeasured(records[1], lambda _: {"batch": 8}, "latency")
    verdict = told(records)["slow"]
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.why == "slow ran 8 images at once, base 1: not compared"
    assert verdict.needs == "timing both at one batch size"


def test_devices_and_failures_are_kept_apart() -> None:
    base, slow = matrix({"base": BASE, "slow": SLOW})
    elsewhere = matrix({"base": BASE, "slow": SLOW}, device="gpu:0")[1]
    assert told([base, elsewhere]) == {}
    assert told([base, slow.model_copy(update={"status": Status.CRASHED})]) == {}
    assert told([base, slow.model_copy(update={"measurements": ()})]) == {}
    assert told(matrix({"base": BASE, "slow": [0.0] * 4})) == {}
    assert told([slow]) == {}


# Noise and luck


def test_three_rounds_of_a_baseline_that_stands_alone_do_not_accuse_all_others() -> None:
    """It scatters, and three of its rounds agree by chance: were it one cell, that would do."""
    generator = np.random.default_rng(1)
    rows = {f"v{n}": 0.01 * np.exp(generator.normal(0, 0.01, 3)) for n in range(6)}
    low = {"base": [0.0092, 0.0093, 0.0092]} | {name: row.tolist() for name, row in rows.items()}
    verdicts = told(matrix(low))
    assert len(verdicts) == 6
    assert {verdict.needs for verdict in verdicts.values()} <= {"1 more repeat", "2 more repeats"}
    others = {"base": rows["v0"].tolist(), "slow": [0.0108, 0.0109, 0.0108]}
    others |= {name: rows[name].tolist() for name in list(rows)[1:]}
    assert told(matrix(others))["slow"].kind is Kind.LATENCY_REGRESSION


def test_what_luck_can_do_is_not_told_as_found() -> None:
    """TensorRT chose the slow kernel in all builds of the one and in none of the other."""
    states = {"base": (0.0100, 0.0101, 0.0099), "slow": (0.0200, 0.0202, 0.0198)}
    verdict = told(matrix(states))["slow"]
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, "1 more repeat")
    steady = {f"v{n}": states["base"] for n in range(4)}
    assert told(matrix(states | steady))["slow"].kind is Kind.LATENCY_REGRESSION
    # Others have both states, so this is what builds do.
    both = {f"v{n}": np.roll((0.0100, 0.0200, 0.0101), n).tolist() for n in range(4)}
    found = told(matrix(states | both)).get("slow")
    assert found is None or found.kind is Kind.INCONCLUSIVE


def test_cells_that_share_a_measurement_are_one_cell() -> None:
    rows = {"base": BASE, "slow": SLOW, "a": BASE[::-1], "b": BASE}
    records = matrix(rows)
    alone = told(records)["slow"].effect
    copies = [
        records[row].model_copy(update={"environment": f"copy{n}", "cell": f"copy{n}/cpu/fp32"})
        for n in range(9)
        for row in (0, 2)
    ]
    twin = records[1].model_copy(update={"environment": "twin", "cell": "twin/cpu/fp32"})
    crowd = told([*records, *copies, twin])
    assert alone
    assert crowd["slow"].effect == crowd["twin"].effect == alone
    assert {verdict.kind for verdict in crowd.values()} == {Kind.LATENCY_REGRESSION}


def test_a_step_between_two_others_has_the_noise_of_all() -> None:
    generator = np.random.default_rng(11)
    logs = generator.normal(math.log(0.01), 0.04, (6, 4))
    logs[2] = logs[1] + 0.18 + np.array([0.001, 0.0, -0.001, 0.0])
    logs[3] = logs[1] + 0.055 + np.array([0.001, 0.0, -0.001, 0.0])
    records = matrix(dict(zip(("base", "a", "b", "c", "d", "e"), np.exp(logs), strict=True)))

    def slower(cell: str, other: str, chosen: Sequence[Record] = records) -> bool:
        return slower_than(f"{cell}/cpu/fp32", f"{other}/cpu/fp32", chosen, Rules())

    assert slower("b", "a")
    assert not slower("a", "b")
    assert not slower("c", "a"), "two that agree by chance do not scatter less than the others"
    assert not slower("b", "nobody")
    elsewhere = matrix({"b": BASE}, device="gpu:0")
    assert not slower_than("b/gpu:0/fp32", "a/cpu/fp32", [*records, *elsewhere], Rules())
    fixed = matrix(
        dict(zip(("base", "a", "b"), np.exp(logs[:3]), strict=True)), [("base", "a", "b")] * 4
    )
    assert not slower("b", "a", fixed)


def test_the_sentence_names_the_slowest_first_and_what_is_open() -> None:
    rows: dict[str, Sequence[float]] = {"base": BASE}
    rows |= {f"s{n}": [one * (1.2 + n / 10) for one in BASE] for n in range(7)}
    verdicts = told(matrix(rows))
    other = told(matrix({"base": BASE, "old": SLOW}, [("base", "old")] * 4))
    sentence = latency_sentence([*verdicts.values(), *other.values()], "base")
    assert sentence.startswith(
        "Slower than base, beyond the noise: s6/cpu/fp32 takes 80 % longer than base/cpu/fp32; s5"
    )
    assert sentence.endswith(
        "; and 2 more. 1 cell may be slower: measuring again (--fresh) would decide. "
        "old always ran after base: not compared."
    )
    assert latency_sentence([], "base") == ""
