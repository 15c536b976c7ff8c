"""How progress is shown: a live bar on a terminal, plain lines elsewhere, JSON lines, or nothing."""

import json
import sys
import threading
import time
from typing import IO, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runner.plan import Status

_COLOURS = {
    Status.OK: "green",
    Status.UNAVAILABLE: "yellow",
    Status.UNSUPPORTED: "yellow",
    Status.NOT_RUN: "yellow",
}


class Terminal:
    """A bar with the time left, and above it one line for each step that ended."""

    def __init__(self, stream: IO[str]) -> None:
        self.console = Console(file=stream)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("start", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        self.console.print(escape(text))

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]warning:[/] {escape(text)}")

    def expect(self, steps: int) -> None:
        self.bar.update(self.task, total=(self.bar.tasks[0].total or 0) + steps)

    def stage(self, where: str, stage: str) -> None:
        self.bar.update(self.task, description=escape(f"{where}: {stage}"))

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        del reused  # the bar's own estimate looks at the last half minute only
        colour = _COLOURS.get(status, "red")
        self.console.print(f"[{colour}]{status:<11}[/] {escape(what)}  [dim]{escape(detail)}[/]")
        self.bar.advance(self.task, steps)


class _Lines:
    """Writes whole lines at once; there is nothing to end."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.flush()

    def _write(self, line: str) -> None:
        with self.lock:
            print(line, file=self.stream, flush=True)


class Plain(_Lines):
    """One line for each step that ended; a line from time to time for a long one."""

    EVERY_S = 15.0

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self.ended = 0
        self.worked = 0
        self.total = 0
        self.started = time.monotonic()
        self.last = self.started

    def note(self, text: str) -> None:
        self._line(text)

    def warn(self, text: str) -> None:
        self._line(f"warning: {text}")

    def expect(self, steps: int) -> None:
        self.total += steps

    def stage(self, where: str, stage: str) -> None:
        if time.monotonic() - self.last >= self.EVERY_S:
            self._line(f"[{self.ended}/{self.total}] {where}: {stage}{self._left()}")

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        self.ended += steps
        self.worked += 0 if reused else steps
        self._line(f"[{self.ended}/{self.total}] {status:<11} {what}  {detail}{self._left()}")

    def _left(self) -> str:
        """Says the time left, once enough steps ended to tell; what was reused tells nothing."""
        if self.worked < 3 or self.ended >= self.total:
            return ""
        spent = time.monotonic() - self.started
        left = spent / self.worked * (self.total - self.ended)
        return f"  (about {left:.0f} s left)"

    def _line(self, text: str) -> None:
        self._write(text)
        self.last = time.monotonic()


class JsonLines(_Lines):
    """One JSON object a line, for programs."""

    def note(self, text: str) -> None:
        self._emit(event="note", text=text)

    def warn(self, text: str) -> None:
        self._emit(event="warning", text=text)

    def expect(self, steps: int) -> None:
        self._emit(event="expect", steps=steps)

    def stage(self, where: str, stage: str) -> None:
        """Stages change several times a second; programs are told of ends only."""

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        self._emit(
            event="done",
            what=what,
            status=str(status),
            detail=detail,
            steps=steps,
            reused=reused,
        )

    def _emit(self, **fields: Any) -> None:
        self._write(json.dumps(fields, allow_nan=False))


class Quiet(Plain):
    """Warnings only."""

    def note(self, text: str) -> None:
        pass

    def stage(self, where: str, stage: str) -> None:
        pass

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        pass


def chosen(*, quiet: bool, as_json: bool) -> Terminal | Plain | JsonLines | Quiet:
    """Progress goes to stderr; what was asked for (a plan, a summary) goes to stdout."""
    if as_json:
        return JsonLines(sys.stderr)
    if quiet:
        return Quiet(sys.stderr)
    return Terminal(sys.stderr) if sys.stderr.isatty() else Plain(sys.stderr)
