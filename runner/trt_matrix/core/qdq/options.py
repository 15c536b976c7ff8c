"""What engines and experiments ask of a placement of Q/DQ nodes."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementOptions:
    """What engines and experiments ask of a placement. The defaults are TensorRT's."""

    fuse: bool = True
    """The engine fuses activation and residual addition into the convolution before them."""
    per_channel_weights: bool = True
    int32_bias: bool = False
    """Biases as int32 with scale input · weight. ONNX Runtime before 1.21 needs it for its integer
    convolution; TensorRT refuses it."""
    quantise_outputs: bool = False
    """Quantise the outputs of the last layers too. ONNX Runtime has no convolution from int8 to
    float, so without it the last convolution of a head runs in float there, on quantised values."""
    unsigned_activations: bool = False
    """Activations as uint8 with zero point 128: the steps of int8, for kernels that multiply u8 by s8."""
    float_weights: bool = True
    """Weights as float32 with a Q/DQ pair, which every TensorRT from 8.0 on reads; False: int8 with
    DQ alone, which 8.0 and 8.2 refuse, and a quarter of the size."""
    fold_weights: bool = False
    """Weights (and int32 biases) as the float32 values that their integers stand for: the same
    arithmetic, less work. For the simulation."""
    exclude: frozenset[str] = frozenset()
    """Names of nodes that stay in float."""
    unified_scales: bool = False
    """What is concatenated or added has one scale, the largest, so that nothing is requantised for it."""


TENSORRT = PlacementOptions()
ONNXRUNTIME = PlacementOptions(fuse=False, int32_bias=True, float_weights=False)
"""With int8 activations; `placements` says where uint8 ones are faster."""


def simulation_of(options: PlacementOptions) -> PlacementOptions:
    """Returns the options whose network computes in float32 what an engine's integers stand for.

    A simulation belongs to one placement: with another, the difference between simulated and
    observed would hold the Q/DQ that only one of the two has.
    """
    return replace(options, fold_weights=True)
