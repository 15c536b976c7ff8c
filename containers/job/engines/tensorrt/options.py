"""Options of the TensorRT adapter: the request's engine_options."""

from ... import engines

DEFAULTS = {
    "device": 0,  # which of the GPUs that this process sees
    "batch": 1,  # images at once: of networks that leave it free, or whose batch is no axis
    "workspace_bytes": 1 << 30,  # scratch memory a layer may ask for; 0 was the default until 8.3
    "typed": "weak",  # weak: precision flags decide; strong: the network's own types do
    "fallback": "fp32",  # of an int8 engine's layers that do not run in int8: fp32, tf32 or fp16
    "fp32_layers": [],  # layers of an int8 engine that are held in fp32: held.py
    "optimization_level": None,  # 0 to 5, from 8.6; None leaves the choice to TensorRT
    "tactic_sources": None,  # names of TacticSource; None leaves the choice to TensorRT
    "timing_cache": None,  # path of a file read before and written after each build
    "plugins": [],  # libraries or sources of custom layers: plugins.py
    "plugin_folder": None,  # for libraries of theirs that are compiled here
}
CHOICES = {"typed": ("weak", "strong"), "fallback": ("fp32", "tf32", "fp16")}


def checked(options):
    """Returns all options, those that are not given at their defaults; raises as `engines.checked`."""
    return engines.checked("tensorrt", options, DEFAULTS, CHOICES)
