"""Which libraries the process really mapped, their versions, and the packages they came with.

An installed library that was never mapped decided nothing. Standard library only.
"""

import functools
import os
import re
import sys

LIBRARY = re.compile(
    r"lib(cudnn|cublas|cudart|cufft|curand|cusparse|cusolver|nvrtc|nvinfer|nvonnxparser|cuda\.so|onnxruntime"
    r"|openblas|scipy_openblas|mkl|dnnl|gomp|iomp|stdc\+\+)|onnxruntime"
)
NUMBERS = re.compile(r"\.so\.(\d+(?:\.\d+)+)$")
DELETED = " (deleted)"


def maps():
    """Returns the text of this process's /proc/self/maps, "" where there is none."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:  # not Linux
        return ""


def paths(maps):
    """Returns the sorted paths of the shared libraries in `maps`, the text of /proc/self/maps."""
    # address, permissions, offset, device, inode, path: the path may hold spaces
    fields = (line.split(None, 5) for line in maps.splitlines())
    found = {field[5].strip() for field in fields if len(field) == 6}
    return sorted(path for path in found if ".so" in os.path.basename(path))


def facts(maps, folders=()):
    """Returns {"libraries": [{"path", "version", "package", "size_bytes"}], "packages": {name: version}}.

    `libraries` holds those that engines compute with, and all from `folders` (LD_LIBRARY_PATH, which
    somebody set for a reason), with the version that the file's own name
    tells (libcudnn.so.8.9.7) or else its package's; `packages`, the installed distributions that
    have any shared library mapped. What is not known is None, both are where there is no /proc.
    """
    if maps is None:
        return {"libraries": None, "packages": None}
    found = paths(maps)
    folders = {os.path.realpath(folder) for folder in folders if folder}
    owners = _owners(tuple(found))
    libraries = [
        {
            "path": path,
            "version": version(path) or owners.get(path, (None, None))[1],
            "package": owners.get(path, (None, None))[0],
            "size_bytes": _size(path),
        }
        for path in found
        if LIBRARY.match(os.path.basename(path)) or os.path.dirname(path) in folders
    ]
    return {"libraries": libraries, "packages": dict(owners.values())}


def version(path):
    """Returns the version in a library's file name, None where it tells less than two numbers.

    One number is that of an interface (libcudnn.so.8), which many versions share.
    """
    match = NUMBERS.search(_present(path))
    return match.group(1) if match else None


@functools.lru_cache(maxsize=1)  # most passes map nothing that the one before did not
def _owners(found):
    """Returns {path: (distribution, version)} of the files that a distribution installed."""
    try:
        from importlib import metadata
    except ImportError:  # before Python 3.8
        return {}
    owners = {}
    for folder in sys.path:
        root = os.path.join(os.path.realpath(folder), "")
        inside = [path for path in found if path.startswith(root)]
        if not inside:
            continue
        for distribution in metadata.distributions(path=[folder]):
            # RECORD is CSV, a file a line; searched as text, since parsing those of a large
            # environment takes seconds. Only names with a comma or a quote are quoted.
            record = "\n" + (distribution.read_text("RECORD") or "")
            installed = [path for path in inside if "\n" + _present(path)[len(root) :] + "," in record]
            if installed and distribution.metadata["Name"]:
                owner = distribution.metadata["Name"], distribution.version
                for path in installed:
                    owners.setdefault(path, owner)
    return owners


def _present(path):
    """Returns the path as it was before its file was replaced."""
    return path[: -len(DELETED)] if path.endswith(DELETED) else path


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError:  # it was removed, or replaced, while mapped
        return None
