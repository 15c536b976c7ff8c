"""The command line as a whole: its name, its version, and the exit code of every error."""

import shlex
import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from trt_matrix.cli.output import print_error, print_text
from trt_matrix.errors import ExitCode, RunnerError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run one INT8 experiment in many engine versions and find whose fault an error is.",
    epilog="Exit codes: 0 all within gates, 1 a gate failed, 2 bad matrix.yaml, 3 nothing selected, "
    "4 a cell failed (with --strict: or could not run), 5 trouble with a file or the results folder, 70 a bug, 130 interrupted.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"trt-matrix {version('trt-matrix')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line; the only place that turns an error into an exit code."""
    # A stopped `docker stop` or CI job, and a terminal that is closed, get the same orderly end as ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
            signal.signal(number, lambda *_: _interrupt())
    try:
        code = app(standalone_mode=False)  # turns KeyboardInterrupt into its exit code
    except TyperException as error:
        print_error(f"error: {error.format_message()}{_meant(sys.argv[1:])}")
        code = ExitCode.BAD_CONFIG
    except RunnerError as error:
        print_error("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]))
        code = error.exit_code
    except Exception:  # noqa: BLE001 - whatever nobody expected is a bug; the boundary tells it so
        print_error(traceback.format_exc().rstrip("\n"))
        print_error("this is a bug in trt-matrix: report it with the lines above")
        code = ExitCode.BUG
    if code == ExitCode.INTERRUPTED:
        print_error("interrupted: what ended is kept; run again to go on")
    sys.exit(int(code or 0))


def _meant(arguments: list[str]) -> str:
    """Returns the hint for a file in place of a command, or nothing."""
    commands = {".yaml": "run", ".yml": "run", ".onnx": "init", ".zip": "verify"}
    named = arguments[0] if arguments else ""
    command = commands.get(Path(named).suffix)
    return f" Did you mean `trt-matrix {command} {shlex.quote(named)}`?" if command else ""


def _interrupt() -> None:
    raise KeyboardInterrupt
