"""A little of `python -m tests.docker.starts`: what a start takes, it gives back."""

import tempfile
from pathlib import Path

import pytest

from tests.docker import starts


def test_starts_leave_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    helds = starts.watched(40, lambda: starts.one_run(tmp_path / "run"), lambda _: None)
    grown = helds[-1].beyond(helds[0])
    assert (grown.descriptors, grown.processes, grown.threads, grown.temporary) == (0, 0, 0, 0)
