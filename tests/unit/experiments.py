"""A small experiment on disk: network, images, labels and matrix.yaml."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from tests.unit.small_networks import detector
from trt_matrix.config.matrix import Config, validate
from trt_matrix.config.yaml_file import Document, parse, read
from trt_matrix.errors import ConfigError
from trt_matrix.planning.matrix import Checked, check

DATA = {part: {"images": part} for part in ("calibration", "evaluation")}
"""Of a matrix.yaml, for `noise_images`."""


def quick(**sections: Any) -> dict[str, Any]:
    """Returns a matrix.yaml of these sections, and of those that make it one environment's, run in a moment."""
    return {
        "name": "tiny",
        "model": {"onnx": "tiny.onnx"},
        "heads": {"large": {"stride": 4}, "small": {"stride": 2}},
        "data": DATA,
        "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
        "repeats": 1,
        "baseline": "here",
        "engines": {"onnxruntime": {"threads": 1}},
        "timing": {"min_samples": 1, "max_samples": 1, "max_s": 0.01, "warm_up_max_s": 0},
        "environments": [{"interpreter": sys.executable, "name": "here"}],
    } | sections


def settings() -> dict[str, Any]:
    """Returns the content of matrix.yaml for `write`."""
    return {
        "name": "tiny",
        "model": {"onnx": "tiny.onnx"},
        "heads": {"large": {}, "small": {"stride": 2, "gate": {"sqnr_db": 20}}},
        "data": {
            "calibration": {"images": "calibration"},
            "evaluation": {"images": "evaluation", "labels": "labels.json"},
        },
        "baseline": "ort-1.32",
        "environments": [
            {"venv": "onnxruntime", "versions": ["1.26.0", "1.32.0"]},
            {"ngc": ["19.09-py3"]},
        ],
    }


def changed(**places: Any) -> dict[str, Any]:
    """Returns the settings with some replaced: changed(data__evaluation__labels="x.json")."""
    result = settings()
    for place, value in places.items():
        *sections, key = place.split("__")
        section = result
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return result


def noise_images(
    folder: Path, seed: int, *, name: str = "{}.png", height: int = 16, **counts: int
) -> npt.NDArray[np.uint8]:
    """Writes pictures of noise, 16 wide: so many into each folder of `counts`, drawn in that order; returns them."""
    random = np.random.default_rng(seed)
    pictures = []
    for part, count in counts.items():
        (folder / part).mkdir(exist_ok=True)
        for index in range(count):
            pictures.append(random.integers(0, 256, (height, 16, 3), np.uint8))
            Image.fromarray(pictures[-1]).save(folder / part / name.format(index))
    return np.stack(pictures)


def image(path: Path, seed: int, size: tuple[int, int] = (20, 10)) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write(folder: Path) -> Path:
    """Writes everything that the settings refer to; returns where matrix.yaml is."""
    (folder / "tiny.onnx").write_bytes(detector().SerializeToString())
    for part, seed in (("calibration", 0), ("evaluation", 100)):
        (folder / part).mkdir()
        for index in range(2):
            image(folder / part / f"{index}.png", seed + index)
    coco = {
        "images": [{"id": index, "file_name": f"{index}.png"} for index in range(2)],
        "annotations": [],
        "categories": [],
    }
    (folder / "labels.json").write_text(json.dumps(coco))
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(settings()))
    return path


def config(content: Mapping[str, Any]) -> Config:
    return validate(Document("matrix.yaml", content))


def problems(content: Mapping[str, Any] | str) -> list[str]:
    """Returns what is wrong with the shape of a document; empty where nothing is."""
    try:
        document = (
            parse(content, "matrix.yaml")
            if isinstance(content, str)
            else Document("matrix.yaml", content)
        )
        validate(document)
    except ConfigError as error:
        return error.problems
    return []


def checked(path: Path) -> Checked:
    document = read(path)
    return check(validate(document), document, path.parent)


def wrong(path: Path, content: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the experiment when matrix.yaml holds `content`."""
    path.write_text(yaml.safe_dump(content))
    try:
        checked(path)
    except ConfigError as error:
        return error.problems
    return []
