import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trt_matrix.core.tables.table import Provenance, Table
from trt_matrix.core.tables.trt_cache import (
    Cache,
    CacheError,
    Header,
    decode_version,
    encode_version,
    parse,
    parse_header,
    to_table,
    write,
)

WRITTEN_BY_8_5_3 = """\
TRT-8503-EntropyCalibration2
images: 3bf80000
/model.0/conv/Conv_output_0: 3e24da04
/model.0/act/Sigmoid_output_0: 3c010a14
"""
HEADERS = st.builds(
    Header,
    version=st.one_of(
        st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 99)),
        st.tuples(st.integers(10, 99), st.integers(0, 99), st.integers(0, 99)),
    ),
    algorithm=st.sampled_from(["EntropyCalibration2", "MinMaxCalibration"]),
)
NAMES = st.text(min_size=1).filter(
    lambda name: name.strip() and "\n" not in name and not name.startswith("\ufeff")
)
FLOAT32 = st.floats(width=32, allow_nan=False)


def test_a_file_that_tensorrt_wrote() -> None:
    cache = parse(WRITTEN_BY_8_5_3)
    assert cache.header == Header(version=(8, 5, 3), algorithm="EntropyCalibration2")
    assert cache.scales["images"] == 0.007568359375
    assert write(cache) == WRITTEN_BY_8_5_3
    table = to_table(cache, environment="trt-8.5.3")
    assert table.provenance.algorithm == "EntropyCalibration2"
    assert table.amax["images"] == 127 * 0.007568359375
    assert write(replace(cache, scales=scales_of(table))) == WRITTEN_BY_8_5_3


@pytest.mark.parametrize(
    ("number", "version"),
    [
        (5100, (5, 1, 0)),
        (6001, (6, 0, 1)),
        (7103, (7, 1, 3)),
        (8203, (8, 2, 3)),
        (8600, (8, 6, 0)),
        (100300, (10, 3, 0)),
        (101401, (10, 14, 1)),
    ],
)
def test_versions_as_seen_in_real_headers(number: int, version: tuple[int, int, int]) -> None:
    assert decode_version(number) == version
    assert encode_version(*version) == number


@given(HEADERS)
def test_headers_round_trip(header: Header) -> None:
    assert parse_header(str(header)) == header


@pytest.mark.parametrize("line", ["", "TRT--Entropy", "TRT-8503", "trt-8503-X", "input: 3c010204"])
def test_no_header(line: str) -> None:
    assert parse_header(line) is None


def test_a_name_may_look_like_an_entry() -> None:
    text = "TRT-7000-EntropyCalibration2\nscope: relu:0: 3c010204\n(Unnamed Layer* 3): 3c3604b4\n"
    assert list(parse(text).scales) == ["scope: relu:0", "(Unnamed Layer* 3)"]
    assert write(parse(text)) == text


def test_line_ends_blank_lines_and_byte_order_mark() -> None:
    text = "\ufeff\r\n\r\nTRT-8503-MinMaxCalibration\r\n\r\na: 3C010204\r\n   \r\nb: 3c010204"
    cache = parse(text)
    assert cache.header is not None
    assert cache.scales == {
        "a": cache.scales["b"],
        "b": struct.unpack(">f", b"\x3c\x01\x02\x04")[0],
    }


def test_an_old_file_has_no_header() -> None:
    cache = parse("(Unnamed ITensor* 38): 3c3604b4\n")
    assert cache.header is None
    assert "without a header" in to_table(cache).provenance.algorithm
    assert write(cache) == "(Unnamed ITensor* 38): 3c3604b4\n"


def test_zero_nan_infinite_and_negative_scales_are_set_apart() -> None:
    text = "ok: 3c010204\nzero: 0\nnan: 7fc00000\ninf: 7f800000\nnegative: bc010204\ntiny: 1\n"
    table = to_table(parse(text))
    assert set(table.amax) == {"ok"}
    assert {name: why.split(":")[0] for name, why in table.unusable.items()} == {
        "zero": "amax is zero",
        "nan": "amax is NaN",
        "inf": "amax is infinite or beyond float32",
        "negative": table.unusable["negative"],
        "tiny": table.unusable["tiny"].split(":")[0],
    }
    assert "negative" in table.unusable["negative"]
    assert "smallest normal" in table.unusable["tiny"]


