"""fp16 and bf16 where the network's types decide: the whole loop over a fake TensorRT 11, 10 and 10 by types.

The fake computes on a CPU: what is held here is which network ran, and what was told of it.
"""

import csv
import itertools
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.unit import small_networks as networks
from tests.unit.archives import unpack
from tests.unit.experiments import quick
from tests.unit.matrices import Told, run_offline
from tests.unit.programs import ran
from tests.unit.test_tensorrt_matrix import FAKES, Rows, at, png
from tests.unit.trips import answer_there
from trt_matrix.commands import session
from trt_matrix.core.cells import Status
from trt_matrix.core.records import Measurement
from trt_matrix.core.reduced.converting import element_types
from trt_matrix.packs.packing import pack
from trt_matrix.store.results import Store
from trt_matrix.ticket.making import TicketWish, make

MATRIX = quick(
    data={"calibration": {"images": "images"}, "evaluation": {"images": "images"}},
    precisions=["fp32", "fp16", "bf16", "int8"],
    devices=["cpu", "gpu:*"],
    baseline="ort",
    timing={"min_samples": 2, "max_samples": 3, "max_s": 0.01, "warm_up_max_s": 0.01},
    environments=[
        {"interpreter": sys.executable, "name": "ort"},
        {"elsewhere": ["trt-10", "trt-11"]},
        {"elsewhere": ["trt-10-typed"], "options": {"typed": "strong"}},
    ],
)
VERSIONS = {"trt-10": "10.16.1.11", "trt-10-typed": "10.16.1.11", "trt-11": "11.4.0.106"}
TYPED = ("trt-10-typed", "trt-11")
KEPT = {"larger", "still_large", "smaller"}
"""Of the nodes before the small head: those that reach a million, and one that reads it."""


def overflowing() -> onnx.ModelProto:
    """Returns the detector with a place before its small head that float16 cannot hold."""
    model = networks.detector()
    small = next(node for node in model.graph.node if "small" in node.output)
    names = ["sum", "large_", "larger", "still_large", "smaller", "small_"]
    nodes = [
        helper.make_node(
            "Relu" if made == "still_large" else "Mul",
            [given]
            if made == "still_large"
            else [given, "times_down" if "small" in made else "times_up"],
            [made],
            name=made,
        )
        for given, made in itertools.pairwise(names)
    ]
    small.input[0] = "small_"
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*rest[:-1], *nodes, rest[-1]])
    model.graph.initializer.extend(
        numpy_helper.from_array(np.float32(value).reshape(1), name)
        for name, value in (("times_up", 1e3), ("times_down", 1e-3))
    )
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc for the fake CUDA runtime")
    folder = tmp_path_factory.mktemp("typed")
    (folder / "images").mkdir()
    (folder / "cudart").mkdir()
    folder.joinpath("tiny.onnx").write_bytes(overflowing().SerializeToString())
    for index in range(3):
        (folder / "images" / f"{index}.png").write_bytes(png(index))
    (folder / "matrix.yaml").write_text(yaml.safe_dump(MATRIX))
    target, source = folder / "cudart" / "libcudart.so", FAKES / "cudart" / "cudart.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(target), str(source)], check=True)
    return folder


def run(folder: Path, told: Told) -> None:
    run_offline(folder / "matrix.yaml", told=told)


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    for name, version in VERSIONS.items():
        packed = pack(
            folder / "matrix.yaml", folder / "results", folder / f"{name}.tar",
            select=[f"{name}/*"], progress=Told(),
        )  # fmt: skip
        unpack(packed.file, folder / name)
        answer_there(folder / name, folder / "results", at(folder, version))
    told = Told()
    run(folder, told)
    assert told.steps == told.expected, told.lines
    with (folder / "results" / "latest" / "results.csv").open() as stream:
        return {
            (row["environment"], row["pass_name"], row["head"]): row
            for row in csv.DictReader(stream)
        }


def measured(folder: Path, environment: str, name: str) -> Measurement:
    """Returns the measurement of a pass that went well."""
    (found,) = (
        measurement
        for record in Store(folder / "results").open_run("latest").records()
        if record.environment == environment and record.pass_.name == name
        for measurement in record.measurements
    )
    assert found.status is Status.OK, found.reason
    return found


@pytest.mark.parametrize("environment", VERSIONS)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_both_run_everywhere_and_keep_what_roundings_leave(
    rows: Rows, environment: str, precision: str
) -> None:
    row = rows[environment, precision, "small"]
    assert (row["status"], row["reason"]) == ("ok", "")
    assert float(row["sqnr_db"]) > {"fp16": 40, "bf16": 24}[precision]


