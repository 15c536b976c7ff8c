"""The command line: reads arguments, calls one function each, turns errors into exit codes.

A command imports what it needs itself: `--help` and what is small need not wait for the rest.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from runner.commands.migrate import migrate
from runner.console import chosen
from runner.errors import ExitCode, RunnerError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Runs one INT8 experiment over many engine versions and says whose fault an error is.",
    epilog="Exit codes: 0 all within gates, 1 a gate failed, 2 bad matrix.yaml, 3 nothing selected, "
    "4 something that was wanted could not run (--strict), 5 store trouble, 70 a bug, 130 interrupted.",
)

Matrix = Annotated[Path, typer.Option("--config", "-c", help="The experiment.", show_default=True)]
Results = Annotated[Path, typer.Option(help="Where results are kept.", show_default=True)]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select", "-s", help="Glob over cell ids, e.g. 'ort-1.2*/*/int8-*'; repeatable."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and the result only.")]

DEFAULT_MATRIX = Path("matrix.yaml")
DEFAULT_RESULTS = Path("results")


@app.command()
def run(
    config: Matrix = DEFAULT_MATRIX,
    results: Results = DEFAULT_RESULTS,
    select: Select = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 where a selected cell could not run.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what is known already.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every cell that is not known yet, judge all, write the report."""
    from runner import session

    with chosen(quiet=quiet, as_json=as_json) as progress:
        done = session.run_experiment(
            config,
            results,
            select=select or [],
            offline=offline,
            fresh=fresh,
            progress=progress,
        )
    if as_json:
        _print_json(done.summary())
    else:
        _print(done.text())
    raise typer.Exit(done.exit_code(strict=strict))


@app.command()
def plan(
    config: Matrix = DEFAULT_MATRIX,
    results: Results = DEFAULT_RESULTS,
    select: Select = None,
    as_json: AsJson = False,
) -> None:
    """Print every cell: what it takes, what is known already, why it cannot run. Runs nothing."""
    from runner import session

    planned = session.plan_experiment(config, results, select=select or [])
    if as_json:
        _print_json(planned.summary())
    else:
        _print(planned.text())


