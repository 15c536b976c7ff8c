"""How TensorRT asks a calibrator, and what it makes of a cache."""

import ctypes
import os
import struct

import numpy as np

from tensorrt import graph
from tensorrt.basics import VERSION, _say


class Refused(Exception):
    """The build fails: TensorRT gives None and logs this."""


def header(algorithm):
    major, minor, patch = (*VERSION, 0, 0)[:3]
    number = major * (1000 if major < 10 else 10000) + minor * 100 + patch
    return f"TRT-{number}-{algorithm}"


def scales_of(calibrator, logger, model, input_name, shape, max_batch_size):
    """Returns tensor → scale, asking `calibrator` as this version would."""
    if model.producer_name == "asks_nothing":
        return {}
    offered = _call(calibrator, "read_calibration_cache", *([7] if VERSION < (5, 1) else []))
    if offered is not None and VERSION < (5, 1):
        raise SystemError("returned bytes where a capsule was wanted")
    if offered and model.producer_name != "refuses_cache":
        found = parse(bytes(offered), calibrator._header, logger)
        if found is not None:
            return found
    size = _call(calibrator, "get_batch_size")
    if max_batch_size is not None:
        if size > max_batch_size:
            raise Refused("batch size exceeds max_batch_size")
        shape = (size, *shape)
    amax = _observe(calibrator, model, input_name, shape)
    if not amax:
        raise Refused("Calibration failure occurred with no scaling factors detected")
    found = {name: float(np.float32(value / 127)) for name, value in amax.items()}
    if model.producer_name != "writes_no_cache":
        text = header(calibrator._header) + "\n"
        text += "".join(f"{name}: {_bits(scale):x}\n" for name, scale in found.items())
        content = text.encode()
        if VERSION < (5, 1):
            new = ctypes.pythonapi.PyCapsule_New
            new.restype, new.argtypes = (
                ctypes.py_object,
                [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
            )
            buffer = ctypes.create_string_buffer(content)
            _call(
                calibrator,
                "write_calibration_cache",
                new(ctypes.addressof(buffer), None, None),
                len(content),
            )
        else:
            view = memoryview(bytearray(content))
            _call(calibrator, "write_calibration_cache", view)
            view.release()  # dies with the call
    return found


def _observe(calibrator, model, input_name, shape):
    """Returns tensor → largest magnitude over all batches that the calibrator gives."""
    names = [get_output.name for get_output in calibrator_session(model).get_outputs()]
    session = calibrator_session(model)
    amax, given = {}, 0
    while not (model.producer_name == "stops_early" and given == 2):
        batch = _batch(calibrator, input_name)
        if not batch:
            break
        given += 1
        count = int(np.prod(shape))
        values = np.frombuffer(
            (ctypes.c_char * (4 * count)).from_address(batch[0]), np.float32
        ).reshape(shape)
        outputs = graph.computed(session, names, {input_name: values})
        for name, value in [(input_name, values), *zip(names, outputs, strict=True)]:
            if value.dtype == np.float32:
                amax[name] = max(amax.get(name, 0.0), float(np.abs(value).max()))
    return amax


def calibrator_session(model):
    nodes = [
        name
        for node in model.graph.node
        if node.op_type != "Constant"
        for name in node.output
        if name
    ]
    return graph.session(graph.with_outputs(model, nodes))


def _batch(calibrator, input_name):
    if VERSION < (5, 1):
        bindings = [None]
        found = _call(calibrator, "get_batch", bindings, [input_name])
    else:
        found = _call(calibrator, "get_batch", [input_name])
    if found is not None and (len(found) != 1 or type(found[0]) is not int):
        raise SystemError(f"read beyond the pointers that get_batch gave: {found!r}")
    return found


def _call(calibrator, name, *given):
    if not getattr(calibrator, "_initialised", False):
        raise SystemError("a calibrator whose base __init__ was not called")
    try:
        return getattr(calibrator, name)(*given)
    except Exception:
        if VERSION < (8, 4):
            os.abort()  # the callbacks are noexcept
        print(f"[ERROR] Exception caught in {name}()")
        return None


def parse(content, algorithm, logger):
    """Returns the scales in a cache, None where this version does not take it."""
    lines = content.decode().splitlines()
    version, _, wrote = lines[0].removeprefix("TRT-").partition("-")
    if wrote != algorithm:
        _say(logger, 1, "Calibration table does not match calibrator algorithm type.")
        return None
    if header(algorithm) != lines[0] and int(version) // 1000 != VERSION[0]:
        _say(logger, 1, "Calibration table does not match.")
        return None
    found = {}
    for line in lines[1:]:
        name, _, bits = line.rpartition(": ")
        found[name] = struct.unpack(">f", bytes.fromhex(bits.rjust(8, "0")))[0]
    return found


def _bits(scale):
    return struct.unpack(">I", struct.pack(">f", scale))[0]
