"""What TensorRT 8.6.0 gave on an H200 with four images at once, and one at a time with both resizings held in fp32."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.gpu.keep import read
from tests.unit import h200
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.records import Measurement, Record

HEADS = ("large", "medium", "small")
RESIZINGS = ("neck16/upsample", "neck8/upsample")
OWN_ENTROPY = "EntropyCalibration2"


def data(name: str) -> Path:
    return h200.ROOT / "tests" / "data" / f"h200-{name}"


def builds(name: str, cell: str) -> tuple[Measurement, ...]:
    """Returns the builds of the cell whose name ends so."""
    records = map(Record.model_validate, json.loads(read(data(name), "records.json")))
    (measurements,) = [
        record.measurements for record in records if record.cell.split("/")[-1] == cell
    ]
    return measurements


def db(name: str, build: Measurement) -> dict[str, float | None]:
    """Returns head → SQNR in dB of one build."""
    evidence = h200.recorded(data(name)).evidence
    return {head: evidence.sqnr_of(head, build.outputs[head]) for head in HEADS}


def resized_in_int8(name: str, build: Measurement) -> tuple[bool, ...]:
    assert build.layers
    layers = json.loads(read(data(name), "layers.json"))[build.layers.sha256]
    return tuple(
        any(resizing in tensors and precision == INT8 for tensors, precision in layers)
        for resizing in RESIZINGS
    )


def tables(name: str, algorithm: str, images: bool = False) -> list[Mapping[str, float]]:
    """Returns the scales of all tables of an algorithm; those for the limit of 8 bits left out."""
    loaded = [json.loads(path.read_text()) for path in sorted((data(name) / "tables").iterdir())]
    return [
        table["amax"]
        for table in loaded
        if table["provenance"]["algorithm"] == algorithm
        and (table["provenance"]["images_sha256"] is not None) == images
        and table["provenance"]["note"] is None
    ]


@pytest.mark.parametrize("name", ["batch", "batch-held"])
def test_four_images_at_once_ran_and_no_start_was_disturbed(name: str) -> None:
    records = map(Record.model_validate, json.loads(read(data(name), "records.json")))
    measurements = [build for record in records for build in record.measurements]
    assert len(measurements) == {"batch": 10, "batch-held": 2}[name]
    for build in measurements:
        assert build.start
        assert build.start.probe["engine"]["version"] == "8.6.0"
        assert build.start.disturbed is None
        assert build.latency
        assert build.latency.batch == 4


def test_without_a_gpu_the_table_is_made_that_tensorrt_makes_of_batches() -> None:
    """So the first range is the first batch's maximum: one image at a time gives other scales in 50 tensors of 54."""
    (ours,) = tables("batch", "entropy", images=True)
    theirs = [*tables("batch", OWN_ENTROPY), *tables("batch-held", OWN_ENTROPY)]
    assert len(theirs) == 3
    for table in theirs:
        assert table == pytest.approx(ours, rel=1e-6)
    alone, *_ = tables("held", OWN_ENTROPY)
    apart = [name for name in ours if abs(ours[name] / alone[name] - 1) > 1e-5]
    assert len(apart) == 50


def test_minmax_is_the_same_in_batches() -> None:
    (alone,) = tables("held", "MinMaxCalibration")
    for table in tables("batch", "MinMaxCalibration"):
        assert table == pytest.approx(alone, rel=1e-6)


def test_in_batches_too_the_resizings_lose_and_what_holds_them_recovers() -> None:
    for build in builds("batch", "int8-implicit-own-entropy2"):
        assert resized_in_int8("batch", build) == (True, True)
        small = db("batch", build)["small"]
        assert small
        assert small < 18
    (held,) = builds("batch-held", "int8-implicit-own-entropy2")
    assert resized_in_int8("batch-held", held) == (False, False)
    assert db("batch-held", held) == pytest.approx(
        {"large": 27.3, "medium": 24.7, "small": 22.5}, abs=0.05
    )


def test_equal_ranges_cure_it_in_batches_with_both_resizings_in_int8() -> None:
    for build in builds("batch", "int8-implicit-shared-entropy"):
        assert resized_in_int8("batch", build) == (True, True)
        small = db("batch", build)["small"]
        assert small
        assert small > 22.4


def test_fp32_and_qdq_are_the_same_to_the_bit_in_every_build_of_a_batch() -> None:
    for cell in ("fp32", "int8-shared-entropy"):
        measurements = builds("batch", cell)
        assert len(measurements) == 2
        for head in HEADS:
            assert len({build.outputs[head].sha256 for build in measurements}) == 1


def test_one_at_a_time_held_builds_of_this_version_recover() -> None:
    for build in builds("held", "int8-implicit-own-entropy2"):
        assert resized_in_int8("held", build) == (False, False)
        told = db("held", build)
        assert told["medium"]
        assert told["small"]
        assert told["medium"] > 24.9
        assert told["small"] > 22.5
