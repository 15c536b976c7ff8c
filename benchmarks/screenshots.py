"""The pictures of the page that docs/ and README show: the demo's first screens, and the recorded H200 run's.

Usage: python -m benchmarks.screenshots results/latest/report.html
"""

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.unit import h200
from trt_matrix.report.html import render

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "report"
README = (1240, 1560)
"""Width and height of the two that README shows."""
SCREENS = ((390, 844), (1024, 768), (1440, 1000), (1920, 1080))
THEMES = ("light", "dark")
COLOURS = 256
"""Of a palette: what is seen is the same, and a third of the bytes."""


def shot(browser: Browser, page: Path, size: tuple[int, int], theme: str, to: Path) -> None:
    """Writes the first screen of a page."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
    )
    shown = context.new_page()
    shown.goto(page.absolute().as_uri())
    picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    context.close()
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        to, optimize=True
    )
    print(f"{to.relative_to(DOCS.parent)}: {to.stat().st_size // 1000} kB")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the demo's report.html")
    demo = parser.parse_args(arguments).page
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no Chromium is on PATH: install the package `chromium`")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        recorded = Path(folder, "h200.html")
        recorded.write_text(render(h200.judged()), "utf-8")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shot(browser, demo, README, "light", DOCS / "report.png")
        shot(browser, recorded, README, "light", DOCS / "report-h200.png")
        for size in SCREENS:
            for theme in THEMES:
                shot(browser, demo, size, theme, FOLDER / f"{size[0]}-{theme}.png")
        browser.close()


if __name__ == "__main__":
    main()
