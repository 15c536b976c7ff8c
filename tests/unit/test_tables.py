import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.tables.table import (
    Provenance,
    Table,
    TableError,
    from_json,
    from_ranges,
    to_json,
)

BY = Provenance(algorithm="minmax", environment="ort-1.32.0", images_sha256="ab", note="a note")
USABLE = st.floats(min_value=1e-30, max_value=1e30)


def text(**changes: object) -> str:
    content = json.loads(to_json(Table(amax={"a": 1.0}, provenance=BY)))
    content.update(changes)
    return json.dumps(content)


def test_scale_is_amax_over_127() -> None:
    assert Table(amax={"a": 2.54}, provenance=BY).scale("a") == pytest.approx(0.02)


def test_a_missing_tensor_is_named_with_its_reason() -> None:
    table = Table(amax={}, unusable={"dead": "amax is zero"}, provenance=BY)
    with pytest.raises(TableError, match=r"'dead': amax is zero"):
        table.scale("dead")
    with pytest.raises(TableError, match="'other': it was not calibrated"):
        table.scale("other")


@pytest.mark.parametrize(
    ("amax", "why"),
    [
        (math.nan, "NaN"),
        (math.inf, "infinite"),
        (-math.inf, "negative"),
        (-1.0, "negative"),
        (0.0, "zero"),
        (1e39, "beyond float32"),
        (1e-40, "smallest normal"),
        ("1", "not a number"),
        (True, "not a number"),
        (None, "not a number"),
    ],
)
def test_what_cannot_be_a_range_names_the_tensor(amax: float, why: str) -> None:
    with pytest.raises(TableError, match=f"'bad'.*{why}"):
        Table(amax={"good": 1.0, "bad": amax}, provenance=BY)
    table = from_ranges({"good": 1.0, "bad": amax}, BY)
    assert set(table.amax) == {"good"}
    assert why in table.unusable["bad"]


def test_a_tensor_is_usable_or_not() -> None:
    with pytest.raises(TableError, match="'a'.*keep one"):
        Table(amax={"a": 1.0}, unusable={"a": "zero"}, provenance=BY)


@given(amax=st.dictionaries(st.text(), USABLE), unusable=st.dictionaries(st.text(), st.text()))
def test_json_round_trip_is_exact(amax: dict[str, float], unusable: dict[str, str]) -> None:
    table = Table(
        amax=amax,
        unusable={name: why for name, why in unusable.items() if name not in amax},
        provenance=BY,
    )
    again = from_json(to_json(table))
    assert again == table
    assert again.digest == table.digest


def test_the_digest_is_of_the_ranges_alone() -> None:
    table = Table(amax={"a": 1.0, "b": 2.0}, provenance=BY)
    other = Table(
        amax={"b": 2.0, "a": 1.0}, unusable={"c": "zero"}, provenance=Provenance(algorithm="x")
    )
    assert table.digest == other.digest
    assert table.digest != Table(amax={"a": 1.0, "b": 2.0000001}, provenance=BY).digest
    assert (
        Table(amax={"ab": 1.0}, provenance=BY).digest
        != Table(amax={"a": 1.0}, provenance=BY).digest
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000, "not JSON"),
        ("[]", "table is a list"),
        (text(schema_version=2), "schema version 2"),
        (text(extra=1), "unknown extra"),
        ('{"schema_version": 1}', "lacks amax, provenance, unusable"),
        (text(amax=[1]), "amax is a list"),
        (text(amax={"t": "1"}), "'t': amax is '1'"),
        (text(amax={"t": -1}), "'t': amax is negative"),
        (text(amax={"t": 10**400}), "'t': amax is infinite"),
        (text(amax={"t": math.nan}), "'t': amax is NaN"),
        (text(amax={"t": math.inf}), "'t': amax is infinite"),
        ('{"amax": {"t": 1, "t": 2}}', "'t' appears twice"),
        (text(unusable={"u": 3}), "'u': reason is 3"),
        (text(provenance={"algorithm": "a"}), "provenance lacks environment"),
        (text(provenance=[]), "provenance is a list"),
    ],
)
def test_malformed_json_is_explained(content: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        from_json(content)


def test_provenance_must_be_text() -> None:
    content = json.loads(text())
    content["provenance"]["environment"] = 3
    with pytest.raises(TableError, match="provenance.environment is 3"):
        from_json(json.dumps(content))
    content["provenance"].update(environment=None, algorithm=None)
    with pytest.raises(TableError, match="provenance.algorithm is None"):
        from_json(json.dumps(content))


@given(st.text())
def test_any_text_is_read_or_refused(content: str) -> None:
    with pytest.raises(TableError):
        from_json(content)
