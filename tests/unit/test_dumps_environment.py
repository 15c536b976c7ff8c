"""A whole matrix over what a program of the user's own wrote: one run, one environment a case."""

import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

from tests.unit import small_networks as networks
from tests.unit.experiments import DATA, noise_images
from tests.unit.matrices import run_offline
from trt_matrix.commands import session
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.plan import recordable
from trt_matrix.core.qdq import explicit as qdq
from trt_matrix.core.tables.table import Provenance, from_ranges
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.errors import ConfigError
from trt_matrix.judging.outcome import Outcome

IMAGES = 4

HEADS = ("large", "small")


STATED = {"cuDNN": "7.1.4", "GPU": "Tesla P4"}

Outputs = Mapping[str, np.ndarray]
"""Head → float32 (images, c, h, w)."""


def application(model: onnx.ModelProto, images: np.ndarray) -> Outputs:
    """The user's own program: it knows a runtime and numpy, and nothing of this tool."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    running = onnxruntime.InferenceSession(model.SerializeToString(), options)
    rows = [running.run(list(HEADS), {"image": image[np.newaxis]}) for image in images]
    return {
        head: np.concatenate(column)
        for head, column in zip(HEADS, zip(*rows, strict=True), strict=True)
    }


def raw(folder: Path, outputs: Outputs, dtype: str = "<f4", *, index: bool = False) -> None:
    """Writes HEAD/IMAGE.bin: a file of raw floats for each image and head."""
    for head, array in outputs.items():
        (folder / head).mkdir(parents=True)
        for number, image in enumerate(array):
            name = f"{number:03d}.bin" if index else f"photo-{number}.bin"
            (folder / head / name).write_bytes(image.astype(dtype).tobytes())


def layers(model: onnx.ModelProto) -> list[dict[str, Any]]:
    """What TensorRT's inspector tells, were all convolutions but the last in int8."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    return [
        {
            "Name": f"{node.name} + PWN(act)",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": node.input[0], "Format/Datatype": "Row major linear FP32"
                        if node is convolutions[-1] else "Row major Int8 format"}],
            "Outputs": [{"Name": node.output[0], "Format/Datatype": "Row major linear FP32"}],
        }
        for node in convolutions
    ]  # fmt: skip


def cache(ranges: Mapping[str, float]) -> str:
    """Returns what TensorRT's writeCalibrationCache is given."""
    lines = [f"{name}: {struct.pack('>f', amax / 127).hex()}" for name, amax in ranges.items()]
    return "\n".join(["TRT-4001-EntropyCalibration", *lines, ""])


def dumps(name: str, passes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"dumps": f"recorded/{name}", "name": name, "version": "4.0.1", "passes": passes, **more}


PER_IMAGE = {"fp32": {"files": "{head}/{image}.bin"}}


