"""The files that host and job exchange; standard library only, so that even a missing numpy is answered.

REQUEST_DIR (read only)
    request.json            see REQUEST_KEYS; every path in it is relative to REQUEST_DIR
    *.npy, *.onnx           the inputs it names

RESULT_DIR (empty, writable)
    stage.txt               the stage entered last, e.g. "infer int8-shared-entropy"
    probe.json              facts found inside: Python, packages, engine, processor, mapped libraries
    calibration.json        {"schema_version", "images", "seconds", "algorithms": {name: {tensor: amax}},
                            "unusable": {tensor: reason}, "seen": {tensor: largest magnitude},
                            "clipped": {name: {tensor: share of the nonzero values above amax, 0 to 1}}}
    passes/NAME/pass.json   one pass's answer, written last, as soon as the pass ends; its latency has the
                            host's clock (samples_s) and, where the engine can tell, the device's (device_s);
                            `model` is the file that was read, `refused` {file: what the parser said}
    passes/NAME/HEAD.npy    float32 (images, ...): outputs of one head over all evaluation images
    passes/NAME/executed.onnx   the graph the engine really ran, where the engine can tell by one
    passes/NAME/build.json      what TensorRT was told and said of a build, see BUILD_KEYS
    passes/NAME/layers.json     what TensorRT made of the network's layers, see LAYER_KEYS
    passes/NAME/settled.json    what else is told of the outputs so that they need not travel: see job/settle.py
    passes/NAME/untimed.json    as pass.json, only while the pass's layers are timed: it is the pass's answer where the
                            job ended in that
    passes/NAME/calibration.cache   the calibration cache that TensorRT wrote, byte for byte
    program/                the files of a function of the user's own, where that is the engine
    plugins/                libraries that were compiled of plugins' sources, where nothing lasts longer
    result.json             {"schema_version", "status", "stage", "error"}: written last of all

Exit code 0 with a valid result.json is the job's own answer, good or bad. Anything else is the
environment's failure, which the host classifies.
"""

import io
import json
import os
import re
import tempfile
import traceback

SCHEMA_VERSION = 1

REQUEST = "request.json"
RESULT = "result.json"
PROBE = "probe.json"
CALIBRATION = "calibration.json"
STAGE = "stage.txt"
PASSES = "passes"
PLUGINS = "plugins"
PROGRAM = "program"
PASS = "pass.json"  # noqa: S105 - no password
UNTIMED = "untimed.json"
EXECUTED = "executed.onnx"
BUILD = "build.json"
LAYERS = "layers.json"
CACHE = "calibration.cache"
SETTLED = "settled.json"
PACK = "pack.json"  # what run_pack.py finds beside itself
PARTIAL = ".part"  # ends the name of a file that is still being written

STAGES = ("probe", "calibrate", "build", "infer", "time", "profile", "compare")

REQUEST_KEYS = {
    "schema_version": "int",
    "engine": "name of a module in job.engines",
    "engine_options": "object handed to the engine adapter; its keys are the adapter's own",
    "input": "name of the network's input tensor",
    "heads": "list of [head, output tensor], in the user's order",
    "evaluation": "path of a float32 .npy (images, ...input shape without its batch axis)",
    "calibration": "null, or {model, images, tensors: [name], algorithms: [{name, options}]}",
    "passes": "list of {name, precision, model, table: null or path, compare_with: null or pass name, "
    "implicit: absent, null or see IMPLICIT_KEYS, alternatives: absent or [path or see UFF_KEYS]: the same "
    "network in other forms, tried in order where the engine's parser cannot read `model`, typed: absent, null "
    "or see TYPED_KEYS}",
    "timing": "null, or {min_samples, max_samples, max_s, warm_up_max_s, layer_runs: absent, or how many runs "
    "layers are timed in, after the others; 0: none}",
}

