"""Per-image sums: ours beside reading the same files, and beside Polygraphy on the same arrays.

python -m benchmarks.reductions [--quick]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import machine
from trt_matrix.containers.job import reductions

HEADS = {"large": (255, 20, 20), "medium": (255, 40, 40), "small": (255, 80, 80)}

# What a process holds that only compares; run with the folder as its argument.
OURS = """
import sys
import numpy as np
from job import reductions
for head in sys.argv[2:]:
    y, r = (np.load("%s/%s-%s.npy" % (sys.argv[1], head, side), mmap_mode="r") for side in "yr")
    reductions.compare(y, r)
"""

# Runs in an environment of its own. Prints {"version", "default", "same", "norms"}: seconds an
# image by default, with the statistics that both know, and with those of them that need no sorting.
POLYGRAPHY = """
import json, sys, time
import numpy as np
import polygraphy
from polygraphy.comparator import Comparator, IterationResult, RunResults
from polygraphy.comparator import compare
from polygraphy.logger import G_LOGGER

folder, images, heads = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
run = RunResults()
for side in "yr":
    arrays = {head: np.load("%s/%s-%s.npy" % (folder, head, side), mmap_mode="r") for head in heads}
    run.append((side, [
        IterationResult({head: np.array(array[i : i + 1]) for head, array in arrays.items()})
        for i in range(images)
    ]))
norms = [compare.L2CompareFunc(), compare.CosineSimilarityCompareFunc(), compare.SnrCompareFunc()]
same = [compare.SimpleCompareFunc(check_error_stat="max")] + norms

def seconds(functions, severity):
    with G_LOGGER.verbosity(severity):
        start = time.perf_counter()
        Comparator.compare_accuracy(run, compare_func=functions)
        return (time.perf_counter() - start) / images

median = lambda values: sorted(values)[1]
result = {
    "version": polygraphy.__version__,
    "default": median(seconds(None, G_LOGGER.INFO) for _ in range(3)),
    "same": median(seconds(same, G_LOGGER.CRITICAL) for _ in range(3)),
    "norms": median(seconds(norms, G_LOGGER.CRITICAL) for _ in range(3)),
}
print("\\n" + json.dumps(result))
"""


def write_arrays(folder: Path, images: int) -> int:
    """Writes HEAD-y.npy and HEAD-r.npy, float32 (images, ...); returns their bytes."""
    rng = np.random.default_rng(0)
    total = 0
    for head, shape in HEADS.items():
        r = rng.standard_normal((images, *shape), dtype=np.float32)
        y = r + np.float32(0.05) * rng.standard_normal(r.shape, dtype=np.float32)
        for side, array in (("y", y), ("r", r)):
            np.save(folder / f"{head}-{side}.npy", array)
            total += array.nbytes
    return total


def read(folder: Path) -> None:
    """Reads every file into fresh memory, two at a time."""
    for head in HEADS:
        pair = [np.load(folder / f"{head}-{side}.npy") for side in "yr"]
        del pair


def compare(folder: Path) -> None:
    for head in HEADS:
        y, r = (np.load(folder / f"{head}-{side}.npy", mmap_mode="r") for side in "yr")
        reductions.compare(y, r)


def polygraphy(folder: Path, images: int) -> tuple[dict[str, float], int]:
    """Returns seconds an image, and peak bytes, of Polygraphy in a fresh environment."""
    environment = folder / "polygraphy"
    python = environment / "bin" / "python"
    uv = [str(Path(sys.executable).with_name("uv"))]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    packages = ["polygraphy", "colored", f"numpy=={np.__version__}"]
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), *packages]
    subprocess.run(install, check=True)
    command = [str(python), "-c", POLYGRAPHY, str(folder), str(images), *HEADS]
    _, peak, output = machine.run(command)
    return json.loads(output.splitlines()[-1]), peak


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images: does it run at all?")
    quick = parser.parse_args(arguments).quick
    images, peer_images, repeats = (4, 2, 1) if quick else (100, 20, 5)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = write_arrays(folder, images)
        reading = machine.median_seconds(lambda: read(folder), repeats) / images
        ours = machine.median_seconds(lambda: compare(folder), repeats) / images
        command = [sys.executable, "-c", OURS, str(folder), *HEADS]
        _, our_peak, _ = machine.run(command, env=machine.environment_of_job())
        peer, peer_peak = polygraphy(folder, peer_images)

    def row(what: str, seconds: float, peak: int | None) -> tuple[str, ...]:
        rate = total / images / seconds / 1e9
        memory = "" if peak is None else f"{peak / 1e6:.0f}"
        return what, f"{1e3 * seconds:.2f}", f"{rate:.2f}", f"{seconds / ours:.2f}", memory

    version = peer["version"]
    rows = [
        row("job.reductions.compare, mapped files", ours, our_peak),
        row("np.load of the same files (page cache)", reading, None),
        row(f"Polygraphy {version}, default compare", peer["default"], peer_peak),
        row(f"Polygraphy {version}, mean, max, L2, cosine, SNR; log off", peer["same"], peer_peak),
        row(f"Polygraphy {version}, only L2, cosine, SNR; log off", peer["norms"], peer_peak),
    ]
    print("## Reductions\n")
    print(f"{machine.facts()}.")
    print(
        f"Heads 255x20x20, 255x40x40, 255x80x80; {images} images, {total / 1e6:.0f} MB in two sets; "
        f"medians of {repeats}. Polygraphy: {peer_images} images held in memory, medians of 3. "
        "Peak: anonymous memory of a process that does only this, interpreter and numpy included.\n"
    )
    print(machine.table(["", "ms/image", "GB/s", "times ours", "peak MB"], rows))


if __name__ == "__main__":
    main()
