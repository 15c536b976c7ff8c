"""Folders that a hostile job writes into: links that change places, pipes, trees without a bottom."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trt_matrix.store import untrusted
from trt_matrix.store.untrusted import UntrustedError, content, copy, extent, remove

LIMIT = 1 << 20


def deep(folder: Path, levels: int) -> None:
    """Makes folders below each other, deeper than any path can name."""
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


@pytest.mark.parametrize("levels", [1, 3000, 20_000])
def test_a_tree_of_any_depth_is_removed(tmp_path: Path, levels: int) -> None:
    deep(tmp_path / "tree", levels)
    remove(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_a_wide_tree_of_every_sort_is_removed_and_nothing_beside_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    tree = tmp_path / "tree"
    for name in ("a/b/c", "a/.x", "b", "-rf"):
        (tree / name).mkdir(parents=True)
        (tree / name / "file").write_text("x")
    (tree / "a/link").symlink_to(kept)
    (tree / "link").symlink_to("/")
    os.mkfifo(tree / "a/pipe")
    for name in ("a/b/c", "a/b", "b"):
        (tree / name).chmod(0)
    remove(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "kept"


def test_what_is_not_there_or_is_a_link_needs_no_removal(tmp_path: Path) -> None:
    remove(tmp_path / "none")
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    remove(tmp_path / "link")
    assert (tmp_path / "target").is_dir()


@pytest.mark.parametrize("name", ["link", "folder/link", "up/secret", "pipe", "folder", "null"])
def test_only_plain_files_below_are_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "results"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("of the host")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder/link").symlink_to("../../secret")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe")
    with contextlib.suppress(PermissionError):
        os.mknod(folder / "null", 0o600 | 0o020000, os.makedev(1, 3))
    with pytest.raises((UntrustedError, FileNotFoundError)):
        content(folder, name, LIMIT)
    with pytest.raises((UntrustedError, FileNotFoundError)):
        copy(folder, name, tmp_path / "copied", LIMIT)


@pytest.mark.parametrize("name", ["n" * 5000, "a\0b", "\udcff" * 300, ".", ".."])
def test_no_name_is_fatal(tmp_path: Path, name: str) -> None:
    with pytest.raises((UntrustedError, FileNotFoundError)):
        content(tmp_path, name, LIMIT)


def test_a_file_of_holes_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(200 << 30)
    with pytest.raises(UntrustedError, match=r"has 214\.7 GB, more than 1\.0 MB"):
        copy(tmp_path, "large", tmp_path / "copied", LIMIT)
    assert not (tmp_path / "copied").exists()


@pytest.fixture
def swapping(tmp_path: Path) -> Iterator[Path]:
    """A results folder whose file and whose folder change places with links into the host's."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "h2.npy").write_bytes(b"host's")
    (host / "h2.npy").chmod(0o600)
    results = tmp_path / "results"
    (results / "pass").mkdir(parents=True)
    (results / "pass/h2.npy").write_bytes(b"job's")
    (results / "link").symlink_to(host / "h2.npy")
    (results / "other").symlink_to(host)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for one, other in (("link", "pass/h2.npy"), ("other", "pass")):
                for _ in range(2):  # there and back
                    exchange(results, one, other)

    thread = threading.Thread(target=swap)
    thread.start()
    yield results
    stop.set()
    thread.join()


def exchange(folder: Path, one: str, other: str) -> None:
    with contextlib.suppress(OSError):
        (folder / one).rename(folder / "spare")
        (folder / other).rename(folder / one)
        (folder / "spare").rename(folder / other)


def test_a_file_that_is_swapped_for_a_link_is_never_the_hosts(
    tmp_path: Path, swapping: Path
) -> None:
    taken = 0
    for number in range(3000):
        target = tmp_path / f"copy-{number}"
        with contextlib.suppress(UntrustedError, FileNotFoundError):
            copy(swapping, "pass/h2.npy", target, LIMIT)
            assert target.read_bytes() == b"job's"
            taken += 1
        target.unlink(missing_ok=True)
    assert taken, "the job's own file was never there to be taken"
    assert (tmp_path / "host/h2.npy").stat().st_mode & 0o777 == 0o600


def test_a_copy_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "job").write_bytes(b"x" * 3_000_000)
    copy(tmp_path, "job", tmp_path / "ours", 4 << 20)
    with (tmp_path / "job").open("r+b") as stream:
        stream.write(b"changed")
    assert (tmp_path / "ours").read_bytes() == b"x" * 3_000_000


def test_the_extent_is_of_blocks_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep(tmp_path / "tree", 2000)
    assert extent(tmp_path / "tree").deep
    wide = tmp_path / "wide"
    wide.mkdir()
    (wide / "large").write_bytes(b"x" * 1_000_000)
    with (wide / "holes").open("wb") as stream:
        stream.truncate(1 << 40)
    assert 1_000_000 <= extent(wide).size_bytes < 1_100_000
    assert not extent(wide).deep
    assert extent(tmp_path / "none").files == 0
    monkeypatch.setattr(untrusted, "MOST_FILES", 1)
    assert extent(wide).files == 2
    remove(tmp_path / "tree")
