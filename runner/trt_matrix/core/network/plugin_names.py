"""Operators that are plugins of TensorRT, known by their names: what they compute, no graph says."""

import re

RANKING = re.compile(
    r"nms|non_?max_?suppression|top_?k|detection_?(output|layer)|generate_?detection|proposal", re.I
)
"""Names of plugins that rank: EfficientNMS_TRT, BatchedNMS_TRT, BatchedNMSDynamic_TRT, NMS_TRT,
RotatedNMS_TRT, TRTBatchedNMS, DetectionLayer_TRT, ProposalLayer_TRT and their like (NVIDIA/TensorRT,
plugin/; mmdeploy)."""

_TENSORRT = re.compile(r"\w+_TRT")
"""How NVIDIA calls the plugins that come with TensorRT (NVIDIA/TensorRT, plugin/)."""


def is_plugin_name(operator: str) -> bool:
    """Whether an operator that ONNX does not define is a plugin of TensorRT by its name."""
    return bool(_TENSORRT.fullmatch(operator) or RANKING.search(operator))
