"""Reads a YAML file that may be wrong, huge or hostile; knows on which line each key stands."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.errors import ConfigError

LIMIT_BYTES = 1_000_000
LIMIT_ALIASES = 50
LIMIT_NODES = 100_000
LIMIT_DEPTH = 50

Path_ = tuple[str | int, ...]
"""Keys and indices from the top of the document."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its plain value, and the line of every key and item."""

    source: str
    value: Mapping[str, Any]
    lines: Mapping[Path_, int]

    def where(self, path: Path_) -> str:
        """Returns `environments[1].venv (line 12)` for a path into the document."""
        text = dotted(path)
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{text} (line {self.lines[path[:length]]})"
        return text


def dotted(path: Path_) -> str:
    """Returns a path as people write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(path: Path) -> Document:
    """Returns the mapping that the file holds.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or is more than an experiment can be.
    """
    source = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        hint = "write one with `trt-matrix init MODEL.onnx`"
        raise ConfigError(source, [f"no such file; {hint}"]) from error
    except OSError as error:
        raise ConfigError(source, [f"cannot be read: {error.strerror}"]) from error
    if len(content) > LIMIT_BYTES:
        problem = f"larger than {LIMIT_BYTES // 1000} kB: this is no matrix.yaml"
        raise ConfigError(source, [problem])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(source, [f"line {line}: not UTF-8; save it in that encoding"]) from error
    return parse(text, source)


def parse(text: str, source: str) -> Document:
    """Parses YAML text; see `read`."""
    for number, line in enumerate(text.splitlines(), 1):
        if line[: len(line) - len(line.lstrip())].count("\t"):
            problem = f"line {number}: a tab in the indentation; YAML wants spaces"
            raise ConfigError(source, [problem])
    try:
        aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
        if aliases > LIMIT_ALIASES:
            problem = f"{aliases} aliases (*name): at most {LIMIT_ALIASES} are read; write them out"
            raise ConfigError(source, [problem])
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(source, [_syntax(error)]) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [f"not YAML: {str(error).splitlines()[0]}"]) from error
    except RecursionError as error:
        raise ConfigError(source, ["nested too deeply"]) from error
    if node is None:
        raise ConfigError(
            source, ["the file is empty; write one with `trt-matrix init MODEL.onnx`"]
        )
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            source, ["the top level must be `key: value` lines, such as `name: demo`"]
        )
    reader = _Reader()
    value = reader.value(node, ())
    if reader.problems:
        raise ConfigError(source, reader.problems)
    return Document(source, value, reader.lines)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}: " if mark else ""
    what = error.problem or error.context or "not YAML"
    return f"{where}{what}; check the indentation and the quotes there"


class _Reader:
    """Turns nodes into plain values by YAML's safe rules; collects every problem."""

    def __init__(self) -> None:
        self.lines: dict[Path_, int] = {}
        self.problems: list[str] = []
        self.nodes = 0
        # The stock constructor knows YAML's scalar types; containers are walked here.
        self.scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        if self.nodes > LIMIT_NODES or len(path) > LIMIT_DEPTH:
            if not self.problems:
                self.problems.append(f"line {line}: too many or too deeply nested values")
            return None
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return self._sequence(node, path)
            case _:
                return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._scalar(key_node, line) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                written = getattr(key_node, "value", "?")
                told = written if isinstance(written, str) else "a list or mapping"
                self.problems.append(f"line {line}: the key {told!r:.60} is no text; quote it")
                continue
            if key in result:
                first = self.lines[(*path, key)]
                where = dotted((*path, key))
                self.problems.append(f"{where} (line {line}): given twice, first on line {first}")
                continue
            self.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def _sequence(self, node: yaml.SequenceNode, path: Path_) -> list[Any]:
        result = []
        for index, item in enumerate(node.value):
            self.lines[(*path, index)] = item.start_mark.line + 1
            result.append(self.value(item, (*path, index)))
        return result

    def _scalar(self, node: yaml.Node, line: int) -> Hashable:
        constructor = yaml.SafeLoader.yaml_constructors.get(node.tag)
        if constructor is None or not node.tag.startswith("tag:yaml.org,2002:"):
            self.problems.append(f"line {line}: the tag {node.tag:.80} is not allowed here")
            return None
        try:
            value: Hashable = constructor(self.scalars, node)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self.problems.append(f"line {line}: {str(error).splitlines()[0]}")
            return None
        return value
