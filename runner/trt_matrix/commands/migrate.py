"""`trt-matrix migrate`: its arguments, and which way they mean."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trt_matrix.commands.console import chosen
from trt_matrix.core.tables.forms import ReadTable, TableForm
from trt_matrix.core.tables.trt_cache import ALGORITHMS, Header
from trt_matrix.errors import ConfigError

if TYPE_CHECKING:
    from trt_matrix.commands.migration.migrating import MigrationWish

QDQ, CACHE = "qdq", "cache"
VERSION = re.compile(r"(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2}))?(?:\.\d+)*", re.ASCII)
NO_CALIBRATORS = 11
"""From this TensorRT on there are none."""


def migrate(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="A calibration table in any form; with --to cache a Q/DQ network, or a table whose ranges are "
            "made equal across resizings.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    to: Annotated[
        str, typer.Option("--to", help="qdq: a Q/DQ network. cache: TensorRT's calibration cache.")
    ] = QDQ,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The float network; default: the one in matrix.yaml."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="matrix.yaml: heads, images, preprocessing."),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option("--map", help="YAML or JSON: name in the table: name in the network."),
    ] = None,
    unified_scales: Annotated[
        bool,
        typer.Option(
            "--unified-scales",
            help="Give concatenated or added tensors one scale: no requantising.",
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="NODE", help="Keep this node in float; repeatable."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="IMAGES",
            help="Compare on these images: a folder (preprocessed as matrix.yaml says) or a .npy.",
        ),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not compare on the images of matrix.yaml.")
    ] = False,
    images: Annotated[
        int, typer.Option("--images", min=1, max=100_000, help="Compare on at most this many.")
    ] = 64,
    trt: Annotated[
        str | None,
        typer.Option(
            "--trt",
            metavar="VERSION",
            help="Version of TensorRT that will read the cache; default: the one in TABLE's header.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            help=f"Kind of calibrator for the cache's header; default: the one in TABLE's header, or {ALGORITHMS[1]}.",
        ),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Write the cache even if it must leave tensors out."),
    ] = False,
    network: Annotated[
        Path | None,
        typer.Option(
            "--float-network", metavar="OUT.onnx", help="Also write the cache's float network."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Move a proven calibration cache to a Q/DQ network, as TensorRT 11 needs, or back."""
    from trt_matrix.commands.migration import equalising, files, migrating, told

    if to not in (QDQ, CACHE):
        raise ConfigError("--to", [f"{to!r:.40} is neither {QDQ} nor {CACHE}"])
    read = files.table_of(table) if to == CACHE else None
    wish = migrating.MigrationWish(
        table=table,
        output=output,
        model=model,
        config=config,
        names=names,
        force=force,
        check=check,
        no_check=no_check,
        images=images,
        unified_scales=unified_scales,
        exclude=exclude or (),
        header=_header(trt, algorithm, read) if read else None,
        partial=partial,
        network=network,
    )
    _refuse_others(wish, to)
    if read and read.form is not TableForm.NETWORK:
        _refuse_of_tables(wish)
    with chosen(quiet=quiet, as_json=as_json) as progress:
        if read is None:
            done = migrating.migrate_to_qdq(wish, progress.stage)
            text, summary = told.qdq_text(done), told.qdq_summary(done)
        elif read.form is not TableForm.NETWORK:
            equal = equalising.equalised(wish, progress.stage)
            text, summary = equal.text(), equal.summary()
        else:
            cache = migrating.migrate_to_cache(wish, progress.stage)
            text, summary = told.cache_text(cache), told.cache_summary(cache)
    typer.echo(json.dumps(summary, indent=1, allow_nan=False) if as_json else text)


def _header(trt: str | None, algorithm: str | None, table: ReadTable) -> Header:
    """Returns the header of the cache: what is asked for, else what the table says of its own.

    Raises:
        ConfigError: neither says it, or TensorRT reads no such cache.
    """
    problems = []
    stated, known = table.header, table.provenance.algorithm
    if algorithm is None:
        # The tool's own tables remember the calibrator whose cache they were read from.
        algorithm = stated.algorithm if stated else known if known in ALGORITHMS else ALGORITHMS[1]
        if algorithm not in ALGORITHMS:
            problems.append(
                f"its header names the calibrator {algorithm!r:.40}, which TensorRT has not: say --algorithm, one of "
                f"{', '.join(ALGORITHMS)}"
            )
    elif algorithm not in ALGORITHMS:
        problems.append(f"--algorithm {algorithm!r:.40} is none of {', '.join(ALGORITHMS)}")
    match_ = VERSION.fullmatch(trt or "")
    version = stated.version if stated else None
    if match_:
        version = int(match_[1]), int(match_[2]), int(match_[3] or 0)
    if trt is not None and match_ is None:
        problems.append(f"--trt {trt!r:.40} is no version such as 8.6.1")
    elif version is None:
        problems.append(
            "--trt is missing, and no header says it: TensorRT refuses caches of another version, so say 8.6.1"
        )
    elif version[0] >= NO_CALIBRATORS:
        called = trt or ".".join(map(str, version))
        problems.append(
            f"TensorRT {called} has no calibrators, and reads no cache: give it the network"
        )
    if problems or version is None:
        raise ConfigError(f"--to {CACHE}", problems)
    return Header(version=version, algorithm=algorithm)


def _refuse_of_tables(wish: "MigrationWish") -> None:
    """Raises ConfigError where an option is given that is of networks: of a table it would do nothing."""
    problems = []
    if wish.partial:
        problems.append(
            "--partial is of Q/DQ networks: of a table every scale that can be one is written, and the others are "
            "told; leave it out"
        )
    if wish.network:
        problems.append(
            "--float-network is of Q/DQ networks: a table holds no network, and the cache is of the float one that "
            "--model or matrix.yaml names; leave it out"
        )
    if problems:
        raise ConfigError(f"--to {CACHE}, of a table", problems)


def _refuse_others(wish: "MigrationWish", to: str) -> None:
    """Raises ConfigError where an option of the other way is given: it would do nothing."""
    mine: Mapping[str, Mapping[str, object]] = {
        QDQ: {"--partial": wish.partial, "--float-network": wish.network},
        CACHE: {
            "--unified-scales": wish.unified_scales,
            "--exclude": wish.exclude,
            "--check": wish.check,
        },
    }
    given = [name for name, value in mine[to].items() if value]
    if wish.no_check and wish.check:
        given.append("--no-check with --check")
    if given:
        raise ConfigError(f"--to {to}", [f"{', '.join(given)} has no meaning there"])
