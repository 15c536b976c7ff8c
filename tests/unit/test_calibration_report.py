"""What is said of calibration sets that are tiny, equal, of one colour, or not finite: nothing that nobody could know."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.unit.matrices import store_of
from tests.unit.new_records import new_manifest
from trt_matrix.containers.job.reductions import SUMS
from trt_matrix.core.calibration import claims
from trt_matrix.core.calibration.alike import LENGTH, describe, likeness
from trt_matrix.core.calibration.curve import DRAWS, Point, Trend, curve
from trt_matrix.core.calibration.fed import Pixels, statistics
from trt_matrix.core.calibration.preprocessings import AS_FED
from trt_matrix.core.calibration.ranges import Decider
from trt_matrix.core.calibration.report import (
    CalibrationReport,
    Claim,
    Concern,
    Cost,
    LeftOutImage,
    Trial,
)
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.manifest import CalibrationFacts, ImageSet
from trt_matrix.core.records import StoredObject
from trt_matrix.judging.calibration import calibration_report
from trt_matrix.judging.described import stored
from trt_matrix.judging.preprocessing import judged
from trt_matrix.store.results import Store

UNIT = Pixels(scale=1 / 255, mean=(0.0,) * 3, std=(1.0,) * 3)
TENSORS = tuple(f"t{index}" for index in range(20))
FORMS = ("as fed", "raw pixels, 0 to 255")
Pictures = npt.NDArray[np.float64]


def pictures(seed: int, number: int) -> Pictures:
    """Pixels of different things, (number, 34, 34, 3)."""
    random = np.random.default_rng(seed)
    return np.clip(np.repeat(np.repeat(random.normal(110, 60, (number, 17, 17, 3)), 2, 1), 2, 2), 0, 255)  # fmt: skip


def grey(number: int, level: float = 114.0) -> Pictures:
    return np.full((number, 34, 34, 3), level)


def entries(pixels: Pictures) -> npt.NDArray[np.void]:
    made = np.zeros(len(pixels), stored(3))
    for entry, one in zip(made, pixels, strict=True):
        entry["description"] = describe(one.mean(axis=2))
        entry["statistics"] = statistics((one / 255).astype(np.float32), UNIT)
    return made


def put(store: Store, array: npt.NDArray[Any]) -> StoredObject:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return store.put(buffer.getvalue(), ".npy")


def report(
    folder: Path,
    here: Pictures,
    there: Pictures,
    *,
    maxima: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    areas: tuple[Any, Any] = (None, None),
    scaled: tuple[str, ...] = (),
    tables: dict[str, dict[str, float]] | None = None,
    forms: dict[str, Any] | None = None,
    names: str = "abc",
) -> CalibrationReport:
    store = store_of(folder)
    sets = [
        ImageSet(
            files=tuple(f"{name}{index:03}.jpg" for index in range(len(pixels))),
            described=put(store, entries(pixels)),
            maxima=put(store, maxima[at].astype(np.float32)) if maxima else None,
            areas=areas[at],
        )
        for at, (name, pixels) in enumerate(zip(names, (here, there), strict=False))
    ]
    facts = CalibrationFacts(
        calibration=sets[0],
        evaluation=sets[1],
        tensors=TENSORS if maxima else (),
        areas_of="labels",
        forms=forms or {},
        foreign={digest: f"{digest}.cache" for digest in tables or {}},
    )
    preprocess = {"scale": 1 / 255, "mean": 0.0, "std": 1.0, "color": "rgb"}
    manifest = new_manifest(
        baseline="v",
        images=len(there),
        facts={"images": {"preprocess": preprocess}},
        calibration=facts,
    )
    evidence = Evidence(manifest, [], [], lambda *_: np.zeros(0, SUMS))
    made = calibration_report(store, evidence, None, tables or {}, {}, scaled)
    assert made is not None
    return made


def concerns(made: CalibrationReport) -> list[Concern]:
    return [claim.concern for claim in made.said()]


# Sound, and large enough


def test_of_sound_sets_it_says_what_was_looked_at(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    made = report(
        tmp_path, pictures(1, 20), pictures(2, 24),
        maxima=(random.uniform(1, 2, (20, 20)), random.uniform(1, 2, (24, 20))),
        areas=([[2000.0]] * 20, [[2000.0]] * 24),
    )  # fmt: skip
    assert made.claims == ()
    assert made.unknown == ()
    assert made.well == (
        "no nearly identical pictures among 44 images",
        "brightness, contrast and colour as in the evaluation",
        "no tensor goes beyond what calibration images showed more often than chance gives",
        "medium objects not much rarer than in the evaluation",
    )


def test_a_size_that_hardly_occurs_is_not_called_as_frequent(tmp_path: Path) -> None:
    areas = ([[2000.0]] * 20, [[2000.0, 90_000.0], *[[2000.0]] * 23])
    made = report(tmp_path, pictures(1, 20), pictures(2, 24), areas=areas)
    assert "medium objects not much rarer than in the evaluation" in made.well
    assert "whether large objects are rarer: too few to tell" in made.unknown


# One image, two, none


@pytest.mark.parametrize(("here", "there"), [(1, 1), (2, 2), (1, 64), (64, 1)])
def test_a_few_images_are_called_too_few_and_not_well(
    tmp_path: Path, here: int, there: int
) -> None:
    made = report(
        tmp_path, pictures(1, here), pictures(2, there),
        maxima=(np.ones((here, 20)), np.ones((there, 20))),
        areas=([[2000.0]] * here, [[2000.0]] * there),
    )  # fmt: skip
    assert made.claims == ()
    assert [one for one in made.well if "pictures" not in one] == []
    assert [one.split(":")[0] for one in made.unknown] == [
        "brightness, contrast and colour", "ranges never seen", "whether medium objects are rarer",
    ]  # fmt: skip
    assert all("too few to tell" in one for one in made.unknown)


def test_of_sets_without_images_nothing_is_said_to_be_well() -> None:
    found = likeness(np.zeros((0, LENGTH), "f4"), np.zeros((0, LENGTH), "f4"))
    assert claims.likeness_well(found) is None
    assert list(claims.likeness_claims(found, (), ())) == []
    one = likeness(np.zeros((0, LENGTH), "f4"), entries(pictures(1, 1))["description"])
    assert claims.likeness_well(one) is None, "one image is like nothing"


# Of one colour, identical, the same


def test_images_of_one_colour_are_not_told_to_be_unlike(tmp_path: Path) -> None:
    """They are equal to the last pixel, and there is nothing to compare."""
    made = report(tmp_path, grey(20), grey(20))
    assert not [one for one in made.well if "identical" in one]
    some = report(tmp_path, np.concatenate([pictures(1, 19), grey(1)]), pictures(2, 20))
    assert some.well[0] == (
        "no nearly identical pictures among 39 images (1 image of one colour cannot be compared)"
    )


def test_images_of_one_colour_are_no_scenes_of_their_own(tmp_path: Path) -> None:
    film = np.repeat(pictures(1, 1), 10, axis=0)
    made = report(tmp_path, np.concatenate([film, grey(10)]), pictures(2, 20))
    (scenes,) = [claim for claim in made.claims if claim.concern is Concern.SCENES]
    assert scenes.text.startswith(
        "The 10 calibration images of 20 that can be compared show 1 scene"
    )


def test_one_flat_image_is(tmp_path: Path) -> None:
    made = report(tmp_path, np.concatenate([pictures(1, 4), grey(1)]), pictures(2, 20))
    (flat,) = [claim for claim in made.claims if claim.concern is Concern.FLAT]
    assert flat.text.startswith("1 of 5 calibration images is dark or of one colour, and 0 of 20")


def test_pairs_of_copies_are_not_called_frames_of_a_video(tmp_path: Path) -> None:
    """A set that lists every image twice: the copies are neighbours by name."""
    made = report(tmp_path, np.repeat(pictures(1, 10), 2, axis=0), pictures(2, 20))
    (scenes,) = [claim for claim in made.claims if claim.concern is Concern.SCENES]
    assert "show 10 scenes: the largest has 2 nearly identical images" in scenes.text
    assert "video" not in scenes.text
    film = report(tmp_path, np.repeat(pictures(1, 4), 5, axis=0), pictures(2, 20))
    assert any("as frames of a video" in claim.text for claim in film.claims)


def test_of_a_set_that_is_both_nothing_is_to_be_taken_out(tmp_path: Path) -> None:
    """Taken out of one set, none would be left."""
    same = pictures(1, 20)
    made = report(tmp_path, same, same, names="aa")
    (overlap,) = [claim for claim in made.claims if claim.concern is Concern.OVERLAP]
    assert overlap.text.startswith("20 of 20 evaluation images are nearly the same picture")
    assert overlap.advice.startswith("Evaluate on other images")
    half = report(tmp_path, same, np.concatenate([same[:10], pictures(2, 10)]))
    (overlap,) = [claim for claim in half.claims if claim.concern is Concern.OVERLAP]
    assert overlap.advice.startswith("Take them out of one set")


def test_what_other_images_could_give_is_not_known_where_these_are_evaluated() -> None:
    same = entries(pictures(1, 20))["description"]
    assert claims.holds_evaluation(likeness(same, same))
    assert not claims.holds_evaluation(likeness(same, entries(pictures(2, 20))["description"]))
    nothing = np.zeros((0, LENGTH), np.float32)
    assert not claims.holds_evaluation(likeness(same, nothing))


def test_numbers_that_are_not_finite_are_not_as_in_the_evaluation(tmp_path: Path) -> None:
    bad = pictures(1, 20)
    bad[0] = np.nan
    made = report(tmp_path, bad, pictures(2, 20))
    assert not [one for one in made.well if "brightness" in one]
    assert any(one.startswith("brightness") and "not finite" in one for one in made.unknown)


# Whose range decides


def test_ranges_that_decide_no_scale_are_not_told_to_be_clipped(tmp_path: Path) -> None:
    """A head that stays in float: what lies beyond calibration is cut off by nothing."""
    random = np.random.default_rng(1)
    here, there = random.uniform(1, 2, (20, 20)), random.uniform(1, 2, (40, 20))
    there[:, 3] *= 10
    told = report(tmp_path, pictures(1, 20), pictures(2, 40), maxima=(here, there))
    assert concerns(told) == [Concern.UNSEEN]
    others = tuple(tensor for tensor in TENSORS if tensor != "t3")
    made = report(tmp_path, pictures(1, 20), pictures(2, 40), maxima=(here, there), scaled=others)
    assert made.claims == ()
    assert made.unseen == ()
    assert made.tensors == 19


# What other images could give


def test_the_bound_names_the_heads_that_it_is_of() -> None:
    """Heads without a simulation of both tables are not `any head`."""
    cost = Cost(head="small", algorithm="entropy", kept_db=22.0, possible_db=22.3)
    assert claims.costs_told([cost]).endswith("keeps at most 0.3 dB more at small.")
    assert claims.costs_told([]) == ""


# The image that decides


@pytest.mark.parametrize(
    ("gains", "advice"),
    [
        ((("small", 1.2), ("large", 0.8)), "take it out"),
        ((("small", 1.2), ("large", -1.1)), "Add more images of its kind"),
        ((("small", -1.2),), "Add more images of its kind"),
    ],
)
def test_an_image_that_helps_one_head_and_costs_another_is_not_to_be_taken_out(
    gains: tuple[tuple[str, float], ...], advice: str
) -> None:
    decider = Decider(image=0, tensors=("a", "b", "c"), factor=2.0, furthest=3.0, of=20)
    (claim,) = claims.without_claims(
        [LeftOutImage(decider=decider, image="a.jpg", gains_db=gains)], 0.5
    )
    assert advice in claim.advice


# The learning curve


@pytest.mark.parametrize("images", [(1, 2), (1, 3), (1, 4), (3, 12)])
def test_a_few_images_decide_nothing_about_more(images: tuple[int, int]) -> None:
    few, whole = images
    flat = [Point(images=few, sqnr_db=(22.0,) * DRAWS), Point(images=whole, sqnr_db=(22.0,))]
    for change in (0.0, 5.0, -5.0):
        moved = [flat[0], Point(images=whole, sqnr_db=(22.0 + change,))]
        found = curve("small", moved, 0.5)
        assert found
        assert found.trend is Trend.UNDECIDED
    enough = curve("small", [Point(images=4, sqnr_db=(22.0,) * DRAWS), Point(images=16, sqnr_db=(22.0,))], 0.5)  # fmt: skip
    assert enough
    assert enough.trend is Trend.ENOUGH, "identical images: more of them change nothing"


def test_a_curve_that_goes_up_and_down_is_told_by_its_last_step_alone() -> None:
    points = [
        Point(images=number, sqnr_db=dbs)
        for number, dbs in ((1, (30.0,) * 4), (4, (20.0,) * 4), (16, (26.0, 26.1, 25.9, 26.0)), (64, (22.0,)))
    ]  # fmt: skip
    found = curve("small", points, 0.5)
    assert found
    assert found.trend is Trend.WORSE
    (claim,) = claims.curve_claims([found], "minmax")
    assert "from 16 to 64 of them (minmax) small -4.0 dB" in claim.text


# Preprocessing


def seen(factor: float) -> list[dict[str, float]]:
    return [{name: factor * (1 + index) for index, name in enumerate(TENSORS)}]


def test_a_table_that_is_near_to_no_preprocessing_does_not_fit_what_was_fed(tmp_path: Path) -> None:
    """Another network's is nearest to something, too."""
    forms = {AS_FED: seen(1.0), FORMS[1]: seen(255.0)}
    far = {"f": {name: 9.0 + index % 3 for index, name in enumerate(TENSORS)}}
    made = report(tmp_path, pictures(1, 20), pictures(2, 20), tables=far, forms=forms)
    assert not [one for one in made.well if "f.cache" in one]
    assert "with what the table of f.cache was made: no known preprocessing fits" in made.unknown
    near = {"f": {name: 1.1 * amax for name, amax in seen(1.0)[0].items()}}
    fits = report(tmp_path, pictures(1, 20), pictures(2, 20), tables=near, forms=forms)
    assert "the table of f.cache fits what was fed" in fits.well


