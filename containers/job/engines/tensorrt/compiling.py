"""A plugin's sources to a shared library, with the headers and the compiler of this environment.

A library that was compiled before of the same sources, with the same flags, compiler, headers and
libraries, is taken as it is. Standard library only.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from ... import mapped

STANDARD = "-std=c++14"  # what headers of TensorRT 10 need, and compilers of 2016 know
UNITS = (".cpp", ".cc", ".cxx", ".cu")  # other sources are headers, found by their names
USES_TENSORRT = re.compile(b'#[ \t]*include[ \t]*[<"]Nv(Infer|Onnx|Uff)')
USES_CUDA = re.compile(b'#[ \t]*include[ \t]*[<"]cu(da|blas|dnn)')
MAJOR = re.compile(r"#define\s+(?:NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE)\s+(\d+)")
LINKED = re.compile(r"lib(nvinfer|cudart)\.so")
DEADLINE_S = 1200
SAID = 30  # lines of a compiler's complaint that are told
CACHE = "TRT_MATRIX_CACHE"  # names a folder that libraries are kept in


class CompileError(Exception):
    """A plugin cannot be compiled here; says what is missing or what the compiler said."""


def library(sources, flags, major, capability, folder):
    """Returns (path of the library, facts of how it was made).

    `sources` are [{"name": as others include it, "file": path}], TensorRT's headers must be of `major`, and nvcc
    compiles for `capability` (90 for 9.0). The library is kept in `folder` if nothing better is there.

    Raises:
        CompileError: see there.
    """
    contents = {source["name"]: _read(source["file"]) for source in sources}
    units = [source["name"] for source in sources if source["name"].endswith(UNITS)]
    if not units:
        raise CompileError(
            "none of %s is a source: their names end in %s"
            % (", ".join(sorted(contents)), ", ".join(UNITS))
        )
    everything = b"\n".join(contents.values())
    headers = {}
    if USES_TENSORRT.search(everything):
        headers["TensorRT"] = tensorrt_headers(major)
    if "TensorRT" in headers or USES_CUDA.search(everything):
        headers["CUDA"] = cuda_headers()
    command = compiler([".cu" for name in units if name.endswith(".cu")], capability)
    linked = sorted(path for path in mapped.paths(mapped.maps()) if LINKED.match(os.path.basename(path)))
    options = [STANDARD, "-O2"] + ["-I" + headers[name] for name in sorted(headers)] + list(flags)
    facts = {
        "sources": {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)},
        "command": command + options,
        "compiler": first_line(command[:1] + ["--version"]),
        "headers": headers,
        "linked": linked,
    }
    key = hashlib.sha256(json.dumps([facts, major], sort_keys=True).encode("utf-8")).hexdigest()
    target = os.path.join(home(folder), key + ".so")
    facts["cached"] = os.path.exists(target)
    started = time.time()
    if not facts["cached"]:
        _compile(contents, units, command + options, linked, target)
    return target, dict(facts, library=target, seconds=time.time() - started)


def _compile(contents, units, command, linked, target):
    """Compiles under other names and renames: a killed compiler leaves no half library."""
    build = tempfile.mkdtemp(prefix="plugin-")
    try:
        for name in sorted(contents):
            with open(os.path.join(build, name), "wb") as stream:
                stream.write(contents[name])
        handle, partial = tempfile.mkstemp(suffix=".part", dir=os.path.dirname(target))
        os.close(handle)
        try:
            # Named in full, so that the library finds those which this process has loaded.
            run(command + units + linked + ["-o", partial], build)
            os.replace(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    finally:
        shutil.rmtree(build)


def run(command, folder):
    """Raises CompileError with the end of what the compiler said."""
    print("compiling: %s" % " ".join(command), flush=True)
    try:
        said = subprocess.check_output(
            command,
            cwd=folder,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        raise CompileError("%s took longer than %d s" % (command[0], DEADLINE_S))
    except OSError as trouble:
        raise CompileError("%s cannot be started: %s" % (command[0], trouble))
    except subprocess.CalledProcessError as ended:
        lines = str(ended.output, "utf-8", "replace").splitlines()
        raise CompileError(
            "%s ended with %d:\n%s" % (command[0], ended.returncode, "\n".join(lines[:SAID]))
        )
    if said:
        print(said.decode("utf-8", "replace"), flush=True)


def compiler(cuda_units, capability):
    """Returns the beginning of the command: nvcc where a source needs it, else a C++ compiler."""
    if cuda_units:
        places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
        found = [os.path.join(place, "bin", "nvcc") for place in places if place]
        nvcc = shutil.which("nvcc") or next((path for path in found if os.path.exists(path)), None)
        if nvcc is None:
            raise CompileError(
                "a .cu source needs nvcc, which is not here: use an image with the CUDA toolkit, or "
                "give `libraries` that were compiled elsewhere"
            )
        return [
            nvcc,
            "-shared",
            "-Xcompiler",
            "-fPIC",
            "-cudart=shared",
            "-arch=sm_%d" % capability,
        ]
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and shutil.which(name):
            return [shutil.which(name), "-shared", "-fPIC"]
    raise CompileError(
        "no C++ compiler is here, neither $CXX, g++, c++ nor clang++: use an image that has one, or give "
        "`libraries` that were compiled elsewhere"
    )


def tensorrt_headers(major):
    """Returns the folder of NvInfer.h; it must be that of the loaded library's major version."""
    folders = [os.environ.get("TENSORRT_INCLUDE")]
    folders += [os.path.join(root, "include") for root in [os.environ.get("TENSORRT_ROOT")] if root]
    folders += sorted(glob.glob("/usr/include/*-linux-gnu")) + [
        "/usr/include",
        "/usr/local/include",
    ]
    folders += sorted(glob.glob("/usr/local/[tT]ensor[rR][tT]*/include"))
    folders += sorted(glob.glob("/opt/[tT]ensor[rR][tT]*/include"))
    found = [folder for folder in folders if folder and os.path.exists(os.path.join(folder, "NvInfer.h"))]
    if not found:
        raise CompileError(
            "the headers of TensorRT (NvInfer.h) are not here: NVIDIA's images and tar files have them, "
            "packages of pip have not; name their folder in TENSORRT_INCLUDE, or give `libraries`"
        )
    majors = {one: header_major(one) for one in found}
    fitting = [one for one in found if majors[one] == major]
    if not fitting:
        raise CompileError(
            "TensorRT %d is loaded, but the headers in %s are of version %s: a plugin of those would not fit"
            % (major, found[0], majors[found[0]] or "unknown")
        )
    return fitting[0]


