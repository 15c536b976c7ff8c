"""Random networks with the shapes of published detectors, made without a look at how they are diagnosed.

Stages that halve the picture, residual additions, split and joined branches, pooling pyramids, depthwise
convolutions, SiLU and its relatives; then a path upwards that resizes and joins or adds; one to four heads.
Channels differ in size as those of trained networks with folded batch normalisation do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from tests.unit.small_networks import Builder

SIDE = 32


@dataclass
class _Made:
    name: str
    channels: int
    stride: int


class _Network:
    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.b = Builder(seed + 1000)
        self.count = 0
        self.kind = str(self.draw.choice(["Relu", "SiLU", "LeakyRelu", "HardSwish", "Relu6"]))
        self.b.weight("zero", np.float32(0))
        self.b.weight("six", np.float32(6))
        self.b.weight("twice", np.array([1, 1, 2, 2], "f4"))

    def new(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def conv(
        self, x: _Made, channels: int, k: int = 3, stride: int = 1, *, depthwise: bool = False
    ) -> _Made:
        y, d = self.new("conv"), self.draw
        inputs = 1 if depthwise else x.channels
        channels = x.channels if depthwise else channels
        weight = d.normal(0, np.sqrt(2 / (inputs * k * k)), (channels, inputs, k, k))
        weight *= np.exp(d.normal(0, 0.5, (channels, 1, 1, 1)))
        self.b.weight(f"{y}.w", weight.astype("f4"))
        self.b.weight(f"{y}.b", d.normal(0, 0.2, channels).astype("f4"))
        group = x.channels if depthwise else 1
        self.b.node("Conv", [x.name, f"{y}.w", f"{y}.b"], y, name=f"{y}/Conv",
                    pads=[k // 2] * 4, strides=[stride] * 2, group=group)  # fmt: skip
        return _Made(y, channels, x.stride * stride)

    def active(self, x: _Made) -> _Made:
        y, b = self.new("act"), self.b
        if self.kind == "SiLU":
            b.node("Mul", [x.name, b.node("Sigmoid", [x.name], f"{y}.s")], y)
        elif self.kind == "Relu6":
            b.node("Clip", [x.name, "zero", "six"], y)
        elif self.kind == "HardSwish":
            b.node("Mul", [x.name, b.node("HardSigmoid", [x.name], f"{y}.h", alpha=1 / 6)], y)
        else:
            b.node(self.kind, [x.name], y)
        return _Made(y, x.channels, x.stride)

    def layer(self, x: _Made, channels: int, k: int = 3, stride: int = 1) -> _Made:
        if self.draw.random() < 0.3 and k == 3:
            x = self.active(self.conv(x, 0, 3, stride, depthwise=True))
            return self.active(self.conv(x, channels, 1))
        return self.active(self.conv(x, channels, k, stride))

    def join(self, *parts: _Made) -> _Made:
        y = self.b.node("Concat", [part.name for part in parts], self.new("joined"), axis=1)
        return _Made(y, sum(part.channels for part in parts), parts[0].stride)

    def block(self, x: _Made) -> _Made:
        match self.draw.integers(4):
            case 0:
                inner = self.layer(self.layer(x, max(4, x.channels // 2), 1), x.channels)
                return _Made(
                    self.b.node("Add", [x.name, inner.name], self.new("sum")), x.channels, x.stride
                )
            case 1:
                half = max(4, x.channels // 2)
                one, other = self.layer(x, half, 1), self.layer(x, half, 1)
                return self.layer(self.join(self.layer(one, half), other), x.channels, 1)
            case 2:
                thin = self.layer(x, max(4, x.channels // 2), 1)
                pooled = [thin]
                for _ in range(2):
                    y = self.b.node(
                        "MaxPool",
                        [pooled[-1].name],
                        self.new("pool"),
                        kernel_shape=[3, 3],
                        pads=[1] * 4,
                    )
                    pooled.append(_Made(y, thin.channels, thin.stride))
                return self.layer(self.join(*pooled), x.channels, 1)
            case _:
                return self.layer(x, x.channels)

    def up(self, x: _Made) -> _Made:
        mode = {"mode": "nearest"} if self.draw.random() < 0.5 else {
            "mode": "linear", "coordinate_transformation_mode": "asymmetric"}  # fmt: skip
        y = self.b.node("Resize", [x.name, "", "twice"], self.new("up"), **mode)
        return _Made(y, x.channels, x.stride // 2)


def network(seed: int) -> onnx.ModelProto:
    """Returns one, another for each seed; its input is `image`, (1, 3, 32, 32)."""
    n = _Network(seed)
    x, stages = n.layer(_Made("image", 3, 1), 8), []
    for channels in (12, 16, 20):
        x = n.layer(x, channels, 3, 2)
        for _ in range(n.draw.integers(0, 3)):
            x = n.block(x)
        stages.append(x)
    levels = [n.layer(x, 12, 1)]
    for below in reversed(
        stages[: n.draw.integers(1, 3)][-2:] if n.draw.random() < 0.5 else stages[:-1]
    ):
        top = levels[-1]
        while top.stride > below.stride:
            top = n.up(top)
        if n.draw.random() < 0.5:
            made = n.join(top, below)
        else:
            side = n.conv(below, top.channels, 1)
            made = _Made(
                n.b.node("Add", [top.name, side.name], n.new("sum")), top.channels, top.stride
            )
        levels.append(n.layer(made, 12))
    heads = []
    for number, level in enumerate(levels):
        for part in ("box", "class")[: n.draw.integers(1, 3)]:
            out = n.conv(n.layer(level, 12), 6, 1)
            heads.append(n.b.node("Identity", [out.name], f"{part}{number}"))
    return n.b.model({"image": [1, 3, SIDE, SIDE]}, heads)


def pictures(count: int, seed: int) -> npt.NDArray[np.float32]:
    """Returns smooth pictures in 0 to 1, of differing brightness and contrast."""
    draw = np.random.default_rng(seed)
    coarse = draw.normal(0, 1, (count, 3, 6, 6))
    smooth = coarse.repeat(6, 2).repeat(6, 3)[:, :, :SIDE, :SIDE]
    for axis in (2, 3):
        smooth = (smooth + np.roll(smooth, 2, axis) + np.roll(smooth, 4, axis)) / 3
    contrast, level = (
        draw.uniform(0.1, 0.4, (count, 1, 1, 1)),
        draw.uniform(0.3, 0.7, (count, 1, 1, 1)),
    )
    return np.clip(level + contrast * smooth + draw.normal(0, 0.02, smooth.shape), 0, 1).astype(
        "f4"
    )
