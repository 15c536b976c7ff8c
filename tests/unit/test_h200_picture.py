"""README's picture says what is recorded, and its claim needs all of what it rests on."""

from dataclasses import replace

from tests.unit import h200_picture
from tests.unit.h200_picture import Build, builds, drawn, explicit_db


def test_the_picture_in_the_tree_is_that_of_the_records() -> None:
    wanted = h200_picture.picture()
    assert h200_picture.PICTURE.read_text("utf-8") == wanted, "python -m tests.unit.h200_picture"


def test_what_it_claims_is_so() -> None:
    found, explicit = list(builds()), explicit_db()
    lost = [one for one in found if one.in_int8]
    kept = [one for one in found if not one.in_int8]
    versions = {one.version for one in found}
    assert max(one.sqnr_db for one in lost) + 5 < min(one.sqnr_db for one in kept)
    assert {one.version for one in lost} == versions, "in every version alike"
    assert all(not one.in_int8 for one in found if one.held), "what was held was obeyed"
    assert len(explicit) == 2 * len(versions)
    assert max(explicit) - min(explicit) < 0.05, "by Q/DQ nodes versions do not differ"
    assert abs(min(explicit) - min(one.sqnr_db for one in kept)) < 0.5


def test_it_follows_the_builds() -> None:
    found = tuple(builds())
    shown = drawn(found, 22.3)
    assert shown.count("<circle") - 2 == sum(not one.held for one in found)
    other = drawn(
        (replace(found[0], sqnr_db=14.2), *found[1:], Build("9.9", 20, True, False)), 22.3
    )
    assert "(14 dB) in 4 TensorRT versions" in other
    assert "TensorRT 9.9<" in other
