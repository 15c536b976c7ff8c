"""The whole loop over TensorRT, played by the fake of tests/fakes: passes, tables, simulations, packs."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit import small_networks as networks
from tests.unit.archives import unpack
from tests.unit.matrices import Told, run_offline
from tests.unit.programs import ran
from tests.unit.trips import answer_there
from trt_matrix.commands import session
from trt_matrix.core.cells import Status
from trt_matrix.core.tables.table import from_json
from trt_matrix.core.tables.trt_cache import Cache, write
from trt_matrix.store.results import Store
from trt_matrix.ticket.making import TicketWish, make

FAKES = Path(__file__).parents[1] / "fakes"
MATRIX = """
name: tiny
model: {{onnx: tiny.onnx, variants: [tiny-opset9.onnx]}}
heads: {{large: {{stride: 4}}, small: {{stride: 2}}}}
data:
  calibration: {{images: images}}
  evaluation: {{images: images}}
calibration: {{algorithms: [minmax], shared: entropy, calibrators: [entropy2, minmax]}}
precisions: [fp32, tf32, int8]
repeats: 2
devices: [cpu, "gpu:*"]
baseline: ort
timing: {{min_samples: 2, max_samples: 3, max_s: 0.01, warm_up_max_s: 0.01}}
engines: {{onnxruntime: {{threads: 1}}}}
environments:
  - {{interpreter: {python}, name: ort}}
  - {{elsewhere: [trt-5.1.5, trt-8.6.1, trt-11.0]}}
