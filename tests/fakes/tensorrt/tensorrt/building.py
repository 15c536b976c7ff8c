"""Builder, configuration, network and parser."""

import base64
import json

import onnx

from tensorrt import basics, calibration, graph, plugins
from tensorrt.basics import (
    VERSION,
    BuilderFlag,
    DataType,
    IHostMemory,
    _Bound,
    _Field,
    _say,
)

KINDS = {"Conv": "CONVOLUTION", "Relu": "ACTIVATION", "Resize": "RESIZE", "QuantizeLinear": "QUANTIZE",
         "DequantizeLinear": "DEQUANTIZE", "Constant": "CONSTANT", "Cast": "CAST", "MaxPool": "POOLING"}  # fmt: skip
OPSETS = ((7, 9), (8, 11), (9, 17), (10, 19))  # version below → highest opset of its ONNX parser


class ITensor(_Bound):
    def __init__(self, name, dtype, shape):
        self._name, self._dtype, self._shape, self._range = name, dtype, shape, None
        self._original = name

    @property
    def name(self):
        return self._name

    @name.setter
    def name(self, name):
        self._name = name

    dtype = property(lambda self: getattr(DataType, self._dtype))
    shape = property(lambda self: self._shape)
    dynamic_range = property(lambda self: self._range)

    def set_dynamic_range(self, low, high):
        if not low < high:
            return False
        self._range = (low, high)
        return True


class ILayer(_Bound):
    def __init__(self, name, kind, outputs):
        self._name, self._kind, self._outputs = name, kind, outputs
        self._types = {}

    precision = _Field(None, type(DataType.FLOAT))
    name = property(lambda self: self._name)
    type = property(lambda self: getattr(basics.LayerType, self._kind))
    num_outputs = property(lambda self: len(self._outputs))

    def get_output(self, index):
        return self._outputs[index]

    def set_output_type(self, index, dtype):
        if self._outputs[index]._dtype not in ("FLOAT", "HALF"):
            raise ValueError("only floating-point outputs can be typed")
        self._types[index] = dtype

    def _fixed_outputs(self):
        """Returns the tensors that stay in fp32 where constraints are obeyed."""
        return {
            self._outputs[index].name
            for index, dtype in self._types.items()
            if "FLOAT" == dtype.name == getattr(self.precision, "name", None)
        }


class INetworkDefinition(_Bound):
    def __init__(self, flags):
        self._flags, self._model, self._inputs, self._layers, self._outputs = (
            flags,
            None,
            [],
            [],
            [],
        )

    num_inputs = property(lambda self: len(self._inputs))
    num_layers = property(lambda self: len(self._layers))
    num_outputs = property(lambda self: len(self._outputs))
    has_implicit_batch_dimension = property(lambda self: self._implicit)

    @property
    def _implicit(self):
        return VERSION[0] < 10 and not self._has("EXPLICIT_BATCH")

    def _has(self, flag):
        flags = getattr(basics, "NetworkDefinitionCreationFlag", None)
        value = getattr(flags, flag, None)
        return value is not None and bool(self._flags >> int(value) & 1)

    @property
    def _strong(self):
        return VERSION[0] >= 11 or self._has("STRONGLY_TYPED")

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    def get_layer(self, index):
        return self._layers[index]

    def add_loop(self):
        raise NotImplementedError

    def add_quantize(self, *given):
        raise NotImplementedError


class ParserError(_Bound):
    def __init__(self, text, node, operator=""):
        self._text, self._node, self._operator = text, node, operator

    def desc(self):
        return self._text

    def node(self):
        return self._node

    def code(self):
        return "ErrorCode.UNSUPPORTED_NODE"

    def node_name(self):
        return "made-up"

    def node_operator(self):
        return self._operator


