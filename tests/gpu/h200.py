"""Everything to be seen on a GPU host that has TensorRT but neither this tool nor a network.

    python -m tests.gpu.h200 prepare FOLDER [--config matrix.yaml]     here
    PYTHON FOLDER/h200.py run FOLDER NAME                              there, once a TensorRT
    python -m tests.gpu.h200 check FOLDER                              here, with FOLDER carried back

`prepare` writes requests, networks, images and the job. `run` needs Python 3.6 or later, numpy and
TensorRT, and writes FOLDER/NAME: all passes twice without a timing cache (the noise of builds), once
more with one, then our latency against one taken by hand on the same engine. NAME is yours to choose
(`trt-8.5.3.1`). `check` prints what came, and exits 1 where a goal of docs/reference/tensorrt.md was missed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

PASSES = (  # name, precision, network, implicit
    ("fp32", "fp32", "float.onnx", None),
    ("tf32", "tf32", "float.onnx", None),
    ("fp16", "fp16", "float.onnx", None),
    ("int8-explicit", "int8", "qdq.onnx", None),
    ("int8-own-entropy2", "int8", "float.onnx", ("calibrate", "entropy2")),
    ("int8-own-minmax", "int8", "float.onnx", ("calibrate", "minmax")),
    ("int8-shared-cache", "int8", "float.onnx", ("cache", "entropy2")),
    ("int8-shared-range", "int8", "float.onnx", ("dynamic_range", None)),
)
ROUNDS = ("build-0", "build-1", "cached-0", "cached-1")
TIMING = {"min_samples": 200, "max_samples": 2000, "max_s": 2.0, "warm_up_max_s": 5.0}
LATENCY_GOAL = 0.02
OVERHEAD_GOAL = 0.05


def request(options, passes):
    """Returns the content of request.json."""
    with open(os.path.join(HERE, "shape.json"), encoding="utf-8") as stream:
        shape = json.load(stream)
    return {
        "schema_version": 1,
        "engine": "tensorrt",
        "engine_options": options,
        "input": shape["input"],
        "heads": shape["heads"],
        "evaluation": "evaluation.npy",
        "calibration": None,
        "passes": [_pass(*pass_) for pass_ in passes],
        "timing": TIMING,
    }


def _pass(name, precision, model, implicit):
    told = None
    if implicit is not None:
        scales, calibrator = implicit
        images = "calibration.npy" if scales == "calibrate" else None
        told = {"scales": scales, "calibrator": calibrator, "images": images}
    return {
        "name": name,
        "precision": precision,
        "model": model,
        "table": "table.json" if told and told["images"] is None else None,
        "compare_with": None if name == "fp32" else "fp32",
        "implicit": told,
    }


# There: standard library only, until the job runs

HERE = os.path.dirname(os.path.abspath(__file__))
BY_HAND = r"""
import ctypes, json, sys
import numpy as np
from job import arrays, timing
from job.engines import cuda
from job.engines.tensorrt import Engine
with open(sys.argv[1]) as stream:
    request = json.load(stream)
engine = Engine({})
session = engine.build("float.onnx", "fp32", None, None)
image = np.array(arrays.load_images("evaluation.npy")[:1])
heads = [tensor for _, tensor in request["heads"]]
gpu = []
def call():
    session.run({request["input"]: image}, heads)
    gpu.append(session.device_s)
