"""Builder and its configuration."""

import base64
import json

import onnx

from tensorrt import basics, calibration, graph
from tensorrt.basics import VERSION, BuilderFlag, IHostMemory, _Bound, _Field, _say
from tensorrt.network import INetworkDefinition


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
                scales = {name: scale for name, scale in scales.items() if name not in fixed_}
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
