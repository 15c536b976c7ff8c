"""Student's t where the standard error has several independent parts, each with its own degrees of freedom.

Banerjee (Sankhya 22, 1960): ± √(Σ tᵢ²·sᵢ²), tᵢ the quantile for the degrees of freedom of part i, holds
its level whatever share of the error each part has; with one part it is Student's own interval.
Satterthwaite's one number of degrees (1946) does not: where a part with few degrees comes out small by
chance, the other part lends it its many degrees, and twice as much is found by chance as was allowed.

scipy is loaded at the first use, since it takes a second and `plan` needs none.
"""

import math

Part = tuple[float, float]
"""Estimated variance; its degrees of freedom, infinite where it is known."""

CLEAR = 1e-12
"""Below this a p-value is an upper bound of the exact one: no test here tells them apart."""


def half_width(*parts: Part, level: float = 0.025) -> float:
    """Returns how far above a value it may lie with chance `level`: at 0.025 half of the 95 % interval."""
    if any(math.isinf(part) for part, _ in parts):
        return math.inf
    return math.sqrt(
        sum(part * _quantile(degrees, level) ** 2 for part, degrees in parts if part > 0)
    )


def one_sided(value: float, *parts: Part) -> float:
    """Returns the chance of `value` or more where the truth is 0: the level whose bound just reaches 0.

    Where nothing varies it is 0 for a value above 0, else 1; 0.5 where a variance is infinite.
    """
    if value <= 0:
        return 1 - one_sided(-value, *parts) if value < 0 else 1.0 if not _varies(parts) else 0.5
    variance = sum(part for part, _ in parts)
    if math.isinf(variance):
        return 0.5
    if variance == 0:
        return 0.0
    t = value / math.sqrt(variance)
    degrees = [count for part, count in parts if part > 0]
    high, low = _tail(min(degrees), t), _tail(max(degrees), t)
    if high <= CLEAR or high - low <= 1e-9 * high:
        return high
    # Bisection of its logarithm; scipy's root finders take longer to import than all p-values to find.
    low = max(low, 1e-3 * CLEAR)
    while high > low * (1 + 1e-4):
        middle = math.sqrt(low * high)
        if half_width(*parts, level=middle) > value:
            low = middle
        else:
            high = middle
    return high


def p_value(value: float, *parts: Part) -> float:
    """Returns the two-sided p-value of `value`; 1 where it is 0, 0 where nothing varies and it is not."""
    return 1.0 if value == 0 else min(1.0, 2 * one_sided(abs(value), *parts))


def _varies(parts: tuple[Part, ...]) -> bool:
    return any(part > 0 for part, _ in parts)


def _quantile(degrees: float, level: float) -> float:
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415

    return float(ndtri(level) if math.isinf(degrees) else stdtrit(degrees, level))


def _tail(degrees: float, t: float) -> float:
    """Returns P(T ≤ −t)."""
    from scipy.special import ndtr, stdtr  # noqa: PLC0415

    return float(ndtr(-t) if math.isinf(degrees) else stdtr(degrees, -t))
