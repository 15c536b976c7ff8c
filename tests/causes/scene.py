"""A network whose heads each have one known weakness, and images for it.

head     lies behind                        what it is for
plain    two convolutions                   the control: nothing is wrong with it
behind   a linear Resize                    ONNX Runtime up to 1.26 cuts off there in int8
wide     one channel of 1000 times the      8 bits with one scale a tensor lose the small channels,
         range, weighed down again          with one a weight row the large one
smooth   Gelu around 0                      its tanh approximation is right to 1e-8 (NMSE)
tail     Gelu around -3                     where the same approximation is wrong by percents
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from tests.unit.small_networks import Builder

SIZE = 32
HEADS = ("plain", "behind", "wide", "smooth", "tail")
WIDE = 1000.0


def network() -> onnx.ModelProto:
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "stem")
    b.node("Relu", [b.conv("stem", "c2", 8, 16, strides=[2, 2])], "body")
    b.conv("body", "plain", 16, 6, k=1)
    _resized(b)
    _widened(b)
    _gelu(b, b.conv("body", "smooth_in", 16, 8, k=1), "smooth_gelu")
    b.conv("smooth_gelu", "smooth", 8, 6, k=1)
    _conv(b, "body", "tail_in", _weights(b, 8, 16) * 0.2, np.full(8, -3.0))
    _gelu(b, "tail_in", "tail_gelu")
    _conv(b, "tail_gelu", "tail", _weights(b, 6, 8), np.zeros(6))
    return b.model({"image": [1, 3, SIZE, SIZE]}, HEADS)


def _resized(b: Builder) -> None:
    b.weight("twice", np.array([1, 1, 2, 2], "f4"))
    b.node(
        "Resize",
        ["image", "", "twice"],
        "up",
        mode="linear",
        coordinate_transformation_mode="asymmetric",
    )
    # Positive weights average what is rounded at random, and sum what is cut off.
    w = b.weight("behind.weight", np.abs(b.random.normal(0, 0.3, (6, 3, 3, 3))).astype("f4"))
    b.node("Conv", ["up", w], "behind", pads=[1] * 4, strides=[2, 2])


def _widened(b: Builder) -> None:
    range_ = np.array([WIDE, *[1.0] * 7])
    _conv(b, "body", "c4", _weights(b, 8, 16) * range_[:, None], np.full(8, 0.1) * range_)
    b.node("Relu", ["c4"], "uneven")
    _conv(b, "uneven", "wide", _weights(b, 6, 8) / range_, np.zeros(6))


def _gelu(b: Builder, x: str, y: str) -> str:
    """Writes x · (1 + erf(x / √2)) / 2, as exporters do: engines make one Gelu of it."""
    for name, value in (("root", np.sqrt(2)), ("one", 1), ("half", 0.5)):
        b.weight(f"{y}.{name}", np.array(value, "f4"))
    b.node("Div", [x, f"{y}.root"], f"{y}.scaled")
    b.node("Erf", [f"{y}.scaled"], f"{y}.erf")
    b.node("Add", [f"{y}.erf", f"{y}.one"], f"{y}.gate")
    b.node("Mul", [x, f"{y}.gate"], f"{y}.twice")
    return b.node("Mul", [f"{y}.twice", f"{y}.half"], y)


def _weights(b: Builder, out: int, into: int) -> npt.NDArray[np.float64]:
    return b.random.normal(0, np.sqrt(2 / into), (out, into))


def _conv(
    b: Builder, x: str, y: str, weights: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> str:
    """Adds a convolution of 1 by 1 with given weights, shape (out, in)."""
    w = b.weight(f"{y}.weight", weights[:, :, None, None].astype("f4"))
    return b.node("Conv", [x, w, b.weight(f"{y}.bias", bias.astype("f4"))], y)


def write_images(folder: Path, count: int, *, seed: int, brightness: float = 1.0) -> None:
    """Writes images of smooth colour with grain."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for index in range(count):
        coarse = random.uniform(0, 255, (4, 4, 3)).astype("u1")
        smooth = np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        pixels = (smooth + random.normal(0, 10, smooth.shape)) * brightness
        Image.fromarray(pixels.clip(0, 255).astype("u1")).save(folder / f"{index:03}.png")