@app.command()
def judge(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A folder of results, or latest.")],
    results: Results = DEFAULT_RESULTS,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave the evaluation images out of the report.")
    ] = False,
    most_cells: Annotated[
        int | None,
        typer.Option(min=1, help="Tell so many cells in detail; 300 else. The matrix has all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a finished run again and write its report; needs no engine."""
    from runner.judging import run as judging
    from runner.report.limits import MOST

    with chosen(quiet=False, as_json=as_json) as progress:
        done = judging.judge_again(
            name,
            results,
            images=not no_images,
            most_cells=most_cells or MOST,
            stage=progress.stage,
        )
    if as_json:
        _print_json(done.summary())
    else:
        _print(done.text())
    raise typer.Exit(done.exit_code(strict=False))


@app.command()
def diagnose(
    what: Annotated[
        str,
        typer.Argument(metavar="[MATRIX or RUN]", help="A matrix.yaml, or a run; latest is one."),
    ] = str(DEFAULT_MATRIX),
    results: Results = DEFAULT_RESULTS,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", help="Only this head's limits count; repeatable. All are shown."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help="An algorithm, the beginning of a digest, or a file."),
    ] = None,
    images: Annotated[
        int,
        typer.Option("--images", min=1, help="A half to choose on, a half to confirm on."),
    ] = 64,
    goal: Annotated[
        list[str] | None,
        typer.Option(
            "--goal", metavar="LIMIT=NUMBER", help="In place of the gates: sqnr_db=25; repeatable."
        ),
    ] = None,
    most_cost: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of the network's work that may go into float."),
    ] = 0.5,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the chosen set as an ONNX network with Q/DQ."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say which tensors and layers int8 loses the heads by, and which few to keep in float."""
    from runner.diagnosis import running

    with chosen(quiet=quiet, as_json=as_json) as progress:
        done = running.diagnosed(
            what,
            results,
            running.wish(images=images, heads=head or (), goals=goal or (), most_cost=most_cost),
            table=table,
            output=output,
            progress=progress,
        )
    if as_json:
        _print_json(done.summary())
    else:
        _print(done.text())


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="RUN_A", help="A folder of results.")],
    after: Annotated[str, typer.Argument(metavar="RUN_B", help="Another, or latest.")] = "latest",
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two finished runs: inputs, statuses, errors, verdicts, latencies."""
    from runner.judging import run as judging

    found = judging.difference(before, after, results)
    if as_json:
        _print_json(found.summary())
    else:
        _print(found.text())


@app.command()
def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="A file or a folder of dumped outputs, or a calibration table."
        ),
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="The reference, likewise.")],
    shape: Annotated[
        str | None,
        typer.Option(metavar="N,C,H,W", help="Of raw files, channels first; one may be -1."),
    ] = None,
    byte_order: Annotated[
        str | None,
        typer.Option(metavar="ORDER", help="Of raw files: little (default) or big; or A's,B's."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help="Of raw files: float32 (default), float16, float64; or A's,B's."
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(metavar="LAYOUT", help="nchw (default) or nhwc; or A's,B's."),
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Count elements with |d| beyond it.")] = 1e-3,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", "-s", help="Glob over names of files in folders; repeatable."),
    ] = None,
    off_by_one: Annotated[
        bool,
        typer.Option(
            "--off-by-one",
            help="Files may go on after --shape: what a loop up to i <= n reads there.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare dumped outputs, two files or two folders: raw, .npy, .npz; or two calibration tables.

    Needs no matrix.yaml.
    """
    from runner.compare.comparing import compare_paths
    from runner.compare.options import formats
    from runner.compare.tables import compare_tables

    of_arrays = {
        "--shape": shape, "--byte-order": byte_order, "--dtype": dtype, "--layout": layout,
        "--select": select, "--off-by-one": off_by_one,
    }  # fmt: skip
    tables = compare_tables(a, b, [name for name, value in of_arrays.items() if value])
    if tables is not None:
        if as_json:
            _print_json(tables.summary())
        else:
            _print(tables.text())
        return
    forms = formats(
        shape=shape, byte_order=byte_order, dtype=dtype, layout=layout, longer=off_by_one
    )
    with chosen(quiet=quiet, as_json=as_json) as progress:
        done = compare_paths(
            a, b, forms, epsilon=epsilon, select=select or [], stage=progress.stage
        )
    if as_json:
        _print_json(done.summary())
    else:
        _print(done.text())


@app.command()
def pack(
    config: Matrix = DEFAULT_MATRIX,
    results: Results = DEFAULT_RESULTS,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("pack.tar"),
    environment: Annotated[
        list[str] | None, typer.Option("--environment", "-e", help="Glob over names; repeatable.")
    ] = None,
    select: Select = None,
    quiet: Quiet = False,
) -> None:
    """Write jobs into an archive that runs on a machine with only a Python, or only Docker."""
    from runner.packs.packing import pack as packing

    patterns = [*(select or []), *(f"{name}/*" for name in environment or [])]
    with chosen(quiet=quiet, as_json=False) as progress:
        made = packing(config, results, output, select=patterns, progress=progress)
    _print(made.text())


