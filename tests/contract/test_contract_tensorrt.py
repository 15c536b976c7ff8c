"""The adapters against the real bindings of TensorRT: no name that a version lacks is used in it."""

import ast
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.contract.uses import VARIABLES, Use, uses
from trt_matrix.containers import job

ADAPTER = Path(job.__file__).parent / "engines" / "tensorrt"
SURFACES = Path(__file__).parents[1] / "data" / "tensorrt_surfaces" / "surfaces.json"
KNOWN: dict[str, Any] = json.loads(SURFACES.read_text(encoding="utf-8"))
VERSIONS: list[str] = KNOWN["versions"]

FROM_PYTHON = {("", "__version__")}
"""Of the package's own __init__.py, in every version."""
ONLY_WHERE = {  # what is chosen as a whole by one feature, in another place than its uses
    ("configuration.py", "configure_builder"): ("Builder", "create_builder_config", False),
    ("session.py", "Named"): ("ICudaEngine", "num_io_tensors", True),
    ("session.py", "Numbered"): ("ICudaEngine", "num_bindings", True),
}


def has(version: str, owner: str, name: str) -> bool:
    runs = KNOWN["classes"].get(owner, {}).get(name, ())
    index = VERSIONS.index(version)
    return any(VERSIONS.index(run[0]) <= index <= VERSIONS.index(run[1]) for run in runs)


def signature(version: str, owner: str, name: str) -> str:
    index = VERSIONS.index(version)
    for first, last, text in KNOWN["classes"][owner][name]:
        if VERSIONS.index(first) <= index <= VERSIONS.index(last):
            return text
    message = f"TensorRT {version} has no {owner}.{name}"
    raise AssertionError(message)


def lacking(found: list[Use], version: str) -> list[str]:
    """Returns the uses that a version reaches without having the name."""
    return [
        f"{use.where}: {use.owner or 'trt'}.{use.name}"
        for use in found
        if (use.owner, use.name) not in FROM_PYTHON
        and all(has(version, owner, name) is wanted for owner, name, wanted in use.conditions)
        and not has(version, use.owner, use.name)
    ]


FILES = [path for path in sorted(ADAPTER.glob("*.py")) if path.name != "rtx.py"]
"""What TensorRT-RTX alone has is held against its own bindings: tests/real."""
ALL = [use for path in FILES for use in uses(path)]


