"""What `migrate` reads and writes: tables, networks, maps of names; each may be wrong, huge or hostile."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx

from trt_matrix.config.yaml_file import parse
from trt_matrix.containers.job import protocol
from trt_matrix.core.network import graph, loading
from trt_matrix.core.network.functions import inlined
from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.core.tables.table import TableError
from trt_matrix.dumps.table_file import read_table
from trt_matrix.errors import ConfigError
from trt_matrix.inputs.weights import external_weights
from trt_matrix.store.untrusted import opened_by_user

MAP_LIMIT_BYTES = 1_000_000


def content_of(path: Path, limit: int) -> bytes:
    """Returns a file's content, one byte more than `limit` at most.

    Raises:
        ConfigError: it is no regular file, or cannot be read.
    """
    try:
        with opened_by_user(path) as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise ConfigError(str(path), [error.strerror or "cannot be read"]) from error
    except ValueError as error:  # a name with a zero byte
        raise ConfigError(repr(str(path)), [f"no path: {error}"]) from error


def table_of(path: Path) -> ReadTable:
    """Returns a table of any form.

    Raises:
        ConfigError: it is none; says what it looks like.
    """
    try:
        return read_table(path)[0]
    except TableError as error:
        raise ConfigError(str(path), [f"no calibration table: {error}"]) from error


def unchecked_network_of(path: Path) -> onnx.ModelProto:
    """Returns a network as it stands, its weights perhaps missing: to see what it is.

    Raises:
        ConfigError: it is no ONNX file.
    """
    try:
        return loading.parse(content_of(path, LIMIT_NETWORK_BYTES), str(path))
    except graph.GraphError as error:
        raise ConfigError(str(path), [str(error)]) from error


def network_of(path: Path) -> onnx.ModelProto:
    """Returns a network with its weights, functions written out.

    Raises:
        ConfigError: it is none, its weights are missing or elsewhere, or it is larger than can be worked on.
    """
    content = content_of(path, LIMIT_NETWORK_BYTES)
    try:
        size = len(content)
        external: Mapping[str, bytes] = {}
        if size <= LIMIT_NETWORK_BYTES:
            external = external_weights(path, loading.parse(content, str(path)))
            size += sum(map(len, external.values()))
        if size > LIMIT_NETWORK_BYTES:
            message = (
                "with its weights it has 2 GB or more: ONNX's own tools cannot hold such a network"
            )
            raise ConfigError(str(path), [message])
        model, _ = inlined(loading.load(content, str(path), external), str(path))
    except graph.GraphError as error:
        raise ConfigError(str(path), [str(error)]) from error
    return model


def names_of(path: Path) -> Mapping[str, str]:
    """Returns a map of names, YAML or JSON: theirs: ours.

    Raises:
        ConfigError: it is no such map; names the line.
    """
    source = str(path)
    content = content_of(path, MAP_LIMIT_BYTES)
    if len(content) > MAP_LIMIT_BYTES:
        raise ConfigError(source, ["larger than 1 MB: no map of names is"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(source, ["not UTF-8; save it in that encoding"]) from error
    if not text.strip():
        raise ConfigError(
            source, ["it is empty: one line a tensor, `name in the table: name here`"]
        )
    document = parse(text, source)
    problems = [
        f"{document.where((theirs,))}: {ours!r:.80} is no name: put it in quotes"
        for theirs, ours in document.value.items()
        if not isinstance(ours, str) or not ours
    ]
    named = Counter(ours for ours in document.value.values() if isinstance(ours, str))
    twice = sorted(ours for ours, often in named.items() if often > 1)
    problems += [f"two tensors of the table are called {ours!r:.80}" for ours in twice]
    if problems:
        raise ConfigError(source, problems)
    return dict(document.value)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raises ConfigError where `path` cannot be written, before anything is computed for it."""
    try:
        if path.is_dir():
            raise ConfigError(str(path), ["it is a folder: name a file"])
        if (path.exists() or path.is_symlink()) and not force:
            raise ConfigError(str(path), ["it exists already; --force overwrites it"])
        if not path.parent.is_dir():
            raise ConfigError(str(path), [f"{path.parent} is no folder; make it first"])
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(repr(str(path)), [f"cannot be written: {reason}"]) from error


def refuse_overwriting(outputs: Sequence[Path], inputs: Iterable[Path | None]) -> None:
    """Raises ConfigError where something would be written over what is read, which no --force means."""
    given = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path.resolve() in given:
            raise ConfigError(str(path), ["it is read here too: name another file to write"])
    if len({output.resolve() for output in outputs}) < len(outputs):
        raise ConfigError(str(outputs[0]), ["two results are to be written there"])


def write(path: Path, content: bytes, *, force: bool) -> None:
    """Writes a file whole or not at all.

    Raises:
        ConfigError: it cannot be written, or came into being meanwhile and `force` was not said.
    """
    refuse_existing(path, force=force)
    try:
        protocol.write_bytes(str(path), content)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be written: {error.strerror}"]) from error
