"""The few calls of the CUDA runtime that running an engine needs, by ctypes on libcudart.

Every call's return code is checked; everything made here is freed by `close`. Pointers and handles are
plain ints: that is what TensorRT's bindings take.
"""

import contextlib
import ctypes
import ctypes.util
import glob
import os
import sys

import numpy as np

from .. import mapped

SONAMES = ["libcudart.so"] + [
    "libcudart.so." + version
    for version in ("13", "12", "11.0", "10.2", "10.1", "10.0", "9.2", "9.1", "9.0", "8.0")
]
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
NON_BLOCKING = 1  # cudaStreamNonBlocking: independent of the default stream
ATTRIBUTES = {  # of enum cudaDeviceAttr; unchanged since CUDA 5
    "compute_capability_major": 75,
    "compute_capability_minor": 76,
    "multiprocessors": 16,
    "clock_khz": 13,
}

_POINTER, _OUT, _INT, _OUT_INT = (
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_int),
)
SIGNATURES = {
    "cudaDeviceGetAttribute": [_OUT_INT, _INT, _INT],
    "cudaDeviceGetPCIBusId": [ctypes.c_char_p, _INT, _INT],
    "cudaDriverGetVersion": [_OUT_INT],
    "cudaEventCreate": [_OUT],
    "cudaEventDestroy": [_POINTER],
    "cudaEventElapsedTime": [ctypes.POINTER(ctypes.c_float), _POINTER, _POINTER],
    "cudaEventRecord": [_POINTER, _POINTER],
    "cudaFree": [_POINTER],
    "cudaFreeHost": [_POINTER],
    "cudaGetDeviceCount": [_OUT_INT],
    "cudaMalloc": [_OUT, ctypes.c_size_t],
    "cudaMallocHost": [_OUT, ctypes.c_size_t],
    "cudaMemcpyAsync": [_POINTER, _POINTER, ctypes.c_size_t, _INT, _POINTER],
    "cudaRuntimeGetVersion": [_OUT_INT],
    "cudaSetDevice": [_INT],
    "cudaStreamCreateWithFlags": [_OUT, ctypes.c_uint],
    "cudaStreamDestroy": [_POINTER],
    "cudaStreamSynchronize": [_POINTER],
}


class CudaError(Exception):
    """A CUDA call failed, or there is no CUDA runtime."""


def candidates(maps):
    """Yields names and paths of libcudart to try, the one already in this process (/proc/self/maps) first."""
    # A second runtime beside the engine's would work too, but its version would not be the engine's.
    for path in mapped.paths(maps):
        if os.path.basename(path).startswith("libcudart.so"):
            yield path
    # The wheel nvidia-cuda-runtime was installed beside the engine: a system's may want a newer driver.
    for folder in sys.path:
        for path in sorted(glob.glob(os.path.join(folder, "nvidia", "*", "lib", "libcudart.so.*"))):
            yield path
    for name in SONAMES:
        yield name
    for folder in sorted(glob.glob("/usr/local/cuda*/lib64"), reverse=True):
        yield os.path.join(folder, "libcudart.so")
    system = ctypes.util.find_library("cudart")
    if system:
        yield system


def _load():
    tried = []
    for name in candidates(mapped.maps()):
        if name in tried:
            continue
        tried.append(name)
        try:
            return ctypes.CDLL(name)
        except OSError:  # not there, or for another machine: the next may do
            continue
    raise CudaError(
        "no CUDA runtime found, tried: %s; install it, or add its folder to LD_LIBRARY_PATH"
        % ", ".join(tried)
    )


