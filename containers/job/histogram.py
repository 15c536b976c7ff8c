"""What calibration keeps of |x| of one tensor, in constant memory and one pass over the images.

The threshold algorithms do not read the same thing (`thresholds.ALGORITHMS` says which reads which):

- `OrderFree`: bins of a power of two, so that the result depends on the values alone.
- `Doubling`: the bins of TensorRT's entropy calibrators, which the first image's maximum sets. The
  order of the images is part of the result.

Both begin at zero and grow by merging pairs of bins, which is exact: with rounded arithmetic as well
floor(floor(x / w) / 2) = floor(x / 2w), since halving a float32 does not round.
"""

import math

import numpy as np

# Elements handled at a time; its float32 and int64 buffers fit a level-2 cache.
BLOCK = 32768

ORDER_FREE = "order_free"
DOUBLING = "doubling"


class Histogram(object):
    """The magnitudes of one tensor.

    Attributes:
        tensor: its name, for messages.
        amax: the largest |x| so far, a float; 0.0 where nothing or only zeros were added.
        elements: how many were added (int).
        zeros: how many of them are exactly zero (int).
        order_free: `OrderFree`, None where it is not kept.
        doubling: `Doubling`, None where it is not kept.
    """

    def __init__(self, tensor, kept=(ORDER_FREE, DOUBLING)):
        self.tensor = tensor
        self.amax = 0.0
        self.elements = 0
        self.zeros = 0
        self.order_free = OrderFree() if ORDER_FREE in kept else None
        self.doubling = Doubling() if DOUBLING in kept else None
        self._kept = [bins for bins in (self.order_free, self.doubling) if bins]

    def add(self, values):
        """Counts every element of `values`, floating point of any shape: one batch of images.

        Raises:
            ValueError: a value is NaN or infinite, or `values` is not floating point; nothing of
                `values` is counted then.
        """
        if values.dtype.kind != "f":
            raise ValueError(
                "tensor %r is %s: only floating-point tensors have a range to calibrate; leave it out"
                % (self.tensor, values.dtype)
            )
        flat = values.reshape(-1)
        buffers = _Buffers(min(BLOCK, flat.size))
        # The maximum first: `Doubling` needs that of the whole batch before it counts any of it.
        largest = _largest(flat)
        if not largest < float("inf"):  # NaN is not either
            raise ValueError(
                "tensor %r holds NaN or infinite values in the fp32 network: it has no range; "
                "check the model and the preprocessing of the calibration images" % self.tensor
            )
        self.amax = max(self.amax, largest)
        for bins in self._kept:
            bins.cover(largest)
        for magnitude in buffers.blocks(flat):
            # Of booleans: counting those of floats takes five times as long.
            self.zeros += magnitude.size - int(np.count_nonzero(magnitude > 0))
            for bins in self._kept:
                bins.count(magnitude, buffers)
        self.elements += flat.size


def _largest(flat):
    """Returns the largest |x| as a float32 holds it, 0.0 of nothing; NaN or infinite where a value is."""
    if not flat.size:
        return 0.0
    # Two reductions that write nothing take half as long as |x| and one; NaN passes through both.
    ends = np.array([flat.max(), -flat.min()])
    with np.errstate(over="ignore"):  # beyond float32 is infinite there
        return float(ends.astype(np.float32).max())


class _Buffers(object):
    """Work arrays for one block: its magnitudes, and the numbers of their bins."""

    def __init__(self, size):
        self._magnitude = np.empty(size, np.float32)
        self._scaled = np.empty(size, np.float32)
        self._index = np.empty(size, np.intp)

    def blocks(self, flat):
        """Yields |x| of each block of `flat`; the next block overwrites it."""
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            magnitude = self._magnitude[: block.size]
            np.abs(block, out=magnitude)
            yield magnitude

    def index(self, magnitude, factors):
        """Returns floor(|x| * factors[0] * factors[1] …), intp; the next call overwrites it."""
        scaled, index = self._scaled[: magnitude.size], self._index[: magnitude.size]
        for factor in factors:
            magnitude = np.multiply(magnitude, factor, out=scaled)
        np.copyto(index, magnitude, casting="unsafe")  # truncation is floor: nothing is negative
        return index


