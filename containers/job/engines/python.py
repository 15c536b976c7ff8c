"""A function of the user's own: from one image, as it is fed, to {head: array}; whatever computes them.

Its file, and the files that it needs, come with the request and are laid into one folder of RESULT_DIR,
which is the working folder. A function with one parameter is given the images, float32 (batch, ...). One whose
parameters are among MAKER, or that has none, is called once per pass and returns such a function.
"""

import ast
import importlib.util
import inspect
import os
import shutil
import sys
import traceback

import numpy as np

from .. import arrays, probe, protocol

OWN_INT8 = "int8"  # made by the function itself
QDQ_INT8 = "int8-qdq"  # of the network with Q/DQ nodes, which it is given
MAKER = ("calibration", "network")
HINT = "see docs/how-to/python-engine.md"
LONGEST = 400


class FunctionError(Exception):
    """What is wrong with the user's function, and where."""


class Engine(object):
    strongly_typed = False

    def __init__(self, options):
        """Lays out the files and runs the user's file, so that what it imports is proven to be there.

        Args:
            options: {"file": its name, "entry_point": {precision, OWN_INT8 or QDQ_INT8: name of a function},
                "files": {name: path below `request`}, "request": folder, "folder": to lay them into,
                "heads": [head], "parts": absent, or [[input, [shape for one sample], dtype]] of which what is fed holds
                one after another}.

        Raises:
            FunctionError: the file failed.
        """
        self._file = options["file"]
        self._functions = options["entry_point"]
        self._heads = options["heads"]
        self._parts = options.get("parts")
        self._folder = options["folder"]
        self._stored = options["files"]
        for name, stored in sorted(self._stored.items()):
            if not all(protocol.SAFE_NAME.match(part) for part in name.split("/") + [stored]):
                raise FunctionError("%r is no name of a file" % name)
            target = os.path.join(self._folder, *name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            # Copies: a program may write to what is its own, and resolve its own path.
            shutil.copyfile(os.path.join(options["request"], stored), target)
        os.chdir(self._folder)
        sys.path.append(self._folder)  # last: openvino.py of the user's must not hide openvino
        self._path = os.path.join(self._folder, self._file)
        with open(self._path, "rb") as stream:
            self._source = stream.read()
        self._module = self._loaded()

    def _loaded(self):
        name = "entry_point_" + os.path.splitext(self._file)[0]
        spec = importlib.util.spec_from_file_location(name, self._path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's program
            raise _failure(self._file, error, self._folder)
        return module

    def facts(self):
        name, version = _engine(self._module, self._source, self._folder)
        return {
            "name": name,
            "version": version,
            "options": {
                "entry_point": {
                    key: "%s:%s" % (self._file, function) for key, function in self._functions.items()
                },
                # Stored under their content: another content is another option.
                "files": {one: stored.split(".")[0][:12] for one, stored in self._stored.items()},
            },
        }

    def build(self, model, precision, table, folder, implicit=None):
        """Returns a session on the function of this precision.

        Raises:
            UnsupportedError: there is none, or tables are to be carried or made.
            FunctionError: what there is cannot be called, or failed.
        """
        if folder is None:
            raise protocol.UnsupportedError("a function gives heads alone: no table can be made of it")
        if table is not None:
            raise protocol.UnsupportedError("a function takes scales as Q/DQ nodes, not as a table")
        key = precision if precision != "int8" else OWN_INT8 if implicit else QDQ_INT8
        if key not in self._functions:
            raise protocol.UnsupportedError(
                "entry_point has no function for %s; it has: %s" % (key, ", ".join(sorted(self._functions)))
            )
        images = implicit["images"] if implicit else None
        calibration = _apart(arrays.load_images(images), self._parts) if images else None
        given = {"network": model, "calibration": calibration}
        where = "%s:%s" % (self._file, self._functions[key])
        function = self._function(self._functions[key], where, given)
        return Session(function, where, self._heads, self._folder, self._parts)

    def _function(self, name, where, given):
        """Returns what takes an image."""
        function = getattr(self._module, name, None)
        if not callable(function):
            known = [key for key, value in vars(self._module).items() if inspect.isfunction(value)]
            raise FunctionError(
                "%s has no function %r; it has: %s" % (self._file, name, ", ".join(sorted(known)) or "none")
            )
        wanted = _parameters(function)
        if wanted is None or (len(wanted) == 1 and wanted[0] not in MAKER):
            return function
        unknown = [one for one in wanted if one not in MAKER]
        if unknown:
            raise FunctionError(
                "%s takes %s: a function takes the image alone, one that makes it takes %s, or nothing; %s"
                % (where, ", ".join(wanted), " and ".join(MAKER), HINT)
            )
        try:
            made = function(**{one: given[one] for one in wanted})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's program
            raise _failure(where, error, self._folder)
        if not callable(made):
            raise FunctionError(
                "%s takes no image, so it must return the function that does; it returned %s; %s"
                % (where, type(made).__name__, HINT)
            )
        return made


def _apart(fed, parts):
    """Returns {input: array of its own type, batch first} of several that were fed as one; what is fed without."""
    if not parts:
        return fed
    made, begin = {}, 0
    for name, shape, dtype in parts:
        size = int(np.prod(shape))
        one = fed[:, begin : begin + size].reshape([len(fed)] + shape)
        made[name] = one.astype(dtype)
        begin += size
    return made


class Session(object):
    device_s = None  # the function has only the host's clock

    def __init__(self, function, where, heads, folder, parts=None):
        self._function = function
        self._where = where
        self._heads = heads
        self._folder = folder
        self._parts = parts
        self._fed = None, None

    def run(self, inputs, outputs):  # noqa: ARG002 - in the order of the heads
        """Returns the arrays of the heads, which `outputs` are the tensors of.

        Raises:
            FunctionError: the function failed, or returned anything but {head: array of floats, batch first}.
        """
        [fed] = inputs.values()
        if self._fed[0] is not fed:  # the stored images must not change, whatever the function does
            self._fed = fed, _apart(np.array(fed), self._parts)
        try:
            returned = self._function(self._fed[1])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's program
            raise _failure(self._where, error, self._folder)
        return [self._array(returned, head, len(fed)) for head in self._heads]

    def _array(self, returned, head, images):
        try:
            value = returned[head]
        except (KeyError, TypeError, IndexError):
            told = sorted(map(str, returned)) if hasattr(returned, "keys") else type(returned).__name__
            raise FunctionError(
                "%s returned %s; expected a dict with the heads: %s"
                % (
                    self._where,
                    (", ".join(told) or "an empty dict") if isinstance(told, list) else told,
                    ", ".join(self._heads),
                )
            )
        try:
            array = np.asarray(value)
        except Exception as error:  # noqa: BLE001 - a tensor on a GPU, or one with a gradient
            raise FunctionError(
                "%s: head %s is a %s that numpy cannot read (%s); return it as an array, "
                "as in PyTorch tensor.detach().cpu().numpy()"
                % (self._where, head, type(value).__name__, str(error)[:LONGEST])
            )
        if array.dtype.kind != "f":
            raise FunctionError(
                "%s: head %s is %s, expected floating point: integers are to be dequantised, "
                "what is no array to be made one" % (self._where, head, array.dtype)
            )
        if array.ndim < 2 or array.shape[0] != images:
            raise FunctionError(
                "%s: head %s has shape %s, expected the batch of %s first: (%d, ...)"
                % (
                    self._where,
                    head,
                    array.shape,
                    "one image" if images == 1 else "%d images" % images,
                    images,
                )
            )
        return array

    def close(self):
        self._function = None


def _parameters(function):
    """Returns the names of the parameters that must be given; None where nobody can tell."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C
        return None
    plain = [one for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    needed = [one.name for one in plain if one.default is one.empty]
    # `def run(images=None)` takes an image, `def load(network, device="CPU")` makes what does.
    return needed or [one.name for one in plain][:1]


def _failure(where, error, folder):
    """Returns the exception for what the user's program raised, with the line; the traceback goes to the log."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame[0].startswith(folder + os.sep)]
    shown = error.__traceback__
    while ours and not shown.tb_frame.f_code.co_filename.startswith(folder + os.sep):
        shown = shown.tb_next  # the user's program begins here
    traceback.print_exception(type(error), error, shown)
    sys.stderr.flush()
    told = " ".join(str(error).split())[:LONGEST]
    lines = [
        "%s line %d in %s: %s" % (os.path.relpath(frame[0], folder), frame[1], frame[2], frame[3])
        for frame in ours[-2:]
    ]
    if isinstance(error, SyntaxError) and error.lineno:
        lines.append("line %d: %s" % (error.lineno, (error.text or "").strip()))
    hint = ""
    if isinstance(error, ImportError) and not isinstance(error, SyntaxError):
        hint = "; add the package to the environment, or its file to `files`"
    elif isinstance(error, OSError) and error.errno == 2:
        hint = "; what the function reads is to be named in `files`"
    return FunctionError(
        "%s raised %s: %s%s%s"
        % (where, type(error).__name__, told, " (%s)" % "; ".join(lines) if lines else "", hint)
    )


def _engine(module, source, folder):
    """Returns (name, version) of what computes: of ENGINE in the file, else of the first package it imports."""
    stated = getattr(module, "ENGINE", None)
    names = [stated] if isinstance(stated, str) and stated else _imported(source, folder)
    name = ([one for one in names if one != "numpy"] or names or ["python"])[0][:100]
    loaded = sys.modules.get(name)
    version = _distribution_version(name) or getattr(loaded, "__version__", None)
    return name, str(version)[:100] if version else None


def _imported(source, folder):
    """Returns the packages that the file imports and that are loaded, in the order of its lines."""
    nodes = sorted(
        (node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))),
        key=lambda node: node.lineno,
    )
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[0] for alias in node.names]
        elif not node.level:
            found.append(node.module.split(".")[0])
    return [one for one in found if _is_installed(sys.modules.get(one), folder)]


def _is_installed(module, folder):
    """Whether a module is neither the standard library's nor the user's own."""
    places = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None)]
    place = places[0]
    if not place or place.startswith(folder + os.sep):
        return False
    standard = os.path.dirname(os.__file__) + os.sep
    return not place.startswith(standard) or "site-packages" in place or "dist-packages" in place


def _distribution_version(module):
    """Returns the version of the distribution that a module came with; None where nothing tells."""
    installed = probe.packages() or {}
    known = {name.lower().replace("_", "-"): version for name, version in installed.items()}
    wanted = module.lower().replace("_", "-")
    if wanted in known:
        return known[wanted]
    owners = [version for name, version in sorted(known.items()) if name.startswith(wanted + "-")]
    return owners[0] if len(set(owners)) == 1 else None
