"""Runs every benchmark and writes docs/reference/benchmarks.md: `make bench`; `--quick` only shows that they run."""

import argparse
import contextlib
import datetime
import io
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    activations,
    boxes,
    calibration,
    compare,
    containers,
    diagnosis,
    judging,
    latency_verdicts,
    machine,
    matrix,
    reductions,
    report,
    tables,
    verdicts,
)
from benchmarks.verdicts import command as verdicts_command

TARGET = Path(__file__).parents[1] / "docs" / "reference" / "benchmarks.md"

BENCHMARKS: tuple[tuple[str, str, Callable[[list[str]], None], list[str]], ...] = (
    ("Reductions", reductions.__doc__ or "", reductions.main, ["--quick"]),
    ("Comparing dumps", compare.__doc__ or "", compare.main, ["--quick"]),
    ("Calibration", calibration.__doc__ or "", calibration.main, ["--quick"]),
    ("Tables", tables.__doc__ or "", tables.main, ["--quick"]),
    ("Boxes", boxes.__doc__ or "", boxes.main, ["--quick"]),
    ("Containers", containers.__doc__ or "", containers.main, ["--quick"]),
    ("INT8 against FP32", activations.__doc__ or "", activations.main, ["--quick"]),
    ("Diagnosis", diagnosis.__doc__ or "", diagnosis.main, ["--quick"]),
    ("The default matrix", matrix.__doc__ or "", matrix.main, ["--quick"]),
    (
        "Verdicts on made-up matrices",
        verdicts.__doc__ or "",
        verdicts_command.main,
        ["--count", "2", "--short"],
    ),
    (
        "Latency verdicts on made-up matrices",
        latency_verdicts.__doc__ or "",
        latency_verdicts.main,
        ["--quick"],
    ),
    ("The page at size", report.__doc__ or "", report.main, ["--quick"]),
    ("Judging", judging.__doc__ or "", judging.main, ["--environments", "4"]),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, and writes nothing")
    parser.add_argument("--only", help="the benchmark whose title begins so; writes nothing")
    options = parser.parse_args()
    chosen = [
        benchmark
        for benchmark in BENCHMARKS
        if benchmark[0].lower().startswith((options.only or "").lower())
    ]
    if not chosen:
        sys.exit(
            f"no benchmark begins with {options.only!r}: {', '.join(b[0] for b in BENCHMARKS)}"
        )
    pages = [
        "# Benchmarks\n\n"
        f"Written by `make bench` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}. Medians, side by "
        "side, in one run.\n\n" + machine.facts()
    ]
    for title, doc, run, quick in chosen:
        print(f"{title} …", file=sys.stderr, flush=True)
        string_io = io.StringIO()
        with contextlib.redirect_stdout(string_io):
            run(quick if options.quick else [])
        pages.append(f"## {title}\n\n{doc.strip()}\n\n{string_io.getvalue().strip()}")
        print(string_io.getvalue(), flush=True)
    if not (options.quick or options.only):
        TARGET.write_text("\n\n".join(pages) + "\n")
        print(f"wrote {TARGET}", file=sys.stderr)


if __name__ == "__main__":
    main()