class Cuda(object):
    """One GPU, and what was made on it: memory, a stream, events."""

    def __init__(self, device):
        """Selects GPU number `device` for this thread.

        Raises:
            CudaError: no CUDA runtime, no driver, or no such GPU.
        """
        self._library = _load()
        for name, arguments in SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int
        for function in (self._library.cudaGetErrorName, self._library.cudaGetErrorString):
            function.argtypes = [ctypes.c_int]
            function.restype = ctypes.c_char_p
        self.device = device
        count = self._int("cudaGetDeviceCount")
        if not 0 <= device < count:
            raise CudaError("there is no GPU number %d: CUDA sees %d" % (device, count))
        self.call("cudaSetDevice", (device,))

    def call(self, name, arguments=()):
        """Calls a function of SIGNATURES with a tuple of arguments.

        Raises:
            CudaError: it returned anything but cudaSuccess.
        """
        code = getattr(self._library, name)(*arguments)
        if code:
            texts = (self._library.cudaGetErrorName(code), self._library.cudaGetErrorString(code))
            words = tuple((text or b"unknown").decode("ascii", "replace") for text in texts)
            raise CudaError("%s: error %d, %s: %s" % ((name, code) + words))

    def facts(self):
        """Returns a JSON object: which GPU, and CUDA's versions (12010 is 12.1)."""
        bus = ctypes.create_string_buffer(64)
        self.call("cudaDeviceGetPCIBusId", (bus, len(bus), self.device))
        return dict(
            {name: self._attribute(name) for name in ATTRIBUTES},
            device=self.device,
            pci_bus_id=bus.value.decode("ascii", "replace"),
            runtime=self._int("cudaRuntimeGetVersion"),
            driver=self._int("cudaDriverGetVersion"),
        )

    def capability(self):
        """Returns the GPU's compute capability: 90 for 9.0."""
        return 10 * self._attribute("compute_capability_major") + self._attribute("compute_capability_minor")

    def _attribute(self, name):
        return self._int("cudaDeviceGetAttribute", (ATTRIBUTES[name], self.device))

    def handle(self, name, arguments=()):
        """Returns the pointer or handle that a function of SIGNATURES gives in its first argument."""
        handle = ctypes.c_void_p()
        self.call(name, (ctypes.byref(handle),) + arguments)
        return handle.value

    def _int(self, name, arguments=()):
        value = ctypes.c_int()
        self.call(name, (ctypes.byref(value),) + arguments)
        return value.value


class Resources(object):
    """Things on the GPU that live and die together; freed in reverse order, each exactly once."""

    def __init__(self, cuda):
        self.cuda = cuda
        self._stack = contextlib.ExitStack()

    def _keep(self, handle, free):
        self._stack.callback(self.cuda.call, free, (handle,))
        return handle

    def memory(self, size):
        """Returns the address of `size` bytes on the GPU."""
        # cudaMalloc of nothing gives a null pointer, which TensorRT refuses.
        return self._keep(self.cuda.handle("cudaMalloc", (max(size, 1),)), "cudaFree")

    def host_array(self, shape, dtype):
        """Returns a numpy array in pinned memory: copies to and from it need no detour."""
        dtype = np.dtype(dtype)
        count = 1
        for extent in shape:
            count *= extent
        size = max(count * dtype.itemsize, 1)
        address = self._keep(self.cuda.handle("cudaMallocHost", (size,)), "cudaFreeHost")
        raw = (ctypes.c_char * size).from_address(address)
        return np.frombuffer(raw, dtype, count).reshape(shape)

    def stream(self):
        return self._keep(
            self.cuda.handle("cudaStreamCreateWithFlags", (NON_BLOCKING,)), "cudaStreamDestroy"
        )

    def event(self):
        return self._keep(self.cuda.handle("cudaEventCreate"), "cudaEventDestroy")

    def close(self):
        """Frees everything; all is tried even where one call fails."""
        self._stack.close()


def upload(cuda, address, array, stream):
    """Starts the copy of a C-contiguous array to the GPU."""
    sizes = (array.nbytes, HOST_TO_DEVICE, stream)
    cuda.call("cudaMemcpyAsync", (address, array.ctypes.data) + sizes)


def download(cuda, array, address, stream):
    """Starts the copy of as many bytes as `array` has from the GPU."""
    sizes = (array.nbytes, DEVICE_TO_HOST, stream)
    cuda.call("cudaMemcpyAsync", (array.ctypes.data, address) + sizes)


def elapsed_s(cuda, start, end):
    """Returns the seconds between two events that were recorded and have happened."""
    milliseconds = ctypes.c_float()
    cuda.call("cudaEventElapsedTime", (ctypes.byref(milliseconds), start, end))
    return milliseconds.value / 1000.0