@pytest.mark.parametrize("environment", TYPED)
def test_where_types_decide_the_converted_network_ran(
    rows: Rows, folder: Path, environment: str
) -> None:
    measurement = measured(folder, environment, "fp16")
    assert measurement.typed is not None
    assert set(measurement.typed["in_float32"]) == KEPT
    assert "reaches" in measurement.typed["in_float32"]["still_large"]
    assert measurement.typed["ranges"].endswith("tensors on the evaluation images"), (
        "one set is both"
    )
    store = Store(folder / "results")
    (file,) = (store.root / "objects").rglob(f"{measurement.model_sha256}.onnx")
    types = element_types(onnx.load(file))
    assert types["still_large"] == TensorProto.FLOAT
    assert types["c5"] == TensorProto.FLOAT16
    assert measured(folder, environment, "fp32").typed is None


def test_where_flags_decide_the_float_network_ran(rows: Rows, folder: Path) -> None:
    measurement = measured(folder, "trt-10", "fp16")
    assert measurement.typed is None
    assert measurement.model_sha256 == measured(folder, "trt-10", "fp32").model_sha256
    assert measurement.build is not None
    assert "FP16" in measurement.build["flags"]
    bf16 = measured(folder, "trt-10", "bf16")
    assert bf16.build is not None
    assert "BF16" in bf16.build["flags"]


def test_int8_of_typed_networks_stays_as_it_was(rows: Rows, folder: Path) -> None:
    assert rows["trt-11", "int8-shared-minmax", "small"]["status"] == "ok"
    assert measured(folder, "trt-11", "int8-shared-minmax").typed is None


def test_onnxruntime_pretends_nothing(rows: Rows) -> None:
    for precision in ("fp16", "bf16"):
        row = rows["ort", precision, "small"]
        assert row["status"] == "unsupported"
        assert "would compute in fp32 between conversions" in row["reason"]


def test_the_page_names_what_stayed_in_float32(rows: Rows, folder: Path) -> None:
    page = (folder / "results" / "latest" / "report.html").read_text("utf-8")
    assert "kept in float32" in page
    assert "float16&#39;s 65504" in page or "float16's 65504" in page


def test_it_is_known_afterwards(rows: Rows, folder: Path) -> None:
    planned = session.plan_experiment(folder / "matrix.yaml", folder / "results", select=["trt*"])
    known = {name for name in planned.known if "int8-implicit" not in name}
    assert {f"{name}/gpu:*/{one}" for name in VERSIONS for one in ("fp16", "bf16")} <= known
    told = Told()
    run(folder, told)
    assert not [line for line in told.lines if "ranges" in line and "reused" not in line]
    assert all("reused" in line for line in told.lines if line.startswith("ok trt")), told.lines


def test_a_ticket_holds_the_network_that_ran(rows: Rows, folder: Path, tmp_path: Path) -> None:
    ticket = make(
        "latest", folder / "results", tmp_path / "t.zip", TicketWish(cells=["trt-11/*/fp16"])
    )
    with zipfile.ZipFile(ticket.path) as archive:
        archive.extractall(tmp_path)
    root, cell = tmp_path / "ticket", "trt-11@gpu-all@fp16"
    asked = json.loads((root / "reproduce" / "requests" / f"{cell}.json").read_text())
    model = onnx.load(root / "reproduce" / "objects" / asked["passes"][-1]["model"])
    assert TensorProto.FLOAT16 in element_types(model).values()
    script = root / "cells" / cell / "reproduce.sh"
    script.chmod(0o755)
    done = ran(script, env={**at(folder, VERSIONS["trt-11"]), "PYTHON": sys.executable})
    assert "same: every head's error is that of the ticket" in done.stdout


def test_a_ticket_without_weights_holds_a_stand_in_of_the_same_types(
    rows: Rows, folder: Path, tmp_path: Path
) -> None:
    wish = TicketWish(cells=["trt-11/*/fp16"], no_weights=True)
    ticket = make("latest", folder / "results", tmp_path / "t.zip", wish)
    with zipfile.ZipFile(ticket.path) as archive:
        archive.extractall(tmp_path)
    jobs = tmp_path / "ticket" / "reproduce"
    asked = json.loads((jobs / "requests" / "trt-11@gpu-all@fp16.json").read_text())
    stand_in = onnx.load(jobs / "objects" / asked["passes"][-1]["model"])
    assert element_types(stand_in)["c5"] == TensorProto.FLOAT16
    real = {
        weight.name: numpy_helper.to_array(weight)
        for weight in networks.detector().graph.initializer
        if len(weight.dims) == 4
    }
    drawn = {tensor.name: numpy_helper.to_array(tensor) for tensor in stand_in.graph.initializer}
    pairs = [
        (values, drawn[f"{name}/float16"])
        for name, values in real.items()
        if f"{name}/float16" in drawn
    ]
    assert pairs
    assert not any(np.allclose(array, other, atol=1e-3) for array, other in pairs)
