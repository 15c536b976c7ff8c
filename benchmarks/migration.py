"""A proven calibration cache in real TensorRT: the implicit engine, and what `trt-matrix migrate` makes of it.

    python -m benchmarks.migration prepare FOLDER [--config matrix.yaml] --table CACHE       here
    PYTHON FOLDER/migration.py run FOLDER --out OUT [--builds 5] [--budget SECONDS]           there
    python -m benchmarks.migration show OUT/results.json                                      anywhere

`prepare` writes the float network, the Q/DQ networks of both placements, the cache, the cache made back of the
Q/DQ network, images and the job. `run` needs TensorRT 8 to 10, numpy and Python 3.6 or later, and nothing else: in
every round one new process builds every variant anew, without a timing cache, by this tool's own job, and measures
it; rounds are repeated until there are `--builds` of each, or no other fits into `--budget`. Errors are against
FP32 (TF32 off) of the same TensorRT. What ended is kept: the same command goes on.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = ("float.onnx", "qdq.onnx", "qdq-unified.onnx", "table.json", "returned.json", "shape.json")
IMAGES = "images.npy"
FP32 = "fp32"
VARIANTS = (  # name, network, table
    ("implicit", "float.onnx", "table.json"),
    ("explicit", "qdq.onnx", None),
    ("explicit-unified", "qdq-unified.onnx", None),
    ("implicit-returned", "float.onnx", "returned.json"),
)
TOLD = {
    "implicit": "the cache, as it is",
    "explicit": "Q/DQ made of it",
    "explicit-unified": "Q/DQ, --unified-scales",
    "implicit-returned": "the cache made back of that Q/DQ",
}
TIMING = {"min_samples": 200, "max_samples": 2000, "max_s": 1.5, "warm_up_max_s": 2.0}
RESULTS = "results.json"
POLL_S = 0.5


# There: standard library only, until the job runs


def run(folder, out, builds, budget_s, variants, fallback, python):
    """Runs rounds into `out`; goes on where it was cut off. Returns the exit code."""
    start = time.monotonic()
    os.makedirs(out, exist_ok=True)
    images = _unpacked(folder, out)
    longest = 0.0
    for number in range(builds):
        result = os.path.join(out, "round-%d" % number)
        if os.path.exists(os.path.join(result, "result.json")):
            continue
        if longest and time.monotonic() - start + longest > budget_s:
            print("no time for another round: run it again to go on", flush=True)
            break
        began = time.monotonic()
        _round(folder, out, number, images, variants, fallback, python)
        longest = max(longest, time.monotonic() - began)
        _collect(folder, out, builds, variants)
    found = _collect(folder, out, builds, variants)
    print(table(found), flush=True)
    return 0 if all(variant["builds"] for variant in found["variants"].values()) else 1


def _unpacked(folder, out):
    target = os.path.join(out, IMAGES)
    if not os.path.exists(target):
        with zipfile.ZipFile(os.path.join(folder, "images.zip")) as archive:
            archive.extract(IMAGES, out)
    return target


def _round(folder, out, number, images, variants, fallback, python):
    """Builds and measures every variant once, in a process of its own."""
    asked = os.path.join(out, "round-%d.request" % number)
    result = os.path.join(out, "round-%d" % number)
    for path in (asked, result):
        shutil.rmtree(path, ignore_errors=True)
    os.makedirs(asked)
    for file in FILES:
        os.symlink(os.path.join(folder, file), os.path.join(asked, file))
    os.symlink(os.path.abspath(images), os.path.join(asked, IMAGES))
    with open(os.path.join(folder, "shape.json"), encoding="utf-8") as stream:
        shape = json.load(stream)
    passes = [_pass(*variant) for variant in VARIANTS if variant[0] in variants]
    # The variants change places: whoever comes first has the coolest GPU.
    turn = number % len(passes)
    passes = passes[turn:] + passes[:turn]
    reference = os.path.join(out, "round-0", "passes", FP32)
    if number and os.path.exists(os.path.join(reference, "pass.json")):
        shutil.copytree(reference, os.path.join(result, "passes", FP32))
    else:
        passes = [_pass(FP32, "float.onnx", None), *passes]
    request = {
        "schema_version": 1,
        "engine": "tensorrt",
        "engine_options": {"fallback": fallback},
        "input": shape["input"],
        "heads": shape["heads"],
        "evaluation": IMAGES,
        "calibration": None,
        "passes": passes,
        "timing": TIMING,
    }
    with open(os.path.join(asked, "request.json"), "w", encoding="utf-8") as stream:
        json.dump(request, stream)
    log_path = result + ".log"
    with open(log_path, "wb") as log:
        job = subprocess.Popen(
            [python, "-m", "job", asked, result],
            env=dict(
                os.environ, PYTHONPATH=os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
            ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        told = set()
        while True:
            ended = job.poll() is not None
            for pass_ in passes:
                path = os.path.join(result, "passes", pass_["name"], "pass.json")
                if pass_["name"] not in told and os.path.exists(path):
                    told.add(pass_["name"])
                    print("round %d: %s" % (number, _line(result, pass_["name"])), flush=True)
            if ended:
                break
            time.sleep(POLL_S)
    missing = [pass_["name"] for pass_ in passes if pass_["name"] not in told]
    if job.returncode or missing:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            end = log.read()[-1500:]
        print("round %d: exit code %s, no answer of %s; its last words:\n%s"
              % (number, job.returncode, ", ".join(missing) or "none", end), flush=True)  # fmt: skip


def _pass(name, model, table_file):
    implicit = {"scales": "cache", "calibrator": "entropy2", "images": None}
    return {
        "name": name,
        "precision": FP32 if name == FP32 else "int8",
        "model": model,
        "table": table_file,
        "compare_with": None if name == FP32 else FP32,
        "implicit": implicit if table_file else None,
    }


def _read(path):
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


def _build(result, name):
    """Returns what one build gave; None where there is no answer."""
    where = os.path.join(result, "passes", name)
    path = os.path.join(where, "pass.json")
    if not os.path.exists(path):
        return None
    told = _read(path)
    if told["status"] != "ok":
        return {"status": told["status"], "error": (told["error"] or {}).get("message", "")[:400]}
    built = _read(os.path.join(where, told["build"]))
    layers = _read(os.path.join(where, told["layers"]))["layers"]
    latency = told["latency"]
    samples = latency["device_s"] or latency["samples_s"]
    errors = told["compare"] or {}
    return {
        "status": "ok",
        "sqnr_db": {head: errors[head]["sqnr_db"] for head in errors},
        "latency_s": statistics.median(samples),
        "of": "device" if latency["device_s"] else "host",
        "build_s": built["tensorrt_s"],
        "scales": built["scales"] and {key: built["scales"][key] if key == "mapped" else len(built["scales"][key])
                                       for key in ("mapped", "unmapped", "unknown", "missing", "rejected")},
        "layers": len(layers),
        "int8_layers": sum(layer["precision"] == "int8" for layer in layers),
        "reformats": sum("reformat" in (layer["name"] + str(layer["type"])).lower() for layer in layers),
        "in_int8": sorted({name for layer in layers if layer["precision"] == "int8" for name in layer["tensors"]}),
    }  # fmt: skip


def _line(result, name):
    one = _build(result, name)
    if one["status"] != "ok":
        return "%s: %s: %s" % (name, one["status"], one["error"])
    heads = " ".join("%s %s" % (head, _db(value)) for head, value in one["sqnr_db"].items())
    return "%s: %s dB, %.4f ms, built in %.1f s" % (
        name, heads or "-", 1000 * one["latency_s"], one["build_s"],
    )  # fmt: skip


def _db(value):
    return "identical" if value is None else "%.2f" % value


def _collect(folder, out, builds, variants):
    """Returns everything measured so far, and writes it."""
    rounds = [os.path.join(out, "round-%d" % number) for number in range(builds)]
    found = {"heads": [head for head, _ in _read(os.path.join(folder, "shape.json"))["heads"]]}
    probes = [os.path.join(round_, "probe.json") for round_ in rounds]
    engines = [_read(path).get("engine") or {} for path in probes if os.path.exists(path)]
    found["engine"] = next(
        (engine.get("version") for engine in engines if engine.get("version")), None
    )
    found["simulated"] = _read(os.path.join(folder, "simulated.json"))
    names = [FP32] + [name for name, _, _ in VARIANTS if name in variants]
    found["variants"] = {}
    for name in names:
        told = [_build(round_, name) for round_ in rounds]
        told = [one for one in told if one is not None]
        if name == FP32:
            told = told[:1]
        found["variants"][name] = {
            "builds": [one for one in told if one["status"] == "ok"],
            "failed": [one for one in told if one["status"] != "ok"],
        }
    path = os.path.join(out, RESULTS)
    with open(path + ".part", "w", encoding="utf-8") as stream:
        json.dump(found, stream, indent=1, sort_keys=True)
    os.replace(path + ".part", path)
    return found


def table(found):
    """Returns the results as text."""
    heads = found["heads"]
    rows = [
        [
            "TensorRT %s" % found["engine"],
            "builds",
            *heads,
            "ms",
            "of builds",
            "layers",
            "int8",
            "reformats",
        ]
    ]
    order = [FP32] + [name for name, _, _ in VARIANTS]
    for name in [name for name in order if name in found["variants"]]:
        one = found["variants"][name]
        builds = one["builds"]
        if not builds:
            why = one["failed"][0] if one["failed"] else {"status": "no answer", "error": ""}
            rows.append([name, "0", "%s: %s" % (why["status"], why["error"][:120])])
            continue
        latencies = sorted(1000 * build["latency_s"] for build in builds)
        rows.append(
            [
                name,
                str(len(builds)),
                *(_spread([build["sqnr_db"].get(head) for build in builds]) if name != FP32 else "-" for head in heads),
                "%.4f" % statistics.median(latencies),
                "%.4f to %.4f" % (latencies[0], latencies[-1]),
                *(_middle(build[key] for build in builds) for key in ("layers", "int8_layers", "reformats")),
            ]
        )  # fmt: skip
    for name, simulated in found["simulated"].items():
        rows.append(["simulated " + name, "", *(_db(simulated.get(head)) for head in heads)])
    widths = [
        max(len(row[at]) for row in rows if at < len(row) and len(row) > 3)
        for at in range(len(rows[0]))
    ]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]
    return "\n".join([*lines, "", *_verdicts(found)])


def _spread(values):
    known = sorted(value for value in values if value is not None)
    if not known:
        return "identical"
    middle = "%.2f" % statistics.median(known)
    return (
        middle
        if known[-1] - known[0] < 0.005
        else "%s (%.2f to %.2f)" % (middle, known[0], known[-1])
    )


def _middle(values):
    return "%g" % statistics.median(values)


def _verdicts(found):
    """Returns a line a comparison: medians, and whether the builds of both sides overlap."""
    lines = []
    for other, base in (
        ("explicit", "implicit"),
        ("explicit-unified", "explicit"),
        ("implicit-returned", "implicit"),
    ):
        sides = [found["variants"].get(name, {}).get("builds") for name in (other, base)]
        if not all(sides):
            continue
        times = [[build["latency_s"] for build in side] for side in sides]
        ratio = statistics.median(times[0]) / statistics.median(times[1]) - 1
        apart = min(times[0]) > max(times[1]) or max(times[0]) < min(times[1])
        heads = []
        for head in found["heads"]:
            values = [[b["sqnr_db"].get(head) for b in side] for side in sides]
            if all(value is not None for side in values for value in side):
                heads.append(
                    "%s %+.2f" % (head, statistics.median(values[0]) - statistics.median(values[1]))
                )
        lines.append(
            "%s against %s: latency %+.1f %%%s; %s dB"
            % (other, base, 100 * ratio, "" if apart else " (builds overlap)", ", ".join(heads) or "-")
        )  # fmt: skip
        always = [set.intersection(*(set(build["in_int8"]) for build in side)) for side in sides]
        ever = [set().union(*(build["in_int8"] for build in side)) for side in sides]
        for name, mine, others in ((other, always[0], ever[1]), (base, always[1], ever[0])):
            if mine - others:
                lines.append(
                    "  int8 in %s alone: %s" % (name, ", ".join(sorted(mine - others)[:12]))
                )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prepare", "run", "show"))
    parser.add_argument("folder", help="of prepare and run; results.json of show")
    parser.add_argument("--config", default="matrix.yaml")
    parser.add_argument("--table", help="the calibration cache")
    parser.add_argument("--map", help="its names, as of `trt-matrix migrate`")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--out", default="out")
    parser.add_argument("--builds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=86400, help="seconds")
    parser.add_argument("--variants", default=",".join(name for name, _, _ in VARIANTS))
    parser.add_argument("--fallback", default="fp32", help="of layers that do not run in int8")
    parser.add_argument("--python", default=sys.executable, help="that has TensorRT")
    given = parser.parse_args()
    if given.what == "prepare":
        if not given.table:
            parser.error("prepare needs --table")
        from benchmarks.migration_inputs import prepare  # here alone: it needs this tool

        prepare(given.folder, given.config, given.table, given.map, given.images)
        return 0
    if given.what == "show":
        print(table(_read(given.folder)))
        return 0
    variants = given.variants.split(",")
    unknown = [name for name in variants if name not in TOLD]
    if unknown:
        parser.error("no variant %r; known: %s" % (unknown[0], ", ".join(TOLD)))
    folder, out = os.path.abspath(given.folder), os.path.abspath(given.out)
    return run(folder, out, given.builds, given.budget, variants, given.fallback, given.python)


if __name__ == "__main__":
    sys.exit(main())
