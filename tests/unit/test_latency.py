"""The bootstrap of the median: against a plain loop, and on its edges."""

import numpy as np
import pytest

from trt_matrix.core.latency import latency


def plain_interval(rounds: list[np.ndarray], draws: int = 3000) -> np.ndarray:
    generator = np.random.default_rng(1)
    medians = []
    for _ in range(draws):
        chosen = generator.integers(len(rounds), size=len(rounds))
        drawn = [generator.choice(rounds[index], len(rounds[index])) for index in chosen]
        medians.append(np.median(np.concatenate(drawn)))
    return np.percentile(medians, [2.5, 97.5])


@pytest.mark.parametrize("lengths", [(60,), (40, 41, 90), (1, 2, 200)])
def test_the_interval_is_that_of_a_plain_loop(lengths: tuple[int, ...]) -> None:
    generator = np.random.default_rng(2)
    rounds = [
        generator.normal(0.010 + 0.001 * index, 0.001, length)
        for index, length in enumerate(lengths)
    ]
    found = latency([list(samples) for samples in rounds], batch=1)
    assert found is not None
    low, high = plain_interval(rounds)
    # Two bootstraps differ by their own noise: a tenth of the interval is far beyond it.
    assert found.low_s == pytest.approx(low, abs=(high - low) / 10)
    assert found.high_s == pytest.approx(high, abs=(high - low) / 10)
    assert found.median_s == pytest.approx(np.median(np.concatenate(rounds)))
    assert found.samples == sum(lengths)


def test_one_sample_has_no_width() -> None:
    found = latency([[0.02]], batch=4)
    assert found is not None
    assert found.low_s == found.median_s == found.high_s == found.p99_s == 0.02
    assert found.batch == 4


def test_rounds_without_samples_do_not_count() -> None:
    assert latency([], 1) is None
    assert latency([[], []], 1) is None
    assert latency([[], [0.01, 0.02]], 1) == latency([[0.01, 0.02]], 1)


def test_the_same_samples_give_the_same_interval() -> None:
    rounds = [[0.01, 0.012, 0.011], [0.013, 0.01]]
    assert latency(rounds, 1) == latency(rounds, 1)


def scatters(*rounds: np.ndarray) -> bool:
    found = latency([list(samples) for samples in rounds], batch=1)
    assert found is not None
    return found.scatters


def test_repeats_that_scatter_more_than_their_samples_are_seen() -> None:
    draw = np.random.default_rng(5)
    repeats = [draw.normal(middle, 0.001, 50) for middle in (0.34, 0.33, 0.47)]
    assert scatters(*repeats)
    spike = np.append(repeats[2], [9.0] * 5)  # a few slow samples hide nothing
    assert scatters(repeats[0], repeats[1], spike)


def test_repeats_alike_are_not_called_scattered() -> None:
    """Neither luck, nor samples that spread as widely, nor a few repeats among many, nor too few to know."""
    draw = np.random.default_rng(6)
    for number in (2, 3, 30):
        told = [scatters(*draw.normal(1, 0.1, (number, 20))) for _ in range(200)]
        assert sum(told) <= 1, f"{number} repeats of twenty samples, by luck"
    assert not scatters(draw.normal(1.0, 0.1, 50), draw.normal(1.1, 0.1, 50)), "as within"
    assert not scatters(np.full(50, 1.0), np.full(50, 1.02)), "nobody minds"
    assert not scatters(np.full(19, 1.0), np.full(19, 2.0)), "too few samples"
    assert not scatters(np.full(50, 1.0)), "one repeat"
