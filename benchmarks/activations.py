"""INT8 against FP32 in every ONNX Runtime of the default matrix, by the type of the activations.

One process a version and round, rounds over all versions; each builds all three networks, and times
them one after the other. Per cell the fastest sample of all rounds: what disturbs only adds.
Beside it the SQNR of both types against FP32, and their integer share.
Usage: python -m benchmarks.activations [--quick] [--threads 1]
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks import machine
from trt_matrix.config.data import Preprocess
from trt_matrix.config.matrix import Config, load
from trt_matrix.containers.job import protocol, thresholds
from trt_matrix.containers.job.calibrate import calibrate
from trt_matrix.containers.job.engines import onnxruntime as engine
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.placements import Activations, Placed
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.environments.factory import engine_options_of, environments_of
from trt_matrix.environments.venv import VenvEnvironment
from trt_matrix.inputs.images import image_files, preprocess
from trt_matrix.ticket.start import start

ROOT = Path(__file__).parents[1]
IMAGES = 32
TYPES = {"fp32": None, "int8": Activations.INT8, "uint8": Activations.UINT8}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the baseline's version, once")
    parser.add_argument("--threads", type=int, help="within an operator; default: as matrix.yaml")
    options = parser.parse_args(arguments)
    config, _ = load(ROOT / "matrix.yaml")
    environments = {
        name: one
        for name, one in environments_of(config, ROOT).items()
        if isinstance(one, VenvEnvironment)
        and (not options.quick or name.startswith(config.baseline))
    }
    rounds = 1 if options.quick else 3
    print(machine.facts() + ".")
    print(
        f"The demo, one image of 320 × 320, {IMAGES} images for the errors; {rounds} rounds, ms.\n\n"
        "| ONNX Runtime | FP32 | INT8, int8 activations | INT8, uint8 activations | of FP32 | int8 dB | "
        "uint8 dB |\n| --- | ---: | ---: | ---: | ---: | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        objects = Path(folder) / "objects"
        objects.mkdir()
        request = _request(config, objects)
        found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in environments}
        for environment in environments.values():
            environment.prepare(offline=False)
        given = engine_options_of(config)
        threads = {"threads": options.threads} if options.threads else {}
        for number in range(rounds):
            for name, environment in environments.items():
                asked = {**request, "engine_options": {**given[name], **threads}}
                where = Path(folder) / f"{name}-{number}"
                ending, result = start(
                    environment, asked, objects, where, device="cpu", deadline_s=600
                )
                if ending.exit_code != 0:
                    log = (where / "job.log").read_text("utf-8", "replace")
                    message = f"{name} ended with {ending.exit_code}: {log[-2000:]}"
                    raise SystemExit(message)
                found[name].append(_read(result, [head for head, _ in request["heads"]]))
        for name, measured in found.items():
            print(_row(name, measured), flush=True)


def _request(config: Config, objects: Path) -> dict[str, Any]:
    """Writes images and networks; returns the request but for the options of its engine."""
    model = onnx.load(ROOT / config.model.onnx)
    settings = config.data.preprocess
    for part, section in (("calibration", config.data.calibration), ("evaluation", config.data.evaluation)):  # fmt: skip
        assert section.images is not None
        _images(ROOT / section.images, settings, objects / f"{part}.npy")
    table = _table(model, objects)
    for name, activations in TYPES.items():
        model_proto = model
        if activations:
            model_proto = place(model, table, Placed(engine="onnxruntime", activations=activations).options()).model  # fmt: skip
        (objects / f"{name}.onnx").write_bytes(model_proto.SerializeToString())
    return {
        "schema_version": protocol.SCHEMA_VERSION,
        "engine": "onnxruntime",
        "input": model.graph.input[0].name,
        "heads": [[head, one.output or head] for head, one in config.heads.items()],
        "evaluation": "evaluation.npy",
        "calibration": None,
        "passes": [
            {
                "name": name, "precision": "int8" if kind else "fp32", "model": f"{name}.onnx",
                "table": None, "compare_with": None, "implicit": None,
            }
            for name, kind in TYPES.items()
        ],
        "timing": {"min_samples": 30, "max_samples": 300, "max_s": 1.0, "warm_up_max_s": 0.5},
    }  # fmt: skip


def _images(folder: Path, settings: Preprocess, target: Path) -> None:
    assert settings.size is not None
    files, _ = image_files(folder)
    preprocess(
        files[:IMAGES],
        (settings.channels, *settings.size),
        settings,
        target,
        channels_last=False,
    )


def _table(model: onnx.ModelProto, objects: Path) -> Table:
    with_outputs, tensors = calibration_model(model)
    path = objects / "calibration.onnx"
    path.write_bytes(with_outputs.SerializeToString())
    made = engine.Engine({"threads": len(os.sched_getaffinity(0))})
    session = made.build(str(path), "fp32", None, None)
    images = np.load(objects / "calibration.npy")
    histograms = calibrate(
        session, model.graph.input[0].name, images, list(tensors), ["entropy"], lambda _: None
    )
    ranges = {
        histogram.tensor: thresholds.threshold(histogram, "entropy", {})
        for histogram in histograms
        if histogram.amax > 0
    }
    return from_ranges(ranges, Provenance(algorithm="entropy"))


def _read(result: Path, heads: list[str]) -> Mapping[str, Any]:
    found = {}
    for name in TYPES:
        folder = result / protocol.PASSES / name
        answer = protocol.read_json(str(folder / protocol.PASS))
        if answer["status"] != "ok":
            raise SystemExit(f"{name}: {answer['error']}")
        outputs = [np.load(folder / answer["outputs"][head]["file"]) for head in heads]
        found[name] = {"ms": 1e3 * min(answer["latency"]["samples_s"]), "outputs": outputs}
    return found


def _row(name: str, measured: list[Mapping[str, Any]]) -> str:
    fastest = {kind: min(one[kind]["ms"] for one in measured) for kind in TYPES}
    errors = {kind: " ".join(_errors(measured[0], kind)) for kind in ("int8", "uint8")}
    return (
        f"| {name.removeprefix('ort-')} | {fastest['fp32']:.2f} | {fastest['int8']:.2f} | "
        f"{fastest['uint8']:.2f} | {fastest['uint8'] / fastest['fp32']:.2f} | {errors['int8']} | "
        f"{errors['uint8']} |"
    )


def _errors(measured: Mapping[str, Any], kind: str) -> list[str]:
    found = []
    for y, r in zip(measured[kind]["outputs"], measured["fp32"]["outputs"], strict=True):
        nmse = float(((y - r) ** 2).sum(dtype=np.float64) / (r**2).sum(dtype=np.float64))
        value = sqnr_db(nmse)
        found.append("∞" if value is None else f"{value:.2f}")
    return found


if __name__ == "__main__":
    main()