class OrderFree(object):
    """Counts in bins whose width is a power of two: bin k holds [k * width, (k + 1) * width).

    Between half and all of the bins are in use over [0, amax] (for an amax of at least 2**LOWEST).

    Attributes:
        counts: int64 (BINS,).
    """

    BINS = 4096
    # Below 2**LOWEST the width stays: 2**(12 - exponent) must be a float32.
    LOWEST = -100

    def __init__(self):
        self.counts = np.zeros(self.BINS, np.int64)
        self._amax = 0.0
        self._exponent = self.LOWEST  # amax < 2**exponent = BINS * width

    @property
    def width(self):
        return math.ldexp(1.0, self._exponent) / self.BINS

    @property
    def used(self):
        """Number of bins up to and including the one that holds the largest magnitude."""
        return int(self._amax / self.width) + 1

    def cover(self, largest):
        """Widens the range until it holds `largest`; zero is in every range (and has the exponent of one)."""
        if largest == 0:
            return
        exponent = max(math.frexp(largest)[1], self._exponent)
        _merge_pairs(self.counts, exponent - self._exponent)
        self._exponent = exponent
        self._amax = max(self._amax, largest)

    def count(self, magnitude, buffers):
        """Counts |x| (float32, within what is covered) with the help of `_Buffers`."""
        found = buffers.index(magnitude, [np.float32(1 / self.width)])
        self.counts += np.bincount(found, minlength=self.BINS)


class Doubling(object):
    """Counts as TensorRT's entropy calibrators do: bin k holds [k, k + 1) * range / BINS.

    The first batch's maximum is the range; a larger one doubles it until it fits. A batch of nothing
    but zeros sets no range (what TensorRT does with one is not known), and its zeros are counted.

    Attributes:
        counts: int64 (BINS,).
        range: float; 0.0 before the first value above zero.
    """

    BINS = 2048
    # A maximum that lies above the range by its last bit does not double it: engines differ there, and
    # a sigmoid that one of them gives as 1.0000001 after 1.0 would have half of its bins empty.
    SLACK = 1 + 2.0**-23
    # Below it BINS / range is no float32: such magnitudes are multiplied by LIFT first.
    SMALL = 2.0**-100
    LIFT = 2.0**64

    def __init__(self):
        self.counts = np.zeros(self.BINS, np.int64)
        self.range = 0.0

    @property
    def width(self):
        return self.range / self.BINS

    def cover(self, largest):
        """Sets the range by the first `largest` above zero, or doubles it until it holds `largest`."""
        if self.range == 0:
            self.range = largest
        doublings = 0
        while largest > self.range * self.SLACK:
            self.range *= 2
            doublings += 1
        _merge_pairs(self.counts, doublings)

    def count(self, magnitude, buffers):
        """Counts |x| (float32, within what is covered) with the help of `_Buffers`."""
        if self.range == 0:
            self.counts[0] += magnitude.size
            return
        lift = self.LIFT if self.range < self.SMALL else 1.0
        factors = [np.float32(self.BINS / (self.range * lift))]
        if lift != 1.0:
            factors.insert(0, np.float32(lift))
        counts = np.bincount(buffers.index(magnitude, factors), minlength=self.BINS + 1)
        self.counts += counts[: self.BINS]
        self.counts[-1] += counts[self.BINS]  # exactly the range, or above it within the slack


def _merge_pairs(counts, times):
    """Sums pairs of bins into the lower half, the upper half empty then; so many times, in place."""
    times = min(times, counts.size.bit_length() - 1)  # that many leave one bin
    if times:
        merged = counts.reshape(-1, 2**times).sum(axis=1)
        counts[:] = 0
        counts[: merged.size] = merged
