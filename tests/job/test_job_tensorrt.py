"""Whole jobs on a fake TensorRT of every generation, each a process of its own.

The fake has exactly the names of its version (tests/fakes/tensorrt); nothing here shows that a real
TensorRT runs them, docs/reference/verified.md says what does.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.job.tensorrt_jobs import (
    OLD,
    TABLE,
    TIMING,
    Ended,
    Jobs,
    calibrate,
    carried,
    int8,
    old_network,
    reference,
)
from tests.job.two_heads import network, one_pass

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)

WEAK = (
    *OLD,
    "7.0.0",
    "7.2.3",
    "8.0.3",
    "8.2.5",
    "8.4.1.5",
    "8.5.3.1",
    "8.6.1",
    "9.3.0",
    "10.3.0",
    "10.16.1.11",
)
CALIBRATORS = {"5.0.6": {"entropy", "legacy"}, "5.1.5": {"entropy", "entropy2", "legacy"}}
ALL_CALIBRATORS = {"entropy", "entropy2", "legacy", "minmax"}


def sqnr_db(y: np.ndarray, r: np.ndarray) -> float:
    return float(10 * np.log10((r**2).sum() / max(((y - r) ** 2).sum(), 1e-30)))


@pytest.mark.parametrize("version", WEAK)
def test_every_precision_in_every_generation(jobs: Jobs, version: str) -> None:
    model = "old.onnx" if version in OLD else "model.onnx"
    passes = [
        one_pass("fp32", model=model),
        one_pass("tf32", model=model, precision="tf32"),
        one_pass("fp16", model=model, precision="fp16", compare_with="fp32"),
        int8("range", carried("dynamic_range"), model=model),
        int8("cache", carried("cache", "entropy"), model=model),
        *(
            int8(f"own-{calibrator}", calibrate(calibrator), model=model)
            for calibrator in sorted(ALL_CALIBRATORS)
        ),
    ]
    ended = jobs.run(version, passes, timing=TIMING)
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    images = np.load(jobs.folder / "evaluation.npy")
    wanted = reference((jobs.folder / model).read_bytes(), images, ("large", "small"))
    for head, r in zip(("large", "small"), wanted, strict=True):
        np.testing.assert_allclose(ended.output("fp32", head), r, atol=1e-5)
        assert 60 < sqnr_db(ended.output("fp16", head), r) < 90
        assert 15 < sqnr_db(ended.output("range", head), r) < 45

    had = CALIBRATORS.get(version, ALL_CALIBRATORS)
    for name in sorted(ALL_CALIBRATORS):
        answer = ended.pass_(f"own-{name}")
        assert answer["status"] == ("ok" if name in had else "unsupported"), answer["error"]
        if name in had:
            built = ended.told(f"own-{name}", "build")
            told = built["quantisation"]
            assert 0 < told.pop("callbacks_s") < built["tensorrt_s"]
            assert 0 < built["builder_s"] < answer["stages"]["build"] - built["tensorrt_s"]
            assert told == {"mode": "calibrate", "calibrator": name, "images": 6}
            assert built["scales"]["unmapped"] == built["scales"]["unknown"] == []
            cache = (ended.result / "passes" / f"own-{name}" / answer["cache"]).read_bytes()
            assert cache.startswith(b"TRT-")
        else:
            assert f"has no calibrator {name}; it has: entropy" in answer["error"]["message"]
    tf32 = ended.pass_("tf32")
    assert tf32["status"] == ("unsupported" if version in (*OLD, "7.0.0") else "ok")
    cache = ended.pass_("cache")
    if version == "5.0.6":  # takes a pointer: bytes cannot be handed in
        assert "takes no calibration cache from Python" in cache["error"]["message"]
    else:
        assert cache["status"] == "ok", cache["error"]
        for head in ("large", "small"):  # the same scales either way
            np.testing.assert_array_equal(ended.output("cache", head), ended.output("range", head))
    for name in ("fp32", "range"):
        latency = ended.pass_(name)["latency"]
        assert len(latency["device_s"]) == len(latency["samples_s"]) == 3
        assert all(
            0 < d < s for d, s in zip(latency["device_s"], latency["samples_s"], strict=True)
        )
    check_layers(ended, version)


def check_layers(ended: Ended, version: str) -> None:
    """Whatever told them, layers name the tensors that they made, and all of those."""
    source = "profiler" if version[0] in "56" else "log" if version < "8.2" else "inspector"
    if version.startswith(("9", "10")):
        source = "inspector"
    for name, precision in (("fp32", "fp32"), ("fp16", "fp16"), ("range", "int8")):
        told = ended.told(name, "layers")
        assert told["source"] == source
        own = [layer for layer in told["layers"] if not layer["name"].startswith("Reformatting")]
        tensors = [tensor for layer in own for tensor in layer["tensors"]]
        assert {"c1", "r1", "large", "small"} <= set(tensors)
        assert len(tensors) == len(set(tensors))
        first = next(layer for layer in own if "c1" in layer["tensors"])
        assert first["tensors"] == ["c1", "r1"]
        assert first["precision"] == (None if source == "profiler" else precision)


@pytest.mark.parametrize("typed", ["weak", "strong"])
@pytest.mark.parametrize(
    "version", ["8.0.3", "8.4.1.5", "9.3.0", "10.16.1.11", "11.0.0.114", "11.4.0.106"]
)
def test_explicit_int8(jobs: Jobs, version: str, typed: str) -> None:
    import onnx

    from trt_matrix.core.qdq.explicit import place
    from trt_matrix.core.tables.table import Provenance, Table

    table = Table(amax=TABLE, provenance=Provenance(algorithm="given"))
    placed = place(onnx.load(jobs.folder / "model.onnx"), table).model
    (jobs.folder / "qdq.onnx").write_bytes(placed.SerializeToString())
    passes = [
        one_pass("fp32"),
        int8("int8", None, model="qdq.onnx"),
        int8("float-network", None),
        one_pass("fp32-of-qdq", model="qdq.onnx"),
    ]
    ended = jobs.run(version, passes, options={"typed": typed})
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    if typed == "strong" and version.startswith("8"):
        assert ended.pass_("int8")["status"] == "unsupported"
        assert "has no strongly typed networks" in ended.pass_("int8")["error"]["message"]
        return
    images = np.load(jobs.folder / "evaluation.npy")
    wanted = reference(placed.SerializeToString(), images, ("large", "small"))
    for head, r in zip(("large", "small"), wanted, strict=True):
        assert sqnr_db(ended.output("int8", head), r) > 40
    built = ended.told("int8", "build")
    assert {value for key, value in built["quantisation"].items() if key != "mode"} == {None}
    assert built["quantisation"]["mode"] == "explicit"
    strong = typed == "strong" or version.startswith("11")
    assert ("INT8" in built["flags"]) is not strong
    layers = ended.told("int8", "layers")["layers"]
    convolutions = [layer["precision"] for layer in layers if layer["kernel"] == "CaskConvolution"]
    assert convolutions == ["int8"] * 3
    assert "has no Q/DQ nodes" in ended.pass_("float-network")["error"]["message"]
    assert "needs the float one" in ended.pass_("fp32-of-qdq")["error"]["message"]


def test_eleven_refuses_what_it_cannot_do(jobs: Jobs) -> None:
    passes = [
        one_pass("fp16", precision="fp16"),
        int8("own", calibrate("entropy2")),
        int8("range", carried("dynamic_range")),
        one_pass("fp32"),
    ]
    ended = jobs.run("11.4.0.106", passes)
    assert [ended.pass_(pass_["name"])["status"] for pass_ in passes] == ["unsupported"] * 3 + [
        "ok"
    ]
    assert ended.told("fp32", "build")["flags"] == []
    assert "convert it to float16 first" in ended.pass_("fp16")["error"]["message"]


def with_float16(model: bytes) -> bytes:
    """Returns the network computing in float16 between two casts."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    parsed = onnx.load_from_string(model)
    half = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        for tensor in parsed.graph.initializer
    ]
    del parsed.graph.initializer[:], parsed.graph.input[1:]
    parsed.graph.initializer.extend(half)
    for node in parsed.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in ("image", "large", "small"):
                    names[index] = name + "_half"
    parsed.graph.node.insert(
        0, helper.make_node("Cast", ["image"], ["image_half"], to=TensorProto.FLOAT16)
    )
    parsed.graph.node.extend(
        helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT)
        for name in ("large", "small")
    )
    return parsed.SerializeToString()


