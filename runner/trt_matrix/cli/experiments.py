"""Commands on a matrix.yaml and its runs.

Each command imports what it needs itself, so that `--help` and small commands need not wait for the rest.
"""

from pathlib import Path
from typing import Annotated

import typer

from trt_matrix.cli.app import app
from trt_matrix.cli.options import (
    DEFAULT_MATRIX,
    DEFAULT_RESULTS,
    AsJson,
    Config,
    Matrix,
    MostCells,
    NoImages,
    Offline,
    Quiet,
    Results,
    RunName,
    Select,
    experiment,
)
from trt_matrix.cli.output import end, print_warning, tell
from trt_matrix.commands.console import chosen


@app.command()
def run(
    matrix: Matrix = None,
    config: Config = None,
    results: Results = DEFAULT_RESULTS,
    select: Select = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 if a selected cell could not run.")
    ] = False,
    offline: Offline = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure cells again, also those already measured.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every cell that is not measured yet, judge all cells, write the report."""
    from trt_matrix.commands import session

    with chosen(quiet=quiet, as_json=as_json) as progress:
        done = session.run_experiment(
            experiment(matrix, config),
            results,
            select=select or [],
            offline=offline,
            fresh=fresh,
            progress=progress,
        )
    end(done, as_json=as_json, strict=strict)


@app.command()
def plan(
    matrix: Matrix = None,
    config: Config = None,
    results: Results = DEFAULT_RESULTS,
    select: Select = None,
    as_json: AsJson = False,
) -> None:
    """Print every cell: what it takes, whether it is already measured, or why it cannot run. Runs nothing."""
    from trt_matrix.commands import session

    planned = session.plan_experiment(experiment(matrix, config), results, select=select or [])
    tell(planned, as_json=as_json)


@app.command()
def judge(
    name: RunName = "latest",
    results: Results = DEFAULT_RESULTS,
    no_images: NoImages = False,
    most_cells: MostCells = None,
    as_json: AsJson = False,
) -> None:
    """Judge a finished run again and write its report; needs no engine."""
    from trt_matrix.judging import run as judging

    with chosen(quiet=False, as_json=as_json) as progress:
        done = judging.judge_again(
            name,
            results,
            images=not no_images,
            most_cells=most_cells,
            stage=progress.stage,
            warn=progress.warn,
        )
    end(done, as_json=as_json)


@app.command()
def report(
    name: Annotated[
        str,
        typer.Argument(metavar="RUN or FILE", help="A run (or latest), or a judgement.json."),
    ] = "latest",
    results: Results = DEFAULT_RESULTS,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to write into; default: that of the judgement."),
    ] = None,
    no_images: NoImages = False,
    most_cells: MostCells = None,
    as_json: AsJson = False,
) -> None:
    """Write the report again from a judgement.json alone, so that an old run gets a new page."""
    from trt_matrix.judging import run as judging
    from trt_matrix.store.results import finished_run

    given = Path(name)
    source = given if given.exists() or given.suffix == ".json" else results / name
    if not source.exists() and source is not given:
        finished_run(name, results)  # says where to look
    end(
        judging.rendered(
            source,
            to or (source if source.is_dir() else source.parent),
            images=not no_images,
            most_cells=most_cells,
        ),
        as_json=as_json,
    )


@app.command()
def diagnose(
    what: Annotated[
        str,
        typer.Argument(metavar="[MATRIX or RUN]", help="A matrix.yaml, or a run (or latest)."),
    ] = str(DEFAULT_MATRIX),
    results: Results = DEFAULT_RESULTS,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", help="Count only this head's limits (all are shown); repeatable."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table", help="Table to diagnose: an algorithm, the start of a digest, or a file."
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            "--images", min=1, help="Number of images: half to choose on, half to confirm on."
        ),
    ] = 64,
    goal: Annotated[
        list[str] | None,
        typer.Option(
            "--goal",
            metavar="LIMIT=NUMBER",
            help="Limit to use instead of the gates, e.g. sqnr_db=25; repeatable.",
        ),
    ] = None,
    most_cost: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Largest share of the network's work to keep in float."
        ),
    ] = 0.5,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            help="File from trtexec --exportProfile: cost of a layer is the time it took.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the chosen set as an ONNX network with Q/DQ."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find the tensors and layers that cost the heads accuracy in int8, and the few to keep in float."""
    from trt_matrix.diagnosis import running

    with chosen(quiet=quiet, as_json=as_json) as progress:
        done = running.diagnosed(
            what,
            results,
            running.wish(
                images=images,
                heads=head or (),
                goals=goal or (),
                most_cost=most_cost,
                profile=profile,
            ),
            table=table,
            output=output,
            progress=progress,
        )
    tell(done, as_json=as_json)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="RUN_A", help="A run's folder in results.")],
    after: Annotated[
        str, typer.Argument(metavar="RUN_B", help="Another run, or latest.")
    ] = "latest",
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two finished runs: inputs, statuses, errors, verdicts, latencies."""
    from trt_matrix.judging import run as judging

    difference = judging.difference(before, after, results, print_warning)
    tell(difference, as_json=as_json)
