"""What commands print: to stdout what was asked for, to stderr what went wrong."""

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import typer

from trt_matrix.core.words import visible
from trt_matrix.errors import StoreError

if TYPE_CHECKING:
    from trt_matrix.judging.outcome import Outcome


class Printable(Protocol):
    def summary(self) -> Any: ...

    def text(self) -> str: ...


def tell(done: Printable, *, as_json: bool) -> None:
    """Prints what a command found, for a program or for people."""
    if as_json:
        print_json(done.summary())
    else:
        print_text(done.text())


def end(done: "Outcome", *, as_json: bool, strict: bool = False) -> NoReturn:
    """Prints what a run found and ends with its exit code."""
    tell(done, as_json=as_json)
    raise typer.Exit(done.exit_code(strict=strict))


def print_json(value: Any) -> None:
    print_text(json.dumps(value, indent=1, allow_nan=False))


def print_text(text: str) -> None:
    """Writes to stdout; where its reader left (`| head`), nothing more can be told to it.

    Raises:
        StoreError: stdout cannot be written: a full disk.
    """
    try:
        print(visible(text), flush=True)
    except OSError as error:
        # Or Python would write what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            message = f"stdout cannot be written ({error.strerror}); what was asked for is stored"
            raise StoreError(message) from error


def print_error(text: str) -> None:
    """Writes to stderr, if there is still one."""
    with contextlib.suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)


def print_warning(text: str) -> None:
    print_error(f"warning: {text}")
