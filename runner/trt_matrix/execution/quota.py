"""How much a job may leave: looked at while it runs, so that one environment cannot fill the disk of all."""

import shutil
import time
from pathlib import Path

from trt_matrix.store.untrusted import MOST_FILES, extent

EVERY_S = 0.5
RESERVE_BYTES = 512 << 20
"""A disk with less free counts as full: the others' records must still fit."""
LARGE_BYTES = 64 << 20
"""What leaves less is not why a disk is full."""


class QuotaError(Exception):
    """A job left more than it may, and is stopped; says what and what to do."""


class Quota:
    """Of one results folder."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._next = 0.0

    def check(self) -> None:
        """Looks at most every EVERY_S; called as often as one likes.

        Raises:
            QuotaError: the job is to be stopped.
        """
        if time.monotonic() < self._next:
            return
        taken = extent(self.folder)
        self._next = time.monotonic() + EVERY_S
        if taken.size_bytes > self.most_bytes:
            raise QuotaError(
                f"it left more than {self.most_bytes / 1e9:.1f} GB of results: if that is right, raise "
                "results_gb in matrix.yaml"
            )
        if taken.files > MOST_FILES or taken.deep:
            what = "folders without end" if taken.deep else f"more than {MOST_FILES:,} files"
            raise QuotaError(f"it left {what} among its results")
        free = shutil.disk_usage(self.folder).free
        if free < RESERVE_BYTES and taken.size_bytes > max(LARGE_BYTES, free):
            raise QuotaError(
                f"it filled the disk with {taken.size_bytes / 1e9:.1f} GB of results: lower results_gb in "
                "matrix.yaml, or free space"
            )
