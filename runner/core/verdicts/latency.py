"""Is a cell slower than the baseline's? Latency against its own noise: the spread between repeats.

With x_k = ln(median of repeat k) of a cell, two cells differ by E = x̄ − x̄', a ratio of e^E:

    se² = σ²·(1/K + 1/K')        σ² pooled over all cells of the device that were timed twice or more

compared with Student's t at the pooled degrees of freedom. A repeat is a process of its own, so σ holds
what restarts, clocks and neighbours do; samples inside one repeat share all that and tell nothing of
it. Repeats of all cells are interleaved, so what slows one whole round slows both cells. Repeats on
a GPU that something else disturbed do not count, unless there are no others; then nothing is decided.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runner.cells import Status
from runner.core.evidence import timed
from runner.core.rules import Rules
from runner.core.verdicts.effect import Effect as New
from runner.core.verdicts.effects import REPEATABILITY, Effect, discoveries
from runner.core.verdicts.student import half_width, p_value
from runner.core.verdicts.verdict import Kind, Verdict
from runner.core.words import count
from runner.records import Record

DECISIVE = 4.0
MOST = 5
"""Cells told by name."""


@dataclass(frozen=True, slots=True)
class _Timed:
    """One cell's latency: ln of the median seconds of each repeat, and when it was measured."""

    record: Record
    logs: tuple[float, ...]
    began: str
    ended: str
    """ISO 8601, UTC, start of the first and of the last repeat; empty where that is not known."""
    disturbed: bool
    """Whether its GPU was, in every repeat."""

    @property
    def key(self) -> str:
        """The same for cells that share one measurement."""
        return self.record.measurements[0].fingerprint

    @property
    def mean(self) -> float:
        return sum(self.logs) / len(self.logs)


def latency_verdicts(
    records: Iterable[Record], baseline: str, rules: Rules
) -> Mapping[str, Verdict]:
    """Returns cell id → its verdict, for every cell whose latency can be compared and is worse."""
    timed = [one for record in records if (one := _timed(record))]
    bases = {
        (one.record.device, one.record.pass_.name): one
        for one in timed
        if one.record.environment == baseline
    }
    pairs = [
        (one, base)
        for one in timed
        if (base := bases.get((one.record.device, one.record.pass_.name))) and base is not one
    ]
    noise = {device: _noise(timed, device) for device in {one.record.device for one in timed}}
    effects = [_effect(one, base, noise[one.record.device]) for one, base in pairs]
    found = discoveries([_slower(effect) for effect in effects], rules.familywise_error_rate)
    told = (
        _verdict(one, base, effect, discovered=discovered, rules=rules)
        for (one, base), effect, discovered in zip(pairs, effects, found, strict=True)
    )
    return {verdict.cell: verdict for verdict in told if verdict}


def _timed(record: Record) -> _Timed | None:
    rounds = timed(record)
    if record.status is not Status.OK or not rounds:
        return None
    medians = [float(np.median(one.latency.samples_s)) for one in rounds if one.latency]
    if not all(median > 0 for median in medians):
        return None
    starts = sorted(one.start.started if one.start else "" for one in rounds)
    spoilt = all(one.start and one.start.disturbed for one in rounds)
    return _Timed(record, tuple(map(math.log, medians)), starts[0], starts[-1], spoilt)


def _noise(timed: Sequence[_Timed], device: str) -> tuple[float, int]:
    """Returns σ² between the repeats of one cell, and its degrees of freedom."""
    # Passes with equal tables ran once: they are one cell here.
    cells = {one.key: one.logs for one in timed if one.record.device == device}
    rounds = cells.values()
    degrees = sum(len(logs) - 1 for logs in rounds)
    squares = sum(float(np.var(logs)) * len(logs) for logs in rounds)
    return (squares / degrees if degrees else 0.0), degrees


