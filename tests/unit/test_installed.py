"""The wheel, in a Python that holds it and its dependencies alone, away from the checkout."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import uv
import yaml

from tests.unit.experiments import changed, write
from tests.unit.programs import ran
from trt_matrix.environments.machine import program

ROOT = Path(__file__).parents[2]
UV = [uv.find_uv_bin(), "--quiet", "--no-progress", "--color", "never"]


def uv_says(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs uv by what it has cached, or, where that is not enough, with the network."""
    for offline in (["--offline"], []):
        command = [*UV, *offline, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if not done.returncode:
            break
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # Without isolation: the builder that is locked, and no network.
    done = uv_says(
        "build",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        out,
        ROOT,
    )
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.whl")
    return path


class Place:
    """A Python with the wheel, and a folder without a checkout."""

    def __init__(self, scripts: Path, folder: Path) -> None:
        self.scripts = scripts
        self.folder = folder

    def run(
        self, *command: str | Path, told: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return ran(
            self.scripts / command[0],
            *command[1:],
            code=None,
            cwd=self.folder,
            input=told,
            env={"HOME": str(self.folder), "PATH": os.defpath, "COLUMNS": "200", **variables},
        )

    def says(self, *arguments: str | Path, code: int = 0, **variables: str) -> str:
        done = self.run("trt-matrix", *arguments, **variables)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def installed(wheel: Path, python: str, folder: Path) -> Place:
    """Makes a Python that holds the wheel and what is locked, and foreign modules named as our folders.

    Skips where there is no such Python, or another one lacks packages.
    """
    venv, own = folder / "venv", python == sys.executable
    for step in (
        ("venv", "--no-python-downloads", "--python", python, venv),
        ("pip", "install", "--no-deps", "--python", venv, "--require-hashes", "-r", "requirements.lock"),
        ("pip", "install", "--no-deps", "--python", venv, wheel),
        ("pip", "check", "--python", venv),
    ):  # fmt: skip
        done = uv_says(*step)
        if done.returncode and not own and step[:2] != ("pip", "check"):
            pytest.skip(f"no Python {python} here, or no packages for it: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
    [packages] = venv.glob("lib/python*/site-packages")
    for name in ("job.py", "containers.py", "runner.py"):
        (packages / name).write_text('raise ImportError("of somebody else")\n')
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Place(venv / "bin", elsewhere)


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return installed(wheel, sys.executable, tmp_path_factory.mktemp("bare"))


def test_the_wheel_holds_every_file_of_the_package_and_of_containers_and_no_other_name(
    wheel: Path,
) -> None:
    """Git says what they are; nobody has to list packages or data."""
    listed = ran("git", "ls-files", "runner/trt_matrix", "containers", code=None, cwd=ROOT)
    if listed.returncode:
        pytest.skip("no checkout of git")
    wanted = {
        name.removeprefix("runner/") if name.startswith("runner/") else f"trt_matrix/{name}"
        for name in listed.stdout.split()
        if (ROOT / name).is_file()
    }  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        said = email.message_from_bytes(archive.read(metadata))
    assert wanted <= names
    assert {name.partition("/")[0] for name in names} == {"trt_matrix"}, "no name that others have"
    assert {name for name in names - wanted if "__pycache__" in name} == set()
    assert said["License-Expression"] == "Apache-2.0"


def test_version_and_completion(place: Place) -> None:
    [line] = place.says("--version").splitlines()
    assert re.fullmatch(r"trt-matrix \d+\.\d+\.\d+", line)
    words = place.says(
        _TRT_MATRIX_COMPLETE="complete_bash", COMP_WORDS="trt-matrix di", COMP_CWORD="1"
    )
    assert words.split() == ["diagnose", "diff"]


Driven = tuple[dict[str, Any], dict[str, tuple[int, str]]]

COMMANDS = {
    "--help": 0,
    "judge": 5,
    "init tiny.onnx -o own.yaml": 0,
    "plan matrix.yaml": 0,
    "run matrix.yaml --offline": 0,
    "plan": 0,
    "judge latest": 0,
    "report": 0,
    "diff latest latest": 0,
    "ticket": 0,
    "verify ticket.zip": 0,
    "migrate h200.cache -m digits3.onnx -o qdq.onnx": 0,
    "compare a.raw b.raw --shape 1,2,2,2": 0,
    "catalog --for-gpu T4 --driver 535": 0,
    "doctor matrix.yaml": 0,
    "schema": 0,
    "gc --keep 5": 0,
}
"""In this order → the exit code. `diagnose` and `check` take longer than all of these."""

DRIVER = """
import contextlib, io, json, sys
import trt_matrix
from trt_matrix.cli import main
from trt_matrix.environments.local import JOB_HOME
from trt_matrix.planning.experiment import program
said = []
for line in json.load(sys.stdin):
    sys.argv = ["trt-matrix", *line.split()]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main()
        except SystemExit as end:
            said.append([end.code, out.getvalue()])
facts = {"file": trt_matrix.__file__, "beside": [x.name for x in JOB_HOME.iterdir()], "program": program()}
json.dump([facts, said], sys.stdout)
"""
"""One process for all: each would compile and import everything once more."""


def drive(place: Place) -> Driven:
    """Facts of the installed package, and what each command said where the environment is this very venv, found by its path as any other."""
    matrix = write(place.folder)
    settings = changed(
        environments=[{"interpreter": str(place.scripts / "python"), "name": "here"}],
        baseline="here",
        devices=["cpu"],
        precisions=["fp32"],
        repeats=1,
        timing={"max_samples": 20, "max_s": 0.05, "warm_up_max_s": 0.02},
    )
    matrix.write_text(yaml.safe_dump(settings))
    shutil.copy(
        ROOT / "tests/data/tensorrt_layers/trt-8.5.3.1-entropy2.cache", place.folder / "h200.cache"
    )
    shutil.copy(ROOT / "demo/digits3.onnx", place.folder)
    for name in ("a.raw", "b.raw"):
        (place.folder / name).write_bytes(bytes(4 * 8))
    done = place.run("python", "-c", DRIVER, told=json.dumps(list(COMMANDS)))
    assert done.returncode == 0, done.stderr
    facts, said = json.loads(done.stdout)
    return facts, dict(zip(COMMANDS, map(tuple, said), strict=True))


@pytest.fixture(scope="module")
def driven(place: Place) -> Driven:
    return drive(place)


def test_the_job_is_the_same_and_lies_apart_from_our_own_packages(driven: Driven) -> None:
    """It goes on the path of foreign Pythons: beside it, ours would be measured in place of theirs."""
    facts, _ = driven
    assert str(ROOT) not in facts["file"]
    assert set(facts["beside"]) == {"Dockerfile.packages", "catalog.yaml", "job"}
    assert facts["program"] == program(), "another program would measure everything again"


def test_the_commands_of_the_readme_run(driven: Driven) -> None:
    _, said = driven
    assert {line: code for line, (code, _) in said.items()} == COMMANDS, said


def test_they_say_what_they_should(driven: Driven, place: Place) -> None:
    _, said = driven
    texts = {line: text for line, (_, text) in said.items()}
    commands = set(re.findall(r"trt-matrix (\w+)", (ROOT / "README.md").read_text()))
    assert len(commands) > 10
    for command in commands:
        assert re.search(rf"│ {command} ", texts["--help"]), command
    assert "go to where `trt-matrix run` ran" in texts["judge"]
    assert "wrote own.yaml" in texts["init tiny.onnx -o own.yaml"]
    assert "1 cell, 1 can run here: 1 measurement" in texts["plan matrix.yaml"]
    assert "0 measurements to make" in texts["plan"]
    assert "1 of 1 cells can be run again" in texts["ticket"]
    assert "1 of 1 can run here" in texts["doctor matrix.yaml"]
    assert "containers run on T4" in texts["catalog --for-gpu T4 --driver 535"]
    assert json.loads(texts["schema"])["title"] == "matrix.yaml"
    page = (place.folder / "results/latest/report.html").read_text()
    assert "<style" in page
    assert "{{" not in page


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_other_pythons(wheel: Path, tmp_path: Path, python: str) -> None:
    _, said = drive(installed(wheel, python, tmp_path))
    assert {line: code for line, (code, _) in said.items()} == COMMANDS, said
