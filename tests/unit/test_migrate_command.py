"""`trt-matrix migrate`: what it writes, what it tells, and what wrong, huge or hostile input does to it."""

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests.unit import small_networks as networks
from tests.unit.migrations import HEADER, MATRIX, Call, cache_of, images, noise, with_cache
from tests.unit.small_networks import Builder
from trt_matrix.commands.migration import files
from trt_matrix.commands.migration.simulating import SimulationError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.reading import read
from trt_matrix.core.tables.trt_cache import Cache
from trt_matrix.errors import ExitCode


@pytest.fixture
def call(call: Call) -> Call:
    return functools.partial(call, "migrate")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return with_cache(tmp_path)


# What it does


def test_a_cache_becomes_a_network_that_onnx_runtime_runs(here: Path, call: Call) -> None:
    code, out, _ = call("net.cache", "--to", "qdq", "-m", "net.onnx", "-o", "out.onnx")
    assert code == ExitCode.OK, out
    assert "of 15 scales in the table" in out
    assert "run by ONNX Runtime on noise; not compared" in out
    assert "was not held against the network's ranges: no images were given (--check IMAGES" in out
    session = onnxruntime.InferenceSession(here / "out.onnx")
    (large, _) = session.run(["large", "small"], {"image": noise(9)})
    assert np.isfinite(large).all()
    model = onnx.load(here / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["large", "small"]
    assert not list(here.glob(".*")), "nothing half-written stays"


def test_with_matrix_yaml_heads_images_and_engines_come_from_it(here: Path, call: Call) -> None:
    images(here)
    (here / "matrix.yaml").write_text(MATRIX)
    code, out, _ = call("net.cache", "-o", "out.onnx", "--json")
    assert code == ExitCode.OK
    told = json.loads(out)
    assert set(told["heads"]) == {"big", "small", "inner"}
    assert told["heads"]["small"]["sqnr_db"] > 20
    assert told["heads"]["inner"]["sqnr_db"] > 20, "an inner tensor is compared too"
    assert told["simulation"]["images"] == 4
    assert told["simulation"]["agreement_with_the_tables_own_db"] is None, "to the bit"
    assert [value.name for value in onnx.load(here / "out.onnx").graph.output] == ["large", "small"]
    assert told["avoided"][0]["tensor"] == "s2"
    assert told["heads"]["small"]["other_placement_sqnr_db"] > 15
    assert len(told["tensors"]) == 15
    code, out, _ = call("net.cache", "-o", "out.onnx", "--force", "--images", "2")
    assert "on 2 images, the evaluation images of matrix.yaml" in out
    assert "--unified-scales avoids it and changes, simulated:" in out
    assert 'calibration: {shared: {table: "net.cache"}}' in out
    assert "in trt-8 and trt-11" in out


def test_unified_scales_are_written_where_asked_for(here: Path, call: Call) -> None:
    call("net.cache", "-m", "net.onnx", "-o", "apart.onnx")
    code, out, _ = call("net.cache", "-m", "net.onnx", "-o", "one.onnx", "--unified-scales")
    assert code == ExitCode.OK
    assert "requantised without --unified-scales, and not here: 1 input of a concatenation" in out
    apart, unified = (
        read((here / name).read_bytes()).values for name in ("apart.onnx", "one.onnx")
    )
    assert unified["s2"] == unified["joined"] > min(apart["s2"], apart["joined"])


def test_an_array_of_images_is_taken_and_its_shape_checked(here: Path, call: Call) -> None:
    np.save(here / "x.npy", np.concatenate([noise(1), noise(2), noise(3)]))
    arguments = ("net.cache", "-m", "net.onnx", "-o", "out.onnx", "--force")
    code, out, _ = call(*arguments, "--check", "x.npy", "--images", "2")
    assert code == ExitCode.OK
    assert "on 2 images, the images in x.npy" in out
    np.save(here / "x.npy", np.zeros((3, 3, 8, 8), "f4"))
    code, _, err = call(*arguments, "--check", "x.npy")
    assert code == ExitCode.BAD_CONFIG
    assert "the network takes [1, 3, 16, 16]" in err
    images(here)
    code, _, err = call(*arguments, "--check", "images")
    assert code == ExitCode.BAD_CONFIG
    assert "how these images become the network's input is not known" in err


def test_a_table_that_is_off_by_127_is_told(here: Path, call: Call) -> None:
    (here / "wrong.cache").write_bytes(cache_of(networks.detector(), 127))
    np.save(here / "x.npy", np.concatenate([noise(seed) for seed in range(8)]))
    code, out, _ = call(
        "wrong.cache", "-m", "net.onnx", "-o", "out.onnx", "--check", "x.npy"
    )  # fmt: skip
    assert code == ExitCode.OK
    assert re.search("the table is likely wrong: its scales are 12[0-9] times", out)
    assert "divide by 127" in out
    assert "what the ranges on the images in x.npy ask for" in out


def test_names_are_mapped_by_a_file(here: Path, call: Call) -> None:
    text = (here / "net.cache").read_text().replace("\ns2:", "\nfirst of all:")
    (here / "named.cache").write_text(text)
    (here / "names.yaml").write_text('"first of all": s2\n')
    code, out, _ = call(
        "named.cache", "-m", "net.onnx", "-o", "out.onnx", "--map", "names.yaml", "--json"
    )  # fmt: skip
    assert code == ExitCode.OK
    told = json.loads(out)
    assert told["names"] == {"first of all": "s2"}
    assert not told["lacking"]


def test_a_cache_comes_back_and_gives_the_same_network(here: Path, call: Call) -> None:
    call("net.cache", "-m", "net.onnx", "-o", "out.onnx")
    code, out, _ = call(
        "out.onnx", "--to", "cache", "-o", "back.cache", "--trt", "8.6.1",
        "--float-network", "float.onnx",
    )  # fmt: skip
    assert code == ExitCode.OK
    assert "No cache holds scales of weights (7 layers here)" in out
    assert (here / "back.cache").read_text().startswith("TRT-8601-EntropyCalibration2\n")
    code, out, _ = call(
        "out.onnx", "--to", "cache", "-o", "again.cache", "-m", "net.onnx", "--trt", "8.6", "--json"
    )  # fmt: skip
    told = json.loads(out)
    assert len(told["scales"]) == 8
    assert {one["tensor"] for one in told["added"]} == {"c1", "c2", "c4"}
    assert set(told["outputs_without"]) == {"large", "small"}
    call("back.cache", "-m", "net.onnx", "-o", "twice.onnx")
    assert (here / "twice.onnx").read_bytes() == (here / "out.onnx").read_bytes()
    code, _, _ = call("back.cache", "-m", "float.onnx", "-o", "of-float.onnx")
    assert code == ExitCode.OK, "the float network has the names of its cache"


def test_an_excluded_node_stays_float(here: Path, call: Call) -> None:
    code, out, _ = call("net.cache", "-m", "net.onnx", "-o", "out.onnx", "--exclude", "conv_small")
    assert code == ExitCode.OK
    assert "stays float: conv_small: excluded" in out
    code, _, err = call("net.cache", "-m", "net.onnx", "-o", "o2.onnx", "--exclude", "conv_smal")
    assert code == ExitCode.BAD_CONFIG
    assert "no node 'conv_smal'" in err


# What is wrong


def refused(call: Call, *arguments: str) -> str:
    """Returns what is said; nothing may have been written."""
    code, _, err = call(*arguments)
    assert code == ExitCode.BAD_CONFIG, err
    assert "Traceback" not in err
    return err


def test_what_exists_is_not_overwritten(here: Path, call: Call) -> None:
    (here / "out.onnx").write_text("precious")
    err = refused(call, "net.cache", "-m", "net.onnx", "-o", "out.onnx")
    assert "--force overwrites it" in err
    assert (here / "out.onnx").read_text() == "precious"
    # Nor is it lost where the new one cannot be made.
    (here / "bad.cache").write_text("TRT-8503-EntropyCalibration2\nelsewhere: 3c010204\n")
    err = refused(call, "bad.cache", "-m", "net.onnx", "-o", "out.onnx", "--force")
    assert "nothing to quantise" in err
    assert (here / "out.onnx").read_text() == "precious"
    assert "is a folder" in refused(call, "net.cache", "-m", "net.onnx", "-o", str(here), "--force")
    assert "is no folder" in refused(call, "net.cache", "-m", "net.onnx", "-o", "no/where.onnx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"TRT-8503-EntropyCalibration2\n", "it has no line"),
        (b"TRT-8503-EntropyCalibration2\nimages: zz\n", "line 2"),
        (b"\0\1\2\3" * 100, "it is binary"),
        (b"{", "it begins as JSON"),
        (b"\x08\x08 and no more", "begins as an ONNX network"),
    ],
)
def test_a_table_that_is_none(here: Path, call: Call, content: bytes, said: str) -> None:
    (here / "t").write_bytes(content)
    assert said in refused(call, "t", "-m", "net.onnx", "-o", "out.onnx")
    assert not (here / "out.onnx").exists()


