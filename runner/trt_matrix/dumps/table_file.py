"""A calibration table's file: opened without being trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.reading import LIMIT_BYTES, LIMIT_NETWORK_BYTES, is_network, read
from trt_matrix.core.tables.table import TableError
from trt_matrix.store.untrusted import opened_by_user


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """A table as matrix.yaml names it."""

    path: Path
    names: Mapping[str, str] = field(default_factory=dict)
    """Theirs → the network's."""


def read_table(path: Path) -> tuple[ReadTable, bytes]:
    """Returns what a table's file holds, and its bytes.

    Raises:
        TableError: it cannot be opened, is no regular file, or is no table; says why.
    """
    try:
        content = content_of(path)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        raise TableError(getattr(error, "strerror", None) or str(error)) from error
    return read(content), content


def content_of(path: Path) -> bytes:
    """Returns no more than is needed to see that a file is too large.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: its name is none that a file can have.
    """
    with opened_by_user(path) as stream:
        content = stream.read(LIMIT_BYTES + 1)
        if len(content) > LIMIT_BYTES and is_network(content):
            content += stream.read(LIMIT_NETWORK_BYTES - len(content) + 1)
        return content
