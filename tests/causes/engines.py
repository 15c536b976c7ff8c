"""Real versions of ONNX Runtime for tests: made once, kept for later runs."""

import os
import re
from pathlib import Path

import pytest

from runner.environments.venv import VenvEnvironment, default_cache
from runner.errors import EnvironmentUnavailableError

NO_NETWORK = re.compile(r"the package index cannot be reached|is not in the package cache")


def made(*versions: str) -> tuple[Path, ...]:
    """Returns the interpreter of each version; skips the test where there is no network to get them by."""
    cache = default_cache(os.environ)
    found = []
    for version in versions:
        environment = VenvEnvironment(
            name=f"ort-{version}",
            engine="onnxruntime",
            requirements=[f"onnxruntime=={version}"],
            python=None,
            cache=cache,
        )
        try:
            identity = environment.prepare(offline=False)
        except EnvironmentUnavailableError as error:
            if NO_NETWORK.search(str(error)):
                pytest.skip(f"real engines are needed: {error}")
            raise
        found.append(cache / "environments" / identity.fingerprint[:32] / "bin" / "python")
    return tuple(found)
