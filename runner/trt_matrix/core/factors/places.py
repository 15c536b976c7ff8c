"""An environment where a job found it, and how an entry of matrix.yaml is written."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.factors.cell_factors import Factors, Library, factors, libraries
from trt_matrix.core.records import Start

PLAIN = re.compile(r"[A-Za-z][A-Za-z_-]*")
WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
"""Plain, YAML would read them as something else than text."""
ORDER = (
    "venv",
    "interpreter",
    "ngc",
    "image",
    "engine",
    "versions",
    "with",
    "python",
    "library_path",
    "env",
    "options",
    "name",
    "host",
)
"""Of the keys of an entry."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FactorPoint:
    """An environment as its last job found it."""

    environment: str
    start: Start

    @property
    def factors(self) -> Factors:
        return factors(self.start)

    @property
    def stated(self) -> Mapping[str, Any]:
        return self.start.identity

    def libraries(self, factor: str) -> list[Library]:
        """Returns the mapped libraries that stand behind a factor."""
        return [library for library in libraries(self.start) if library.family == factor]


def line(entry: Entry) -> str:
    """Returns the entry as one line of YAML, in flow style as matrix.yaml has it."""
    return f"- {_flow({key: entry[key] for key in ORDER if key in entry})}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    # Any JSON is YAML.
    return json.dumps(value, ensure_ascii=False)
