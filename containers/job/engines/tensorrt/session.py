"""Runs an engine on one stream, buffers of fixed size."""

import numpy as np
import tensorrt as trt

from job.engines import cuda
from job.engines.tensorrt.network import word

DTYPES = {  # not trt.nptype: it names what numpy no longer has, in 8.0 to 8.4
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


class RunError(Exception):
    """TensorRT did not run an engine."""


class Binding(object):
    """One input or output: its array in pinned memory and its address on the GPU."""

    def __init__(self, resources, name, is_input, dtype, shape):
        if dtype not in DTYPES:
            raise RunError("tensor %s is %s, which numpy does not have" % (name, dtype))
        self.name = name
        self.is_input = is_input
        self.array = resources.host_array(shape, DTYPES[dtype])
        self.address = resources.memory(self.array.nbytes)


class Session(object):
    """A session as job.engines describes it.

    Attributes:
        device_s: seconds that the GPU computed in the last run, copies apart.
    """

    def __init__(self, cuda_, built, log):
        """Makes context, buffers, stream and events; they live until `close`.

        Args:
            cuda_: cuda.Cuda.
            built: building.Built.
            log: Log, whose errors explain a failure.

        Raises:
            RunError: TensorRT made no context, or a tensor has a type numpy lacks.
            cuda.CudaError: no memory.
        """
        self._cuda = cuda_
        self._built = built
        self._log = log
        self.device_s = None
        self._resources = cuda.Resources(cuda_)
        try:
            self._context = built.engine.create_execution_context()
            if self._context is None:
                raise RunError("TensorRT made no execution context" + log.told())
            self._interface = _interface(built.engine)(built.engine, self._context)
            self._bindings = self._interface.bindings(self._resources)
            self._stream = self._resources.stream()
            self._start, self._end = self._resources.event(), self._resources.event()
        except Exception:
            self.close()
            raise

    def run(self, inputs, outputs):
        """Returns copies of the arrays of `outputs`, batch first, after all work is done.

        Raises:
            ValueError: the engine lacks one of the names, or an input has another type or shape.
            RunError, cuda.CudaError: it did not run.
        """
        found = {one.name: one for one in self._bindings}
        for name, array in sorted(inputs.items()):
            self._fill(found, name, array)
        missing = [name for name in outputs if name not in found or found[name].is_input]
        if missing:
            raise ValueError(
                "the model has no output %s; it has: %s"
                % (", ".join(missing), ", ".join(one.name for one in self._bindings if not one.is_input))
            )
        wanted = [found[name] for name in outputs]
        self._execute(wanted)
        return [self._interface.batched(one.array).copy() for one in wanted]

    def _fill(self, found, name, array):
        if name not in found or not found[name].is_input:
            known = sorted(one.name for one in self._bindings if one.is_input)
            raise ValueError("the model has no input %r; it has: %s" % (name, ", ".join(known)))
        target = self._interface.batched(found[name].array)
        if target.shape != array.shape:
            raise ValueError(
                "input %r has shape %s, images have %s" % (name, target.shape, array.shape)
            )
        if target.dtype != array.dtype:
            raise ValueError(
                "input %r of the model is %s, images are %s: put a Cast in front of it"
                % (name, target.dtype, array.dtype)
            )
        np.copyto(target, array)

    def _execute(self, wanted):
        call, stream = self._cuda.call, self._stream
        for one in self._bindings:
            if one.is_input:
                cuda.upload(self._cuda, one.address, one.array, stream)
        call("cudaEventRecord", (self._start, stream))
        if not self._interface.enqueue(self._bindings, stream):
            raise RunError("TensorRT did not run the engine" + self._log.told())
        call("cudaEventRecord", (self._end, stream))
        for one in wanted:
            cuda.download(self._cuda, one.array, one.address, stream)
        call("cudaStreamSynchronize", (stream,))
        self.device_s = cuda.elapsed_s(self._cuda, self._start, self._end)

    def profile(self):
        """Returns {layer: seconds} of one run on zeros; names only where nothing else lists layers."""
        context = self._built.engine.create_execution_context()  # its own: profiling slows a context
        profiler = Profiler()
        context.profiler = profiler
        addresses = [one.address for one in self._bindings]
        for one in self._bindings:
            if one.is_input:
                one.array[...] = 0
                cuda.upload(self._cuda, one.address, one.array, self._stream)
        self._cuda.call("cudaStreamSynchronize", (self._stream,))
        if not self._interface.execute(context, addresses):
            raise RunError("TensorRT did not run the engine" + self._log.told())
        return profiler.seconds

    @property
    def context(self):
        return self._context

    def close(self):
        """Frees everything on the GPU: context first, then engine, then buffers."""
        self._context = None
        self._interface = None
        self._built = None
        self._bindings = ()
        self._resources.close()


class Profiler(trt.IProfiler):
    """Hears which layers ran, and how long."""

    def __init__(self):
        trt.IProfiler.__init__(self)
        self.seconds = {}

    def report_layer_time(self, layer_name, ms):
        self.seconds[layer_name] = self.seconds.get(layer_name, 0.0) + ms / 1000.0


def _interface(engine):
    """Returns how the engine's tensors are reached: by name from 8.5, unless its batch is no axis."""
    if not hasattr(engine, "num_io_tensors"):
        return Numbered
    if hasattr(engine, "num_bindings") and engine.has_implicit_batch_dimension:  # UFF; gone in 10
        return Numbered
    return Named


class Named(object):
    """Tensors by name: 8.5 and later."""

    def __init__(self, engine, context):
        self._engine = engine
        self._context = context

    def bindings(self, resources):
        engine, context = self._engine, self._context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in inputs:
            shape = tuple(engine.get_tensor_shape(name))
            if -1 in shape:
                context.set_input_shape(name, (1,) + shape[1:])
        found = [
            Binding(
                resources,
                name,
                name in inputs,
                word(engine.get_tensor_dtype(name)),
                tuple(context.get_tensor_shape(name)),
            )
            for name in names
        ]
        for one in found:
            if not context.set_tensor_address(one.name, one.address):
                raise RunError("TensorRT refused the buffer of tensor %s" % one.name)
        return found

    def enqueue(self, _bindings, stream):
        return self._context.execute_async_v3(stream)

    def execute(self, context, addresses):
        return context.execute_v2(addresses)

    def batched(self, array):
        return array


class Numbered(object):
    """Tensors by number: up to 8.4, and later where the batch is no axis; then it is added here."""

    def __init__(self, engine, context):
        self._engine = engine
        self._context = context
        # 5 has nothing but implicit batches, and so does not say.
        explicit = hasattr(engine, "has_implicit_batch_dimension")
        self._implicit = engine.has_implicit_batch_dimension if explicit else True

    def bindings(self, resources):
        engine, context = self._engine, self._context
        numbers = range(engine.num_bindings)
        for number in numbers:
            shape = tuple(engine.get_binding_shape(number))
            if -1 in shape and engine.binding_is_input(number):
                context.set_binding_shape(number, (1,) + shape[1:])
        shaped = engine if self._implicit else context
        return [
            Binding(
                resources,
                engine.get_binding_name(number),
                engine.binding_is_input(number),
                word(engine.get_binding_dtype(number)),
                tuple(shaped.get_binding_shape(number)),
            )
            for number in numbers
        ]

    def enqueue(self, bindings, stream):
        context = self._context
        addresses = [one.address for one in bindings]
        if self._implicit:
            return context.execute_async(batch_size=1, bindings=addresses, stream_handle=stream)
        return context.execute_async_v2(addresses, stream)

    def execute(self, context, addresses):
        if self._implicit:
            return context.execute(batch_size=1, bindings=addresses)
        return context.execute_v2(addresses)

    def batched(self, array):
        return array[np.newaxis] if self._implicit else array
