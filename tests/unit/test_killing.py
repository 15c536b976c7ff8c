"""A few of the 200 points of `python -m tests.unit.killing`."""

import sys
from pathlib import Path

import pytest

from tests.unit.programs import ran

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_killed_anywhere_the_next_run_judges_the_same() -> None:
    """By a process of its own: one with threads, as pytest's, may not fork."""
    done = ran(sys.executable, "-m", "tests.unit.killing", "--points", "6", "--forked", cwd=ROOT)
    assert "6 of 6 judgements equal" in done.stdout
