"""The page that the recorded H200 run gives, byte for byte: tests/data/golden.

`python -m tests.unit.golden` writes it again after a wanted change; the difference is to be read.
"""

import re
from pathlib import Path

from runner.report.html import render
from tests.unit import h200

PAGE = Path(__file__).parents[1] / "data" / "golden" / "h200.html"
OWN = re.compile(
    r"(?<=<style>).*?(?=</style>)|(?<=<script>).*?(?=</script>)|sha256-[\w+/=]{44}", re.DOTALL
)


def page() -> str:
    """Returns the page without its style and script: those are files, and compare as such."""
    return OWN.sub("", render(h200.judged()))


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
