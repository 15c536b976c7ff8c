"""Reads a page as a browser's parser would, far enough to hold its structure to account."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.resources import files

from trt_matrix.report.html import SCRIPTED

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    def walk(self) -> "list[Element]":
        elements = [self]
        for child in self.children:
            if isinstance(child, Element):
                elements += child.walk()
        return elements

    def all(self, tag: str) -> "list[Element]":
        return [element for element in self.walk() if element.tag == tag]

    def by_id(self, name: str) -> "Element":
        (found,) = [element for element in self.walk() if element.attributes.get("id") == name]
        return found

    @property
    def text(self) -> str:
        """All text below, white space collapsed, as a reader sees it."""
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)

    @property
    def classes(self) -> set[str]:
        return set((self.attributes.get("class") or "").split())


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute: {names}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(page: str) -> Element:
    """Returns the document; asserts that every element is closed in order."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == [parser.root], (
        f"left open: {[element.tag for element in parser.open[1:]]}"
    )
    return parser.root


def column_counts(table: Element) -> set[int]:
    """Returns the numbers of columns that the rows of a table fill, spans counted."""
    counts = set()
    for section in (element for element in table.walk() if element.tag in ("thead", "tbody")):
        spanning: list[tuple[int, int]] = []  # rows left, columns
        for row in section.all("tr"):
            cells = [child for child in row.children if isinstance(child, Element)]
            spans = [
                (int(cell.attributes.get("rowspan") or 1), int(cell.attributes.get("colspan") or 1))
                for cell in cells
            ]
            counts.add(sum(columns for _, columns in spans + spanning))
            spanning = [(rows - 1, columns) for rows, columns in spans + spanning if rows > 1]
        assert not spanning, "a rowspan reaches past its section"
    return counts


def script() -> str:
    """Returns the page's own script, from its files."""
    folder = files("trt_matrix.report") / "templates"
    return "\n".join((folder / name).read_text("utf-8") for name in ("report.js", "copy.js"))


def assert_inert(document: Element) -> None:
    """Nothing is executed, nothing is fetched, and no attribute was smuggled in."""
    for element in document.walk():
        for name in element.attributes:
            assert not name.startswith("on"), f"{element.tag} has {name}"
            assert name not in ("style", "src", "srcset", "action", "formaction", "xlink:href")
        assert element.tag not in (
            "img",
            "iframe",
            "object",
            "embed",
            "link",
            "base",
            "form",
            "b",
            "i",
        )
    first, data, own = document.all("script")
    assert data.attributes == {"type": "application/json", "id": "judgement"}
    assert (first.attributes, first.raw) == ({}, SCRIPTED)
    assert (own.attributes, own.raw) == ({}, script()), "no script but the page's own"
    assert len(document.all("style")) == 1


def row_of(section: Element, environment: str, number: int = 0) -> Element:
    """Returns the environment's `number`-th row of a section."""
    rows = [
        row
        for row in section.all("tr")
        if row.all("th") and row.all("th")[0].text.split()[:1] == [environment]
    ]
    return rows[number]