def test_the_walk_finds_the_uses() -> None:
    found = {(use.owner, use.name) for use in ALL}
    assert len(found) > 70
    assert {
        ("Builder", "build_serialized_network"),
        ("BuilderFlag", "TF32"),
        ("IBuilderConfig", "max_workspace_size"),
        ("ICudaEngine", "get_binding_name"),
        ("IExecutionContext", "execute_async_v3"),
        ("ITensor", "set_dynamic_range"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("OnnxParser", "get_error"),
        ("UffParser", "register_input"),
    } <= found


@pytest.mark.parametrize("version", VERSIONS)
def test_no_name_is_used_that_a_version_lacks(version: str) -> None:
    apart = {
        where
        for (file, name), (owner, feature, wanted) in ONLY_WHERE.items()
        if has(version, owner, feature) is not wanted
        for where in lines_of(file, name)
    }
    assert lacking([use for use in ALL if use.where not in apart], version) == []


def lines_of(file: str, name: str) -> set[str]:
    """Returns the lines of a class or function, as uses call them."""
    tree = ast.parse((ADAPTER / file).read_text(encoding="utf-8"))
    (found,) = (stmt for stmt in tree.body if getattr(stmt, "name", None) == name)
    return {f"{file}:{line}" for line in range(found.lineno, (found.end_lineno or 0) + 1)}


@pytest.mark.parametrize(
    ("source", "wrong_in"),
    [
        ("builder.build_engine(network, config)", "10.0.1"),
        ("config.set_flag(trt.BuilderFlag.FP16)", "11.0.0.114"),
        ("flags = trt.BuilderFlag\nflags.INT8", "11.4.0.106"),
        ("self._context.execute_async_v2([], 0)", "10.0.1"),
        ("if hasattr(config, 'max_workspace_size'):\n    config.int8_calibrator = 1", None),
        ("if hasattr(config, 'int8_calibrator'):\n    config.max_workspace_size = 1", "10.0.1"),
        ("if not hasattr(config, 'reset'):\n    raise X\nelse:\n    config.no_such", "8.4.1.5"),
        (
            "x = engine.num_bindings if hasattr(engine, 'num_bindings') else engine.num_io_tensors",
            None,
        ),
        ("x = engine.num_io_tensors if hasattr(engine, 'num_bindings') else 0", "8.4.1.5"),
        (
            "if not hasattr(tensor, 'dynamic_range'):\n    raise X\ntensor.set_dynamic_range(0, 1)",
            None,
        ),
        (
            "def f(layer):\n    try:\n        pass\n    finally:\n        layer.precision",
            "11.0.0.114",
        ),
        ("trt.IInt8MinMaxCalibrator", "11.0.0.114"),
        ("while True:\n    with a:\n        for x in y:\n            trt.nothing_of_it", "8.6.1"),
    ],
)
def test_a_wrong_use_is_found(tmp_path: Path, source: str, wrong_in: str | None) -> None:
    path = tmp_path / "adapter.py"
    path.write_text(textwrap.dedent(source) + "\n")
    found = [version for version in VERSIONS if lacking(uses(path), version)]
    assert (found[0] if found else None) == wrong_in or (wrong_in in found)
    assert bool(found) is (wrong_in is not None)


def calls() -> list[tuple[str, str, int, set[str], str]]:
    """Returns (class, method, positional arguments, keywords, where) of calls on TensorRT's objects."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=value, attr=name)):
                    match value:
                        case ast.Name(id=variable) | ast.Attribute(attr=variable):
                            owner = VARIABLES.get(variable.lstrip("_"))
                        case _:
                            owner = None
                    if owner:
                        keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
                        where = f"{path.name}:{node.lineno}"
                        found.append((owner, name, len(node.args), keywords, where))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_have_the_arguments_of_the_version(version: str) -> None:
    for owner, name, positional, keywords, where in calls():
        if not has(version, owner, name):
            continue
        overloads = signature(version, owner, name).split(" | (")
        assert any(fits(overload, positional, keywords) for overload in overloads), (
            where,
            overloads,
        )


def fits(text: str, positional: int, keywords: set[str]) -> bool:
    """Whether `(self: X, a: int, b: List[int] = None) -> bool` takes such a call."""
    inside = text.strip("(").rpartition(")")[0] if ")" in text else text
    depth, parts, part = 0, [], ""
    for letter in inside:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    parameters = [one.strip() for one in [*parts, part]][1:]
    names = [re.match(r"\w+", parameter).group(0) for parameter in parameters]  # type: ignore[union-attr]
    # pybind prints `batch_size: int = 1, bindings: List[int]`: both are needed by keyword there.
    needed = {name for name, one in zip(names, parameters, strict=True) if "=" not in one}
    given = set(names[:positional]) | keywords
    return positional <= len(names) and keywords <= set(names) and needed <= given


def test_fits_refuses_what_does_not() -> None:
    text = "(self: X, batch_size: int = 1, bindings: List[int], stream: int) -> bool"
    assert fits(text, 0, {"batch_size", "bindings", "stream"})
    assert fits(text, 3, set())
    assert not fits(text, 1, {"stream"})
    assert not fits(text, 4, set())
    assert not fits(text, 3, {"other"})


def test_callbacks_have_the_signatures_that_tensorrt_calls() -> None:
    tree = ast.parse((ADAPTER / "calibrators.py").read_text(encoding="utf-8"))
    (callbacks,) = (
        one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Callbacks"
    )
    ours = {one.name: one.args for one in callbacks.body if isinstance(one, ast.FunctionDef)}
    for version in (version for version in VERSIONS if has(version, "", "IInt8EntropyCalibrator2")):
        for kind in ("IInt8EntropyCalibrator", "IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator"):
            for name in (
                "get_batch",
                "get_batch_size",
                "read_calibration_cache",
                "write_calibration_cache",
            ):
                given = signature(version, kind, name).rpartition(") ->")[0].count(": ") - 1
                least = len(ours[name].args) - 1 - len(ours[name].defaults)
                assert least <= given <= len(ours[name].args) - 1, (version, kind, name)


def test_the_log_takes_the_severities_of_every_version() -> None:
    for version in VERSIONS:
        levels = {
            name: signature(version, "ILogger.Severity", name)
            for name in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
        }
        assert list(levels.values()) == ["0", "1", "2", "3", "4"], version


def test_surfaces_are_whole() -> None:
    assert len(VERSIONS) >= 23
    assert {
        "8.4.1.5",
        "8.5.3.1",
        "8.6.1",
        "10.0.1",
        "10.16.1.11",
        "11.0.0.114",
        "11.4.0.106",
    } <= set(VERSIONS)
    for owner, names in KNOWN["classes"].items():
        for name, runs in names.items():
            ends = [VERSIONS.index(end) for run in runs for end in run[:2]]
            assert ends == sorted(ends), (owner, name)
