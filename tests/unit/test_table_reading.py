"""Calibration tables in every form in which they are found; what is none is refused by one kind of error."""

import json
import math
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.quant_utils import write_calibration_table

from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.forms import TableForm
from trt_matrix.core.tables.reading import LIMIT_BYTES, read
from trt_matrix.core.tables.table import Provenance, Table, TableError, from_ranges, to_json

AMAX = {"images": 1.0, "scope: relu:0": 2.5, "/model.0/conv/Conv_output_0": 20.453125}


def hexadecimal(scale: float) -> str:
    return f"{struct.unpack('>I', struct.pack('>f', scale))[0]:x}"


def lines(first: str | None, end: str = "\n", before: str = "") -> bytes:
    rows = [f"{name}: {before}{hexadecimal(amax / 127)}" for name, amax in AMAX.items()]
    return end.join([*([] if first is None else [first]), *rows, ""]).encode()


def near(values: object) -> None:
    assert values == {name: pytest.approx(amax, rel=1e-6) for name, amax in AMAX.items()}


@pytest.mark.parametrize(
    ("content", "algorithm"),
    [
        (lines("TRT-8601-EntropyCalibration2"), "EntropyCalibration2"),
        (lines("TRT-8XXX-EntropyCalibration2 "), "EntropyCalibration2"),
        (lines(None), "unknown (cache without a header)"),
        (lines("made by our exporter, v2"), "unknown (made by our exporter, v2)"),
        (lines("TRT-8601-MinMaxCalibration", "\r\n"), "MinMaxCalibration"),
        (b"\xef\xbb\xbf" + lines("TRT-8601-EntropyCalibration2", "\r\n\r\n"), "EntropyCalibration2"),
        (lines("TRT-8601-EntropyCalibration2").decode().encode("utf-16"), "EntropyCalibration2"),
        (lines("TRT-8601-EntropyCalibration2", before="0x"), "EntropyCalibration2"),
    ],
)  # fmt: skip
def test_caches_of_tensorrt_and_of_those_who_write_alike(content: bytes, algorithm: str) -> None:
    table = read(content)
    assert table.form is TableForm.CACHE
    assert table.provenance.algorithm == algorithm
    near(table.values)


def test_tables_that_onnx_runtime_itself_writes(tmp_path: Path) -> None:
    ranges = {name: TensorData(lowest=np.float32(-amax / 2), highest=np.float32(amax)) for name, amax in AMAX.items()}  # fmt: skip
    write_calibration_table(ranges, str(tmp_path))
    for file, form in (
        ("calibration.cache", TableForm.TEXT),
        ("calibration.json", TableForm.JSON),
        ("calibration.flatbuffers", TableForm.FLATBUFFERS),
    ):
        table = read((tmp_path / file).read_bytes())
        assert table.form is form
        near(table.values)
        assert not table.form.scales


