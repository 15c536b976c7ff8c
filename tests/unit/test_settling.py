"""Sums of outputs that are elsewhere: two stories about one are told, and what is here is known better."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trt_matrix.containers.job.reductions import compare
from trt_matrix.execution.answers import AnswerError
from trt_matrix.execution.left import Floats, Left
from trt_matrix.judging.settled import Settling
from trt_matrix.store.objects import object_of
from trt_matrix.store.results import Store


def told(store: Store, y: Floats, r: Floats, **changes: Any) -> Left:
    """What a machine tells of an output that is not here."""
    content = io.BytesIO()
    np.save(content, r)
    reference = store.put(content.getvalue(), ".npy")
    output = object_of(y.tobytes(), ".npy")
    settings: dict[str, Any] = {
        "outputs": {"a": output}, "reference": {"a": reference}, "own": {}, "flat": {"a": None},
        "sums": {"a": compare(y, r)},
    }  # fmt: skip
    return Left(**settings | changes)


def test_two_stories_about_one_hash_are_told(tmp_path: Path) -> None:
    """Neither contradicts itself; which of the two is true nobody knows."""
    store = Store(tmp_path)
    generator = np.random.default_rng(3)
    y, other, r = (generator.normal(0, 1, (3, 40)).astype(np.float32) for _ in range(3))
    settling = Settling(store, 1e-3, dict)
    settling.take(told(store, y, r))
    settling.take(told(store, y, r))
    own = {"a": ("0" * 64, compare(y, r))}
    settling.take(told(store, y, r, own=own))
    for lie in (
        {"sums": {"a": compare(other, r)}},
        {"flat": {"a": "constant"}},
        {"own": {"a": ("0" * 64, compare(other, r))}},
    ):
        with pytest.raises(AnswerError, match="something else is known"):
            settling.take(told(store, y, r, **lie))


def test_outputs_that_are_here_are_known_better_than_what_is_told_of_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    generator = np.random.default_rng(3)
    y, other, r = (generator.normal(0, 1, (3, 40)).astype(np.float32) for _ in range(3))
    content = io.BytesIO()
    np.save(content, y)
    here = store.put(content.getvalue(), ".npy")
    lie = told(store, other, r, outputs={"a": here})
    Settling(store, 1e-3, dict).take(lie)
    found = store.sums(here, lie.reference["a"], 1e-3)
    np.testing.assert_array_equal(found, compare(y, r, 1e-3))
