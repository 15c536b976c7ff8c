"""Student's t distribution; scipy is loaded at the first use, since it takes a second and `plan` needs none."""


def tail(degrees: float, t: float) -> float:
    """Returns P(T ≤ −|t|)."""
    from scipy.special import stdtr  # noqa: PLC0415

    return float(stdtr(degrees, -abs(t)))


def half_width(degrees: float) -> float:
    """Returns the 97.5 % quantile: a 95 % interval is ± so many standard errors."""
    from scipy.special import stdtrit  # noqa: PLC0415

    return float(stdtrit(degrees, 0.975))
