"""The page at size: how many bytes, how long to render, how soon a browser shows it.

The cells of the run recorded on an H200 (tests/data/h200), copied under other names with other errors
and latencies, and made-up boxes: a large matrix in shape, measured by nobody.
Usage: python -m benchmarks.report [--quick]
"""

import argparse
import gc
import json
import random
import re
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks import machine
from tests.unit import h200
from trt_matrix.core.boxes.matching import Changes
from trt_matrix.core.boxes.results import ALL, AveragePrecision, BoxErrors, BoxReport, CellBoxes
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.verdicts.gates import GateResult
from trt_matrix.report.facts import data

PASSES = 6
SIZES = ("small", "medium", "large")
REPORT = """
import resource, sys, time
from benchmarks.report import large
from trt_matrix.report.html import render
made = large(int(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
page = render(made)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, before / 1024)
open(sys.argv[2], "w").write(page)
"""


def large(environments: int) -> Judgement:
    """Returns 6 passes of so many environments, three heads each, with boxes."""
    recorded = h200.judged()
    mine = [result for result in recorded.cells if result.cell.environment.startswith("trt")]
    ok = [result for result in mine if result.status is Status.OK][:PASSES]
    chance = random.Random(0)
    names = [f"ngc-{18 + n // 12:02d}.{n % 12 + 1:02d}-py3" for n in range(environments)]
    cells = [_copy(result, name, names, chance) for name in names for result in ok]
    return replace(
        recorded,
        cells=tuple(cells),
        baseline=names[-1],
        boxes=BoxReport(
            heads=recorded.heads,
            shown_score=0.25,
            match_iou=0.5,
            sizes={"small": (0.0, 1024.0), "medium": (1024.0, 9216.0), "large": (9216.0, 1e10)},
            precision={ALL: _precision(0.8)},
        ),
    )


def _copy(result: CellResult, name: str, names: list[str], chance: random.Random) -> CellResult:
    factor = chance.uniform(0.9, 1.4)
    exact = result.cell.pass_.precision is not Precision.INT8
    cell = replace(result.cell, environment=name)
    same = [replace(cell, environment=other).id for other in names[:50] if other != name and exact]
    latency = result.latency and replace(
        result.latency,
        median_s=result.latency.median_s * factor,
        low_s=result.latency.low_s * factor,
    )
    boxes = _boxes(0.0 if exact else factor)
    heads = tuple(_head(head, factor, tuple(same), boxes) for head in result.heads)
    return replace(
        result,
        cell=cell,
        latency=latency,
        heads=heads,
        versions={**result.versions, "TensorRT": name.removeprefix("ngc-")},
        facts={**result.facts, "command": [name, *result.facts.get("command", ())]},
        boxes=CellBoxes(whole=boxes),
    )


def _head(head: HeadResult, factor: float, same: tuple[str, ...], boxes: BoxErrors) -> HeadResult:
    error = replace(
        head.error,
        nmse=(head.error.nmse or 0.0) * factor,
        sqnr_db=(head.error.sqnr_db or 0.0) - 10 * (factor - 1),
    )
    gates = (GateResult(name="sqnr_db", limit=18.0, value=error.sqnr_db, passed=True),)
    return replace(
        head,
        error=error,
        identical_to=same,
        boxes=boxes,
        gates=gates if head.gates else (),
    )


def _boxes(factor: float) -> BoxErrors:
    """Returns losses in proportion to `factor`; with 0 every box is where it was."""
    lost = 10.375 * factor
    changed = Changes(
        reference=240.5, test=240.5 - lost / 2, kept=240.5 - lost, lost=lost, faded=lost / 3,
        new=lost / 2, risen=lost / 4, mean_iou=1 - 0.1568 * factor,
        mean_score_change=-0.0123 * factor, mean_abs_score_change=0.0456 * factor,
    )  # fmt: skip
    names = (ALL, *SIZES)
    return BoxErrors(
        changes=dict.fromkeys(names, changed),
        precision=dict.fromkeys(names, _precision(0.8 - 0.1 * factor)),
        ap_drop=0.1 * factor,
        ap50_drop=0.01 * factor,
    )


def _precision(ap: float) -> AveragePrecision:
    return AveragePrecision(ap=ap, ap50=ap * 1.2, objects=722)


def parts(page: str) -> dict[str, int]:
    """Returns what of the page takes how many bytes."""
    found = {
        name: len(text.encode())
        for name, text in re.findall(
            r'(?s)<(?:section|details class="fold") id="([^"]+)"(.*?)(?=<section|<details class="fold"|</main>)',
            page,
        )
    }
    found["embedded JSON"] = len(re.findall(r'(?s)id="judgement">(.*?)</script>', page)[0].encode())
    found["all"] = len(page.encode())
    return found


def opening(page: Path, times: int) -> tuple[float, float] | None:
    """Returns the medians of DOMContentLoaded and of the first contentful paint, in seconds."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        seen = []
        for _ in range(times):
            shown = browser.new_page(viewport={"width": 1440, "height": 900})
            shown.goto(page.as_uri())
            shown.wait_for_function(
                "() => performance.getEntriesByType('paint').length > 1", polling=50
            )
            seen.append(
                shown.evaluate(
                    "[performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd,"
                    " performance.getEntriesByName('first-contentful-paint')[0].startTime]"
                )
            )
            shown.close()
        browser.close()
    return median(one[0] for one in seen) / 1e3, median(one[1] for one in seen) / 1e3


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, once")
    quick = parser.parse_args(arguments).quick
    print(f"{machine.facts()}.\n")
    rows = []
    for environments, wanted in (
        (50, "5 s, 2 MB, opens in 0.5 s"),
        (10_000 // PASSES + 1, "60 s, 1 GB, 10 MB, paints in 0.3 s, opens in 1 s"),
    ):
        count = 3 if quick else environments
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "report.html")
            _, _, told = machine.run([sys.executable, "-c", REPORT, str(count), str(page)])
            seconds, peak, _ = map(float, told.split())
            judgement = large(count)
            gc.collect()
            start = time.perf_counter()
            json.dumps(data(judgement))
            peer = time.perf_counter() - start
            text = page.read_text()
            shown = opening(page, 1 if quick else 3)
        if environments == 50:
            sizes = parts(text)
        rows.append(
            [
                f"{count * PASSES:,}", f"{seconds:.1f}", f"{seconds / peer:.1f}", f"{peak:.0f}",
                f"{len(text.encode()) / 1e6:.2f}",
                f"{shown[0]:.2f}" if shown else "no Chromium",
                f"{shown[1]:.2f}" if shown else "", wanted,
            ]
        )  # fmt: skip
    print(machine.table(
        ["cells", "rendered, s", "times json.dumps", "peak MB", "page MB", "DOM ready, s",
         "first paint, s", "wanted"],
        rows,
    ))  # fmt: skip
    print(
        "\nBytes of the first page, kB: "
        + ", ".join(f"{name} {size / 1e3:.0f}" for name, size in sizes.items())
        + "."
    )


if __name__ == "__main__":
    main()