SETTLE_KEYS = {  # of the request's `settle`, absent or null where outputs travel
    "epsilon": "of job.reductions.compare",
    "reference": "{head: path of the reference's output}",
    "own": "null, or {head: path of the environment's own fp32}; null also where that is among the passes",
    "gates": "[see GATE_KEYS]: none where no boxes are made of the outputs",
}
GATE_KEYS = {  # which positions of heads that make boxes together can hold one
    "heads": "{head: channels of a position, that its shape ends with; null where they are its first axis}",
    "head": "that tells",
    "scores": "[[channels of a position of that head]], one list an anchor",
    "among": "null, or for each of these lists the channels whose largest value is subtracted",
    "alone": "{head: channels of which a value that is less counts for no box, whatever the others are}",
    "least": "a position where none of these is as large can hold no box",
}
BATCH_KEYS = {  # of the request's `batch`, absent or null: images go one by one
    "size": "images that every network of the request takes at once",
    "alone": "whether each image fills a whole batch in `infer`, so that an output without a batch axis is of it alone",
}
PLUGIN_KEYS = {  # of the request's `plugins`, absent or a list; either the first, or the other two
    "libraries": "{major version of TensorRT: path}",
    "sources": "[{name: as others include it, file: path}], compiled inside",
    "flags": "[text], for the compiler",
}
CALIBRATION_KEYS = ("model", "images", "tensors", "algorithms")
PASS_KEYS = ("name", "precision", "model", "table", "compare_with")
TYPED_KEYS = {  # what takes the place of `model` where the network's own types decide (strongly typed)
    "model": "path of the network converted to the pass's precision; null where that cannot be",
    "reason": "why it cannot; null where it can",
}
UFF_KEYS = {  # of an alternative that is no ONNX file
    "uff": "path",
    "input": "{node: in the file, name: that it has in `model`, shape: [int], of one image, channels first}",
    "outputs": "{output tensor of `model`: node in the file}",
}
IMPLICIT_KEYS = {  # int8 by TensorRT's own scales, in a float network, not by Q/DQ nodes
    "scales": "calibrate: of `images`; cache or dynamic_range: the pass's table, carried that way",
    "calibrator": "entropy, entropy2, legacy or minmax; with dynamic_range null",
    "images": "path of a float32 .npy as `evaluation`; null unless scales is calibrate",
}
HELD = "held"  # beside those: absent, or [layers, or tensors that they make], to be held in fp32
SCALES = ("calibrate", "cache", "dynamic_range")
BUILD_KEYS = {
    "flags": "names of the builder's flags that were set",
    "size_bytes": "of the engine, null where it was not serialised",
    "timing_cache": "none, new, read, or refused: made for another GPU, version or set of flags",
    "builder_s": "seconds in which TensorRT made its builder; in the first build of a process that loads its kernels",
    "tensorrt_s": "seconds inside TensorRT's build, calibration included",
    "jit_s": "absent, or seconds in which TensorRT-RTX then compiled what it had built, when the context was made",
    "quantisation": "{mode: null, explicit or one of SCALES, calibrator, images: number seen, callbacks_s: "
    "seconds of tensorrt_s that handing over images took}",
    "scales": "null, or {table: tensors with a scale, mapped: of them tensors of the network that can have "
    "one, unmapped: [those without], unknown: [no such tensors], zero: [tensors], defaulted: count, "
    "missing: [tensors TensorRT complained of], rejected: [layers that lost an int8 kernel]}",
    "warnings": "[text]",
}
# layers.json is {"source": inspector, log or profiler, "layers": [...], "custom": [...], "times": absent or see TIMES_KEYS}
LAYER_KEYS = {
    "name": "as TensorRT calls it",
    "type": "Convolution ...; null from a profiler",
    "kernel": "CaskConvolution ...; null from a profiler",
    "origin": "[layers of the network that it was made of]; from 7.1 they are named as the ONNX nodes",
    "tensors": "[tensors which those give out in the network]: ONNX names, in every version",
    "opaque": "whether it was compiled as a whole: nothing is known of its inside",
    "precision": "that it computes in; null where that is not told",
    "tactic": "name or number of its kernel",
    "inputs": "[{name, precision, format}]",
    "outputs": "[{name, precision, format}]",
}
CUSTOM_KEYS = {  # of an entry of layers.json's "custom": a layer that a plugin does
    "name": "in the network",
    "precision": "that it ran in; null where that is not told",
    "inputs": "as a layer's",
    "outputs": "as a layer's",
    "before": "[{name, type, precision}]: the layers that write its inputs",
    "after": "the same of those that read its outputs",
    "scaled": "null without a table, or {output tensor: whether that has a scale for it}",
}
TIMES_KEYS = {  # what the engine's layers took, in runs of their own on a context of its own
    "runs": "how many; those before them that warmed up are not counted",
    "layers": "[{name: as the profiler calls it, tensors: as a layer's, seconds: median over the runs}]; a layer that the "
    "profiler names several times in a run is there once, with their sum",
    "problem": "null, or why there are none; runs is 0 then",
}
TIMING_KEYS = ("min_samples", "max_samples", "max_s", "warm_up_max_s")
LAYER_RUNS = "layer_runs"  # beside those

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}\Z")
"""What may become a file or folder name as it is."""


