"""Every way a run can end badly, one exit code per cause.

A message says what is wrong, where (path, key or cell) and what to do next. Only the command line
catches `RunnerError`; anything else that escapes is a bug and shows its traceback.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    GATE_FAILED = 1
    BAD_CONFIG = 2
    NOTHING_SELECTED = 3
    COULD_NOT_RUN = 4
    STORE_TROUBLE = 5
    BUG = 70
    """Of this tool (EX_SOFTWARE of sysexits.h): must not pass for a failed gate."""
    INTERRUPTED = 130


class RunnerError(Exception):
    """A failure the user can act on; `exit_code` is what the process returns."""

    exit_code: ExitCode = ExitCode.BAD_CONFIG


class ConfigError(RunnerError):
    """matrix.yaml, or a file it names, is wrong; holds every problem found, not the first."""

    exit_code = ExitCode.BAD_CONFIG

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{source}: {count}{lines}")


class NothingSelectedError(RunnerError):
    exit_code = ExitCode.NOTHING_SELECTED


class EnvironmentUnavailableError(RunnerError):
    """An environment cannot be made here; its cells become `unavailable` with this reason."""

    exit_code = ExitCode.COULD_NOT_RUN


class StoreError(RunnerError):
    exit_code = ExitCode.STORE_TROUBLE


class GoneError(StoreError):
    """An array that is needed anew is stored no more."""