def test_a_table_of_another_preprocessing_seems_so(tmp_path: Path) -> None:
    """Of 26 tables in known forms one was taken for another: it is no certainty."""
    forms = {AS_FED: seen(1.0), FORMS[1]: seen(255.0)}
    raw = {"f": {name: 255 * amax for name, amax in seen(1.0)[0].items()}}
    made = report(tmp_path, pictures(1, 20), pictures(2, 20), tables=raw, forms=forms)
    (claim,) = made.claims
    assert claim.text.startswith("The table of f.cache seems made with another preprocessing")


def test_images_of_one_colour_tell_no_preprocessing(tmp_path: Path) -> None:
    forms = {AS_FED: seen(1.0), FORMS[1]: seen(255.0)}
    raw = {"f": {name: 255 * amax for name, amax in seen(1.0)[0].items()}}
    made = report(tmp_path, grey(20), pictures(2, 20), tables=raw, forms=forms)
    assert Concern.TABLE not in concerns(made)
    assert (
        "with what the table of f.cache was made: most calibration images are of one colour"
        in made.unknown
    )


def trials(fed: float, other: float, better: float | None) -> list[Trial]:
    return [
        Trial(form=AS_FED, ap50=fed, better_by=None),
        Trial(form=FORMS[1], ap50=other, better_by=better),
    ]


