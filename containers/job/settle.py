"""What is told of a pass so that its outputs need not travel: sums, what is flat, and what boxes are made of.

In the pass's folder, N the place of a head in the request, G that of a gate:
    settled.json    {"schema_version", "flat": {head: as reductions.flat says}, "own": whether there are own-N.bin}
    sums-N.bin      reductions.SUMS against the reference, one an image
    own-N.bin       the same against the environment's own fp32
    mask-G.bin      one bit a position, each image from a byte of its own: those whose values travel
    rows-N.bin      their values (NaN where one counts for no box), float32 (positions, channels): first byte of all, then second, third, fourth
Numbers are little-endian. A position travels where it can hold a box in the pass or in the reference: both
have to be decoded, also with heads of the one among those of the other.
"""

import io
import os

import numpy as np

from . import protocol, reductions

SUMS = reductions.SUMS.newbyteorder("<")


def run(asked, heads, outputs, own, folder):
    """Writes these files.

    `asked` is `settle` of the request (protocol.SETTLE_KEYS), its paths absolute, `outputs` {head: {"file",
    "shape"}} of the pass, and `own` {head: path of the environment's own fp32}, or None where that is not here.

    Raises:
        ValueError: the outputs are no such as the reference's.
    """
    names = [head for head, _ in heads]
    flat = {}
    for number, head in enumerate(names):
        y, r = _array(os.path.join(folder, outputs[head]["file"])), _array(asked["reference"][head])
        _write(folder, "sums-%d.bin" % number, reductions.compare(y, r, asked["epsilon"]).astype(SUMS).tobytes())
        if own is not None:
            sums = reductions.compare(y, _array(own[head]), asked["epsilon"])
            _write(folder, "own-%d.bin" % number, sums.astype(SUMS).tobytes())
        flat[head] = reductions.flat(y)
    for number, gate in enumerate(asked["gates"]):
        test = {head: _array(os.path.join(folder, outputs[head]["file"])) for head in gate["heads"]}
        _rows(gate, number, names, test, asked["reference"], folder)
    told = {"schema_version": protocol.SCHEMA_VERSION, "flat": flat, "own": own is not None}
    protocol.write_json(os.path.join(folder, protocol.SETTLED), told)


def _rows(gate, number, names, test, reference, folder):
    told = gate["head"]
    ours, theirs = test[told], _array(reference[told])
    kept = []
    with io.open(os.path.join(folder, "mask-%d.bin" % number), "wb") as stream:
        for image in range(len(ours)):
            mask = passing(ours[image], gate) | passing(theirs[image], gate)
            stream.write(np.packbits(mask).tobytes())
            kept.append(np.flatnonzero(mask))
    for head in sorted(gate["heads"]):
        y = test[head]
        r = _array(reference[head])
        rows = [came(y[image], r[image], head, gate)[which] for image, which in enumerate(kept)]
        every = np.ascontiguousarray(np.concatenate(rows), "<f4")
        # Bytes of one weight are like each other: only so is there something to compress.
        planes = every.reshape(-1).view(np.uint8).reshape(-1, 4).T
        _write(folder, "rows-%d.bin" % names.index(head), planes.tobytes())


def came(y, r, head, gate):
    """Returns what travels of one image's output: (positions, channels), NaN where a value cannot count."""
    values, theirs = (positions(one, gate["heads"][head]) for one in (y, r))
    values = np.array(values, np.float32)
    for channel in gate["alone"].get(head, ()):
        with np.errstate(invalid="ignore"):
            counts = (values[:, channel] >= np.float32(gate["least"])) | (
                theirs[:, channel] >= np.float32(gate["least"])
            )
        values[~counts, channel] = np.nan
    return values


def restored(values, r, head, gate):
    """Returns (positions, channels) of what came of one image: in place of what does not count, the reference's.

    `values` are some positions as `came` returns them, and `r` the reference's of the same.
    """
    values = np.array(values, np.float32)
    for channel in gate["alone"].get(head, ()):
        with np.errstate(invalid="ignore"):
            gone = np.isnan(values[:, channel]) & ~(r[:, channel] >= np.float32(gate["least"]))
        values[gone, channel] = r[gone, channel]
    return values


def positions(output, channels):
    """Returns one image's output as (positions, channels).

    Its shape ends with `channels`; where they are None, they are its first axis.
    """
    return output.reshape(len(output), -1).T if channels is None else output.reshape(-1, channels)


def passing(output, gate):
    """Returns for each position of one image's output, bool (positions,), whether it can hold a box."""
    values = positions(output, gate["heads"][gate["head"]])
    least = np.float32(gate["least"])
    found = np.zeros(len(values), bool)
    with np.errstate(invalid="ignore"):  # NaN is no score
        for number, channels in enumerate(gate["scores"]):
            best = np.fmax.reduce(values[:, channels], axis=1)
            if gate["among"] is not None:
                best = best - values[:, gate["among"][number]].max(axis=1)
            found |= best >= least
    return found


def _array(path):
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _write(folder, name, content):
    with io.open(os.path.join(folder, name), "wb") as stream:
        stream.write(content)
