"""TensorRT 5 to 11, by whatever of its interface is there: features are looked for, versions are not.

    5            modes of the builder, batch not an axis, tensors by number
    6            a builder configuration; the ONNX parser still drops the batch
    7 to 8.4     the batch is an axis; from 8.0 engines are built serialised
    8.5 to 9     tensors by name; 9 knows strongly typed networks
    10           no tensors by number, no implicit batch; calibrators deprecated
    11           strongly typed only: no precision flags, no calibrators, no ranges

docs/reference/tensorrt.md says which of this was run, and on what.
"""

import os
import tempfile
import time

from ... import arrays, protocol
from .. import cuda
from . import (
    building,
    calibrators,
    configuration,
    custom,
    held,
    layers,
    library,
    network,
    options,
    plugins,
    scales,
)
from .library import CALLED, trt
from .log import Log
from .session import Session

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
TYPES = {"fp16": ("float16", "HALF"), "bf16": ("bfloat16", "BF16")}  # as ONNX and TensorRT call them


class Engine(object):
    """An engine as job.engines describes it."""

    def __init__(self, options_):
        self._options = options.checked(options_)
        self._cuda = cuda.Cuda(self._options["device"])
        self._log = Log()
        if not trt.init_libnvinfer_plugins(self._log, ""):
            raise RuntimeError("TensorRT could not load its own plugins" + self._log.told())
        self.strongly_typed = self._options["typed"] == "strong" or configuration.always_strong()
        folder = self._options.pop("plugin_folder")
        wanted = self._options.pop("plugins")
        self._plugins = []
        if wanted:
            folder = folder or tempfile.mkdtemp(prefix="plugins-")
            self._plugins = plugins.load(wanted, self._cuda.capability(), folder)

    def facts(self):
        return {
            "name": library.NAME,
            "version": trt.__version__,
            "cuda": self._cuda.facts(),
            "precisions": configuration.precisions(),
            "calibrators": calibrators.available(),
            "strongly_typed": "always" if configuration.always_strong() else self._options["typed"],
            "options": _told(dict(self._options, plugins=self._plugins)),
        }

    def build(self, model, precision, table, folder, implicit=None):
        """Returns a Session; writes build.json, layers.json and calibration.cache into `folder`."""
        if precision not in PRECISIONS:
            raise ValueError("unknown precision %r; known: %s" % (precision, ", ".join(PRECISIONS)))
        if precision != "int8" and (table is not None or implicit is not None):
            raise ValueError("a %s pass takes no table and no calibrator" % precision)
        if table is not None and implicit is None:
            raise ValueError(
                "a table needs to be told how it is carried: by cache or dynamic_range; "
                "an explicit int8 network has its scales in its Q/DQ nodes"
            )
        strong = self.strongly_typed
        if precision == "bf16":
            configuration.check_bf16(strong, self._cuda.capability())
        if implicit is not None and strong:
            raise protocol.UnsupportedError(
                "%s: a strongly typed network runs in int8 by its Q/DQ nodes only" % CALLED
            )
        self._log.restart()
        start = time.perf_counter()
        builder = self._builder()
        builder_s = time.perf_counter() - start
        explicit = precision == "int8" and implicit is None
        parsed = network.parse(builder, self._log, model, explicit, strong)
        _check_types(parsed, precision, explicit, strong)
        names = self._held(implicit) if precision == "int8" else []
        if names and explicit:
            raise protocol.UnsupportedError(
                "fp32_layers: in a network with Q/DQ nodes those say what runs in int8; take the nodes around "
                "%s out, or ask for implicit int8 only" % ", ".join(names)
            )
        if names:
            held.hold(parsed.definition, names)
        resources = cuda.Resources(self._cuda)
        try:
            built, quantisation = self._build(builder, parsed, precision, strong, table, implicit, resources)
        finally:
            resources.close()
        built.facts["builder_s"] = builder_s
        session = Session(self._cuda, built, self._log, self._options["batch"])
        try:
            if folder is not None:
                self._write(folder, parsed, built, quantisation, session)
        except Exception:
            session.close()
            raise
        return session

    def _held(self, implicit):
        """Returns what is held in fp32: as every int8 engine of this job, and as this pass asks."""
        asked = implicit[protocol.HELD] if implicit is not None else []
        return self._options["fp32_layers"] + [one for one in asked if one not in self._options["fp32_layers"]]

    def _builder(self):
        try:
            return trt.Builder(self._log)
        except TypeError:  # "factory function returned nullptr": what bindings make of a failure
            raise RuntimeError("TensorRT made no builder" + self._log.told())

    def _build(self, builder, parsed, precision, strong, table, implicit, resources):
        """Returns (Built, {"mode", "calibrator", "images", "callbacks_s", "table", "cache"})."""
        told = dict.fromkeys(("mode", "calibrator", "images", "callbacks_s", "table", "cache"))
        feed = calibrator = None
        if precision == "int8":
            told["mode"] = "explicit" if implicit is None else implicit["scales"]
        if implicit is not None:
            name = implicit["calibrator"]
            if implicit["scales"] == "calibrate":
                images = arrays.load_images(implicit["images"])
                size = self._options["batch"]
                feed = calibrators.Feed(resources, _only_input(parsed), images, size)
                calibrator = calibrators.make(name, feed, None, size if parsed.implicit_batch else 1)
            elif implicit["scales"] == "cache":
                line = scales.header(trt.__version__, calibrators.HEADERS.get(name, name))
                calibrator = calibrators.make(name, None, scales.cache(table, line))
            else:
                scales.set_ranges(parsed, table)
        is_held = bool(told["mode"] and self._held(implicit))
        choice = configuration.Choice(precision, self._options["fallback"], strong, calibrator, is_held)
        try:
            built = building.build(
                builder, parsed, choice, self._options, self._log, self._cuda.capability()
            )
        finally:
            # A build that failed may have failed for this: the callback's own words are better.
            if calibrator is not None:
                calibrators.check(calibrator, feed is not None)
        if calibrator is not None:
            calibrators.check_complete(calibrator, feed)
            told.update(calibrator=implicit["calibrator"], callbacks_s=calibrator.seconds)
        if feed is not None:
            told.update(images=feed.given, cache=calibrator.written)
            told["table"] = scales.amax(calibrator.written)
        if table is not None:
            told["table"] = table
        return built, told

    def _write(self, folder, parsed, built, quantisation, session):
        cache, table = quantisation.pop("cache"), quantisation.pop("table")
        if cache is not None:
            protocol.write_bytes(os.path.join(folder, protocol.CACHE), cache)
        facts = dict(built.facts, schema_version=protocol.SCHEMA_VERSION, quantisation=quantisation)
        if session.jit_s is not None:
            facts["jit_s"] = session.jit_s
        facts["scales"] = None if table is None else scales.coverage(table, parsed.tensors, self._log)
        facts["warnings"] = self._log.warnings
        protocol.write_json(os.path.join(folder, protocol.BUILD), facts)
        found = layers.of(built.engine, session, self._log, parsed.layers)
        session.layers, session.network = found["layers"], parsed.layers
        found["custom"] = custom.told(parsed.custom, parsed.layers, found["layers"], table)
        protocol.write_json(
            os.path.join(folder, protocol.LAYERS), dict(found, schema_version=protocol.SCHEMA_VERSION)
        )


