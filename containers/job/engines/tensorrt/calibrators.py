"""TensorRT's own calibrators, each as this version has it, and what they were asked.

An exception in a callback ends the process (8.0 to 8.2) or the calibration, silently (8.4 and later).
So none leaves here: it is kept, and `check` raises it once the build is over.
"""

import ctypes
import time

from ... import batches, protocol
from .. import cuda
from .library import CALLED, trt

CLASSES = {
    "entropy": "IInt8EntropyCalibrator",
    "entropy2": "IInt8EntropyCalibrator2",  # 5.1
    "legacy": "IInt8LegacyCalibrator",
    "minmax": "IInt8MinMaxCalibrator",  # 6.0
}
HEADERS = {  # how the first line of a cache calls them
    "entropy": "EntropyCalibration",
    "entropy2": "EntropyCalibration2",
    "legacy": "LegacyCalibration",
    "minmax": "MinMaxCalibration",
}
# Of the legacy calibrator: keep the largest magnitude, search for no better one. NVIDIA's samples
# search both; with a search the result would depend on how often TensorRT runs the network.
QUANTILE, REGRESSION_CUTOFF = 1.0, 1.0


class CalibrationError(Exception):
    """A calibration that did not end as it was meant to; its engine must not be used."""


def available():
    """Returns the sorted names of the calibrators that this TensorRT has."""
    return sorted(name for name, kind in CLASSES.items() if hasattr(trt, kind))


def make(name, feed, cache, batch=1):
    """Returns a calibrator of CLASSES to hand to TensorRT.

    It has a `feed` with the images, or a calibration `cache` to offer. `batch` is the images at once where the
    batch is no axis, and 1 where it is one, in the shape.

    Raises:
        protocol.UnsupportedError: this TensorRT has no such calibrator.
    """
    kind = CLASSES.get(name)
    if kind is None or not hasattr(trt, kind):
        raise protocol.UnsupportedError(
            "%s has no calibrator %s; it has: %s"
            % (CALLED, name, ", ".join(available()) or "none, its scales are Q/DQ nodes")
        )
    base = getattr(trt, kind)

    def begin(self, feed, cache):
        base.__init__(self)  # TensorRT's classes refuse or crash without
        Callbacks.__init__(self, feed, cache, batch)

    return type("Calibrator", (Callbacks, base), {"__init__": begin})(feed, cache)


class Feed(object):
    """Calibration images, one batch after the other, in one buffer on the GPU."""

    def __init__(self, resources, input_name, images, size):
        """Allocates the buffer of `size` images, owned by `resources`, for the network's only input."""
        self._cuda = resources.cuda
        self._input = input_name
        self._images = images
        self._size = size
        self._host = resources.host_array((size,) + images.shape[1:], images.dtype)
        self._address = resources.memory(self._host.nbytes)
        self._stream = resources.stream()
        self.given = 0

    @property
    def total(self):
        return len(self._images)

    def next(self, names):
        """Returns one address a name, None after the last image."""
        if self.given == self.total:
            return None
        if list(names) != [self._input]:
            raise CalibrationError(
                "TensorRT asks for %s, there are images for %s only" % (", ".join(names), self._input)
            )
        batch, count = batches.of(self._images, self.given, self._size)
        self._host[...] = batch
        cuda.upload(self._cuda, self._address, self._host, self._stream)
        self._cuda.call("cudaStreamSynchronize", (self._stream,))
        self.given += count
        return [self._address]


class Callbacks(object):
    """What TensorRT calls, in every form that its versions use.

    Attributes:
        reads: how often it asked for a cache.
        asked: how often it asked for a batch.
        written: the cache it made, bytes, or None.
        error: the first exception in a callback, or None.
        seconds: spent in callbacks: what calibrating costs beside TensorRT's own work.
    """

    def __init__(self, feed, cache, batch=1):
        self._feed = feed
        self._batch = batch
        self._cache = cache  # must live as long as this: 8.0 keeps a pointer into it
        self.reads = 0
        self.asked = 0
        self.written = None
        self.error = None
        self.seconds = 0.0

    def _guarded(self, call, given):
        start = time.perf_counter()
        try:
            return call(given) if self.error is None else None
        except BaseException as error:  # noqa: BLE001 - ^C too: TensorRT would swallow or die of it
            self.error = error
            return None
        finally:
            self.seconds += time.perf_counter() - start

    def get_batch_size(self):
        return self._batch

    def get_batch(self, first, names=None):
        """(names) → addresses; in 5.0 (addresses, names) → the same addresses, filled in."""
        self.asked += 1
        found = self._guarded(self._next, first if names is None else names)
        if found is None or names is None:
            return found
        for index, address in enumerate(found):
            first[index] = address
        return first

    def _next(self, names):
        return None if self._feed is None else self._feed.next(names)

    def read_calibration_cache(self, length=None):
        """() → bytes or None; 5.0 passes a length and takes a pointer: there is no way to give it."""
        self.reads += 1
        if length is not None and self._cache is not None:
            self._guarded(_refuse, self._cache)
        return self._cache if length is None else None

    def write_calibration_cache(self, cache, size=None):
        """(bytes-like); in 5.0 (capsule, size)."""
        if size is None:
            self.written = self._guarded(bytes, cache)
        else:
            self.written = self._guarded(_pointed_at, (cache, size))

    # Of the legacy calibrator alone.

    def get_quantile(self):
        return QUANTILE

    def get_regression_cutoff(self):
        return REGRESSION_CUTOFF

    def read_histogram_cache(self, _length):
        return None

    def write_histogram_cache(self, _pointer, _length):
        return None


def _refuse(_cache):
    raise CalibrationError(
        "%s takes no calibration cache from Python: carry the table as dynamic_range" % CALLED
    )


def _pointed_at(given):
    """Returns the bytes that (capsule or address, size) mean."""
    pointer, size = given
    if not isinstance(pointer, int):
        address_of = ctypes.pythonapi.PyCapsule_GetPointer
        address_of.restype = ctypes.c_void_p
        address_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
        pointer = address_of(pointer, None)
    return ctypes.string_at(pointer, size)


def check(calibrator, takes_images):
    """Raises where a callback failed or was called that should not be; also after a failed build.

    Images are not taken where all scales were in the cache it offered.

    Raises:
        CalibrationError: says which.
    """
    if calibrator.error is not None:
        raise CalibrationError(
            "calibration failed in a callback: %s: %s"
            % (type(calibrator.error).__name__, calibrator.error)
        ) from calibrator.error
    if calibrator.asked and not takes_images:
        raise CalibrationError(
            "%s did not take the calibration cache it was given and asked for images: its "
            "header or a line is not what this version wants; carry the table as dynamic_range"
            % CALLED
        )


def check_complete(calibrator, feed):
    """Raises where a finished build did not use all that it was given: its images, or the cache that it offered.

    Raises:
        CalibrationError: images were left out, no scales came back, or the cache was not read.
    """
    if feed is None and not calibrator.reads:
        raise CalibrationError(
            "%s never asked for the calibration cache: the engine has no scales of the table"
            % CALLED
        )
    if feed is not None and feed.given < feed.total:
        raise CalibrationError(
            "%s asked for %d of %d calibration images: the engine would rest on a part of them"
            % (CALLED, feed.given, feed.total)
        )
    if feed is not None and not calibrator.written:
        raise CalibrationError(
            "%s gave no calibration cache after %d images: its scales are unknown"
            % (CALLED, feed.given)
        )
