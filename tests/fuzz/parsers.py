"""The parsers, each once: valid inputs to start from, how it is called, and how it may refuse."""

import functools
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import small_networks as networks
import yaml
from PIL import Image

from trt_matrix.config.data import Preprocess
from trt_matrix.config.matrix import validate
from trt_matrix.config.yaml_file import parse as parse_yaml
from trt_matrix.containers.job import protocol
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.core.diagnosis.latencies import ProfileError, read_profile
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.network import graph, loading
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.ordering import CircleError, order
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.records import Calibration, Derived, Measurement, Record, Stored
from trt_matrix.core.tables import reading, table, trt_cache
from trt_matrix.dumps.files import tensors
from trt_matrix.dumps.layers import LayerFiles, take_layers
from trt_matrix.dumps.tensor import DumpError, FileFormat
from trt_matrix.environments.packages import read_lock
from trt_matrix.environments.python import told_python
from trt_matrix.errors import ConfigError, EnvironmentUnavailableError, StoreError
from trt_matrix.execution import answer_models
from trt_matrix.execution.answers import AnswerError, ResultFolder, taking
from trt_matrix.inputs import images, label_folders, labels, samples
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.packs.merging import merge
from trt_matrix.store.arrays import BAD_HEADER, read_arrays, read_header, read_member
from trt_matrix.store.results import Store
from trt_matrix.store.sealing import checksums, unsealed
from trt_matrix.ticket.content import NAME
from trt_matrix.ticket.content import ROOT as TOP
from trt_matrix.ticket.verifying import unpack

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[2]

IMAGE_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
PACK = "0" * 64


@dataclass(frozen=True, slots=True)
class Parser:
    name: str
    seeds: Callable[[], Sequence[bytes]]
    """Inputs that it takes."""
    parse: Callable[[bytes, Path], Any]
    """Given an input, and an empty folder."""
    refusals: tuple[type[Exception], ...]
    """How it says that an input is none of its own."""


def _model() -> bytes:
    return networks.detector().SerializeToString()


@functools.cache
def _parsed() -> onnx.ModelProto:
    return networks.detector()


def _npy(array: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **how)
    return stream.getvalue()


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, image=np.ones((3, 4, 4), np.float32), other=np.zeros(3))
    return stream.getvalue()


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()


