"""A TensorRT that behaves as documented, for tests only: FAKE_TENSORRT=8.6.1 says which version.

It has the names of that version and no others: those of 8.4.1.5 and later are read from the real
bindings (tests/data/tensorrt_surfaces), those before from NVIDIA's documentation (`surface.py`).
Outputs are computed by ONNX Runtime on the CPU; "GPU memory" is host memory of the fake CUDA runtime.

The producer that a network names makes it misbehave as some versions do:
    build_fails       every build gives None, with an error in the log
    asks_nothing      builds int8 without ever asking the calibrator
    refuses_cache     asks for images although it was given a cache
    stops_early       asks for half of the images
    writes_no_cache   gives no calibration cache
    no_context        create_execution_context gives None
    does_not_run      execution gives False
    noisy             a thousand warnings a build, and text that is not ASCII
"""

import os

from tensorrt import basics, building, network, parsing, plugins, running, surface

__version__ = os.environ["FAKE_TENSORRT"]

_CLASSES = {
    name: value
    for module in (basics, building, network, parsing, plugins, running)
    for name, value in vars(module).items()
    if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
}
globals().update(surface.reduced(_CLASSES, __version__))


def init_libnvinfer_plugins(logger, namespace):
    """Registers nothing."""
    assert isinstance(logger, basics.ILogger), logger
    assert namespace == "", namespace
    return True


def get_plugin_registry():
    return plugins.IPluginRegistry()
