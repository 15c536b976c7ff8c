"""Thumbnails of what the network was given, and the sections that a whole run fills."""

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import run_offline
from tests.unit.pages import Element, parse
from trt_matrix.config.data import Preprocess
from trt_matrix.core.boxes.results import WorstImage
from trt_matrix.core.manifest import EvaluationImage, Manifest
from trt_matrix.inputs.images import preprocess
from trt_matrix.judging.pictures import (
    LONGEST,
    LONGEST_FED,
    Pictures,
    at_most,
    clipped,
    cut_out,
    data_uri,
    eight_bits,
    pictures,
    pixels_of,
)
from trt_matrix.judging.run import judge_again
from trt_matrix.report.sections import SHOWN
from trt_matrix.store.results import RunFolder, Store

MATRIX = quick(
    heads={
        "large": {"stride": 4, "anchors": [[6, 6]]},
        "small": {"stride": 2, "anchors": [[3, 3]]},
    },
    decode={"style": "yolov3", "classes": 1, "shown_score": 0.2},
    data={"calibration": {"images": "images"}, "evaluation": {"images": "images"}},
    timing={"min_samples": 4, "max_samples": 4, "max_s": 1.0, "warm_up_max_s": 0.0},
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    noise_images(folder, 3, images=2, height=24)
    (folder / "matrix.yaml").write_text(yaml.safe_dump(MATRIX))
    run_offline(folder / "matrix.yaml")
    shutil.rmtree(folder / "images")  # the report needs none of them
    return folder / "results"


def page(results: Path) -> tuple[str, Element]:
    text = (results / "latest" / "report.html").read_text()
    return text, parse(text)


def copied(results: Path, target: Path) -> Path:
    shutil.copytree(results, target, symlinks=True)
    return target


def test_a_run_shows_its_worst_images_with_both_sets_of_boxes(results: Path) -> None:
    text, document = page(results)
    assert "img-src data:" in text
    boxes = document.by_id("images")
    found = [element.attributes["href"] for element in boxes.all("image")]
    assert len(found) == 2
    for uri in found:
        assert uri
        header, _, content = uri.partition(",")
        assert header == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(content))).size == (16, 24)
    fed = boxes.all("img")
    assert [seen(element.attributes["src"] or "").shape for element in fed] == [(16, 16, 3)] * 2
    assert "fed 16 × 16 RGB, 0.106 to 0.871" in boxes.text
    assert "no pixel" not in boxes.text
    drawings = [element for element in boxes.all("svg") if "picture" in element.classes]
    assert drawings[0].attributes["viewbox"] == "0 0 16 24"
    assert any("box" in element.classes for element in drawings[0].all("rect"))


def test_a_run_tells_its_tables_layers_and_stages(results: Path) -> None:
    _, document = page(results)
    tables = document.by_id("tables").text
    assert "minmax, shared compared with" in tables
    assert "minmax, own of here" in tables
    layers = document.by_id("layers").text
    assert "shared by all heads" in layers
    assert "small alone" in layers
    cells = document.by_id("cells").text
    assert all(stage in cells for stage in ("build", "infer", "time"))
    assert document.by_id("tradeoff").all("figure")


def test_judging_again_gives_the_same_page_and_leaves_images_out_on_request(
    results: Path, tmp_path: Path
) -> None:
    mine = copied(results, tmp_path / "results")
    before, _ = page(mine)
    judge_again("latest", mine)
    assert page(mine)[0] == before
    judge_again("latest", mine, images=False)
    text, document = page(mine)
    assert "img-src" not in text
    assert "data:image" not in text
    assert "the pictures were left out" in document.by_id("images").text
    assert "here/cpu/int8-shared-minmax" in document.by_id("images").text, "the rest is told"


def test_matrix_yaml_leaves_images_out_for_good(results: Path, tmp_path: Path) -> None:
    mine = copied(results, tmp_path / "results")
    path = (mine / "latest").resolve() / "manifest.json"
    content = json.loads(path.read_text())
    assert content["show_images"] is True
    path.write_text(json.dumps(content | {"show_images": False}))
    judge_again("latest", mine)
    assert "data:image" not in page(mine)[0]


