"""Dependencies point one way: cli → session → execution, report → core; the job imports none of it."""

import ast
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

ALLOWED = {
    # part of runner → what of runner and job it may import
    "runner/core": {"runner.core", "runner.cells", "runner.records", "job.reductions"},
    "runner/report": {"runner.core", "runner.cells", "runner.report", "runner.errors", "job.protocol"},
    "runner/config": {"runner.config", "runner.catalog", "runner.cells", "runner.core", "runner.plan", "runner.records", "runner.dumps", "runner.errors", "job"},
    "runner/environments": {"runner.environments", "runner.catalog", "runner.cells", "runner.plan", "runner.core.hosts",
                            "runner.config", "runner.errors", "runner.records", "runner.dumps", "runner.unpacking",
                            "job.protocol"},
    "runner/dumps": {"runner.dumps", "runner.core", "runner.errors", "job"},
    "runner/compare": {"runner.compare", "runner.dumps", "runner.core", "runner.report.formatting", "runner.errors",
                       "job.reductions"},
    "runner/execution": {"runner.execution", "runner.environments.base", "runner.core",
                         "runner.cells", "runner.errors", "runner.plan", "runner.records", "runner.store", "job"},
    "runner/diagnosis": {"runner.diagnosis", "runner.cells", "runner.checks", "runner.commands.diagnose", "runner.core", "runner.errors", "runner.execution",
                         "runner.experiment", "runner.judging", "runner.labels", "runner.records", "runner.store", "job"},
    "containers/job": {"job"},
}  # fmt: skip


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def of(folder: str) -> list[Path]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, folder
    return paths


def within(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_part_imports_only_what_lies_below_it(folder: str) -> None:
    for path in of(folder):
        ours = {name for name in imports(path) if name.split(".")[0] in ("runner", "job")}
        wrong = {name for name in ours if not within(name, ALLOWED[folder])}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("folder", ["runner", "runner/core"])
def test_no_parts_import_each_other_in_a_circle(folder: str) -> None:
    depth = len(Path(folder).parts)
    needs: dict[str, set[str]] = {}
    for path in of(folder):
        part = path.relative_to(ROOT).with_suffix("").parts[depth]
        for name in imports(path):
            if (
                within(name, {folder.replace("/", ".")})
                and (other := name.split(".")[depth]) != part
            ):
                needs.setdefault(part, set()).add(other)
    assert len(needs) > 5
    TopologicalSorter(needs).prepare()  # raises CycleError


def test_the_core_does_no_input_or_output() -> None:
    for path in of("runner/core"):
        wrong = {name.split(".")[0] for name in imports(path)} & INPUT_AND_OUTPUT
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_only_environments_start_processes() -> None:
    for path in of("runner"):
        if "environments" not in path.parts:
            wrong = {name.split(".")[0] for name in imports(path)} & {"subprocess", "docker"}
            assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_nothing_imports_the_command_line() -> None:
    for path in of("runner"):
        if path.name not in ("__main__.py", "cli.py"):
            assert not {name for name in imports(path) if within(name, {"runner.cli"})}, path
