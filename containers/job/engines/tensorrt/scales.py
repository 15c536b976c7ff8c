"""A table's way into TensorRT, and how much of it arrived."""

import itertools
import struct

from ... import protocol
from .library import CALLED, trt
from .network import inputs, outputs

LEVELS = 127  # amax = 127 * scale


def header(version, algorithm):
    """Returns the first line that this TensorRT writes: `TRT-8503-EntropyCalibration2`.

    major * 1000 + minor * 100 + patch; from TensorRT 10 on the major counts 10000.
    """
    major, minor, patch = (int(part) for part in (version.split(".") + ["0", "0"])[:3])
    number = major * (1000 if major < 10 else 10000) + minor * 100 + patch
    return "TRT-%d-%s" % (number, algorithm)


def cache(table, first_line):
    """Returns the bytes of a calibration cache from {tensor: amax}: scales as big-endian float32 in hexadecimal."""
    lines = [first_line]
    for name in sorted(table):
        if "\n" in name:
            raise ValueError("tensor %r cannot stand in a calibration cache: rename it" % name)
        (bits,) = struct.unpack(">I", struct.pack(">f", table[name] / LEVELS))
        lines.append("%s: %x" % (name, bits))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def amax(content):
    """Returns {tensor: amax} of a cache that TensorRT wrote, as far as lines are `name: scale`.

    Only to count what has a scale: the host reads the file itself.
    """
    found = {}
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        name, colon, value = line.rpartition(":")
        try:
            bits = int(value, 16) if colon and name else None
        except ValueError:  # the first line
            continue
        if bits is not None and bits < 1 << 32:
            found[name] = LEVELS * struct.unpack(">f", struct.pack(">I", bits))[0]
    return found


def set_ranges(network, table):
    """Sets the dynamic range of every tensor of `network` that `table` knows.

    Raises:
        ValueError: TensorRT refused a range.
        protocol.UnsupportedError: tensors have no ranges (11).
    """
    if not hasattr(trt.ITensor, "set_dynamic_range"):
        raise protocol.UnsupportedError("%s has no dynamic ranges" % CALLED)
    definition = network.definition
    layers = [definition.get_layer(index) for index in range(definition.num_layers)]
    for tensor in itertools.chain(inputs(definition), *(outputs(layer) for layer in layers)):
        if tensor.name in table:
            limit = table[tensor.name]
            if not tensor.set_dynamic_range(-limit, limit):
                raise ValueError("TensorRT refused the range %g of tensor %r" % (limit, tensor.name))


def coverage(table, tensors, log):
    """Returns how a table and a network went together, as in build.json.

    `table` is {tensor: amax} that TensorRT was given, or made itself; `tensors` are those that can have a scale.
    """
    known = set(tensors)
    return {
        "table": len(table),
        "mapped": sum(1 for name in known if table.get(name, 0) > 0),
        "unmapped": sorted(known - set(table)),
        "unknown": sorted(set(table) - known),
        "zero": sorted(name for name in table if table[name] == 0),
        "defaulted": log.defaulted,
        "missing": sorted(log.unscaled),
        "rejected": sorted(log.rejected),
    }