made = timing.measure(call, 500, 500, 60.0, 10.0)
ours = sorted(gpu[made["warm_up"]:])
# As trtexec does it: copy in, enqueue between two events, copy out, again and again; then without the
# copies, where the GPU waits for the first launches between the events.
runtime, stream = session._cuda, session._stream
start, end = session._start, session._end
bindings = session._bindings
def by_hand(copies):
    found = []
    for number in range(700):
        for one in bindings:
            if copies and one.is_input:
                cuda.upload(runtime, one.address, one.array, stream)
        runtime.call("cudaEventRecord", (start, stream))
        session._interface.enqueue(bindings, stream)
        runtime.call("cudaEventRecord", (end, stream))
        for one in bindings:
            if copies and not one.is_input:
                cuda.download(runtime, one.array, one.address, stream)
        runtime.call("cudaStreamSynchronize", (stream,))
        found.append(cuda.elapsed_s(runtime, start, end))
    found = sorted(found[200:])
    return found[len(found) // 2]
told = {"ours_s": ours[len(ours) // 2], "by_hand_s": by_hand(True), "no_copies_s": by_hand(False)}
with open(sys.argv[2], "w") as stream:
    json.dump(told, stream)
session.close()
"""


def run(name):
    """Runs all rounds beside this file into its folder `name`; goes on where it was cut off."""
    place = os.path.join(HERE, name)
    environment = dict(os.environ, PYTHONPATH=HERE)
    for one in ROUNDS:
        result = os.path.join(place, one)
        if os.path.exists(os.path.join(result, "result.json")):
            continue
        shutil.rmtree(result, ignore_errors=True)
        cache = os.path.join(place, "timings") if one.startswith("cached") else None
        asked = os.path.join(place, one + ".request")
        shutil.rmtree(asked, ignore_errors=True)
        os.makedirs(asked)
        for file in ("float.onnx", "qdq.onnx", "table.json", "calibration.npy", "evaluation.npy"):
            os.symlink(os.path.join(HERE, file), os.path.join(asked, file))
        with open(os.path.join(asked, "request.json"), "w", encoding="utf-8") as stream:
            json.dump(request({"timing_cache": cache}, PASSES), stream)
        with open(result + ".log", "wb") as log:
            code = subprocess.call(
                [sys.executable, "-m", "job", asked, result],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        print(f"{name} {one}: exit code {code}", flush=True)
    asked = os.path.join(place, ROUNDS[0] + ".request", "request.json")
    told = os.path.join(place, "by-hand.json")
    subprocess.check_call([sys.executable, "-c", BY_HAND, asked, told], env=environment, cwd=HERE)


# Here


def prepare(folder, config):
    """Writes everything that `run` needs."""
    from pathlib import Path

    import onnx

    from trt_matrix.containers import job
    from trt_matrix.core.qdq.explicit import place
    from trt_matrix.core.tables.table import Provenance, from_ranges
    from trt_matrix.planning.arrays import data_of
    from trt_matrix.planning.experiment import read_experiment
    from trt_matrix.store.results import Store

    folder = Path(folder).resolve()
    folder.mkdir(parents=True)
    shutil.copytree(
        Path(job.__file__).parent, folder / "job", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(__file__, folder / "h200.py")
    experiment = read_experiment(Path(config), [])
    store = Store(folder / "store")
    data = data_of(experiment.checked, store)
    network = experiment.network
    network.put_into(store)
    for wanted, name in (
        (data.evaluation, "evaluation.npy"),
        (data.calibration, "calibration.npy"),
        (network.fp32, "float.onnx"),
        (network.calibration, "calibration.onnx"),
    ):
        shutil.copy(store.path(wanted), folder / name)
    shutil.rmtree(folder / "store")
    heads = [list(pair) for pair in experiment.checked.heads]
    input_name = experiment.wants(data).settings.input
    (folder / "shape.json").write_text(json.dumps({"input": input_name, "heads": heads}))
    table = from_ranges(
        _calibrated(folder, input_name, heads, network.tensors), Provenance(algorithm="entropy")
    )
    (folder / "table.json").write_text(json.dumps(dict(table.amax)))
    placed = place(onnx.load(folder / "float.onnx"), table).model
    (folder / "qdq.onnx").write_bytes(placed.SerializeToString(deterministic=True))


def _calibrated(folder, input_name, heads, tensors):
    """Returns tensor → amax by the job's own entropy, on ONNX Runtime here."""
    asked, result = folder / "here.request", folder / "here"
    asked.mkdir()
    for file in ("calibration.onnx", "calibration.npy", "evaluation.npy"):
        (asked / file).symlink_to(folder / file)
    calibration = {
        "model": "calibration.onnx",
        "images": "calibration.npy",
        "tensors": list(tensors),
        "algorithms": [{"name": "entropy", "options": {}}],
    }
    wanted = {
        "schema_version": 1, "engine": "onnxruntime", "engine_options": {}, "input": input_name, "heads": heads,
        "evaluation": "evaluation.npy", "calibration": calibration, "passes": [], "timing": None,
    }  # fmt: skip
    (asked / "request.json").write_text(json.dumps(wanted))
    subprocess.run(
        [sys.executable, "-m", "job", str(asked), str(result)],
        cwd=folder,
        check=True,
        env=os.environ,
    )
    made = json.loads((result / "calibration.json").read_text())
    shutil.rmtree(asked)
    shutil.rmtree(result)
    return made["algorithms"]["entropy"]


def check(folder):
    """Prints what every run in `folder` gave; returns the goals that were missed."""
    from pathlib import Path

    missed = []
    for place in sorted(path for path in Path(folder).iterdir() if (path / ROUNDS[0]).is_dir()):
        version = json.loads((place / ROUNDS[0] / "probe.json").read_text())["engine"]["version"]
        print(f"\n{place.name}: TensorRT {version}")
        for one in ROUNDS:
            for name, *_ in PASSES:
                missed += _checked(place, one, name)
        missed += _timed(place)
    return missed


def _checked(place, one, name):
    where = place / one / "passes" / name
    if not (where / "pass.json").exists():
        return [f"{place.name}/{one}/{name}: no answer"]
    told = json.loads((where / "pass.json").read_text())
    if told["status"] != "ok":
        print(f"  {one} {name}: {told['status']}: {told['error']['message'][:200]}")
        return (
            [f"{place.name}/{one}/{name}: {told['status']}"]
            if told["status"] == "job_failed"
            else []
        )
    built = json.loads((where / "build.json").read_text())
    latency = sorted(told["latency"]["device_s"])[len(told["latency"]["device_s"]) // 2]
    errors = told["compare"] or {}
    decibels = " ".join(
        "same" if errors[head]["sqnr_db"] is None else f"{errors[head]['sqnr_db']:.1f}"
        for head in errors
    )
    seconds = built["tensorrt_s"] + built["builder_s"]
    ours = told["stages"]["build"] - seconds + (built["quantisation"]["callbacks_s"] or 0)
    print(
        f"  {one} {name}: {decibels or '-'} dB, {1000 * latency:.3f} ms on the GPU, built in {seconds:.1f} s "
        f"(+{100 * ours / seconds:.1f} %), timing cache {built['timing_cache']}"
    )
    # A build with a timing cache is over in seconds: starting up is then most of it.
    too_slow = one.startswith("build") and ours > OVERHEAD_GOAL * seconds
    return (
        [f"{place.name}/{one}/{name}: {ours:.1f} s beside {seconds:.1f} s of TensorRT"]
        if too_slow
        else []
    )


def _timed(place):
    told = json.loads((place / "by-hand.json").read_text())
    difference = told["ours_s"] / told["by_hand_s"] - 1
    print(
        f"  median GPU latency {1000 * told['ours_s']:.4f} ms, by hand {1000 * told['by_hand_s']:.4f} ms: "
        f"{100 * difference:+.1f} %"
    )
    wrong = abs(difference) > LATENCY_GOAL
    return [f"{place.name}: latency differs by {100 * difference:+.1f} %"] if wrong else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prepare", "run", "check"))
    parser.add_argument("folder")
    parser.add_argument("name", nargs="?", help="of the run: a folder in FOLDER")
    parser.add_argument("--config", default="matrix.yaml")
    given = parser.parse_args()
    if given.what == "prepare":
        prepare(given.folder, given.config)
    elif given.what == "run":
        if not given.name:
            parser.error("run needs a NAME, such as trt-8.5.3.1")
        run(given.name)
    else:
        missed = check(given.folder)
        print("\n" + ("missed:\n  " + "\n  ".join(missed) if missed else "every goal was reached"))
        return 1 if missed else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
