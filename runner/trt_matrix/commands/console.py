"""How progress is shown: a live bar on a terminal, plain lines elsewhere, JSON lines, or nothing."""

import contextlib
import json
import sys
import threading
import time
from typing import IO, Any, Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from trt_matrix.core.cells import Status
from trt_matrix.core.words import one_line, visible
from trt_matrix.store.untrusted import size_text

_COLOURS = {
    Status.OK: "green",
    Status.UNAVAILABLE: "yellow",
    Status.UNSUPPORTED: "yellow",
    Status.NOT_RUN: "yellow",
}


class _Bar(ProgressColumn):
    """Nothing for what has no known length: its row says what is being done."""

    def render(self, task: Task) -> RenderableType:
        return Text() if task.total is None else BarColumn().render(task)


class _Amount(ProgressColumn):
    """Steps as 3/12, bytes as 1.2/3.4 GB."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text()
        if not task.fields.get("bytes"):
            return MofNCompleteColumn().render(task)
        return Text(f"{size_text(task.completed)}/{size_text(task.total or 0)}")


class Terminal:
    """A bar with the time left, below it what is being done, above it a line for each step that ended.

    Every method may be called from several threads.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.console = Console(file=stream)
        self.bar = Progress(
            TextColumn("{task.description}"),
            _Bar(),
            _Amount(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("all", total=None)
        self.rows: dict[str, TaskID] = {}
        """What is under way → its row."""
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        self.console.print(escape(visible(text)))

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]warning:[/] {escape(visible(text))}")

    def expect(self, steps: int) -> None:
        with self.lock:
            self.bar.update(self.task, total=(self.bar.tasks[0].total or 0) + steps)

    def stage(self, where: str, stage: str) -> None:
        self._row(where, description=escape(one_line(f"{where}: {stage}")))

    def ended(self, where: str) -> None:
        with self.lock:
            for what in [row for row in self.rows if _is_of(row, where)]:
                self.bar.remove_task(self.rows.pop(what))

    def transfer(self, what: str, done: int, total: int) -> None:
        """Shows one bar for each layer on its way; one that is here goes."""
        if done >= total:
            self.ended(what)
        else:
            self._row(what, completed=done, total=total, bytes=True)

    def _row(self, what: str, **shown: Any) -> None:
        with self.lock:
            if what not in self.rows:
                self.rows[what] = self.bar.add_task(escape(one_line(what)), total=None)
            self.bar.update(self.rows[what], **shown)

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        del reused  # the bar's own estimate looks at the last half minute only
        colour = _COLOURS.get(status, "red")
        text = f"{escape(one_line(what))}  [dim]{escape(one_line(detail))}[/]"
        self.console.print(f"[{colour}]{status:<11}[/] {text}")
        self.bar.advance(self.task, steps)


class _Lines:
    """Writes whole lines at once; there is nothing to end."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.lock = threading.RLock()  # several threads tell of what they do

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.flush()

    def _write(self, line: str) -> None:
        # A terminal that went away, or a full disk behind it, ends no run: what is measured is stored.
        with self.lock, contextlib.suppress(OSError):
            print(line, file=self.stream, flush=True)


class PlainProgress(_Lines):
    """One line for each step that ended; a line from time to time for a long one."""

    EVERY_S = 15.0

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self.steps = 0
        """Those that ended."""
        self.worked = 0
        self.total = 0
        self.now: dict[str, str] = {}
        """What is under way → its stage."""
        self.started = time.monotonic()
        self.last = self.started

    def note(self, text: str) -> None:
        self._line(text)

    def warn(self, text: str) -> None:
        self._line(f"warning: {text}")

    def expect(self, steps: int) -> None:
        with self.lock:
            self.total += steps

    def stage(self, where: str, stage: str) -> None:
        with self.lock:
            self.now[where] = one_line(stage)
            if time.monotonic() - self.last >= self.EVERY_S:
                stages = "; ".join(f"{place}: {doing}" for place, doing in self.now.items())
                self._line(f"[{self.steps}/{self.total}] {stages}{self._left()}")

    def ended(self, where: str) -> None:
        with self.lock:
            self.now = {what: stage for what, stage in self.now.items() if not _is_of(what, where)}

    def transfer(self, what: str, done: int, total: int) -> None:
        if done >= total:
            self.ended(what)
        else:
            self.stage(what, f"{size_text(done)} of {size_text(total)}")

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        with self.lock:
            self.steps += steps
            self.worked += 0 if reused else steps
            self._line(
                f"[{self.steps}/{self.total}] {status:<11} {what}  {one_line(detail)}{self._left()}"
            )

    def _left(self) -> str:
        """Says the time left, once enough steps ended to tell; what was reused tells nothing."""
        if self.worked < 3 or self.steps >= self.total:
            return ""
        spent = time.monotonic() - self.started
        left = spent / self.worked * (self.total - self.steps)
        return f"  (about {left:.0f} s left)"

    def _line(self, text: str) -> None:
        self._write(visible(text))
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

    def ended(self, where: str) -> None:
        """The steps that end are told by `done`."""

    def transfer(self, what: str, done: int, total: int) -> None:
        pass

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


class QuietProgress(PlainProgress):
    """Warnings only."""

    def note(self, text: str) -> None:
        pass

    def stage(self, where: str, stage: str) -> None:
        pass

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        pass


def _is_of(what: str, where: str) -> bool:
    """Says whether it is done there, or is a download for it (`WHERE: LAYER`)."""
    return what == where or what.startswith(f"{where}: ")


def chosen(*, quiet: bool, as_json: bool) -> Terminal | PlainProgress | JsonLines | QuietProgress:
    """Progress goes to stderr; what was asked for (a plan, a summary) goes to stdout."""
    if as_json:
        return JsonLines(sys.stderr)
    if quiet:
        return QuietProgress(sys.stderr)
    return Terminal(sys.stderr) if sys.stderr.isatty() else PlainProgress(sys.stderr)
