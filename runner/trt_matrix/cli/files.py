"""Commands on a network, a table or dumped outputs, and on what this machine has.

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
    Offline,
    Quiet,
    Results,
    experiment,
)
from trt_matrix.cli.output import end, print_error, print_json, print_text, tell
from trt_matrix.commands.console import chosen
from trt_matrix.commands.migrate import migrate


@app.command()
def init(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx")],
    output: Annotated[Path, typer.Option("--output", "-o")] = DEFAULT_MATRIX,
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="A folder of images or .npy files, of which every second one calibrates; or a folder with the "
            "folders calibration and evaluation.",
        ),
    ] = None,
    versions: Annotated[
        str | None,
        typer.Option("--versions", metavar="1.26.0,1.32.0", help="Versions of ONNX Runtime."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, max=100, help="Repeats of every cell; they show the noise.")
    ] = 3,
    run: Annotated[
        bool, typer.Option("--run", help="Run it at once, without edits, for a first report.")
    ] = False,
    results: Results = DEFAULT_RESULTS,
    offline: Annotated[
        bool, typer.Option("--offline", help="With --run: download nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented matrix.yaml for your own network, with the heads read from it."""
    from trt_matrix.commands import session
    from trt_matrix.commands.init import VERSIONS

    if run and images is None:
        raise typer.BadParameter("--run needs --images FOLDER: what is to be fed")
    text = session.init(
        model,
        output,
        force=force,
        images=images,
        versions=[version.strip() for version in versions.split(",")] if versions else VERSIONS,
        repeats=repeats,
        runs=run,
    )
    if not run:
        print_text(text)
        return
    print_error(text)
    with chosen(quiet=quiet, as_json=False) as progress:
        done = session.run_experiment(
            output, results, select=[], offline=offline, progress=progress
        )
    end(done, as_json=False)


@app.command()
def check(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The network.")],
    table: Annotated[
        Path | None,
        typer.Option("--table", help="A calibration table in any form, for the Q/DQ form."),
    ] = None,
    version: Annotated[
        list[str] | None,
        typer.Option(
            "--version", help="Version of TensorRT-RTX; repeatable. Default: the newest known."
        ),
    ] = None,
    for_gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--for-gpu", help="GPU to build for: T4, RTX 4090, 8.6; repeatable. Default: 8.6."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="matrix.yaml from which to take model.shapes and model.constants.",
        ),
    ] = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="Report every node.")] = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Try a network in float, float16 and Q/DQ in NVIDIA's parser and builder; needs no GPU."""
    from trt_matrix.commands import check as checking

    done = checking.check(
        model,
        table=table,
        versions=version or [checking.NEWEST],
        capabilities=checking.capabilities(for_gpu or []),
        offline=offline,
        config=config,
    )
    if as_json:
        print_json(done.summary())
    else:
        print_text(done.text(every_node=nodes))
    raise typer.Exit(done.exit_code())


app.command()(migrate)


@app.command()
def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="A file or folder of dumped outputs, or a calibration table."
        ),
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="The reference, in the same form.")],
    shape: Annotated[
        str | None,
        typer.Option(metavar="N,C,H,W", help="Shape of raw files, channels first; one may be -1."),
    ] = None,
    byte_order: Annotated[
        str | None,
        typer.Option(
            metavar="ORDER", help="Byte order of raw files: little (default) or big; or A's,B's."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Type of raw files: float32 (default), float16, float64; or A's,B's.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(metavar="LAYOUT", help="Layout: nchw (default) or nhwc; or A's,B's."),
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Count elements with |d| above this.")] = 1e-3,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            "-s",
            help="Only files of a folder whose name matches this glob; repeatable.",
        ),
    ] = None,
    off_by_one: Annotated[
        bool,
        typer.Option(
            "--off-by-one",
            help="Files may be longer than --shape: also show what a loop that runs to i <= n reads.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare dumped outputs, two files or folders: raw, .npy, .npz, Polygraphy's or trtexec's JSON; or two tables.

    Needs no matrix.yaml.
    """
    from trt_matrix.commands.compare.comparing import compare_paths
    from trt_matrix.commands.compare.options import formats
    from trt_matrix.commands.compare.tables import compare_tables

    of_arrays = {
        "--shape": shape, "--byte-order": byte_order, "--dtype": dtype, "--layout": layout,
        "--select": select, "--off-by-one": off_by_one,
    }  # fmt: skip
    tables = compare_tables(a, b, [name for name, value in of_arrays.items() if value])
    if tables is not None:
        tell(tables, as_json=as_json)
        return
    forms = formats(
        shape=shape, byte_order=byte_order, dtype=dtype, layout=layout, longer=off_by_one
    )
    with chosen(quiet=quiet, as_json=as_json) as progress:
        done = compare_paths(
            a, b, forms, epsilon=epsilon, select=select or [], stage=progress.stage
        )
    tell(done, as_json=as_json)


@app.command()
def catalog(
    for_gpu: Annotated[
        str | None,
        typer.Option("--for-gpu", help="Say what runs on this GPU: T4, 'RTX 4090', 8.6."),
    ] = None,
    driver: Annotated[
        str | None,
        typer.Option("--driver", help="Say what runs with this driver, such as 535.104.05."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List NVIDIA's TensorRT containers, and which of them run on a GPU with a driver."""
    from trt_matrix.commands.catalog import listing

    tell(listing(for_gpu, driver), as_json=as_json)


@app.command()
def doctor(matrix: Matrix = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show what this machine offers, what in matrix.yaml can run on it, and what to do about the rest."""
    from trt_matrix.commands.doctor import examine

    report = examine(experiment(matrix, config))
    tell(report, as_json=as_json)
    raise typer.Exit(report.exit_code())


@app.command()
def schema(
    of: Annotated[
        str,
        typer.Argument(
            metavar="[matrix, judgement, manifest or record]", help="The file that it describes."
        ),
    ] = "matrix",
) -> None:
    """Print the JSON schema of matrix.yaml (for editors) or of a file that a run writes (for programs)."""
    from trt_matrix.config import matrix
    from trt_matrix.core.manifest import Manifest
    from trt_matrix.core.records import Record
    from trt_matrix.judging import judgement_file
    from trt_matrix.store.results import json_text

    known = {
        "matrix": matrix.schema,
        "judgement": judgement_file.schema,
        "manifest": Manifest.model_json_schema,
        "record": Record.model_json_schema,
    }
    if of not in known:
        raise typer.BadParameter(f"{of}: there is a schema of {', '.join(known)}")
    print_text(json_text(known[of]()).rstrip("\n"))
