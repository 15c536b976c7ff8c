"""TensorRT's calibration cache, as text, to and from a table.

    TRT-8503-EntropyCalibration2
    images: 3bf80000
    /model.0/conv/Conv_output_0: 3e24da04

A value is the scale (amax / 127) as a float32 in hexadecimal, big-endian, leading zeros not padded
(a zero scale is `0`). A name may contain ": ", so a line splits at its last colon. Files of
TensorRT 3 to 5.0 are seen without the first line; other exporters put words of their own there
(`TRT-8XXX-EntropyCalibration2`), and some write `0x` before the digits. Layout: TensorRT sample
`sampleINT8`, and caches written by 8.5 and 8.6.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.core.tables.table import LEVELS, Provenance, Table, TableError, from_ranges

ALGORITHMS = ("EntropyCalibration", "EntropyCalibration2", "MinMaxCalibration", "LegacyCalibration")

_HEADER = re.compile(r"TRT-(\d{1,9})-([A-Za-z]\w*)")
_ALGORITHM = re.compile(r"TRT-[^-\s]+-([A-Za-z]\w*)")
_SCALE = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,8})", re.ASCII)
_MOST_WORDS = 200
"""Characters of a first line that is no header of TensorRT's: what is longer is no words."""


class CacheError(TableError):
    """Text that is no calibration cache; names the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Who wrote a cache. TensorRT refuses one of another calibrator, and may refuse another N."""

    version: tuple[int, int, int]
    algorithm: str

    def __str__(self) -> str:
        return f"TRT-{encode_version(*self.version)}-{self.algorithm}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """What a calibration cache says."""

    header: Header | None
    """None in files older than the header, and of other exporters."""
    scales: Mapping[str, float]
    """Tensor → scale as it stands in the file: exact float32, perhaps zero, NaN or negative."""
    words: str | None = None
    """The first line, where it is neither header nor tensor."""


def encode_version(major: int, minor: int, patch: int) -> int:
    """Returns N of `TRT-N`: 8.5.3 → 8503, 10.3.0 → 100300.

    Below 10 it is major·1000 + minor·100 + patch, from 10 on major·10000 + minor·100 + patch.
    """
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def decode_version(number: int) -> tuple[int, int, int]:
    """Returns (major, minor, patch) of N; the inverse of `encode_version`."""
    unit = 1000 if number < 10000 else 10000
    major, rest = divmod(number, unit)
    return major, rest // 100, rest % 100


def parse_header(line: str) -> Header | None:
    """Returns the header in `line`, None where it is none."""
    match = _HEADER.fullmatch(line.strip())
    return Header(version=decode_version(int(match[1])), algorithm=match[2]) if match else None


def parse(text: str) -> Cache:
    """Reads a cache, old or new, with any first line, any line ends and blank lines.

    Raises:
        CacheError: a later line is not `name: scale`, or one tensor has two scales.
    """
    header: Header | None = None
    words: str | None = None
    bits: dict[str, int] = {}
    # Only "\n" ends a line: a tensor's name may hold what str.splitlines also takes for an end.
    for number, ended in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = ended.removesuffix("\r")
        if not line.strip():
            continue
        first = header is None and words is None and not bits
        if first and (stated := parse_header(line)):
            header = stated
            continue
        name, colon, value = line.rpartition(":")
        digits = _SCALE.fullmatch(value.strip()) if colon and _is_writable(name) else None
        if digits is None and first and len(line) <= _MOST_WORDS and line.isprintable():
            words = line.strip()
            continue
        if digits is None:
            message = (
                f"line {number} is {line[:120]!r}, expected 'tensor: scale' with the scale as up "
                "to 8 hexadecimal digits: is this a TensorRT calibration cache?"
            )
            raise CacheError(message)
        scale = int(digits[1], 16)
        if bits.setdefault(name, scale) != scale:
            message = (
                f"line {number}: tensor {name!r} has two scales, {bits[name]:x} and {scale:x}: "
                "delete the wrong line, or calibrate again"
            )
            raise CacheError(message)
    scales = {name: from_bits(value) for name, value in bits.items()}
    return Cache(header=header, scales=scales, words=words)


def to_table(cache: Cache, *, environment: str | None = None) -> Table:
    """Returns the table of a cache: amax = 127 · scale; unusable scales are set apart, not dropped."""
    algorithm = cache.header.algorithm if cache.header else _algorithm(cache.words)
    return from_ranges(
        {name: scale * LEVELS for name, scale in cache.scales.items()},
        Provenance(algorithm=algorithm, environment=environment),
    )


def _algorithm(words: str | None) -> str:
    if words is None:
        return "unknown (cache without a header)"
    match_ = _ALGORITHM.fullmatch(words)
    return match_[1] if match_ else f"unknown ({words})"


def write(cache: Cache) -> str:
    """Returns the text of a cache; `parse` reads it back exactly.

    Raises:
        CacheError: a name cannot stand in a cache (empty, or with a line end).
    """
    first = str(cache.header) if cache.header else cache.words
    lines = [first] if first else []
    for name, scale in cache.scales.items():
        if not _is_writable(name):
            message = f"tensor {name!r} cannot be named in a calibration cache: rename it"
            raise CacheError(message)
        lines.append(f"{name}: {to_bits(scale):x}")
    return "".join(line + "\n" for line in lines)


def _is_writable(name: str) -> bool:
    """Whether a line can begin with this name and give it back."""
    return bool(name.strip()) and "\n" not in name and not name.startswith("\ufeff")


def from_bits(bits: int) -> float:
    """Returns the float32 of 32 bits."""
    return float(struct.unpack(">f", struct.pack(">I", bits))[0])


def to_bits(scale: float) -> int:
    """Returns the nearest float32's bits."""
    return int(struct.unpack(">I", struct.pack(">f", scale))[0])
