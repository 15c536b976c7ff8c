"""Inputs that were valid once: bytes that changed, and JSON in which values did."""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.0, -0.0, 1e-320, 1e308, -1e308, float("nan"),
    float("inf"), "", "\x00", "\x1b[2J", "../../etc/passwd", "/", "a" * 5000, "\ud800", "NaN", "1e999", [], {}, [[]],
    [None], {"": None}, [0] * 1000, {"x": {"x": {"x": {}}}},
)  # fmt: skip
TOKENS = (
    b"\x00", b"\xff" * 4, b"\x80", b"[" * 2000, b"{" * 2000, b"(" * 9000, b"NaN", b"1e999", b"-1", b"\n", b"\r\n", b'"', b"'",
    b"\\ud800", b"&a;", b"<!DOCTYPE a>", b"&x *x", b"!!python/object:os.system", b"<<: *a", b"PK\x03\x04", b"\x93NUMPY", b"\x1b[2J",
    b"9" * 400, b"0" * 5000, b"\xef\xbb\xbf", b"\xfe\xff", b"%s%n", b"../", b": ", b"- ",
)  # fmt: skip
DEEP = 3000


def inputs(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Returns valid inputs, changed in one to eight places."""
    ways = [_changed_bytes(seed) for seed in seeds]
    ways += [_changed_json(seed) for seed in seeds if _json(seed) is not None]
    return st.one_of(ways)


def _json(content: bytes) -> Any:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) and value else None


@st.composite
def _changed_bytes(draw: st.DrawFn, seed: bytes) -> bytes:
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(content)))
        match draw(st.integers(0, 6)):
            case 0 if content:
                content[at % len(content)] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del content[at : at + draw(st.integers(1, 64))]
            case 2:
                content[at:at] = draw(st.binary(min_size=1, max_size=16))
            case 3:
                content[at:at] = draw(st.sampled_from(TOKENS))
            case 4:
                content = content[:at]
            case 5:
                other = draw(st.integers(0, len(content)))
                content[at:at] = content[min(at, other) : min(at, other) + 200]
            case _:
                content[at : at + 4] = draw(st.integers(0, 2**32 - 1)).to_bytes(4, "little")
    return bytes(content)


@st.composite
def _changed_json(draw: st.DrawFn, seed: bytes) -> bytes:
    root = [_json(seed)]
    for _ in range(draw(st.integers(1, 4))):
        places = _places(root)
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.integers(0, 4)):
            case 0:
                del holder[key]
                if not root:
                    return b""
            case 1 if isinstance(holder, dict):
                holder[draw(st.text(max_size=8))] = holder[key]
            case 2:
                return _deep(root[0], holder, key)
            case _:
                # A copy: what is changed next may lie within it, and ODD is every input's.
                holder[key] = deepcopy(draw(st.sampled_from(ODD)))
    text = json.dumps(root[0])
    return text.encode("utf-8", "surrogatepass")


def _deep(root: Any, holder: Any, key: Any) -> bytes:
    holder[key] = "<deep>"
    return json.dumps(root).replace('"<deep>"', "[" * DEEP + "]" * DEEP).encode()


def _places(root: list[Any], most: int = 400) -> list[tuple[Any, Any]]:
    """Returns where a value stands: what holds it, and its key there; breadth first."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting and len(found) < most:
        holder = waiting.pop(0)
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found