class OnnxParser(_Bound):
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, logger, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        try:
            parsed = onnx.load_from_string(bytes(model))
        except Exception:  # a truncated file raises what protobuf likes
            self._errors.append(ParserError("Failed to parse the ONNX model", -1))
            return False
        return self._import(parsed)

    def parse_from_file(self, model):
        with open(model, "rb") as stream:
            return self.parse(stream.read(), model)

    def _import(self, model):
        network = self._network
        if VERSION[0] in (7, 8, 9) and not network._has("EXPLICIT_BATCH"):
            message = (
                "This version of the ONNX parser only supports networks with an explicit batch"
            )
            self._errors.append(ParserError(message, -1))
        if VERSION[0] == 6 and network._has("EXPLICIT_BATCH"):
            self._errors.append(ParserError("the batch of an input was stripped", -1))
        limit = next((opset for below, opset in OPSETS if VERSION[0] < below), 99)
        for index, node in enumerate(model.graph.node):
            since = {"QuantizeLinear": (7, 2)}.get(node.op_type, (0,))
            if node.domain and node.op_type in plugins.operators() and VERSION >= (7, 1):
                continue
            if node.domain or since > VERSION or (node.op_type == "Resize" and limit < 10):
                text = f"No importer registered for op: {node.op_type}"
                self._errors.append(ParserError(text, index, node.op_type))
        if self._errors:
            return False
        known = graph.tensors(model)
        strip = network._implicit
        network._model = model

        def tensor(name):
            dtype, shape = known.get(name, ("FLOAT", ()))
            return ITensor(name, dtype, shape[1:] if strip else shape)

        constants = {one.name for one in model.graph.initializer}
        network._inputs += [
            tensor(one.name) for one in model.graph.input if one.name not in constants
        ]
        for index, node in enumerate(model.graph.node):
            kind = "PLUGIN_V2" if node.domain else KINDS.get(node.op_type, "ELEMENTWISE")
            name = node.name or node.output[0]
            if VERSION < (7, 1):
                name = f"(Unnamed Layer* {index}) [{node.op_type}]"
            network._layers.append(ILayer(name, kind, [tensor(one) for one in node.output if one]))
        network._outputs += [tensor(one.name) for one in model.graph.output]
        return True


class UffParser(_Bound):
    """Reads what no converter wrote: `UFF ` and an ONNX network, whose names are those of the nodes."""

    def __init__(self):
        self._inputs, self._outputs = {}, []

    def register_input(self, name, shape, order=None):
        self._inputs[name] = tuple(shape)
        return True

    def register_output(self, name):
        self._outputs.append(name)
        return True

    def parse(self, file, network, weights_type=None):
        if not network._implicit:
            return False
        with open(file, "rb") as stream:
            content = stream.read()
        if not content.startswith(b"UFF "):
            return False
        model = onnx.load_from_string(content[4:])
        known = graph.tensors(model)
        inputs = {one.name: known[one.name][1][1:] for one in model.graph.input}
        made = {name for node in model.graph.node for name in node.output}
        if inputs != self._inputs or not set(self._outputs) <= made:
            return False
        del model.graph.output[:]
        model.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(n) for n in self._outputs
        )
        tensors = {name: ITensor(name, *_stripped(known, name)) for name in [*inputs, *made]}
        network._model = model
        network._inputs += [tensors[name] for name in inputs]
        for node in model.graph.node:
            kind = KINDS.get(node.op_type, "ELEMENTWISE")
            network._layers.append(ILayer(node.output[0], kind, [tensors[n] for n in node.output]))
        network._outputs += [tensors[name] for name in self._outputs]
        return True


def _stripped(known, name):
    dtype, shape = known.get(name, ("FLOAT", ()))
    return dtype, shape[1:]


class IOptimizationProfile(_Bound):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):
        self._shapes[input] = (tuple(min), tuple(opt), tuple(max))


class ITimingCache(_Bound):
    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(b"timings of " + repr(VERSION).encode())


class IBuilderConfig(_Bound):
    max_workspace_size = _Field(0, int)
    int8_calibrator = _Field(None, basics.IInt8Calibrator)
    profiling_verbosity = _Field(None)
    builder_optimization_level = _Field(3, int)

    def __init__(self):
        self._flags = {"TF32"} if hasattr(BuilderFlag, "TF32") else set()
        self._profiles, self._calibration_profile, self._pool, self._cache = [], None, None, None

    def set_flag(self, flag):
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def get_flag(self, flag):
        return flag.name in self._flags

    def set_memory_pool_limit(self, pool, pool_size):
        assert pool.text == "MemoryPoolType.WORKSPACE"
        self._pool = pool_size

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_calibration_profile(self, profile):
        self._calibration_profile = profile
        return True

    def set_tactic_sources(self, tactic_sources):
        return type(tactic_sources) is int

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._content and cache._content != b"timings of " + repr(VERSION).encode():
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


def _renamed(network):
    """Returns the model with its tensors called as the network's are."""
    names = {one._original: one._name for one in network._inputs + network._outputs}
    model = onnx.ModelProto()
    model.CopyFrom(network._model)
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for each in (node.input, node.output):
            for index, name in enumerate(each):
                each[index] = names.get(name, name)
    return model


