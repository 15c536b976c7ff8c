"""Latency of one call: warm-up until stable, then raw samples; statistics are the host's."""

import time

WINDOW = 5  # calls whose medians are compared during warm-up
TOLERANCE = 0.02  # two windows in a row within 2 % count as stable


def measure(call, min_samples, max_samples, max_s, warm_up_max_s, clock=time.perf_counter):
    """Returns {"warm_up": calls before the first sample, "samples_s": [seconds], "stable": bool}.

    Samples are taken until `max_s` seconds have passed, but at least `min_samples` and at most
    `max_samples`. `stable` is False where `warm_up_max_s` passed before two windows agreed.

    Args:
        call: what is timed, without arguments; must return only when its work is done.
        min_samples: at least 1.
        max_samples: at least min_samples.
        max_s: seconds.
        warm_up_max_s: seconds.
        clock: seconds, monotonic.

    Raises:
        ValueError: not 1 <= min_samples <= max_samples.
    """
    if not 1 <= min_samples <= max_samples:
        raise ValueError(
            "timing: expected 1 <= min_samples <= max_samples, got %r and %r"
            % (min_samples, max_samples)
        )
    warm_up, stable = _warm_up(call, warm_up_max_s, clock)
    samples = []
    start = clock()
    while len(samples) < max_samples and (len(samples) < min_samples or clock() - start < max_s):
        samples.append(_time(call, clock))
    return {"warm_up": warm_up, "samples_s": samples, "stable": stable}


def _warm_up(call, max_s, clock):
    """Calls until the medians of two windows in a row agree; returns (calls, whether they did)."""
    start = clock()
    calls = 0
    previous = None
    while True:
        window = []
        for _ in range(WINDOW):
            window.append(_time(call, clock))
            calls += 1
            if clock() - start >= max_s:
                return calls, False
        median = sorted(window)[WINDOW // 2]
        if previous is not None and abs(median - previous) <= TOLERANCE * previous:
            return calls, True
        previous = median


def _time(call, clock):
    start = clock()
    call()
    return clock() - start