def said(made: list[Trial], images: int) -> tuple[list[Claim], str | None, tuple[str, ...]]:
    preprocessing = judged(made, images)[1]
    return list(preprocessing.claims), preprocessing.well, preprocessing.unknown


def test_more_found_for_sure_is_a_claim_and_a_little_more_is_none() -> None:
    ((claim,), well, _) = said(trials(0.3, 0.5, 0.1), 64)
    assert "AP50 0.50 with raw pixels, 0 to 255, 0.30 as fed" in claim.text
    assert well is None
    (none, well, _) = said(trials(0.935, 0.937, -0.01), 64)
    assert none == []
    assert well == "no known preprocessing finds 0.02 AP50 more for sure than the images as fed"


@pytest.mark.parametrize("images", [1, 2, 7])
def test_of_a_few_images_no_interval_is_one(images: int) -> None:
    """All draws of one image are that image: its difference would be sure."""
    (none, well, unknown) = said(trials(0.3, 0.5, 0.2), images)
    assert none == []
    assert well is None
    assert "tell too little" in unknown[0]
    assert judged(trials(0.3, 0.5, 0.2), images)[0][1].better_by is None


def test_where_nothing_is_found_at_all_no_preprocessing_is_right() -> None:
    (none, well, unknown) = said(trials(0.0, 0.0, 0.0), 64)
    assert none == []
    assert well is None
    assert unknown == (
        "whether another preprocessing finds more: the float network finds nothing that is labelled",
    )
