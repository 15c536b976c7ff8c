"""A network, its calibration cache and its images, for `trt-matrix migrate`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from tests.unit import small_networks as networks
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.trt_cache import Cache, Header

Call = Callable[..., tuple[int, str, str]]
"""Arguments of the command line → exit code, stdout, stderr."""
HEADER = Header(version=(8, 5, 3), algorithm="EntropyCalibration2")

MATRIX = """\
name: tiny
model: {onnx: net.onnx}
heads: {big: {output: large}, small: {}, inner: {output: s2}}
data:
  calibration: {images: images}
  evaluation: {images: images}
  preprocess: {resize: stretch}
baseline: trt-8
environments: [{elsewhere: [trt-8, trt-11], engine: tensorrt}]
"""


def with_cache(folder: Path) -> Path:
    """Writes a network and its cache; returns the folder."""
    model = networks.detector()
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    (folder / "net.cache").write_bytes(cache_of(model))
    return folder


def cache_of(model: onnx.ModelProto, factor: float = 1.0, joined: str | None = "joined") -> bytes:
    """A cache of the largest magnitudes on four images of noise."""
    wide, names = calibration_model(model)
    amax = dict.fromkeys(names, 0.0)
    for seed in range(4):
        image = noise(seed)
        values = networks.run(wide, {"image": image}) | {"image": image}
        amax = {name: max(one, float(np.abs(values[name]).max())) for name, one in amax.items()}
    scales = {name: factor * one / 127 for name, one in amax.items()}
    if joined:
        scales[joined] *= 1.25  # wider than what it joins, as of other images
    return trt_cache.write(Cache(header=HEADER, scales=scales)).encode()


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (1, 3, 16, 16)).astype("f4")


def images(folder: Path, count: int = 4) -> Path:
    (folder / "images").mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype="u1")
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    return folder / "images"