class ProtocolError(Exception):
    """A request that this job does not understand."""


class UnsupportedError(Exception):
    """What the engine cannot do at all, in this version; a pass that asks for it is `unsupported`."""


class UnreadableError(Exception):
    """A network that the engine's parser refuses; in another form it may be read."""


def describe_error(error):
    """Returns {"type", "message", "traceback"} of the exception being handled."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": traceback.format_exc(),
    }


def read_json(path):
    """Returns the JSON value in `path`; NaN and Infinity are refused, as they are on writing."""
    with io.open(path, encoding="utf-8") as stream:
        return json.load(stream, parse_constant=_refuse_constant)


def _refuse_constant(word):
    raise ValueError("%s is not JSON" % word)


def write_json(path, value):
    """Writes `value` whole or not at all: to a temporary name first, then renamed over `path`."""
    text = json.dumps(value, allow_nan=False, indent=1, sort_keys=True, ensure_ascii=False)
    # A lone surrogate (a file name or variable that is not UTF-8) becomes a JSON escape.
    write_bytes(path, (text + "\n").encode("utf-8", "backslashreplace"))


def write_bytes(path, content):
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)  # of two threads both may find none
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_request(folder):
    """Returns the request in `folder`, with paths made absolute.

    Raises:
        ProtocolError: there is no such file, it is no JSON object, of another schema version, or a
            key is missing or unusable.
    """
    path = os.path.join(folder, REQUEST)
    try:
        request = read_json(path)
    except (OSError, ValueError) as error:
        raise ProtocolError("cannot read %s: %s" % (path, error))
    if not isinstance(request, dict):
        raise ProtocolError("%s holds no JSON object" % path)
    found = request.get("schema_version")
    if found != SCHEMA_VERSION:
        raise ProtocolError(
            "request has schema version %r, this job reads %d: host and job differ"
            % (found, SCHEMA_VERSION)
        )
    _need(request, REQUEST_KEYS, "request")
    _check_passes(request["passes"])

    def absolute(path):
        return os.path.join(folder, path)

    _check_batch(request.setdefault("batch", None))  # not every host knows of it
    request["evaluation"] = absolute(request["evaluation"])
    for number, one in enumerate(request.setdefault("plugins", [])):
        _check_plugin(one, "plugins[%d]" % number)
        if "sources" in one:
            one["sources"] = [dict(each, file=absolute(each["file"])) for each in one["sources"]]
        else:
            one["libraries"] = {key: absolute(path) for key, path in one["libraries"].items()}
    settle = request.setdefault("settle", None)  # not every host knows of it
    if settle is not None:
        _need(settle, SETTLE_KEYS, "settle")
        for number, gate in enumerate(settle["gates"]):
            _need(gate, GATE_KEYS, "settle.gates[%d]" % number)
        for key in ("reference", "own"):
            if settle[key] is not None:
                settle[key] = {head: absolute(path) for head, path in settle[key].items()}
    if request["calibration"] is not None:
        _need(request["calibration"], CALIBRATION_KEYS, "calibration")
        for key in ("model", "images"):
            request["calibration"][key] = absolute(request["calibration"][key])
    if request["timing"] is not None:
        _need(request["timing"], TIMING_KEYS, "timing")
        runs = request["timing"].setdefault(LAYER_RUNS, 0)  # not every host knows of it
        if not isinstance(runs, int) or isinstance(runs, bool) or runs < 0:
            raise ProtocolError("timing.%s is %r: expected a number of runs, or 0" % (LAYER_RUNS, runs))
    for pass_ in request["passes"]:
        pass_["model"] = absolute(pass_["model"])
        if pass_["table"] is not None:
            pass_["table"] = absolute(pass_["table"])
        if pass_["implicit"] is not None and pass_["implicit"]["images"] is not None:
            pass_["implicit"]["images"] = absolute(pass_["implicit"]["images"])
        if pass_["typed"] is not None and pass_["typed"]["model"] is not None:
            pass_["typed"]["model"] = absolute(pass_["typed"]["model"])
        pass_["alternatives"] = [
            dict(form, uff=absolute(form["uff"])) if isinstance(form, dict) else absolute(form)
            for form in pass_["alternatives"]
        ]
    return request


def _check_batch(batch):
    if batch is None:
        return
    _need(batch, BATCH_KEYS, "batch")
    size = batch["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ProtocolError("batch.size is %r: expected a number of images" % (size,))


def batch_size(request):
    """Returns how many images the networks of a request take at once."""
    return request["batch"]["size"] if request["batch"] else 1


def _check_passes(passes):
    names = []
    for number, one in enumerate(passes):
        _need(one, PASS_KEYS, "passes[%d]" % number)
        if not SAFE_NAME.match(one["name"]):
            raise ProtocolError(
                "passes[%d] is named %r: a pass becomes a folder, use letters, digits, . _ -"
                % (number, one["name"])
            )
        names.append(one["name"])
        _check_alternatives(one, "passes[%d].alternatives" % number)
        _check_implicit(one, "passes[%d].implicit" % number)
        _check_typed(one, "passes[%d].typed" % number)
    if len(set(names)) < len(names):
        raise ProtocolError("two passes have one name: %s" % ", ".join(sorted(names)))


def _check_alternatives(one, where):
    alternatives = one.setdefault("alternatives", [])  # not every host knows of them
    if not isinstance(alternatives, list) or not all(isinstance(form, (str, dict)) for form in alternatives):
        raise ProtocolError("%s is no list of paths and UFF forms" % where)
    for form in alternatives:
        if isinstance(form, dict):
            _need(form, UFF_KEYS, where)
            _need(form["input"], ("node", "name", "shape"), where + ".input")
            _need(form["outputs"], (), where + ".outputs")


def _check_typed(one, where):
    typed = one.setdefault("typed", None)  # not every host knows of it
    if typed is None:
        return
    _need(typed, TYPED_KEYS, where)
    if (typed["model"] is None) == (typed["reason"] is None):
        raise ProtocolError("%s has either a model or a reason" % where)
    if not isinstance(typed["model"] or typed["reason"], str):
        raise ProtocolError("%s: its model or reason is no text" % where)


def form_file(form):
    """Returns the name of the file that a pass's `model` or one of its `alternatives` is."""
    return os.path.basename(form["uff"] if isinstance(form, dict) else form)


