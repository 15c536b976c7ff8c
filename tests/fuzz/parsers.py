"""The parsers, each once: valid inputs to start from, how it is called, and how it may refuse."""

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from tests.fuzz.seeds import (
    BUILD,
    COCO,
    DATA,
    GOOD,
    INSPECTED,
    LAYERS,
    LOCK,
    PACK,
    POLYGRAPHY,
    PROFILED,
    PYTHON,
    VOC,
    WRITTEN,
    archive_of,
    as_json,
    facts_of,
    image_files,
    judgement_file,
    matrix_files,
    network_file,
    npy_of,
    npz_of,
    returned_files,
    table_files,
    ticket_of,
)
from tests.unit import small_networks as networks
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
from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.core.records import Calibration, DerivedObject, Measurement, Record, Stored
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
from trt_matrix.ticket.verifying import unpack

IMAGE_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Parser:
    name: str
    seeds: Callable[[], Sequence[bytes]]
    """Inputs that it takes."""
    parse: Callable[[bytes, Path], Any]
    """Given an input, and an empty folder."""
    refusals: tuple[type[Exception], ...]
    """How it says that an input is none of its own."""


@functools.cache
def _parsed() -> onnx.ModelProto:
    return networks.detector()


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


# What a job, or a user's own program, left


def _answer(part: str) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        home = f"{protocol.PASSES}/fp32"
        files = {
            f"{home}/{protocol.PASS}": as_json(GOOD), f"{home}/layers.json": as_json(LAYERS),
            f"{home}/build.json": as_json(BUILD), f"{home}/c.cache": b"TRT-8503-EntropyCalibration2\nx: 3c010a14\n",
            f"{home}/small.npy": npy_of(np.ones((4, 2), np.float32)),
            protocol.PROBE: as_json({"engine": {"name": "onnxruntime", "version": "1"}, "packages": {}}),
            protocol.CALIBRATION: as_json({"schema_version": 1, "seconds": 1, "images": 4, "algorithms": {"minmax": {"x": 1}}, "unusable": {}}),
            protocol.RESULT: as_json({"schema_version": 1, "status": "ok", "stage": "infer", "error": None}),
            protocol.STAGE: b"infer fp32\n",
        }  # fmt: skip
        files[part if "/" not in part else part.replace("PASS", home)] = content
        for name, file in files.items():
            _file(file, folder / "result", name)
        answers = ResultFolder(folder / "result", 1 << 24)
        answers.stage()
        json.dumps(answers.probe(), allow_nan=False)
        with taking("the answer"):
            answers.job()
            answers.calibration()
            answer = answers.answer("fp32")
            if answer is None:
                return
            json.dumps(answer.model_dump(mode="json"), allow_nan=False)
            answers.output("fp32", "small", answer, images=4, shape=(4, 2))
            if answer.layers:
                answers.layers("fp32", answer.layers)
            if answer.build:
                answers.scales("fp32", answers.build("fp32", answer.build))
            if answer.cache:
                answers.cache_table("fp32", answer.cache, environment="a")

    return parse


def _dump(name: str, form: FileFormat | None = None) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        for tensor in tensors(_file(content, folder, name), form or FileFormat()):
            for block in tensor.blocks(max(tensor.elements_at_once, 1 << 12)):
                block.tobytes()

    return parse


def _layers(profile: bool) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        path = _file(content, folder, "layers.json")
        files = LayerFiles(profile=path) if profile else LayerFiles(information=path)
        layers = take_layers(files, _parsed())
        if layers.answer is not None:
            plain = answer_models.plain_json(as_json(layers.answer))
            answer_models.valid(answer_models.LayersAnswer, plain)

    return parse


def _sample(name: str) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        path = _file(content, folder, name)
        samples.stack([path], [InputPart("image", (3, 4, 4), "float32")], folder / "target.npy")

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


def _picture(content: bytes, folder: Path) -> None:
    path = _file(content, folder, "one.png")
    images.upright_size(path)
    images.decode(path, Preprocess(size=(8, 8)))


# Archives


def _merge(part: str | None) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        results = folder / "results"
        store = Store(results)
        asked = {"requests": [{"id": "a@cpu@repeat-0", "environment": "a"}]}
        _file(as_json(asked), store.root, f"packs/{PACK}.json")
        if part is not None:
            inner = returned_files()
            inner[next(name for name in inner if name.endswith(part))] = content
            content = archive_of(inner)
        merge(_file(content, folder, "results.tar.gz"), results)
        outside = [
            path for path in folder.iterdir() if path.name not in ("results", "results.tar.gz")
        ]
        assert not outside, outside

    return parse


def _unpack(content: bytes, folder: Path) -> None:
    unpack(_file(content, folder, "ticket.zip"), folder / "out")
    assert {path.name for path in folder.iterdir()} <= {"ticket.zip", "out"}


# What the host wrote itself, on a disk that may change it


def _fact(kind: type[Stored]) -> Callable[[bytes, Path], None]:
    def parse(content: bytes, folder: Path) -> None:
        del folder
        unsealed(kind, content)

    return parse


def _judgement(content: bytes, folder: Path) -> None:
    JudgementFile.read(_file(content, folder, "judgement.json"))


def _matrix(content: bytes, folder: Path) -> None:
    del folder
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    validate(parse_yaml(text, "matrix.yaml"))


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


def _images(*arrays: bytes) -> Callable[[], Sequence[bytes]]:
    return lambda: arrays


