"""TensorRT's messages: to the job's log, and what is learnt from them."""

import re
import sys

from .library import trt

KEPT = 200  # messages of one kind; engines repeat themselves a thousandfold

MISSING_SCALE = re.compile(r"Missing scale and zero-point for tensor (.+?), expect fall ?back")
DEFAULT_SCALE = re.compile(r"Setting a default quantization params because quantization data is missing")
REJECTED = re.compile(r"Rejecting some int8 implementation of layer (.+?) due to missing int8 scales")
LAYER = re.compile(r"Layer\([^)]*\): ")

LEVELS = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")  # by severity, 0 to 4


class Log(trt.ILogger if hasattr(trt, "ILogger") else trt.Logger):
    """Prints everything but verbose messages, and keeps what explains a build.

    Attributes:
        errors: texts of severity ERROR and worse, in order, each once, at most KEPT.
        warnings: the same for WARNING.
        unscaled: names of tensors that TensorRT said it has no scale for.
        rejected: names of layers that lost an int8 implementation for want of scales.
        defaulted: how often TensorRT took a default scale.
        layers: lines of the engine's layer list (verbose messages of 7.x to 8.1).
    """

    def __init__(self):
        # TensorRT's classes crash where this call is left out, or goes by super().
        (trt.ILogger if hasattr(trt, "ILogger") else trt.Logger).__init__(self)
        self.restart()

    def restart(self):
        """Forgets everything: the next build explains itself."""
        self.errors = []
        self.warnings = []
        self.unscaled = []
        self.rejected = []
        self.defaulted = 0
        self.layers = []

    def log(self, severity, message):
        """Called by TensorRT, from any thread; an exception here would end the process."""
        try:
            self.take(int(severity), str(message))
        except Exception as error:  # noqa: BLE001 - see above
            sys.stderr.write("a message of TensorRT was lost: %r\n" % (error,))

    def take(self, level, message):
        """Sorts one message; `level` is an index into LEVELS."""
        for pattern, kept in ((MISSING_SCALE, self.unscaled), (REJECTED, self.rejected)):
            match = pattern.search(message)
            if match and match.group(1) not in kept:
                kept.append(match.group(1))
        if DEFAULT_SCALE.search(message):
            self.defaulted += 1
        if level >= LEVELS.index("VERBOSE"):
            if LAYER.match(message):
                self.layers.append(message)
            return
        kept = {0: self.errors, 1: self.errors, 2: self.warnings}.get(level)
        if kept is not None and len(kept) < KEPT and message not in kept:
            kept.append(message)
        print("TensorRT %s: %s" % (LEVELS[level].lower(), message), flush=True)

    def told(self):
        """Returns the last errors as the end of a sentence: `: error; error`.

        Warnings where there are none: 8.5 says by one only that it found no driver.
        """
        last = self.errors[-3:] or self.warnings[-3:]
        return ": " + "; ".join(last) if last else ", and said no more"
