"""`trt-matrix migrate`: its arguments, and which way they mean."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.console import chosen
from runner.core.tables.trt_cache import ALGORITHMS, Header
from runner.errors import ConfigError

if TYPE_CHECKING:
    from runner.migration.migrating import Wish

QDQ, CACHE = "qdq", "cache"
VERSION = re.compile(r"(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2}))?(?:\.\d+)*", re.ASCII)
NO_CALIBRATORS = 11
"""From this TensorRT on there are none."""


def migrate(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="A calibration table in any form; with --to cache a Q/DQ network."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="What to write.")],
    to: Annotated[str, typer.Option("--to", help="qdq: a Q/DQ network. cache: TensorRT's.")] = QDQ,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The float network; that of matrix.yaml else."),
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
            "--unified-scales", help="What is concatenated or added has one scale: no requantising."
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="NODE", help="Keep this node float; repeatable."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="IMAGES",
            help="Compare on these: a folder (matrix.yaml says how they are preprocessed) or a .npy.",
        ),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not compare on the images of matrix.yaml.")
    ] = False,
    images: Annotated[
        int, typer.Option("--images", min=1, max=100_000, help="Compare on so many at most.")
    ] = 64,
    trt: Annotated[
        str | None,
        typer.Option("--trt", metavar="VERSION", help="Of the TensorRT that will read the cache."),
    ] = None,
    algorithm: Annotated[
        str, typer.Option("--algorithm", help="Of the cache's header: its calibrator's kind.")
    ] = ALGORITHMS[1],
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Write a cache without what no cache can say."),
    ] = False,
    network: Annotated[
        Path | None,
        typer.Option(
            "--float-network", metavar="OUT.onnx", help="Write the cache's float network, too."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The result only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Move a proven calibration cache to a Q/DQ network, as TensorRT 11 needs, or back."""
    from runner.migration import migrating, told

    wish = migrating.Wish(
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
        header=_header(trt, algorithm, to),
        partial=partial,
        network=network,
    )
    _refuse_others(wish, to)
    with chosen(quiet=quiet, as_json=as_json) as progress:
        if to == QDQ:
            done = migrating.migrate_to_qdq(wish, progress.stage)
            text, summary = told.qdq_text(done), told.qdq_summary(done)
        else:
            made = migrating.migrate_to_cache(wish, progress.stage)
            text, summary = told.cache_text(made), told.cache_summary(made)
    typer.echo(json.dumps(summary, indent=1, allow_nan=False) if as_json else text)


def _header(trt: str | None, algorithm: str, to: str) -> Header | None:
    if to == QDQ:
        return None
    if to != CACHE:
        where = "--to"
        raise ConfigError(where, [f"{to!r:.40} is neither {QDQ} nor {CACHE}"])
    problems = []
    if algorithm not in ALGORITHMS:
        problems.append(f"--algorithm {algorithm!r:.40} is none of {', '.join(ALGORITHMS)}")
    found = VERSION.fullmatch(trt or "")
    if trt is None:
        problems.append(
            "--trt is missing: TensorRT refuses caches of another version, so say 8.6.1"
        )
    elif found is None:
        problems.append(f"--trt {trt!r:.40} is no version such as 8.6.1")
    elif int(found[1]) >= NO_CALIBRATORS:
        problems.append(
            f"TensorRT {trt} has no calibrators, and reads no cache: give it the network"
        )
    if problems or found is None:
        where = f"--to {CACHE}"
        raise ConfigError(where, problems)
    return Header(version=(int(found[1]), int(found[2]), int(found[3] or 0)), algorithm=algorithm)


def _refuse_others(wish: "Wish", to: str) -> None:
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
        where = f"--to {to}"
        raise ConfigError(where, [f"{', '.join(given)} has no meaning there"])
