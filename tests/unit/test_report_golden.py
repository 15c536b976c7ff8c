"""The same records give the same bytes, on every machine."""

import difflib

from tests.unit import golden


def test_the_recorded_run_gives_the_committed_page() -> None:
    made, kept = golden.page(), golden.PAGE.read_text("utf-8")
    changed = list(difflib.unified_diff(kept.splitlines(), made.splitlines(), "kept", "made", n=1))
    assert made == kept, "\n".join(
        [*(line[:300] for line in changed[:40]), "wanted? python -m tests.unit.golden"]
    )
