"""What a run on an H200 gave whose jobs ran in containers with the GPU by CDI: tests/data/h200-docker."""

import json
from collections.abc import Mapping

import onnx
import pytest

from tests.unit import h200
from trt_matrix.core.diagnosis.latencies import by_tensors, latency_shares
from trt_matrix.core.layers.engine_layers import LayerTimes
from trt_matrix.core.network import shapes
from trt_matrix.core.records import Measurement, Record

DATA = h200.ROOT / "tests" / "data" / "h200-docker"
HEADS = ("large", "medium", "small")


@pytest.fixture(scope="module")
def builds() -> list[Measurement]:
    records = map(Record.model_validate, json.loads((DATA / "records.json").read_text()))
    return [measurement for record in records for measurement in record.measurements]


@pytest.fixture(scope="module")
def times() -> Mapping[str, LayerTimes]:
    return h200.times_of(DATA)


def test_every_build_ran_in_a_container_that_saw_one_gpu_and_no_network(
    builds: list[Measurement],
) -> None:
    assert len(builds) == 6
    for build in builds:
        assert build.start
        assert build.start.identity["kind"] == "image"
        command = " ".join(build.start.command)
        assert "--device=nvidia.com/gpu=GPU-" in command
        for limit in ("--network=none", "--cap-drop=ALL", "--read-only"):
            assert limit in command


def test_it_loses_what_it_lost_outside_of_containers() -> None:
    """Same version and table as tests/data/h200-equal and h200-mixed, another build."""

    def sqnr(folder: str, name: str) -> list[float | None]:
        for result in h200.judged(DATA.parent / folder).cells:
            if result.cell.pass_.name == name:
                return [head.error.sqnr_db for head in result.heads]
        raise AssertionError(name)

    assert all(db and db > 120 for db in sqnr("h200-docker", "fp32"))
    lost = sqnr("h200-mixed", "int8-implicit-shared-file")
    assert sqnr("h200-docker", "int8-implicit-shared-file") == pytest.approx(lost, abs=0.3)
    qdq = sqnr("h200-equal", "int8-shared-file")
    assert sqnr("h200-docker", "int8-shared-file") == pytest.approx(qdq, abs=0.1)


def test_its_layers_were_timed_by_our_own_job(
    builds: list[Measurement], times: Mapping[str, LayerTimes]
) -> None:
    model = onnx.load(h200.ROOT / "demo" / "digits3.onnx")
    work = shapes.macs(model)
    for build in builds:
        assert build.layers
        assert build.latency
        assert build.latency.device_s
        layer_times = times[build.layers.sha256]
        assert layer_times.runs == 50
        whole = sum(layer.seconds for layer in layer_times.layers)
        # Layers one by one do not overlap, and the profiler waits between them.
        assert 1.1 < whole / sorted(build.latency.device_s)[len(build.latency.device_s) // 2] < 1.4
        shares = latency_shares(by_tensors(layer_times.layers, model, work), work)
        assert set(shares) == set(work)
        assert min(shares.values()) > 0
        # Adding, resizing and reformatting take the rest: a ninth in fp32, a quarter in int8.
        assert 0.7 < sum(shares.values()) < 0.9