"""
Rows = dict[tuple[str, str, str], dict[str, str]]


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorrt")
    (folder / "images").mkdir()
    folder.joinpath("tiny.onnx").write_bytes(networks.detector().SerializeToString())
    folder.joinpath("tiny-opset9.onnx").write_bytes(networks.old_detector().SerializeToString())
    for index in range(3):
        (folder / "images" / f"{index}.png").write_bytes(png(index))
    (folder / "matrix.yaml").write_text(MATRIX.format(python=sys.executable))
    return folder


def at(folder: Path, version: str) -> dict[str, str]:
    """Returns the environment variables of a machine with this version."""
    return {
        **os.environ,
        "PYTHONPATH": str(FAKES / "tensorrt"),
        "LD_LIBRARY_PATH": str(folder / "cudart"),
        "FAKE_TENSORRT": version,
    }


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    """Packs both environments, answers them with two fake versions, merges, runs."""
    from trt_matrix.packs.packing import pack

    if shutil.which("gcc") is None:
        pytest.skip("no gcc for the fake CUDA runtime")
    cudart = folder / "cudart"
    cudart.mkdir()
    source = FAKES / "cudart" / "cudart.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(cudart / "libcudart.so"), str(source)], check=True
    )
    for name, version in (
        ("trt-5.1.5", "5.1.5"),
        ("trt-8.6.1", "8.6.1"),
        ("trt-11.0", "11.0.0.114"),
    ):
        packed = pack(
            folder / "matrix.yaml", folder / "results", folder / f"{name}.tar",
            select=[f"{name}/*"], progress=Told(),
        )  # fmt: skip
        unpack(packed.file, folder / name)
        answer_there(folder / name, folder / "results", at(folder, version))
    run_offline(folder / "matrix.yaml")
    with (folder / "results" / "latest" / "results.csv").open() as stream:
        return {
            (row["environment"], row["pass_name"], row["head"]): row
            for row in csv.DictReader(stream)
        }


def test_every_pass_of_both_ways_to_int8_is_measured(rows: Rows) -> None:
    for name in (
        "fp32", "tf32", "int8-shared-entropy", "int8-implicit-shared-entropy",
        "int8-implicit-own-entropy2", "int8-implicit-own-minmax",
    ):  # fmt: skip
        row = rows["trt-8.6.1", name, "small"]
        assert (row["status"], row["repeats"], row["reason"]) == ("ok", "2", "")
        assert row["engine_version"] == "8.6.1"


def test_an_old_parser_takes_the_variant_that_it_reads(rows: Rows, folder: Path) -> None:
    for name in ("fp32", "int8-implicit-shared-entropy", "int8-implicit-own-entropy2"):
        row = rows["trt-5.1.5", name, "small"]
        assert (row["status"], row["repeats"], row["reason"]) == ("ok", "2", "")
    assert float(rows["trt-5.1.5", "fp32", "small"]["nmse"]) < 1e-10
    read = {
        (record.environment, measurement.variant, tuple(measurement.refused))
        for record in Store(folder / "results").open_run("latest").records()
        for measurement in record.measurements
        if record.status is Status.OK and measurement.variant
    }
    assert read == {
        ("trt-5.1.5", "tiny-opset9.onnx", ("tiny.onnx",)),
        ("trt-8.6.1", "tiny.onnx", ()),
        ("trt-11.0", "tiny.onnx", ()),
    }  # and explicit passes, whose Q/DQ networks are of one opset, name none


def test_a_ticket_holds_the_form_that_was_read_and_what_was_built(
    rows: Rows, folder: Path, tmp_path: Path
) -> None:
    ticket = make(
        "latest", folder / "results", tmp_path / "t.zip", TicketWish(cells=["trt-5.1.5/*"])
    )
    with zipfile.ZipFile(ticket.path) as archive:
        archive.extractall(tmp_path)
    root = tmp_path / "ticket"
    cell = "trt-5.1.5@gpu-all@int8-implicit-own-entropy2"
    asked = json.loads((root / "reproduce" / "requests" / f"{cell}.json").read_text())
    variant = (folder / "tiny-opset9.onnx").read_bytes()
    assert [
        (root / "reproduce" / "objects" / pass_["model"]).read_bytes() == variant
        for pass_ in asked["passes"]
    ] == [True, True]
    layers = json.loads((root / "run" / "layers" / f"{cell}.json").read_text())
    assert layers["layers"]
    cache = (root / "run" / "caches" / f"{cell}.cache").read_text()
    assert cache.startswith("TRT-")
    for script in root.rglob("*.sh"):
        script.chmod(0o755)
    done = ran(
        root / "cells" / cell / "reproduce.sh",
        env={**at(folder, "5.1.5"), "PYTHON": sys.executable},
    )
    assert "same: every head's error is that of the ticket" in done.stdout


def test_what_a_version_cannot_do_is_unsupported_with_its_reason(rows: Rows) -> None:
    row = rows["trt-5.1.5", "int8-shared-entropy", "small"]
    assert row["status"] == "unsupported"
    assert "knows no Q/DQ nodes" in row["reason"]
    row = rows["trt-11.0", "int8-implicit-own-minmax", "small"]
    assert row["status"] == "unsupported"
    assert "runs in int8 by its Q/DQ nodes only" in row["reason"]
    assert rows["trt-11.0", "int8-shared-entropy", "small"]["status"] == "ok"


def test_tensorrts_own_tables_are_simulated_and_budgeted(rows: Rows, folder: Path) -> None:
    for name in ("int8-shared-entropy", "int8-implicit-own-minmax"):
        row = rows["trt-8.6.1", name, "small"]
        parts = [float(row[f"{part}_nmse"]) for part in ("limit", "calibration", "engine")]
        assert sum(parts) == pytest.approx(float(row["observed_nmse"]))
    algorithms = {
        from_json(path.read_text()).provenance.algorithm
        for path in (folder / "results" / "latest" / "tables").iterdir()
    }
    # The fake's calibrators all keep the largest magnitude, so that theirs is one table.
    assert {"entropy", "minmax", "EntropyCalibration2"} <= algorithms


def test_it_is_known_afterwards(rows: Rows, folder: Path) -> None:
    planned = session.plan_experiment(
        folder / "matrix.yaml", folder / "results", select=["trt-8.6.1/*"]
    )
    assert set(planned.known.values()) == {2}
    assert len(planned.known) == 6


def test_a_table_that_ran_both_ways_is_compared_and_eleven_with_what_came_before(
    rows: Rows, folder: Path
) -> None:
    """5.1.5 has implicit int8 alone, 8.6.1 both ways, 11.0 Q/DQ nodes alone."""
    assert rows
    from trt_matrix.judging.run import judgement_of

    run = Store(folder / "results").open_run("latest")
    judged = judgement_of(run, tuple(record.planned() for record in run.records()))
    pairs = {(bridge.head, *bridge.environments) for bridge in judged.bridges}
    assert pairs == {
        (head, *names)
        for head in ("large", "small")
        for names in (("trt-8.6.1", "trt-8.6.1"), ("trt-5.1.5", "trt-11.0"), ("trt-8.6.1", "trt-11.0"))
    }  # fmt: skip
    for head in ("large", "small"):
        assert "int8-implicit-shared-entropy" in judged.sentences[head]
        assert "trt-11.0 (implicit in trt-8.6.1)" in judged.sentences[head]
    page = (folder / "results" / "latest" / "report.html").read_text()
    assert "trt-11.0 (implicit in trt-8.6.1)" in page


def test_a_table_of_a_file_is_carried_into_both_ways_to_int8(rows: Rows, folder: Path) -> None:
    """By other names than the network's: what arrives has its own, and is packed with the jobs."""
    assert rows
    from trt_matrix.packs.packing import pack

    (made,) = [
        table
        for path in (folder / "results" / "latest" / "tables").iterdir()
        if (table := from_json(path.read_text())).provenance.algorithm == "minmax"
        and table.provenance.note is None
    ][:1]
    scales = {f"yolov3/{name}": made.scale(name) for name in made.amax}
    (folder / "own.cache").write_text(write(Cache(header=None, words="own", scales=scales)))
    text = (folder / "matrix.yaml").read_text()
    source = folder / "file.yaml"
    source.write_text(
        text.replace("shared: entropy", "shared: {table: own.cache}")
        .replace("trt-5.1.5, trt-8.6.1, trt-11.0", "trt-file")
        .replace("repeats: 2", "repeats: 1")
    )
    results = folder / "results-file"
    packed = pack(source, results, folder / "f.tar", select=["trt-file/*"], progress=Told())
    (folder / "own.cache").rename(folder / "own.gone")
    unpack(packed.file, folder / "f")
    answer_there(folder / "f", results, at(folder, "8.6.1"))
    (folder / "own.gone").rename(folder / "own.cache")
    run_offline(source, results, select=["trt-file/*"])
    records = {record.pass_.name: record for record in Store(results).open_run("latest").records()}
    implicit = records["int8-implicit-shared-file"]
    for record in (implicit, records["int8-shared-file"]):
        assert (record.status, record.reason) == (Status.OK, None)
        assert record.measurements[0].table is not None
    coverage = implicit.measurements[0].coverage
    assert coverage
    assert all((one.unmapped, one.ratio) == ((), 1.0) for one in coverage.values())


def test_diagnosing_the_run_holds_every_implicit_build_against_its_own_table(
    rows: Rows, folder: Path
) -> None:
    from trt_matrix.diagnosis.implicit import engine_loss
    from trt_matrix.diagnosis.running import opened

    subject, store = opened("latest", folder / "results", None, lambda _: None)
    assert subject.builds
    built = subject.builds.built
    assert {one.cell.split("/")[0] for one in built} == {"trt-5.1.5", "trt-8.6.1"}
    for one in built:
        assert "implicit" in one.cell
        assert set(one.sums) == {"large", "small"}
        assert all(len(sums) == 3 for sums in one.sums.values())
        # 5.1.5 cannot tell its layers.
        assert bool(one.ran) == one.cell.startswith("trt-8.6.1")
    loss = engine_loss(subject, range(3), store, lambda _: None)
    # The fake computes int8 in its own way: whatever it loses is told of these builds and no others.
    if loss:
        assert {cell for way in loss.ways for cell in way.cells} <= {one.cell for one in built}
    explicit = [measured.cell for measured in subject.measured]
    assert explicit
    assert not [cell for cell in explicit if "implicit" in cell]
