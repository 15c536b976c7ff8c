"""README's picture says what is recorded, and its claim needs all of what it rests on."""

from dataclasses import replace

from tests.unit import h200_picture
from tests.unit.h200_picture import Build, builds, drawn, explicit_db


def test_the_picture_in_the_tree_is_that_of_the_records() -> None:
    wanted = h200_picture.picture()
    assert h200_picture.PICTURE.read_text("utf-8") == wanted, "python -m tests.unit.h200_picture"


def test_what_it_claims_is_so() -> None:
    found, explicit = list(builds()), explicit_db()
    lost = [build for build in found if build.in_int8]
    kept = [build for build in found if not build.in_int8]
    versions = {build.version for build in found}
    assert max(build.sqnr_db for build in lost) + 5 < min(build.sqnr_db for build in kept)
    assert {build.version for build in lost} == versions, "in every version alike"
    assert all(not build.in_int8 for build in found if build.held), "what was held was obeyed"
    assert len(explicit) == 2 * len(versions)
    assert max(explicit) - min(explicit) < 0.05, "by Q/DQ nodes versions do not differ"
    assert abs(min(explicit) - min(build.sqnr_db for build in kept)) < 0.5


def test_it_follows_the_builds() -> None:
    found = tuple(builds())
    shown = drawn(found, 22.3)
    assert shown.count("<circle") - 2 == sum(not build.held for build in found)
    other = drawn(
        (replace(found[0], sqnr_db=14.2), *found[1:], Build("9.9", 20, True, False)), 22.3
    )
    assert "(14 dB) in 4 TensorRT versions" in other
    assert "TensorRT 9.9<" in other