def test_what_is_not_stored_any_more_is_told(results: Path, tmp_path: Path) -> None:
    mine = copied(results, tmp_path / "results")
    run = Store(mine).open_run("latest")
    manifest = run.manifest()
    assert manifest.asked
    run.store.path(manifest.asked.evaluation).unlink()
    for path in (run.store.root / "objects").glob("*.onnx"):
        path.unlink()
    shutil.rmtree(run.folder / "tables")
    judge_again("latest", mine)
    _, document = page(mine)
    assert "not stored with this run any more" in document.by_id("images").text
    assert not [element for element in document.walk() if element.attributes.get("id") == "layers"]
    assert "cannot be read from its folder any more" in document.by_id("tables").text


def test_damaged_files_of_a_run_are_left_out(results: Path, tmp_path: Path) -> None:
    mine = copied(results, tmp_path / "results")
    run = Store(mine).open_run("latest")
    for path in (run.store.root / "objects").glob("*.onnx"):
        path.write_bytes(b"\xff" * 40)
    tables = sorted((run.folder / "tables").iterdir())
    for path, content in zip(tables, (b"\xff\xfe", b'{"amax": 1}'), strict=False):
        path.write_bytes(content)
    judge_again("latest", mine)
    _, document = page(mine)
    assert not [element for element in document.walk() if element.attributes.get("id") == "layers"]
    assert "cannot be read from its folder any more" in document.by_id("tables").text


# What was done to the pixels is undone


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"color": "bgr"},
        {"scale": 1.0, "mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)},
        {"color": "gray"},
    ],
)
def test_a_preprocessed_image_is_itself_again(
    tmp_path: Path, changes: dict[str, Any], last: bool
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8)
    if changes.get("color") == "gray":
        pixels[...] = pixels[..., :1]
    source = tmp_path / "one.png"
    Image.fromarray(pixels).save(source)
    settings = Preprocess.model_validate({"scale": 1 / 255, "resize": "letterbox"} | changes)
    channels = 1 if settings.color == "gray" else 3
    target = tmp_path / "batch.npy"
    (place,) = preprocess([source], (channels, 20, 20), settings, target, channels_last=last)
    values = np.load(target)[0]
    exact = pixels_of(values, (20, 20), settings.model_dump(mode="json"))
    assert clipped(exact) == 0
    found = eight_bits(exact)
    assert found.shape == (20, 20, 3)
    if settings.color == "bgr":  # as it was fed, blue is shown as red
        found = found[..., ::-1]
    inner = found[place.top : place.top + 12, place.left : place.left + 20]
    assert np.abs(inner.astype(int) - pixels).max() <= 1


def test_a_large_image_is_made_small_in_its_own_proportions() -> None:
    place = EvaluationImage(
        file_name="a", width=4000, height=1000, inner_width=400, inner_height=100, left=0, top=150
    )
    assert cut_out(np.zeros((400, 400, 3), np.uint8), place).size == (LONGEST, LONGEST // 4)
    thin = place.model_copy(update={"width": 100_000, "height": 1})
    assert cut_out(np.zeros((400, 400, 3), np.uint8), thin).size == (LONGEST, 1)


def worst(name: str) -> WorstImage:
    return WorstImage(
        file_name=name, width=1, height=1, cells=("c",), heads=("h",), reference=(), test=()
    )


def test_an_old_run_has_no_pictures(results: Path) -> None:
    run = Store(results).open_run("latest")
    old = run.manifest().model_dump(mode="json", exclude={"asked", "show_images"})
    manifest = Manifest.model_validate_json(json.dumps(old))
    assert manifest.show_images
    assert pictures(run.store, manifest, [worst("0.png")]) == Pictures({}, {})


def test_images_that_the_run_does_not_know_are_left_out(results: Path) -> None:
    run = Store(results).open_run("latest")
    found = pictures(run.store, run.manifest(), [worst("1.png"), worst("x.png"), worst("1.png")])
    assert list(found.cut_out) == list(found.fed) == ["1.png"]


def test_so_many_pictures_fit_a_page() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    place = EvaluationImage(
        file_name="a", width=320, height=320, inner_width=320, inner_height=320, left=0, top=0
    )
    fed = at_most(Image.fromarray(noise), LONGEST_FED)
    assert max(fed.size) == LONGEST_FED
    each = len(data_uri(cut_out(noise, place))) + len(data_uri(fed))
    assert SHOWN * each < 500_000, "even of noise"


# What the network was fed


def refed(run: RunFolder, change: Any, **settings: Any) -> Pictures:
    """Returns the pictures of a run whose stored array, and what it says of it, are other ones."""
    manifest = run.manifest()
    assert manifest.asked
    values = run.store.array(manifest.asked.evaluation)
    with run.store.workspace() as folder:
        np.save(folder / "other.npy", change(np.array(values)))
        other = run.store.adopt(folder / "other.npy")
    images = manifest.facts["images"]
    changed = images | {"preprocess": images["preprocess"] | settings}
    manifest = manifest.model_copy(
        update={
            "asked": manifest.asked.model_copy(update={"evaluation": other}),
            "facts": {**manifest.facts, "images": changed},
        }
    )
    return pictures(run.store, manifest, [worst("0.png")])


def seen(one: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2]))))