@pytest.mark.parametrize(
    "entry",
    [
        lambda amax: [-amax, amax / 2],
        lambda amax: amax,
        lambda amax: {"lowest": -amax, "highest": 0},
        lambda amax: {"lowest": {"data": [-amax], "dtype": "float32", "CLS": "numpy.array"}, "highest": 0.0},
        lambda amax: {"scale": amax / 127, "min": 0, "max": 0, "offset": 0},
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrapped", [False, True])
def test_json_in_every_spelling(entry: object, wrapped: bool) -> None:
    ranges = {name: entry(amax) for name, amax in AMAX.items()}  # type: ignore[operator]
    content = {"CLS": "TensorsData", "data": ranges} if wrapped else ranges
    table = read(json.dumps(content).encode())
    assert table.form is TableForm.JSON
    near(table.values)


def test_a_cache_with_decimal_scales_and_our_own_table() -> None:
    decimal = "".join(f"{name}: {amax / 127!r}\n" for name, amax in AMAX.items())
    table = read(f"TRT-8601-EntropyCalibration2\n{decimal}".encode())
    assert table.form is TableForm.DECIMAL
    near(table.values)
    own = read(to_json(from_ranges({**AMAX, "dead": 0.0}, Provenance(algorithm="minmax"))).encode())
    assert own.form is TableForm.OWN
    assert own.provenance.algorithm == "minmax"
    assert own.table().unusable.keys() == {"dead"}


def test_what_is_no_scale_is_set_apart_and_not_dropped() -> None:
    bad = {"zero": 0.0, "nan": math.nan, "inf": math.inf, "negative": -1.0, "tiny": 1e-44}
    for content in (
        "".join(f"{name}: {hexadecimal(scale)}\n" for name, scale in bad.items()) + "good: 3c010204\n",
        "".join(f"{name} {value}\n" for name, value in bad.items()) + "good 1.5\n",
        json.dumps({**bad, "good": 1.5, "large": 10**400}),
    ):  # fmt: skip
        table = read(content.encode()).table()
        assert table.amax.keys() == {"good"}
        assert table.unusable.keys() >= bad.keys()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (" \n\u0085\n".encode(), "it is empty"),
        (b"TRT-8601-EntropyCalibration2\n", "no line 'tensor: scale'"),
        (b"what is this", "no line 'tensor: scale', only 'what is this'"),
        (b"a: 3c010204\nb: 3c01", None),  # cut amid a scale: nobody can see that
        (b"a: 3c010204\nb: \n", "line 2 is 'b: '"),
        (b"a: 3c010204\na: 3c010205\n", "tensor 'a' has two scales"),
        (b"a 1.5\na 1.6\n", "tensor 'a' has two values"),
        (b"a 1.5\nb 1.6\nc\n", "line 3 is 'c', expected 'tensor value'"),
        (b'{"a": [-1, 1], "a": [-2, 2]}', "tensor 'a' has two values"),
        (b'{"a": [-1, 1', "begins as JSON and is none"),
        (b'{"a": "large"}', "tensor 'a' is \"large\""),
        (b'{"a": true}', "tensor 'a' is true"),
        (b"{}", "names no tensor"),
        (b'{"": 1.0}', "is no tensor's name"),
        (b"{" * 100_000, "begins as JSON and is none"),
        (b"\x00\x01\x02ftrt" * 100, "is it an engine, or a timing cache?"),
        (b"\xff\xfea", None),
        (b"0" * (LIMIT_BYTES + 1), "no calibration table is so large"),
    ],
)
def test_what_is_none_says_what_it_looks_like(content: bytes, said: str | None) -> None:
    if said is None:
        _read_or_refuse(content)
        return
    with pytest.raises(TableError) as caught:
        read(content)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_one_line_of_100_mb_is_refused_at_once() -> None:
    started = time.perf_counter()
    for line in (b"a" * 100_000_000, b"a: " + b"0" * (LIMIT_BYTES - 10), b"[" * LIMIT_BYTES):
        with pytest.raises(TableError):
            read(line)
    assert time.perf_counter() - started < 10


def _read_or_refuse(content: bytes) -> None:
    try:
        read_table = read(content)
    except TableError:
        return
    assert read_table.names
    table = read_table.table()
    assert table.amax.keys() | table.unusable.keys() == set(read_table.names)


FRAGMENTS = st.sampled_from(
    ["TRT-8601-EntropyCalibration2", "a", ":", " ", "\n", "\r\n", "3c010204", "0x3c", "1.5", "nan", "-inf", "1e999",
     "{", "}", "[", "]", '"a"', ",", "\ufeff", "\0", "CLS", '"data"', '"scale"', '"amax"', '"schema_version"', "null"]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda one: one.encode("utf-8", "replace")),
                 st.lists(FRAGMENTS, max_size=30).map(lambda some: "".join(some).encode())))  # fmt: skip
@example(
    b'{"schema_version": 1, "amax": {"a": NaN}, "unusable": {}, "provenance": {"algorithm": "x"}}'
)
@example(b'{"data": {"a": 1}, "CLS": 0}')
@settings(max_examples=400)
def test_whatever_it_is_it_is_read_or_refused(content: bytes) -> None:
    _read_or_refuse(content)


def _flatbuffers() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        ranges = {name: TensorData(lowest=np.float32(-1), highest=np.float32(amax)) for name, amax in AMAX.items()}  # fmt: skip
        write_calibration_table(ranges, folder)
        return Path(folder, "calibration.flatbuffers").read_bytes()


FLATBUFFERS = _flatbuffers()