def header_major(folder):
    """Returns the major version that TensorRT's headers state, None where they state none."""
    for name in ("NvInferVersion.h", "NvInfer.h"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            match = MAJOR.search(_read(path).decode("utf-8", "replace"))
            if match:
                return int(match.group(1))
    return None


def cuda_headers():
    """Returns the folder of cuda_runtime_api.h."""
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [os.path.join(root, "include") for root in roots if root]
    folders += sorted(glob.glob("/usr/local/cuda-*/include"), reverse=True) + ["/usr/include"]
    for package in sys.path:  # nvidia-cuda-runtime of pip
        folders += sorted(glob.glob(os.path.join(package, "nvidia", "*", "include")))
    for folder in folders:
        if os.path.exists(os.path.join(folder, "cuda_runtime_api.h")):
            return folder
    raise CompileError(
        "the headers of CUDA (cuda_runtime_api.h) are not here: use an image with the CUDA toolkit, name "
        "its folder in CUDA_HOME, or give `libraries`"
    )


def home(folder):
    """Returns where libraries are kept: a place that lasts, if one is here that can hold programs, else `folder`."""
    lasting = os.environ.get(CACHE) or os.path.join(os.path.expanduser("~"), ".cache", "trt-matrix")
    for place in (os.path.join(lasting, "plugins"), folder):
        try:
            os.makedirs(place, exist_ok=True)
        except OSError:
            continue
        # A container's /tmp is mounted so that nothing in it can be run.
        executable = not os.statvfs(place).f_flag & getattr(os, "ST_NOEXEC", 8)
        if executable and os.access(place, os.W_OK):
            return place
    raise CompileError("no folder to keep a library in: name one in %s" % CACHE)


def first_line(command):
    try:
        said = subprocess.check_output(command, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CompileError("%s does not work: %s" % (command[0], error))
    lines = said.decode("utf-8", "replace").strip().splitlines()
    # nvcc tells its version last.
    return (lines[-1] if command[0].endswith("nvcc") else lines[0]) if lines else "unknown"


def _read(path):
    with open(path, "rb") as stream:
        return stream.read()