@app.command()
def merge(
    archive: Annotated[Path, typer.Argument(metavar="RESULTS.tar")],
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Take in what run-pack.py brought back from another machine."""
    from runner.packs.merging import merge as merging

    _print(merging(archive, results).text())


@app.command()
def gc(
    results: Results = DEFAULT_RESULTS,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Remove runs but the newest N."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Remove runs of before 12h, 30d or 2w."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free disk: remove stored arrays that no run needs; with an option, old runs as well.

    With both options a run goes that is neither among the newest N nor younger. The latest stays.
    """
    from runner.commands import gc as garbage
    from runner.store import utc_now

    done = garbage.collect_in(
        results,
        keep=keep,
        older_than=garbage.age(older_than) if older_than else None,
        now=utc_now(),
        dry_run=dry_run,
    )
    if as_json:
        _print_json(done.summary())
    else:
        _print(done.text())


@app.command()
def ticket(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="A folder of results, or latest.")
    ] = "latest",
    results: Results = DEFAULT_RESULTS,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("ticket.zip"),
    cell: Annotated[
        list[str] | None,
        typer.Option("--cell", help="Glob over cell ids whose jobs go along; repeatable."),
    ] = None,
    hide: Annotated[
        list[str] | None,
        typer.Option("--hide", help="A text that must not be in it; repeatable."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Evaluation images that its jobs work on.")
    ] = 16,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave images and their names out.")
    ] = False,
    no_weights: Annotated[
        bool, typer.Option("--no-weights", help="Put random weights in place of the network's.")
    ] = False,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Leave plugins out, and the jobs that need them.")
    ] = False,
) -> None:
    """Write a zip to attach to a support ticket: report, facts, cells to run again; no names."""
    from runner.ticket.making import Wish, make

    wish = Wish(
        cells=cell or (),
        hide=hide or (),
        images=images,
        no_images=no_images,
        no_weights=no_weights,
        no_plugins=no_plugins,
    )
    _print(make(name, results, output, wish).text())


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="TICKET.zip")],
    rerun: Annotated[
        str | None, typer.Option("--rerun", metavar="CELL", help="Run this cell again, here.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network.")] = False,
) -> None:
    """Check that a ticket is whole; with --rerun, say whether a cell gives the same here."""
    from runner.ticket.verifying import verify as verifying

    _print(verifying(bundle).text())
    if rerun is not None:
        from runner.ticket.again import rerun as running

        done = running(bundle, rerun, offline=offline)
        _print(done.text())
        raise typer.Exit(done.exit_code())


@app.command()
def init(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx")],
    output: Annotated[Path, typer.Option("--output", "-o")] = DEFAULT_MATRIX,
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
) -> None:
    """Write a commented matrix.yaml for your own network, heads read from it."""
    from runner import session

    _print(session.init(model, output, force=force))


@app.command()
def catalog(
    for_gpu: Annotated[
        str | None, typer.Option("--for-gpu", help="What runs on it: T4, 'RTX 4090', 8.6.")
    ] = None,
    driver: Annotated[
        str | None, typer.Option("--driver", help="With this driver, such as 535.104.05.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List NVIDIA's TensorRT containers, and which of them run on a GPU with a driver."""
    from runner.commands.catalog import listing

    found = listing(for_gpu, driver)
    if as_json:
        _print_json(found.summary())
    else:
        _print(found.text())


@app.command()
def doctor(config: Matrix = DEFAULT_MATRIX, as_json: AsJson = False) -> None:
    """Say what this machine offers, what of matrix.yaml can run on it, and what to do."""
    from runner.commands.doctor import examine

    found = examine(config)
    if as_json:
        _print_json(found.summary())
    else:
        _print(found.text())
    raise typer.Exit(found.exit_code())


app.command()(migrate)


@app.command()
def schema() -> None:
    """Print the JSON schema of matrix.yaml, for editors."""
    from runner import session

    _print(session.schema_text().rstrip("\n"))


def _print_json(value: Any) -> None:
    _print(json.dumps(value, indent=1, allow_nan=False))


def _print(text: str) -> None:
    """Writes to stdout; where its reader left (`| head`), nothing more can be told to it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Or Python would write what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Runs the command line; the only place that turns an error into an exit code."""
    # A stopped `docker stop` or CI job gets the same orderly end as ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        code = app(standalone_mode=False)  # turns KeyboardInterrupt into its exit code
    except TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        code = ExitCode.BAD_CONFIG
    except RunnerError as error:
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        code = error.exit_code
    except Exception:  # noqa: BLE001 - whatever nobody expected is a bug; the boundary tells it so
        traceback.print_exc()
        print("this is a bug in trt-matrix: report it with the lines above", file=sys.stderr)
        code = ExitCode.BUG
    if code == ExitCode.INTERRUPTED:
        print("interrupted: what ended is kept; run again to go on", file=sys.stderr)
    sys.exit(int(code or 0))


def _interrupt() -> None:
    raise KeyboardInterrupt
