"""Parsers of ONNX and UFF."""

import onnx

from tensorrt import graph, plugins
from tensorrt.basics import VERSION, _Bound
from tensorrt.network import ILayer, ITensor

KINDS = {"Conv": "CONVOLUTION", "Relu": "ACTIVATION", "Resize": "RESIZE", "QuantizeLinear": "QUANTIZE",
         "DequantizeLinear": "DEQUANTIZE", "Constant": "CONSTANT", "Cast": "CAST", "MaxPool": "POOLING"}  # fmt: skip


OPSETS = ((7, 9), (8, 11), (9, 17), (10, 19))  # version below → highest opset of its ONNX parser


class ParserError(_Bound):
    def __init__(self, text, node, operator=""):
        self._text, self._node, self._operator = text, node, operator

    def desc(self):
        return self._text

    def node(self):
        return self._node

    def code(self):
        return "ErrorCode.UNSUPPORTED_NODE"

    def node_name(self):
        return "made-up"

    def node_operator(self):
        return self._operator


class OnnxParser(_Bound):
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, logger, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        try:
            parsed = onnx.load_from_string(bytes(model))
        except Exception:  # a truncated file raises what protobuf likes
            self._errors.append(ParserError("Failed to parse the ONNX model", -1))
            return False
        return self._import(parsed)

    def parse_from_file(self, model):
        with open(model, "rb") as stream:
            return self.parse(stream.read(), model)

    def _import(self, model):
        network = self._network
        if VERSION[0] in (7, 8, 9) and not network._has("EXPLICIT_BATCH"):
            message = (
                "This version of the ONNX parser only supports networks with an explicit batch"
            )
            self._errors.append(ParserError(message, -1))
        if VERSION[0] == 6 and network._has("EXPLICIT_BATCH"):
            self._errors.append(ParserError("the batch of an input was stripped", -1))
        limit = next((opset for below, opset in OPSETS if VERSION[0] < below), 99)
        for index, node in enumerate(model.graph.node):
            since = {"QuantizeLinear": (7, 2)}.get(node.op_type, (0,))
            if node.domain and node.op_type in plugins.operators() and VERSION >= (7, 1):
                continue
            if node.domain or since > VERSION or (node.op_type == "Resize" and limit < 10):
                text = f"No importer registered for op: {node.op_type}"
                self._errors.append(ParserError(text, index, node.op_type))
        if self._errors:
            return False
        known = graph.tensors(model)
        strip = network._implicit
        network._model = model

        def tensor(name):
            dtype, shape = known.get(name, ("FLOAT", ()))
            return ITensor(name, dtype, shape[1:] if strip else shape)

        constants = {one.name for one in model.graph.initializer}
        network._inputs += [
            tensor(one.name) for one in model.graph.input if one.name not in constants
        ]
        for index, node in enumerate(model.graph.node):
            kind = "PLUGIN_V2" if node.domain else KINDS.get(node.op_type, "ELEMENTWISE")
            name = node.name or node.output[0]
            if VERSION < (7, 1):
                name = f"(Unnamed Layer* {index}) [{node.op_type}]"
            network._layers.append(ILayer(name, kind, [tensor(one) for one in node.output if one]))
        network._outputs += [tensor(one.name) for one in model.graph.output]
        return True


class UffParser(_Bound):
    """Reads what no converter wrote: `UFF ` and an ONNX network, whose names are those of the nodes."""

    def __init__(self):
        self._inputs, self._outputs = {}, []

    def register_input(self, name, shape, order=None):
        self._inputs[name] = tuple(shape)
        return True

    def register_output(self, name):
        self._outputs.append(name)
        return True

    def parse(self, file, network, weights_type=None):
        if not network._implicit:
            return False
        with open(file, "rb") as stream:
            content = stream.read()
        if not content.startswith(b"UFF "):
            return False
        model = onnx.load_from_string(content[4:])
        known = graph.tensors(model)
        inputs = {one.name: known[one.name][1][1:] for one in model.graph.input}
        made = {name for node in model.graph.node for name in node.output}
        if inputs != self._inputs or not set(self._outputs) <= made:
            return False
        del model.graph.output[:]
        model.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(n) for n in self._outputs
        )
        tensors = {name: ITensor(name, *_stripped(known, name)) for name in [*inputs, *made]}
        network._model = model
        network._inputs += [tensors[name] for name in inputs]
        for node in model.graph.node:
            kind = KINDS.get(node.op_type, "ELEMENTWISE")
            network._layers.append(ILayer(node.output[0], kind, [tensors[n] for n in node.output]))
        network._outputs += [tensors[name] for name in self._outputs]
        return True


def _stripped(known, name):
    dtype, shape = known.get(name, ("FLOAT", ()))
    return dtype, shape[1:]
