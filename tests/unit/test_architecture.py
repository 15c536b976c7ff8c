"""Dependencies point one way: cli → session → execution, report → core; the job imports none of it."""

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INPUT_AND_OUTPUT = {
    "asyncio", "docker", "http", "multiprocessing", "os", "pathlib", "shutil", "signal", "socket",
    "subprocess", "sys", "tempfile", "threading", "urllib", "uv", "yaml", "PIL", "pynvml", "rich",
    "typer", "jinja2", "pandas", "pyarrow", "onnxruntime", "tensorrt", "time",
}  # fmt: skip
"""Modules that read clocks, files, networks, processes or devices, or exist to do so."""

PACKAGE = ROOT / "runner/trt_matrix"
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", re.MULTILINE)


def allowed() -> dict[str, set[str]]:
    """Returns package → what of ours its modules may import, as docs/concepts/architecture.md says."""
    found = {}
    for package, named in ROW.findall((ROOT / "docs/concepts/architecture.md").read_text()):
        names = [] if named == "nothing of ours" else named.split(", ")
        found[package] = {full(one) for one in [package, *names]}
    return found


def full(name: str) -> str:
    return f"trt_matrix.{'containers.' if name.partition('.')[0] == 'job' else ''}{name}"


def folder(package: str) -> Path:
    return ROOT / "containers/job" if package == "job" else PACKAGE / package


ALLOWED = allowed()


@functools.cache
def imports(path: Path) -> set[str]:
    found = set()
    within_job = path.is_relative_to(ROOT / "containers/job")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or within_job, f"{path}: relative import"
            module = full("job") if node.level else node.module
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def of(place: Path) -> list[Path]:
    paths = sorted(place.rglob("*.py"))
    assert paths, place
    return paths


def within(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


def test_the_page_of_the_architecture_names_every_package_and_no_import_that_is_not() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(ALLOWED) == packages | {"job"}
    for package, names in ALLOWED.items():
        imported = set().union(*(imports(path) for path in of(folder(package))))
        unused = {one for one in names if not any(within(name, {one}) for name in imported)}
        assert unused <= {full(package), full("job")}, f"{package}: {sorted(unused)}"


@pytest.mark.parametrize("package", ALLOWED)
def test_a_part_imports_only_what_lies_below_it(package: str) -> None:
    for path in of(folder(package)):
        assert not {name for name in imports(path) if within(name, {"job"})} or package == "job", (
            path
        )
        ours = {name for name in imports(path) if within(name, {"trt_matrix"})}
        wrong = {name for name in ours if not within(name, ALLOWED[package])}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("above", ["trt_matrix", "trt_matrix.core"])
def test_no_parts_import_each_other_in_a_circle(above: str) -> None:
    depth = above.count(".") + 1
    place = ROOT / "runner" / above.replace(".", "/")
    needs: dict[str, set[str]] = {}
    for path in of(place):
        part = path.relative_to(place).with_suffix("").parts[0]
        for name in imports(path):
            if within(name, {above}) and (other := name.split(".")[depth]) != part:
                needs.setdefault(part, set()).add(other)
    assert len(needs) > 5
    TopologicalSorter(needs).prepare()  # raises CycleError


def test_the_core_does_no_input_or_output() -> None:
    for path in of(PACKAGE / "core"):
        wrong = {name.split(".")[0] for name in imports(path)} & INPUT_AND_OUTPUT
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_only_environments_start_processes() -> None:
    for path in of(PACKAGE):
        if "environments" not in path.parts:
            wrong = {name.split(".")[0] for name in imports(path)} & {"subprocess", "docker"}
            assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_trees_are_removed_in_one_place() -> None:
    """`shutil.rmtree` calls itself for every folder below another, and follows no limit."""
    for path in of(PACKAGE):
        assert "rmtree" not in path.read_text(), path


def test_nothing_imports_the_command_line() -> None:
    for path in of(PACKAGE):
        if path.name != "__main__.py" and "cli" not in path.parts:
            assert not {name for name in imports(path) if within(name, {"trt_matrix.cli"})}, path


def test_a_name_of_a_class_means_one_thing() -> None:
    """Two of one name are told apart by their imports alone, which nobody reads."""
    places: dict[str, list[str]] = {}
    for path in of(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(places) > 500
    assert {name: there for name, there in places.items() if len(there) > 1} == {}


LONGEST = 400
"""Lines of a file: what is longer holds more than one subject."""


def test_no_file_of_ours_is_too_long_to_be_one_subject() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "containers").rglob("*.py")]
    assert len(files) > 400
    long = {str(file): n for file in files if (n := file.read_text().count("\n")) > LONGEST}
    assert long == {}
