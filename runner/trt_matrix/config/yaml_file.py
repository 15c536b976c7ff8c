"""Reads a YAML file that may be wrong, huge or hostile; knows on which line each key stands."""

import errno
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trt_matrix.errors import ConfigError
from trt_matrix.store.untrusted import named_file

LIMIT_BYTES = 1_000_000
LIMIT_ALIASES = 50
LIMIT_NODES = 20_000
LIMIT_DEPTH = 50

LIMIT_INTEGER = 2**63

UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters and lone surrogates: no name, path or option has them."""

Path_ = tuple[str | int, ...]
"""Keys and indices from the top of the document."""

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its plain value (as JSON has them), and where each part of it stands."""

    source: str
    value: Mapping[str, Any]
    lines: Mapping[Path_, int] = field(default_factory=dict)
    """The line of every key and item, from 1."""
    written: Mapping[Path_, str] = field(default_factory=dict)
    """What stands in the file where YAML made something else than text of it: 1.10, yes."""

    def where(self, path: Path_) -> str:
        """Returns `environments[1].venv (line 12)` for a path into the document."""
        text = dotted(path)
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{text} (line {self.lines[path[:length]]})"
        return text


def dotted(path: Path_) -> str:
    """Returns a path as people write it, on one line whatever its keys hold."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """Returns `text` as a YAML string on one line, whatever it holds; what a display would not show is escaped."""
    plain = text.isprintable()
    scalar: str = yaml.safe_dump(text, default_style='"', allow_unicode=plain, width=math.inf)
    return scalar.rstrip("\n")


def read(path: Path) -> Document:
    """Returns the mapping that the file holds.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or is more than an experiment can be.
    """
    source = str(path)
    try:
        content = named_file(path, LIMIT_BYTES)
    except FileNotFoundError as error:
        hint = "write one with `trt-matrix init MODEL.onnx`"
        raise ConfigError(source, [f"no such file; {hint}"]) from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            problem = f"larger than {LIMIT_BYTES // 1000} kB: this is no matrix.yaml"
            if path.suffix == ".onnx":
                problem = (
                    f"a network; write its matrix.yaml with `trt-matrix init {shlex.quote(source)}`"
                )
            raise ConfigError(source, [problem]) from error
        raise ConfigError(source, [f"cannot be read: {error.strerror}"]) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(source, [f"line {line}: not UTF-8; save it in that encoding"]) from error
    return parse(text, source)


def parse(text: str, source: str) -> Document:
    """Parses YAML text; see `read`."""
    for number, line in enumerate(text.split("\n"), 1):
        if unreadable := UNREADABLE.search(line):
            problem = f"line {number}: the character {unreadable[0]!a}; is this a text file?"
            raise ConfigError(source, [problem])
    reader = _Reader()
    try:
        node = _Composer(text).get_single_node()
        if node is None:
            hint = "the file is empty; write one with `trt-matrix init MODEL.onnx`"
            raise ConfigError(source, [hint])
        if not isinstance(node, yaml.MappingNode):
            hint = "the top level must be `key: value` lines, such as `name: demo`"
            raise ConfigError(source, [hint])
        value = reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        raise ConfigError(source, [_syntax(error)]) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [f"not YAML: {str(error).splitlines()[0]}"]) from error
    except _TooMuchError as error:
        raise ConfigError(source, [str(error)]) from error
    if reader.problems:
        raise ConfigError(source, reader.problems)
    return Document(source, value, reader.lines, reader.written)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}: " if mark else ""
    what = error.problem or error.context or "not YAML"
    if "'\\t'" in what:
        return f"{where}a tab; YAML wants spaces there"
    return f"{where}{what}; check the indentation and the quotes there"


class _TooMuchError(Exception):
    """More than an experiment can be: hostile, or another kind of file."""


class _Composer(yaml.SafeLoader):
    """Composes nodes; stops where there are too many of them, or too deep ones for the stack."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = 0
        self.aliases = 0
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.nodes += 1
        self.aliases += self.check_event(yaml.AliasEvent)
        self.depth += 1
        for count, limit, what in (
            (self.nodes, LIMIT_NODES, "values"),
            (self.aliases, LIMIT_ALIASES, "aliases (*name)"),
            (self.depth, LIMIT_DEPTH, "levels"),
        ):
            if count > limit:
                line = self.peek_event().start_mark.line + 1
                message = f"line {line}: more than {limit} {what}: this is no matrix.yaml"
                raise _TooMuchError(message)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Turns nodes into plain values by YAML's safe rules; collects every problem."""

    def __init__(self) -> None:
        self.lines: dict[Path_, int] = {}
        self.written: dict[Path_, str] = {}
        self.problems: list[str] = []
        self.nodes = 0
        # The stock constructor knows YAML's scalar types; containers are walked here.
        self.constructor = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        # An alias may hold itself, so the depth is limited here, too.
        if self.nodes > LIMIT_NODES or len(path) > LIMIT_DEPTH:
            message = f"line {line}: an alias (*name) makes too many values of few; write them out"
            raise _TooMuchError(message)
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return self._sequence(node, path)
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                self._refuse_tag(node)
                return None

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in result:
                first = self.lines[(*path, key)]
                where = dotted((*path, key))
                self.problems.append(f"{where} (line {line}): given twice, first on line {first}")
                continue
            self.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def _key(self, node: yaml.Node, path: Path_) -> str | None:
        line = node.start_mark.line + 1
        if node.tag == "tag:yaml.org,2002:merge":
            self.problems.append(f"line {line}: merge keys (<<) are not read; write the keys out")
            return None
        if not isinstance(node, yaml.ScalarNode):
            self.problems.append(f"line {line}: a list or mapping as a key; keys are text")
            return None
        key = self._scalar(node, path)
        if not isinstance(key, str):
            self.problems.append(
                f'line {line}: the key {node.value:.60} is no text: "{node.value:.60}"'
            )
            return None
        return key

    def _sequence(self, node: yaml.SequenceNode, path: Path_) -> list[Any]:
        result = []
        for index, item in enumerate(node.value):
            self.lines[(*path, index)] = item.start_mark.line + 1
            result.append(self.value(item, (*path, index)))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path_) -> Scalar:
        construct = yaml.SafeLoader.yaml_constructors.get(node.tag)
        if construct is None:
            self._refuse_tag(node)
            return None
        where = f"line {node.start_mark.line + 1}"
        try:
            value = construct(self.constructor, node)
        except (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError) as error:
            # An explicit tag may stand on anything: !!int x, !!bool maybe, !!timestamp soon.
            self.problems.append(
                f"{where}: {node.value!r:.80} does not fit its type: {error!r:.80}"
            )
            return None
        if isinstance(value, str):
            if UNREADABLE.search(value):
                self.problems.append(f"{where}: an escaped control character in {value!a:.80}")
                return None
            return value
        self.written[path] = node.value
        if value is None or isinstance(value, float):
            return value
        if isinstance(value, int) and -LIMIT_INTEGER <= value < LIMIT_INTEGER:
            return value
        self.problems.append(
            f"{where}: {node.value:.60} is read as a {type(value).__name__}; put it in quotes"
        )
        return None

    def _refuse_tag(self, node: yaml.Node) -> None:
        line = node.start_mark.line + 1
        self.problems.append(f"line {line}: the tag {node.tag:.80} is not allowed here")
