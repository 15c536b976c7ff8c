"""What one host of four H200s gave: TensorRT from images and from packages, two GPUs at once, two versions of cuDNN."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.keep import read
from tests.unit import h200
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.fix import Basis
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.records import Measurement, Record
from trt_matrix.report.questions import questions

HEADS = ("large", "medium", "small")
RESIZINGS = ("neck16/upsample", "neck8/upsample")


def data(name: str) -> Path:
    return h200.ROOT / "tests" / "data" / f"h200-{name}"


def builds(name: str) -> dict[str, tuple[Measurement, ...]]:
    """Returns cell → its builds."""
    records = map(Record.model_validate, json.loads(read(data(name), "records.json")))
    return {record.cell: record.measurements for record in records}


@pytest.fixture(scope="module")
def images() -> Mapping[str, Sequence[Measurement]]:
    return builds("images")


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    return h200.judged(data("images"))


def db(name: str, build: Measurement) -> dict[str, float]:
    """Returns head → SQNR in dB of one build."""
    kept = h200.recorded(data(name))
    found = {head: kept.evidence.sqnr_of(head, build.outputs[head]) for head in HEADS}
    return {head: one for head, one in found.items() if one is not None}


def resized(name: str, build: Measurement) -> tuple[bool, ...]:
    """Returns which of the two resizings one build ran in int8."""
    assert build.layers
    layers = json.loads(read(data(name), "layers.json"))[build.layers.sha256]
    return tuple(
        any(resizing in tensors and precision == INT8 for tensors, precision in layers)
        for resizing in RESIZINGS
    )


def device_s(build: Measurement) -> float:
    assert build.latency
    assert build.latency.device_s
    return float(np.median(build.latency.device_s))


def test_every_build_had_one_gpu_by_cdi_and_no_network(
    images: Mapping[str, Sequence[Measurement]],
) -> None:
    assert len(images) == 19
    for measurement in (build for measured in images.values() for build in measured):
        assert measurement.start
        assert measurement.start.identity["kind"] == "image"
        command = " ".join(measurement.start.command)
        assert command.count("--device=nvidia.com/gpu=GPU-") == 1
        for limit in ("--network=none", "--cap-drop=ALL", "--read-only"):
            assert limit in command
        assert measurement.start.disturbed is None, "four GPUs worked at once"
        version = measurement.start.environment.removeprefix("trt-").removesuffix("-held")
        assert measurement.start.probe["engine"]["version"] == version


def test_qdq_is_the_same_to_the_bit_in_both_versions_from_images_and_from_packages(
    images: Mapping[str, Sequence[Measurement]],
) -> None:
    both = [*images.items(), *builds("packages").items()]
    made = [measurement for cell, measurements in both if cell.endswith("int8-shared-entropy") for measurement in measurements
            if not cell.endswith("implicit-shared-entropy")]  # fmt: skip
    assert len(made) == 8
    for head in HEADS:
        assert len({measurement.outputs[head].sha256 for measurement in made}) == 1


def test_packages_ran_with_their_own_libraries() -> None:
    for cell, measured in builds("packages").items():
        for measurement in measured:
            assert measurement.start
            assert measurement.start.identity["kind"] == "venv"
            assert measurement.start.identity["python"]["version"] == "3.10.13"
            mapped = measurement.start.probe["mapped"]["libraries"]
            packages = {library["package"] for library in mapped}
            cuda = "cu11" if "8.5" in cell else "cu12"
            assert {
                "tensorrt",
                f"nvidia-cublas-{cuda}",
                f"nvidia-cuda-runtime-{cuda}",
                f"nvidia-cudnn-{cuda}",
            } <= packages


def test_a_table_that_the_run_makes_is_carried_with_equal_ranges_and_loses_nothing(
    images: Mapping[str, Sequence[Measurement]],
) -> None:
    """Which was predicted from 8.5.3.1: in 8.5.1.7 and 8.6.0 too, and in int8."""
    measurements = [
        image
        for version in ("8.5.1.7", "8.6.0")
        for image in images[f"trt-{version}/gpu:1/int8-implicit-shared-entropy"]
    ]
    assert [resized("images", measurement) for measurement in measurements] == [
        (True, True),
        (True, True),
        (False, True),
        (True, True),
    ]
    for measurement in measurements:
        told = db("images", measurement)
        assert told["medium"] == pytest.approx(24.9, abs=0.1)
        assert told["small"] == pytest.approx(22.5, abs=0.1)


def test_its_own_table_loses_by_each_resizing_in_int8_and_recovers_where_they_are_held(
    images: Mapping[str, Sequence[Measurement]],
) -> None:
    seen: dict[tuple[bool, ...], set[tuple[float, float]]] = {}
    for cell, measured in images.items():
        for measurement in measured if cell.endswith("own-entropy2") else ():
            told = db("images", measurement)
            pair = round(told["medium"], 1), round(told["small"], 1)
            seen.setdefault(resized("images", measurement), set()).add(pair)
    assert seen == {
        (True, True): {(16.9, 14.7)},
        (True, False): {(16.9, 18.5)},  # what the first loses goes on to the small head
        (False, False): {(25.7, 23.5), (25.7, 24.6)},
    }


def test_what_is_said_of_choices_holds_of_every_build(
    images: Mapping[str, Sequence[Measurement]], judgement: Judgement
) -> None:
    """neck8's resizing was not in int8 in the build of 18.5 dB: it must not be named beside the other's four builds."""
    for choice in judgement.choices:
        assert choice.layers[0] == "neck16/upsample/Resize", "the matrix held it"
        assert "neck8/upsample/Resize" not in choice.layers
        assert (len(choice.worse_db), len(choice.better_db)) == (4, 2)
    (fix, *_) = judgement.fixes
    assert "neck16/upsample/Resize and neck8/upsample/Resize" in fix.what
    assert fix.basis is Basis.MEASURED


def test_versions_are_said_to_lose_the_same_where_that_was_shown(judgement: Judgement) -> None:
    """Of the small head's own table that was not: two builds of 8.6.0 differ by 3.8 dB."""
    version = questions(judgement, headline(judgement))[1]
    assert version.why == (
        "That versions lose the same was shown in int8-shared-entropy and int8-implicit-shared-entropy alone, "
        "and no test names one."
    )


