"""The job must run in the Python 3.5 of the oldest images. A filter, not a proof: those images are."""

import ast
from pathlib import Path

import pytest

import job

ROOT = Path(job.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
THIRD_PARTY = {"numpy", "onnxruntime", "tensorrt"}
STANDARD_LIBRARY = {  # of Python 3.5; what the job uses or may well use
    "argparse",
    "ast",
    "base64",
    "collections",
    "concurrent",
    "contextlib",
    "copy",
    "ctypes",
    "difflib",
    "errno",
    "fnmatch",
    "functools",
    "gc",
    "glob",
    "hashlib",
    "importlib",
    "inspect",
    "io",
    "itertools",
    "json",
    "logging",
    "math",
    "operator",
    "os",
    "platform",
    "re",
    "shutil",
    "signal",
    "struct",
    "subprocess",
    "sys",
    "tarfile",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "types",
    "warnings",
}
TOO_NEW = {  # attribute or function → since
    "removeprefix": "3.9",
    "removesuffix": "3.9",
    "capture_output": "3.7",
    "time_ns": "3.7",
    "perf_counter_ns": "3.7",
    "nullcontext": "3.7",
    "prod": "3.8 in math",
}


def problems(source: str) -> list[str]:
    """Returns what Python 3.5 would not accept in `source`, and imports that are not allowed."""
    try:  # depends on the Python that runs this test, so the walk repeats most of it
        tree = ast.parse(source, feature_version=(3, 5))
    except SyntaxError as error:
        return [str(error)]
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr():
                found.append("f-string")
            case ast.AnnAssign():
                found.append("annotated variable")
            case ast.NamedExpr():
                found.append("walrus")
            case ast.AsyncFunctionDef():
                found.append("async")
            case ast.FunctionDef() | ast.Lambda():
                given = node.args
                if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs:
                    found.append("* in a def")
                every = [*given.args, *given.posonlyargs, *given.kwonlyargs]
                if any(arg.annotation for arg in every) or getattr(node, "returns", None):
                    found.append("annotation")
            case ast.Import():
                names = [name.name.split(".")[0] for name in node.names]
                found.extend(name for name in names if not allowed(name))
            case ast.ImportFrom() if node.level:
                pass
            case ast.ImportFrom() if not allowed((node.module or "").split(".")[0]):
                found.append(str(node.module))
            case ast.Attribute() if node.attr in TOO_NEW and not of_numpy(node):
                found.append(f"{node.attr} is of Python {TOO_NEW[node.attr]}")
            case ast.keyword() if node.arg in TOO_NEW:
                found.append(f"{node.arg} is of Python {TOO_NEW[node.arg]}")
    if any("_" in text and text[0].isdigit() for text in words(source)):
        found.append("underscore in a number")
    return found


def allowed(module: str) -> bool:
    """Not `job`: the host has the same files under another name."""
    return module in THIRD_PARTY | STANDARD_LIBRARY


def of_numpy(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "np"


def words(source: str) -> list[str]:
    import io
    import tokenize

    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.NUMBER]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_python_35(path: Path) -> None:
    # In a pack it lies beside the job, as run-pack.py.
    needed = {"job", "job.pack_results"} if path.name == "run_pack.py" else set()
    assert set(problems(path.read_text(encoding="utf-8"))) == needed


def test_the_walk_sees_every_file() -> None:
    seen = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert {"__main__.py", "protocol.py", "engines/onnxruntime.py"} <= seen


@pytest.mark.parametrize(
    "source",
    [
        "x = f'{1}'",
        "x: int = 1",
        "def f(x: int): pass",
        "def f(x) -> int: pass",
        "def f(*x): pass",
        "def f(**x): pass",
        "def f(*, x): pass",
        "x = 1_000",
        "import pandas",
        "from runner import plan",
        "from job import protocol",
        "from dataclasses import dataclass",
        "subprocess.run(x, capture_output=True)",
        "if (x := 1): pass",
        "def f(x, /): pass",
        "match x:\n case 1: pass",
    ],
)
def test_what_python_35_or_the_job_refuses_is_found(source: str) -> None:
    assert problems(source)


def test_protocol_and_probe_need_the_standard_library_only() -> None:
    for name in ("protocol.py", "probe.py", "stages.py", "__main__.py"):
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {
            module.split(".")[0]
            for node in top
            for module in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
                if node.level
                else [node.module or ""]
            )
        }
        assert modules <= STANDARD_LIBRARY, name
