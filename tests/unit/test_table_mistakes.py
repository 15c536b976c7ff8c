"""Wrong tables are recognised against the reference's ranges, and right ones never are called wrong.

The tables are real: of the demo, by TensorRT 8.6 and by the reference (tests/data/h200/tables).
"""

import json
import math
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trt_matrix.core.tables.mistakes import mistake, plausible

TABLES = Path(__file__).parents[1] / "data" / "h200" / "tables"

Ranges = Mapping[str, float]


def _tables() -> dict[str, Ranges]:
    found = {}
    for path in TABLES.glob("*.json"):
        content = json.loads(path.read_text())
        told = content["provenance"]
        found[f"{told['algorithm']} {told['environment']}{' evaluation' if told['note'] else ''}"] = content["amax"]  # fmt: skip
    return found


TABLE = _tables()
TENSORRT = [name for name in TABLE if "trt-" in name]
SEEN = [TABLE[name] for name in ("minmax ort-1.26.0", "entropy reference", "minmax reference evaluation",
                                 "entropy reference evaluation")]  # fmt: skip


def times(factor: float) -> Callable[[Ranges], Ranges]:
    return lambda table: {name: factor * amax for name, amax in table.items()}


def swapped(table: Ranges) -> Ranges:
    pairs = ((name, struct.unpack("<f", struct.pack(">f", amax / 127))[0]) for name, amax in table.items())  # fmt: skip
    return {name: 127 * scale for name, scale in pairs}


def inverse(of: float) -> Callable[[Ranges], Ranges]:
    return lambda table: {name: of / amax for name, amax in table.items()}


def shuffled(table: Ranges, seed: int) -> Ranges:
    values = list(table.values())
    random.Random(seed).shuffle(values)
    return dict(zip(table, values, strict=True))


@pytest.mark.parametrize("name", list(TABLE))
@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize("seen", [SEEN, SEEN[:1], SEEN[1:2], SEEN[2:]])
def test_right_tables_are_never_called_wrong(name: str, scales: bool, seen: list[Ranges]) -> None:
    assert len(TENSORRT) >= 3
    assert mistake(TABLE[name], seen, scales=scales) is None


@pytest.mark.parametrize("name", TENSORRT)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (times(127), ["127 times", "amax was written where a scale belongs; divide by 127"]),
        (times(1 / 127), ["1/127 of", "divided by 127 twice; multiply by 127"]),
        (times(255), ["255 times", "pixels of 0 to 255"]),
        (times(1 / 255), ["1/255 of", "divided by 255 twice"]),
        (times(20), ["20 times", "one factor in all tensors"]),
        (times(127 / 255), ["0.498 times", "divided by 255, as for unsigned numbers"]),
        (inverse(127 * 127), ["1 / scale", "where a scale belongs", "write amax / 127"]),
        (inverse(127), ["1 / amax", "where a scale belongs"]),
        (swapped, ["bytes of its scales stand in reverse", "big-endian"]),
    ],
)
def test_mistakes_are_named_with_their_numbers(
    name: str, spoil: Callable[[Ranges], Ranges], said: list[str]
) -> None:
    found = mistake(spoil(TABLE[name]), SEEN, scales=True)
    assert found is not None
    assert found.sure
    for text in said:
        assert text in found.text


@pytest.mark.parametrize("name", TENSORRT)
def test_another_network_is_seen_by_ratios_all_over_the_place(name: str) -> None:
    """The demo's ranges lie near one another; deeper networks' spread as their squares do."""

    def wide(table: Ranges) -> Ranges:
        return {tensor: amax**2 for tensor, amax in table.items()}

    seen = [wide(one) for one in SEEN]
    assert mistake(wide(TABLE[name]), seen, scales=True) is None
    for factor in (1.0, 30.0):
        tables = [times(factor)(shuffled(wide(TABLE[name]), seed)) for seed in range(20)]
        mistakes = [
            one for table in tables if (one := mistake(table, seen, scales=True)) and one.sure
        ]
        assert len(mistakes) >= 14, "by chance a few look alike, and are not called wrong"
        for one in mistakes:
            assert "have nothing to do with the reference's ranges" in one.text
            assert "another network's" in one.text