def test_a_table_that_is_no_file(here: Path, call: Call) -> None:
    os.mkfifo(here / "pipe")
    for name, said in (("pipe", "no regular file"), (".", "irectory"), ("missing", "No such file")):
        assert said in refused(call, name, "-m", "net.onnx", "-o", "out.onnx")


def test_a_huge_table_is_not_read_whole(here: Path, call: Call) -> None:
    with (here / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    assert "no calibration table is so large" in refused(
        call, "huge", "-m", "net.onnx", "-o", "out.onnx"
    )


def test_a_network_that_is_none(here: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "cut.onnx").write_bytes((here / "net.onnx").read_bytes()[:500])
    assert "not an ONNX file, or truncated" in refused(
        call, "net.cache", "-m", "cut.onnx", "-o", "o.onnx"
    )
    assert "no such file: name the float network with --model" in refused(
        call, "net.cache", "-o", "o.onnx"
    )
    monkeypatch.setattr(files, "LIMIT_NETWORK_BYTES", 1000)
    assert "2 GB or more" in refused(call, "net.cache", "-m", "net.onnx", "-o", "o.onnx")


def test_a_network_that_is_quantised_already(here: Path, call: Call) -> None:
    call("net.cache", "-m", "net.onnx", "-o", "q.onnx")
    err = refused(call, "net.cache", "-m", "q.onnx", "-o", "o.onnx")
    assert "quantised already" in err
    assert "name that" in err


def test_weights_beside_the_network_are_embedded_and_never_read_from_elsewhere(
    here: Path, call: Call
) -> None:
    (here / "sub").mkdir()
    onnx.save(
        networks.detector(), here / "sub" / "net.onnx",
        save_as_external_data=True, location="net.bin", size_threshold=0,
    )  # fmt: skip
    code, _, err = call("net.cache", "-m", "sub/net.onnx", "-o", "one.onnx")
    assert code == ExitCode.OK, err
    call("net.cache", "-m", "net.onnx", "-o", "two.onnx")
    graph, two = (onnx.load(here / name).graph for name in ("one.onnx", "two.onnx"))
    assert graph.node == two.node
    values = [{t.name: numpy_helper.to_array(t) for t in each.initializer} for each in (graph, two)]
    assert values[0].keys() == values[1].keys()
    assert all((array == values[1][name]).all() for name, array in values[0].items())
    model = onnx.load(here / "sub" / "net.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../net.cache"
    (here / "sub" / "net.onnx").write_bytes(model.SerializeToString())
    assert "outside the model's folder" in refused(
        call, "net.cache", "-m", "sub/net.onnx", "-o", "three.onnx"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("[a, b]", "top level"),
        ("a: 1\n", "is no name"),
        ("a: s2\nb: s2\n", "two tensors of the table are called 's2'"),
        ("a: [", "line"),
        ("a: &x [*x]\n", "alias"),
    ],
)
def test_a_map_that_is_none(here: Path, call: Call, text: str, said: str) -> None:
    (here / "map").write_text(text)
    err = refused(call, "net.cache", "-m", "net.onnx", "-o", "o.onnx", "--map", "map")
    assert said in err


def test_a_map_of_names_that_are_nowhere_is_told(here: Path, call: Call) -> None:
    (here / "map").write_text("no such: s2\ns4: nor this\n")
    code, out, _ = call("net.cache", "-m", "net.onnx", "-o", "o.onnx", "--map", "map")
    assert code == ExitCode.OK
    assert "'no such', which the table does not" in out
    assert "'nor this', which is no tensor" in out


def test_asymmetric_activations_are_refused_by_name(here: Path, call: Call) -> None:
    model = place(networks.detector(), read((here / "net.cache").read_bytes()).table(), TENSORRT)
    network = model.model
    for tensor in network.graph.initializer:
        if tensor.name == "s2/zero_point":
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(3, np.int8), tensor.name))
    (here / "q.onnx").write_bytes(network.SerializeToString())
    arguments = ("q.onnx", "--to", "cache", "-o", "c.cache", "--trt", "8.6.1")
    err = refused(call, *arguments)
    assert "'s2': it is int8 with zero point 3" in err
    assert not (here / "c.cache").exists()
    code, out, _ = call(*arguments, "--partial")
    assert code == ExitCode.OK
    assert "left out: s2: it is int8 with zero point 3" in out
    assert "without a scale: s2" in out
    assert "\ns2:" not in (here / "c.cache").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "cache", "--trt", "11.1"), "TensorRT 11.1 has no calibrators"),
        (("--to", "cache", "--trt", "8;rm"), "is no version"),
        (("--to", "cache", "--trt", "8.6", "--algorithm", "Best"), "is none of"),
        (("--to", "engine"), "neither qdq nor cache"),
        (("--to", "cache", "--trt", "8.6", "--unified-scales"), "--unified-scales has no meaning"),
        (("--partial",), "--partial has no meaning"),
        (("--check", "x", "--no-check"), "--no-check with --check"),
    ],
)
def test_arguments_that_make_no_sense(
    here: Path, call: Call, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(call, "net.cache", "-m", "net.onnx", "-o", "o", *arguments)
    assert not (here / "o").exists()


def test_a_custom_layer_is_written_and_said_not_to_be_compared(here: Path, call: Call) -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node("Upscale", ["c"], "up", domain="their.own")
    b.conv("up", "y", 4, 2)
    model = b.model({"image": [1, 3, 8, 8]}, ["c"])
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2, 16, 16])
    )
    (here / "custom.onnx").write_bytes(model.SerializeToString())
    scales = {"image": 0.1, "c": 0.2, "up": 0.2, "y": 0.3}
    (here / "custom.cache").write_text(trt_cache.write(Cache(header=HEADER, scales=scales)))
    code, out, err = call("custom.cache", "-m", "custom.onnx", "-o", "out.onnx")
    assert code == ExitCode.OK, err
    assert "ONNX Runtime has no operator 'Upscale' (their.own)" in out
    assert (here / "out.onnx").exists()


