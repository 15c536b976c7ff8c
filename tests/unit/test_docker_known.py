"""What `plan` knows of an image that was prepared before: nothing is started to find it out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trt_matrix.core.hosts.compatibility import ImageFacts
from trt_matrix.environments.docker import derived, prepared


@pytest.mark.parametrize(("resolved", "is_known"), [({}, True), (None, False)])
def test_an_image_to_which_requirements_add_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resolved: Any, is_known: bool
) -> None:
    """`six; python_version < "3"` is resolved, to no package; what was never resolved is something else."""
    only: Any = SimpleNamespace()
    monkeypatch.setattr(prepared, "_elsewhere", lambda _: None)
    monkeypatch.setattr(prepared, "find", lambda *_: only)
    monkeypatch.setattr(prepared, "known_python", lambda *_: only)
    monkeypatch.setattr(derived, "wanted_packages", lambda *_: ["six; python_version < '3'"])
    monkeypatch.setattr(derived, "known_packages", lambda *_: resolved)
    monkeypatch.setattr(derived, "tag_of", lambda *_: "derived:tag")
    recipe = prepared.Recipe(
        image="a:b", executable="python3", requirements=("six",), stated=ImageFacts()
    )
    assert (prepared.known(only, recipe, cache=tmp_path) is not None) == is_known
