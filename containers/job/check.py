"""Says what an engine's parser and builder make of networks: python3 -m job.check REQUEST_FILE RESULT_FILE.

REQUEST_FILE    {"forms": [{"name", "model": path, "precision": fp32, fp16, bf16 or int8}], "capabilities": [86]}
RESULT_FILE     {"engine", "version", "forms": {name: see `look`}}

Runs nothing. TensorRT-RTX needs no GPU for this and builds for the compute capabilities that are named;
TensorRT does and builds for the GPU that is there.
"""

import sys

from . import protocol

FORM_KEYS = ("name", "model", "precision")


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    request = protocol.read_json(arguments[0])
    from .engines.tensorrt import library

    forms = {form["name"]: look(form, request["capabilities"]) for form in request["forms"]}
    found = {"engine": library.NAME, "version": library.trt.__version__, "forms": forms}
    protocol.write_json(arguments[1], found)
    return 0


def look(form, capabilities):
    """Returns what became of one form.

    {"refused": null, or [{"node": name or null, "operator": or null, "text"}],
    "layers": [[name, kind, type of its first output, [kinds of the layers that make its inputs]]], before
    anything is fused,
    "inputs", "outputs": {tensor: type},
    "built": {capability: {"bytes", "seconds"} or {"error"}}}
    """
    from .engines.tensorrt import building, configuration, log, network, options
    from .engines.tensorrt.library import trt

    heard = log.Log()
    strong, explicit = configuration.always_strong(), form["precision"] == "int8"
    found = {"refused": None, "layers": [], "inputs": {}, "outputs": {}, "built": {}}
    builder = trt.Builder(heard)
    try:
        parsed = network.parse(builder, heard, form["model"], explicit, strong)
    except network.ParseError as error:
        found["refused"] = error.told or [{"node": None, "operator": None, "text": str(error)}]
        return found
    definition = parsed.definition
    makers = {}
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        kind = network.word(layer.type)
        before = [makers.get(tensor.name, "INPUT") for tensor in network.inputs(layer)]
        makers.update((tensor.name, kind) for tensor in network.outputs(layer))
        first = layer.get_output(0) if layer.num_outputs else None
        found["layers"].append([layer.name, kind, None if first is None else network.word(first.dtype), before])
    for key, tensors in (("inputs", network.inputs(definition)), ("outputs", network.outputs(definition))):
        found[key] = {tensor.name: network.word(tensor.dtype) for tensor in tensors}
    choice = configuration.Choice(form["precision"], "fp32", strong, None)
    for capability in capabilities:
        try:
            _, facts, _ = building.serialised(
                builder, parsed, choice, dict(options.DEFAULTS), heard, capability
            )
            told = {"bytes": facts["size_bytes"], "seconds": facts["tensorrt_s"]}
        except (building.BuildError, protocol.UnsupportedError, ValueError) as error:
            told = {"error": str(error)}
        found["built"]["%d.%d" % divmod(capability, 10)] = told
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
