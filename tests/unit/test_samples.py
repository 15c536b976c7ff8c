"""Samples that are arrays: `data: {evaluation: {arrays: …}}`, from matrix.yaml to a run."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.unit.experiments import changed, checked, write, wrong
from tests.unit.small_networks import Builder, run
from tests.unit.test_shipped_run import Ran
from trt_matrix.commands.migration.sources import images_of, source_of
from trt_matrix.core.cells import Status
from trt_matrix.core.network.image_input import ImageInput, SampleInput, sample_input
from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.errors import ConfigError
from trt_matrix.inputs.samples import stack

FOLDERS = {"calibration": {"arrays": "a"}, "evaluation": {"arrays": "b"}}


def two_frames(channels: int = 6) -> onnx.ModelProto:
    b = Builder()
    b.node("Relu", [b.conv("frames", "c1", channels, 8, strides=[2, 2])], "r1")
    b.node("Relu", [b.conv("r1", "c2", 8, 8)], "r2")
    b.conv("r2", "large", 8, 4, k=1)
    return b.model({"frames": ["n", channels, 16, 16]}, ["large"])


def sound() -> onnx.ModelProto:
    b = Builder()
    w = b.weight("w", b.random.normal(0, 0.1, (8, 20, 3)).astype("f4"))
    b.node("Conv", ["mel", w], "large", pads=[1, 1])
    return b.model({"mel": [1, 20, 50]}, ["large"])


def fill(folder: Path, shape: tuple[int, ...], count: int = 3, dtype: str = "f4") -> None:
    for part, seed in (("a", 0), ("b", 1)):
        (folder / part).mkdir(exist_ok=True)
        random = np.random.default_rng(seed)
        for index in range(count):
            np.save(folder / part / f"{index}.npy", random.normal(0, 1, shape).astype(dtype))


def told(folder: Path, model: onnx.ModelProto, **places: Any) -> list[str]:
    if not (folder / "matrix.yaml").exists():
        write(folder)
    (folder / "tiny.onnx").write_bytes(model.SerializeToString())
    return wrong(
        folder / "matrix.yaml", changed(heads={"large": {}}, **{"data": FOLDERS, **places})
    )


def test_channels_beyond_three_are_taken_as_arrays(tmp_path: Path) -> None:
    fill(tmp_path, (6, 16, 16))
    assert told(tmp_path, two_frames()) == []
    found = checked(tmp_path / "matrix.yaml")
    assert (found.shape, found.sample) == ((6, 16, 16), (6, 16, 16))
    assert [path.name for path in found.evaluation] == ["0.npy", "1.npy", "2.npy"]


def test_as_images_they_are_refused_with_the_line_to_write(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, two_frames(), data=changed()["data"])
    assert "'frames' has shape [1, 6, 16, 16]: 1, 3 or 4 channels are expected of images" in problem
    assert "data: {evaluation: {arrays: FOLDER}}" in problem
    (problem,) = told(tmp_path, sound(), data=changed()["data"])
    assert "data: {evaluation: {arrays: FOLDER}}" in problem


def test_four_channels_are_an_images_own_or_come_as_arrays(tmp_path: Path) -> None:
    images: dict[str, Any] = {
        "calibration": {"images": "calibration"},
        "evaluation": {"images": "evaluation"},
        "preprocess": {"size": [16, 16]},
    }
    (problem,) = told(tmp_path, two_frames(4), data=images)
    assert "rgb gives 3 channels, the network's input 'frames' has 4: rgba or bgra where" in problem
    assert "data: {evaluation: {arrays: FOLDER}}" in problem
    images["preprocess"]["color"] = "bgra"
    assert told(tmp_path, two_frames(4), data=images) == []
    assert checked(tmp_path / "matrix.yaml").shape == (4, 16, 16)


def test_what_is_no_image_has_no_boxes_and_no_uff(tmp_path: Path) -> None:
    fill(tmp_path, (20, 50))
    assert told(tmp_path, sound()) == []
    found = told(
        tmp_path, sound(), decode={"style": "yolov8", "classes": 2}, model__uff={"file": "x.uff"}
    )
    assert any(one.startswith("decode (line ") and "boxes need an image" in one for one in found)
    assert any(one.startswith("model.uff (line ") for one in found)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"calibration": {"arrays": "a"}, "evaluation": {"images": "evaluation"}}, "calibration has arrays, evaluation images: take one kind"),
        ({"calibration": {"arrays": "a", "images": "a"}, "evaluation": {"arrays": "b"}}, "either `images` or `arrays`"),
        ({"calibration": {}, "evaluation": {"arrays": "b"}}, "either `images` or `arrays`"),
        ({**FOLDERS, "preprocess": {"scale": 1}}, "leave `preprocess` out"),
        ({"calibration": {"arrays": "a"}, "evaluation": {"arrays": "b", "labels": "labels.json"}}, "leave `labels` out"),
        ({"calibration": {"arrays": "none"}, "evaluation": {"arrays": "b"}}, "none: No such file or directory"),
        ({"calibration": {"arrays": "empty"}, "evaluation": {"arrays": "b"}}, "no array in this folder"),
        ({"calibration": {"arrays": "calibration"}, "evaluation": {"arrays": "b"}}, "0.png: no array by its name (.npy, .npz)"),
    ],
)  # fmt: skip
def test_what_matrix_yaml_cannot_say_of_arrays(
    tmp_path: Path, data: dict[str, Any], problem: str
) -> None:
    fill(tmp_path, (6, 16, 16), count=1)
    (tmp_path / "empty").mkdir()
    found = told(tmp_path, two_frames(), data=data)
    assert any(problem in one for one in found), found


# What is read


def test_samples_are_stacked_as_they_are(tmp_path: Path) -> None:
    arrays = [np.arange(6).reshape(2, 3) + index for index in range(4)]
    np.save(tmp_path / "0.npy", arrays[0].astype("f8"))
    np.save(tmp_path / "1.npy", arrays[1][None].astype(">i2"))
    np.savez(tmp_path / "2.npz", anything=arrays[2])
    np.savez_compressed(tmp_path / "3.npz", other=np.zeros(9), x=np.asfortranarray(arrays[3]))
    stack(sorted(tmp_path.iterdir()), [InputPart("x", (2, 3), "float32")], tmp_path / "made.npy")
    made = np.load(tmp_path / "made.npy")
    assert made.dtype == np.float32
    assert np.array_equal(made, arrays)


@pytest.mark.parametrize(
    ("name", "content", "dtype", "problem"),
    [
        ("0.npy", np.zeros((3, 2)), None, "has the shape (3, 2), one sample of the network's has (2, 3)"),
        ("0.npy", np.zeros((2, 2, 3)), None, "has the shape (2, 2, 3)"),
        ("0.npy", np.full((2, 3), np.nan), None, "holds NaN"),
        ("0.npy", np.full((2, 3), 1e39), None, "what float32 cannot hold"),
        ("0.npy", np.full((2, 3), "1"), None, "holds <U1, real numbers are expected"),
        ("0.npy", np.full((2, 3), 1j), None, "holds complex128"),
        ("0.npy", np.full((2, 3), {}), None, "no .npy of numbers"),
        ("0.npy", b"\x93NUMPY\x01\x00", None, "no .npy of numbers"),
        ("0.npy", b"", None, "no .npy of numbers"),
        ("0.npz", b"PK\x03\x04", None, "no .npz of numbers"),
        ("0.npz", {"a": np.zeros((2, 3)), "b": np.zeros((2, 3))}, None, "no array in it is called 'x': a, b"),
        ("0.npz", {"x": np.zeros((1 << 8, 1 << 12))}, None, "the network takes fewer"),
        ("0.npy", np.full((2, 3), 0.5), "uint8", "takes uint8: whole numbers from 0 to 255"),
        ("0.npy", np.full((2, 3), 256), "uint8", "takes uint8: whole numbers from 0 to 255"),
        ("0.npy", np.full((2, 3), 7e4), "float16", "takes float16: nothing beyond 65504"),
        ("0.npy", np.full((2, 3), 2.0**63), "int64", "takes int64: whole numbers from"),
        ("0.npy", np.full((2, 3), (1 << 24) + 1), "int32", "above 2^24"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_sample_is_named(
    tmp_path: Path, name: str, content: Any, dtype: str | None, problem: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez_compressed(path, **content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(ConfigError) as caught:
        stack([path], [InputPart("x", (2, 3), dtype or "float32")], tmp_path / "made")
    (found,) = caught.value.problems
    assert found.startswith(f"{path}: ")
    assert problem in found


@pytest.mark.parametrize(
    ("shape", "taken"),
    [
        (
            [1, 6, 16, 20],
            ImageInput(name="x", channels=6, height=16, width=20, channels_last=False),
        ),
        ([1, 64, 80, 4], ImageInput(name="x", channels=4, height=64, width=80, channels_last=True)),
        ([1, 64, 80, 40], SampleInput(name="x", shape=(64, 80, 40))),
        ([1, 20, 50], SampleInput(name="x", shape=(20, 50))),
        ([1, 3, 4, 16, 16], SampleInput(name="x", shape=(3, 4, 16, 16))),
    ],
)
def test_what_a_shape_is_taken_for(shape: list[int], taken: Any) -> None:
    b = Builder()
    b.node("Relu", ["x"], "y")
    found = sample_input(b.model({"x": shape}, ["y"], dtype=TensorProto.FLOAT))
    assert found == taken
    assert found.sample == tuple(shape[1:])


# A run


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("arrays")
    fill(folder, (6, 16, 16))
    return Ran(folder, two_frames(), FOLDERS)


def test_arrays_are_what_every_cell_was_fed(ran: Ran) -> None:
    assert {record.status for record in ran.records.values()} == {Status.OK}
    reference = ran.manifest.reference
    assert reference is not None
    model = two_frames()
    for index in range(3):
        x = np.load(ran.folder / "b" / f"{index}.npy")[None]
        there = run(model, {"frames": x})["large"][0]
        here = ran.run.store.array(reference.outputs["large"])[index]
        assert np.allclose(here, there, atol=1e-5)


def test_the_report_says_what_arrays_cannot_tell(ran: Ran) -> None:
    assert ran.manifest.facts["images"]["arrays"] is True
    assert "preprocess" not in ran.manifest.facts["images"]
    seen = ran.manifest.calibration
    assert seen is not None
    assert seen.calibration.described is None
    assert seen.calibration.maxima is not None
    page = (ran.run.folder / "report.html").read_text()
    assert "likeness of images, and preprocessing: the samples are arrays" in page


def test_migrate_compares_on_them(ran: Ran, tmp_path: Path) -> None:
    source = source_of(None, ran.source)
    images = images_of(source, None, 2, tmp_path)
    assert images is not None
    assert (images.count, images.told) == (2, "the evaluation arrays of matrix.yaml")
    assert np.array_equal(np.load(images.array)[1], np.load(ran.folder / "b" / "1.npy"))
    with pytest.raises(ConfigError, match="matrix.yaml has arrays"):
        images_of(source, ran.folder, 2, tmp_path)
