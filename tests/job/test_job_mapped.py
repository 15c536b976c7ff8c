"""What was really mapped: versions from file names, packages from what they installed; and the GPU."""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job import gpu, mapped

MAPS = """\
5581-5582 r-xp 00000000 08:01 1 /usr/bin/python3.11
7f00-7f01 r-xp 00000000 08:01 2 /opt/my libs/libcudnn.so.8.9.7
7f01-7f02 r--p 00000000 08:01 2 /opt/my libs/libcudnn.so.8.9.7
7f02-7f03 r-xp 00000000 08:01 3 /usr/lib/libnvinfer.so.8 (deleted)
7f03-7f04 r-xp 00000000 08:01 4 /usr/lib/libc.so.6
7f04-7f05 rw-p 00000000 00:00 0
7f05-7f06 r-xp 00000000 08:01 5 /usr/share/cudnn-notes.txt
"""


def test_only_the_engines_libraries_are_recorded_each_once() -> None:
    facts = mapped.facts(MAPS)
    assert [(library["path"], library["version"]) for library in facts["libraries"]] == [
        ("/opt/my libs/libcudnn.so.8.9.7", "8.9.7"),
        ("/usr/lib/libnvinfer.so.8 (deleted)", None),
    ]
    assert facts["packages"] == {}


def test_without_proc_nothing_is_known() -> None:
    assert mapped.facts(None) == {"libraries": None, "packages": None}
    assert mapped.facts("") == {"libraries": [], "packages": {}}


@given(st.text(alphabet="0123456789abcdef-/ rwxp.so\n\t", max_size=300))
def test_any_maps_give_json(text: str) -> None:
    json.dumps(mapped.facts(text), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("libcudart.so.11.8.89", "11.8.89"),
        ("libcuda.so.535.104.05", "535.104.05"),
        ("libcudnn.so.8", None),
        ("libcudnn.so", None),
        ("libnvinfer.so.8.6.1 (deleted)", "8.6.1"),
        ("state.cpython-311-x86_64-linux-gnu.so", None),
    ],
)
def test_a_file_name_tells_a_version_of_two_numbers_or_more(name: str, version: str) -> None:
    assert mapped.version(f"/lib/{name}") == version


def installed(folder: Path, name: str, version: str, *files: str) -> None:
    """Writes what an installer leaves: the files, METADATA and RECORD."""
    described = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    described.mkdir(parents=True)
    described.joinpath("METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    described.joinpath("RECORD").write_text("".join(f"{file},sha256=0,1\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"elf")


def test_a_wheels_library_has_the_version_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site packages"
    installed(site, "nvidia-cudnn-cu12", "9.1.0.70", "nvidia/cudnn/lib/libcudnn.so.9")
    installed(site, "other", "1", "other/native.so")
    installed(site, "idle", "2", "idle/never_mapped.so")
    real = site.resolve()
    link = tmp_path / "link"
    link.symlink_to(site)
    monkeypatch.setattr(sys, "path", [str(link)])
    maps = "".join(
        f"0-1 r-xp 0 0:0 1 {real / file}\n"
        for file in ("nvidia/cudnn/lib/libcudnn.so.9", "other/native.so")
    )
    facts = mapped.facts(maps)
    assert facts["packages"] == {"nvidia-cudnn-cu12": "9.1.0.70", "other": "1"}
    assert facts["libraries"] == [
        {
            "path": str(real / "nvidia/cudnn/lib/libcudnn.so.9"),
            "version": "9.1.0.70",
            "package": "nvidia-cudnn-cu12",
            "size_bytes": 3,
        }
    ]


def test_this_process_has_numpy_mapped() -> None:
    facts = mapped.facts(Path("/proc/self/maps").read_text())
    assert facts["packages"]["numpy"] == np.__version__


# The GPU


class Driver:
    """libcuda with one device; `failing` names the function that gives an error."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> int:
            if name == self.failing:
                return 100
            out = getattr(arguments[0], "_obj", arguments[0])
            match name, arguments[1:]:
                case "cuDeviceGetName", _:
                    arguments[0].value = b"NVIDIA H200"  # type: ignore[attr-defined]
                case "cuDeviceGetUuid", _:
                    arguments[0].raw = bytes(range(16))  # type: ignore[attr-defined]
                case "cuDeviceGetAttribute", (gpu.MAJOR, _):
                    out.value = 9  # type: ignore[attr-defined]
                case "cuDriverGetVersion", _:
                    out.value = 12040  # type: ignore[attr-defined]
            return 0

        return call


def test_without_a_mapped_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: str) -> None:
        message = "asking would start a GPU"
        raise AssertionError(message)

    monkeypatch.setattr(ctypes, "CDLL", never)
    assert gpu.facts(None) is None
    assert gpu.facts(["/usr/lib/libcudart.so.12"]) is None


def test_the_mapped_driver_tells_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver())
    assert gpu.facts(["/usr/lib/libcuda.so.550.54.15"]) == {
        "name": "NVIDIA H200",
        "uuid": "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f",
        "compute_capability": "9.0",
        "cuda_of_driver": "12.4",
    }


def test_a_driver_that_fails_or_is_gone_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver("cuDeviceGetName"))
    assert "cuDeviceGetName gave error 100" in gpu.facts(["/x/libcuda.so.1"])["problem"]
    monkeypatch.undo()
    assert "OSError" in gpu.facts(["/gone/libcuda.so.550.1 (deleted)"])["problem"]


def test_all_that_a_stated_folder_gave_is_told(tmp_path: Path) -> None:
    real, link = tmp_path / "plugins-1.2", tmp_path / "plugins"
    real.mkdir()
    link.symlink_to(real)
    plugin = real / "libupsample.so"
    plugin.write_bytes(b"12345")
    maps = f"7f00-7f01 r-xp 00000000 08:01 1    {plugin}\n"
    assert mapped.facts(maps)["libraries"] == []
    for folder in (real, link):
        told = mapped.facts(maps, ["", str(folder)])["libraries"]
        assert [(one["path"], one["size_bytes"]) for one in told] == [(str(plugin), 5)]