def test_strongly_typed_fp16_is_the_networks_own(jobs: Jobs) -> None:
    (jobs.folder / "half.onnx").write_bytes(with_float16(old_network()))
    passes = [one_pass("fp16", precision="fp16", model="half.onnx")]
    ended = jobs.run("11.4.0.106", passes)
    assert ended.pass_("fp16")["status"] == "ok", ended.pass_("fp16")["error"]


def test_coverage_of_a_table_that_fits_badly(jobs: Jobs) -> None:
    (jobs.folder / "part.json").write_text(json.dumps({"image": 3.0, "r1": 2.0, "elsewhere": 1.0}))
    ended = jobs.run(
        "8.6.1", [int8("int8", carried("dynamic_range"), table="part.json", compare_with=None)]
    )
    assert ended.told("int8", "build")["scales"] == {
        "table": 3,
        "mapped": 2,
        "unmapped": ["c1", "large", "small", "up"],
        "unknown": ["elsewhere"],
        "zero": [],
        "defaulted": 0,
        "missing": ["c1", "large", "small", "up"],
        "rejected": [],
    }
    layers = {
        layer["tensors"][-1]: layer["precision"] for layer in ended.told("int8", "layers")["layers"]
    }
    assert layers == {"r1": "int8", "large": "int8", "up": "fp32", "small": "fp32"}