def _file(content: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# Networks and tables


def _network(content: bytes, folder: Path) -> None:
    model = loading.load(content, str(folder / "one.onnx"))
    order(model.graph)
    likely(model)
    calibration_model(model)


def _cache(content: bytes, folder: Path) -> None:
    del folder
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    trt_cache.to_table(trt_cache.parse(text))


def _tables() -> Sequence[bytes]:
    ort = {
        "CLS": "TensorsData",
        "data": {"x": {"CLS": "TensorData", "lowest": 0.0, "highest": 1.5}},
    }
    return [
        *(one.read_bytes()[:3000] for one in sorted((DATA / "tensorrt_tables").glob("*.cache"))),
        _text({"x": 1.5, "y": 0.25}),
        _text({"x": [-1.0, 2.0], "y": [0.0, 1.0]}),
        _text(ort),
        (next((DATA / "h200/tables").glob("*.json"))).read_bytes(),
        b"x 1.5\ny 2.5\n",
        b"x: -1.5, 2.5\n",
    ]


# What a job, or a user's own program, left


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


def _answer(part: str) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        home = f"{protocol.PASSES}/fp32"
        files = {
            f"{home}/{protocol.PASS}": _text(GOOD), f"{home}/layers.json": _text(LAYERS),
            f"{home}/build.json": _text(BUILD), f"{home}/c.cache": b"TRT-8503-EntropyCalibration2\nx: 3c010a14\n",
            f"{home}/small.npy": _npy(np.ones((4, 2), np.float32)),
            protocol.PROBE: _text({"engine": {"name": "onnxruntime", "version": "1"}, "packages": {}}),
            protocol.CALIBRATION: _text({"schema_version": 1, "seconds": 1, "images": 4, "algorithms": {"minmax": {"x": 1}}, "unusable": {}}),
            protocol.RESULT: _text({"schema_version": 1, "status": "ok", "stage": "infer", "error": None}),
            protocol.STAGE: b"infer fp32\n",
        }  # fmt: skip
        files[part if "/" not in part else part.replace("PASS", home)] = content
        for name, one in files.items():
            _file(one, folder / "result", name)
        answers = ResultFolder(folder / "result", 1 << 24)
        answers.stage()
        json.dumps(answers.probe(), allow_nan=False)
        with taking("the answer"):
            answers.job()
            answers.calibration()
            found = answers.answer("fp32")
            if found is None:
                return
            json.dumps(found.model_dump(mode="json"), allow_nan=False)
            answers.output("fp32", "small", found, images=4, shape=(4, 2))
            if found.layers:
                answers.layers("fp32", found.layers)
            if found.build:
                answers.scales("fp32", answers.build("fp32", found.build))
            if found.cache:
                answers.cache_table("fp32", found.cache, environment="a")

    return parse


def _dump(name: str, form: FileFormat | None = None) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        for one in tensors(_file(content, folder, name), form or FileFormat()):
            for block in one.blocks(max(one.elements_at_once, 1 << 12)):
                block.sum()

    return parse


def _layers(profile: bool) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        path = _file(content, folder, "layers.json")
        files = LayerFiles(profile=path) if profile else LayerFiles(information=path)
        found = take_layers(files, _parsed())
        if found.answer is not None:
            plain = answer_models.plain_json(_text(found.answer))
            answer_models.valid(answer_models.LayersAnswer, plain)

    return parse


def _sample(name: str) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        path = _file(content, folder, name)
        samples.stack([path], "image", (3, 4, 4), None, folder / "target.npy")

    return parse


# Labels and images


def _coco(content: bytes, folder: Path) -> None:
    del folder
    labels.areas(labels.parse(content, ["0.png", "1.png"]))


def _label_file(suffix: str) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        Image.new("RGB", (40, 30)).save(folder / "0.png")
        _file(content, folder, f"0{suffix}")
        classes = label_folders.Classes(number=3, names=("cat", "dog", "cow"))
        made = label_folders.read_folder(folder, [folder / "0.png"], classes).coco
        labels.parse(made, ["0.png"])

    return parse


COCO = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in range(2)],
    "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3.5, 4], "area": 14, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cat"}],
}  # fmt: skip
VOC = b"""<annotation><size><width>40</width><height>30</height></size><object><name>cat</name>
<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object></annotation>
"""


def _pictures() -> Sequence[bytes]:
    found = []
    pixels = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    for kind, mode in (
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("JPEG", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("WEBP", "RGB"),
    ):  # fmt: skip
        stream = io.BytesIO()
        one = (
            Image.fromarray(pixels[..., 0].astype(np.uint16))
            if mode == "I;16"
            else Image.fromarray(pixels).convert(mode)
        )
        one.save(stream, kind)
        found.append(stream.getvalue())
    return found


def _picture(content: bytes, folder: Path) -> None:
    path = _file(content, folder, "one.png")
    images.upright_size(path)
    images.decode(path, Preprocess(size=(8, 8)))


# Archives


def _archive(inner: Mapping[str, bytes]) -> bytes:
    """Returns what run-pack.py sends back, its hashes fitting."""
    files = {name: hashlib.sha256(one).hexdigest() for name, one in inner.items()}
    every = {**inner, "results.json": _text({"schema_version": 1, "pack": PACK, "files": files})}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, one in every.items():
            member = tarfile.TarInfo(name)
            member.size = len(one)
            archive.addfile(member, io.BytesIO(one))
    return stream.getvalue()


def _returned() -> dict[str, bytes]:
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
        f"{start}/ending.json": _text(ending),
        f"{start}/request/request.json": _text(request),
        f"{start}/job.log": b"a log\n",
        f"{start}/result/passes/fp32/pass.json": _text(GOOD),
        f"{start}/result/passes/fp32/small.npy": _npy(np.ones((4, 2), np.float32)),
    }


