"""Engines: one module each, found by name; the rest of the job knows only this interface.

An engine module imports its package at the top (so that loading it proves that the package works) and
defines

    Engine(options)                 options: the request's engine_options; ValueError names a wrong key
        .strongly_typed             whether the network's own types decide what computes in which precision
        .facts()                    JSON object: version, providers or devices, build
        .build(model, precision, table, folder, implicit=None)
                                    a Session. `model`: path of the ONNX; `precision`: fp32, tf32, fp16,
                                    bf16 or int8; `table`: {tensor: amax} or None; `folder`: where to write
                                    what the engine tells of the build, or None: executed.onnx,
                                    build.json, layers.json, calibration.cache (job/protocol.py), each
                                    whole or not at all; `implicit`: of protocol.IMPLICIT_KEYS, or None.
    Session
        .run(inputs, outputs)       inputs: {tensor: float32 array, batch first}; outputs: tensor names.
                                    Returns the arrays in that order.
        .device_s                   seconds that the device computed in the last run, copies apart; None
                                    where the engine cannot tell
        .layer_times(inputs, runs)  absent, or what each layer takes: runs and layers of protocol.TIMES_KEYS
        .close()                    frees what it holds; nothing runs afterwards

Errors are exceptions with a message for the user; they fail the pass, not the job. What the engine
cannot do in this version at all is a protocol.UnsupportedError; a network that its parser refuses, and
might read in another form, is a protocol.UnreadableError.
"""

import importlib

ENGINES = ("onnxruntime", "python", "tensorrt")


def load(name):
    """Returns the engine module called `name`.

    Raises:
        ValueError: there is no such engine.
        ImportError: the engine's package is missing here or broken.
    """
    if name not in ENGINES:
        raise ValueError("unknown engine %r; known: %s" % (name, ", ".join(ENGINES)))
    return importlib.import_module("." + name, __name__)


def checked(engine, options, defaults, choices):
    """Returns all options of an engine, those that are not given at their defaults; `choices` are of some keys.

    Raises:
        ValueError: a key is unknown, or a value is none of its choices; says which there are.
    """
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise ValueError(
            "engine_options: %s has no option %s; it has: %s"
            % (engine, ", ".join(unknown), ", ".join(sorted(defaults)))
        )
    result = dict(defaults, **options)
    for key, known in sorted(choices.items()):
        if result[key] not in known:
            raise ValueError("engine_options: %s is %r; known: %s" % (key, result[key], ", ".join(known)))
    return result
