"""A ticket of a real run: no secret in any byte of it, its jobs give the same again, elsewhere too."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.unit import tickets
from tests.unit.programs import ran
from tests.unit.secret_corpus import shapes
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record
from trt_matrix.environments.interpreter import InterpreterEnvironment
from trt_matrix.errors import ExitCode, NothingSelectedError, StoreError
from trt_matrix.store.objects import sha256_of
from trt_matrix.store.results import Store
from trt_matrix.ticket.again import environment_here, rerun
from trt_matrix.ticket.jobs import obstacle
from trt_matrix.ticket.making import MadeTicket, TicketWish, make
from trt_matrix.ticket.verifying import unpack, verify

CELL = "here/cpu/int8-shared-entropy"
JOB = "here@cpu@int8-shared-entropy"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tickets.run(tmp_path_factory.mktemp("tiny"))
    shutil.copytree(found, found.with_name("clean"), symlinks=True)
    tickets.plant(found)
    return found


@pytest.fixture(scope="module")
def made(results: Path, tmp_path_factory: pytest.TempPathFactory) -> MadeTicket:
    folder = tmp_path_factory.mktemp("ticket")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tickets.here(monkeypatch, folder)
        return make("latest", results, folder / "t.zip", TicketWish(hide=[tickets.HIDDEN]))


@pytest.fixture(scope="module")
def clean(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ticket of the same run before secrets were put in: its facts are those of this machine."""
    output = tmp_path_factory.mktemp("clean") / "t.zip"
    make("latest", results.with_name("clean"), output, TicketWish(images=3))
    return output


