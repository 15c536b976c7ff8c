"""Runs an engine on one stream, buffers of fixed size."""

import time

import numpy as np

from ... import layer_information
from .. import cuda
from . import library, rtx
from .library import trt
from .network import word

PROFILE_WARM_UP = 3  # runs of a fresh context that are not counted: the first sets up
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
        layers, network: of layers.json, and {layer: [output tensors]} before fusion; empty until they are known.
        jit_s: seconds in which TensorRT-RTX compiled the kernels; None in TensorRT, whose engines have them.
    """

    def __init__(self, cuda_, built, log, batch=1):
        """Makes context, buffers, stream and events for `batch` images at once; they live until `close`.

        Errors of `log` explain a failure.

        Raises:
            RunError: TensorRT made no context, or a tensor has a type numpy lacks.
            cuda.CudaError: no memory.
        """
        self._cuda = cuda_
        self._built = built
        self._log = log
        self.device_s = None
        self.jit_s = None
        self.layers, self.network = [], {}
        self._resources = cuda.Resources(cuda_)
        try:
            self._rtx = rtx.Runtime(built.engine) if library.IS_RTX else None
            start = time.perf_counter()
            self.context = self._new_context()
            if library.IS_RTX:
                self.jit_s = time.perf_counter() - start
            if self.context is None:
                raise RunError("TensorRT made no execution context" + log.told())
            self._interface = _interface(built.engine)(built.engine, self.context, batch)
            self._bindings = self._interface.bindings(self._resources)
            self._inputs = {binding.name: binding for binding in self._bindings if binding.is_input}
            self._outputs = {binding.name: binding for binding in self._bindings if not binding.is_input}
            self._stream = self._resources.stream()
            self._start, self._end = self._resources.event(), self._resources.event()
        except Exception:
            self.close()
            raise

    def _new_context(self):
        engine = self._built.engine
        return self._rtx.context(engine) if self._rtx else engine.create_execution_context()

    def run(self, inputs, outputs):
        """Returns copies of the arrays of `outputs`, batch first, after all work is done.

        Raises:
            ValueError: the engine lacks one of the names, or an input has another type or shape.
            RunError, cuda.CudaError: it did not run.
        """
        for name, array in sorted(inputs.items()):
            self._fill(name, array)
        missing = [name for name in outputs if name not in self._outputs]
        if missing:
            known = [binding.name for binding in self._bindings if not binding.is_input]
            raise ValueError("the model has no output %s; it has: %s" % (", ".join(missing), ", ".join(known)))
        wanted = [self._outputs[name] for name in outputs]
        self._execute(wanted)
        return [binding.array.copy() for binding in wanted]

    def _fill(self, name, array):
        if name not in self._inputs:
            raise ValueError("the model has no input %r; it has: %s" % (name, ", ".join(sorted(self._inputs))))
        target = self._inputs[name].array
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
        for binding in self._inputs.values():
            cuda.upload(self._cuda, binding.address, binding.array, stream)
        call("cudaEventRecord", (self._start, stream))
        if not self._interface.enqueue(self._bindings, stream):
            raise RunError("TensorRT did not run the engine" + self._log.told())
        call("cudaEventRecord", (self._end, stream))
        for binding in wanted:
            cuda.download(self._cuda, binding.array, binding.address, stream)
        call("cudaStreamSynchronize", (stream,))
        self.device_s = cuda.elapsed_s(self._cuda, self._start, self._end)

    def layer_times(self, inputs, runs):
        """Returns what each layer takes in `runs` (at least 1): runs and layers of protocol.TIMES_KEYS.

        Raises: as `run`.
        """
        counted = self.profile(inputs, PROFILE_WARM_UP + runs)[PROFILE_WARM_UP:]
        return {"runs": runs, "layers": layer_information.timed(counted, self.layers, self.network)}

    def profile(self, inputs=None, runs=1):
        """Returns {layer: seconds} of each run on a context of its own: profiling slows a context.

        Without inputs it runs on zeros.

        Raises: as `run`.
        """
        context = self._new_context()
        if context is None:
            raise RunError("TensorRT made no second execution context" + self._log.told())
        self._interface.shape(context)
        profiler = Profiler()
        context.profiler = profiler
        for name, array in sorted((inputs or {}).items()):
            self._fill(name, array)
        for binding in self._inputs.values():
            if inputs is None:
                binding.array[...] = 0
            cuda.upload(self._cuda, binding.address, binding.array, self._stream)
        self._cuda.call("cudaStreamSynchronize", (self._stream,))
        addresses = [binding.address for binding in self._bindings]
        measured = []
        for _ in range(runs):
            profiler.seconds = {}
            if not self._interface.execute(context, addresses):
                raise RunError("TensorRT did not run the engine" + self._log.told())
            measured.append(profiler.seconds)
        return measured

    def close(self):
        """Frees everything on the GPU: context first, then engine, then buffers."""
        self.context = None
        self._rtx = None
        self._interface = None
        self._built = None
        self._bindings, self._inputs, self._outputs = (), {}, {}
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

    def __init__(self, engine, context, batch):
        self._engine = engine
        self._context = context
        self._batch = batch
        self._names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in self._names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]

    def bindings(self, resources):
        engine, context = self._engine, self._context
        self.shape(context)
        bindings = [
            Binding(
                resources,
                name,
                name in self._inputs,
                word(engine.get_tensor_dtype(name)),
                tuple(context.get_tensor_shape(name)),
            )
            for name in self._names
        ]
        for binding in bindings:
            if not context.set_tensor_address(binding.name, binding.address):
                raise RunError("TensorRT refused the buffer of tensor %s" % binding.name)
        return bindings

    def shape(self, context):
        """Tells a context how many images a free batch is."""
        for name in self._inputs:
            shape = tuple(self._engine.get_tensor_shape(name))
            if -1 in shape:
                context.set_input_shape(name, (self._batch,) + shape[1:])

    def enqueue(self, _bindings, stream):
        return self._context.execute_async_v3(stream)

    def execute(self, context, addresses):
        return context.execute_v2(addresses)


class Numbered(object):
    """Tensors by number: up to 8.4, and later where the batch is no axis; then it is added here."""

    def __init__(self, engine, context, batch):
        self._engine = engine
        self._context = context
        self._batch = batch
        # 5 has nothing but implicit batches, and so does not say.
        explicit = hasattr(engine, "has_implicit_batch_dimension")
        self._implicit = engine.has_implicit_batch_dimension if explicit else True

    def bindings(self, resources):
        engine, context = self._engine, self._context
        numbers = range(engine.num_bindings)
        self.shape(context)
        shaped = engine if self._implicit else context
        front = (self._batch,) if self._implicit else ()
        return [
            Binding(
                resources,
                engine.get_binding_name(number),
                engine.binding_is_input(number),
                word(engine.get_binding_dtype(number)),
                front + tuple(shaped.get_binding_shape(number)),
            )
            for number in numbers
        ]

    def shape(self, context):
        """As of Named."""
        for number in range(self._engine.num_bindings):
            shape = tuple(self._engine.get_binding_shape(number))
            if -1 in shape and self._engine.binding_is_input(number):
                context.set_binding_shape(number, (self._batch,) + shape[1:])

    def enqueue(self, bindings, stream):
        context = self._context
        addresses = [binding.address for binding in bindings]
        if self._implicit:
            return context.execute_async(
                batch_size=self._batch, bindings=addresses, stream_handle=stream
            )
        return context.execute_async_v2(addresses, stream)

    def execute(self, context, addresses):
        if self._implicit:
            return context.execute(batch_size=self._batch, bindings=addresses)
        return context.execute_v2(addresses)
