"""Custom layers: in which precision each ran, and its neighbours, and whether its output had a scale.

A layer that runs in float between layers of int8 costs conversions, and a tensor without a scale keeps
all layers around it in float.
"""

KINDS = ("PLUGIN", "PLUGIN_V2", "PLUGIN_V3")  # of trt.LayerType


def told(names, network, layers, table):
    """Returns [{"name", "precision", "inputs", "outputs", "before", "after", "scaled"}] of custom layers.

    `network` is {layer: [output tensors]}, `layers` are those of layers.json, `table` is {tensor: amax} or None.
    inputs and outputs are those of the engine's layer, with precision and format; before and after
    the layers that write or read them, conversions among them; scaled maps each output to whether the
    table has a scale for it, or is null without a table. What was not told is null or empty.
    """
    return [_told(name, network[name], layers, table) for name in names]


def _told(name, outputs, layers, table):
    one = next((layer for layer in layers if set(outputs) & set(layer["tensors"])), None)
    scaled = None if table is None else {tensor: table.get(tensor, 0) > 0 for tensor in outputs}
    found = {"name": name, "precision": None, "inputs": [], "outputs": [], "before": [], "after": []}
    if one is not None:
        found.update((key, one[key]) for key in ("precision", "inputs", "outputs"))
        found["before"] = _touching(layers, "outputs", one, "inputs")
        found["after"] = _touching(layers, "inputs", one, "outputs")
    return dict(found, scaled=scaled)


def _touching(layers, side, one, other_side):
    """Returns the layers that have on one side a tensor which `one` has on the other."""
    names = {tensor["name"] for tensor in one[other_side]}
    return [
        {"name": layer["name"], "type": layer["type"], "precision": layer["precision"]}
        for layer in layers
        if layer is not one and any(tensor["name"] in names for tensor in layer[side])
    ]
