"""From a UFF file, as converters of TensorFlow wrote them for TensorRT 5 to 8, to a TensorRT network.

Its nodes have TensorFlow's names. The network's own input and outputs are renamed to those of the ONNX
form, so that nothing behind this file knows the difference; tensors in between keep theirs.
"""

from ... import protocol
from .library import CALLED, trt


def parse(definition, log, form):
    """Fills `definition`, an empty network with implicit batch; returns the parser, which owns weights.

    `form` is of a request, see protocol.UFF_KEYS.

    Raises:
        protocol.UnreadableError: this TensorRT has no such parser, or it refused the file.
    """
    if not hasattr(trt, "UffParser"):  # gone in 9
        raise protocol.UnreadableError("%s has no parser of UFF files (5 to 8 have)" % CALLED)
    uff = trt.UffParser()
    node = form["input"]["node"]
    if not uff.register_input(node, tuple(form["input"]["shape"])):
        raise protocol.UnreadableError(
            "%s did not take %s as the input of the UFF network%s" % (CALLED, node, log.told())
        )
    for output in sorted(form["outputs"].values()):
        if not uff.register_output(output):
            raise protocol.UnreadableError(
                "%s did not take %s as an output of the UFF network%s"
                % (CALLED, output, log.told())
            )
    if not uff.parse(form["uff"], definition):
        raise protocol.UnreadableError(
            "%s cannot read the UFF network; are its nodes %s there?%s"
            % (CALLED, ", ".join([node] + sorted(form["outputs"].values())), log.told())
        )
    _rename(definition, form)
    return uff


def _rename(definition, form):
    """Gives the input and the outputs the names that they have in the ONNX form.

    Raises:
        protocol.UnreadableError: the network has no such input or output.
    """
    names = {node: name for name, node in form["outputs"].items()}
    names[form["input"]["node"]] = form["input"]["name"]
    inputs = [definition.get_input(index) for index in range(definition.num_inputs)]
    outputs = [definition.get_output(index) for index in range(definition.num_outputs)]
    found = [tensor.name for tensor in inputs + outputs]
    missing = sorted(node for node in names if node not in found)
    if missing:
        raise protocol.UnreadableError(
            "the UFF network has no input or output %s; it has: %s"
            % (", ".join(missing), ", ".join(found))
        )
    for tensor in inputs + outputs:
        tensor.name = names.get(tensor.name, tensor.name)