@pytest.fixture
def unpacked(clean: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(clean) as archive:
        archive.extractall(tmp_path)
    for script in (tmp_path / "ticket" / "cells").rglob("*.sh"):
        script.chmod(0o755)
    return tmp_path / "ticket"


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_no_planted_secret_is_in_any_byte(made: MadeTicket, results: Path, tmp_path: Path) -> None:
    stored = {str(path): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    planted = {leak.split(" in ")[0] for leak in tickets.leaks(stored, tmp_path)}
    assert len(planted) >= 13, "the canary sings"
    assert tickets.leaks(members(made.path), tmp_path) == []


def test_what_was_taken_out_is_listed_without_saying_it(made: MadeTicket) -> None:
    kinds = {out.kind for out in made.content.removed}
    assert {
        "user name", "host name", "home path", "token or password", "IP address", "UUID",
        "e-mail address", "environment variable", "asked for with --hide", "comment",
    } <= kinds  # fmt: skip
    assert all(out.count > 0 and out.file for out in made.content.removed)
    assert "×" in made.text()


def test_two_gpus_stay_two_and_versions_stay(made: MadeTicket) -> None:
    log = members(made.path)["ticket/run/logs/here/cpu/repeat-0.log"].decode()
    first, second = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    assert f"GPU-{first} and GPU-{second}" in log or f"GPU-{second} and GPU-{first}" in log
    assert "TensorRT 8.6.1.6, libnvinfer.so.8.6.1.6" in log
    assert "535.104.05" in log


def test_what_is_left_is_still_a_run(made: MadeTicket) -> None:
    files = members(made.path)
    manifest = Manifest.model_validate_json(files["ticket/run/manifest.json"])
    for cell in manifest.cells:
        name = cell.replace("/", "@")
        assert Record.model_validate_json(files[f"ticket/run/records/{name}.json"]).cell == cell
    matrix = yaml.safe_load(files["ticket/run/matrix.yaml"])
    assert matrix["environments"][0]["env"] == {"LICENCE": "variable-1"}
    assert matrix["heads"]["small"] == {"stride": 2, "gate": {"sqnr_db": 10}}
    page = files["ticket/report.html"].decode()
    assert page.lower().startswith("<!doctype html>")
    assert "user-1" in page
    assert "### The ticket" in files["ticket/summary.md"].decode()


def test_the_same_run_gives_the_same_bytes(
    made: MadeTicket, results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tickets.here(monkeypatch, tmp_path)
    again = make("latest", results, tmp_path / "t.zip", TicketWish(hide=[tickets.HIDDEN]))
    assert again.sha256 == made.sha256


def test_a_secret_that_slipped_through_stops_the_ticket(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A word that the program of the ticket itself must say.
    wish = TicketWish(hide=["schema_vers"])
    with pytest.raises(StoreError, match="would still hold a secret .asked for with --hide"):
        make("latest", results, tmp_path / "t.zip", wish)
    assert not (tmp_path / "t.zip").exists()


def test_cells_are_chosen_and_the_report_stays_whole(results: Path, tmp_path: Path) -> None:
    ticket = make("latest", results, tmp_path / "t.zip", TicketWish(cells=["here/*/fp32"]))
    assert [cell.cell for cell in ticket.content.cells if cell.reproduce] == ["here/cpu/fp32"]
    whys = {cell.why_not for cell in ticket.content.cells if not cell.reproduce}
    assert "not asked for with --cell" in whys
    with pytest.raises(NothingSelectedError, match="no cell matches gpux"):
        make("latest", results, tmp_path / "t.zip", TicketWish(cells=["gpux"]))


def test_a_run_of_before_requests_were_kept_has_no_jobs(results: Path, tmp_path: Path) -> None:
    old = tmp_path / "results"
    shutil.copytree(results, old, symlinks=True)
    path = old / "latest" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"asked": None}))
    ticket = make("latest", old, tmp_path / "t.zip", TicketWish())
    assert not [cell for cell in ticket.content.cells if cell.reproduce]
    assert "run it again, then make the ticket" in ticket.text()
    assert verify(ticket.path).content == ticket.content


# Run again: by the script alone, and by verify


def script(unpacked: Path, *arguments: str, code: int, **variables: str) -> str:
    done = ran(
        unpacked / "cells" / JOB / "reproduce.sh",
        *arguments,
        code=None,
        env={"PATH": os.environ["PATH"], "HOME": str(unpacked.parent / "no-home"), **variables},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_script_needs_nothing_but_a_python(unpacked: Path) -> None:
    said = script(unpacked, PYTHON=sys.executable, code=0)
    assert "same: every head's error is that of the ticket" in said
    # Another engine's numbers: as if the ticket had been made of a worse one.
    expected = unpacked / "reproduce" / "expected.json"
    content = json.loads(expected.read_text())
    content[JOB]["heads"]["small"]["nmse"] = [0.5, 0.5]
    expected.write_text(json.dumps(content))
    pack = unpacked / "reproduce" / "pack.json"
    assert "damaged" in script(unpacked, PYTHON=sys.executable, code=2)
    sealed = json.loads(pack.read_text())
    sealed["files"]["expected.json"] = sha256_of(expected)
    pack.write_text(json.dumps(sealed))
    said = script(unpacked, PYTHON=sys.executable, code=1)
    assert "different: the error of small is another, beyond the noise" in said


def test_its_script_says_how_it_is_used(unpacked: Path) -> None:
    assert "--docker [IMAGE]" in script(unpacked, "--help", code=2)
    assert "what was installed is not known" in script(unpacked, "--venv", code=2)
    assert "name an image" in script(unpacked, "--docker", code=2)


def local(_matrix: Path, name: str) -> InterpreterEnvironment:
    return InterpreterEnvironment(name=name, engine="onnxruntime", python=Path(sys.executable))


def test_verify_runs_a_cell_again(clean: Path) -> None:
    done = rerun(clean, CELL, offline=True, environment_of=local)
    assert (done.word, done.exit_code()) == ("same", ExitCode.OK)
    assert any(line.startswith("small") for line in done.table)
    with pytest.raises(NothingSelectedError, match="those that can be run again: here/cpu/fp32"):
        rerun(clean, "here/cpu/int7", offline=True, environment_of=local)


def test_another_place_cannot_be_judged(made: MadeTicket, clean: Path) -> None:
    done = rerun(clean, CELL, offline=True)
    assert done.word == "cannot judge"
    assert "reproduce.sh with a Python of yours" in done.reason
    never = next(cell.cell for cell in made.content.cells if cell.cell.startswith("inside"))
    assert "nothing was started" in rerun(made.path, never, offline=True).reason


def test_an_interpreter_of_a_ticket_is_never_started(clean: Path, tmp_path: Path) -> None:
    unpack(clean, tmp_path / "x")
    assert isinstance(environment_here(tmp_path / "x" / "run" / "matrix.yaml", "here"), str)
    scripts = list((tmp_path / "x").rglob("*.sh"))
    assert scripts
    assert not any(path.stat().st_mode & 0o111 for path in scripts)


def test_plugins_that_are_missing_stop_tensorrt_alone(results: Path) -> None:
    run = Store(results).open_run("latest")
    asked = run.manifest().asked
    record = run.records()[0]
    assert asked
    tensorrt = asked.model_copy(update={"engines": {record.environment: "tensorrt"}})
    assert obstacle(tensorrt, record) is None
    assert obstacle(tensorrt, record, "left out") == "left out"
    assert obstacle(asked, record, "left out") is None


def test_a_corpus_in_logs_reasons_and_tables_is_in_no_byte_of_the_ticket(
    results: Path, tmp_path: Path
) -> None:
    """Records of before a probe's form was checked, and JSON inside of texts, are among them."""
    mine = tmp_path / "results"
    shutil.copytree(results, mine, symlinks=True)
    newest = mine / "latest"
    planted: list[str] = []
    lines: list[str] = []
    for _, text, secrets in shapes(3):
        lines.append(f"\x1b[31m{text}\x1b[0m")
        planted += [secret for secret in secrets if len(secret) >= 8]
    for path in (newest / "logs").rglob("*.log"):
        path.write_text("\n".join(lines))
    for path in (newest / "tables").glob("*.json"):
        table = json.loads(path.read_text())
        table["note"] = {"told": [json.dumps({"said": line}) for line in lines]}
        path.write_text(json.dumps(table))
    for path in (newest / "records").rglob("*.json"):
        record = json.loads(path.read_text())
        for measurement in record["measurements"]:
            measurement["start"]["probe"]["engine"] = "text"
            measurement["start"]["probe"]["packages"] = ["numpy"]
        record["reason"] = " ".join(lines)
        path.write_text(json.dumps(record))
    ticket = make("latest", mine, tmp_path / "t.zip", TicketWish())
    files = members(ticket.path)
    assert len(planted) > 150
    content = b"\n".join(
        file for name, file in files.items() if not name.endswith((".npy", ".onnx", ".py"))
    ).lower()
    assert [one for one in planted if one.lower().encode() in content] == []
    assert verify(ticket.path).content == ticket.content