@given(st.lists(st.tuples(st.integers(0, len(FLATBUFFERS) - 1), st.integers(0, 255)), max_size=6),
       st.integers(0, len(FLATBUFFERS)))  # fmt: skip
@settings(max_examples=400)
def test_damaged_flatbuffers_are_read_or_refused(damage: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(FLATBUFFERS)
    for place, value in damage:
        content[place] = value
    _read_or_refuse(bytes(content))
    _read_or_refuse(bytes(content[:cut]))


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r\0\ufeff"), min_size=1, max_size=20
).filter(lambda name: bool(name.strip()))
SCALES = st.dictionaries(NAMES, st.floats(min_value=2.0**-110, max_value=2.0**110, width=32), min_size=1, max_size=12)  # fmt: skip


def _cache(scales: dict[str, float], header: trt_cache.Header | None) -> bytes:
    return trt_cache.write(trt_cache.Cache(header=header, words=None if header else "words", scales=scales)).encode()  # fmt: skip


HEADER = trt_cache.Header(version=(8, 5, 3), algorithm="EntropyCalibration2")


@given(SCALES, st.sampled_from([HEADER, None]))
def test_what_we_write_as_a_cache_is_read_as_that(
    scales: dict[str, float], header: trt_cache.Header | None
) -> None:
    table = read(_cache(scales, header))
    assert (table.form, table.header) == (TableForm.CACHE, header)
    assert table.values == {name: 127 * scale for name, scale in scales.items()}
    again = read(_cache({name: table.table().scale(name) for name in table.values}, header))
    assert again.values == table.values


@given(SCALES, st.dictionaries(NAMES, st.text(max_size=20), max_size=3))
def test_what_we_write_as_our_own_is_read_as_that(
    ranges: dict[str, float], unusable: dict[str, str]
) -> None:
    without = {name: why for name, why in unusable.items() if name not in ranges}
    table = Table(amax=ranges, unusable=without, provenance=Provenance(algorithm="x"))
    read_table = read(to_json(table).encode())
    assert read_table.form is TableForm.OWN
    assert read_table.table() == table
    assert read_table.table().digest == table.digest


@settings(max_examples=30)
@given(st.dictionaries(st.text("abc/:.0 ", min_size=1, max_size=9).filter(lambda one: one.strip() == one and one[0] != "{"),
                       st.floats(min_value=2.0**-60, max_value=2.0**60, width=32), min_size=1, max_size=6))  # fmt: skip
def test_what_onnx_runtime_writes_is_read_in_each_of_its_forms(amax: dict[str, float]) -> None:
    ranges = {name: TensorData(lowest=np.float32(-one), highest=np.float32(one)) for name, one in amax.items()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_calibration_table(ranges, folder)
        for file in ("calibration.json", "calibration.flatbuffers"):
            table = read(Path(folder, file).read_bytes())
            assert table.values == {name: pytest.approx(one, rel=1e-6) for name, one in amax.items()}  # fmt: skip


@settings(max_examples=60)
@given(SCALES)
def test_what_a_quantiser_writes_is_read_as_the_scales_of_its_network(
    scales: dict[str, float],
) -> None:
    nodes, constants = [], []
    for index, (name, scale) in enumerate(scales.items()):
        constants.append(numpy_helper.from_array(np.array(scale, np.float32), f"scale{index} of"))
        constants.append(numpy_helper.from_array(np.array(0, np.int8), f"zero{index} of"))
        given_by = [f"scale{index} of", f"zero{index} of"]
        nodes.append(helper.make_node("Relu", ["input of all"], [name]))
        nodes.append(helper.make_node("QuantizeLinear", [name, *given_by], [f"q{index} of"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"q{index} of", *given_by], [f"d{index} of"]))  # fmt: skip
    nodes.append(helper.make_node("Sum", [f"d{index} of" for index in range(len(scales))], ["out of"]))  # fmt: skip
    image, out = (helper.make_tensor_value_info(name, 1, [1]) for name in ("input of all", "out of"))  # fmt: skip
    graph = helper.make_graph(nodes, "g", [image], [out], constants)
    table = read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())  # fmt: skip
    assert table.form is TableForm.NETWORK
    assert table.values == {name: 127 * scale for name, scale in scales.items()}
