"""The registry of plugins: one that a library of tests/fakes/nvinfer registered when it was loaded."""

import ctypes

from tensorrt.basics import _Bound


class _Creator:
    def __init__(self, told):
        self.name, self.plugin_version = told.split(" ")


class IPluginRegistry(_Bound):
    plugin_creator_list = property(lambda self: [_Creator(one) for one in registered()])
    all_creators = property(lambda self: [_Creator(one) for one in registered()])

    def load_library(self, plugin_path):
        """Finds nothing that loading did not register."""
        ctypes.CDLL(plugin_path)


def registered():
    """Returns ["ResizeNearest_TRT 1", …]: names and versions."""
    try:
        told = ctypes.CDLL(None).fake_tensorrt_plugin
    except AttributeError:  # no library was loaded
        return ["ResizeNearest_TRT 1"]
    told.restype = ctypes.c_char_p
    return ["ResizeNearest_TRT 1", told().decode()]


def operators():
    """Returns the operators that the parser takes for plugins."""
    return {one.split(" ")[0] for one in registered()}
