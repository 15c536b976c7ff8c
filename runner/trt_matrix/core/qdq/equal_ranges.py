"""One range on both sides of what only gives its input's values on, as Q/DQ nodes have it; pure.

TensorRT's implicit int8 has a range for each tensor. Builds on H200s gave the integers of a resizing's input on and
read them at its output's scale (docs/reference/verified.md): every value is wrong by the ratio of the two ranges, and by nothing
where they are equal.
"""

from collections.abc import Mapping

import onnx

from trt_matrix.core.network.operators import carries
from trt_matrix.core.qdq.scale_groups import scale_groups


def equal_ranges(form: onnx.ModelProto, amax: Mapping[str, float]) -> dict[str, float]:
    """Returns tensor → the range that it shares with what it carries, for those that a table has another of.

    Args:
        form: The network, in canonical form.
        amax: Tensor → range.
    """
    leader = scale_groups(form)
    found = {}
    for node in form.graph.node:
        if not carries(node):
            continue
        for tensor in (node.input[0], *node.output):
            shared = amax.get(leader.get(tensor, ""))
            if shared is not None and tensor in amax and amax[tensor] != shared:
                found[tensor] = shared
    return found
