"""The versions that a cell's process really had, as a person reads them."""

import re
from collections.abc import Iterable, Mapping

from trt_matrix.core.factors.cell_factors import TITLES, Library, engine_name, factors, libraries
from trt_matrix.core.records import Start

LEADING = {"cuDNN": re.compile(r"libcudnn\."), "CUDA": re.compile(r"libcudart")}
"""Factor → the library whose version stands for all of it."""
SONAME = re.compile(r"\.so\.([0-9.]+)$")
WHOLE = ("driver", "GPU")
"""Factors that are shown as they are."""


def versions(start: Start) -> Mapping[str, str]:
    """Returns `TensorRT`, `cuDNN`, `CUDA`, `driver`, `GPU` → version; what was not there is absent."""
    values = factors(start).values
    name = engine_name(start)
    engine = values.get("engine", "").split(" ")
    found = {TITLES.get(name, name): engine[1]} if name and len(engine) > 1 else {}
    mapped = libraries(start)
    for factor, pattern in LEADING.items():
        if factor in values and (version := _version(mapped, pattern)):
            found[factor] = version
    return found | {factor: values[factor] for factor in WHOLE if factor in values}


def _version(mapped: Iterable[Library], pattern: re.Pattern[str]) -> str | None:
    """Returns the version of the first library of this name; the major that its name ends in, at least."""
    for library in mapped:
        if pattern.match(library.name):
            soname = SONAME.search(library.name)
            return library.version or (soname[1] if soname else None)
    return None
