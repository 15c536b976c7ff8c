"""Says what pydantic found wrong in this tool's words: what, where and what to do next."""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trt_matrix.config.yaml_file import Document, Path_

AllowedKeys = Callable[[Document, Path_], Sequence[str]]


ELSEWHERE: Mapping[tuple[str, str], str] = {
    (
        "calibration.algorithms",
        "best",
    ): "the host makes it, by simulation, and environments cannot; it can be "
    "the table that all are given: `shared: best`",
}
"""(place of a list, value that is no item of it) → where it belongs."""


def problem(document: Document, path: Path_, error: Any, allowed_keys: AllowedKeys) -> str:
    """Returns where a value stands, what is wrong with it (one of `ValidationError.errors()`) and what is allowed."""
    return f"{document.where(path)}: {_wrong(document, path, error, allowed_keys)}"


def _wrong(document: Document, path: Path_, error: Any, allowed_keys: AllowedKeys) -> str:
    given = error.get("input")
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key{_instead(path[-1], allowed_keys(document, path[:-1]))}"
        case "kind":
            keys = ", ".join(given) if isinstance(given, Mapping) else ""
            has = f"; this one has {keys:.80}" if keys else ""
            return f"{error['msg']}{has}"
        case "missing":
            return "missing"
        case "literal_error" | "enum":
            place = ".".join(part for part in path if isinstance(part, str))
            if isinstance(given, str) and (place, given) in ELSEWHERE:
                return f"{_shown(given)} is not known here: {ELSEWHERE[place, given]}"
            words = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
            return f"{_shown(given)} is not known here{_instead(given, words)}"
        case "string_type" if path in document.written:
            written = document.written[path]
            meant = f'; put it in quotes: "{written:.60}"' if written else ""
            return f"{written or 'nothing'} is read as {_shown(given)}, text is expected{meant}"
        case "too_short":
            return "empty; name at least one"
        case "string_pattern_mismatch":
            return (
                f"{_shown(given)} becomes part of file names: a letter or digit, then letters, "
                "digits and . _ + - only (A to Z without accents)"
            )
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            message = str(error["msg"]).removeprefix("Input ")
            scalar = given is None or isinstance(given, str | int | float)
            shown = f", is {document.written.get(path) or _shown(given):.80}" if scalar else ""
            return f"{message[0].lower()}{message[1:]}{shown}"


def _shown(value: Any) -> str:
    return f"{json.dumps(value, ensure_ascii=False):.80}"


def _instead(word: object, allowed: Sequence[str]) -> str:
    return f"; allowed: {', '.join(allowed)}{did_you_mean(str(word), allowed)}"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Returns `; did you mean 'x'?`, or nothing where none is close."""
    close = difflib.get_close_matches(word[:200], known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def few(names: Sequence[str], most: int = 8) -> str:
    """Returns the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
