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
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

from tests.browser.shown_pages import Open, html

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1440, 900
TIMEOUT_MS = 10_000
"""Until something that is waited for counts as not there."""


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
def told() -> Iterator[list[str]]:
    """What pages said and asked for, which a test fails for unless it takes note and clears it."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def opened(chromium: Browser, tmp_path: Path, told: list[str]) -> Iterator[Open]:
    """Opens a page from its file."""
    contexts: list[BrowserContext] = []

    def asked(url: str, own: str) -> None:
        if not url.startswith((own, "data:")):
            told.append(f"request: {url}")

    def dialog(one: Dialog) -> None:
        told.append(f"dialog: {one.message}")
        one.dismiss()

    def page(html: str, width: int = WIDTH, fragment: str = "", **context: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(html, "utf-8")
        context["viewport"] = {"width": width, "height": HEIGHT}
        contexts.append(chromium.new_context(**context))
        contexts[-1].set_default_timeout(TIMEOUT_MS)
        shown = contexts[-1].new_page()
        shown.on("console", lambda message: told.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: told.append(f"error: {error}"))
        shown.on("request", lambda request: asked(request.url, file.as_uri()))
        shown.on("dialog", dialog)
        shown.goto(f"{file.as_uri()}{fragment}")
        return shown

    yield page
    for context in contexts:
        context.close()


@pytest.fixture
def page(opened: Open) -> Page:
    return opened(html("ordinary"))
