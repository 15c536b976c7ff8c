"""Nested facts as plain values, and as rows to show."""

import json
import math

import pytest

from runner.report.facts import DEEPEST, flat, plain


def test_plain_values() -> None:
    assert plain({"a": (1, math.nan, math.inf, True, None)}) == {"a": [1, None, None, True, None]}
    with pytest.raises(TypeError, match="set is no JSON value"):
        plain({"a": {1, 2}})


def test_facts_nested_without_end_are_cut_not_followed() -> None:
    facts: dict[str, object] = {}
    inner = facts
    for _ in range(900):
        inner["in"] = {}
        inner = inner["in"]
    assert "nested too deep" in json.dumps(plain(facts))
    ((path, value),) = flat(facts)
    assert path.count("›") == DEEPEST - 1
    assert "nested too deep" in value


def test_flat_facts() -> None:
    facts = {"a": {"b": [1, "two", None]}, "c": [{"d": True}, {"d": 0.5}], "e": {}, "f": []}
    assert list(flat(facts)) == [
        ("a › b", "1\ntwo\nnull"),
        ("c › 1 › d", "true"),
        ("c › 2 › d", "0.5"),
        ("e", "{}"),
        ("f", ""),
    ]
