"""The default matrix as a user runs it: cold, warm, unchanged; and what of it is outside engines.

cold        empty package cache, no environment made, no result known (downloads included)
warm        packages in the cache, environments made, no result known
unchanged   nothing to do
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def timed(
    results: Path, cache: Path, packages: Path, select: list[str]
) -> tuple[float, float, float]:
    """Runs the matrix; returns seconds of the command, inside engines, and making environments."""
    command = [
        sys.executable,
        "-m",
        "trt_matrix",
        "run",
        "--quiet",
        "--json",
        "--results",
        str(results),
    ]
    for pattern in select:
        command += ["--select", pattern]
    # As users have it: without bytecode, reading our own sources takes longer than all the rest.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"TRT_MATRIX_CACHE": str(cache), "UV_CACHE_DIR": str(packages)}
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    wall = time.perf_counter() - started
    seconds = json.loads(done.stdout)["seconds"]
    return wall, float(seconds["engines"]), float(seconds["environments"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one version only")
    options = parser.parse_args(arguments)
    select = ["ort-1.32*"] if options.quick else []
    print("| run | wall s | inside engines s | outside | making environments s | wanted |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name, results, wanted in (
            ("cold", "first", "under 360 s, outside under 15 %"),
            ("warm", "second", "under 180 s, outside under 15 %"),
            ("unchanged", "second", "under 3 s"),
        ):
            wall, engines, making = timed(base / results, base / "cache", base / "packages", select)
            outside = f"{100 * (wall - engines) / wall:.1f} %" if engines else ""
            print(
                f"| {name} | {wall:.1f} | {engines:.1f} | {outside} | {making:.1f} | {wanted} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
