"""What every test rests on."""

import ast
import functools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

HERE = Path(__file__).parent
ONE_PROCESS = ("docker",)
"""Folders of tests that share what only one process can make: base images."""
PURE = {"core", "report"}
"""Packages that compute only: what tests them alone needs no engine, process or store."""
RECORDED = HERE / "unit" / "h200.py"
"""Reads runs that a GPU made, and judges them: of what tests import by it nothing is asked."""

# `make test &` from a script starts us with Ctrl-C ignored, nohup with a closed terminal ignored, and a
# child keeps what is ignored: the tests that end a run so would wait for ever.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# A busy machine is no fault of what is tested: no example has a deadline, none is called too slow to make.
settings.register_profile(
    "here",
    settings.get_profile("ci" if os.environ.get("CI") else "default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("here")
# With CI each example is the same every time; `make test` elsewhere draws three times as many anew.
if os.environ.get("CI"):
    settings.register_profile("brief", settings.get_profile("here"), max_examples=30)
    settings.load_profile("brief")


class OneProcessAFile(LoadFileScheduling):
    """Tests of a file, or of a folder of ONE_PROCESS, share what they are run on, so that one process runs them.

    pytest-xdist 3.8 has groups for that, which pytest 9.2 does not hand on.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((folder for folder in ONE_PROCESS if f"/{folder}/" in file), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneProcessAFile:
    return OneProcessAFile(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    path = item.path.relative_to(HERE)
    if path.parts[0] == "unit" and packages(item.path) <= PURE:
        item.add_marker(pytest.mark.pure)


@functools.cache
def packages(path: Path) -> frozenset[str]:
    """Returns which packages of ours a test file imports, by itself or through other modules of tests."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{node.module}.{alias.name}" for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        ):
            first, *rest = name.split(".")
            if first == "trt_matrix":
                imported.add(
                    "job" if rest[:1] == ["containers"] else rest[0] if rest else "the package"
                )
            elif first == "subprocess":
                imported.add(first)
            elif first == "tests":
                helper = HERE.joinpath(*rest[:2]).with_suffix(".py")
                imported |= packages(helper) if helper not in (path, RECORDED) else frozenset()
    return frozenset(imported)
