"""What an image, or an interpreter, says of itself is foreign text."""

import json
from typing import Any

import pytest

from trt_matrix.environments.python import told_python

GOOD: dict[str, Any] = {
    "version": "3.11.7", "implementation": "CPython", "platform": "linux-x86_64", "libc": None,
    "distributions": {"numpy": {"version": "2.0.0", "record_sha256": None}},
}  # fmt: skip


@pytest.mark.parametrize("version", ["3.11.7", "2.7.18", "3.13.0rc1", "3.12.0+", "3.5.2"])
def test_a_python_is_told(version: str) -> None:
    python = told_python(json.dumps(GOOD | {"version": version}))
    assert python.release == tuple(map(int, version.split(".")[:2]))
    assert python.distributions == GOOD["distributions"]


DAMAGE: list[dict[str, Any]] = [
    {"version": "../../evil"}, {"version": "3.x"}, {"version": 3.11}, {"version": "3"}, {"version": "3.11\n"},
    {"platform": "x" * 1000}, {"libc": ["glibc"]}, {"distributions": []}, {"evil": 1},
    {"distributions": {"numpy": "2.0.0"}}, {"distributions": {"n" * 500: GOOD["distributions"]["numpy"]}},
    {"distributions": {"numpy": {"version": "2", "record_sha256": "../x"}}},
]  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        "", "3.11", "null", "[" * 200_000, "{" * 3, json.dumps(GOOD)[:-1],
        *(json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in GOOD),
        *(
            json.dumps(GOOD | changes)
            for changes in DAMAGE
        ),
    ],
)  # fmt: skip
def test_what_is_no_python_is_refused(answer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        told_python(answer)
