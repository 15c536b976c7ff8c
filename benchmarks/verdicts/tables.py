"""Counts as Markdown."""

from collections import Counter
from collections.abc import Iterable, Sequence

from benchmarks.verdicts.count import OUTCOMES, Row
from benchmarks.verdicts.families import FAMILIES


def summary(rows: Sequence[Row]) -> str:
    """Returns one line a family."""
    lines = [
        _line("family", "matrices", *OUTCOMES, "acquitted", "worst false"),
        _line(*["---"] * (len(OUTCOMES) + 4)),
    ]
    for name in FAMILIES:
        mine = [row for row in rows if row.family == name]
        if not mine:
            continue
        whole = sum(row.matrices for row in mine)
        judged = sum(row.judged for row in mine)
        shares = [percent(_sum(mine, outcome), whole) for outcome in OUTCOMES]
        if not any(row.outcomes["found"] for row in mine) and not _planted(mine):
            shares[3] = shares[4] = shares[5] = ""
        worst = max(mine, key=lambda row: row.outcomes["false"] / max(row.matrices, 1))
        lines.append(
            _line(
                name, whole, *shares, f"{_sum(mine, 'acquitted')} of {judged}",
                f"{percent(worst.outcomes['false'], worst.matrices)} ({worst.variant}, "
                f"{worst.repeats} repeats)" if worst.outcomes["false"] else "",
            )
        )  # fmt: skip
    return "\n".join(lines)


def of_family(name: str, rows: Sequence[Row]) -> str:
    """Returns the confusion table and the table of power, or of chance, of one family."""
    family = FAMILIES[name]
    planted = _planted(rows)
    parts = [f"### {name}", family.about, _confusion(rows)]
    for title, outcomes in (
        (("found, %", ("found",)), ("false / wrong / undecided, %", OUTCOMES[:3]))
        if planted
        else (("false / undecided, %", ("false", "undecided")),)
    ):
        parts.append(_grid(title, rows, outcomes))
    return "\n\n".join(parts)


def percent(count: int, of: int) -> str:
    return f"{100 * count / of:.3g}" if of else "–"


def _confusion(rows: Sequence[Row]) -> str:
    """Returns what was said of guilty and of innocent cells and heads, and of how many matrices that was false."""
    told: Counter[tuple[str, str]] = sum((row.told for row in rows), Counter())
    kinds: Counter[tuple[str, str]] = sum((row.kinds for row in rows), Counter())
    lines = [
        _line("said", "guilty cells", "innocent cells", "false, matrices", "wrong, matrices"),
        _line(*["---"] * 5),
    ]
    for kind in sorted({kind for _, kind in (*told, *kinds)}):
        counts = (told["guilty", kind], told["innocent", kind])
        lines.append(_line(kind, *counts, kinds["false", kind], kinds["wrong", kind]))
    return "\n".join(lines)


def _grid(title: str, rows: Sequence[Row], outcomes: Sequence[str]) -> str:
    repeats = list(dict.fromkeys(row.repeats for row in rows))
    lines = [
        _line(title, *(f"{repeat} repeats" for repeat in repeats)),
        _line(*["---"] * (len(repeats) + 1)),
    ]
    found = {(row.variant, row.repeats): row for row in rows}
    for variant in dict.fromkeys(row.variant for row in rows):
        cells = []
        for repeat in repeats:
            row = found[variant, repeat]
            shares = (percent(row.outcomes[outcome], row.matrices) for outcome in outcomes)
            cells.append(" / ".join(shares))
        lines.append(_line(variant, *cells))
    return "\n".join(lines)


def _planted(rows: Iterable[Row]) -> bool:
    return any(where == "guilty" for row in rows for where, _ in row.told)


def _sum(rows: Iterable[Row], outcome: str) -> int:
    return sum(row.outcomes[outcome] for row in rows)


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
