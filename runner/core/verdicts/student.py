"""Student's t where the standard error has several independent parts, each with its own degrees of freedom.

Banerjee (Sankhya 22, 1960): ± √(Σ tᵢ²·sᵢ²), tᵢ the quantile for the degrees of freedom of part i, holds
its level whatever share of the error each part has; with one part it is Student's own interval.
Satterthwaite's one number of degrees (1946) does not: where a part with few degrees comes out small by
chance, the other part lends it its many degrees, and twice as much is found by chance as was allowed.

scipy is loaded at the first use, since it takes a second and `plan` needs none.
"""

import math

Part = tuple[float, float]
"""Estimated variance; its degrees of freedom."""

CLEAR = 1e-12
"""Below this a p-value is an upper bound of the exact one: no test here tells them apart."""


def half_width(*parts: Part) -> float:
    """Returns half of the 95 % interval."""
    return _half_width(0.025, parts)


def p_value(value: float, *parts: Part) -> float:
    """Returns the two-sided p-value of `value`: the level whose interval just reaches 0.

    It is 0 where nothing varies and `value` is not 0, and 1 where a variance is infinite.
    """
    variance = sum(part for part, _ in parts)
    if value == 0 or math.isinf(variance):
        return 1.0
    if variance == 0:
        return 0.0
    t = abs(value) / math.sqrt(variance)
    degrees = [count for part, count in parts if part > 0]
    high, low = _tail(min(degrees), t), _tail(max(degrees), t)
    if high <= CLEAR or high - low <= 1e-9 * high:
        return 2 * high
    # Bisection of its logarithm; scipy's root finders take longer to import than all p-values to find.
    low = max(low, 1e-3 * CLEAR)
    while high > low * (1 + 1e-6):
        middle = math.sqrt(low * high)
        if _half_width(middle, parts) > abs(value):
            low = middle
        else:
            high = middle
    return 2 * high


def _half_width(level: float, parts: tuple[Part, ...]) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415

    return math.sqrt(
        sum(part * float(stdtrit(degrees, level)) ** 2 for part, degrees in parts if part > 0)
    )


def _tail(degrees: float, t: float) -> float:
    """Returns P(T ≤ −t)."""
    from scipy.special import stdtr  # noqa: PLC0415

    return float(stdtr(degrees, -t))
