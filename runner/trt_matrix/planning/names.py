"""The environments that matrix.yaml names, and what names them: each once, and none that is not there."""

import re
from collections.abc import Sequence
from pathlib import Path

from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.planning.problems import Problems

REFERENCE = "reference"
"""Name of the environment that the reference is computed in."""

FLOATING = ("", "fp32", "tf32", "fp16", "bf16")
"""Passes that errors can be against; fp32 where none is named."""


class Names:
    """Looks them up; what does not fit is told to `problems`."""

    def __init__(self, config: Config, root: Path, problems: Problems) -> None:
        self.config = config
        self.root = root
        self._problems = problems

    def baseline(self) -> str:
        return self._environment(self.config.baseline, "baseline")

    def reference(self) -> tuple[str, str] | None:
        if self.config.reference is None:
            return None
        name, _, pass_ = self.config.reference.partition("/")
        if pass_ not in FLOATING:
            problem = f"{pass_!r} is none of the passes {', '.join(FLOATING)}: errors are against floating point"
            self._problems.add(("reference",), problem)
        return self._environment(name, "reference"), pass_ or FLOATING[1]

    def _environment(self, wanted: str, key: str) -> str:
        """Returns the environment that is named: in full, or by its first version parts."""
        known = list(dict.fromkeys(self.config.environment_ids()))
        if wanted in known:
            return wanted
        longer = [name for name in known if name.startswith((f"{wanted}.", f"{wanted}-"))]
        if len(longer) == 1:
            return longer[0]
        if longer:
            self._problems.add(
                (key,), f"{wanted!r} may mean {' or '.join(longer)}; write it in full"
            )
        else:
            close = did_you_mean(wanted, _of_same_major(wanted, known))
            self._problems.add((key,), f"no environment is called {wanted!r}{close}; {few(known)}")
        return wanted

    def unique(self) -> None:
        counts: dict[str, int] = {}
        for index, entry in enumerate(self.config.environments):
            if REFERENCE in entry.ids():
                self._problems.add(
                    ("environments", index),
                    f"{REFERENCE!r} is what the host's own engine is called; choose another `name`",
                )
        for index, entry in enumerate(self.config.environments):
            for name in entry.ids():
                if name in counts:
                    where = self._problems.where(("environments", counts[name]))
                    self._problems.add(
                        ("environments", index),
                        f"a second environment called {name!r}, the first is {where}; "
                        "give one another `name`",
                    )
                counts.setdefault(name, index)
        for path, values in (
            (("devices",), self.config.devices),
            (("precisions",), self.config.precisions),
            (("calibration", "algorithms"), self.config.calibration.algorithms),
        ):
            for value in sorted({str(value) for value in values if values.count(value) > 1}):
                self._problems.add(path, f"{value} is there twice")

    def hosts(self) -> None:
        known = list(self.config.hosts)
        for index, entry in enumerate(self.config.environments):
            host = getattr(entry, "host", None)
            if host and host not in known:
                problem = f"{host!r} is not among `hosts`{did_you_mean(host, known)}"
                self._problems.add(("environments", index, "host"), problem)

    def files(self) -> None:
        for index, entry in enumerate(self.config.environments):
            for library in getattr(entry, "library_path", ()):
                if not (self.root / library).is_dir():
                    where = ("environments", index, "library_path")
                    self._problems.add(where, f"{self.root / library}: no such folder")


def _of_same_major(wanted: str, known: Sequence[str]) -> list[str]:
    """Returns the names whose first number is that of `wanted`: 9.9 is no slip for 1.9; all where it has none."""
    majors = {name: re.search(r"\d+", name) for name in (wanted, *known)}
    major = majors[wanted]
    return [
        name
        for name in known
        if major is None or ((own := majors[name]) is not None and own[0] == major[0])
    ]
