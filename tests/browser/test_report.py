"""The page in a real browser: it renders whole, quietly, readably, and asks nobody for anything.

The report runs no script itself, so a probe page of the same origin holds it in a frame of a given
width, measures the layout from outside and writes what it found into its own DOM.
"""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from runner.core.judgement import Judgement
from runner.plan import Status
from runner.report.html import render
from tests.unit.judgements import FP32, OWN, SHARED, cell_result, fp32_head, head, judgement, whole
from tests.unit.pages import assert_inert, parse

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: install the package `chromium` to run these"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=5000",
)
DARK = "--blink-settings=preferredColorScheme=0"

PROBE = """<!DOCTYPE html><meta charset="utf-8"><iframe src="report.html" width="WIDTH" height="900"></iframe>
<pre id="found"></pre><script>
const frame = document.querySelector("iframe");
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = text => text.match(/[\\d.]+/g).map(Number);
function ground(element) {
  for (let one = element; one; one = one.parentElement) {
    const color = numbers(frame.contentWindow.getComputedStyle(one).backgroundColor);
    if (color.length === 3) return color;
  }
  return [255, 255, 255];
}
function contrast(element) {
  const ink = luminance(numbers(frame.contentWindow.getComputedStyle(element).color));
  const back = luminance(ground(element));
  return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
}
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const texts = [...page.body.querySelectorAll("*")].filter(one => one.tagName !== "SCRIPT" &&
    !one.closest("svg") && [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const worst = texts.map(one => [contrast(one), one.className, one.textContent.slice(0, 40)])
    .sort((a, b) => a[0] - b[0])[0];
  const bars = [...page.querySelectorAll("#budget td.chart rect")].map(one => one.getBoundingClientRect());
  document.getElementById("found").textContent = JSON.stringify({
    viewport: root.clientWidth, content: root.scrollWidth, worst,
    tallest_row: Math.max(0, ...[...page.querySelectorAll("tr")].map(one => one.offsetHeight)),
    styled: frame.contentWindow.getComputedStyle(page.querySelector("h2")).fontWeight,
    engine: [...page.querySelectorAll("#budget td.chart rect.engine")].map(one => one.getBoundingClientRect().width),
    drawn: bars.filter(one => one.width > 0 && one.height > 0).length,
    scrolling: [...page.querySelectorAll(".scroll")].filter(one => one.scrollWidth > one.clientWidth).length,
  });
};
</script>"""


class Seen(NamedTuple):
    dom: str
    console: tuple[str, ...]
    """What the page, or the browser about the page, said on the console."""


def browse(address: str, profile: Path, *more: str) -> Seen:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *more, "--dump-dom", address]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return Seen(ran.stdout, tuple(line for line in ran.stderr.splitlines() if ":CONSOLE" in line))


class Site:
    """A folder served on this machine; it is every host's proxy too, so no request goes unseen."""

    def __init__(self, folder: Path, port: int, asked: Sequence[str]) -> None:
        self.folder = folder
        self.proxy = f"--proxy-server=http://127.0.0.1:{port}"
        self.asked = asked
        self.root = f"http://127.0.0.1:{port}"

    def measure(self, made: Judgement, width: int, *more: str) -> dict[str, Any]:
        (self.folder / "report.html").write_text(render(made), "utf-8")
        (self.folder / "probe.html").write_text(PROBE.replace("WIDTH", str(width)), "utf-8")
        seen = browse(f"{self.root}/probe.html", self.folder / "profile", *more)
        assert seen.console == ()
        dom = seen.dom.split('<pre id="found">')[1].split("</pre>")[0]
        found: dict[str, Any] = json.loads(parse(f"<p>{dom}</p>").raw)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(tmp_path, server.server_address[1], asked)
        server.shutdown()
        thread.join()


