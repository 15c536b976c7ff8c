"""`init --images`: what a folder of samples becomes in matrix.yaml, so that nothing is left to be edited."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.unit.experiments import changed, checked, image, write, wrong
from tests.unit.small_networks import Builder, detector
from tests.unit.test_recognising import faces
from tests.unit.test_samples import sound, two_frames
from trt_matrix.cli import app
from trt_matrix.commands import session
from trt_matrix.commands.init import text
from trt_matrix.commands.init_data import MOST, given
from trt_matrix.errors import ConfigError


def images(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        image(folder / f"{index:03}.png", index)
    return folder


def test_every_second_image_of_one_folder_calibrates(tmp_path: Path) -> None:
    images(tmp_path / "photos", 5)
    (tmp_path / "net.onnx").write_bytes(detector().SerializeToString())
    matrix = tmp_path / "matrix.yaml"
    session.init(tmp_path / "net.onnx", matrix, force=False, images=tmp_path / "photos")
    found = checked(matrix)
    assert [one.name for one in found.calibration] == ["000.png", "002.png", "004.png"]
    assert [one.name for one in found.evaluation] == ["001.png", "003.png"]
    assert found.config.data.calibration.limit is None
    assert found.config.baseline == "ort-1.32.0"


def test_folders_of_the_parts_names_are_the_parts(tmp_path: Path) -> None:
    for part, count in (("calibration", 2), ("evaluation", 1)):
        images(tmp_path / "photos" / part, count)
    found = given(tmp_path / "photos", "photos")
    assert not found.halved
    assert found.calibration == {"images": "photos/calibration"}
    assert found.evaluation == {"images": "photos/evaluation"}


def test_a_large_folder_is_limited(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(2 * MOST + 1):
        np.save(folder / f"{index:04}.npy", np.zeros(1, "f4"))
    found = given(folder, "many")
    assert found.calibration == {"arrays": "many", "half": "odd", "limit": MOST}
    assert found.evaluation == {"arrays": "many", "half": "even"}, "it has no more"


def test_what_cannot_serve_is_told(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "deep" / "a").mkdir(parents=True)
    images(tmp_path / "one", 1)
    images(tmp_path / "notes", 2)
    (tmp_path / "notes" / "readme.txt").write_text("")
    for part, told in (
        ("none", "no image (.bmp, "),
        ("deep", "those in folders inside are not looked for"),
        ("one", "one sample alone"),
        ("notes", "readme.txt: no image by its name"),
        ("gone", "No such file"),
    ):
        with pytest.raises(ConfigError) as caught:
            given(tmp_path / part, part)
        assert told in "; ".join(caught.value.problems)


def test_arrays_are_for_what_no_image_fills_and_images_are_not(tmp_path: Path) -> None:
    (tmp_path / "mel").mkdir()
    for index in range(4):
        np.save(tmp_path / "mel" / f"{index}.npy", np.zeros((20, 50), "f4"))
    for name, model in (("sound", sound()), ("frames", two_frames())):
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    session.init(tmp_path / "sound.onnx", tmp_path / "m.yaml", force=False, images=tmp_path / "mel")
    assert checked(tmp_path / "m.yaml").sample == (20, 50)
    with pytest.raises(ConfigError, match="which no file of an image holds: give a folder of .npy"):
        session.init(
            tmp_path / "frames.onnx",
            tmp_path / "n.yaml",
            force=False,
            images=images(tmp_path / "photos", 2),
        )
    assert not (tmp_path / "n.yaml").exists()


def test_the_preprocessing_of_a_family_is_written_as_published(tmp_path: Path) -> None:
    made = yaml.safe_load(text(Path("a.onnx"), faces(squashed=True)))["data"]["preprocess"]
    assert (made["position"], made["scale"], made["color"]) == ("top_left", 1, "bgr")
    plain = yaml.safe_load(text(Path("a.onnx"), detector()))["data"]["preprocess"]
    assert (plain["position"], plain["color"]) == ("center", "rgb")
    assert plain["scale"] == pytest.approx(1 / 255)


def test_a_half_of_one_file_is_none(tmp_path: Path) -> None:
    matrix = write(tmp_path)
    images(tmp_path / "single", 1)
    places = changed(data__evaluation={"images": "single", "half": "even"})
    (problem,) = wrong(matrix, places)
    assert problem.startswith("data.evaluation.half (line ")
    assert "cannot be halved" in problem


def test_a_run_needs_samples(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="--run needs --images FOLDER"):
        app(["init", str(tmp_path / "net.onnx"), "--run"], standalone_mode=False)


def test_names_that_yaml_would_read_otherwise_are_quoted(tmp_path: Path) -> None:
    folder = images(tmp_path / "a: b #c", 2)
    b = Builder()
    b.conv("image", "y", 3, 4)
    (tmp_path / "net.onnx").write_bytes(b.model({"image": [1, 3, 8, 8]}, ["y"]).SerializeToString())
    matrix = tmp_path / "matrix.yaml"
    session.init(tmp_path / "net.onnx", matrix, force=False, images=folder, versions=["1.30.0"])
    found = checked(matrix)
    assert len(found.calibration) == len(found.evaluation) == 1
    assert found.baseline == "ort-1.30.0"