def test_where_largest_magnitudes_belong_other_things_are_said() -> None:
    table = TABLE[TENSORRT[0]]
    scales = mistake(times(1 / 127)(table), SEEN, scales=False)
    assert scales is not None
    assert "scales were written where amax belongs; multiply by 127" in scales.text
    turned = mistake(inverse(127)(table), SEEN, scales=False)
    assert turned is not None
    assert "1 / scale" in turned.text
    assert "write amax" in turned.text


# What would make it false


def test_ranges_that_are_127_times_larger_on_the_evaluation_images_are_no_mistake() -> None:
    """The calibration images of matrix.yaml are dark: a table of brighter ones is right."""
    bright = times(127)(TABLE["minmax reference evaluation"])
    table = times(127)(TABLE[TENSORRT[0]])
    found = mistake(table, SEEN[:2], scales=True)
    assert found is not None
    assert found.sure
    found = mistake(table, [*SEEN[:2], bright], scales=True)
    assert found is not None
    assert not found.sure
    assert "127 times" in found.text
    assert mistake(table, [bright], scales=True) is None


def test_few_tensors_are_enough_for_a_warning_only() -> None:
    three = dict(list(times(127)(TABLE[TENSORRT[0]]).items())[:3])
    found = mistake(three, SEEN, scales=True)
    assert found is not None
    assert not found.sure
    assert "not sure: of 3 tensors only" in found.text


def test_constant_tensors_and_scales_that_are_none_decide_nothing() -> None:
    table = dict(TABLE[TENSORRT[0]])
    first, second, third = list(table)[:3]
    seen = [{**one, first: 0.0} for one in SEEN]
    broken = {**table, second: 0.0, third: math.nan}
    assert mistake(broken, seen, scales=True) is None
    found = mistake(times(127)(broken), seen, scales=True)
    assert found is not None
    assert found.sure
    assert mistake({}, SEEN, scales=True) is None
    assert mistake({"other": 1.0}, SEEN, scales=True) is None
    assert mistake(table, [], scales=True) is None
    assert mistake(dict.fromkeys(table, 1.0), [dict.fromkeys(table, 1.0)], scales=True) is None


def test_half_as_bright_images_are_a_warning() -> None:
    found = mistake(times(2.2)(TABLE[TENSORRT[0]]), SEEN, scales=True)
    assert found is not None
    assert not found.sure
    assert "2.2 times" in found.text
    assert "other images, or another preprocessing" in found.text


@example(10168, 0.5, SEEN)
@given(st.integers(0, 2**32), st.floats(0, 0.5), st.sampled_from([SEEN, SEEN[:2]]))
@settings(max_examples=60)
def test_tables_of_other_images_are_not_called_wrong(
    seed: int, deviation: float, seen: list[Ranges]
) -> None:
    """A tenth of the tensors clipped to a tenth besides, as degenerate minima of entropy do."""
    chance = random.Random(seed)
    table = {
        name: amax * math.exp(chance.gauss(0, deviation)) * (0.1 if chance.random() < 0.1 else 1)
        for name, amax in TABLE[TENSORRT[0]].items()
    }
    found = mistake(table, seen, scales=True)
    assert found is None or not found.sure


RANGES = st.dictionaries(st.sampled_from("abcdefghijklmnopqrst"), st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(1e-3, 1e3)), max_size=20)  # fmt: skip


@given(RANGES, st.lists(RANGES, max_size=3), st.booleans())
@settings(max_examples=300)
def test_nothing_is_raised(values: Ranges, seen: list[Ranges], scales: bool) -> None:
    found = mistake(values, seen, scales=scales)
    assert found is None or found.text
    assert plausible(values, seen) in (True, False)
