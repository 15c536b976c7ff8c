"""Fuzzes every parser for some minutes each: python -m tests.fuzz --minutes 10 [--only NAME] [--seed 1]

An input that ends a parser in another way than it says is made small, and kept in tests/data/fuzz.
"""

import argparse
import hashlib
import random
import resource
import sys
import time
import traceback
import warnings

import hypothesis
from hypothesis import HealthCheck, given, settings

from tests.fuzz.inputs import inputs
from tests.fuzz.parsers import PARSERS, Parser
from tests.fuzz.running import KEPT, run

BATCH = 60
MEMORY_BYTES = 6 << 30
SLOW_S = 10.0


class _SlowError(Exception):
    """A parser took longer than any input is worth."""


def fuzzed(parser: Parser, seconds: float, seed: int) -> tuple[int, int, str]:
    """Returns inputs tried, how many of them were taken, and what failed (empty where nothing did)."""
    tried = taken = 0
    last = b""
    ends = time.monotonic() + seconds
    chosen = random.Random(seed)

    def one(content: bytes) -> None:
        nonlocal tried, taken, last
        last = content
        tried += 1
        started = time.process_time()
        taken += run(parser, content)
        if time.process_time() - started > SLOW_S:
            message = f"{time.process_time() - started:.0f} s of processor time"
            raise _SlowError(message)

    strategy = inputs(parser.seeds())
    while time.monotonic() < ends:
        test = hypothesis.seed(chosen.getrandbits(32))(
            settings(
                max_examples=BATCH, deadline=None, database=None, report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            )(given(strategy)(one))
        )  # fmt: skip
        try:
            test()
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            name = hashlib.sha256(last).hexdigest()[:12]
            (KEPT / parser.name).mkdir(parents=True, exist_ok=True)
            (KEPT / parser.name / name).write_bytes(last)
            told = f"{type(error).__name__} {error!s:.200}"
            return tried, taken, f"{name}: {told}\n{traceback.format_exc()}"
    return tried, taken, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for each parser")
    parser.add_argument("--only", help="parsers whose name begins so")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")
    every = [parser for parser in PARSERS.values() if parser.name.startswith(options.only or "")]
    sums = [0, 0, 0]
    for one in every:
        tried, taken, failed = fuzzed(one, options.minutes * 60, options.seed)
        print(
            f"{one.name}: {tried} inputs, {taken} taken{'; FAILED ' + failed if failed else ''}",
            flush=True,
        )
        sums = [sums[0] + tried, sums[1] + taken, sums[2] + bool(failed)]
    print(
        f"{len(every)} parsers, {options.minutes:g} minutes each: {sums[0]} inputs, {sums[1]} taken, {sums[2]} parsers failed"
    )
    return 1 if sums[2] else 0


if __name__ == "__main__":
    sys.exit(main())
