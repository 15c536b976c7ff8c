"""The log of a job, bounded: its first part, its last part, and how much was cut between them.

Crashes are explained by the end of a log and misconfigurations by its start; a job that prints
without end must neither fill the disk nor wait for a reader. What steers a terminal is made visible.
"""

import collections
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

LOG_LIMIT_BYTES = 4 << 20

_ESCAPE = "␛".encode()
_C1 = b"\xc2"
_STEERING = re.compile(rb"\xc2[\x80-\x9f]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def readable(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields chunks in which nothing steers the terminal that a log is looked at on.

    A carriage return stays: progress bars are full of it, and it only writes over a line of the job's own.
    """
    held = b""
    for chunk in chunks:
        whole = held + chunk
        held = _C1 if whole.endswith(_C1) else b""  # the second byte comes with the next chunk
        if shown := whole[: len(whole) - len(held)]:
            yield _STEERING.sub(lambda match_: _ESCAPE if match_[0] == b"\x1b" else b"?", shown)
    if held:
        yield held


class BoundedLog:
    """Writes at most about `limit_bytes` of what it is given to `stream`.

    The first half is written at once, so that a log can be read while its job runs; the second
    half is a ring in memory, written by `finish`.
    """

    def __init__(self, stream: BinaryIO, limit_bytes: int) -> None:
        self._stream = stream
        self._head_left = limit_bytes // 2
        self._tail_limit = limit_bytes - self._head_left
        self._tail: collections.deque[bytes] = collections.deque()
        self._tail_size = 0
        self.cut_bytes = 0

    def write(self, chunk: bytes) -> None:
        head, rest = chunk[: self._head_left], chunk[self._head_left :]
        if head:
            self._stream.write(head)
            self._stream.flush()
            self._head_left -= len(head)
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_limit:
                self._drop(len(self._tail[0]))

    def finish(self) -> None:
        if self._tail_size > self._tail_limit:
            self._drop(self._tail_size - self._tail_limit)
        if self.cut_bytes:
            notice = f"\n[... {self.cut_bytes:,} bytes of output cut here ...]\n"
            self._stream.write(notice.encode())
        for chunk in self._tail:
            self._stream.write(chunk)
        self._stream.flush()

    def _drop(self, count: int) -> None:
        """Cuts `count` bytes, at most one chunk, from the start of the ring."""
        first = self._tail.popleft()
        if count < len(first):
            self._tail.appendleft(first[count:])
        self._tail_size -= count
        self.cut_bytes += count


class LogPump(threading.Thread):
    """Moves `chunks` into the log at `path` until there are no more.

    Where the log cannot be written, `error` says why, and the output is still read: a job must not
    stop because of its log.
    """

    def __init__(self, chunks: Iterable[bytes], path: Path, limit_bytes: int) -> None:
        super().__init__(name=f"log {path.name}", daemon=True)
        self._chunks = readable(chunks)
        self._path = path
        self._limit_bytes = limit_bytes
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            with self._path.open("wb") as stream:
                log = BoundedLog(stream, self._limit_bytes)
                for chunk in self._chunks:
                    log.write(chunk)
                log.finish()
        except OSError as error:
            self.error = error
            for _ in self._chunks:
                pass
