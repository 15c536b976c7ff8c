"""Resolutions and uv's words; the words are copied from uv 0.13."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.environments.packages import LockError, Package, read_lock
from trt_matrix.environments.uv_errors import explain

LOCK = """
lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "numpy"
version = "2.4.6"
sdist = { url = "https://example.org/numpy-2.4.6.tar.gz", hashes = { sha256 = "aa" } }
wheels = [{ url = "https://example.org/x/numpy-2.4.6%2Bcpu-cp311.whl#egg", hashes = { sha256 = "bb" } }]

[[packages]]
name = "own"
archive = { path = "../own-1.0-py3-none-any.whl", hashes = { sha256 = "cc" } }
"""


def test_a_lock_is_read() -> None:
    assert read_lock(LOCK) == {
        "numpy": Package(version="2.4.6", files={"numpy-2.4.6+cpu-cp311.whl": "bb"}),
        "own": Package(version="", files={"own-1.0-py3-none-any.whl": "cc"}),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "packages = 3",
        "packages = [3]",
        "[[packages]]\nversion = '1'",
        "[[packages]]\nname = 'a'",
        "[[packages]]\nname = 'a'\nwheels = [{}]",
        "[[packages]]\nname = 'a'\nwheels = [{url = 'x', hashes = {md5 = '1'}}]",
        "[[packages]]\nname = 'a'\nvcs = {type = 'git'}",
        "[[packages]]\nname = 'a'\nwheels = [{url = 'https://[x/a.whl', hashes = {sha256 = '1'}}]",
        "packages = " + "[" * 5000,
    ],
    ids=range(10),
)
def test_a_lock_that_is_none(text: str) -> None:
    with pytest.raises(LockError):
        read_lock(text)


@given(st.integers(0, len(LOCK)), st.text(max_size=5))
def test_a_lock_with_anything_in_it_is_read_or_refused(position: int, inserted: str) -> None:
    try:
        packages = read_lock(LOCK[:position] + inserted + LOCK[position:])
    except LockError:
        return
    assert all(package.files for package in packages.values())


@given(st.text())
def test_whatever_uv_says_becomes_one_line(said: str) -> None:
    message = explain(said, "3.11.7")
    assert message
    assert "\n" not in message


UNSATISFIABLE = "error: No solution found when resolving dependencies\n  cause: Because {}\n\n{}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            UNSATISFIABLE.format(
                "nosuch was not found in the package registry and you require nosuch, we can "
                "conclude that your requirements are unsatisfiable.", ""),
            "no package is called nosuch; check the spelling in matrix.yaml",
        ),
        (
            UNSATISFIABLE.format(
                "nvidia-cuda-nvrtc-cu11 was not found in the provided package locations and "
                "nvidia-cudnn-cu11==8.9.4.25 depends on nvidia-cuda-nvrtc-cu11, we can conclude that "
                "nvidia-cudnn-cu11==8.9.4.25 cannot be used.", ""),
            "the folder named by `wheels:` has no wheel of nvidia-cuda-nvrtc-cu11; fetch it into that "
            "folder, or check the spelling in matrix.yaml",
        ),
        (
            UNSATISFIABLE.format(
                "onnxruntime==1.10.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) "
                "and you require onnxruntime==1.10.0, we can conclude that your requirements are "
                "unsatisfiable.",
                "hint: You require CPython 3.11 (`cp311`), but we only found wheels for "
                "`onnxruntime` (v1.10.0) with the following Python ABI tags: `cp36m`, `cp37m`, "
                "`cp38`, `cp39`"),
            "onnxruntime==1.10.0 has no wheel for Python 3.11.7; there are wheels for Python 3.6, "
            '3.7, 3.8, 3.9: set `python: "3.9"` for it in matrix.yaml',
        ),
        (
            UNSATISFIABLE.format(
                "onnxruntime==1.32.0 has no wheels with a matching Python implementation tag "
                "(e.g., `cp39`) and you require onnxruntime==1.32.0, we can conclude that your "
                "requirements are unsatisfiable.",
                "hint: You require CPython 3.9 (`cp39`), but we only found wheels for "
                "`onnxruntime` (v1.32.0) with the following Python implementation tags: `cp311`"),
            "onnxruntime==1.32.0 has no wheel for Python 3.11.7; there are wheels for Python "
            '3.11: set `python: "3.11"` for it in matrix.yaml',
        ),
        (
            "error: Failed to download `flatbuffers==25.12.19`\n  cause: Network connectivity is "
            "disabled, but the requested data wasn't found in the cache: https://example.org/f.whl",
            "flatbuffers==25.12.19 is not in the package cache and this run is offline; run once "
            "with network, on this machine or with a copy of its uv cache",
        ),
        (
            "error: Failed to install: protobuf-7.36.2.whl (protobuf==7.36.2)\n  cause: failed to "
            "copy file: No space left on device (os error 28)",
            "the disk is full; free space, or set TRT_MATRIX_CACHE to a folder elsewhere",
        ),
        ("", "uv failed: it said nothing"),
    ],
)  # fmt: skip
def test_what_uv_said_is_explained(said: str, expected: str) -> None:
    assert explain(said, "3.11.7") == expected