def _check_plugin(one, where):
    if not isinstance(one, dict) or ("sources" in one) == ("libraries" in one):
        raise ProtocolError("%s has either libraries or sources" % where)
    if "libraries" in one:
        _need(one, ("libraries",), where)
        _need(one["libraries"], (), where + ".libraries")
        return
    _need(one, ("sources", "flags"), where)
    for each in one["sources"]:
        _need(each, ("name", "file"), where + ".sources")
        if not SAFE_NAME.match(each["name"]):
            raise ProtocolError("%s: %r is no plain file name" % (where, each["name"]))


def _check_implicit(one, where):
    implicit = one.setdefault("implicit", None)  # not every host knows of it
    if implicit is None:
        return
    _need(implicit, IMPLICIT_KEYS, where)
    names = implicit.setdefault(HELD, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProtocolError("%s.%s is no list of names" % (where, HELD))
    wanted = implicit["scales"]
    if wanted not in SCALES:
        raise ProtocolError("%s.scales is %r; known: %s" % (where, wanted, ", ".join(SCALES)))
    needs = {"images": wanted == "calibrate", "calibrator": wanted != "dynamic_range"}
    for key, needed in sorted(needs.items()):
        if (implicit[key] is not None) != needed:
            raise ProtocolError(
                "%s: scales %s %s %s" % (where, wanted, "needs" if needed else "takes no", key)
            )
    if (one["table"] is not None) != (wanted != "calibrate"):
        raise ProtocolError(
            "%s: scales %s %s table"
            % (where, wanted, "takes no" if wanted == "calibrate" else "needs a")
        )


def _need(value, keys, where):
    if not isinstance(value, dict):
        raise ProtocolError("%s is no JSON object" % where)
    missing = sorted(key for key in keys if key not in value)
    if missing:
        raise ProtocolError("%s lacks %s" % (where, ", ".join(missing)))
