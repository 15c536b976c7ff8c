"""Images are what runs in parallel: one on each processor."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

WORKERS = len(os.sched_getaffinity(0))


def for_all(one: Callable[[int], None], count: int, what: str, told: Callable[[str], None]) -> None:
    """Does images 0 to `count` − 1 in parallel; the first error, or an interruption, ends it."""
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(one, place) for place in range(count)]
        try:
            for done, future in enumerate(running):
                told(f"{what}: image {done + 1} of {count}")
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
