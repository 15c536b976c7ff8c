"""Names and numbers in columns of a terminal."""

from collections.abc import Sequence

from trt_matrix.core.words import visible

ABSENT = "–"
MOST_NAMES = 10


def columns(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Returns the rows with columns as wide as their widest cell; with `numbers` all but the first end alike."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if numbers and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def line(name: str) -> str:
    """Returns a name that stays on one line, whatever it holds."""
    return visible(name).replace("\n", "[U+000A]").replace("\t", "[U+0009]")


def listed_lines(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    shown = ", ".join(line(name) for name in names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown
