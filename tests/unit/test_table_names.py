"""Names of a table that another exporter made are brought to the network's, where that is unambiguous."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trt_matrix.core.tables.names import naming

OURS = ("images", *(f"/model.{index}/conv/Conv_output_0" for index in range(30)))


def of(theirs: list[str], ours: tuple[str, ...] = OURS, **given: str) -> dict[str, str]:
    return dict(naming(theirs, ours, given, 0.9).names)


@pytest.mark.parametrize(
    "called",
    [
        lambda name: f"yolov3/{name}",
        lambda name: f"{name}:0",
        lambda name: f"yolov3/{name}:0",
        lambda name: name.removesuffix("_output_0"),
        lambda name: f"{name.removeprefix('/').removesuffix('_output_0')}:0",
        lambda name: name.removeprefix("/"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_common_prefix_or_suffix_is_found(called: object, whole: bool) -> None:
    """With the input's name among them, or the input called alike."""
    theirs = {name: called(name) for name in OURS}  # type: ignore[operator]
    if not whole:
        theirs["images"] = "images"
    found = naming(list(theirs.values()), OURS, {}, 0.9)
    right = {other: name for name, other in theirs.items() if other != name}
    assert {name: other for name, other in found.names.items() if other != "images"} == {
        one: other for one, other in right.items() if other != "images"
    }
    assert found.affixes is not None
    assert set(found.unmapped) <= {"images"}


def test_names_that_are_alike_stay() -> None:
    found = naming([*OURS, "another"], OURS, {}, 0.9)
    assert (found.names, found.unmapped, found.affixes) == ({}, (), None)


def test_numbers_that_share_a_digit_by_chance_are_not_mapped() -> None:
    numbers = tuple(str(number) for number in range(185, 300))
    found = naming([f"1{number}" for number in numbers], numbers, {}, 0.9)
    assert found.affixes is None
    assert found.unmapped == numbers


def test_a_prefix_that_only_a_few_share_by_chance_is_not_taken() -> None:
    theirs = [f"other/{name}" for name in OURS[1:5]] + [f"layer_{index}" for index in range(26)]
    found = naming(theirs, OURS, {}, 0.9)
    assert found.affixes is None
    assert len(found.unmapped) == len(OURS)
    assert found.nearest[OURS[1]] == f"other/{OURS[1]}"
    assert "names: {theirs: ours}" in found.advice()


def test_two_scopes_that_fit_alike_are_ambiguous() -> None:
    """A table of a teacher and a student network: whose is it?"""
    theirs = [f"{scope}/{name}" for scope in ("teacher", "student") for name in OURS]
    assert naming(theirs, OURS, {}, 0.9).affixes is None


def test_the_users_map_goes_before_all_else() -> None:
    theirs = [f"y/{name}" for name in OURS[1:]] + ["Placeholder"]
    found = naming(theirs, OURS, {"Placeholder": "images", f"y/{OURS[1]}": OURS[2]}, 0.9)
    assert found.names["Placeholder"] == "images"
    assert found.names[f"y/{OURS[1]}"] == OURS[2]
    assert len(set(found.names.values())) == len(found.names)
    assert found.names[f"y/{OURS[3]}"] == OURS[3]
    assert OURS[1] in found.unmapped


def test_a_wrong_map_says_which_name_was_meant() -> None:
    found = naming(list(OURS), OURS, {"imagez": "images", "images": "imagos"}, 0.9)
    assert any(
        "has 'imagez'" in problem and "did you mean 'images'" in problem
        for problem in found.problems
    )
    assert any("to 'imagos'" in problem for problem in found.problems)


NAMES = st.lists(st.text("ab/:0_", min_size=1, max_size=8), unique=True, max_size=20)


@given(NAMES, NAMES, st.dictionaries(st.text("ab/", min_size=1, max_size=3), st.text("ab/", min_size=1, max_size=3), max_size=3))  # fmt: skip
@settings(max_examples=300)
def test_no_two_of_theirs_become_one_of_ours(
    theirs: list[str], ours: list[str], given: dict[str, str]
) -> None:
    distinct = {other: one for one, other in given.items()}
    found = naming(theirs, ours, {one: other for other, one in distinct.items()}, 0.9)
    assert len(set(found.names.values())) == len(found.names)
    assert set(found.names) <= set(theirs)
    assert set(found.names.values()) <= set(ours)
    exact = {one for one in theirs if one in ours} - set(found.names) - set(found.names.values())
    assert set(found.unmapped) == set(ours) - set(found.names.values()) - exact
