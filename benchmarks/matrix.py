"""The default matrix as a user runs it: cold, warm, unchanged; and the runner's own share of it.

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


def timed(results: Path, cache: Path, packages: Path, select: list[str]) -> tuple[float, float]:
    """Runs the matrix; returns wall seconds of the command and seconds inside engines."""
    command = [
        sys.executable,
        "-m",
        "runner",
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
    return wall, float(json.loads(done.stdout)["seconds"]["engines"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one version only")
    options = parser.parse_args(arguments)
    select = ["ort-1.32*"] if options.quick else []
    print("| run | wall s | inside engines s | the runner's own share | wanted |")
    print("| --- | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name, results, wanted in (
            ("cold", "first", "under 360 s"),
            ("warm", "second", "under 180 s, share under 15 %"),
            ("unchanged", "second", "under 3 s"),
        ):
            wall, engines = timed(base / results, base / "cache", base / "packages", select)
            share = f"{100 * (wall - engines) / wall:.1f} %" if engines else ""
            print(f"| {name} | {wall:.1f} | {engines:.1f} | {share} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
