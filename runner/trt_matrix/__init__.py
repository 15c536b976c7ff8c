"""Runs one INT8 experiment over many engine versions and says whose fault an error is.

`trt_matrix.load("results/latest")` gives a finished run as pandas frames.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trt_matrix.judging.loading import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Late, so that the command line does not wait for what it does not use.
    if name != "load":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from trt_matrix.judging.loading import load  # noqa: PLC0415

    return load
