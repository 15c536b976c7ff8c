"""What an answer belongs to: the question, whoever asked it and in which company."""

from collections.abc import Mapping
from typing import Any

from trt_matrix.core.records import digest

SHARED = ("schema_version", "engine", "engine_options", "input", "heads", "evaluation", "timing")
"""Keys of a request that decide the answer of each of its passes."""


def pass_key(request: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """Returns the key of one of a request's passes; files are named by content, so it covers them."""
    question = {name: value for name, value in one.items() if name != "compare_with"}
    shared = {name: request.get(name) for name in SHARED}
    shared |= {name: request[name] for name in ("batch", "plugins") if request.get(name)}
    return digest({"pass": question, "repeat": request.get("repeat"), **shared})


def calibration_key(request: Mapping[str, Any]) -> str:
    shared = {name: request.get(name) for name in SHARED if name != "timing"}
    shared |= {"batch": request["batch"]} if request.get("batch") else {}
    return digest({"calibration": request["calibration"], **shared})