STRICT, OBEY = "STRICT_TYPES", "OBEY_PRECISION_CONSTRAINTS"


@pytest.mark.parametrize(
    ("version", "flag"),
    [
        ("5.0.6", STRICT), ("6.0.1", STRICT), ("7.2.3", STRICT), ("8.0.3", STRICT),
        ("8.6.1", OBEY), ("10.16.1.11", OBEY),
    ],
)  # fmt: skip
def test_layers_of_implicit_int8_are_held_in_fp32(jobs: Jobs, version: str, flag: str) -> None:
    passes = [one_pass("fp32"), int8("int8", carried("dynamic_range"))]
    model = "old.onnx" if version in OLD else "model.onnx"
    if version in OLD:
        (jobs.folder / model).write_bytes(old_network())
    passes = [{**pass_, "model": model} for pass_ in passes]
    free = jobs.run(version, passes)
    names = ["c1", "r1"]
    ended = jobs.run(version, passes, options={"fp32_layers": names})
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    engine = json.loads((ended.result / "probe.json").read_text())["engine"]
    assert engine["options"]["fp32_layers"] == names
    assert "fp32_layers" not in (free.result / "probe.json").read_text()
    errors = [each.pass_("int8")["compare"]["large"]["sqnr_db"] for each in (free, ended)]
    assert errors[0] != errors[1]
    assert np.array_equal(free.output("fp32", "large"), ended.output("fp32", "large"))
    flags = [each.told("int8", "build")["flags"] for each in (free, ended)]
    assert set(flags[1]) - set(flags[0]) == {flag}


def test_a_pass_holds_layers_of_its_own_beside_those_of_all(jobs: Jobs) -> None:
    held = {**carried("dynamic_range"), "held": ["c1", "r1"]}
    passes = [one_pass("fp32"), int8("plain", carried("dynamic_range")), int8("mixed", held)]
    ended = jobs.run("8.6.1", passes)
    every = jobs.run("8.6.1", passes, options={"fp32_layers": ["c1", "r1"]})
    assert (ended.code, every.code) == (0, 0), ended.log
    assert set(ended.told("mixed", "build")["flags"]) - set(ended.told("plain", "build")["flags"]) == {OBEY}  # fmt: skip
    errors = {
        (run, name): run.pass_(name)["compare"]["large"]["sqnr_db"]
        for run in (ended, every)
        for name in ("plain", "mixed")
    }
    # They are held in one pass alone; where they are in both, the two are one.
    assert errors[ended, "plain"] != errors[ended, "mixed"]
    assert errors[every, "plain"] == errors[every, "mixed"]


@pytest.mark.parametrize(
    ("held", "why"), [("r1", "is no list"), ([1], "is no list"), (["none"], "names none")]
)
def test_what_cannot_be_held_is_refused(jobs: Jobs, held: object, why: str) -> None:
    passes = [int8("int8", {**carried("dynamic_range"), "held": held}, compare_with=None)]
    ended = jobs.run("8.6.1", passes)
    told = (ended.result / "result.json").read_text() + ended.log
    assert why in told


def test_held_layers_are_no_matter_of_q_dq_networks(jobs: Jobs) -> None:
    import onnx

    from trt_matrix.core.qdq.explicit import place
    from trt_matrix.core.tables.table import Provenance, Table

    table = Table(amax=TABLE, provenance=Provenance(algorithm="given"))
    placed = place(onnx.load(jobs.folder / "model.onnx"), table).model
    (jobs.folder / "qdq.onnx").write_bytes(placed.SerializeToString())
    passes = [int8("int8", None, model="qdq.onnx", compare_with=None)]
    ended = jobs.run("8.6.1", passes, options={"fp32_layers": ["r1"]})
    assert ended.pass_("int8")["status"] == "unsupported"
    assert "take the nodes around r1 out" in ended.pass_("int8")["error"]["message"]


