"""What a test's script, appended to this text, has at hand to play a job; standard library only."""

# Written as the real job is; pathlib would double its start.
# ruff: noqa: ANN001, ANN003, ANN201, PTH103, PTH105, PTH118, PTH120, PTH123, UP031

import array
import json
import os
import sys

REQUEST, RESULT = sys.argv[1:3]
with open(os.path.join(REQUEST, "request.json")) as stream:
    request = json.load(stream)
with open(os.path.join(REQUEST, request["evaluation"]), "rb") as stream:
    IMAGES = int(stream.read(128).split(b"'shape': (")[1].split(b",")[0])


def write(name, value):
    """Writes a file of the result whole; `value` is text as it is, or anything as JSON."""
    path = os.path.join(RESULT, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".part", "w") as stream:
        stream.write(value if isinstance(value, str) else json.dumps(value))
    os.replace(path + ".part", path)


def stage(text):
    write("stage.txt", text + "\n")


def npy(name, value=1.0, shape=(IMAGES, 2)):
    """Writes a float32 array full of `value` (format: numpy.lib.format, version 1.0)."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': %r, }" % (tuple(shape),)
    header = (header + " " * (117 - len(header)) + "\n").encode()
    count = 1
    for size in shape:
        count *= size
    os.makedirs(os.path.dirname(os.path.join(RESULT, name)), exist_ok=True)
    with open(os.path.join(RESULT, name), "wb") as stream:
        stream.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        array.array("f", [value] * count).tofile(stream)


def answer(one, value=1.0, shape=(IMAGES, 2), **changes):
    """Ends one pass."""
    name = one["name"]
    stage("infer " + name)
    outputs = {}
    for head, _ in request["heads"]:
        npy("passes/%s/%s.npy" % (name, head), value, shape)
        outputs[head] = {"file": head + ".npy", "shape": list(shape)}
    full = {
        "schema_version": 1,
        "name": name,
        "status": "ok",
        "error": None,
        "stages": {"build": 0.25, "infer": 0.5},
        "outputs": outputs,
        "latency": {"batch": 1, "warm_up": 3, "samples_s": [0.001, 0.002]},
        "compare": None,
        "executed": None,
    }
    full.update(changes)
    write("passes/%s/pass.json" % name, full)


def calibrate(amax=2.0, **changes):
    stage("calibrate 0/%d" % IMAGES)
    wanted = request["calibration"]
    full = {
        "schema_version": 1,
        "seconds": 0.5,
        "images": IMAGES,
        "algorithms": {
            algorithm["name"]: dict.fromkeys(wanted["tensors"], amax)
            for algorithm in wanted["algorithms"]
        },
        "unusable": {},
    }
    full.update(changes)
    write("calibration.json", full)


def finish(**changes):
    full = {"schema_version": 1, "status": "ok", "stage": "infer", "error": None}
    full.update(changes)
    write("result.json", full)
