"""Pages that list what there is have all of it, and the code's own numbers."""

import re
from pathlib import Path

import pytest

from trt_matrix.config.environments import KINDS as ENVIRONMENTS
from trt_matrix.core.boxes.registry import STYLES
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.verdict import KINDS, Kind

DOCS = Path(__file__).parents[2] / "docs"
NO_FINDING = {Kind.OK, Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE}


def rows(page: str, heading: str) -> list[list[str]]:
    """Returns the cells of each row of the first table behind a heading."""
    text = (DOCS / page).read_text().split(heading, 1)[1]
    table = next(part for part in text.split("\n\n") if part.startswith("|"))
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


@pytest.mark.parametrize(
    ("page", "heading"),
    [
        ("start/whose-fault.md", "## What it may say"),
        ("concepts/method.md", "## What is looked for"),
    ],
)
def test_every_finding_is_in_the_tables_of_findings(page: str, heading: str) -> None:
    named = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(page, heading)))
    assert sorted(named) == sorted(set(Kind) - NO_FINDING)


def test_the_method_has_the_levels_of_the_code() -> None:
    for name, _, against, level in rows("concepts/method.md", "## What is looked for"):
        kind = Kind(name.strip("`"))
        known = KINDS[kind].level
        assert level == ("seen" if known is None else f"{known:.1%}".replace("%", " %")), kind
        if kind.value.partition("_")[0] in ("fp32", "tf32", "fp16", "bf16"):
            floor = getattr(Rules(), f"{kind.value.partition('_')[0]}_db")
            assert against.startswith(f"{floor:g} dB"), kind


def test_every_style_of_boxes_has_a_row() -> None:
    page = (DOCS / "reference" / "decoders.md").read_text()
    named = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    missing = [style for style in STYLES if not re.search(rf"(?<![\w-]){style}(?![\w-])", named)]
    assert missing == []


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_every_kind_of_environment_is_shown_in_an_example(kind: str) -> None:
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    assert any(re.search(rf"[-{{] ?{{?{kind}:", page.read_text()) for page in pages)
