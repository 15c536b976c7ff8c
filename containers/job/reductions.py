"""The per-image sums that every error metric is made from; streaming, numpy only.

The one implementation: the job prints from it, the host (which imports this module) judges by it.
"""

import numpy as np

SUMS = np.dtype(
    [
        ("d2", np.float64),  # sum of d^2, where d = y - r
        ("d1", np.float64),  # sum of |d|
        ("dmax", np.float64),  # largest |d|
        ("r2", np.float64),  # sum of r^2
        ("y2", np.float64),  # sum of y^2
        ("ry", np.float64),  # sum of r y
        ("n", np.int64),  # elements that are finite on both sides; only they enter the sums
        ("over", np.int64),  # elements with |d| > epsilon
        ("nonfinite", np.int64),  # elements that are NaN or infinite on either side
    ]
)

# What `flat` says.
FLAT = ("constant", "the same for every image")
# Elements summed in float32 before float64 takes over: 1 KiB, so the relative error of a sum is at
# most ROW * 2**-24 = 1.5e-5 (0.0001 dB) in whatever order a BLAS adds, about 1e-7 in practice.
ROW = 256
# Elements at a time: large enough to make Python's share small, small enough for a level-2 cache.
BLOCK = 256 * ROW
# A float32 sum of squares outside these limits may have lost terms to underflow or overflow.
TRUSTED = (1e-28, 1e38)


def compare(y, r, epsilon=1e-3):
    """Returns the sums of `y` against the reference `r`, one row an image.

    Memory is constant: memory-mapped arrays are read block by block. Differences are rounded to
    float32 (relative error 2**-24); products are summed in float32 over at most `ROW` elements,
    then in float64. Blocks whose squares leave the range of float32 are summed in float64.

    Args:
        y: float32 (images, ...), what is judged.
        r: float32, same shape: the reference.
        epsilon: |d| beyond which an element counts as `over`.

    Returns:
        SUMS (images,). All zeros but `nonfinite` where an image has no finite element.

    Raises:
        ValueError: the arrays are not float32, differ in shape or have no image axis, or `epsilon`
            is no number >= 0.
    """
    _check(y, r, epsilon)
    sums = np.zeros(len(y), SUMS)
    buffer = np.empty(BLOCK, np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for image in range(len(y)):
            flat_y, flat_r = y[image].reshape(-1), r[image].reshape(-1)
            for start in range(0, flat_y.size, BLOCK):
                block = slice(start, start + BLOCK)
                _add(sums[image], _block(flat_y[block], flat_r[block], epsilon, buffer))
    return sums


def flat(array):
    """Says what is flat about the outputs (images, ...): `constant`, `the same for every image`, or None.

    They are read image by image, and no further than the first that differs.
    """
    if not len(array) or not array[0].size:
        return None
    first = np.asarray(array[0])
    value = first.flat[0]
    if (first == value).all() and all(bool((one == value).all()) for one in array):
        return FLAT[0]
    if len(array) > 1 and all(np.array_equal(one, first) for one in array[1:]):
        return FLAT[1]
    return None


def _check(y, r, epsilon):
    for name, array in (("y", y), ("r", r)):
        if array.dtype != np.float32:
            raise ValueError(
                "%s is %s, expected float32: convert it before comparing" % (name, array.dtype)
            )
    if y.shape != r.shape:
        raise ValueError(
            "y has shape %s, r has %s: two outputs are compared only where every axis agrees"
            % (y.shape, r.shape)
        )
    if y.ndim == 0:
        raise ValueError("y and r are single numbers, expected a first axis of images")
    if not epsilon >= 0:
        raise ValueError("epsilon is %r, expected a number >= 0" % (epsilon,))


def _add(total, part):
    """Adds one block's sums, in the order of SUMS, to an image's row."""
    for name, value in zip(SUMS.names, part):
        total[name] = max(total[name], value) if name == "dmax" else total[name] + value


def _block(y, r, epsilon, buffer):
    """Returns the sums of one block, float32 (n,), in the order of SUMS; `buffer`, float32 (BLOCK,), is overwritten."""
    n = y.size
    rows_y, rows_r = _rows(y), _rows(r)
    rows_d = buffer[: rows_y.size].reshape(rows_y.shape)
    np.subtract(rows_y, rows_r, out=rows_d)
    squares = [_dot(rows, rows) for rows in (rows_d, rows_r, rows_y)]
    magnitude = np.abs(rows_d, out=rows_d)
    largest = float(magnitude.max())
    low, high = TRUSTED
    if not all(low < square < high for square in squares[0 if largest else 1 :]):
        return _block_float64(y, r, epsilon)
    d2, r2, y2 = squares
    d1 = _dot(magnitude, np.ones((1, ROW), np.float32))
    over = np.count_nonzero(magnitude > np.float32(epsilon))
    return d2, d1, largest, r2, y2, _dot(rows_r, rows_y), n, over, 0


def _rows(flat):
    """Returns `flat` as rows of `ROW` elements, the last one filled with zeros: they add nothing."""
    missing = -flat.size % ROW
    if missing:
        flat = np.concatenate([flat, np.zeros(missing, np.float32)])
    return flat.reshape(-1, ROW)


def _dot(a, b):
    """Returns the sum of a * b over all elements: float32 within a row, float64 over the rows."""
    return float(np.matmul(a[:, None, :], b[:, :, None]).sum(dtype=np.float64))


def _block_float64(y, r, epsilon):
    """As `_block`, slower: right for every finite value; leaves the others out and counts them."""
    finite = np.isfinite(y) & np.isfinite(r)
    kept_y, kept_r = y[finite].astype(np.float64), r[finite].astype(np.float64)
    d = kept_y - kept_r
    magnitude = np.abs(d)
    return (
        (d * d).sum(),
        magnitude.sum(),
        magnitude.max() if d.size else 0.0,
        (kept_r * kept_r).sum(),
        (kept_y * kept_y).sum(),
        (kept_r * kept_y).sum(),
        d.size,
        np.count_nonzero(magnitude > epsilon),
        y.size - d.size,
    )
