"""Causes planted in the calibration images of real runs: each is named, and a sound set is left alone."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.causes.scene import HEADS, network, write_images
from tests.unit.experiments import DATA
from trt_matrix.commands import session
from trt_matrix.commands.console import chosen
from trt_matrix.core.calibration.curve import Trend
from trt_matrix.core.calibration.report import CalibrationReport, Concern
from trt_matrix.core.manifest import Manifest
from trt_matrix.judging.outcome import Outcome

NUMBER = 24


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.float64)


def save(path: Path, values: np.ndarray) -> None:
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)


def each(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for path in sorted((folder / "calibration").iterdir()):
        save(path, change(pixels(path)))


def warm(folder: Path) -> None:
    """Gives all images more red than blue, as most photographs have."""
    for part in ("calibration", "evaluation"):
        for path in sorted((folder / part).iterdir()):
            save(path, pixels(path) * 0.7 + np.array([40.0, 10.0, -10.0]))


def sound(folder: Path) -> None:
    pass


def dark(folder: Path) -> None:
    each(folder, lambda values: values * 0.15)


def exchanged(folder: Path) -> None:
    warm(folder)
    each(folder, lambda values: values[..., ::-1])


def copied(folder: Path) -> None:
    """Six evaluation images, brighter and stored in another format."""
    for number in range(6):
        values = pixels(folder / "evaluation" / f"{number:03}.png")
        (folder / "calibration" / f"{number:03}.png").unlink()
        save(folder / "calibration" / f"copy{number}.bmp", values * 0.9 + 10)


def outlier(folder: Path) -> None:
    """All images are dim, but for one that glares."""
    for part in ("calibration", "evaluation"):
        for path in sorted((folder / part).iterdir()):
            save(path, pixels(path) * 0.2)
    glare = np.random.default_rng(9).choice([0.0, 255.0], (32, 32, 3))
    save(folder / "calibration" / "glare.png", glare)


CAUSES: dict[str, tuple[Callable[[Path], None], set[Concern]]] = {
    "sound": (sound, set()),
    "warm": (warm, set()),
    "dark": (dark, {Concern.OTHER_IMAGES, Concern.UNSEEN}),
    "exchanged": (exchanged, {Concern.EXCHANGED}),
    "copied": (copied, {Concern.OVERLAP}),
    "outlier": (outlier, {Concern.DECIDER}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Outcome, Path]]:
    """Returns the way to a cause's run; each is made once."""
    whole = tmp_path_factory.mktemp("images")
    made: dict[str, tuple[Outcome, Path]] = {}

    def run(cause: str) -> tuple[Outcome, Path]:
        if cause not in made:
            folder = whole / cause
            folder.mkdir()
            (folder / "scene.onnx").write_bytes(network().SerializeToString())
            write_images(folder / "calibration", NUMBER, seed=11)
            write_images(folder / "evaluation", NUMBER, seed=12)
            CAUSES[cause][0](folder)
            source = folder / "matrix.yaml"
            source.write_text(yaml.safe_dump(settings(cause)))
            with chosen(quiet=True, as_json=False) as progress:
                made[cause] = (
                    session.run_experiment(
                        source, folder / "results", select=[], offline=True, progress=progress
                    ),
                    folder,
                )
        return made[cause]

    return run


def settings(cause: str) -> dict[str, object]:
    return {
        "name": cause,
        "model": {"onnx": "scene.onnx"},
        "heads": {head: {} for head in HEADS},
        "data": DATA,
        "calibration": {
            "algorithms": ["minmax"],
            "shared": "minmax",
            "forensics": {"learning_curve": cause in ("sound", "outlier")},
        },
        "repeats": 1,
        "baseline": "here",
        "environments": [{"interpreter": sys.executable, "name": "here"}],
        "engines": {"onnxruntime": {"threads": 1}},
        "timing": {"min_samples": 1, "max_samples": 1, "max_s": 0.001, "warm_up_max_s": 0.0},
    }


def report(outcome: Outcome) -> CalibrationReport:
    calibration_report = outcome.judgement.calibration
    assert calibration_report is not None
    return calibration_report


