"""From a parsed network to an engine that can run."""

import time

from . import configuration, library, rtx
from .library import CALLED, trt
from .network import inputs


class BuildError(Exception):
    """TensorRT built no engine; holds its last errors."""


class Built(object):
    """An engine, and what it was built with.

    Attributes:
        engine: trt.ICudaEngine.
        facts: JSON object: flags, size_bytes (None where the engine was never serialised), timing_cache,
            tensorrt_s (seconds inside TensorRT, calibration included), builder_s (seconds in which it made its builder).
    """

    def __init__(self, engine, facts, owners):
        self.engine = engine
        self.facts = facts
        self._owners = owners  # must outlive the engine


def serialised(builder, network, choice, options, log, capability):
    """Returns (plan, facts of `Built`, trt.IBuilderConfig): what needs no GPU in TensorRT-RTX.

    It raises as `build` does.
    """
    config = builder.create_builder_config()
    facts = {"flags": configuration.configure(config, choice, options)}
    if library.IS_RTX:
        rtx.aim(config, capability)
    _add_profile(builder, config, network, choice, options["batch"])
    facts["timing_cache"] = configuration.read_timing_cache(config, options["timing_cache"])
    start = time.perf_counter()
    plan = builder.build_serialized_network(network.definition, config)
    facts["tensorrt_s"] = time.perf_counter() - start
    _need(plan, log)
    facts["size_bytes"] = plan.nbytes
    return plan, facts, config


def build(builder, network, choice, options, log, capability):
    """Returns the Built engine of `network`, which `builder` made; `capability` is 90 for 9.0.

    Raises:
        BuildError: TensorRT gave no engine.
        protocol.UnsupportedError, ValueError: see `configuration`.
    """
    configuration.check_tf32(choice)
    if network.implicit_batch and hasattr(builder, "max_batch_size"):  # gone in 10
        builder.max_batch_size = options["batch"]
    if not hasattr(builder, "create_builder_config"):  # 5
        flags = configuration.configure_builder(builder, choice, options)
        start = time.perf_counter()
        engine = builder.build_cuda_engine(network.definition)
        _need(engine, log)
        facts = {"flags": flags, "size_bytes": None, "timing_cache": "none"}
        facts["tensorrt_s"] = time.perf_counter() - start
        return Built(engine, facts, [builder])
    if hasattr(builder, "build_serialized_network"):  # 8.0
        plan, facts, config = serialised(builder, network, choice, options, log, capability)
        start = time.perf_counter()
        runtime = trt.Runtime(log)
        engine = runtime.deserialize_cuda_engine(plan)
        owners = [runtime]
    else:
        config = builder.create_builder_config()
        facts = {"flags": configuration.configure(config, choice, options), "size_bytes": None}
        _add_profile(builder, config, network, choice, options["batch"])
        facts.update(tensorrt_s=0.0, timing_cache="none")
        start = time.perf_counter()
        engine = builder.build_engine(network.definition, config)
        owners = [builder]
    _need(engine, log)
    facts["tensorrt_s"] += time.perf_counter() - start
    configuration.write_timing_cache(config, options["timing_cache"])
    return Built(engine, facts, owners)


def _need(made, log):
    """TensorRT reports failure as None, and why in its log only."""
    if made is None:
        raise BuildError("%s built no engine%s" % (CALLED, log.told()))


def _add_profile(builder, config, network, choice, batch):
    """Fixes a free batch at `batch` images: TensorRT builds for shapes it is told.

    Raises:
        BuildError: another axis of an input is free.
    """
    free = {}
    for tensor in inputs(network.definition):
        shape = tuple(tensor.shape)
        if -1 in shape[1:]:
            raise BuildError(
                "input %s has shape %s: only its first axis, the batch, may be free; export the network "
                "with the size of its images" % (tensor.name, shape)
            )
        if -1 in shape:
            free[tensor.name] = (batch,) + shape[1:]
    if not free:
        return
    profile = builder.create_optimization_profile()
    for name, shape in sorted(free.items()):
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if choice.calibrator is not None and hasattr(config, "set_calibration_profile"):  # 7.1
        config.set_calibration_profile(profile)
