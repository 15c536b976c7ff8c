"""ONNX Runtime 1.15 and later, on CPU or CUDA.

Precision and scales are in the model (Q/DQ nodes), so there is no table to hand over.
"""

import os

import numpy as np
import onnxruntime as ort

from .. import engines, protocol

OPTIMIZATION = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

DEFAULTS = {
    "provider": "CPUExecutionProvider",  # a name that ONNX Runtime knows, passed through
    "provider_options": {},
    "threads": 0,  # within an operator; 0 leaves the choice to ONNX Runtime
    "graph_optimization": "all",
    "session_config": {},  # key to value, as in onnxruntime_session_options_config_keys.h
}

# For calibration, which computes between two images: ONNX Runtime's threads would spin meanwhile, and
# take the processor from the histograms and from everybody else.
CALM = {"session.intra_op.allow_spinning": "0"}


class Engine(object):
    strongly_typed = True  # its networks say it all; a pass below fp32 is asked of no ONNX Runtime

    def __init__(self, options):
        choices = {"graph_optimization": sorted(OPTIMIZATION)}
        self._options = engines.checked("onnxruntime", options, DEFAULTS, choices)

    def facts(self):
        build_info = getattr(ort, "get_build_info", None)  # not in every 1.15
        return {
            "name": "onnxruntime",
            "version": ort.__version__,
            "providers": ort.get_available_providers(),
            "device": ort.get_device(),
            "build": build_info() if build_info else None,
            "options": self._options,
        }

    def build(self, model, precision, table, folder, implicit=None):
        """Returns a session on `model`; `precision` is the model's own business."""
        if implicit is not None:
            raise protocol.UnsupportedError("onnxruntime runs int8 by Q/DQ nodes only")
        if table is not None:
            raise ValueError(
                "onnxruntime takes its scales from the Q/DQ nodes of the model: "
                "a %s pass needs no table, the request names one" % precision
            )
        if folder is None:
            return Session(self._open(model, self._settings(CALM)))
        settings = self._settings({})
        executed = os.path.join(folder, protocol.EXECUTED)
        partial = executed + protocol.PARTIAL
        settings.optimized_model_filepath = partial
        session = Session(self._open(model, settings))
        os.replace(partial, executed)
        return session

    def _settings(self, config):
        """Returns the options of a session; entries of the request take the place of those of `config`."""
        settings = ort.SessionOptions()
        settings.graph_optimization_level = OPTIMIZATION[self._options["graph_optimization"]]
        settings.intra_op_num_threads = self._options["threads"]
        settings.inter_op_num_threads = 1
        for key, value in sorted(dict(config, **self._options["session_config"]).items()):
            settings.add_session_config_entry(key, str(value))
        return settings

    def _open(self, model, settings):
        provider = self._options["provider"]
        if provider not in ort.get_available_providers():
            raise ValueError(
                "provider %s is not in this onnxruntime %s, which has: %s; install the package built with it"
                % (provider, ort.__version__, ", ".join(ort.get_available_providers()))
            )
        session = ort.InferenceSession(
            model, settings, providers=[(provider, dict(self._options["provider_options"]))]
        )
        if provider not in session.get_providers():
            raise RuntimeError(
                "onnxruntime fell back from %s to %s: the provider's libraries could not be loaded, its "
                "reason is in the log; nothing was run, so that CPU numbers do not pass for others"
                % (provider, ", ".join(session.get_providers()))
            )
        return session


class Session(object):
    device_s = None  # the clock of the host is all there is

    def __init__(self, session):
        self._session = session
        self._inputs = {value.name: value.type for value in session.get_inputs()}
        self._outputs = [value.name for value in session.get_outputs()]

    def run(self, inputs, outputs):
        """Returns the arrays of `outputs`.

        Raises:
            ValueError: the model lacks one of the names, or its input is not float32.
        """
        for name in inputs:
            if name not in self._inputs:
                raise ValueError(
                    "the model has no input %r; it has: %s" % (name, ", ".join(sorted(self._inputs)))
                )
            if self._inputs[name] != "tensor(float)":
                raise ValueError(
                    "input %r of the model is %s, images are float32: put a Cast in front of it"
                    % (name, self._inputs[name])
                )
        missing = [name for name in outputs if name not in self._outputs]
        if missing:
            raise ValueError(
                "the model has no output %s; it has: %s"
                % (", ".join(missing), ", ".join(self._outputs))
            )
        return [np.asarray(array) for array in self._session.run(outputs, inputs)]

    def close(self):
        self._session = None
