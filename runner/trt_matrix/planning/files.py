"""Whether plugins' files are there, and recorded outputs are called as the experiment calls things."""

from collections.abc import Iterator
from pathlib import Path

from trt_matrix.config.environments import Dumps
from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.containers.job import protocol
from trt_matrix.execution.plugins import PluginFiles
from trt_matrix.planning.problems import Add, Problem
from trt_matrix.store.untrusted import named_file

LIMIT_PLUGIN_BYTES = 2 << 30


def plugin_files(config: Config, root: Path, add: Add) -> tuple[PluginFiles, ...]:
    """Returns the content of every plugin's files."""
    result = []
    for index, plugin in enumerate(config.model.plugins):
        contents = {}
        for name, file in plugin.files.items():
            if not protocol.SAFE_NAME.match(file.name):
                problem = f"{file.name!a} is no plain file name: use letters, digits, . _ -"
                add(("model", "plugins", index), problem)
            try:
                contents[name] = named_file(root / file, LIMIT_PLUGIN_BYTES)
            except OSError as error:
                add(("model", "plugins", index), f"{root / file}: {error.strerror}")
        libraries, sources = (contents, {}) if plugin.libraries else ({}, contents)
        result.append(PluginFiles(libraries=libraries, sources=sources, flags=plugin.flags))
    return tuple(result)


def dumps_problems(config: Config) -> Iterator[Problem]:
    """Yields what recorded outputs name that the experiment has not, or has twice."""
    for index, entry in enumerate(config.environments):
        if not isinstance(entry, Dumps):
            continue
        known = config.recordable(entry)
        for section, names in (("passes", list(known)), ("heads", list(config.heads)),
                               ("shapes", list(config.heads))):  # fmt: skip
            for name in getattr(entry, section):
                if name not in names:
                    close = did_you_mean(name, names)
                    problem = f"{name!r} is none of the {section}{close}; {few(names)}"
                    yield ("environments", index, section, name), problem
        named = [known[name].name for name in entry.passes if name in known]
        for name in sorted({name for name in named if named.count(name) > 1}):
            yield ("environments", index, "passes"), f"{name} is given under two names"
