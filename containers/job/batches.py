"""Images in batches: a network takes as many at once as it was made for, the last ones of a set among them."""

import numpy as np


def of(images, start, size):
    """Returns (float32 (size, ...), how many of them are images in their own right) from `start` on.

    `images` is float32 (images, ...). Where fewer are left they come again, from the first of them on, until
    the batch is full: what is computed of those is thrown away, or counts the same values once more.
    """
    found = images[start : start + size]
    if len(found) == size:
        return found, size
    return np.resize(found, (size,) + found.shape[1:]), len(found)


def starts(images, size):
    """Returns the index of the first image of each batch."""
    return range(0, len(images), size)