def test_zeros_are_not_padded() -> None:
    cache = parse("a: 800000\n")
    assert cache.scales["a"] == 2.0**-126
    assert write(cache) == "a: 800000\n"


def test_equal_duplicates_pass_and_different_ones_do_not() -> None:
    assert parse("a: 3c010204\na: 3c010204\n").scales.keys() == {"a"}
    with pytest.raises(
        CacheError, match=r"line 2: tensor 'a' has two scales, 3c010204 and 3c010205"
    ):
        parse("a: 3c010204\na: 3c010205\n")


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a:",
        ": 3c010204",
        "a: 3c0102045",
        "a: 0xg",
        "a: 0x",
        "a: xyz",
        "a: ٣",
        "\x00",
        '{"a": 1}',
    ],
)
def test_other_lines_are_refused_by_number(line: str) -> None:
    with pytest.raises(CacheError, match="line 2 is"):
        parse(f"TRT-8503-EntropyCalibration2\n{line}\n")


def test_a_second_header_is_no_entry() -> None:
    with pytest.raises(CacheError, match="line 2"):
        parse("TRT-8503-EntropyCalibration2\nTRT-8503-EntropyCalibration2\n")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\ufeffa"])
def test_names_that_cannot_stand_in_a_cache(name: str) -> None:
    with pytest.raises(CacheError, match="rename it"):
        write(Cache(header=None, scales={name: 1.0}))


@given(HEADERS | st.none(), st.dictionaries(NAMES, FLOAT32))
def test_what_is_written_is_read_back_exactly(
    header: Header | None, scales: dict[str, float]
) -> None:
    cache = Cache(header=header, scales=scales)
    again = parse(write(cache))
    assert again.header == header
    assert list(again.scales) == list(scales)
    assert [struct.pack(">f", s) for s in again.scales.values()] == [
        struct.pack(">f", s) for s in scales.values()
    ]


@given(
    st.dictionaries(NAMES, st.floats(min_value=2.0**-120, max_value=2.0**120, width=32), min_size=1)
)
def test_a_table_keeps_its_float32_scales(scales: dict[str, float]) -> None:
    table = to_table(Cache(header=None, scales=scales))
    again = to_table(parse(write(Cache(header=None, scales=scales_of(table)))))
    assert again.amax == table.amax
    assert all(np.float32(again.scale(name)) == np.float32(s) for name, s in scales.items())


def scales_of(table: Table) -> dict[str, float]:
    return {name: table.scale(name) for name in table.amax}


def outcome(text: str) -> Cache | CacheError:
    try:
        return parse(text)
    except CacheError as error:
        return error


@given(st.text() | st.text(alphabet="aT:R-0 \r\n"))
@example(" :0\n0:0")
@example("a:0\n\ufeffb:0")
def test_any_text_is_read_or_refused_by_line(text: str) -> None:
    found = outcome(text)
    if isinstance(found, CacheError):
        assert str(found).startswith("line ")
    else:
        assert parse(write(found)).scales.keys() == found.scales.keys()


def test_a_huge_name_is_cut_in_the_message() -> None:
    with pytest.raises(CacheError) as caught:
        parse("x" * 1_000_000)
    assert len(str(caught.value)) < 400


def test_a_table_with_unusable_tensors_writes_the_usable_ones() -> None:
    table = Table(
        amax={"b": 127.0, "a": 1.27}, unusable={"z": "zero"}, provenance=Provenance(algorithm="m")
    )
    header = Header(version=(10, 3, 0), algorithm="MinMaxCalibration")
    text = write(Cache(header=header, scales=scales_of(table)))
    assert text == "TRT-100300-MinMaxCalibration\nb: 3f800000\na: 3c23d70a\n"
