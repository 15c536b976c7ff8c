"""The fake TensorRT against the real bindings: it has no name that they lack, and all that are used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.test_contract_tensorrt import ALL, ONLY_WHERE, has, lines_of

FAKES = Path(__file__).parents[1] / "fakes" / "tensorrt"
LISTING = """
import json, tensorrt
def public(value):
    return sorted(name for name in dir(value) if not name.startswith("_"))
classes = {name: public(getattr(tensorrt, name)) for name in dir(tensorrt) if name[:1].isupper()}
json.dump({name: found for name, found in classes.items()}, __import__("sys").stdout)
"""
OF_PYTHON = {
    "IHostMemory": set(dir(bytes))  # the fake's is one
}


def fake(version: str) -> dict[str, set[str]]:
    """Returns class → public names of the fake of a version."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING],
        env={**os.environ, "PYTHONPATH": str(FAKES), "FAKE_TENSORRT": version},
        capture_output=True,
        text=True,
        check=True,
    )
    return {kind: set(names) for kind, names in json.loads(done.stdout).items()}


@pytest.mark.parametrize("version", ["8.4.1.5", "8.6.1", "10.16.1.11", "11.4.0.106"])
def test_the_fake_has_what_is_used_and_nothing_made_up(version: str) -> None:
    found = fake(version)
    made_up = [
        f"{kind}.{name}"
        for kind, names in found.items()
        for name in names - OF_PYTHON.get(kind, set())
        if not has(version, kind, name)
    ]
    assert made_up == []
    apart = {
        where
        for (file, name), (owner, feature, wanted) in ONLY_WHERE.items()
        if has(version, owner, feature) is not wanted
        for where in lines_of(file, name)
    }
    reached = {
        (use.owner, use.name)
        for use in ALL
        if use.where not in apart
        and use.owner
        and not use.name.startswith("_")
        and has(version, use.owner, use.name)
        and all(has(version, owner, name) is wanted for owner, name, wanted in use.conditions)
    }
    assert [f"{kind}.{name}" for kind, name in sorted(reached) if name not in found[kind]] == []
    assert len(reached) > 40
