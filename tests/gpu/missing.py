"""What has not been seen on a GPU yet, as one command on a machine that has some: python -m tests.gpu.missing OUT

    --only PART       docker, batch, packages, two-gpus, cudnn; repeatable (default: all)
    --wheels FOLDER   wheels for `packages` and `cudnn`, with which nothing is fetched
    --python FILE     an installed Python that has TensorRT 8.6.0, in place of the images of `docker` and `batch`
    --plan            checks every matrix here and says what would run; needs no GPU
    --results FOLDER  one for all, so that parts which are started beside each other wait for each other's GPU
                      (not for two-gpus: it would find its second half known)
    -- OPTIONS        for `trt-matrix run`, such as -s 'trt-8*/gpu:1/int8-implicit*'

docker: TensorRT 8.5.1.7 and 8.6.0 from the images trt-matrix/tensorrt:VERSION, by whatever way the engine gives GPUs,
each also with both resizings held in fp32. batch: the last of them fed four images at once.
packages: the same versions from packages. two-gpus: one cell's passes on gpu:0 alone, then on both, latencies and wall
times beside each other. cudnn: 8.5.3.1 with two versions of cuDNN and its tactics on.

Runs are in OUT/PART, interrupted ones go on; tables are printed at the end, once more in OUT/tables.txt.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

DEMO = Path(__file__).parents[2] / "demo"
BASE = DEMO / "matrix-h200-docker.yaml"
VERSIONS = ["8.5.1.7", "8.6.0"]
CUDNN = ("8.6.0.163", "8.9.4.25")
HELD = ["neck16/upsample/Resize", "neck8/upsample/Resize"]
WHOLE: dict[str, Any] = {
    "calibration": {"algorithms": ["entropy", "minmax"], "shared": "entropy"},
    "precisions": ["fp32", "tf32", "fp16", "int8"],
    "repeats": 2,
}
SHORT: dict[str, Any] = {"precisions": ["fp32", "int8"], "repeats": 2}


def parts(wheels: Path | None, python: Path | None) -> Mapping[str, Mapping[str, Any]]:
    """Returns the changes to BASE, by the name of a run."""
    fetched = {"wheels": str(wheels.resolve())} if wheels else {}
    packages = {"venv": "tensorrt", **fetched}
    images = [
        {"engine": "tensorrt", "image": f"trt-matrix/tensorrt:{version}", "name": f"trt-{version}"}
        for version in VERSIONS
    ]
    last = f"trt-{VERSIONS[-1]}"
    if python:
        images = [{"engine": "tensorrt", "interpreter": str(python.absolute()), "name": last}]
    held = [
        {**image, "name": f"{image['name']}-held", "options": {"fp32_layers": HELD}}
        for image in images
    ]
    # Of the quickest builder: only its clock and the GPU's latencies are asked.
    quick = {**SHORT, "baseline": images[0]["name"], "environments": images[:1]}
    return {
        "docker": {**WHOLE, "baseline": last, "environments": [*images, *held]},
        "batch": {
            **WHOLE, "precisions": ["fp32", "int8"], "baseline": last, "environments": images[-1:],
            "model": {"onnx": "digits3.onnx", "batch": 4},
        },
        "packages": {
            **WHOLE, "baseline": last,
            "environments": [{**packages, "versions": VERSIONS, "name": "trt"}],
        },
        "two-gpus/one": {**quick, "devices": ["gpu:0"]},
        "two-gpus/both": {**quick, "devices": ["gpu:0", "gpu:1"]},
        "cudnn": {
            **SHORT, "baseline": f"cudnn-{CUDNN[0]}-8.5.3.1",
            "engines": {"tensorrt": {"tactic_sources": ["CUBLAS", "CUBLAS_LT", "CUDNN"]}},
            "environments": [
                {**packages, "versions": ["8.5.3.1"], "name": f"cudnn-{one}", "with": [f"nvidia-cudnn-cu11=={one}"]}
                for one in CUDNN
            ],
        },
    }  # fmt: skip


def matrix(folder: Path, name: str, changes: Mapping[str, Any]) -> Path:
    """Writes a part's matrix.yaml beside its results; its files are those of the demo."""
    found = yaml.safe_load(BASE.read_text()) | dict(changes)
    found["name"] = f"digits3-h200-{name.replace('/', '-')}"
    found["keep"] = "outputs"  # tests.gpu.keep makes its sums of them
    text = yaml.safe_dump(found, sort_keys=False)
    for file in ("digits3.onnx", "images/", "labels.json"):
        text = text.replace(f" {file}", f" {DEMO / file}" + "/" * file.endswith("/"))
    text = text.replace("../tests/", f"{DEMO.parent / 'tests'}/")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "matrix.yaml"
    path.write_text(text)
    return path


