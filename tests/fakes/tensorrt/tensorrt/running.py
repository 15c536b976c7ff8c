"""Runtime, engine, context and inspector."""

import base64
import ctypes
import functools
import json
import os
import signal

import numpy as np
import onnx

from tensorrt import basics, graph
from tensorrt.basics import VERSION, DataType, TensorIOMode, _Bound, _Field, _say


class Runtime(_Bound):
    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        return ICudaEngine(json.loads(bytes(serialized_engine)), self._logger)


class ICudaEngine(_Bound):
    def __init__(self, plan, logger):
        self._plan, self._logger = plan, logger
        self._model = onnx.load_from_string(base64.b64decode(plan["model"]))
        original = onnx.load_from_string(base64.b64decode(plan["original"]))
        known = graph.tensors(original)
        strip = 1 if plan["implicit_batch"] else 0
        constants = {one.name for one in original.graph.initializer}
        inputs = [one.name for one in original.graph.input if one.name not in constants]
        outputs = [one.name for one in original.graph.output]
        self._io = [(name, *known[name][:1], known[name][1][strip:]) for name in inputs + outputs]
        self._inputs = set(inputs)
        if VERSION < (8, 2):
            for line in _verbose(plan):
                _say(logger, 4, line)

    num_bindings = property(lambda self: len(self._io))
    num_io_tensors = property(lambda self: len(self._io))
    has_implicit_batch_dimension = property(lambda self: self._plan["implicit_batch"])

    def _find(self, name):
        return next(one for one in self._io if one[0] == name)

    def get_binding_name(self, index):
        return self._io[index][0]

    def binding_is_input(self, index):
        return self._io[index][0] in self._inputs

    def get_binding_dtype(self, index):
        return getattr(DataType, self._io[index][1])

    def _shape(self, one):
        return (-1, *one[2][1:]) if self._plan["free"] else one[2]

    def get_binding_shape(self, index):
        return self._shape(self._io[index])

    get_tensor_name = get_binding_name

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return getattr(DataType, self._find(name)[1])

    def get_tensor_shape(self, name):
        return self._shape(self._find(name))

    def create_execution_context(self):
        self._contexts = getattr(self, "_contexts", 0) + 1
        refused = {"no_context": 1, "one_context": 2}.get(self._model.producer_name, 0)
        return None if 0 < refused <= self._contexts else IExecutionContext(self)

    def create_engine_inspector(self):
        return EngineInspector(self)

    @functools.cached_property
    def _session(self):
        return graph.session(self._model)


class IExecutionContext(_Bound):
    profiler = _Field(None, basics.IProfiler)

    def __init__(self, engine):
        self._engine, self._addresses, self._runs = engine, {}, 0
        self._unset = set(engine._plan["free"])

    def get_binding_shape(self, binding):
        return self._shape(self._engine._io[binding])

    def set_binding_shape(self, binding, shape):
        return self._set(self._engine._io[binding][0], shape)

    def get_tensor_shape(self, name):
        return self._shape(self._engine._find(name))

    def set_input_shape(self, name, shape):
        return self._set(name, shape)

    def _shape(self, one):
        return self._engine._shape(one) if self._unset else one[2]

    def _set(self, name, shape):
        self._unset.discard(name)
        return tuple(shape) == self._engine._find(name)[2]

    def set_tensor_address(self, name, memory):
        if type(memory) is not int:
            raise TypeError("Unable to cast Python instance to C++ type")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        return self._run([self._addresses[one[0]] for one in self._engine._io], stream_handle)

    def execute_async_v2(self, bindings, stream_handle, input_consumed=None):
        if self._engine._plan["implicit_batch"]:
            return False  # "Execution with implicit batch must use execute"
        return self._run(bindings, stream_handle)

    def execute_v2(self, bindings):
        return self._run(bindings)

    def execute_async(self, batch_size=1, bindings=(), stream_handle=0, input_consumed=None):
        return self._run(bindings, stream_handle, self._batch(batch_size))

    def execute(self, batch_size=1, bindings=()):
        return self._run(bindings, None, self._batch(batch_size))

    def _batch(self, batch_size):
        assert self._engine._plan["implicit_batch"]
        assert 1 <= batch_size <= self._engine._plan["max_batch_size"], batch_size
        return (batch_size,)

    def _run(self, bindings, stream=None, front=()):
        if self._engine._model.producer_name == "does_not_run":
            _say(self._engine._logger, 1, "Cuda failure: an illegal memory access was encountered")
            return False
        if self._unset:
            _say(self._engine._logger, 1, "Not all dynamic input shapes are specified")
            return False
        if any(type(binding) is not int for binding in bindings) or len(bindings) != len(
            self._engine._io
        ):
            raise TypeError("Unable to cast Python instance to C++ type")
        cudart = ctypes.CDLL("libcudart.so")
        cudart.fakeIsDeviceMemory.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        cudart.fakeIsStream.argtypes = [ctypes.c_void_p]
        assert stream is None or cudart.fakeIsStream(stream), stream
        arrays = {}
        for address, (name, dtype, own) in zip(bindings, self._engine._io, strict=True):
            shape = (*front, *own)
            count = int(np.prod(shape))
            size = count * np.dtype(graph.NUMPY[dtype]).itemsize
            assert cudart.fakeIsDeviceMemory(address, size), (name, size)
            raw = (ctypes.c_char * size).from_address(address)
            arrays[name] = np.frombuffer(raw, graph.NUMPY[dtype], count).reshape(shape)
        engine = self._engine
        outputs = [one[0] for one in engine._io if one[0] not in engine._inputs]
        given = {name: arrays[name] for name in engine._inputs}
        for name, value in zip(
            outputs, graph.computed(engine._session, outputs, given), strict=True
        ):
            rounded = value.astype(np.float16) if engine._plan["half"] else value
            if engine._plan["bfloat"]:
                rounded = (value.view(np.uint32) & 0xFFFF0000).view(np.float32)
            arrays[name][...] = rounded
        self._runs += 1
        if self.profiler is not None:
            if engine._model.producer_name == "dies_profiled":
                os.kill(os.getpid(), signal.SIGSEGV)
            # A fresh context sets up in its first runs, and one of the others was disturbed.
            slow = 1000.0 if self._runs <= 3 or self._runs == 5 else 1.0
            layers = _fused(engine._plan)
            for number, layer in enumerate(layers, 1):
                name = layer["Name"]
                self.profiler.report_layer_time(
                    f"Reformatting CopyNode for Input Tensor 0 to {name}", slow
                )
                self.profiler.report_layer_time(name, slow * number)
        return True