def test_a_timing_cache_is_read_written_and_refused(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "timings"
    options = {"timing_cache": str(path), "optimization_level": 1, "tactic_sources": ["CUDNN"]}
    passes = [one_pass("first"), one_pass("second")]
    ended = jobs.run("8.6.1", passes, options=options)
    assert [ended.told(name, "build")["timing_cache"] for name in ("first", "second")] == [
        "new",
        "read",
    ]
    path.write_bytes(b"of another version")
    ended = jobs.run("8.6.1", passes, options=options)
    assert ended.told("first", "build")["timing_cache"] == "refused"
    ended = jobs.run("7.2.3", passes, options={"timing_cache": str(path)})
    assert ended.told("first", "build")["timing_cache"] == "none"


def test_the_jobs_own_calibration_runs_on_tensorrt(jobs: Jobs) -> None:
    from tests.job.two_heads import TENSORS, golden

    (jobs.folder / "calibration.onnx").write_bytes(network(TENSORS[1:]))
    ended = jobs.run("8.6.1", [], calibration=golden()["calibration"])
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    made = json.loads((ended.result / "calibration.json").read_text())
    assert made["algorithms"]["minmax"].keys() == set(TENSORS)


@pytest.mark.parametrize("version", ["5.1.5", "7.2.3", "8.5.3.1", "10.16.1.11"])
def test_layers_are_timed_after_all_else_by_the_median_of_warm_runs(
    jobs: Jobs, version: str
) -> None:
    """The fake's runs 1 to 3 and 5 are 1000 times slower; its layer N takes N ms, and 1 ms to reformat."""
    model = "old.onnx" if version in OLD else "model.onnx"
    passes = [one_pass("fp32", model=model), int8("int8", carried("dynamic_range"), model=model)]
    ended = jobs.run(version, passes, timing={**TIMING, "layer_runs": 5})
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    for name in ("fp32", "int8"):
        answer, told = ended.pass_(name), ended.told(name, "layers")
        assert {"build", "infer", "time", "profile"} == answer["stages"].keys() - {"compare"}
        assert len(answer["latency"]["samples_s"]) == 3
        times = told["times"]
        assert (times["runs"], times["problem"]) == (5, None)
        took = {layer["name"]: layer for layer in times["layers"]}
        own = [layer for layer in told["layers"] if not layer["name"].startswith("Reformatting")]
        assert [took[one["name"]]["tensors"] for one in own] == [one["tensors"] for one in own]
        assert {"c1", "r1", "large", "small"} <= {
            t for one in own for t in took[one["name"]]["tensors"]
        }
        seconds = sorted(one["seconds"] for name, one in took.items() if name[:5] != "Refor")
        assert seconds == pytest.approx([0.001 * number for number in range(1, len(seconds) + 1)])
        added = [one["seconds"] for name, one in took.items() if name[:5] == "Refor"]
        assert added == pytest.approx([0.001] * len(seconds))


@pytest.mark.parametrize("timing", [TIMING, {**TIMING, "layer_runs": 0}, None])
def test_layers_are_not_timed_where_that_was_not_asked(jobs: Jobs, timing: object) -> None:
    ended = jobs.run("8.5.3.1", [one_pass("fp32")], timing=timing)
    assert "times" not in ended.told("fp32", "layers")
    assert "profile" not in ended.pass_("fp32")["stages"]


def test_the_host_reads_all_that_a_job_tells(jobs: Jobs) -> None:
    from trt_matrix.execution.answers import ResultFolder
    from trt_matrix.execution.shares import shares_of_layers

    passes = [
        int8("own", calibrate("entropy2"), compare_with=None),
        int8("never", calibrate("minimum"), compare_with=None),
    ]
    ended = jobs.run("8.6.1", passes, timing=TIMING)
    answers = ResultFolder(ended.result)
    own, never = answers.answer("own"), answers.answer("never")
    assert own is not None
    assert (own.build, own.layers, own.cache) == ("build.json", "layers.json", "calibration.cache")
    assert own.latency is not None
    assert len(own.latency.device_s or ()) == len(own.latency.samples_s)
    table = answers.cache_table("own", own.cache or "", environment="trt-8.6.1")
    assert table.amax.keys() == set(TABLE)
    heads = [("large", "large"), ("small", "small")]
    layers = answers.layers("own", own.layers or "")
    shares = shares_of_layers(layers, jobs.folder / "model.onnx", heads, quantised=True)
    assert [shares[head].ratio for head, _ in heads] == [1.0, 1.0]
    assert shares["small"].integer_operators["Resize"] == 1
    assert shares["small"].float_operators == {}
    assert never is not None
    assert never.status == "unsupported"
    assert never.error is not None
    assert "it has: entropy, entropy2, legacy, minmax" in never.error.message