def ran(results: Path, name: str) -> list[list[str]]:
    """Returns a row for each cell of a part's newest run: status, builds, latency on the GPU, what is to be said."""
    rows = []
    runs = sorted(results.glob(f"*-digits3-h200-{name.replace('/', '-')}"))
    for path in sorted(one for run in runs[-1:] for one in run.glob("records/**/*.json")):
        record = json.loads(path.read_text())
        told = [
            measurement for measurement in record["measurements"] if measurement["status"] == "ok"
        ]
        device = [s for one in told for s in (one["latency"] or {}).get("device_s") or ()]
        took = f"{1e6 * statistics.median(device):.1f} µs" if device else "-"
        why = record["reason"] or "; ".join(
            sorted({str(one["start"]["disturbed"]) for one in told})
        )
        rows.append([record["cell"], record["status"], str(len(told)), took, why[:160]])
    return rows


def overhead(results: Path, name: str) -> list[list[str]]:
    """Returns a row for each environment: seconds of all its builds, those inside TensorRT, and what the job adds."""
    inside: dict[str, list[float]] = {}
    for path in sorted(results.glob(f"*-digits3-h200-{name.replace('/', '-')}/records/**/*.json")):
        record = json.loads(path.read_text())
        for measurement in record["measurements"]:
            if measurement["status"] != "ok":
                continue
            built = measurement["build"]
            images_s = (built["quantisation"] or {}).get("callbacks_s") or 0.0
            taken = (
                built["tensorrt_s"] - images_s,
                built["builder_s"],
                measurement["stages"]["build"],
            )
            sums = inside.setdefault(record["cell"].split("/")[0], [0.0, 0.0, 0.0])
            sums[:] = [a + b for a, b in zip(sums, taken, strict=True)]
    return [
        [environment, f"{whole:.1f} s", f"builds {build:.1f} s", f"builders {builder:.1f} s",
         f"{100 * (whole / (build + builder) - 1):+.2f} %", f"{100 * (whole / build - 1):+.2f} % without builders"]
        for environment, (build, builder, whole) in inside.items()
    ]  # fmt: skip


def table(title: str, rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{one:{width}}" for one, width in zip(row, widths, strict=True)) for row in rows
    ]
    return "\n".join([f"== {title}", *(line.rstrip() for line in lines), ""])


def main(arguments: Sequence[str]) -> int:
    """Returns 1 where a part could not run, or be planned, to its end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--plan", action="store_true")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    asked = parser.parse_args(arguments[:end])
    told, failed = [], 0
    for name, changes in parts(asked.wheels, asked.python).items():
        if asked.only and name.partition("/")[0] not in asked.only:
            continue
        folder = asked.out / name
        alone = name.startswith("two-gpus") or not asked.results
        results = folder / "results" if alone else asked.results
        command = [sys.executable, "-m", "trt_matrix", "plan" if asked.plan else "run"]
        command += ["--config", str(matrix(folder, name, changes)), "--results", str(results)]
        command += ["--offline"] if asked.wheels and not asked.plan else []
        command += arguments[end + 1 :]
        print(f"-- {name}: {' '.join(command)}", flush=True)
        began = time.monotonic()
        code = subprocess.run(command, check=False, cwd=DEMO.parent).returncode
        failed += code not in (0, 1) if not asked.plan else code != 0
        rows = ran(results, name)
        if rows:
            wall = time.monotonic() - began
            told.append(table(f"{name}: {wall:.0f} s, exit code {code}", rows))
            told.append(table(f"{name}: building", overhead(results, name)))
    if told:
        (asked.out / "tables.txt").write_text("\n".join(told))
        print("\n".join(told))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
