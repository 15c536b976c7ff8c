"""Commands that carry jobs and runs elsewhere, and one that frees disk.

Each command imports what it needs itself, so that `--help` and small commands need not wait for the rest.
"""

from pathlib import Path
from typing import Annotated

import typer

from trt_matrix.cli.app import app
from trt_matrix.cli.options import (
    DEFAULT_RESULTS,
    AsJson,
    Config,
    Matrix,
    Offline,
    Quiet,
    Results,
    RunName,
    Select,
    experiment,
)
from trt_matrix.cli.output import print_text, print_warning, tell
from trt_matrix.commands.console import chosen


@app.command()
def pack(
    matrix: Matrix = None,
    config: Config = None,
    results: Results = DEFAULT_RESULTS,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("pack.tar"),
    environment: Annotated[
        list[str] | None,
        typer.Option(
            "--environment",
            "-e",
            help="Environments whose name matches this glob; repeatable. Default: those of elsewhere:.",
        ),
    ] = None,
    select: Select = None,
    quiet: Quiet = False,
) -> None:
    """Write jobs into an archive that runs on a machine with only Python, or only Docker."""
    from trt_matrix.commands.session import settling
    from trt_matrix.packs.packing import pack as packing

    patterns = [*(select or []), *(f"{name}/*" for name in environment or [])]
    with chosen(quiet=quiet, as_json=False) as progress:
        packed = packing(
            experiment(matrix, config),
            results,
            output,
            select=patterns,
            progress=progress,
            settling=settling,
        )
    print_text(packed.text())


@app.command()
def merge(
    archive: Annotated[Path, typer.Argument(metavar="RESULTS.tar")],
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Import the results that run-pack.py brought back from another machine."""
    from trt_matrix.packs.merging import merge as merging

    print_text(merging(archive, results).text())


@app.command()
def ticket(
    name: RunName = "latest",
    results: Results = DEFAULT_RESULTS,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("ticket.zip"),
    cell: Annotated[
        list[str] | None,
        typer.Option(
            "--cell", help="Include jobs only of cells whose id matches this glob; repeatable."
        ),
    ] = None,
    hide: Annotated[
        list[str] | None,
        typer.Option("--hide", help="A text to take out; repeatable."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Number of evaluation images for its jobs.")
    ] = 16,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave out images and their names.")
    ] = False,
    no_weights: Annotated[
        bool, typer.Option("--no-weights", help="Replace the network's weights with random ones.")
    ] = False,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Leave out plugins, and the jobs that need them.")
    ] = False,
) -> None:
    """Write a zip to attach to a support ticket: report, facts and cells to rerun, without private names."""
    from trt_matrix.ticket.making import TicketWish, make

    wish = TicketWish(
        cells=cell or (),
        hide=hide or (),
        images=images,
        no_images=no_images,
        no_weights=no_weights,
        no_plugins=no_plugins,
    )
    print_text(make(name, results, output, wish, print_warning).text())


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="TICKET.zip")],
    rerun: Annotated[
        str | None, typer.Option("--rerun", metavar="CELL", help="Also run this cell again here.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Check that a ticket is complete and unchanged; with --rerun, that a cell gives the same here."""
    from trt_matrix.ticket.verifying import verify as verifying

    print_text(verifying(bundle).text())
    if rerun is not None:
        from trt_matrix.ticket.again import rerun as running

        done = running(bundle, rerun, offline=offline)
        print_text(done.text())
        raise typer.Exit(done.exit_code())


@app.command()
def gc(
    results: Results = DEFAULT_RESULTS,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Remove all runs but the newest N."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Remove runs older than AGE: 12h, 30d, 2w."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Free disk: remove stored arrays that no run needs and, with an option, old runs.

    With both options it removes runs older than AGE that are not among the newest N. The latest always stays.
    """
    from trt_matrix.commands import gc as garbage
    from trt_matrix.store.results import utc_now

    done = garbage.collect_in(
        results,
        keep=keep,
        older_than=garbage.age(older_than) if older_than else None,
        now=utc_now(),
        dry_run=dry_run,
    )
    tell(done, as_json=as_json)