def _effect(one: _Timed, base: _Timed, noise: tuple[float, int]) -> Effect:
    """Returns how many seconds `one` takes more; the interval is that of the ratio, times the base."""
    variance, degrees = noise
    scale = math.exp(base.mean)
    apart = one.mean - base.mean
    value = scale * math.expm1(apart)
    if not degrees:
        return Effect(
            value=value, low=-math.inf, high=math.inf, p=1.0, noise_multiple=None, noise_known=False
        )
    error = variance * (1 / len(one.logs) + 1 / len(base.logs)), degrees
    half = half_width(error)
    floor = REPEATABILITY * math.sqrt(2 * variance)
    return Effect(
        value=value,
        low=scale * math.expm1(apart - half),
        high=scale * math.expm1(apart + half),
        p=p_value(apart, error),
        noise_multiple=abs(apart) / floor if floor else None if apart == 0 else math.inf,
        noise_known=True,
    )


def _slower(effect: Effect) -> float:
    """Returns the one-sided p-value of being slower."""
    return effect.p / 2 if effect.value > 0 else 1 - effect.p / 2


def _verdict(
    one: _Timed, base: _Timed, effect: Effect, *, discovered: bool, rules: Rules
) -> Verdict | None:
    relative = math.expm1(one.mean - base.mean)
    if relative < rules.least_slowdown:
        return None
    verdict = Verdict(
        kind=Kind.LATENCY_REGRESSION,
        cell=one.record.cell,
        head=None,
        against=base.record.cell,
        effect=New(
            log=math.log1p(relative), low=-math.inf, high=math.inf, p=effect.p, builds=len(one.logs)
        ),
    )
    known = all((one.began, one.ended, base.began, base.ended))
    apart = not known or one.ended < base.began or base.ended < one.began
    # Clocks, load and temperature of another hour are in no repeat.
    needs = "measuring both in one run (--fresh)" if apart else None
    if one.disturbed or base.disturbed:
        needs = "measuring again (--fresh) with the GPU to itself"
    if not effect.noise_known:
        needs = needs or "2 more repeats"
    elif (effect.noise_multiple or 0.0) < 1.0 or effect.low < 0:
        return None
    elif not discovered:
        needs = needs or _more_repeats(one, base, effect)
    return replace(verdict, kind=Kind.INCONCLUSIVE, needs=needs) if needs else verdict


def _more_repeats(one: _Timed, base: _Timed, effect: Effect) -> str:
    """Returns how many more make the effect `DECISIVE` standard errors."""
    # From the floor, 1.96·√2·σ: σ²·2/K = (E/4)².
    sigma = (
        abs(one.mean - base.mean) / (effect.noise_multiple or 1.0) / REPEATABILITY / math.sqrt(2)
    )
    wanted = math.ceil(2 * (DECISIVE * sigma / (one.mean - base.mean)) ** 2)
    more = max(wanted - min(len(one.logs), len(base.logs)), 1)
    return count(more, "more repeat")


def latency_sentence(verdicts: Sequence[Verdict], baseline: str) -> str:
    """Returns one plain sentence about all cells; empty where there is nothing to tell."""
    slower = [one for one in verdicts if one.kind is Kind.LATENCY_REGRESSION]
    parts = [
        f"{one.cell} takes {100 * (one.effect.relative if one.effect else 0):.0f} % longer than {one.against}"
        for one in sorted(
            slower, key=lambda one: one.effect.relative if one.effect else 0, reverse=True
        )
    ]
    told = f"Slower than {baseline}, beyond the noise: {'; '.join(parts[:MOST])}" if parts else ""
    if len(parts) > MOST:
        told += f"; and {len(parts) - MOST} more"
    open_ = {one.needs for one in verdicts if one.kind is Kind.INCONCLUSIVE and one.needs}
    unsure = sum(one.kind is Kind.INCONCLUSIVE for one in verdicts)
    undecided = (
        f"{count(unsure, 'cell')} may be slower: {' or '.join(sorted(open_))} would decide"
        if unsure
        else ""
    )
    return " ".join(f"{part}." for part in (told, undecided) if part)
