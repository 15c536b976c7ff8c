"""A classifier, a segmenter, an embedding and depth: nothing that a person reads speaks of boxes or detections."""

import html
import os
import re
from pathlib import Path

import pytest
import yaml

from tests.networks.first_report import fill, first_report
from tests.unit.boxless_networks import classifier, depth, embedding, segmenter
from trt_matrix.cli import app
from trt_matrix.judging.judgement_file import JudgementFile

KINDS = {"classifier": classifier, "segmenter": segmenter, "embedding": embedding, "depth": depth}
OF_BOXES = re.compile(r"\bbox(es)?\b|detect|\bdecode\b|\bAP\b|\bIoU\b", re.IGNORECASE)
GATE = 5.0
"""dB that each of them keeps with its best table."""


def read_as_text(page: str) -> str:
    """Returns what a page shows, without its script, its style and its data."""
    shown = re.sub(r"(?s)<(style|script)[^>]*>.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def of_boxes(text: str) -> list[str]:
    return [
        text[max(0, match_.start() - 60) : match_.end() + 60] for match_ in OF_BOXES.finditer(text)
    ]


@pytest.mark.parametrize("kind", list(KINDS)[:: 2 if os.environ.get("CI") else 1])
def test_nothing_speaks_of_boxes(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(KINDS[kind]().SerializeToString())
    fill(tmp_path / "samples", "images", ())
    made = first_report(file, tmp_path / "samples", tmp_path)
    assert made.written["decode"] == "none"
    assert made.manifest.boxless
    assert (made.manifest.decode, made.manifest.evaluation) == (None, ())
    told = read_as_text(made.page)
    guess = "that it makes no boxes (decode: none)"
    assert guess in told  # above the verdict, until the user has checked it
    assert of_boxes(told.replace(guess, "")) == []
    assert "no gate says whether that is enough" in told
    assert "Unknown" in told[told.index("Does it matter?") :][:30]

    # Once it is checked, and a gate is set, nothing of them is left: neither in the terminal.
    matrix = tmp_path / "matrix.yaml"
    changed = yaml.safe_load(matrix.read_text("utf-8"))
    del changed["guessed"]
    for head in changed["heads"]:
        changed["heads"][head]["gate"] = {"sqnr_db": GATE}
    matrix.write_text(yaml.safe_dump(changed), "utf-8")
    capsys.readouterr()
    results = ["--results", str(tmp_path / "results")]
    for command in (["plan"], ["run", "--quiet"]):
        assert (app([*command, "-c", str(matrix), *results], standalone_mode=False) or 0) == 0
    shown = capsys.readouterr()
    latest = tmp_path / "results" / "latest"
    summary = (latest / "summary.md").read_text("utf-8")
    page = read_as_text((latest / "report.html").read_text("utf-8"))
    for text in (shown.out, shown.err, summary, page):
        assert of_boxes(text) == []
    assert "gate says" not in page
    matters = page[page.index("Does it matter?") :]
    assert matters.removeprefix("Does it matter?").split()[0] in ("No", "Yes")

    # A gate that it breaks is told as an error of the head.
    for head in changed["heads"]:
        changed["heads"][head]["gate"] = {"sqnr_db": 60}
    matrix.write_text(yaml.safe_dump(changed), "utf-8")
    app(["run", "--quiet", "-c", str(matrix), *results], standalone_mode=False)
    judgement = JudgementFile.read(latest).judgement
    assert judgement.gates_failed
    failed = read_as_text((latest / "report.html").read_text("utf-8"))
    assert of_boxes(failed) == []
    assert "(gate 60)" in failed
    assert of_boxes((latest / "summary.md").read_text("utf-8")) == []