def red(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values[:] = 0
    values[:, 0] = 1
    return values


def test_a_picture_of_what_was_fed_is_that_of_the_stored_array(results: Path) -> None:
    run = Store(results).open_run("latest")
    (name,) = (found := pictures(run.store, run.manifest(), [worst("0.png")])).fed
    image = found.fed[name]
    assert (image.order, image.width, image.height, image.clipped) == ("rgb", 16, 16, 0)
    asked = run.manifest().asked
    assert asked
    array = run.store.array(asked.evaluation)[0]
    assert (image.low, image.high) == (array.min(), array.max())
    picture = seen(image.picture)
    assert picture.shape == (16, 16, 3), "what pads it, too"
    assert abs(picture[:, 0].mean() - 114) < 10, "the padding beside a narrow image is grey"
    assert picture[:, 0].std() < picture[:, 8].std() / 2


def test_exchanged_colours_are_seen_as_they_were_fed(results: Path) -> None:
    run = Store(results).open_run("latest")
    as_rgb, as_bgr = refed(run, red), refed(run, red, color="bgr")
    for one in (as_rgb, as_bgr):
        mean = seen(one.fed["0.png"].picture).mean(axis=(0, 1))
        assert mean.argmax() == 0, "the first channel is red, whatever it was called"
    assert seen(as_rgb.cut_out["0.png"]).mean(axis=(0, 1)).argmax() == 0
    assert seen(as_bgr.cut_out["0.png"]).mean(axis=(0, 1)).argmax() == 2
    assert as_bgr.fed["0.png"].order == "bgr"


def test_what_no_pixel_gives_is_counted_and_cut_off(results: Path) -> None:
    run = Store(results).open_run("latest")

    def half(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        values[:] = 0.5
        values[:, :, :8] = 4.0
        values[:, :, 8:10] = np.inf
        values[:, :, 10:11] = -0.2
        return values

    image = refed(run, half).fed["0.png"]
    assert image.clipped == pytest.approx(11 / 16)
    assert image.high == np.inf
    raw = refed(run, lambda values: values * 255).fed["0.png"]
    assert raw.clipped > 0.9, "raw pixels, where the run says pixel / 255"


def test_values_of_a_pixel_that_rounding_moved_are_not_cut_off() -> None:
    settings = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    ends = np.zeros((2, 2, 3), np.float32)
    ends[0] = 255
    mean, std = (np.asarray(one, np.float32) for one in (settings.mean, settings.std))
    values = (ends * np.float32(settings.scale) - mean) / std
    assert clipped(pixels_of(values, (9, 9), settings.model_dump(mode="json"))) == 0


def test_a_ticket_knows_both_pictures_by_another_name(results: Path) -> None:
    run = Store(results).open_run("latest")
    found = pictures(run.store, run.manifest(), [worst("0.png")])
    other = found.renamed(lambda name: f"image-{name}")
    assert other.cut_out == {"image-0.png": found.cut_out["0.png"]}
    assert other.fed == {"image-0.png": found.fed["0.png"]}
