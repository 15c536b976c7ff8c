"""Several things at once, in threads, until all are at their end or ctrl-C ends them.

Python tells the main thread alone of ctrl-C. The others learn it from `check`, which whatever takes
long calls as it goes on; there it is raised as it would be in the main thread, so that a job is
stopped and cleaned up after in one way only.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

STEP_S = 0.2


class Workers:
    """Of one run: once it is interrupted, none of them begins anything new."""

    def __init__(self) -> None:
        self._interrupted = threading.Event()

    def check(self) -> None:
        """Ends what this thread does where the run was interrupted.

        Raises:
            KeyboardInterrupt: it was.
        """
        if self._interrupted.is_set():
            raise KeyboardInterrupt

    def all(self, work: Sequence[Callable[[], T]], *, at_once: int | None = None) -> list[T]:
        """Returns what each of `work` gives, in that order; with at most `at_once` threads, one for each where None.

        A single one is done in the calling thread. However this ends, nothing of it still runs.

        Raises:
            KeyboardInterrupt: the others end at their next `check`.
            Exception: the first, in order, that one of them raised; the others came to their end.
        """
        if len(work) <= 1:
            return [task() for task in work]
        begin = threading.Event()

        def guarded(task: Callable[[], T]) -> T:
            begin.wait()
            self.check()
            try:
                return task()
            except KeyboardInterrupt:
                self._interrupted.set()
                raise

        pool = ThreadPoolExecutor(at_once or len(work), thread_name_prefix="worker")
        try:
            # Ctrl-C in the middle of a thread's start makes a thread that the pool does not know.
            started = [pool.submit(guarded, task) for task in work]
            begin.set()
            # In steps: ctrl-C just before a thread begins to wait would not wake it.
            while wait(started, STEP_S).not_done:
                pass
        except BaseException:
            self._interrupted.set()
            raise
        finally:
            begin.set()
            pool.shutdown()
        return _results(started)


def _results(ended: Sequence[Future[T]]) -> list[T]:
    errors = [error for future in ended if (error := future.exception())]
    for error in errors[:1]:
        for other in errors[1:]:
            error.add_note(f"and at the same time: {type(other).__name__}: {other}")
        raise error
    return [future.result() for future in ended]
