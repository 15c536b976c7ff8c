"""Images in, outputs out: .npy files in constant memory."""

import os

import numpy as np

from . import protocol


def load_images(path):
    """Returns float32 (images, ...) mapped from `path`.

    Raises:
        ValueError: the file is no .npy, is not float32, or holds no images.
    """
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    if images.dtype != np.float32 or images.ndim < 2 or images.size == 0:
        raise ValueError(
            "%s holds %s %s, expected float32 (images, ...) with at least one image"
            % (path, images.dtype, images.shape)
        )
    return images


class ArrayWriter(object):
    """Writes float32 (images, ...) to `path`, one image at a time; whole or not at all.

    Written as a stream, not mapped: a full disk is then an OSError, where a mapping would kill the
    process. Every writer ends with `close` or `discard`.
    """

    def __init__(self, path, images, shape):
        """Opens the file for `images` arrays of `shape`."""
        self._path = path
        self.shape = tuple(shape)
        self._left = images
        self._stream = open(path + protocol.PARTIAL, "wb")  # noqa: SIM115 - see close, discard
        header = {"descr": "<f4", "fortran_order": False, "shape": (images,) + self.shape}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def append(self, array):
        """Writes the next image.

        Raises:
            ValueError: it has another shape than the others, or there are too many.
        """
        if array.shape != self.shape:
            raise ValueError(
                "%s: shape %s after %s; outputs whose shape depends on the image cannot be compared "
                "element by element, name a tensor before that point as the head"
                % (os.path.basename(self._path), array.shape, self.shape)
            )
        if self._left == 0:
            raise ValueError("%s: more images than announced" % os.path.basename(self._path))
        self._left -= 1
        self._stream.write(np.ascontiguousarray(array, "<f4").tobytes())

    def close(self):
        """Gives the file its name.

        Raises:
            ValueError: images are missing.
        """
        if self._left:
            raise ValueError("%s: %d images are missing" % (os.path.basename(self._path), self._left))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        os.replace(self._path + protocol.PARTIAL, self._path)

    def discard(self):
        """Removes what was written so far; nothing after `close`."""
        if not self._stream.closed:
            self._stream.close()
            os.unlink(self._path + protocol.PARTIAL)
