"""Tickets from somebody else: what is harmful, damaged or changed is refused, and said."""

import contextlib
import hashlib
import json
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from trt_matrix.cli import app
from trt_matrix.errors import StoreError
from trt_matrix.store.unpacking import is_plain
from trt_matrix.ticket import archive
from trt_matrix.ticket.content import NAME, TicketContent
from trt_matrix.ticket.verifying import unpack, verify

FILES = {"a.txt": b"one", "run/b.json": b"{}" * 500, "cells/x/reproduce.sh": b"#!/bin/sh\n"}


def content_of(files: Mapping[str, bytes]) -> bytes:
    stated = {
        name: {"sha256": hashlib.sha256(file).hexdigest(), "size_bytes": len(file)}
        for name, file in files.items()
    }
    content = TicketContent.model_validate(
        {
            "tool": "0", "run": "r", "images": 1, "of_images": 1, "same_job": True, "cells": [],
            "stand_in": None, "removed": [], "kept": [], "files": stated,
        }
    )  # fmt: skip
    return content.model_dump_json().encode()


def ticket(path: Path, files: Mapping[str, bytes] = FILES, **more: bytes) -> Path:
    """Writes a ticket that states `files`, and holds `more` or other contents beside."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, content in {**files, NAME: content_of(files), **more}.items():
            zip_file.writestr(f"ticket/{name}", content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.zip"


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as refused:
        verify(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_whole_ticket_is_told_and_unpacked(path: Path, tmp_path: Path) -> None:
    verified = verify(ticket(path))
    assert "whole, 3 files" in verified.text()
    assert verified.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    unpack(path, tmp_path / "x")
    for name, content in FILES.items():
        assert (tmp_path / "x" / name).read_bytes() == content
        assert not (tmp_path / "x" / name).stat().st_mode & 0o111


def test_files_that_are_missing_added_or_changed(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as zip_file:
        zip_file.writestr(f"ticket/{NAME}", content_of(FILES))
        zip_file.writestr("ticket/a.txt", "two")
        zip_file.writestr("ticket/run/b.json", FILES["run/b.json"])
        zip_file.writestr("ticket/evil.sh", "x")
    said = refusal(path)
    assert "'a.txt' was changed" in said
    assert "'cells/x/reproduce.sh' is missing" in said
    assert "'evil.sh' was added" in said
    assert "run/b.json" not in said


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "ticket/../../evil", "/etc/passwd", "ticket//x", "ticket/./x", "C:/x",
        "ticket\\..\\x", "ticket/a\nb", "other/x", "ticket/\u202ex", "ticket", "",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere(path: Path, name: str) -> None:
    ticket(path)
    with zipfile.ZipFile(path, "a") as zip_file:
        zip_file.writestr(zipfile.ZipInfo(name), "x")
    assert "is no file below ticket/" in refusal(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_links_devices_and_folders(path: Path, kind: int) -> None:
    ticket(path)
    info = zipfile.ZipInfo("ticket/link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as zip_file:
        zip_file.writestr(info, "/etc/passwd")
    assert "is no plain file" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("name", "said"), [("a.txt", "there twice"), ("A.TXT", "where case")])
def test_two_of_one_name(path: Path, name: str, said: str) -> None:
    ticket(path)
    with zipfile.ZipFile(path, "a") as zip_file:
        zip_file.writestr(f"ticket/{name}", "x")
    assert said in refusal(path)


def test_bombs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGE_BYTES", 1 << 20)
    ticket(path, FILES, bomb=b"\0" * (8 << 20))
    assert "no ticket is so empty" in refusal(path)
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 20)
    assert "no ticket is so large" in refusal(path)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    assert "no ticket has so many" in refusal(path)


def test_a_member_that_is_longer_than_it_says(path: Path) -> None:
    ticket(path)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"ticket/run/b.json") - 46  # of the central directory
    assert raw[at : at + 4] == b"PK\x01\x02"
    raw[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path.write_bytes(bytes(raw))
    assert "run/b.json" in refusal(path)


def test_encrypted_and_foreign_packing(path: Path) -> None:
    ticket(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as zip_file:
        zip_file.writestr("ticket/x", b"x" * 1000)
    assert "in a way that tickets are not" in refusal(path)
    ticket(path)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"ticket/a.txt") - 46
    raw[at + 8] |= 1
    path.write_bytes(bytes(raw))
    assert "is encrypted" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff", b'{"schema_version": 2}'])
def test_a_damaged_manifest(path: Path, content: bytes) -> None:
    assert "is damaged, or of another version" in refusal(ticket(path, FILES, **{NAME: content}))


def test_what_is_no_ticket(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and nothing")
    assert "is no zip file" in refusal(path)
    with zipfile.ZipFile(path, "w") as zip_file:
        zip_file.writestr("ticket/x", "x")
    assert "it is no ticket" in refusal(path)
    path.unlink()
    assert "No such file" in refusal(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_goes_unseen(path: Path, data: st.DataObject) -> None:
    """A byte of a zip's own book-keeping, such as a date, may change; no content may."""
    raw = bytearray(ticket(path).read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw))
    try:
        verify(path)
    except StoreError:
        return
    with zipfile.ZipFile(path) as opened:
        assert {name: opened.read(f"ticket/{name}") for name in FILES} == FILES


def test_every_byte_may_be_damaged(path: Path) -> None:
    """One in 250 damages moves an offset before the start of the file, which the system refuses."""
    raw = ticket(path).read_bytes()
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 0x81
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(StoreError):
            verify(path)


@given(st.text(max_size=40))
def test_plain_names_stay_below(name: str) -> None:
    if is_plain(name):
        base = Path("/base")
        assert (base / name).resolve().is_relative_to(base)
        assert str(base / name) == f"/base/{name}"


def test_written_zips_are_the_same_each_time_and_whole(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "cells/x/reproduce.sh").chmod(0o755)
    for name in ("1.zip", "2.zip"):
        archive.write(root, tmp_path / name)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as zip_file:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in zip_file.infolist()}
    assert modes["ticket/cells/x/reproduce.sh"] == 0o755
    assert modes["ticket/a.txt"] == 0o644
    with pytest.raises(StoreError, match="no/such"):
        archive.write(root, tmp_path / "no/such/t.zip")


def test_the_command_line_says_it(path: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(ticket(path))])
    assert done.exit_code == 0
    assert "whole, 3 files" in done.output
    path.write_bytes(json.dumps({}).encode())
    assert isinstance(CliRunner().invoke(app, ["verify", str(path)]).exception, StoreError)