def environments() -> list[dict[str, Any]]:
    both = {
        "fp32": {"files": "fp32/{repeat}/{head}/{image}.bin"},
        "int8": {
            "files": "int8/{repeat}/{head}/{image}.bin",
            "table": "recorded/app.cache",
            "layers": "recorded/layers.json",
            "profile": "recorded/profile.json",
        },
    }
    return [
        {"interpreter": sys.executable, "name": "here"},
        dumps("app", both, stated=STATED, device="gpu:P4", repeats=2),
        dumps("no-table", {"int8": {"files": "{head}/{image}.bin"}}),
        dumps("big-endian", PER_IMAGE, byte_order="big"),
        dumps("npz", {"fp32": {"files": "{index:04d}.npz"}},
              heads={"large": "out_0", "small": "out_1"}),
        dumps("channels-last", {"fp32": {"files": "{head}.raw"}}, layout="nhwc", device="cpu",
              engine="onnxruntime"),
        dumps("indexed", {"fp32": {"files": "{head}/{index:03d}.bin"}}),
        # What goes wrong
        dumps("nan", PER_IMAGE),
        dumps("swapped", PER_IMAGE),
        dumps("short", {**PER_IMAGE, "fp16": {"files": "half/{head}/{image}.bin"}}),
        dumps("incomplete", PER_IMAGE),
        dumps("empty", PER_IMAGE),
        dumps("absent", PER_IMAGE),
        dumps("other-table", {"int8-implicit-own-entropy2": {
            "files": "{head}/{image}.bin", "table": "recorded/other.cache"}}),
        dumps("not-shared", {"int8-implicit-shared-entropy": {
            "files": "{head}/{image}.bin", "table": "recorded/app.cache"}}),
        dumps("no-cache", {"int8": {"files": "{head}/{image}.bin", "table": "recorded/none.cache"}}),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with matrix.yaml, and with what the application wrote, well and badly."""
    folder = tmp_path_factory.mktemp("recorded")
    model = networks.detector()
    (folder / "tiny.onnx").write_bytes(model.SerializeToString())
    (folder / "old.onnx").write_bytes(networks.old_detector().SerializeToString())
    noise_images(folder, 7, calibration=IMAGES, name="photo-{}.png")
    pixels = noise_images(folder, 7, evaluation=IMAGES, name="photo-{}.png")  # the same
    images = pixels.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    record(folder / "recorded", model, images)
    matrix = {
        "name": "recorded",
        "model": {"onnx": "tiny.onnx", "variants": ["old.onnx"]},
        "heads": {"large": {}, "small": {"gate": {"sqnr_db": 60}}},
        "data": DATA,
        "calibration": {"algorithms": ["entropy"], "shared": "entropy"},
        "repeats": 2,
        "baseline": "here",
        "timing": {"min_samples": 1, "max_samples": 2, "max_s": 0.01, "warm_up_max_s": 0},
        "environments": environments(),
    }
    (folder / "matrix.yaml").write_text(yaml.safe_dump(matrix))
    return folder


def record(folder: Path, model: onnx.ModelProto, images: np.ndarray) -> None:
    exact = application(model, images)
    probe, tensors = calibration_model(model)
    running = onnxruntime.InferenceSession(probe.SerializeToString())
    values = zip([output.name for output in running.get_outputs()],
                 zip(*(running.run(None, {"image": image[np.newaxis]}) for image in images), strict=True),
                 strict=True)  # fmt: skip
    amax = {"image": 1.0} | {name: float(np.abs(column).max()) for name, column in values}
    ranges = {name: amax[name] for name in tensors}
    int8 = application(
        qdq.place(model, from_ranges(ranges, Provenance(algorithm="minmax"))).model, images
    )
    for repeat in ("0", "1"):
        raw(folder / "app/fp32" / repeat, exact)
        raw(folder / "app/int8" / repeat, int8)
    (folder / "app.cache").write_text(cache(ranges))
    (folder / "other.cache").write_text(cache({"of": 1.0, "another": 2.0}))
    (folder / "layers.json").write_text(json.dumps({"Layers": layers(model), "Bindings": []}))
    times = [{"name": layer["Name"], "timeMs": 5.0, "averageMs": 0.5} for layer in layers(model)]
    (folder / "profile.json").write_text(json.dumps([{"count": 10}, *times]))
    for name in ("no-table", "other-table", "not-shared", "no-cache"):
        raw(folder / name, int8)
    raw(folder / "big-endian", exact, ">f4")
    raw(folder / "indexed", exact, index=True)
    (folder / "npz").mkdir()
    for number in range(IMAGES):
        np.savez(folder / "npz" / f"{number:04d}.npz",
                 out_0=exact["large"][number], out_1=exact["small"][number : number + 1])  # fmt: skip
    (folder / "channels-last").mkdir()
    for head, array in exact.items():
        array.transpose(0, 2, 3, 1).tofile(folder / "channels-last" / f"{head}.raw")
    broken = {head: array.copy() for head, array in exact.items()}
    broken["small"][2, 0, 0, :3] = np.nan
    raw(folder / "nan", broken)
    raw(folder / "swapped", exact, ">f4")
    raw(folder / "short", exact)
    raw(folder / "short/half", exact)
    os.truncate(folder / "short/small/photo-1.bin", 400)
    raw(folder / "incomplete", exact)
    (folder / "incomplete/small/photo-3.bin").rename(folder / "incomplete/small/photo-9.bin")
    raw(folder / "empty", exact)
    (folder / "empty/large/photo-0.bin").write_bytes(b"")


@pytest.fixture(scope="module")
def done(experiment: Path) -> Outcome:
    return run_offline(experiment / "matrix.yaml")


def cell(done: Outcome, beginning: str) -> CellResult:
    (match,) = (result for result in done.judgement.cells if result.cell.id.startswith(beginning))
    return match


def test_only_what_was_recorded_is_planned(done: Outcome) -> None:
    assert [
        result.cell.id for result in done.judgement.cells if result.cell.environment == "app"
    ] == ["app/gpu:P4/fp32", "app/gpu:P4/int8-implicit-own"]


@pytest.mark.parametrize("name", ["big-endian", "npz", "channels-last", "indexed"])
def test_however_they_were_written_the_numbers_are_the_same(done: Outcome, name: str) -> None:
    result, app = cell(done, name), cell(done, "app/gpu:P4/fp32")
    assert result.status is Status.OK
    for head, other in zip(result.heads, app.heads, strict=True):
        assert app.cell.id in head.identical_to
        assert head.error.sqnr_db == other.error.sqnr_db
        assert head.error.sqnr_db is not None
        assert head.error.sqnr_db > 100


def test_what_is_stated_is_marked_and_nothing_is_timed(done: Outcome) -> None:
    result = cell(done, "app/gpu:P4/fp32")
    assert result.engine_version == "4.0.1 (stated, not probed)"
    assert result.latency is None
    probed = result.facts["probed"]
    assert probed["stated"] == {"cuDNN": "7.1.4 (stated, not probed)"}
    assert probed["gpu"] == {"name": "Tesla P4 (stated, not probed)"}
    page = done.report.read_text()
    assert "4.0.1 (stated, not probed)" in page
    assert "Tesla P4 (stated, not probed)" in page


def test_a_calibration_cache_gives_an_error_budget(done: Outcome) -> None:
    result = cell(done, "app/gpu:P4/int8")
    assert result.repeats == 2
    for head in result.heads:
        assert head.budget is not None
        # The application ran this very Q/DQ network: rounding is all that its engine adds.
        assert abs(head.budget.engine) < 0.1 * head.budget.observed
        assert head.budget.noise == 0


def test_what_it_recorded_of_layers_is_as_if_our_job_had_told_it(done: Outcome) -> None:
    result = cell(done, "app/gpu:P4/int8")
    shares = sorted(head.integer_share or 0.0 for head in result.heads)
    assert 0 < shares[0] < shares[1] == 1.0  # the last convolution is of one head
    assert {head.integer_share for head in cell(done, "no-table/").heads} == {None}


def test_without_its_cache_there_is_no_budget(done: Outcome) -> None:
    result = cell(done, "no-table/")
    assert (result.status, result.repeats) == (Status.OK, 1)
    assert [head.budget for head in result.heads] == [None, None]
    assert [head.passed for head in result.heads] == [None, False]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other-table/", ["other.cache names 0 of the ", "`names: {theirs: ours}`"]),
        ("no-cache/", ["none.cache cannot be read as a calibration table: No such file"]),
        ("not-shared/", ["app.cache is not this experiment's shared table",
                         "record again with the shared table"]),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_costs_no_output(
    done: Outcome, name: str, said: list[str]
) -> None:
    result = cell(done, name)
    assert (result.status, result.reason) == (Status.OK, None)
    assert result.run is not None
    assert result.run.table is None
    assert [head.budget for head in result.heads] == [None, None]
    assert not {verdict.kind for head in result.heads for verdict in head.verdicts} & {
        Kind.NOT_COMPARABLE
    }
    assert [head.passed for head in result.heads] == [None, False], "judged all the same"
    for text in said:
        assert text in (result.table_problem or "")
    for answer in done.judgement.answers:
        told = [finding.text for finding in answer.findings if result.cell.id in finding.cells]
        assert any(said[0] in text for text in told), answer.head


def test_nan_is_counted_and_named(done: Outcome) -> None:
    result = cell(done, "nan/")
    large, small = result.heads
    assert [verdict.kind for verdict in large.verdicts] == [Kind.OK]
    assert [verdict.kind for verdict in small.verdicts] == [Kind.BROKEN_OUTPUT]
    assert "NaN or infinite in 1 of 4 images" in (small.verdicts[0].why or "")
    assert small.error.nonfinite == 3
    assert result.facts["probed"]["files"]["fp32"]["small"]["nonfinite"] == {"small/photo-2.bin": 3}


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("swapped/", Status.JOB_FAILED, ["photo-0.bin looks like big-endian float32",
                                         "byte_order: big"]),
        ("short/gpu:recorded/fp32", Status.JOB_FAILED,
         ["small/photo-1.bin has 400 bytes, expected 1,536: (1, 6, 8, 8) of float32"]),
        ("incomplete/", Status.JOB_FAILED,
         ["small/photo-3.bin is missing, 1 of 4", "small/photo-9.bin is there instead"]),
        ("empty/", Status.JOB_FAILED, ["large/photo-0.bin is empty"]),
        ("absent/", Status.UNAVAILABLE, ["recorded/absent: no such folder of recorded outputs"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_files_is_told_of_that_cell(
    done: Outcome, name: str, status: Status, said: list[str]
) -> None:
    result = cell(done, name)
    assert result.status is status
    assert result.heads == ()
    for text in said:
        assert text in (result.reason or "")
    assert "Error" not in (result.reason or "")


def test_other_passes_of_the_same_environment_are_not_lost(done: Outcome) -> None:
    assert cell(done, "short/gpu:recorded/fp16").status is Status.OK


def test_the_next_run_reads_only_what_changed(done: Outcome, experiment: Path) -> None:
    os.utime(experiment / "recorded/npz/0000.npz", ns=(1, 1))
    again = run_offline(experiment / "matrix.yaml", select=["app/*", "npz/*", "indexed/*"])
    reused = {result.cell.environment: result.reused for result in again.judgement.cells}
    assert reused == {"app": True, "npz": False, "indexed": True}


def test_a_plan_tells_the_repeats_that_were_recorded(done: Outcome, experiment: Path) -> None:
    planned = session.plan_experiment(
        experiment / "matrix.yaml", experiment / "elsewhere", select=["app/*", "npz/*", "absent/*"]
    )
    assert planned.text().splitlines()[:4] == [
        "app/gpu:P4/fp32               2 repeats",
        "app/gpu:P4/int8-implicit-own  2 repeats",
        "npz/gpu:recorded/fp32         1 repeat",
        f"absent/gpu:recorded/fp32      unavailable: {experiment}/recorded/absent: no such folder "
        "of recorded outputs",
    ]
    assert [cell["repeats"] for cell in planned.summary()["cells"]] == [2, 2, 1, 1]


# What matrix.yaml may say


def wrong(experiment: Path, tmp_path: Path, **entry: Any) -> str:
    """Returns what is wrong with a matrix.yaml that has this one environment beside the baseline."""
    content = yaml.safe_load((experiment / "matrix.yaml").read_text())
    content["environments"] = [content["environments"][0], {"name": "x", "dumps": "x"} | entry]
    path = experiment / f"{tmp_path.name}.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as caught:
        session.plan_experiment(path, tmp_path, select=[])
    return str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "passes"),
        ({"passes": {}}, "passes"),
        ({"passes": {"int7": PER_IMAGE["fp32"]}}, "'int7' is none of the passes; did you mean 'int8'?"),
        ({"passes": {"int8": PER_IMAGE["fp32"], "int8-implicit-own": PER_IMAGE["fp32"]}},
         "int8-implicit-own is given under two names"),
        ({"passes": PER_IMAGE, "engine": "onnxruntime", "heads": {"smal": "y"}}, "did you mean 'small'?"),
        ({"passes": PER_IMAGE, "shapes": {"tiny": [1]}}, "'tiny' is none of the shapes"),
        ({"passes": PER_IMAGE, "shapes": {"small": [0]}}, "greater than or equal to 1"),
        ({"passes": PER_IMAGE, "device": "gpu:*"}, "is no device that a program ran on"),
        ({"passes": PER_IMAGE, "repeats": 2}, "no {repeat} in"),
        ({"passes": PER_IMAGE, "byte_order": "middle"}, "little"),
        ({"passes": {"fp32": {"file": "x"}}}, "did you mean 'files'?"),
        ({"passes": {"fp32": {"files": "../{image}"}}}, "no file below the folder"),
        ({"passes": {"fp32": {"files": "{heads}"}}}, "a placeholder that is none"),
    ],
)  # fmt: skip
def test_slips_in_matrix_yaml(
    experiment: Path, tmp_path: Path, entry: dict[str, Any], said: str
) -> None:
    assert said in wrong(experiment, tmp_path, **entry)


def test_names_of_passes_follow_the_engine() -> None:
    tensorrt = recordable("tensorrt", "entropy", ["entropy2", "minmax"])
    assert tensorrt["int8"].name == "int8-implicit-own"
    assert tensorrt.keys() - {"int8"} == {pass_.name for pass_ in tensorrt.values()}
    assert {"fp16", "int8-shared-entropy", "int8-implicit-own-entropy2"} <= set(tensorrt)
    onnx_runtime = recordable("onnxruntime", None, ["entropy2"])
    wanted = {"fp32", "tf32", "fp16", "bf16", "int8", "int8-own", "int8-shipped"}
    assert set(onnx_runtime) == wanted
    assert all(pass_.made_inside for pass_ in (tensorrt["int8"], onnx_runtime["int8"]))
