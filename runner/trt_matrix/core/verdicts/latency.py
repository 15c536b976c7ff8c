"""Is a cell slower than the baseline's? Judged within rounds, against the noise between rounds.

With x_k = ln(median of repeat k) and d_k = x_k − x'_k of the same round k of two cells:

    D = mean of d_k (rounds of either order weigh half)         var(D) = var(d)/K
    var(d) = max(own, 2·s²)     s² of the residuals of cells × rounds, all cells of the device and pass

The hypothesis is that the cell takes 2 % longer at most (a least effect, as McCarthy and Smyth 2009);
it is rejected by Student's t and Holm's test over all cells, and told only from `least_slowdown` on.
A cell that ran always after the baseline, or always before it, is not accused: its place in the round
may be the cause, and no number tells the two apart. docs/concepts/method.md has the rest.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from trt_matrix.core.records import Record
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.holm import holm
from trt_matrix.core.verdicts.latency_noise import Floats, LatencyLogs, LatencyNoise, luck, noise
from trt_matrix.core.verdicts.latency_rounds import LatencyPair, TimedCell, places, timed_cell
from trt_matrix.core.verdicts.student import half_width, p_value
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.core.words import count

LEAST = math.log(1.02)
"""A cell that takes so much longer is as fast: what is tested is whether it is slower than that."""
LUCK = 1.8
"""How likely luck may make a find, in familywise error rates: 0.9 %."""
HINT, HINT_ALONE = 4.0, 0.1
"""What is undecided is significant against no effect: at so many familywise error rates over all
cells with the noise of all, and by itself with its own."""
ENOUGH = 4
"""Cells from which on they tell together what a place in the round costs."""
MOST = 5
"""Cells told by name."""
MOST_REPEATS = 200
"""Asked for."""

APART = "measuring both in one run (--fresh)"
AGAIN = "measuring again (--fresh)"
BUSY = "measuring again (--fresh) with the GPU to itself"


@dataclass(frozen=True, slots=True)
class _LatencyTest:
    """A pair with its noise."""

    pair: LatencyPair
    noise: LatencyNoise
    price: float
    """Variance of what its places cost it more, in variances of a difference."""
    others: int
    """Further cells of the device and pass."""
    wandering: int
    above: tuple[int, int]
    """Of `luck`."""

    @property
    def rounds(self) -> int:
        return len(self.pair.rounds)

    def p(self, least: float, *, pooled: bool = False) -> float:
        """Returns the one-sided p-value of being slower than that."""
        variance, degrees = (
            self.noise.pooled
            if pooled and self.noise.pooled[1]
            else (self.noise.variance, self.noise.degrees)
        )
        return _one_sided(self.pair.log - least, variance * self.share, degrees)

    @property
    def share(self) -> float:
        """Variance of the effect in variances of the difference of one round."""
        return self.pair.share + self.price

    @property
    def luck(self) -> float:
        return luck(self.rounds, self.above, self.others, self.wandering)


class _PassLatencies:
    """The cells of one device and pass; cells that share their measurements are one."""

    def __init__(self, cells: Iterable[TimedCell]) -> None:
        # What a neighbour disturbed tells nothing of the noise of the others.
        timed = list({cell.key: cell for cell in cells if not cell.disturbed}.values())
        self.numbers = sorted({number for cell in timed for number in cell.repeats})
        self.places = places(timed, self.numbers)
        self.table, self.price = LatencyLogs(self._table(timed)), 0.0
        if len(timed) >= ENOUGH:
            self.table, self.price = self.table.level(self.places)
        self.rows = {cell.key: row for row, cell in enumerate(timed)}
        self.cells = [
            cell.at(dict(zip(self.numbers, map(float, row), strict=True)))
            for cell, row in zip(timed, self.table.logs, strict=True)
        ]
        self.centred = self.table.centred()

    def _table(self, timed: Sequence[TimedCell]) -> Floats:
        return np.array(
            [
                [
                    cell.repeats[number].log if number in cell.repeats else math.nan
                    for number in self.numbers
                ]
                for cell in timed
            ],
        ).reshape(len(timed), len(self.numbers))

    def test(self, asked: LatencyPair) -> _LatencyTest | None:
        """Returns its test; None where they have less than two rounds, or cannot be compared."""
        one, other = self.rows.get(asked.cell.key), self.rows.get(asked.base.key)
        if one is None or other is None or one == other:
            return None
        if not asked.alike or len(asked.rounds) < 2:
            return None
        pair = LatencyPair(self.cells[one], self.cells[other])
        columns = [self.numbers.index(number) for number in pair.rounds]
        mine, theirs = self.centred[one, columns], self.centred[other, columns]
        middle = (mine.mean() + theirs.mean()) / 2
        rest = np.delete(self.centred, (one, other), axis=0)
        # Does the base stand apart from most, rather than the cell?
        levels = [np.mean(row[np.isfinite(row)]) for row in rest if np.isfinite(row).any()]
        odd = sum(bool(level - theirs.mean() > pair.log / 2) for level in levels)
        ranges = [np.ptp(row[np.isfinite(row)]) for row in rest if np.isfinite(row).any()]
        moved = self.places[one, columns] - self.places[other, columns]
        apart = pair.mean(dict(zip(pair.rounds, moved, strict=True))) if self.price else 0.0
        return _LatencyTest(
            pair,
            noise(self.table, one, other, pair.own, odd=2 * odd > len(levels)),
            price=self.price * apart**2 / 2,
            others=len(rest),
            wandering=sum(bool(width >= pair.log / 2) for width in ranges),
            above=(int((mine > middle).sum()), int((theirs > middle).sum())),
        )


def latency_verdicts(
    records: Iterable[Record], baseline: str, rules: Rules
) -> Mapping[str, Verdict]:
    """Returns cell id → its verdict, for every cell that is slower than the baseline's, or may be.

    Args:
        records: Of one matrix.
        baseline: Name of the environment that the others are compared with, on each device.
        rules: `least_slowdown` and `familywise_error_rate` count here.
    """
    groups = _groups(records)
    bases = {
        name: cell
        for name, cells in groups.items()
        for cell in cells
        if cell.record.environment == baseline
    }
    pairs = [
        LatencyPair(cell, bases[name])
        for name, cells in groups.items()
        if name in bases
        for cell in cells
        if cell.key != bases[name].key
    ]
    judges = {name: _PassLatencies(cells) for name, cells in groups.items() if name in bases}
    tests = [judges[pair.cell.group].test(pair) for pair in pairs]
    known = [test for test in tests if test]
    questions = {_question(pair) for pair in pairs if pair.alike}
    found = _rejected([test for test in known if test.pair.balanced], rules)
    hinted = _hinted(known, rules)
    told = (
        _verdict(
            pair,
            test,
            found=_question(pair) in found,
            hinted=_question(pair) in hinted,
            others=len(judges[pair.cell.group].cells) - 2,
            questions=len(questions),
            rules=rules,
        )
        for pair, test in zip(pairs, tests, strict=True)
    )
    return {verdict.cell: verdict for verdict in told if verdict}


def slower_than(cell: str, other: str, records: Iterable[Record], rules: Rules) -> bool:
    """Returns whether a cell is slower than another one of its device and pass, by the same rules.

    Args:
        cell: Its id.
        other: Id of the one that it is compared with, in place of the baseline's.
        records: Of the matrix: all cells of the device and pass tell the noise.
        rules: As for verdicts; this is one test.
    """
    for cells in _groups(records).values():
        by_id = {one.record.cell: one for one in cells}
        if cell in by_id and other in by_id:
            test = _PassLatencies(cells).test(LatencyPair(by_id[cell], by_id[other]))
            return (
                test is not None
                and test.pair.balanced
                and test.pair.log >= math.log1p(rules.least_slowdown)
                and test.p(LEAST) <= rules.familywise_error_rate
                and _not_luck(test, len(cells) - 1, rules)
            )
    return False


def _groups(records: Iterable[Record]) -> Mapping[tuple[str, str], list[TimedCell]]:
    def group(cell: TimedCell) -> tuple[str, str]:
        return cell.group

    # That layers in float are slower is what they cost, and no version's.
    versions = (record for record in records if not record.pass_.mixed)
    timed = [one for record in versions if (one := timed_cell(record))]
    return {name: list(cells) for name, cells in groupby(sorted(timed, key=group), key=group)}


def _question(pair: LatencyPair) -> tuple[tuple[str, ...], ...]:
    """Returns what is the same for pairs that share their measurements: they are one test."""
    return pair.cell.key, pair.base.key


def _rejected(tests: Iterable[_LatencyTest], rules: Rules) -> set[tuple[tuple[str, ...], ...]]:
    p_values = {_question(test.pair): test.p(LEAST) for test in tests}
    found = holm(list(p_values.values()), rules.familywise_error_rate)
    return {question for question, rejected in zip(p_values, found, strict=True) if rejected}


def _hinted(tests: Iterable[_LatencyTest], rules: Rules) -> set[tuple[tuple[str, ...], ...]]:
    by_question = {_question(test.pair): test for test in tests}
    found = holm(
        [test.p(0.0, pooled=True) for test in by_question.values()],
        HINT * rules.familywise_error_rate,
    )
    return {
        question
        for (question, test), rejected in zip(by_question.items(), found, strict=True)
        if rejected and test.p(0.0) <= HINT_ALONE
    }


def _one_sided(value: float, variance: float, degrees: int) -> float:
    both = p_value(value, (variance, degrees))
    return both / 2 if value > 0 else 1 - both / 2


def _not_luck(test: _LatencyTest, questions: int, rules: Rules) -> bool:
    return questions * test.luck <= LUCK * rules.familywise_error_rate


def _verdict(
    pair: LatencyPair,
    test: _LatencyTest | None,
    *,
    found: bool,
    hinted: bool,
    others: int,
    questions: int,
    rules: Rules,
) -> Verdict | None:
    effect = _effect(pair, test)
    if effect.log < math.log1p(rules.least_slowdown):
        return None
    verdict = Verdict(
        kind=Kind.LATENCY_REGRESSION,
        cell=pair.cell.record.cell,
        head=None,
        against=pair.base.record.cell,
        effect=effect,
    )
    names = pair.cell.record.environment, pair.base.record.environment
    needs, why = None, None
    if pair.cell.batch != pair.base.batch:
        why = f"{names[0]} ran {pair.cell.batch} images at once, {names[1]} {pair.base.batch}: not compared"
        needs = "timing both at one batch size"
    elif pair.cell.disturbed or pair.base.disturbed:
        needs = BUSY
    elif not pair.common:
        needs = APART
    elif test is None:
        needs = _first_repeats(pair, others, questions, rules)
    elif not (found or hinted):
        return None
    elif not pair.together:
        needs = APART
    elif not pair.balanced:
        later = "after" if pair.after[pair.rounds[0]] else "before"
        why = f"{names[0]} always ran {later} {names[1]}: not compared"
        needs = AGAIN
    elif not found or not _not_luck(test, questions, rules):
        needs = _more_repeats(test, questions, rules)
    return replace(verdict, kind=Kind.INCONCLUSIVE, needs=needs, why=why) if needs else verdict


def _effect(pair: LatencyPair, test: _LatencyTest | None) -> Effect:
    """Returns ln of how many times longer the cell takes; unknown where there is no test."""
    if test is None:
        means = [
            sum(each.log for each in cell.repeats.values()) / len(cell.repeats)
            for cell in (pair.cell, pair.base)
        ]
        return Effect(
            log=pair.log if pair.rounds else means[0] - means[1],
            low=-math.inf,
            high=math.inf,
            p=1.0,
            builds=min(len(pair.cell.repeats), len(pair.base.repeats)),
            known=False,
        )
    half = half_width((test.noise.variance * test.share, test.noise.degrees))
    log = test.pair.log
    return Effect(
        log=log,
        low=log - half,
        high=log + half,
        p=test.p(LEAST),
        builds=test.rounds,
    )


def _first_repeats(pair: LatencyPair, others: int, questions: int, rules: Rules) -> str:
    """Returns how many more can decide anything, where there is one round at most."""
    have = len(pair.rounds)
    enough = (
        rounds
        for rounds in range(3, MOST_REPEATS)
        if questions * luck(rounds, (rounds, 0), others, 0) <= LUCK * rules.familywise_error_rate
    )
    return count(next(enough, MOST_REPEATS) - have, "more repeat")


def _more_repeats(test: _LatencyTest, questions: int, rules: Rules) -> str:
    """Returns how many more decide it, if what is seen goes on."""
    have, rate = test.rounds, rules.familywise_error_rate

    def decides(rounds: int) -> bool:
        chance = luck(rounds, (rounds, 0), test.others, test.wandering)
        degrees = max(test.noise.degrees * (rounds - 1) // (have - 1), 1)
        p = _one_sided(test.pair.log - LEAST, test.noise.variance / rounds, degrees)
        return questions * chance <= LUCK * rate and questions * p <= rate

    more = (rounds - have for rounds in range(max(have + 1, 3), MOST_REPEATS) if decides(rounds))
    return count(next(more, MOST_REPEATS - have), "more repeat")


def latency_sentence(verdicts: Sequence[Verdict], baseline: str) -> str:
    """Returns plain sentences about all cells; empty where there is nothing to tell."""
    slower = sorted(
        (
            (verdict.effect.relative, verdict)
            for verdict in verdicts
            if verdict.kind is Kind.LATENCY_REGRESSION and verdict.effect
        ),
        key=lambda one: one[0],
        reverse=True,
    )
    parts = [
        f"{verdict.cell} takes {100 * relative:.0f} % longer than {verdict.against}"
        for relative, verdict in slower
    ]
    told = f"Slower than {baseline}, beyond the noise: {_listed(parts)}" if parts else ""
    open_ = [verdict for verdict in verdicts if verdict.kind is Kind.INCONCLUSIVE and verdict.needs]
    reasons = _listed(list(dict.fromkeys(verdict.why for verdict in open_ if verdict.why)))
    needs = " or ".join(sorted({verdict.needs for verdict in open_ if verdict.needs}))
    undecided = f"{count(len(open_), 'cell')} may be slower: {needs} would decide" if open_ else ""
    return " ".join(f"{part}." for part in (told, undecided, reasons) if part)


def _listed(parts: Sequence[str]) -> str:
    more = f"; and {len(parts) - MOST} more" if len(parts) > MOST else ""
    return "; ".join(parts[:MOST]) + more