class Builder(_Bound):
    max_batch_size = _Field(1, int)
    max_workspace_size = _Field(0, int)
    fp16_mode = _Field(False, bool)
    int8_mode = _Field(False, bool)
    int8_calibrator = _Field(None, basics.IInt8Calibrator)
    strict_type_constraints = _Field(False, bool)

    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags=0):
        if VERSION[0] < 6 and flags:
            raise TypeError("create_network(): incompatible function arguments")
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        plan = self._plan(network, config._flags, config.int8_calibrator if hasattr(
            IBuilderConfig, "int8_calibrator") else None, config)  # fmt: skip
        return None if plan is None else IHostMemory(json.dumps(plan).encode())

    def build_engine(self, network, config):
        from tensorrt.running import ICudaEngine

        plan = self._plan(network, config._flags, config.int8_calibrator, config)
        return None if plan is None else ICudaEngine(plan, self._logger)

    def build_cuda_engine(self, network):
        from tensorrt.running import ICudaEngine

        modes = {
            "FP16": self.fp16_mode,
            "INT8": self.int8_mode,
            "STRICT_TYPES": self.strict_type_constraints,
        }
        flags = {name for name, on in modes.items() if on}
        plan = self._plan(network, flags, self.int8_calibrator, None)
        return None if plan is None else ICudaEngine(plan, self._logger)

    def _plan(self, network, flags, calibrator, config):
        try:
            return self._planned(network, flags, calibrator, config)
        except calibration.Refused as error:
            _say(self._logger, 1, str(error))
            return None

    def _planned(self, network, flags, calibrator, config):
        logger, model = self._logger, _renamed(network)
        if model.producer_name == "noisy":
            for number in range(1000):
                _say(logger, 2, f"größer als erwartet: {number} \udcff")
        if model.producer_name == "build_fails":
            raise calibration.Refused("Could not find any implementation for node conv1")
        workspace = self.max_workspace_size if config is None else getattr(config, "_pool", None)
        if not (workspace or config.max_workspace_size):
            raise calibration.Refused("no workspace")
        quantised = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        if network._strong and flags & {"FP16", "BF16", "INT8"}:
            raise calibration.Refused(
                "Parameter check failed, condition: !config.getFlag(BuilderFlag::kFP16)"
            )
        free = [one for one in network._inputs if -1 in one.shape]
        if free and not config._profiles:
            raise calibration.Refused("Network has dynamic inputs, but no optimization profile")
        if quantised and not network._strong and "INT8" not in flags:
            raise calibration.Refused("Q/DQ layers need BuilderFlag::kINT8")
        shapes = [
            one._shapes[name] for one in (config._profiles if free else ()) for name in one._shapes
        ]
        batch = shapes[0][2][0] if shapes else 1
        fixed = graph.fixed(model, batch)
        bfloat = graph.has_bfloat16(model)
        if bfloat:
            fixed = graph.without_bfloat16(fixed)
        scales = {}
        if "INT8" in flags and not quantised:
            scales = self._scales(network, fixed, calibrator, batch)
            if flags & {"STRICT_TYPES", "OBEY_PRECISION_CONSTRAINTS"}:
                fixed_ = set().union(*(layer._fixed_outputs() for layer in network._layers))
                scales = {name: one for name, one in scales.items() if name not in fixed_}
        return {
            "model": base64.b64encode(
                (graph.quantised(fixed, scales) if scales else fixed).SerializeToString()
            ).decode(),
            "original": base64.b64encode(fixed.SerializeToString()).decode(),
            "free": [one.name for one in free],
            "scales": scales,
            "dequantised": [
                node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
            ],
            "half": "FP16" in flags and "INT8" not in flags,
            "bfloat": bfloat or ("BF16" in flags and "INT8" not in flags),
            "tf32": "TF32" in flags,
            "detailed": str(getattr(config, "profiling_verbosity", "")).endswith("DETAILED"),
            "implicit_batch": network._implicit,
            "max_batch_size": self.max_batch_size if network._implicit else None,
            "layers": [
                [one.name, one._kind, list(node.input), list(node.output)]
                for one, node in zip(network._layers, model.graph.node, strict=True)
            ],
        }  # fmt: skip

    def _scales(self, network, model, calibrator, batch):
        """Returns the scales of an implicitly quantised network; manual ranges win."""
        everything = network._inputs + [t for layer in network._layers for t in layer._outputs]
        ranges = {one.name: one._range[1] / 127 for one in everything if one._range}
        scales = dict(ranges)
        if calibrator is not None:
            one = network._inputs[0]
            # Where the batch is no axis the calibrator says how many images it gives.
            most = self.max_batch_size if network._implicit else None
            shape = tuple(batch if extent == -1 else extent for extent in one.shape)
            scales = (
                calibration.scales_of(calibrator, self._logger, model, one.name, shape, most)
                | ranges
            )
        elif not ranges:
            raise calibration.Refused(
                "Calibrator is not being used. Users must provide dynamic range"
            )
        for tensor in everything:
            if tensor._dtype == "FLOAT" and not scales.get(tensor.name):
                _say(self._logger, 2, f"Missing scale and zero-point for tensor {tensor.name}, expect fall "
                     "back to non-int8 implementation for any layer consuming or producing given tensor")  # fmt: skip
        names = {tensor.name for tensor in everything}
        return {name: scale for name, scale in scales.items() if name in names and scale > 0}
