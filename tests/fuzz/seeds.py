"""Valid inputs of the parsers, which a fuzzer starts from."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.unit import small_networks as networks
from trt_matrix.ticket.content import NAME
from trt_matrix.ticket.content import ROOT as TOP

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[2]
PACK = "0" * 64


def network_file() -> bytes:
    return networks.detector().SerializeToString()


def npy_of(array: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **how)
    return stream.getvalue()


def npz_of() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, image=np.ones((3, 4, 4), np.float32), other=np.zeros(3))
    return stream.getvalue()


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def table_files() -> Sequence[bytes]:
    ort = {
        "CLS": "TensorsData",
        "data": {"x": {"CLS": "TensorData", "lowest": 0.0, "highest": 1.5}},
    }
    return [
        *(path.read_bytes()[:3000] for path in sorted((DATA / "tensorrt_tables").glob("*.cache"))),
        as_json({"x": 1.5, "y": 0.25}),
        as_json({"x": [-1.0, 2.0], "y": [0.0, 1.0]}),
        as_json(ort),
        (next((DATA / "h200/tables").glob("*.json"))).read_bytes(),
        b"x 1.5\ny 2.5\n",
        b"x: -1.5, 2.5\n",
    ]


GOOD = {
    "schema_version": 1, "name": "fp32", "status": "ok", "error": None, "stages": {"infer": 0.5},
    "outputs": {"small": {"file": "small.npy", "shape": [4, 2]}},
    "latency": {"batch": 1, "warm_up": 0, "samples_s": [0.001]}, "executed": None,
    "layers": "layers.json", "build": "build.json", "cache": "c.cache",
}  # fmt: skip
LAYERS = {
    "schema_version": 1, "source": "inspector", "custom": [],
    "layers": [{"name": "conv_a", "type": "Convolution", "tensors": ["a"], "precision": "int8", "origin": ["conv_a"]}],
    "times": {"runs": 3, "layers": [{"name": "conv_a", "tensors": ["a"], "seconds": 0.1}], "problem": None},
}  # fmt: skip
BUILD = {
    "schema_version": 1, "seconds": 1.0, "flags": ["int8"],
    "scales": {"form": "TensorRT's calibration cache", "given": 1, "mapped": ["x"], "unmapped": [], "unknown": [], "zero": [], "missing": []},
}  # fmt: skip
COCO = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in range(2)],
    "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3.5, 4], "area": 14, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cat"}],
}  # fmt: skip
VOC = b"""<annotation><size><width>40</width><height>30</height></size><object><name>cat</name>
<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object></annotation>
"""


def image_files() -> Sequence[bytes]:
    found = []
    pixels = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    for kind, mode in (
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("JPEG", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("WEBP", "RGB"),
    ):  # fmt: skip
        stream = io.BytesIO()
        image = (
            Image.fromarray(pixels[..., 0].astype(np.uint16))
            if mode == "I;16"
            else Image.fromarray(pixels).convert(mode)
        )
        image.save(stream, kind)
        found.append(stream.getvalue())
    return found


def archive_of(inner: Mapping[str, bytes]) -> bytes:
    """Returns what run-pack.py sends back, its hashes fitting."""
    files = {name: hashlib.sha256(one).hexdigest() for name, one in inner.items()}
    every = {**inner, "results.json": as_json({"schema_version": 1, "pack": PACK, "files": files})}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, one in every.items():
            member = tarfile.TarInfo(name)
            member.size = len(one)
            archive.addfile(member, io.BytesIO(one))
    return stream.getvalue()


def returned_files() -> dict[str, bytes]:
    start = "a@cpu@repeat-0/start-1"
    one = {"name": "fp32", "precision": "fp32", "model": "x.onnx", "table": None, "implicit": None}
    request = {
        "schema_version": 1, "engine": "onnxruntime", "engine_options": {}, "device": "cpu", "repeat": 0,
        "input": "image", "evaluation": "../../../../objects/e.npy", "heads": [["small", "small"]],
        "calibration": None, "passes": [one], "plugins": [], "timing": None,
    }  # fmt: skip
    ending = {
        "command": ["python3"], "exit_code": 0, "signal": None, "timed_out": False, "error": None, "stage": None,
        "started": "2026-11-29T00:00:00+00:00", "wall_s": 1.0, "failed": [],
    }  # fmt: skip
    return {
        f"{start}/ending.json": as_json(ending),
        f"{start}/request/request.json": as_json(request),
        f"{start}/job.log": b"a log\n",
        f"{start}/result/passes/fp32/pass.json": as_json(GOOD),
        f"{start}/result/passes/fp32/small.npy": npy_of(np.ones((4, 2), np.float32)),
    }


def ticket_of() -> bytes:
    inner = {"report.html": b"<html>", "jobs/pack.json": b"{}"}
    files = {
        name: {"sha256": hashlib.sha256(one).hexdigest(), "size_bytes": len(one)} for name, one in inner.items()
    }  # fmt: skip
    content = {
        "schema_version": 1, "tool": "1.0", "run": "r", "images": 1, "of_images": 1, "same_job": True,
        "cells": [], "stand_in": None, "removed": [], "kept": [], "files": files,
    }  # fmt: skip
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in {**inner, NAME: as_json(content)}.items():
            archive.writestr(f"{TOP}/{name}", one)
    return stream.getvalue()


def facts_of(kind: str) -> Callable[[], Sequence[bytes]]:
    def seeds() -> Sequence[bytes]:
        manifest = json.loads((DATA / "h200/manifest.json").read_text())
        records = json.loads((DATA / "h200/records.json").read_text())
        record = (records if isinstance(records, list) else list(records.values()))[0]
        found = {
            "manifest": {**manifest, "simulations": manifest["simulations"][:1], "lineage": manifest["lineage"][:1]},
            "record": {**record, "measurements": record["measurements"][:1]},
            "measurement": record["measurements"][0],
            "derived": {"sha256": PACK, "suffix": ".npy", "size_bytes": 3, "sources": [PACK]},
            "calibration": {"schema_version": 1, "fingerprint": PACK, "status": "ok", "tables": {"minmax": {"x": 1.0}}},
        }  # fmt: skip
        return [as_json(found[kind])]

    return seeds


def judgement_file() -> Sequence[bytes]:
    return [(DATA / "judgement/version-1.json").read_bytes()]


def matrix_files() -> Sequence[bytes]:
    text = (ROOT / "matrix.yaml").read_text()
    return [
        text.encode(),
        yaml.safe_dump(yaml.safe_load(text)).encode(),
        as_json(yaml.safe_load(text)),
    ]


PYTHON = {
    "version": "3.11.7", "implementation": "CPython", "platform": "linux-x86_64", "libc": "glibc 2.36",
    "distributions": {"numpy": {"version": "2.0.0", "record_sha256": "0" * 64}},
}  # fmt: skip
LOCK = b"""lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "numpy"
version = "2.0.0"
wheels = [{ url = "https://files.invalid/numpy-2.0.0-cp311-none-any.whl", size = 3, hashes = { sha256 = "%s" } }]
""" % (b"0" * 64)
POLYGRAPHY = tuple(sorted((DATA / "polygraphy").glob("*.json")))
WRITTEN = [{"name": "small", "dimensions": "1x2x2", "values": [0.1, 0.2, 0.3, 0.4]}]
INSPECTED = {
    "Layers": [{
        "Name": "conv_a", "LayerType": "Convolution", "Precision": "INT8", "Metadata": "[ONNX Layer: conv_a]",
        "Inputs": [{"Name": "image", "Format/Datatype": "Int8"}], "Outputs": [{"Name": "a", "Format/Datatype": "Int8"}],
    }],
    "Bindings": ["image", "small"],
}  # fmt: skip
PROFILED = [
    {"count": 10},
    {"name": "conv_a", "timeMs": 1.5, "averageMs": 0.15, "medianMs": 0.1, "percentage": 3.5},
]
