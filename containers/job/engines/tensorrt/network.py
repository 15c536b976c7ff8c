"""From a file to a TensorRT network."""

from ... import protocol
from . import custom, uff_form
from .library import CALLED, trt

FLOATS = ("FLOAT", "HALF", "BF16")


class ParseError(protocol.UnreadableError):
    """The network cannot be read by this TensorRT's parser; holds all that the parser said.

    Attributes:
        told: [{"node": name, "operator", "text"}], the first two None where it does not name them.
    """

    def __init__(self, message, told=()):
        protocol.UnreadableError.__init__(self, message)
        self.told = list(told)


class Network(object):
    """A parsed network.

    Attributes:
        definition: trt.INetworkDefinition.
        implicit_batch: whether the batch is no axis of its tensors (TensorRT 5 and 6; UFF).
        layers: {name of a layer: [names of its output tensors]}, before TensorRT fuses any.
        tensors: names of those that can have a scale, inputs first: floating point, no constants.
        types: the types of all its tensors, as FLOAT.
        quantised: whether it has Q/DQ layers.
        custom: names of the layers that plugins do.
    """

    def __init__(self, definition, parser, implicit_batch):
        self.definition = definition
        self._parser = parser  # owns the weights: must live until the engine is built
        self.implicit_batch = implicit_batch
        self.layers = {}
        self.tensors = []
        self.types = set()
        for tensor in inputs(definition):
            self._add(tensor, True)
        self.quantised = False
        self.custom = []
        for index in range(definition.num_layers):
            layer = definition.get_layer(index)
            # Parsers up to 7.2 give one name to all layers that they make of a node.
            self.layers.setdefault(layer.name, []).extend(tensor.name for tensor in outputs(layer))
            self.quantised = self.quantised or word(layer.type) in ("QUANTIZE", "DEQUANTIZE")
            if word(layer.type) in custom.KINDS and layer.name not in self.custom:
                self.custom.append(layer.name)
            for tensor in outputs(layer):
                self._add(tensor, word(layer.type) != "CONSTANT")

    def _add(self, tensor, scaled):
        self.types.add(word(tensor.dtype))
        if scaled and word(tensor.dtype) in FLOATS:
            self.tensors.append(tensor.name)


def inputs(owner):
    """Returns the input tensors of a layer or of a network definition; an optional one may be left out."""
    tensors = (owner.get_input(index) for index in range(owner.num_inputs))
    return [tensor for tensor in tensors if tensor is not None]


def outputs(owner):
    """Returns the output tensors of a layer or of a network definition; an optional one may be left out."""
    tensors = (owner.get_output(index) for index in range(owner.num_outputs))
    return [tensor for tensor in tensors if tensor is not None]


def word(value):
    """Returns the name of an enum's value: `FLOAT` for trt.DataType.FLOAT."""
    return str(value).split(".")[-1]


def parse(builder, log, form, explicit, strong):
    """Returns the Network that `form` holds: the path of an .onnx, or a UFF form of protocol.UFF_KEYS.

    `explicit` says whether its Q/DQ nodes say what runs in int8, `strong` whether its types do (strongly typed).

    Raises:
        ParseError: the parser refused it.
        protocol.UnreadableError: see `uff_form.parse`.
        protocol.UnsupportedError: this TensorRT has no strongly typed networks, or no Q/DQ nodes.
    """
    if isinstance(form, dict):
        definition = _create(builder, True, explicit, strong)
        return Network(definition, uff_form.parse(definition, log, form), True)
    implicit_batch = not _full_dimensions()
    definition = _create(builder, implicit_batch, explicit, strong)
    parser = trt.OnnxParser(definition, log)
    if hasattr(parser, "parse_from_file"):  # 7.1; finds weights stored beside the file
        done = parser.parse_from_file(form)
    else:
        with open(form, "rb") as stream:
            done = parser.parse(stream.read())
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    errors = [describe(error) for error in found]
    if errors or not done:
        raise ParseError(
            "%s cannot read the network: %s"
            % (CALLED, "; ".join(errors) or "its parser gave no reason" + log.told()),
            [_told(error) for error in found],
        )
    if definition.num_outputs == 0:
        raise ParseError("%s found no outputs in the network" % CALLED)
    return Network(definition, parser, implicit_batch)


def _full_dimensions():
    """Whether the ONNX parser makes networks whose batch is an axis, and no others.

    It does from 7.0, which also brought loops; 6.0 knows such networks but its parser strips the batch.
    """
    return hasattr(trt.INetworkDefinition, "add_loop")


def _create(builder, implicit_batch, explicit, strong):
    if not hasattr(trt, "NetworkDefinitionCreationFlag"):  # 5
        if strong:
            raise protocol.UnsupportedError(_NO_STRONG % CALLED)
        if explicit:
            raise protocol.UnsupportedError(
                "%s knows no Q/DQ nodes (8.0 and later do): it has implicit int8 only" % CALLED
            )
        return builder.create_network()
    flags = trt.NetworkDefinitionCreationFlag
    bits = 0
    if hasattr(flags, "EXPLICIT_BATCH") and not implicit_batch:
        bits |= 1 << int(flags.EXPLICIT_BATCH)
    # Before it had Q/DQ layers, TensorRT 7 made scale layers of Q/DQ nodes in networks so marked.
    if explicit and hasattr(flags, "EXPLICIT_PRECISION") and not has_quantize():
        bits |= 1 << int(flags.EXPLICIT_PRECISION)
    if strong:
        if not hasattr(flags, "STRONGLY_TYPED"):
            raise protocol.UnsupportedError(_NO_STRONG % CALLED)
        bits |= 1 << int(flags.STRONGLY_TYPED)
    return builder.create_network(bits)


_NO_STRONG = "%s has no strongly typed networks (9 and later do)"


def has_quantize():
    """Whether this TensorRT has layers for Q/DQ nodes (8.0)."""
    return hasattr(trt.INetworkDefinition, "add_quantize")


def _told(error):
    found = {"node": None, "operator": None, "text": error.desc()}
    if hasattr(error, "node_name"):  # 10
        found.update(node=error.node_name() or None, operator=error.node_operator() or None)
    return found


def describe(error):
    """Returns one parser error as text: what, of which kind, in which node."""
    text = error.desc()
    node = error.node()
    where = "node %d" % node
    if hasattr(error, "node_name"):  # 10
        where += " (%s %s)" % (error.node_operator(), error.node_name())
    return "%s: %s [%s]" % (where if node >= 0 else "network", text, word(error.code()))
