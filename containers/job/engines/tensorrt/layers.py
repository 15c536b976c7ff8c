"""What an engine's layers became, in one form whatever told it: layers.json (job/protocol.py).

In 5 and 6 only the names of layers are to be had, from a profiled run.
"""

import json

from ... import layer_information
from .library import trt


def of(engine, session, log, network):
    """Returns {"source", "layers"} as in layers.json; `network` is {layer: [output tensors]} before fusion."""
    if hasattr(engine, "create_engine_inspector"):  # 8.2
        inspector = engine.create_engine_inspector()
        inspector.execution_context = session.context
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        return {"source": "inspector", "layers": layer_information.inspected(json.loads(text, strict=False), network)}
    if log.layers:
        return {"source": "log", "layers": layer_information.logged(log.layers, network)}
    return {"source": "profiler", "layers": layer_information.named(sorted(session.profile()[0]), network)}
