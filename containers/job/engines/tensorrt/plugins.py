"""Plugins: from what the request names to layers that TensorRT's parser finds.

    "libyolo.so"                                a library, built for this major version
    {"libraries": {"8": path, "10": path}}      one a major version
    {"sources": [{"name", "file"}], "flags"}    compiled here, with this environment's own headers
"""

import ctypes
import os

from ... import protocol
from . import compiling
from .library import trt


def load(entries, capability, folder):
    """Loads all of them; returns [{"library", "creators": [name version], how it was compiled}].

    They are compiled for `capability` (90 for 9.0), into `folder`.

    Raises:
        ValueError: a library cannot be loaded, or registered nothing.
        compiling.CompileError: sources cannot be compiled here.
        protocol.UnsupportedError: there is no library for this major version.
    """
    return [_load(entry, capability, folder) for entry in entries]


def _load(entry, capability, folder):
    major = int(str(trt.__version__).split(".")[0])
    if "sources" in entry:
        path, facts = compiling.library(entry["sources"], entry["flags"], major, capability, folder)
    else:
        path = os.path.abspath(_of_major(entry["libraries"], major) if isinstance(entry, dict) else entry)
        facts = {"library": path}
    before = creators()
    try:
        ctypes.CDLL(path, ctypes.RTLD_GLOBAL)  # runs what registers its plugins
    except OSError as error:
        raise ValueError("plugin library %s cannot be loaded: %s" % (path, error))
    _register(path, before)
    facts["creators"] = sorted(set(creators()) - set(before))
    if not facts["creators"]:
        raise ValueError(
            "plugin library %s registered no plugin: it needs REGISTER_TENSORRT_PLUGIN, or another name "
            "and version than those there already" % path
        )
    return facts


def _of_major(libraries, major):
    if str(major) not in libraries:
        raise protocol.UnsupportedError(
            "no plugin library for TensorRT %d; there are some for %s"
            % (major, ", ".join(sorted(libraries, key=int)))
        )
    return libraries[str(major)]


def _register(path, before):
    """Registers the plugins of a library that only tells them when asked (getCreators, 8.6)."""
    registry = trt.get_plugin_registry()
    if creators() != before:
        return
    if hasattr(registry, "load_library"):
        registry.load_library(path)


def creators():
    """Returns what is registered: ["ResizeNearest_TRT 1"]."""
    registry = trt.get_plugin_registry()
    found = registry.all_creators if hasattr(registry, "all_creators") else registry.plugin_creator_list
    return sorted(
        "%s %s" % (getattr(one, "name", "?"), getattr(one, "plugin_version", "?")) for one in found
    )
