"""Nested facts as plain values, and as rows to show."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judgements import cell_result, head, judgement, whole
from trt_matrix.report.facts import DEEPEST, data, flat, plain


def test_plain_values() -> None:
    assert plain({"a": (1, math.nan, math.inf, True, None)}) == {"a": [1, None, None, True, None]}
    with pytest.raises(TypeError, match="set is no JSON value"):
        plain({"a": {1, 2}})


def test_facts_nested_without_end_are_cut_not_followed() -> None:
    facts: dict[str, Any] = {}
    for _ in range(900):
        facts = {"in": facts}
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


LEAVES = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())
FACTS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner)),
    min_size=1,
)


def overlaid(common: Any, own: Any) -> Any:
    """Lays a cell's facts over those that all share, as a program that reads the page does."""
    if not (isinstance(common, dict) and isinstance(own, dict)):
        return own
    return common | {key: overlaid(common.get(key), value) for key, value in own.items()}


def lean(value: Any) -> Any:
    """What must come back: nothing empty, no number that JSON lacks, 6 digits."""
    if isinstance(value, dict):
        kept = {key: lean(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner not in (None, {}, [], "")}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


@given(st.lists(FACTS, min_size=1, max_size=4))
def test_facts_that_are_stored_apart_come_back_whole(facts: list[dict[str, Any]]) -> None:
    cells = [cell_result(f"env-{number}", facts=one) for number, one in enumerate(facts)]
    read = json.loads(json.dumps(data(judgement(cells)), allow_nan=False))
    back = [
        overlaid(read["common_facts"], read["cell_facts"][cell["facts"]]) for cell in read["cells"]
    ]
    assert back == [lean(fact) for fact in facts]


def test_of_more_cells_than_are_told_only_the_status_stays() -> None:
    cells = [cell_result(f"env-{number}", heads=[head()]) for number in range(3)]
    kept = cells[1].cell.id
    read = data(judgement(cells), {kept})
    assert [len(cell) > 2 for cell in read["cells"]] == [False, True, False]
    assert [row[0] for row in read["results"]["rows"]] == [kept]
    assert read["left_out"] == ["details of 2 cells"]


def test_findings_name_their_cells_by_place_and_stand_once() -> None:
    read = json.loads(json.dumps(data(whole()), allow_nan=False))
    assert read["schema_version"] == 3
    (crashed, _) = read["network"]["findings"]
    assert [read["cells"][place]["status"] for place in crashed["cells"]] == ["crashed"]
    small = read["answers"][2]
    assert [type(finding) for finding in small["findings"]] == [dict, int, int]
    assert read["network"]["findings"][small["findings"][1]]["fault"] == "ort-1.22.1 crashed"
    assert small["shares"]["engine"] == pytest.approx(0.81, abs=0.01)
