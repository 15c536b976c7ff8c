"""The bindings of TensorRT, or of TensorRT-RTX, under the one name `trt`.

TensorRT's packages from 8.6.1 on are bindings and libraries; the one that joins them under the short name is
not always there.
"""

import importlib

NAMES = ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings")


def _load():
    for name in NAMES:
        try:
            return importlib.import_module(name), name
        except ImportError as missing:
            if missing.name != name:  # it is there, and lacks something
                raise
    raise ImportError("neither TensorRT nor TensorRT-RTX is installed here: no %s" % ", ".join(NAMES))


trt, _NAME = _load()

IS_RTX = _NAME.startswith("tensorrt_rtx")
"""Whether it is TensorRT-RTX: kernels are compiled when a context is made, versions count from 1."""

NAME = "tensorrt-rtx" if IS_RTX else "tensorrt"
CALLED = "%s %s" % ("TensorRT-RTX" if IS_RTX else "TensorRT", trt.__version__)
"""What messages call it."""
