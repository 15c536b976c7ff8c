"""What TensorRT-RTX does otherwise: it builds ahead of time for a named GPU, and compiles just in time.

A plan holds no kernels. These are compiled when a context is made (`Session.jit_s`), so that each start of
the job compiles anew: its cache is empty and in memory. Nothing is compiled again, or exchanged for what
was, while latencies are measured.
"""

from ... import protocol
from .library import CALLED, trt


def target(capability):
    """Returns the value of trt.ComputeCapability that a plan is built for; `capability` is 86 for 8.6.

    Raises:
        protocol.UnsupportedError: it knows newer GPUs, and not this one.
    """
    names = trt.ComputeCapability.__members__
    known = {int(name[2:]): value for name, value in names.items() if name.startswith("SM")}
    if capability in known:
        return known[capability]
    if capability > max(known):  # newer than itself: the runtime will say whether that goes
        return trt.ComputeCapability.CURRENT
    raise protocol.UnsupportedError(
        "%s runs on GPUs of compute capability %s and later, this one has %d.%d: take TensorRT there"
        % ((CALLED, ", ".join("%d.%d" % divmod(one, 10) for one in sorted(known))) + divmod(capability, 10))
    )


def aim(config, capability):
    """Sets what a configuration builds for; see `target`."""
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(target(capability), 0):
        raise RuntimeError("%s refused to build for compute capability %d" % (CALLED, capability))


class Runtime(object):
    """How contexts of an engine are made: of one cache, empty at first, and nothing left to specialise.

    It must live as long as the contexts.
    """

    def __init__(self, engine):
        self._config = engine.create_runtime_config()
        self._cache = self._config.create_runtime_cache()
        if not self._config.set_runtime_cache(self._cache):
            raise RuntimeError("%s refused an empty runtime cache" % CALLED)
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        self._config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        self._config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED

    def context(self, engine):
        return engine.create_execution_context(self._config)
