"""What the drawing of the network shows, layer by layer, as node data for Model Explorer.

The form is `GraphNodeData` of google-ai-edge/model-explorer, src/server/package/src/model_explorer/
node_data_builder.py: `results` has the node's id → its value, and `thresholds` colour values up to theirs.
The ids are names of ONNX nodes, as the adapter justinchuby/model-explorer-onnx takes them. Load it with
`onnxvis NETWORK.onnx --node_data_paths=FILE,FILE`, or there by *Add per-node data*.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.report.layers import layers
from trt_matrix.report.measures import WORK, Measure, measures

FOLDER = "model-explorer"
HARM = ("#ffffff", "#fdebdc", "#f9cba6", "#ee9a5f", "#a8330b")
EFFORT = ("#ffffff", "#f2f3f0", "#d8dadb", "#a7afb8", "#858c94")
"""Of the page, light."""
IN_INT8, IN_FLOAT = "#2b3138", "#d5efeb"
BEYOND = 1e9
"""A threshold that nothing reaches: what is above the last one has no colour."""


def node_data(judgement: Judgement) -> Mapping[str, str]:
    """Returns name of a file → its content; empty where the network is not known."""
    return {
        f"{name}.json": json.dumps(content, allow_nan=False, indent=1, ensure_ascii=False) + "\n"
        for name, content in (*_builds(judgement), *map(_measured, measures(judgement)))
    }


def _builds(judgement: Judgement) -> Iterator[tuple[str, Any]]:
    table = layers(judgement)
    for column in table.columns if table else ():
        where = f"{', '.join(column.environments)}: {', '.join(column.passes)}"
        yield (
            f"precision-{column.letter}",
            {
                "name": f"precision {column.letter}, {where}",
                "results": {
                    layer: {
                        "value": precision,
                        "bgColor": IN_INT8 if precision == INT8 else IN_FLOAT,
                        "textColor": "#ffffff" if precision == INT8 else "#181b1f",
                    }
                    for layer, precision in column.way.precisions.items()
                },
            },
        )


def _measured(measure: Measure) -> tuple[str, Any]:
    colours = EFFORT if measure.key == WORK else HARM
    return measure.key, {
        "name": f"{measure.title}{', of the head that it costs most' if measure.by_head else ''}",
        "results": {
            layer: {"value": float(f"{max(values.values()):.6g}")}
            for layer, values in measure.values.items()
        },
        "thresholds": [
            {"value": limit, "bgColor": colour}
            for limit, colour in zip((*measure.limits, BEYOND), colours, strict=True)
        ],
    }
