"""Options that several commands share."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MATRIX = Path("matrix.yaml")
DEFAULT_RESULTS = Path("results")

Matrix = Annotated[
    Path | None,
    typer.Argument(
        metavar="[MATRIX.yaml]",
        help="The experiment; default: matrix.yaml.",
        show_default=False,
    ),
]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="The same, as an option.")]
Results = Annotated[Path, typer.Option(help="Folder of the results.", show_default=True)]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        "-s",
        help="Only cells whose id matches this glob, e.g. 'ort-1.2*/*/int8-*'; repeatable.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder in results, or latest.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and the result.")]
NoImages = Annotated[
    bool, typer.Option("--no-images", help="Leave the evaluation images out of the report.")
]
MostCells = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Show details of at most N cells (default: all of up to 80, otherwise 40); the matrix shows all.",
    ),
]


def experiment(named: Path | None, option: Path | None) -> Path:
    """Returns the file of the experiment, named as an argument or by --config.

    Raises:
        typer.BadParameter: two files are named, or the argument looks like a pattern of cells.
    """
    if named and option and named != option:
        raise typer.BadParameter(f"two experiments: {named} and --config {option}; name one")
    if named and named.suffix not in (".yaml", ".yml") and not named.exists():
        message = f"no file {named}; cells are chosen by --select {shlex.quote(str(named))}"
        raise typer.BadParameter(message)
    return named or option or DEFAULT_MATRIX