PARSERS: Mapping[str, Parser] = {
    parser.name: parser
    for parser in (
        Parser("network", lambda: [network_file()], _network, (graph.GraphError, CircleError)),
        Parser("trt-cache", lambda: table_files()[:2], _cache, (table.TableError,)),
        Parser("table", table_files, lambda content, _: reading.read(content), (table.TableError,)),
        Parser("table-json", lambda: table_files()[5:6], lambda content, _: table.from_json(content.decode("utf-8", "replace")), (table.TableError,)),
        Parser("pass-json", lambda: [as_json(GOOD)], _answer("PASS/pass.json"), (AnswerError,)),
        Parser("layers-json", lambda: [as_json(LAYERS)], _answer("PASS/layers.json"), (AnswerError,)),
        Parser("build-json", lambda: [as_json(BUILD)], _answer("PASS/build.json"), (AnswerError,)),
        Parser("job-cache", lambda: table_files()[:1], _answer("PASS/c.cache"), (AnswerError,)),
        Parser("job-npy", lambda: [npy_of(np.ones((4, 2), np.float32))], _answer("PASS/small.npy"), (AnswerError,)),
        Parser("probe-json", lambda: [as_json({"engine": {"name": "x", "version": "1"}, "packages": {"numpy": "1"}, "mapped": {}})], _answer(protocol.PROBE), (AnswerError,)),
        Parser("calibration-json", lambda: [as_json({"schema_version": 1, "seconds": 1, "images": 4, "algorithms": {"minmax": {"x": 1}}, "unusable": {"y": "why"}, "seen": {"x": 1}})], _answer(protocol.CALIBRATION), (AnswerError,)),
        Parser("result-json", lambda: [as_json({"schema_version": 1, "status": "job_failed", "stage": "infer", "error": {"type": "E", "message": "m"}})], _answer(protocol.RESULT), (AnswerError,)),
        Parser("stage", lambda: [b"infer fp32\n"], _answer(protocol.STAGE), (AnswerError,)),
        Parser("dump-npy", _images(npy_of(np.ones((2, 3), np.float32)), npy_of(np.ones((2, 3), np.float16))), _dump("small.npy"), (DumpError,)),
        Parser("dump-npz", lambda: [npz_of()], _dump("small.npz"), (DumpError,)),
        Parser("dump-polygraphy", lambda: [path.read_bytes() for path in POLYGRAPHY], _dump("small.json"), (DumpError,)),
        Parser("dump-trtexec", lambda: [as_json(WRITTEN)], _dump("out.json"), (DumpError,)),
        Parser("dump-raw", lambda: [np.ones(6, np.float32).tobytes()], _dump("small.bin", FileFormat(shape=(2, 3))), (DumpError,)),
        Parser("engine-layers", lambda: [as_json(INSPECTED), (DATA / "tensorrt_layers/trt-8.5.3.1-int8.json").read_bytes()[:200_000]], _layers(False), ()),
        Parser("engine-profile", lambda: [as_json(PROFILED)], _layers(True), ()),
        Parser("profile", lambda: [as_json(PROFILED)], _profile, (ProfileError,)),
        Parser("npy-header", lambda: [npy_of(np.ones((2, 3), np.float32)), npy_of(np.ones((2, 3), np.float64).T)], _header, BAD_HEADER),
        Parser("npz", lambda: [npz_of()], _arrays, (OSError, ValueError)),
        Parser("sample-npy", lambda: [npy_of(np.ones((3, 4, 4), np.float32))], _sample("0.npy"), (ConfigError,)),
        Parser("sample-npz", lambda: [npz_of()], _sample("0.npz"), (ConfigError,)),
        Parser("coco", lambda: [as_json(COCO)], _coco, (LabelsError,)),
        Parser("yolo-labels", lambda: [b"0 0.5 0.5 0.2 0.3\n2 0.1 0.1 0.05 0.05\n"], _label_file(".txt"), (LabelsError, OSError)),
        Parser("voc-labels", lambda: [VOC], _label_file(".xml"), (LabelsError, OSError)),
        Parser("image", image_files, _picture, IMAGE_ERRORS),
        Parser("results-tar", lambda: [archive_of(returned_files())], _merge(None), (StoreError,)),
        Parser("results-tar-ending", lambda: [returned_files()["a@cpu@repeat-0/start-1/ending.json"]], _merge("/ending.json"), (StoreError,)),
        Parser("results-tar-request", lambda: [returned_files()["a@cpu@repeat-0/start-1/request/request.json"]], _merge("/request.json"), (StoreError,)),
        Parser("ticket", lambda: [ticket_of()], _unpack, (StoreError,)),
        Parser("manifest", facts_of("manifest"), _fact(Manifest), (ValueError,)),
        Parser("record", facts_of("record"), _fact(Record), (ValueError,)),
        Parser("measurement", facts_of("measurement"), _fact(Measurement), (ValueError,)),
        Parser("calibration", facts_of("calibration"), _fact(Calibration), (ValueError,)),
        Parser("derived", facts_of("derived"), _fact(DerivedObject), (ValueError,)),
        Parser("checksums", lambda: [b"%s  manifest.json\n" % (b"0" * 64)], lambda content, _: checksums(content.decode("utf-8", "replace")), ()),
        Parser("judgement", judgement_file, _judgement, (StoreError,)),
        Parser("matrix-yaml", matrix_files, _matrix, (ConfigError,)),
        Parser("python-answer", lambda: [as_json(PYTHON)], lambda content, _: told_python(content), (ValueError,)),
        Parser("package-lock", lambda: [LOCK], _lock, (EnvironmentUnavailableError, ValueError)),
    )
}  # fmt: skip
