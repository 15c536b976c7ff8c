"""What the processor of this machine does to ONNX Runtime's integer kernels."""

from trt_matrix.core.qdq.placements import INT8_KERNELS, PRECISE, Activations, Placed, saturates
from trt_matrix.environments.machine import this_processor

HERE = this_processor()
MAY_SATURATE = saturates(
    Placed(engine="onnxruntime", activations=Activations.UINT8), on_cpu=True, processor=HERE
)
"""Whether kernels of u8 by s8 saturate: x86 without VNNI."""
EXACT = {PRECISE: "1"} if MAY_SATURATE else {INT8_KERNELS: "1"}
"""A session's configuration with which uint8 is multiplied exactly on any processor."""
