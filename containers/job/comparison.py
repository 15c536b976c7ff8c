"""One pass against another, per head: what a job run by hand shows. The host judges, not this."""

import math

import numpy as np

from . import reductions


def compare_files(path, reference):
    """Returns the errors of one head over all images.

    SQNR = 10 log10(sum r^2 / sum d^2), MAE = mean |d|, with d = y - r over all finite elements.

    Args:
        path: .npy float32 (images, ...), what is judged.
        reference: .npy of the same shape.

    Returns:
        {"sqnr_db", "mae", "max_abs", "nonfinite"}; sqnr_db is None where the two are identical or
        the reference is zero, mae and max_abs where no element is finite on both sides.
    """
    y, r = (np.load(name, mmap_mode="r", allow_pickle=False) for name in (path, reference))
    sums = reductions.compare(y, r)
    d2, r2, d1 = (float(sums[name].sum()) for name in ("d2", "r2", "d1"))
    n = int(sums["n"].sum())
    return {
        "sqnr_db": 10 * math.log10(r2 / d2) if d2 > 0 and r2 > 0 else None,
        "mae": d1 / n if n else None,
        "max_abs": float(sums["dmax"].max()) if n else None,
        "nonfinite": int(sums["nonfinite"].sum()),
    }


def table(heads, errors):
    """Returns aligned lines of text, one a head, from the results of `compare_files` by head."""
    rows = [("head", "SQNR dB", "MAE", "max |d|", "non-finite")]
    for head in heads:
        one = errors[head]
        rows.append(
            (
                head,
                "identical" if one["max_abs"] == 0 else _number("%.2f", one["sqnr_db"]),
                _number("%.3g", one["mae"]),
                _number("%.3g", one["max_abs"]),
                str(one["nonfinite"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )


def _number(form, value):
    # Zero is added to what was rounded: -0.004 would be "-0.00".
    return "-" if value is None else form % (float(form % value) + 0.0)
