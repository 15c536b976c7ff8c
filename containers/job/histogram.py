"""Streaming histogram of |x| of one tensor: constant memory, one pass, independent of the order.

The bin width is a power of two and bins start at zero. When a larger value appears, the width doubles
until it fits, and pairs of bins merge exactly: floor(floor(x / w) / 2) = floor(x / 2w). So the result
depends on the values alone, and no first pass for the range is needed.
"""

import math

import numpy as np

BINS = 4096
# Elements handled at a time; its float32 and int64 buffers fit a level-2 cache.
BLOCK = 32768
# Below 2**LOWEST the width stays: 2**(12 - exponent) must be a float32.
LOWEST = -100


class Histogram(object):
    """Counts of |x|: bin k holds [k * width, (k + 1) * width).

    Between BINS / 2 and BINS bins are in use over [0, amax] (for an amax of at least 2**LOWEST).

    Attributes:
        tensor: its name, for messages.
        counts: int64 (BINS,).
        amax: the largest |x| so far, a float; 0.0 where nothing or only zeros were added.
        zeros: how many of the elements are exactly zero (int).
    """

    def __init__(self, tensor):
        self.tensor = tensor
        self.counts = np.zeros(BINS, np.int64)
        self.amax = 0.0
        self.zeros = 0
        self._exponent = LOWEST  # amax < 2**exponent = BINS * width

    @property
    def width(self):
        return math.ldexp(1.0, self._exponent) / BINS

    @property
    def used(self):
        """Number of bins up to and including the one that holds amax."""
        return int(self.amax / self.width) + 1

    def add(self, values):
        """Counts every element of `values`, floating point of any shape.

        Raises:
            ValueError: a value is NaN or infinite, or `values` is not floating point.
        """
        if values.dtype.kind != "f":
            raise ValueError(
                "tensor %r is %s: only floating-point tensors have a range to calibrate; leave it out"
                % (self.tensor, values.dtype)
            )
        flat = values.reshape(-1)
        magnitude = np.empty(min(BLOCK, flat.size), np.float32)
        index = np.empty(magnitude.size, np.intp)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            self._add_block(block, magnitude[: block.size], index[: block.size])

    def _add_block(self, block, magnitude, index):
        np.abs(block, out=magnitude)
        largest = float(magnitude.max())
        if not largest < float("inf"):
            raise ValueError(
                "tensor %r holds NaN or infinite values in the fp32 network: it has no range; check the "
                "model and the preprocessing of the calibration images" % self.tensor
            )
        self.zeros += magnitude.size - int(np.count_nonzero(magnitude > 0))
        if largest > self.amax:
            self._cover(largest)
        np.multiply(magnitude, np.float32(1 / self.width), out=magnitude)
        np.copyto(index, magnitude, casting="unsafe")  # truncation is floor: nothing is negative
        self.counts += np.bincount(index, minlength=BINS)

    def _cover(self, largest):
        """Widens the range until it holds `largest`."""
        exponent = max(math.frexp(largest)[1], self._exponent)
        doublings = min(exponent - self._exponent, BINS.bit_length() - 1)  # that many leave one bin
        merged = self.counts.reshape(-1, 2**doublings).sum(axis=1)
        self.counts[:] = 0
        self.counts[: merged.size] = merged
        self._exponent = exponent
        self.amax = max(self.amax, largest)
