"""How a network is to be built: precision, memory, tactics; by whatever means this TensorRT has."""

import os

from ... import protocol
from . import library
from .library import CALLED, trt
from .network import word

BF16_CAPABILITY = 80  # Ampere's: earlier GPUs have no instructions for bfloat16


class Choice(object):
    """What decides the precision of an engine.

    Attributes:
        precision: fp32, tf32, fp16, bf16 or int8.
        types: the precisions that layers may run in, fp32 aside.
        strong: whether the network's own types decide, and no flag may.
        calibrator: for TensorRT, or None.
        held: whether layers are fixed to a precision, which must be obeyed.
    """

    def __init__(self, precision, fallback, strong, calibrator, held=False):
        self.precision = precision
        self.types = {precision, fallback if precision == "int8" else precision} - {"fp32"}
        self.strong = strong
        self.calibrator = calibrator
        self.held = held


def always_strong():
    """Whether all networks are strongly typed: 11 has no precision flags, TensorRT-RTX 1.4 has and refuses them."""
    return library.IS_RTX or (hasattr(trt, "BuilderFlag") and not hasattr(trt.BuilderFlag, "INT8"))


def precisions():
    """Returns what an engine of this TensorRT can be asked for; in 11 by the network's types."""
    tf32 = hasattr(trt, "BuilderFlag") and hasattr(trt.BuilderFlag, "TF32")
    return ["fp32"] + ["tf32"] * tf32 + ["fp16"] + ["bf16"] * _has_bf16() + ["int8"]


def _has_bf16():
    """Whether it has bfloat16: by a flag (to 10), by the network's types (9 and later), or by both."""
    by_flag = hasattr(trt, "BuilderFlag") and hasattr(trt.BuilderFlag, "BF16")
    return by_flag or (hasattr(trt.DataType, "BF16") and always_strong())


def check_bf16(strong, capability):
    """Raises protocol.UnsupportedError where bfloat16 is wanted and cannot be; 90 is the capability 9.0."""
    known = hasattr(trt.DataType, "BF16") if strong else _has_bf16()
    if not known:
        raise protocol.UnsupportedError("%s has no bfloat16 (9 and later do)" % CALLED)
    if capability < BF16_CAPABILITY:
        raise protocol.UnsupportedError(
            "bfloat16 needs a GPU of compute capability 8.0 or later (Ampere), this one has %d.%d"
            % divmod(capability, 10)
        )


def check_tf32(choice):
    """Raises protocol.UnsupportedError where TF32 is wanted and this TensorRT does not know it."""
    if "tf32" in choice.types and "tf32" not in precisions():
        raise protocol.UnsupportedError("%s has no TF32 (7.1 and later do)" % CALLED)


def configure_builder(builder, choice, options):
    """Sets the modes of a TensorRT 5 builder; returns their names."""
    builder.max_workspace_size = options["workspace_bytes"]
    builder.fp16_mode = "fp16" in choice.types
    builder.int8_mode = "int8" in choice.types
    if choice.calibrator is not None:
        builder.int8_calibrator = choice.calibrator
    if choice.held:
        builder.strict_type_constraints = True
    return sorted([name.upper() for name in choice.types] + ["STRICT_TYPES"] * choice.held)


def configure(config, choice, options):
    """Sets a trt.IBuilderConfig; returns the names of all flags that are set.

    Raises:
        protocol.UnsupportedError: this TensorRT lacks what an option asks for.
        ValueError: an option names something that does not exist.
    """
    if hasattr(config, "set_memory_pool_limit"):  # 8.4
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options["workspace_bytes"])
    else:
        config.max_workspace_size = options["workspace_bytes"]
    # One flag at a time: the others keep what TensorRT sets itself.
    if hasattr(trt.BuilderFlag, "TF32"):  # 7.1, on by default
        if "tf32" in choice.types:
            config.set_flag(trt.BuilderFlag.TF32)
        else:
            config.clear_flag(trt.BuilderFlag.TF32)
    if not choice.strong and hasattr(trt.BuilderFlag, "INT8"):
        if "fp16" in choice.types:
            config.set_flag(trt.BuilderFlag.FP16)
        if "bf16" in choice.types and hasattr(trt.BuilderFlag, "BF16"):
            config.set_flag(trt.BuilderFlag.BF16)
        if "int8" in choice.types:
            config.set_flag(trt.BuilderFlag.INT8)
        if choice.calibrator is not None:
            config.int8_calibrator = choice.calibrator
        if choice.held:
            if hasattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS"):  # 8.2
                config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
            else:
                config.set_flag(trt.BuilderFlag.STRICT_TYPES)
    if hasattr(trt, "ProfilingVerbosity") and hasattr(trt.ProfilingVerbosity, "DETAILED"):  # 8.2
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _set_level(config, options["optimization_level"])
    _set_sources(config, options["tactic_sources"])
    return _flags(config)


def _set_level(config, level):
    if level is None:
        return
    if not hasattr(config, "builder_optimization_level"):
        raise protocol.UnsupportedError("%s has no optimisation level (8.6 and later do)" % CALLED)
    config.builder_optimization_level = level


def _set_sources(config, names):
    if names is None:
        return
    if not hasattr(config, "set_tactic_sources"):
        raise protocol.UnsupportedError(
            "%s has no choice of tactic sources (7.2 and later do)" % CALLED
        )
    known = members(trt.TacticSource)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            "engine_options: %s has no tactic source %s; it has: %s"
            % (CALLED, ", ".join(unknown), ", ".join(sorted(known)))
        )
    if not config.set_tactic_sources(sum(1 << int(known[name]) for name in set(names))):
        raise ValueError("%s refused the tactic sources %s" % (CALLED, names))


def _flags(config):
    found = members(trt.BuilderFlag)
    return sorted(name for name in found if config.get_flag(found[name]))


def members(enum):
    """Returns {name: value} of an enum of TensorRT."""
    return {name: getattr(enum, name) for name in dir(enum) if name == word(getattr(enum, name))}


def read_timing_cache(config, path):
    """Gives the builder the timing cache in `path`; returns `none`, `new`, `read` or `refused`."""
    if path is None or library.IS_RTX or not hasattr(config, "create_timing_cache"):  # 8.0
        return "none"
    content = b""
    if os.path.exists(path):
        with open(path, "rb") as stream:
            content = stream.read()
    if config.set_timing_cache(config.create_timing_cache(content), False):
        return "read" if content else "new"
    # Of another GPU or version: measure anew, and keep that.
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return "refused"


def write_timing_cache(config, path):
    """Writes what the build measured to `path`, whole or not at all."""
    if path is not None and not library.IS_RTX and hasattr(config, "get_timing_cache"):
        protocol.write_bytes(path, bytes(config.get_timing_cache().serialize()))
