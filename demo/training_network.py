"""`demo.network` in PyTorch, for training only."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from demo.network import HEADS, INPUT, LAYERS, Add, Concat, Conv, Upsample


class Detector(nn.Module):
    """Images (n, 3, 320, 320) in [0, 1] → head → raw outputs (n, 15, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(
            {key(layer.name): _block(layer) for layer in LAYERS if isinstance(layer, Conv)}
        )

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        tensors = {INPUT: images}
        for layer in LAYERS:
            match layer:
                case Conv():
                    tensors[layer.name] = self.blocks[key(layer.name)](tensors[layer.source])
                case Add():
                    tensors[layer.name] = tensors[layer.sources[0]] + tensors[layer.sources[1]]
                case Upsample():
                    tensors[layer.name] = upsample(tensors[layer.source])
                case Concat():
                    tensors[layer.name] = torch.cat(
                        [tensors[source] for source in layer.sources], 1
                    )
        return {head: tensors[head] for head in HEADS}


def key(name: str) -> str:
    """Returns a layer's name as PyTorch allows it."""
    return name.replace("/", "_")


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Bilinear 2×, asymmetric coordinates as in ONNX; PyTorch's own has other coordinates."""
    for axis in (2, 3):
        following = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)], axis)
        x = torch.stack([x, (x + following) / 2], axis + 1).flatten(axis, axis + 1)
    return x


def _block(layer: Conv) -> nn.Module:
    conv = nn.Conv2d(
        layer.inputs,
        layer.outputs,
        layer.kernel,
        layer.stride,
        layer.kernel // 2,
        bias=not layer.relu,
    )
    if not layer.relu:
        return conv
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(layer.outputs), nn.ReLU(inplace=False))


def folded(model: Detector) -> dict[str, tuple[Any, Any]]:
    """Returns layer → (weight, bias) as NumPy arrays, batch normalisation folded in."""
    weights = {}
    for layer in LAYERS:
        if not isinstance(layer, Conv):
            continue
        block = model.blocks[key(layer.name)].double().cpu()
        if isinstance(block, nn.Conv2d):
            weight, bias = block.weight, block.bias
        else:
            conv, norm = block[0], block[1]
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = conv.weight * gain[:, None, None, None]
            bias = norm.bias - norm.running_mean * gain
        weights[layer.name] = (
            weight.detach().float().numpy(),
            bias.detach().float().numpy(),
        )
    return weights


def box_loss(predicted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Returns 1 − GIoU (Rezatofighi et al. 2019) of boxes (n, 4) as centre, width, height."""
    p1, p2 = predicted[:, :2] - predicted[:, 2:] / 2, predicted[:, :2] + predicted[:, 2:] / 2
    w1, w2 = wanted[:, :2] - wanted[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2
    inner = (torch.minimum(p2, w2) - torch.maximum(p1, w1)).clamp(min=0).prod(1)
    union = predicted[:, 2:].prod(1) + wanted[:, 2:].prod(1) - inner
    hull = (torch.maximum(p2, w2) - torch.minimum(p1, w1)).prod(1)
    return 1 - inner / union + (hull - union) / hull


def classification_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