def test_a_network_that_cannot_run_is_not_written(
    here: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trt_matrix.commands.migration import migrating

    def broken(*_: Any, **__: Any) -> Any:
        message = "migrated: ended by SIGSEGV"
        raise SimulationError(message)

    monkeypatch.setattr(migrating, "ran", broken)
    err = refused(call, "net.cache", "-m", "net.onnx", "-o", "out.onnx")
    assert "does not run here, and is not written: migrated: ended by SIGSEGV" in err
    assert not (here / "out.onnx").exists()


def test_what_is_read_is_never_written_over(here: Path, call: Call) -> None:
    before = (here / "net.onnx").read_bytes()
    for output in ("net.onnx", "net.cache", "./sub/../net.onnx"):
        (here / "sub").mkdir(exist_ok=True)
        err = refused(call, "net.cache", "-m", "net.onnx", "-o", output, "--force")
        assert "it is read here too" in err
    assert (here / "net.onnx").read_bytes() == before
    call("net.cache", "-m", "net.onnx", "-o", "q.onnx")
    err = refused(
        call, "q.onnx", "--to", "cache", "--trt", "8.6", "-o", "x", "--float-network", "x"
    )
    assert "two results" in err


def test_outputs_that_change_their_shape_are_not_compared_and_written(
    here: Path, call: Call
) -> None:
    """Rows that are left of a selection: as many as the image has."""
    b = Builder()
    b.conv("image", "c", 3, 1, 1)
    b.node("NonZero", [b.node("Relu", ["c"], "r")], "where")
    b.node("Cast", ["where"], "rows", to=onnx.TensorProto.FLOAT)
    (here / "rows.onnx").write_bytes(
        b.model({"image": [1, 3, 16, 16]}, ["rows"]).SerializeToString()
    )
    scales = {"image": 0.1, "c": 0.2, "r": 0.2}
    (here / "rows.cache").write_text(trt_cache.write(Cache(header=HEADER, scales=scales)))
    np.save(here / "x.npy", np.concatenate([noise(seed) - 0.4 for seed in range(3)]))
    code, out, err = call("rows.cache", "-m", "rows.onnx", "-o", "o.onnx", "--check", "x.npy")
    assert code == ExitCode.OK, err
    assert "was not held against the network's ranges: nothing could be compared:" in out
    assert (here / "o.onnx").exists()


def test_names_that_would_break_a_terminal_are_made_visible(here: Path, call: Call) -> None:
    scales = {**trt_cache.parse((here / "net.cache").read_text()).scales, "\x1b[31mred": 0.1}
    (here / "evil.cache").write_text(trt_cache.write(Cache(header=HEADER, scales=scales)))
    code, out, _ = call("evil.cache", "-m", "net.onnx", "-o", "out.onnx")
    assert code == ExitCode.OK
    assert "\x1b" not in out
    assert "of names that no tensor has" in out
