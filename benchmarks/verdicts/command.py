"""The command: `python -m benchmarks.verdicts`."""

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from benchmarks.verdicts.count import Row, counted
from benchmarks.verdicts.families import FAMILIES
from benchmarks.verdicts.limits import broken
from benchmarks.verdicts.tables import of_family, summary

CHUNK = 50
"""Matrices that one process judges at a time."""

Job = tuple[str, str, int, int, int, int, int]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="matrices for each row")
    parser.add_argument(
        "--judged", type=int, help="of them as whole judgements; a twentieth if left out"
    )
    parser.add_argument("--family", action="append", help="only this one; may be given again")
    parser.add_argument("--repeats", type=int, nargs="+", help="only these numbers of repeats")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="one line a family, no tables")
    parser.add_argument("--check", action="store_true", help="exit 1 where a limit is broken")
    options = parser.parse_args(arguments)
    if unknown := set(options.family or ()) - set(FAMILIES):
        parser.error(f"no family {', '.join(unknown)}: {', '.join(FAMILIES)}")
    rows = judge_all(
        options.family or list(FAMILIES),
        options.count,
        options.judged,
        options.repeats,
        options.seed,
    )
    print(summary(rows))
    if not options.short:
        for name in dict.fromkeys(row.family for row in rows):
            print(f"\n{of_family(name, [row for row in rows if row.family == name])}")
    failed = broken(rows)
    print("\nEvery limit holds." if not failed else "\nLimits that do not hold:\n")
    for one in failed:
        print(f"- {one}")
    if options.check and failed:
        sys.exit(1)


def judge_all(
    names: list[str], count: int, judged: int | None, repeats: list[int] | None, seed: int
) -> list[Row]:
    """Returns a row for each family, variant and number of repeats, in that order."""
    jobs = [job for name in names for job in _jobs(name, count, judged, repeats, seed)]
    rows: dict[tuple[str, str, int], Row] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for row in pool.map(counted, *zip(*jobs, strict=True)):
            key = (row.family, row.variant, row.repeats)
            rows[key] = rows[key] + row if key in rows else row
    return list(rows.values())


def _jobs(
    name: str, count: int, judged: int | None, repeats: list[int] | None, seed: int
) -> Iterator[Job]:
    family = FAMILIES[name]
    for variant in family.variants:
        for repeat in family.repeats:
            if repeats and repeat not in repeats:
                continue
            left = max(1, round(count * family.weight))
            whole = left if family.judged else min(left, count // 20 if judged is None else judged)
            if family.judged:  # variants are many, and nothing in them is a matter of chance
                left = whole = max(1, count // 10)
            by_sums = left - whole
            chunk = 0
            while by_sums or whole:
                sums, judgements = min(by_sums, CHUNK), min(whole, CHUNK // 10)
                yield name, variant, repeat, sums, judgements, seed, chunk
                by_sums, whole, chunk = by_sums - sums, whole - judgements, chunk + 1
