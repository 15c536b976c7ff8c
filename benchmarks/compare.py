"""`trt-matrix compare` on two folders of raw files: its speed as a share of reading them, its memory.

python -m benchmarks.compare [--quick]
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import machine

HEADS = {"large": (255, 20, 20), "medium": (255, 40, 40), "small": (255, 80, 80)}
IMAGES = 16
"""A file holds so many, so that there are files of 6 to 104 MB."""

# The least that anybody must do: bring every byte into this process, two files at a time.
READING = """
import sys
from pathlib import Path
buffers = [bytearray(1 << 20), bytearray(1 << 20)]
for one in sorted(Path(sys.argv[1]).rglob("*.raw")):
    other = Path(sys.argv[2]) / one.relative_to(sys.argv[1])
    with one.open("rb", buffering=0) as a, other.open("rb", buffering=0) as b:
        while a.readinto(buffers[0]) and b.readinto(buffers[1]):
            pass
"""

COMMANDS = {
    "reading both, 1 MB at a time": [sys.executable, "-c", READING],
    "trt-matrix compare": [sys.executable, "-m", "trt_matrix", "compare", "--quiet"],
}


def write(a: Path, b: Path, size: int) -> int:
    """Writes HEAD-NUMBER.raw into both folders until they hold `size` bytes; returns their bytes."""
    rng = np.random.default_rng(0)
    arrays = []
    for head, shape in HEADS.items():
        r = rng.standard_normal((IMAGES, *shape), dtype=np.float32)
        y = r + np.float32(0.05) * rng.standard_normal(r.shape, dtype=np.float32)
        arrays.append((head, y, r))
    total = number = 0
    while total < size:
        for head, y, r in arrays:
            for folder, array in ((a, y), (b, r)):
                array.tofile(folder / f"{head}-{number:04d}.raw")
                total += array.nbytes
        number += 1
    return total


def measured(size: int, repeats: int) -> list[tuple[str, ...]]:
    """Returns the rows of two folders of `size` bytes together; they are gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, part) for part in ("a", "b", "small-a", "small-b")]
        for folder in folders:
            folder.mkdir()
        total = write(folders[0], folders[1], size)
        for folder in folders[2:]:
            (folder / "x.raw").write_bytes(bytes(4))
        runs = _in_turns([
            [*command, *map(str, pair)]
            for command in COMMANDS.values()
            for pair in (folders[:2], folders[2:])
        ], repeats)  # fmt: skip
    rows: list[tuple[str, ...]] = []
    least = 0.0
    for what, (seconds, peak), (start, _) in zip(COMMANDS, runs[::2], runs[1::2], strict=True):
        rate = total / (seconds - start)
        least = least or rate
        rows.append((
            what, f"{total / 1e9:.1f}", f"{seconds:.2f}", f"{start:.2f}", f"{rate / 1e9:.2f}",
            f"{100 * rate / least:.0f} %", f"{peak / 1e6:.0f}",
        ))  # fmt: skip
    return rows


def _in_turns(commands: list[list[str]], repeats: int) -> list[tuple[float, int]]:
    """Returns seconds and peak bytes of each command's run with the median time.

    In turns, so that what else the machine does slows all alike; the first turn fills the page cache.
    """
    turns = [[machine.run(command)[:2] for command in commands] for _ in range(repeats + 1)][1:]
    return [sorted(runs)[repeats // 2] for runs in zip(*turns, strict=True)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files: does it run at all?")
    quick = parser.parse_args(arguments).quick
    sizes, repeats = ((int(1e8),), 1) if quick else ((int(1e9), int(4e9)), 9)
    rows = [row for size in sizes for row in measured(size, repeats)]
    print(f"{machine.facts()}.")
    print(
        "Raw float32 files of three heads, both folders together, in the page cache; whole processes, "
        f"the median run of {repeats}. GB/s: without the start, which is the time for files of 4 bytes. "
        "Wanted: half the speed of reading, the same memory at every size. Peak: anonymous memory.\n"
    )
    columns = ["", "GB", "s", "start s", "GB/s", "of reading", "peak MB"]
    print(machine.table(columns, rows))


if __name__ == "__main__":
    main()
