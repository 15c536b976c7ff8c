"""Where the job is: stage.txt for whoever watches, and seconds per stage."""

import contextlib
import os
import time

from . import protocol


class Stages(object):
    """The stages of one pass, or of the job itself.

    Attributes:
        seconds: stage to the seconds it took, failed ones included.
        current: the stage entered last, None before the first.
    """

    def __init__(self, folder):
        self._path = os.path.join(folder, protocol.STAGE)
        self.seconds = {}
        self.current = None

    def restart(self):
        """Starts new seconds, for the next pass."""
        self.seconds = {}

    @contextlib.contextmanager
    def enter(self, stage, detail=""):
        """Names the stage, and adds the time until the block ends to its seconds."""
        self.current = stage
        self.show(detail)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def show(self, detail):
        """Replaces stage.txt; not synced to disk, because it is written often and only watched."""
        with open(self._path + protocol.PARTIAL, "w", encoding="utf-8") as stream:
            stream.write(("%s %s" % (self.current, detail)).strip() + "\n")
        os.replace(self._path + protocol.PARTIAL, self._path)
