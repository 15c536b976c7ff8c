"""Real engines for tests: made once, kept for later runs."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trt_matrix.config.venv import Venv
from trt_matrix.environments.venv import VenvEnvironment, default_cache
from trt_matrix.errors import EnvironmentUnavailableError

NO_NETWORK = re.compile(r"the package index cannot be reached|is not in the package cache")


def made(*versions: str) -> tuple[Path, ...]:
    """Returns the interpreter of each version of ONNX Runtime; skips the test where there is no network to get them by."""
    return tuple(
        interpreter({"venv": "onnxruntime", "versions": [version]})[1] for version in versions
    )


def interpreter(entry: Mapping[str, Any]) -> tuple[VenvEnvironment, Path]:
    """Returns the first environment of an entry of matrix.yaml, made, and its Python; skips as `made`."""
    venv = Venv.model_validate_json(json.dumps(entry))
    cache = default_cache(os.environ)
    environment = VenvEnvironment(
        name=venv.ids()[0],
        engine=venv.engine,
        requirements=venv.requirements(0),
        python=venv.python,
        cache=cache,
        wheel=venv.tensorrt(0, None),
    )
    try:
        identity = environment.prepare(offline=False)
    except EnvironmentUnavailableError as error:
        if NO_NETWORK.search(str(error)):
            pytest.skip(f"real engines are needed: {error}")
        raise
    return environment, cache / "environments" / identity.fingerprint[:32] / "bin" / "python"