def _told(options_):
    """Returns the options without one that is not used, and was not known when older runs were made."""
    return {
        key: value
        for key, value in options_.items()
        if value != options.DEFAULTS[key] or key not in ("batch", "fp32_layers")
    }


def _check_types(parsed, precision, explicit, strong):
    """Raises where the network is not of the precision that it is asked for: it would run in fp32."""
    if explicit and network.has_quantize() and not parsed.quantised:
        raise ValueError(
            "the network has no Q/DQ nodes, so nothing says what runs in int8: hand over the Q/DQ "
            "network, or a table or calibrator"
        )
    if not explicit and parsed.quantised:
        raise ValueError(
            "the network has Q/DQ nodes, which decide what runs in int8: a %s pass needs the float one"
            % precision
        )
    if strong and precision in TYPES and TYPES[precision][1] not in parsed.types:
        name = TYPES[precision][0]
        raise protocol.UnsupportedError(
            "a strongly typed network runs in %s where its tensors are %s, this one has none: "
            "convert it to %s first" % (precision, name, name)
        )


def _only_input(parsed):
    if parsed.definition.num_inputs != 1:
        raise ValueError(
            "calibration takes images, the network has %d inputs" % parsed.definition.num_inputs
        )
    return parsed.definition.get_input(0).name
