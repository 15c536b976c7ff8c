"""Layers that the matrix keeps out of int8, whatever the builder would choose."""

import difflib

from ... import protocol
from .library import CALLED, trt
from .network import FLOATS, outputs, word


def hold(definition, names):
    """Fixes layers of a network to fp32, inside and at their outputs.

    A layer is named as the network names it, or by a tensor that it makes: parsers up to 7.2 give layers
    no names of their own. One node may have become several layers; all that answer are held.

    Raises:
        protocol.UnsupportedError: layers have no precision here (11).
        ValueError: nothing in the network has such a name, or what has makes no floating-point tensor.
    """
    if not hasattr(trt.ILayer, "precision"):
        raise protocol.UnsupportedError(
            "%s holds no layer in fp32: the network's own types decide" % CALLED
        )
    called, found = {}, set()
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        tensors = outputs(layer)
        answers_to = {layer.name} | {tensor.name for tensor in tensors}
        wanted = answers_to & set(names)
        called.update(dict.fromkeys(answers_to))
        # A type for a shape or an index breaks the build.
        if not wanted or not tensors or any(word(tensor.dtype) not in FLOATS for tensor in tensors):
            continue
        found |= wanted
        layer.precision = trt.DataType.FLOAT
        for number in range(len(tensors)):
            layer.set_output_type(number, trt.DataType.FLOAT)
    missing = sorted(set(names) - found)
    if missing:
        near = difflib.get_close_matches(missing[0], list(called), 3)
        raise ValueError(
            "engine_options: fp32_layers names %s, which %s found in no floating-point layer of the "
            "network%s"
            % (", ".join(missing), CALLED, "; near: %s" % ", ".join(near) if near else "")
        )
