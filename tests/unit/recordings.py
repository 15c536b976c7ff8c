"""Matrices of recorded outputs alone: a small network, images, and what made-up programs wrote of them."""

import atexit
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import yaml
from PIL import Image

from tests.unit import small_networks as networks
from tests.unit.matrices import run_offline
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.judging.outcome import Outcome

SIZE = 32
HEADS = ("large", "small")

_WARM = Path(tempfile.mkdtemp())
"""What runs here made: its address is its content, and most is of the one network and images above."""
atexit.register(shutil.rmtree, _WARM)

Outputs = Mapping[str, np.ndarray]
"""Head → (images, …), float32."""

Spoil = Callable[[np.ndarray, str, int], np.ndarray]
"""(the network's own output, head, repeat) → what a program wrote in its place."""


def network() -> onnx.ModelProto:
    made = networks.Builder(3)
    x = made.node("Relu", [made.conv("images", "c1", 3, 16)], "r1")
    for head in HEADS:
        y = made.node("Relu", [made.conv(x, f"{head}_c", 16, 16)], f"{head}_r")
        made.conv(y, head, 16, 8, k=1)
    return made.model({"images": [1, 3, SIZE, SIZE]}, HEADS)


def write_images(folder: Path, count: int, seed: int, dark: bool = False) -> np.ndarray:
    """Writes images; returns them as the network gets them, shape (n, 3, SIZE, SIZE).

    Args:
        folder: Of the images.
        count: How many.
        seed: Of their pixels.
        dark: All but the fourth are nearly black.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        pixels = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        pixels = pixels // 32 if dark and index != 3 else pixels
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
        rows.append(np.asarray(pixels, np.float32).transpose(2, 0, 1) / np.float32(255))
    return np.stack(rows)


def computed(model: onnx.ModelProto, images: np.ndarray, names: tuple[str, ...]) -> Outputs:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    running = onnxruntime.InferenceSession(model.SerializeToString(), options)
    rows = [running.run(list(names), {"images": image[np.newaxis]}) for image in images]
    return {
        name: np.concatenate(column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def noisy(share: float, seed: int = 0, repeats_differ: float = 0.0) -> Spoil:
    """Returns what adds an error of `share` of the output's deviation; builds differ by another share."""

    def spoil(output: np.ndarray, head: str, repeat: int) -> np.ndarray:
        generator = np.random.default_rng([seed, HEADS.index(head)])
        error = generator.normal(0, 1, output.shape)
        scale = share * (1 + repeats_differ * repeat)
        return (output + scale * output.std() * error).astype(np.float32)

    return spoil


def exactly(output: np.ndarray, _head: str, _repeat: int) -> np.ndarray:
    return output


def only(head: str, spoil: Spoil, other: Spoil = exactly) -> Spoil:
    """Returns what spoils one head, and does `other` to the others."""
    return lambda output, name, repeat: (spoil if name == head else other)(output, name, repeat)


class Recording:
    """A folder with a network, images and recorded versions; `run` judges it by the way a user goes."""

    def __init__(self, folder: Path, images: int = 16, *, dark: bool = False) -> None:
        self.folder = folder
        self.model = network()
        (folder / "model.onnx").write_bytes(self.model.SerializeToString())
        self.calibration = write_images(folder / "images" / "calibration", 8, 1)
        self.images = write_images(folder / "images" / "evaluation", images, 2, dark=dark)
        self.outputs = computed(self.model, self.images, HEADS)
        self.environments: list[dict[str, Any]] = []

    def version(
        self, name: str, number: str, repeats: int = 2, *, table: bool = False, **passes: Spoil
    ) -> None:
        """Records a version: `fp32=exactly, int8=noisy(0.1)`; `_` in a pass's name stands for `-`."""
        told: dict[str, Any] = {}
        for key, spoil in passes.items():
            name_of_pass = key.replace("_", "-")
            for repeat in range(repeats):
                for head in HEADS:
                    folder = self.folder / "dumps" / name / key / str(repeat) / head
                    folder.mkdir(parents=True)
                    rows = spoil(self.outputs[head], head, repeat)
                    for index, row in enumerate(rows):
                        row.astype("<f4").tofile(folder / f"{index:03d}.bin")
            told[name_of_pass] = {"files": key + "/{repeat}/{head}/{image}.bin"}
            if table and name_of_pass.startswith("int8"):
                told[name_of_pass]["table"] = str(self.cache().relative_to(self.folder))
        self.environments.append(
            {"dumps": f"dumps/{name}", "name": name, "version": number, "device": "gpu:T4",
             "repeats": repeats, "passes": told}
        )  # fmt: skip

    def cache(self, factor: float = 1.0) -> Path:
        """Writes a TensorRT cache of the largest magnitudes in the calibration images; returns where."""
        path = self.folder / "dumps" / f"calibration-{factor:g}.cache"
        path.parent.mkdir(exist_ok=True)
        inner, _ = calibration_model(self.model)
        names = tuple(value.name for value in inner.graph.output)
        found = computed(inner, self.calibration, names)
        amax = {name: float(np.abs(array).max()) for name, array in found.items()}
        amax["images"] = float(np.abs(self.calibration).max())
        lines = [
            f"{name}: {struct.pack('>f', factor * value / 127).hex()}"
            for name, value in amax.items()
        ]
        path.write_text("\n".join(["TRT-8601-EntropyCalibration2", *lines, ""]))
        return path

    def run(self, gate: Mapping[str, Any] | None = None, **more: Any) -> Outcome:
        gates = {"gate": dict(gate)} if gate else {}
        content = {
            "name": "recorded",
            "model": {"onnx": "model.onnx"},
            "heads": {head: dict(gates) for head in HEADS},
            "data": {
                "calibration": {"images": "images/calibration"},
                "evaluation": {"images": "images/evaluation"},
                "preprocess": {"resize": "stretch", "scale": 1 / 255},
            },
            "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
            "precisions": ["fp32", "fp16", "tf32", "int8"],
            "repeats": 2,
            "devices": ["cpu", "gpu:T4"],
            "baseline": self.environments[0]["name"],
            "environments": self.environments,
            **more,
        }
        source = self.folder / "matrix.yaml"
        source.write_text(yaml.safe_dump(content, sort_keys=False))
        results = self.folder / "results"
        _copy(_WARM, results / ".store")
        outcome = run_offline(source, results)
        _copy(results / ".store", _WARM)
        return outcome


def _copy(store: Path, into: Path) -> None:
    for part in ("facts", "objects"):
        if (store / part).exists():
            shutil.copytree(store / part, into / part, dirs_exist_ok=True)
