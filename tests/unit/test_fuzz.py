"""A little of `python -m tests.fuzz`: every parser takes its valid inputs, and ends as it says on others."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import inputs
from tests.fuzz.parsers import PARSERS
from tests.fuzz.running import KEPT, run

KEPT_INPUTS = sorted(path for path in KEPT.glob("*/*") if path.is_file())


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_valid_is_taken(name: str) -> None:
    """Otherwise nothing behind the first check would ever be tried."""
    assert all(run(PARSERS[name], seed) for seed in PARSERS[name].seeds())


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_was_valid_once_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    run(PARSERS[name], data.draw(inputs(PARSERS[name].seeds())))


@pytest.mark.parametrize("path", KEPT_INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_ended_a_parser_is_taken_or_refused(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    run(PARSERS[path.parent.name], path.read_bytes())