@pytest.mark.parametrize("cause", CAUSES)
def test_exactly_the_planted_cause_is_named(
    outcomes: Callable[[str], tuple[Outcome, Path]], cause: str
) -> None:
    outcome, _ = outcomes(cause)
    claims = {claim.concern for claim in report(outcome).claims} - {Concern.CURVE}
    assert claims == CAUSES[cause][1]


def test_the_page_the_terminal_and_the_question_tell_it(
    outcomes: Callable[[str], tuple[Outcome, Path]],
) -> None:
    outcome, _ = outcomes("dark")
    page = outcome.report.read_text()
    assert "The calibration images are not of the kind that is evaluated: darker" in page
    assert "calibration images: The calibration images are not of the kind" in outcome.text()
    assert "Other images could give up to" in page
    summary = (outcome.folder / "summary.md").read_text()
    assert "calibration images: The calibration images are not of the kind" in summary
    sound_outcome, _ = outcomes("sound")
    assert "calibration images:" not in sound_outcome.text()
    assert "Looked at, and nothing found: no nearly identical pictures among 48 images" in (
        sound_outcome.report.read_text()
    )


def test_the_glaring_image_is_named_with_what_leaving_it_out_gives(
    outcomes: Callable[[str], tuple[Outcome, Path]],
) -> None:
    calibration_report = report(outcomes("outlier")[0])
    (claim,) = [claim for claim in calibration_report.claims if claim.concern is Concern.DECIDER]
    assert claim.text.startswith("glare.png alone decides the range of ")
    assert "take it out" in claim.advice
    head, gain = calibration_report.without[0].gains_db[0]
    assert head in HEADS
    assert gain > 3
    # The curve sees the same cause another way: what the one image costs, only the whole set pays always.
    trends = {curve.head: curve.trend for curve in calibration_report.curves}
    assert trends[head] in (Trend.WORSE, Trend.UNDECIDED)


def test_a_sound_set_has_a_curve_and_its_points_are_draws(
    outcomes: Callable[[str], tuple[Outcome, Path]],
) -> None:
    calibration_report = report(outcomes("sound")[0])
    assert {curve.head for curve in calibration_report.curves} <= set(HEADS)
    for curve in calibration_report.curves:
        assert [point.images for point in curve.points] == [1, 6, 24]
        assert [len(point.sqnr_db) for point in curve.points][-1] == 1
        assert all(len(point.sqnr_db) > 1 for point in curve.points[:-1])


def test_ranges_by_image_are_those_of_the_calibration(
    outcomes: Callable[[str], tuple[Outcome, Path]],
) -> None:
    """The largest over all images is the table that the job itself made."""
    outcome, folder = outcomes("sound")
    manifest = Manifest.model_validate_json((outcome.folder / "manifest.json").read_bytes())
    facts = manifest.calibration
    assert facts is not None
    assert facts.calibration.maxima is not None
    stored = folder / "results" / ".store" / "objects" / facts.calibration.maxima.file
    largest = dict(zip(facts.tensors, np.load(stored).max(axis=0), strict=True))
    images = manifest.facts["images"]["calibration"]["array_sha256"]
    (table,) = [
        digest
        for digest, one in manifest.tables.items()
        if one["images_sha256"] == images
        and one["algorithm"] == "minmax"
        and one["environment"] == "reference"
    ]
    content = yaml.safe_load((outcome.folder / "tables" / f"{table[:12]}.json").read_text())
    assert content["amax"] == pytest.approx(largest, rel=1e-7)


def test_judged_again_it_says_the_same_and_what_is_gone_is_told(
    outcomes: Callable[[str], tuple[Outcome, Path]], tmp_path: Path
) -> None:
    from trt_matrix.judging.run import judge_again

    outcome, folder = outcomes("copied")
    results = tmp_path / "results"
    shutil.copytree(folder / "results", results, symlinks=True)
    again = judge_again("latest", results)
    assert report(again) == report(outcome)
    manifest = Manifest.model_validate_json((outcome.folder / "manifest.json").read_bytes())
    assert manifest.calibration is not None
    described = manifest.calibration.calibration.described
    assert described is not None
    (results / ".store" / "objects" / described.file).write_bytes(b"\x93NUMPY broken")
    gone = report(judge_again("latest", results))
    assert gone.pairs == ()
    assert any("likeness of images" in one for one in gone.unknown)
