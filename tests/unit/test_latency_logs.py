"""What chance does to latencies: the noise of all cells, and luck."""

from itertools import product

import numpy as np
import pytest

from trt_matrix.core.verdicts.latency_noise import SHARES, LatencyLogs, luck, noise


def test_a_noisy_cell_lends_nobody_its_luck() -> None:
    """Three rounds that agree by chance in a cell that scatters 30 times as much as the others."""
    generator = np.random.default_rng(2)
    logs = generator.normal(0, 0.001, (6, 4))
    logs[1] = [0.10, 0.16, 0.04, 0.13]
    table = LatencyLogs(logs)
    apart = logs[1] - logs[0]
    own = noise(table, 1, 0, (float(apart.var(ddof=1)), 3))
    assert own.degrees == 3
    assert own.variance == pytest.approx(apart.var(ddof=1))
    assert noise(table, 3, 2, (1e-6, 3)).degrees == 15


def test_what_is_missing_changes_no_noise() -> None:
    generator = np.random.default_rng(3)
    logs = generator.normal(0, 1, (4, 5))
    whole = LatencyLogs(logs).variance()
    residual = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    assert whole == pytest.approx(((residual**2).sum() / 12, 12))
    wider = np.full((5, 6), np.nan)
    wider[:4, :5] = logs
    wider[4, 2] = 9.0  # a cell of one round,
    wider[1, 5] = -9.0  # and a round of one cell
    assert LatencyLogs(wider).variance() == pytest.approx((whole[0], 12))
    assert np.nanmax(np.abs(np.diff(LatencyLogs(wider).centred()[:4, 0] - logs[:, 0]))) < 1e-9
    assert LatencyLogs(np.full((2, 2), np.nan)).variance() == (0.0, 0)


@pytest.mark.parametrize(("rounds", "above", "others", "wandering"), [
    (2, (2, 0), 0, 0), (3, (3, 0), 1, 0), (3, (2, 1), 1, 1), (2, (1, 0), 2, 1),
])  # fmt: skip
def test_luck_is_that_of_all_outcomes(
    rounds: int, above: tuple[int, int], others: int, wandering: int
) -> None:
    """Counted: all states of all rounds of all cells, at the worst chance of a slow one."""
    chances = np.zeros_like(SHARES)
    for states in product((0, 1), repeat=rounds * (2 + others)):
        cells = np.reshape(states, (2 + others, rounds))
        slow = cells.sum(axis=1)
        seen = int(((slow[2:] > 0) & (slow[2:] < rounds)).sum())
        if slow[0] >= above[0] and slow[1] <= above[1] and seen <= wandering:
            chances += SHARES ** slow.sum() * (1 - SHARES) ** (cells.size - slow.sum())
    assert luck(rounds, above, others, wandering) == pytest.approx(chances.max())
