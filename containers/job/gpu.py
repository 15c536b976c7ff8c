"""The GPU that the process computes on, asked of the driver it has mapped; standard library only."""

import ctypes

NAME_BYTES = 256
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR in cuda.h
NO_CONTEXT = 201  # CUDA_ERROR_INVALID_CONTEXT


def facts(libraries):
    """Returns {"name", "uuid", "compute_capability", "cuda_of_driver"} of the process's current device.

    That is the one whose context the engine made current, else the first. None where the driver is
    not among the mapped `libraries`: then the process computed on no GPU, and asking would start one. They are
    None where they are not known.
    """
    driver = next((path for path in libraries or [] if "/libcuda.so" in path), None)
    if driver is None:
        return None
    try:
        return _ask(ctypes.CDLL(driver))
    except (OSError, AttributeError) as error:  # removed while mapped, or without these functions
        return {"problem": "%s: %s" % (type(error).__name__, error)}


def _ask(cuda):
    device, major, minor, version = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(NAME_BYTES)
    uuid = ctypes.create_string_buffer(16)
    calls = (
        ("cuInit", [0]),
        ("cuCtxGetDevice", [ctypes.byref(device)]),
        ("cuDeviceGetName", [name, NAME_BYTES, device]),
        ("cuDeviceGetUuid", [uuid, device]),
        ("cuDeviceGetAttribute", [ctypes.byref(major), MAJOR, device]),
        ("cuDeviceGetAttribute", [ctypes.byref(minor), MINOR, device]),
        ("cuDriverGetVersion", [ctypes.byref(version)]),
    )
    for function, arguments in calls:
        code = getattr(cuda, function)(*arguments)
        if code == NO_CONTEXT and function == "cuCtxGetDevice":
            code = cuda.cuDeviceGet(ctypes.byref(device), 0)
        if code != 0:
            raise OSError("%s gave error %d" % (function, code))
    digits = "".join("%02x" % byte for byte in uuid.raw)
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return {
        "name": name.value.decode("utf-8", "replace"),
        "uuid": "GPU-" + "-".join(parts),
        "compute_capability": "%d.%d" % (major.value, minor.value),
        "cuda_of_driver": "%d.%d" % (version.value // 1000, version.value % 1000 // 10),
    }