def _spans(measured: Sequence[Measurement]) -> list[tuple[datetime, datetime]]:
    """Returns when each start of these began and ended."""
    starts = {
        measurement.start.started: measurement.start
        for measurement in measured
        if measurement.start
    }
    return [
        (began, began + timedelta(seconds=start.wall_s))
        for told, start in sorted(starts.items())
        for began in [datetime.fromisoformat(told)]
    ]


def test_two_gpus_do_twice_the_work_in_the_same_time_and_do_not_slow_each_other() -> None:
    one, both = builds("one-gpu"), builds("two-gpus")
    alone = _spans([build for measured in one.values() for build in measured])
    lanes = {
        gpu: _spans(
            [build for cell, measurements in both.items() if gpu in cell for build in measurements]
        )
        for gpu in ("gpu:1", "gpu:3")
    }
    for spans in (alone, *lanes.values()):
        assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))
    everything = [span for spans in lanes.values() for span in spans]
    whole = max(end for _, end in everything) - min(begin for begin, _ in everything)
    worked = sum((end - begin for begin, end in everything), timedelta())
    assert 0.5 <= whole / worked < 0.52, "half of what they took together"
    assert whole / (alone[-1][1] - alone[0][0]) < 1.05
    # The GPU's time of fp32, whose builds choose much alike: within 3 % of alone.
    usual = float(np.median([device_s(build) for build in one["trt-8.5.1.7/gpu:1/fp32"]]))
    for gpu in ("gpu:1", "gpu:3"):
        for build in both[f"trt-8.5.1.7/{gpu}/fp32"]:
            assert abs(device_s(build) / usual - 1) < 0.03
            assert build.start
            assert build.start.disturbed is None


def test_two_versions_of_cudnn_are_the_same_to_the_bit_and_that_is_told() -> None:
    loaded: dict[str, set[str]] = {}
    int8 = []
    for cell, measured in builds("cudnn").items():
        for measurement in measured:
            assert measurement.start
            engine = measurement.start.probe["engine"]
            assert "CUDNN" in engine["options"]["tactic_sources"]
            for library in measurement.start.probe["mapped"]["libraries"]:
                if library["package"] == "nvidia-cudnn-cu11":
                    named = Path(library["path"]).name
                    loaded.setdefault(library["version"], set()).add(named)
            if "int8" in cell:
                int8.append(measurement.outputs["small"].sha256)
    # Its tactics were allowed, and its convolutions were never loaded.
    only = {"libcudnn.so.8", "libcudnn_ops_infer.so.8"}
    assert loaded == {"8.6.0.163": only, "8.9.4.25": only}
    assert len(int8) == 4
    assert len(set(int8)) == 1
    told = h200.judged(data("cudnn"))
    for answer in told.answers:
        assert "lose the same to the bit, 2 builds each, in int8-shared-file" in answer.text
