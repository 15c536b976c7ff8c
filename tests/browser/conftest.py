"""A real Chromium: the one of this machine, so that nothing is downloaded.

Where there is none these tests are skipped and say so; with TRT_MATRIX_REQUIRE_BROWSER=1, as in
.ci/run, they fail instead.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from shown_pages import Open

from runner.core.judgement import Judgement
from runner.report.html import render

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1440, 900


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        problem = f"none of {', '.join(NAMES)} is on PATH: install the package `chromium`"
        if os.environ.get("TRT_MATRIX_REQUIRE_BROWSER"):
            pytest.fail(f"TRT_MATRIX_REQUIRE_BROWSER is set, but {problem}")
        pytest.skip(problem)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a judgement's page from its file; it fails the test that says or asks anything."""
    contexts: list[BrowserContext] = []
    told: list[str] = []

    def page(made: Judgement | str, width: int = WIDTH, fragment: str = "", **context: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(made if isinstance(made, str) else render(made), "utf-8")
        contexts.append(
            chromium.new_context(viewport={"width": width, "height": HEIGHT}, **context)
        )
        shown = contexts[-1].new_page()
        shown.on("console", lambda message: told.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: told.append(f"error: {error}"))
        shown.on("request", lambda request: told.append(f"request: {request.url}"))
        shown.goto(f"{file.as_uri()}{fragment}")
        # The page itself, and what it carries within.
        ours = (f"request: {file.as_uri()}", "request: data:")
        told[:] = [one for one in told if not one.startswith(ours)]
        shown.told = told  # type: ignore[attr-defined]
        return shown

    yield page
    for one in contexts:
        one.close()
