"""Entropy calibration: memory and time over the number of images, beside ONNX Runtime's own.

python -m benchmarks.calibration [--quick]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks import machine
from trt_matrix.containers.job.thresholds import ALGORITHMS
from trt_matrix.core.network.calibration_graph import calibration_model

Measured = tuple[float, int, int]
"""Seconds, peak bytes, tensors."""

MODEL = Path(__file__).parents[1] / "demo" / "digits3.onnx"

# Arguments: model, images, input. The same network, images and number of threads as ours; the bins
# at which its entropy does find thresholds (at its default of 128 it returns MinMax's).
PEER = """
import sys
import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

class Reader(CalibrationDataReader):
    def __init__(self):
        images = np.load(sys.argv[2], mmap_mode="r")
        self.feeds = ({sys.argv[3]: images[i : i + 1]} for i in range(len(images)))
    def get_next(self):
        return next(self.feeds, None)

calibrator = create_calibrator(
    sys.argv[1], calibrate_method=CalibrationMethod.Entropy,
    augmented_model_path=sys.argv[1] + ".augmented.onnx",
    extra_options={"num_bins": 1024, "symmetric": True},
)
calibrator.collect_data(Reader())
print(len(calibrator.compute_data().data))
"""


def write_images(path: Path, count: int, shape: Iterable[int]) -> None:
    """Writes float32 (count, *shape) in [0, 1]: noise at several scales, as photographs have."""
    rng = np.random.default_rng(0)
    channels, height, width = shape
    images = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(count, channels, height, width)
    )
    for image in images:
        for size in (4, 16, 64):
            coarse = rng.random((channels, size, size), dtype=np.float32) / 3
            repeats = -(-height // size), -(-width // size)
            image[:] += np.kron(coarse, np.ones(repeats, np.float32))[:, :height, :width]
    images.flush()


def request(tensors: Iterable[str], name: str, algorithms: Iterable[str]) -> dict[str, Any]:
    """Returns a request that only calibrates."""
    return {
        "schema_version": 1,
        "engine": "onnxruntime",
        "engine_options": {},
        "input": name,
        "heads": [],
        "evaluation": "images.npy",
        "calibration": {
            "model": "calibration.onnx",
            "images": "images.npy",
            "tensors": list(tensors),
            "algorithms": [{"name": algorithm, "options": {}} for algorithm in algorithms],
        },
        "passes": [],
        "timing": None,
    }


def ours(folder: Path, tensors: Iterable[str], name: str, algorithms: Iterable[str]) -> Measured:
    """Measures a whole job that calibrates."""
    (folder / "request.json").write_text(json.dumps(request(tensors, name, algorithms)))
    result = folder / "result"
    command = [sys.executable, "-m", "job", str(folder), str(result)]
    seconds, peak, output = machine.run(command, env=machine.environment_of_job())
    answer = json.loads((result / "result.json").read_text())
    if answer["status"] != "ok":
        raise RuntimeError(output)
    calibration = json.loads((result / "calibration.json").read_text())
    return seconds, peak, len(calibration["algorithms"]["entropy"])


def peer(folder: Path, name: str) -> Measured:
    """Measures ONNX Runtime's calibrator."""
    model, images = str(folder / "model.onnx"), str(folder / "images.npy")
    seconds, peak, output = machine.run(
        [sys.executable, "-W", "ignore", "-c", PEER, model, images, name]
    )
    return seconds, peak, int(output.splitlines()[-1])


def middle(repeats: int, measure: Callable[..., Measured], *arguments: object) -> Measured:
    """Returns the run with the median time."""
    return sorted(measure(*arguments) for _ in range(repeats))[repeats // 2]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images: does it run at all?")
    quick = parser.parse_args(arguments).quick
    counts, peer_counts = ([2, 4], [2]) if quick else ([32, 128, 512], [32, 128])
    repeats = 1 if quick else 3

    model = onnx.load(MODEL)
    (image,) = model.graph.input
    shape = [axis.dim_value for axis in image.type.tensor_type.shape.dim][1:]
    with_activations, tensors = calibration_model(model)

    rows, measured = [], {}
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_images(folder / "images.npy", count, shape)
            onnx.save(model, folder / "model.onnx")
            onnx.save(with_activations, folder / "calibration.onnx")
            of = (folder, tensors, image.name)
            seconds, peak, found = measured[count] = middle(repeats, ours, *of, ["entropy"])
            rows.append(("job, entropy, 2048 bins", count, found, seconds, peak, 1.0))
            every = middle(repeats, ours, *of, list(ALGORITHMS))
            what = f"job, all {len(ALGORITHMS)} algorithms"
            rows.append((what, count, found, every[0], every[1], every[0] / seconds))
            if count in peer_counts:
                peer_seconds, peer_peak, peer_found = middle(repeats, peer, folder, image.name)
                ratio = peer_seconds / seconds
                rows.append(
                    (
                        "onnxruntime, entropy, 1024 bins",
                        count,
                        peer_found,
                        peer_seconds,
                        peer_peak,
                        ratio,
                    )
                )
    growth = (
        (measured[counts[-1]][1] - measured[counts[0]][1]) / (counts[-1] - counts[0]) * 100 / 1e6
    )

    print("## Calibration\n")
    print(f"{machine.facts()}, onnxruntime {_version()}.")
    print(
        f"{MODEL.name}, {'x'.join(map(str, shape))}; whole processes, start to end, the run with the median time of {repeats}. Peak: "
        f"anonymous memory. Ours grows by {growth:.2f} MB per 100 images.\n"
    )
    formatted = [
        (what, count, found, f"{seconds:.2f}", f"{peak / 1e6:.0f}", f"{ratio:.1f}")
        for what, count, found, seconds, peak, ratio in rows
    ]
    print(machine.table(["", "images", "tensors", "s", "peak MB", "times ours"], formatted))


def _version() -> str:
    from importlib.metadata import version

    return version("onnxruntime")


if __name__ == "__main__":
    main()
