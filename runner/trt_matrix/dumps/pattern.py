"""Names of recorded files: `{head}/{image}.bin`, `out_{repeat}/{index:04d}_{head}.raw`; pure."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

FIELD = re.compile(r"\{(head|image|index|repeat)(?::(0?[1-9]\d?)d)?\}")
"""`{image}`, or `{index:04d}`: filled with zeros to 4 digits."""
NUMBERS = frozenset({"index", "repeat"})


def pattern_problem(pattern: str) -> str | None:
    """Returns why `pattern` names no files; None where it does."""
    rest = FIELD.sub("", pattern)
    if "{" in rest or "}" in rest:
        return (
            f"{pattern!r:.100} has a placeholder that is none: "
            "{head}, {image}, {index}, {repeat}, or {index:04d} filled with zeros"
        )
    wrong = [name for name, width in FIELD.findall(pattern) if width and name not in NUMBERS]
    if wrong:
        return f"{{{wrong[0]}}} is a name, not a number: it is not filled with zeros"
    path = PurePosixPath(pattern)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in pattern:
        return f"{pattern!r:.100} is no file below the folder: write it relative, without .."
    return None


def fields(pattern: str) -> frozenset[str]:
    """Returns the placeholders that it holds."""
    return frozenset(name for name, _ in FIELD.findall(pattern))


def filled(pattern: str, values: Mapping[str, str | int]) -> str:
    """Returns a file's name; `values` has all of the pattern's fields."""

    def text(match_: re.Match[str]) -> str:
        name, width = match_.groups()
        return f"{values[name]:{width or ''}}" if name in NUMBERS else str(values[name])

    return FIELD.sub(text, pattern)


def matching(pattern: str, values: Mapping[str, str | int]) -> re.Pattern[str]:
    """Returns what matches the names of files that differ in the fields which `values` lacks."""
    parts = []
    end = 0
    for match_ in FIELD.finditer(pattern):
        parts.append(re.escape(pattern[end : match_.start()]))
        name = match_[1]
        known = re.escape(filled(match_[0], values)) if name in values else None
        parts.append(known or (r"\d+" if name in NUMBERS else r"[^/]+"))
        end = match_.end()
    return re.compile("".join([*parts, re.escape(pattern[end:])]))