def _merge(part: str | None) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        results = folder / "results"
        store = Store(results)
        asked = {"requests": [{"id": "a@cpu@repeat-0", "environment": "a"}]}
        _file(_text(asked), store.root, f"packs/{PACK}.json")
        if part is not None:
            inner = _returned()
            inner[next(name for name in inner if name.endswith(part))] = content
            content = _archive(inner)
        merge(_file(content, folder, "results.tar.gz"), results)
        outside = [one for one in folder.iterdir() if one.name not in ("results", "results.tar.gz")]
        assert not outside, outside

    return parse


def _ticket() -> bytes:
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
        for name, one in {**inner, NAME: _text(content)}.items():
            archive.writestr(f"{TOP}/{name}", one)
    return stream.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    unpack(_file(content, folder, "ticket.zip"), folder / "out")
    assert {one.name for one in folder.iterdir()} <= {"ticket.zip", "out"}


# What the host wrote itself, on a disk that may change it


def _fact(kind: type[Stored]) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        del folder
        unsealed(kind, content)

    return parse


def _record(kind: str) -> Callable[[], Sequence[bytes]]:
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
        return [_text(found[kind])]

    return seeds


def _judgement(content: bytes, folder: Path) -> None:
    JudgementFile.read(_file(content, folder, "judgement.json"))


def _small_judgement() -> Sequence[bytes]:
    return [(DATA / "judgement/version-1.json").read_bytes()]


def _matrix(content: bytes, folder: Path) -> None:
    del folder
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    validate(parse_yaml(text, "matrix.yaml"))