class EngineInspector(_Bound):
    execution_context = _Field(None, IExecutionContext)

    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):
        layers = _fused(self._engine._plan)
        if not self._engine._plan["detailed"]:
            layers = [layer["Name"] for layer in layers]
        io = "I/O Tensors" if VERSION[0] >= 11 else "Bindings"
        text = json.dumps({"Layers": layers, io: [one[0] for one in self._engine._io]})
        # 8.6.0 wrote bare control characters into its strings (seen on a GPU; no JSON).
        return (
            text.replace('"TacticValue": "', '"TacticValue": "\x1f')
            if VERSION[:2] == (8, 6)
            else text
        )


def _fused(plan):
    """Returns the layers of an engine: an activation goes into the convolution before it."""
    found = []
    for name, kind, inputs, outputs in plan["layers"]:
        if kind == "ACTIVATION" and found and found[-1]["LayerType"] == "CaskConvolution":
            found[-1]["Name"] += " + " + name
            found[-1]["Outputs"] = [_format(plan, output) for output in outputs]
            continue
        integer = _integer(plan, inputs[0])
        layer = {
            "Name": name,
            "LayerType": "CaskConvolution" if kind == "CONVOLUTION" else kind.title(),
            "ParameterType": kind.title(),
            "Inputs": [_format(plan, inputs[0])],
            "Outputs": [_format(plan, output) for output in outputs],
            "TacticValue": "0x00000000000003ea",
        }
        if kind == "CONVOLUTION":
            layer["Weights"] = {
                "Type": "Int8" if integer else "Half" if plan["half"] else "Float",
                "Count": 1,
            }
            layer["TacticName"] = (
                "sm80_xmma_fprop_implicit_gemm_i8i8_i8i32_f32" if integer
                else "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32" if plan["tf32"] and not plan["half"]
                else "sm80_xmma_fprop_f16f16" if plan["half"] else "implicit_convolve_sgemm"
            )  # fmt: skip
        found.append(layer)
    return found


def _integer(plan, name):
    return name in plan["scales"] or name in plan["dequantised"]


def _format(plan, name):
    text = "Int8" if _integer(plan, name) else "FP16" if plan["half"] else "FP32"
    if VERSION[0] >= 11:
        return {"Name": name, "Format": "Row major linear", "DataType": text}
    return {"Name": name, "Format/Datatype": f"Row major linear {text}"}


def _verbose(plan):
    if VERSION[0] < 7:
        return
    yield "Engine Layer Information:"
    for one in _fused(plan):
        kind = {"FP32": "Float", "FP16": "Half", "Int8": "Int8"}
        tensors = [
            ", ".join(
                f"{t['Name']}[{kind[t['Format/Datatype'].split()[-1]]}(1,2,3)]" for t in one[key]
            )
            for key in ("Inputs", "Outputs")
        ]
        yield f"Layer({one['LayerType']}): {one['Name']}, Tactic: -42, {tensors[0]} -> {tensors[1]}"
