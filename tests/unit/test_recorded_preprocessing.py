"""A recorded program that calibrated on other input: the page names which; one that did not is left alone."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recordings import HEADS, Recording, computed, exactly, noisy
from trt_matrix.core.calibration.report import CalibrationReport, Concern
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.judging.outcome import Outcome

FED = {"resize": "stretch", "scale": 1.0, "mean": 127.0, "std": 128.0}


def cache(recording: Recording, fed: np.ndarray) -> Path:
    """Writes the cache that a program makes of images as it feeds them, (n, 3, h, w)."""
    inner, tensors = calibration_model(recording.model)
    names = tuple(tensor for tensor in tensors if tensor != "images")
    found = {**computed(inner, fed, names), "images": fed}
    lines = [
        f"{name}: {struct.pack('>f', float(np.abs(array).max()) / 127).hex()}"
        for name, array in found.items()
    ]
    path = recording.folder / "dumps" / "own.cache"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["TRT-8601-MinMaxCalibration", *lines, ""]))
    return path


def judged(folder: Path, scale: float, mean: float) -> Outcome:
    """The matrix feeds (pixel − 127) / 128; the program calibrated on pixel · scale − mean."""
    recording = Recording(folder)
    pixels = recording.calibration * 255
    feeds = (recording.images * 255 - 127) / 128
    recording.outputs = computed(recording.model, feeds.astype(np.float32), HEADS)
    written = cache(recording, (pixels * scale - mean).astype(np.float32))
    recording.version("app", "8.6.1", fp32=exactly, int8=noisy(0.05))
    recording.environments[0]["passes"]["int8"]["table"] = str(written.relative_to(folder))
    data = {
        "calibration": {"images": "images/calibration"},
        "evaluation": {"images": "images/evaluation"},
        "preprocess": FED,
    }
    return recording.run(data=data)


def report(outcome: Outcome) -> CalibrationReport:
    calibration_report = outcome.judgement.calibration
    assert calibration_report is not None
    return calibration_report


def test_pixels_over_255_in_place_of_centred_ones_are_named(tmp_path: Path) -> None:
    outcome = judged(tmp_path, 1 / 255, 0.0)
    (claim,) = [claim for claim in report(outcome).claims if claim.concern is Concern.TABLE]
    assert "The table of app seems made with another preprocessing" in claim.text
    assert "fit pixel / 255 (off by" in claim.text
    (table,) = report(outcome).tables
    assert table.input_amax == pytest.approx(1.0, rel=1e-3)
    assert table.input_fed == pytest.approx(1.0, rel=1e-3)
    assert "The table of app seems made with another preprocessing" in outcome.report.read_text()
    assert "another preprocessing" in outcome.text()


def test_a_table_of_what_was_fed_is_not_accused(tmp_path: Path) -> None:
    calibration_report = report(judged(tmp_path, 1 / 128, 127 / 128))
    assert [claim.concern for claim in calibration_report.claims] == []
    assert "the table of app fits what was fed" in calibration_report.well
