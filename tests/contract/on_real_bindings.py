"""Makes the adapter's own classes on the real bindings of TensorRT, without TensorRT or a GPU.

    python -m tests.contract.on_real_bindings --python PYTHON WHEELS/*.whl

PYTHON is an interpreter that the wheels are for, with numpy. The bindings are imported over stubs
(extract_surfaces.py); nothing of libnvinfer runs, but pybind's rules for subclasses, enums and
buffers are the real ones.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from tests.contract.extract_surfaces import unpacked

CONTAINERS = Path(__file__).parents[2] / "containers"

CHECKS = r"""
import sys
sys.path[:0] = [sys.argv[1], sys.argv[3]]
sys.modules["tensorrt"] = trt = __import__(sys.argv[2])
from job.engines.tensorrt import calibrators, configuration, log, network, session

heard = log.Log()
heard.log(trt.ILogger.WARNING, "Missing scale and zero-point for tensor a, expect fall back to x")
heard.log(trt.ILogger.VERBOSE, "Layer(Convolution): x")
assert (heard.unscaled, len(heard.warnings), len(heard.layers)) == (["a"], 1, 1), vars(heard)

profiler = session.Profiler()
profiler.report_layer_time("x", 1.0)
assert profiler.seconds == {"x": 0.001}

for name in calibrators.available():
    made = calibrators.make(name, None, b"cache")
    assert isinstance(made, getattr(trt, calibrators.CLASSES[name]))
    assert (made.get_batch_size(), made.get_batch(["x"]), made.asked) == (1, None, 1)
    assert made.read_calibration_cache() == b"cache"
    made.write_calibration_cache(memoryview(b"abc"))
    assert made.written == b"abc"
assert bool(calibrators.available()) is not configuration.always_strong()

flags = configuration.members(trt.BuilderFlag)
assert "TF32" in flags and all(int(value) >= 0 for value in flags.values()), flags
assert network.word(trt.DataType.FLOAT) == "FLOAT"
assert network.word(trt.LayerType.QUANTIZE) == "QUANTIZE"
assert set(network.FLOATS[:2]) <= set(configuration.members(trt.DataType))
print(trt.__version__, "calibrators:", ", ".join(calibrators.available()) or "none")
"""


def check(wheel: Path, python: str) -> str:
    """Returns one line about a wheel.

    Raises:
        subprocess.CalledProcessError: something did not hold; what, went to stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        bindings = unpacked(wheel, Path(folder))
        done = subprocess.run(
            [python, "-W", "ignore", "-c", CHECKS, folder, bindings.parent.name, str(CONTAINERS)],
            env={
                "LD_LIBRARY_PATH": folder,
                "PATH": "/usr/bin:/bin",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--python", default="python3.10")
    given = parser.parse_args()
    for path in given.wheels:
        print(check(path, given.python))
