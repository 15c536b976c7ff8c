"""Parts of the TensorRT adapter that need no engine: layers, scales, log, options."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job import layer_information
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.table import Provenance, Table

DATA = Path(__file__).parents[1] / "data" / "tensorrt_layers"
CACHE = (DATA / "trt-8.5.3.1-entropy2.cache").read_bytes()


# Layers


@pytest.fixture(scope="module")
def inspected() -> list[dict[str, Any]]:
    """What the adapter makes of the real inspector's layers; the network's are named as its nodes."""
    told = json.loads((DATA / "trt-8.5.3.1-int8.json").read_text())
    words = {
        word.strip("()")
        for layer in told["Layers"]
        for word in layer["Name"].replace(",", " ").replace("PWN(", " ").split()
        if word.startswith("/model.")
    }
    network = {name: [f"{name}_output_0"] for name in words if "_output_" not in name}
    return layer_information.inspected(told, network)


def test_a_real_engines_layers(inspected: list[dict[str, Any]]) -> None:
    convolution = inspected[1]
    assert convolution["origin"] == [
        "/model.0/conv/Conv",
        "/model.0/act/Sigmoid",
        "/model.0/act/Mul",
    ]
    assert convolution["tensors"][-1] == "/model.0/act/Mul_output_0"
    assert (convolution["type"], convolution["kernel"]) == ("Convolution", "CaskConvolution")
    assert convolution["precision"] == "int8"
    assert "i8i8_i8i32" in convolution["tactic"]
    assert convolution["outputs"] == [
        {
            "name": "/model.0/act/Mul_output_0",
            "precision": "int8",
            "format": "Thirty-two wide channel vectorized row major Int8 format",
        }
    ]


def test_a_heads_last_convolution_is_int8_with_a_float_output(
    inspected: list[dict[str, Any]],
) -> None:
    heads = [one for one in inspected if one["name"].startswith("/model.24")]
    assert len(heads) == 3
    for head in heads:
        assert (head["precision"], head["outputs"][0]["precision"]) == ("int8", "fp32")


def test_resizes_and_pools_of_a_real_engine_ran_in_int8(inspected: list[dict[str, Any]]) -> None:
    kinds = {one["type"]: one["precision"] for one in inspected if one["kernel"] != "Reformat"}
    assert (kinds["Resize"], kinds["Pooling"]) == ("int8", "int8")
    reformats = [one for one in inspected if one["kernel"] == "Reformat"]
    assert reformats[0]["inputs"][0]["precision"] == "fp32"
    assert reformats[0]["outputs"][0]["precision"] == "int8"


@pytest.mark.parametrize(
    ("first", "weights", "tactic", "precision"),
    [
        ("fp32", "fp32", "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nhwc", "tf32"),
        ("fp32", "fp32", "implicit_convolve_sgemm", "fp32"),
        ("fp32", None, None, "fp32"),
        ("fp16", "fp16", "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc", "fp16"),
        ("int8", "int8", "sm80_xmma_fprop_implicit_gemm_i8f32_i8i32_f32_nchw_vect_c_32", "int8"),
        ("int8", None, "0x0000000000000018", "int8"),
        ("int8", None, "sm72_xmma_pooling_IMMA_NCxHW32_generic_kMAX", "int8"),
        ("int32", None, "0x18", "int32"),
        (None, None, None, None),
    ],
)
def test_what_a_layer_computes_in(
    first: str | None, weights: str | None, tactic: str, precision: str
) -> None:
    inputs = [{"name": "x", "precision": first, "format": None}] if first else []
    assert layer_information.computed_in(inputs, weights, tactic) == precision


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        ("Row major linear Int8 format", "int8"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Two wide channel vectorized row major FP16 format", "fp16"),
        ("Row major linear INT32", "int32"),
        ("Row major linear BFloat16", "bf16"),
        ("Float", "fp32"),
        ("Half", "fp16"),
        ("FP8", "fp8"),
        ("Bool", "bool"),
        ("", None),
        ("N/A due to dynamic shapes", None),
    ],
)
def test_formats(text: str, precision: str | None) -> None:
    assert layer_information.precision_of(text) == precision


def test_the_split_format_of_eleven_and_plain_names() -> None:
    told = {
        "Layers": [
            {
                "Name": "a + b",
                "LayerType": "gemm",
                "Inputs": [{"Name": "x", "Format": "Row major linear", "DataType": "Int8"}],
                "Outputs": ["y"],
                "Metadata": "[ONNX Layer: b]\x1e[ONNX Layer: a]",
            },
            "{ForeignNode[a...c]}",
        ],
        "I/O Tensors": [],
    }
    first, second = layer_information.inspected(told, {"a": ["t"], "b": ["u"], "c": ["v"]})
    assert first["inputs"][0] == {
        "name": "x",
        "precision": "int8",
        "format": "Int8 Row major linear",
    }
    assert first["outputs"][0] == {"name": "y", "precision": None, "format": None}
    assert (first["origin"], first["precision"]) == (["b", "a"], "int8")
    assert (second["origin"], second["opaque"], second["precision"]) == (["a", "c"], True, None)


def test_lines_of_the_verbose_log() -> None:
    lines = [
        "Layer(Reformat): Conv_0 input reformatter 0, Tactic: 0, images[Float(1,3,320,320)] -> "
        "Conv_0 reformatted input 0[Int8(1,3,320,320)]",
        "Layer(CaskConvolution): Conv_0 + Relu_1, Tactic: 4438325421691896755, "
        "Conv_0 reformatted input 0[Int8(1,3,320,320)] -> 12[Int8(1,16,160,160)]",
        "Layer(Concat): (Unnamed Layer* 3) [Concatenation], Tactic: -1, a[0], b[Half(1,2)], c[Half(1,2)] "
        "-> d[Float(1,4)]",
        "Layer(nonsense)",
    ]
    network = {"Conv_0": ["11"], "Relu_1": ["12"], "(Unnamed Layer* 3) [Concatenation]": ["d"]}
    reformat, convolution, concat = layer_information.logged(lines, network)
    assert reformat["origin"] == ["Conv_0"]
    assert reformat["outputs"][0]["precision"] == "int8"
    assert convolution["origin"] == ["Conv_0", "Relu_1"]
    assert (convolution["precision"], convolution["tactic"]) == ("int8", "4438325421691896755")
    assert concat["tensors"] == ["d"]
    assert concat["inputs"][1] == {"name": "c", "precision": "fp16", "format": "Half(1,2)"}


@given(names=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
def test_names_are_found_whatever_they_hold(names: list[str]) -> None:
    find = layer_information.Finder({name: [] for name in names})
    assert find(names[0])[:1] == [names[0]]
    assert set(find(" + ".join(names))) <= set(names)


def test_a_name_is_not_found_within_another() -> None:
    find = layer_information.Finder(dict.fromkeys(["conv", "conv1", "conv10", "a.b", "b"], ()))
    assert find("PWN(PWN(conv10), conv1) + a.b") == ["conv10", "conv1", "a.b"]
    assert find("xconv conv1x") == []
    assert layer_information.Finder({})("anything") == []


# Scales


@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1
        ).filter(lambda name: name.strip() and not name.startswith("\ufeff")),
        st.floats(1e-30, 1e30),
        max_size=8,
    )
)
def test_a_cache_is_what_the_host_would_write(
    adapter: SimpleNamespace, amax: dict[str, float]
) -> None:
    header = trt_cache.Header(version=(8, 5, 3), algorithm="EntropyCalibration2")
    table = Table(amax=dict(sorted(amax.items())), provenance=Provenance(algorithm="x"))
    written = adapter.scales.cache(amax, adapter.scales.header("8.5.3.1", "EntropyCalibration2"))
    scales = {name: table.scale(name) for name in table.amax}
    assert written.decode() == trt_cache.write(trt_cache.Cache(header=header, scales=scales))


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("5.0.6", "TRT-5006-"),
        ("7.2.3.4", "TRT-7203-"),
        ("8.6.1", "TRT-8601-"),
        ("10.3.0", "TRT-100300-"),
        ("10.14.1.48.post1", "TRT-101401-"),
        ("10.16", "TRT-101600-"),
    ],
)
def test_headers(adapter: SimpleNamespace, version: str, line: str) -> None:
    found = adapter.scales.header(version, "MinMaxCalibration")
    assert found == line + "MinMaxCalibration"
    assert trt_cache.parse_header(found) is not None


def test_a_real_cache_is_counted_as_the_host_reads_it(adapter: SimpleNamespace) -> None:
    found = adapter.scales.amax(CACHE)
    table = trt_cache.to_table(trt_cache.parse(CACHE.decode()))
    assert len(found) == 200
    assert found == table.amax
    written = adapter.scales.cache(found, "TRT-8503-EntropyCalibration2")
    assert sorted(written.splitlines()) == sorted(CACHE.splitlines())


@given(st.binary(max_size=200))
def test_any_bytes_may_be_a_cache(adapter: SimpleNamespace, content: bytes) -> None:
    assert all(isinstance(name, str) for name in adapter.scales.amax(content))


def test_a_name_with_a_line_end_is_refused(adapter: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="cannot stand in a calibration cache"):
        adapter.scales.cache({"a\nb": 1.0}, "TRT-1-x")


# Log


def test_the_log_learns_and_forgets(
    adapter: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    log = adapter.log.Log()
    missing = (
        "Missing scale and zero-point for tensor a: b, expect fall back to non-int8 implementation"
    )
    for message in (
        missing,
        missing,
        "Rejecting some int8 implementation of layer c due to missing int8 scales for t",
    ):
        log.log(2, message)
    log.log(2, "Setting a default quantization params because quantization data is missing for x")
    log.log(1, "broken")
    log.log(4, "Layer(Convolution): x")
    log.log(4, "a million other things")
    assert (log.unscaled, log.rejected, log.defaulted) == (["a: b"], ["c"], 1)
    assert (log.errors, len(log.warnings), log.layers) == (["broken"], 3, ["Layer(Convolution): x"])
    assert log.told() == ": broken"
    shown = capsys.readouterr().out
    assert "TensorRT error: broken" in shown
    assert "million" not in shown
    log.restart()
    assert (log.errors, log.told()) == ([], ", and said no more")


def test_no_exception_leaves_the_log(
    adapter: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter.log.Log().log("no number", "x")
    assert "was lost" in capsys.readouterr().err


# Calibrators


def test_callbacks_of_five_zero(adapter: SimpleNamespace) -> None:
    """(bindings, names): the pointers are written into the list that TensorRT gave."""
    pointers = iter([[11], None])
    feed = SimpleNamespace(next=lambda names: next(pointers) if names == ["image"] else None)
    calibrator = adapter.calibrators.Callbacks(feed, b"cache")
    bindings = [None]
    assert calibrator.get_batch(bindings, ["image"]) is bindings
    assert bindings == [11]
    assert calibrator.get_batch(bindings, ["image"]) is None
    assert calibrator.read_calibration_cache(7) is None
    assert "carry the table as dynamic_range" in str(calibrator.error)


def test_the_cache_outlives_the_view_that_tensorrt_gives(adapter: SimpleNamespace) -> None:
    calibrator = adapter.calibrators.Callbacks(None, None)
    view = memoryview(bytearray(CACHE))
    calibrator.write_calibration_cache(view)
    view.release()
    assert calibrator.written == CACHE


def test_after_an_error_nothing_more_is_fed(adapter: SimpleNamespace) -> None:
    def broken(names: list[str]) -> list[int]:
        raise KeyboardInterrupt

    calibrator = adapter.calibrators.Callbacks(SimpleNamespace(next=broken), None)
    assert [calibrator.get_batch(["image"]) for _ in range(3)] == [None, None, None]
    assert isinstance(calibrator.error, KeyboardInterrupt)
    with pytest.raises(adapter.calibrators.CalibrationError, match="KeyboardInterrupt"):
        adapter.calibrators.check(calibrator, True)


@given(st.randoms(use_true_random=False))
def test_unknown_options_are_named(adapter: SimpleNamespace, chance: random.Random) -> None:
    key = "x" + str(chance.randrange(1000))
    with pytest.raises(ValueError, match=f"no option {key}; it has: batch, device"):
        adapter.options.checked({key: 1})


# The plan for a GPU host


def test_the_plan_asks_what_the_job_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from job import protocol
    from tests.gpu import h200

    monkeypatch.setattr(h200, "HERE", str(tmp_path))
    shape = {"input": "image", "heads": [["small", "small"]]}
    (tmp_path / "shape.json").write_text(json.dumps(shape))
    asked = h200.request({"timing_cache": None}, h200.PASSES)
    (tmp_path / "request.json").write_text(json.dumps(asked))
    understood = protocol.read_request(str(tmp_path))
    assert [pass_["name"] for pass_ in understood["passes"]] == [pass_[0] for pass_ in h200.PASSES]
    calibrated = [
        pass_ for pass_ in understood["passes"] if pass_["implicit"] and not pass_["table"]
    ]
    assert len(calibrated) == 2


@pytest.mark.parametrize(
    ("implicit", "table", "message"),
    [
        ({"scales": "guess", "calibrator": None, "images": None}, None, "known: calibrate, cache"),
        ({"scales": "cache", "calibrator": None, "images": None}, "t", "cache needs calibrator"),
        ({"scales": "cache", "calibrator": "x", "images": None}, None, "cache needs a table"),
        ({"scales": "calibrate", "calibrator": "x", "images": None}, None, "needs images"),
        ({"scales": "calibrate", "calibrator": "x", "images": "i"}, "t", "takes no table"),
        (
            {"scales": "dynamic_range", "calibrator": "x", "images": None},
            "t",
            "takes no calibrator",
        ),
        ({"scales": "cache"}, "t", "lacks calibrator, images"),
        ("cache", "t", "is no JSON object"),
    ],
)
def test_an_implicit_that_makes_no_sense(
    tmp_path: Path, implicit: Any, table: str | None, message: str
) -> None:
    from job import protocol
    from tests.job.two_heads import golden, one_pass, write_request

    one = one_pass("int8", precision="int8", implicit=implicit, table=table)
    write_request(tmp_path, golden() | {"passes": [one]})
    with pytest.raises(protocol.ProtocolError) as raised:
        protocol.read_request(str(tmp_path))
    assert message in str(raised.value)
