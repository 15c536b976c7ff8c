"""Starts for tests of factors: what a job found inside, as the job writes it."""

from collections.abc import Mapping
from typing import Any

from tests.unit.new_records import new_start
from trt_matrix.core.records import Start


def library(path: str, version: str | None = None, package: str | None = None) -> dict[str, Any]:
    return {"path": path, "version": version, "package": package, "size_bytes": 1000}


def start(
    version: str = "1.32.0",
    *,
    environment: str = "",
    device: str = "cpu",
    engine: str = "onnxruntime",
    numpy: str = "2.4.6",
    python: str = "3.11.7",
    libraries: tuple[dict[str, Any], ...] = (),
    packages: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
    **probe: Any,
) -> Start:
    """A start in an environment of pip packages, unless `identity` says otherwise."""
    mapped = {"numpy": numpy, engine: version, **(packages or {})}
    return new_start(
        environment=environment or f"ort-{version}",
        device=device,
        identity={"kind": "venv", "requirements": [f"{engine}=={version}"]}
        if identity is None
        else identity,
        probe={
            "engine": {
                "name": engine,
                "version": version,
                "build": f"git-branch=HEAD, git-commit-id={version.replace('.', '')}ab, x",
                "options": {"threads": 2, "session_config": {"a.b": "1"}}
                if options is None
                else options,
            },
            "python": python,
            "implementation": "CPython",
            "processor": "EPYC",
            "machine": "x86_64",
            "processor_flags": ["avx2"],
            "usable_cores": 2,
            "libc": "glibc 2.36",
            "packages": {"numpy": numpy, engine: version, "sympy": "1.14.0", **(packages or {})},
            "mapped": {
                "packages": mapped,
                "libraries": [library("/e/numpy.libs/libopenblas.so", numpy, "numpy"), *libraries],
            },
            "gpu": None,
            "environment": {},
            **probe,
        },
        command=("python",),
    )