def hostile() -> Judgement:
    """Long and breaking-out text wherever text comes from outside, forty versions, missing cells."""
    evil = "</script></style><script>alert(1)</script><img src=http://sentinel.invalid/x onerror=alert(1)>"
    long = "x" * 10_000
    cells = [
        cell_result(
            f"ort-1.{minor}-{long if minor == 7 else evil if minor == 8 else 0}",
            pass_,
            [
                fp32_head(name)
                if pass_ is FP32
                else head(name, 0.003 * (minor + 1), float_layers=(evil, long))
                for name in (evil, long)
            ],
            facts={evil: {long: [evil, long, "\u202e"]}},
        )
        for minor in range(40)
        for pass_ in (FP32, SHARED, OWN)
        if minor % 5 or pass_ is not OWN
    ]
    cells.append(
        cell_result(evil, SHARED, status=Status.CRASHED, reason=long, log_tail=f"{evil}\n{long}")
    )
    cells.append(cell_result(long, SHARED, status=Status.UNAVAILABLE, reason=evil))
    return judgement(
        cells, heads=(evil, long), name=evil, baseline=long, sentences={evil: long, long: evil}
    )


@pytest.mark.parametrize("made", [whole(), hostile()], ids=["ordinary", "hostile"])
def test_the_page_renders_whole_says_nothing_and_asks_nobody(site: Site, made: Judgement) -> None:
    page = site.folder / "report.html"
    page.write_text(render(made), "utf-8")
    seen = browse(page.as_uri(), site.folder / "profile", site.proxy)
    assert seen.console == ()
    assert not [address for address in site.asked if "sentinel" in address]
    document = parse(seen.dom)
    assert_inert(document)
    for section in ("heads", "matrix", "budget", "latency", "integers", "metrics", "provenance"):
        assert document.by_id(section).tag == "section"
    assert document.all("footer")


def test_an_injected_element_would_have_been_noticed(site: Site) -> None:
    """The control of the test above: its detectors see a page that does break the rules."""
    page = site.folder / "report.html"
    broken = '<p style="color: red"></p><script>alert(1)</script>'
    page.write_text(render(whole()).replace("</main>", f"{broken}</main>"), "utf-8")
    console = browse(page.as_uri(), site.folder / "profile", site.proxy).console
    assert sum("Content Security Policy" in line for line in console) == 2
    page.write_text('<img src="http://sentinel.invalid/x">', "utf-8")
    browse(page.as_uri(), site.folder / "profile", site.proxy)
    assert [address for address in site.asked if "sentinel" in address]


@pytest.mark.parametrize(
    ("width", "colours"), [(1440, ()), (390, (DARK,))], ids=["wide-light", "narrow-dark"]
)
def test_it_is_readable_wide_and_narrow_light_and_dark(
    site: Site, width: int, colours: tuple[str, ...]
) -> None:
    found = site.measure(whole(), width, *colours)
    assert found["viewport"] == width
    assert found["content"] <= width  # wide tables scroll in their own container
    assert found["scrolling"] > 0 or width == 1440
    assert found["worst"][0] >= 4.5, f"WCAG AA contrast: {found['worst']}"
    assert found["styled"] != "400"
    assert found["drawn"] > 100
    assert max(found["engine"]) > 4 * min(found["engine"])  # the regression is a step


@pytest.mark.parametrize("width", [1440, 390])
def test_hostile_text_does_not_break_the_layout(site: Site, width: int) -> None:
    found = site.measure(hostile(), width)
    assert found["content"] <= width
    assert found["tallest_row"] < 1200


def test_colour_schemes_differ_on_screen(site: Site) -> None:
    page = site.folder / "report.html"
    page.write_text(render(whole()), "utf-8")
    corners = []
    for more in ((), (DARK,)):
        shot = site.folder / "shot.png"
        browse(
            page.as_uri(),
            site.folder / "profile",
            *more,
            f"--screenshot={shot}",
            "--window-size=800,600",
        )
        with Image.open(shot) as image:
            assert image.size == (800, 600)
            corners.append(image.convert("L").getpixel((2, 2)))
            assert len(image.convert("L").getcolors() or ()) > 20  # text was drawn
    light, dark = corners
    assert light > 230
    assert dark < 40
