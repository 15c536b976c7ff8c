"""What is likely wrong stands at the top of the page and of the summary, not on the terminal alone."""

from pathlib import Path

import pytest
import yaml

from tests.unit.matrices import Told, run_offline
from tests.unit.small_networks import detector
from tests.unit.test_shipped_run import FOLDERS, Ran

GUESS = "the size [640, 640] and the preprocessing are guesses, see guessed (line "


def again(ran: Ran, **settings: object) -> tuple[str, str, Told]:
    """Runs the matrix with other settings; returns page, summary and what was told."""
    written = yaml.safe_load(ran.source.read_text()) | settings
    ran.source.write_text(yaml.safe_dump(written))
    told = Told()
    run_offline(ran.source, ran.results, told=told)
    latest = ran.results / "latest"
    return (latest / "report.html").read_text(), (latest / "summary.md").read_text(), told


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    data = {**FOLDERS, "preprocess": {"mean": 0.5, "std": 0.25}}
    return Ran(tmp_path_factory.mktemp("doubts"), detector(), data)


def test_a_run_without_doubts_says_nothing_of_any(ran: Ran) -> None:
    page = (ran.results / "latest" / "report.html").read_text()
    assert 'class="doubt"' not in page
    assert "Check first" not in (ran.results / "latest" / "summary.md").read_text()


def test_a_guess_is_above_the_verdict_until_it_is_deleted(ran: Ran) -> None:
    page, summary, told = again(ran, guessed=["the size [640, 640]", "the preprocessing"])
    assert any(GUESS in line for line in told.lines)
    shown = GUESS[0].upper() + GUESS[1:]
    assert page.index(shown) < page.index("<h1>")
    plain = summary.replace("\\", "")
    assert GUESS in plain
    assert plain.index(GUESS) < plain.index("SQNR in dB")
    page, summary, _ = again(ran, guessed=["the preprocessing"])
    assert "The preprocessing is a guess, see guessed" in page
    page, summary, _ = again(ran, guessed=[])
    assert 'class="doubt"' not in page
    assert "Check first" not in summary


def test_images_without_labels_are_told_above_the_verdict(ran: Ran, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "0.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (labels / "1.txt").write_text("")
    data = yaml.safe_load(ran.source.read_text())["data"]
    page, summary, _ = again(
        ran,
        data=data | {"evaluation": {"images": "evaluation", "labels": str(labels)}},
        decode={"style": "yolov3", "classes": 1},
        heads={
            "large": {"stride": 4, "anchors": [[4, 4]]},
            "small": {"stride": 2, "anchors": [[2, 2]]},
        },
    )
    told = "1 of 3 images have no .txt and count as without objects"
    assert page.index(told) < page.index("<h1>")
    assert told in summary.replace("\\", "")