def _matrices() -> Sequence[bytes]:
    text = (ROOT / "matrix.yaml").read_text()
    return [
        text.encode(),
        yaml.safe_dump(yaml.safe_load(text)).encode(),
        _text(yaml.safe_load(text)),
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


def _lock(content: bytes, folder: Path) -> None:
    del folder
    read_lock(content.decode("utf-8", "replace"))


def _header(content: bytes, folder: Path) -> None:
    del folder
    read_header(io.BytesIO(content))


def _arrays(content: bytes, folder: Path) -> None:
    path = _file(content, folder, "one.npz")
    read_member(path, "image", 1 << 20)
    read_arrays(path)


def _profile(content: bytes, folder: Path) -> None:
    del folder
    read_profile(content)


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


def _images(*arrays: bytes) -> Callable[[], Sequence[bytes]]:
    return lambda: arrays


PARSERS: Mapping[str, Parser] = {
    one.name: one
    for one in (
        Parser("network", lambda: [_model()], _network, (graph.GraphError, CircleError)),
        Parser("trt-cache", lambda: _tables()[:2], _cache, (table.TableError,)),
        Parser("table", _tables, lambda content, _: reading.read(content), (table.TableError,)),
        Parser("table-json", lambda: _tables()[5:6], lambda content, _: table.from_json(content.decode("utf-8", "replace")), (table.TableError,)),
        Parser("pass-json", lambda: [_text(GOOD)], _answer("PASS/pass.json"), (AnswerError,)),
        Parser("layers-json", lambda: [_text(LAYERS)], _answer("PASS/layers.json"), (AnswerError,)),
        Parser("build-json", lambda: [_text(BUILD)], _answer("PASS/build.json"), (AnswerError,)),
        Parser("job-cache", lambda: _tables()[:1], _answer("PASS/c.cache"), (AnswerError,)),
        Parser("job-npy", lambda: [_npy(np.ones((4, 2), np.float32))], _answer("PASS/small.npy"), (AnswerError,)),
        Parser("probe-json", lambda: [_text({"engine": {"name": "x", "version": "1"}, "packages": {"numpy": "1"}, "mapped": {}})], _answer(protocol.PROBE), (AnswerError,)),
        Parser("calibration-json", lambda: [_text({"schema_version": 1, "seconds": 1, "images": 4, "algorithms": {"minmax": {"x": 1}}, "unusable": {"y": "why"}, "seen": {"x": 1}})], _answer(protocol.CALIBRATION), (AnswerError,)),
        Parser("result-json", lambda: [_text({"schema_version": 1, "status": "job_failed", "stage": "infer", "error": {"type": "E", "message": "m"}})], _answer(protocol.RESULT), (AnswerError,)),
        Parser("stage", lambda: [b"infer fp32\n"], _answer(protocol.STAGE), (AnswerError,)),
        Parser("dump-npy", _images(_npy(np.ones((2, 3), np.float32)), _npy(np.ones((2, 3), np.float16))), _dump("small.npy"), (DumpError,)),
        Parser("dump-npz", lambda: [_npz()], _dump("small.npz"), (DumpError,)),
        Parser("dump-polygraphy", lambda: [one.read_bytes() for one in POLYGRAPHY], _dump("small.json"), (DumpError,)),
        Parser("dump-trtexec", lambda: [_text(WRITTEN)], _dump("out.json"), (DumpError,)),
        Parser("dump-raw", lambda: [np.ones(6, np.float32).tobytes()], _dump("small.bin", FileFormat(shape=(2, 3))), (DumpError,)),
        Parser("engine-layers", lambda: [_text(INSPECTED), (DATA / "tensorrt_layers/trt-8.5.3.1-int8.json").read_bytes()[:200_000]], _layers(False), ()),
        Parser("engine-profile", lambda: [_text(PROFILED)], _layers(True), ()),
        Parser("profile", lambda: [_text(PROFILED)], _profile, (ProfileError,)),
        Parser("npy-header", lambda: [_npy(np.ones((2, 3), np.float32)), _npy(np.ones((2, 3), np.float64).T)], _header, BAD_HEADER),
        Parser("npz", lambda: [_npz()], _arrays, (OSError, ValueError, zipfile.BadZipFile)),
        Parser("sample-npy", lambda: [_npy(np.ones((3, 4, 4), np.float32))], _sample("0.npy"), (ConfigError,)),
        Parser("sample-npz", lambda: [_npz()], _sample("0.npz"), (ConfigError,)),
        Parser("coco", lambda: [_text(COCO)], _coco, (LabelsError,)),
        Parser("yolo-labels", lambda: [b"0 0.5 0.5 0.2 0.3\n2 0.1 0.1 0.05 0.05\n"], _label_file(".txt"), (LabelsError, OSError)),
        Parser("voc-labels", lambda: [VOC], _label_file(".xml"), (LabelsError, OSError)),
        Parser("image", _pictures, _picture, IMAGE_ERRORS),
        Parser("results-tar", lambda: [_archive(_returned())], _merge(None), (StoreError,)),
        Parser("results-tar-ending", lambda: [_returned()["a@cpu@repeat-0/start-1/ending.json"]], _merge("/ending.json"), (StoreError,)),
        Parser("results-tar-request", lambda: [_returned()["a@cpu@repeat-0/start-1/request/request.json"]], _merge("/request.json"), (StoreError,)),
        Parser("ticket", lambda: [_ticket()], _unpack, (StoreError,)),
        Parser("manifest", _record("manifest"), _fact(Manifest), (ValueError,)),
        Parser("record", _record("record"), _fact(Record), (ValueError,)),
        Parser("measurement", _record("measurement"), _fact(Measurement), (ValueError,)),
        Parser("calibration", _record("calibration"), _fact(Calibration), (ValueError,)),
        Parser("derived", _record("derived"), _fact(Derived), (ValueError,)),
        Parser("checksums", lambda: [b"%s  manifest.json\n" % (b"0" * 64)], lambda content, _: checksums(content.decode("utf-8", "replace")), ()),
        Parser("judgement", _small_judgement, _judgement, (StoreError,)),
        Parser("matrix-yaml", _matrices, _matrix, (ConfigError,)),
        Parser("python-answer", lambda: [_text(PYTHON)], lambda content, _: told_python(content), (ValueError,)),
        Parser("package-lock", lambda: [LOCK], _lock, (EnvironmentUnavailableError, ValueError)),
    )
}  # fmt: skip
