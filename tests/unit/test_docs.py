"""Documents: every link, anchor and named page is there, and docs/README.md leads to every page."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.programs import ran

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MENTION = re.compile(r"(?<![\w/.-])docs/[\w/-]+\.(?:md|png|svg)\b")


def tracked() -> list[str]:
    told = ran("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT)
    return sorted({name for name in told.stdout.splitlines() if (ROOT / name).is_file()})


FILES = tracked()
PAGES = [name for name in FILES if name.endswith(".md")]


def anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub spells them."""
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return made


def broken(page: str, text: str, read: dict[str, str]) -> Iterator[str]:
    """Yields the relative links of a page that lead nowhere; `read` has the texts of all pages by name."""
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        name = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        if name not in read and not (name in FILES or any(f.startswith(f"{name}/") for f in FILES)):
            yield f"{page}: {target}: no such file"
        elif anchor and anchor not in anchors(read.get(name, "")):
            yield f"{page}: {target}: no such heading"


def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_text("utf-8") for name in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_anchor_leads_somewhere(page: str) -> None:
    read = texts()
    assert list(broken(page, read[page], read)) == []


def test_what_leads_nowhere_is_found() -> None:
    read = {"pages/a.md": "# One `two`, three\n\n```\n# none\n```\n", "pages/b.md": ""}
    page = "[1](a.md) [2](a.md#one-two-three) [3](c.md) ![4](a.md#none) [5](#x) [6](../d.md) [7](https://x/y.md)"
    assert [told.split(": ")[1] for told in broken("pages/b.md", page, read)] == [
        "c.md", "a.md#none", "#x", "../d.md",
    ]  # fmt: skip


def test_pages_named_in_code_messages_and_settings_exist() -> None:
    missing = []
    for name in FILES:
        if name == "containers/catalog.yaml" or Path(name).suffix in {".png", ".jpg", ".onnx"}:
            continue  # the catalogue's addresses are other projects'
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        missing += [f"{name}: {page}" for page in MENTION.findall(text) if page not in FILES]
    assert missing == []


def test_the_index_and_the_glossary_lead_to_what_there_is() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {name for name in PAGES if name.startswith("docs/") and name != "docs/README.md"}
    assert {f"docs/{target}" for target in LINK.findall(index)} - {"docs/../README.md"} == pages
    assert {name.split("/")[1] for name in pages} == {"start", "how-to", "concepts", "reference"}
    words = re.findall(r"^\*\*(.+?)\.\*\*", (ROOT / "docs/reference/glossary.md").read_text(), re.M)
    assert words == sorted(words, key=str.lower)
    assert len(words) > 20
