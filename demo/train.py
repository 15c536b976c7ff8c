"""Trains the detector and writes both ONNX files: `python -m demo.train --device cuda`.

Needs PyTorch, which nothing else here does. Seeded; two machines still differ in the last digits.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from demo import export
from demo.network import ANCHORS, HEADS
from demo.photographs import Split
from demo.scenes import scenes
from demo.sizes import SIZE
from demo.training_network import Detector, box_loss, classification_loss, folded

SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scenes", type=int, default=16000, help="training images to make")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    images, targets = training_set(options.scenes, options.workers)
    model = train(images, targets, options.device, options.epochs, options.batch)
    options.out.mkdir(parents=True, exist_ok=True)
    export.write(folded(model), options.out)


def training_set(count: int, workers: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images (n, 3, 320, 320) uint8 and boxes (m, 7).

    A row of boxes is image index, head index, class, centre x, centre y, width, height in pixels.
    """
    chunk = 200
    starts = range(0, count, chunk)
    pixels, rows = [], []
    with ProcessPoolExecutor(workers) as pool:
        for start, (part, boxes) in zip(
            starts, pool.map(_chunk, starts, [chunk] * len(starts)), strict=True
        ):
            pixels.append(part)
            rows.append(boxes + np.array([start, 0, 0, 0, 0, 0, 0]))
    return torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(rows)).float()


def _chunk(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.empty((count, 3, SIZE, SIZE), np.uint8)
    rows = []
    for index, scene in enumerate(scenes(Split.TRAINING, count, SEED + start)):
        pixels[index] = scene.pixels.transpose(2, 0, 1)
        for digit in scene.digits:
            left, top, width, height = digit.box
            rows.append(
                [
                    index,
                    _head(width, height),
                    digit.label,
                    left + width / 2,
                    top + height / 2,
                    width,
                    height,
                ]
            )
    return pixels, np.asarray(rows, np.float64)


def _head(width: float, height: float) -> int:
    """Returns the index in HEADS of the head that answers for a box of this size."""
    side = (width * height) ** 0.5
    return 2 if side < 28 else 1 if side < 60 else 0


def train(
    images: torch.Tensor, targets: torch.Tensor, device: str, epochs: int, batch: int
) -> Detector:
    """Returns the exponential moving average of the trained weights."""
    model = Detector().to(device).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3e-3, total_steps=epochs * steps, pct_start=0.1
    )
    images, targets = images.to(device), targets.to(device)
    first = torch.searchsorted(
        targets[:, 0].contiguous(), torch.arange(len(images) + 1, device=device)
    )
    started = time.monotonic()
    for epoch in range(epochs):
        order = torch.randperm(len(images), device=device)
        total = torch.zeros((), device=device)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            pixels = augmented(images[chosen].float() / 255)
            rows = _rows_of(chosen, targets, first)
            with torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16):
                outputs = model(pixels.to(memory_format=torch.channels_last))
            loss = detection_loss(outputs, rows) / batch
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.detach()
        spent = time.monotonic() - started
        print(
            f"epoch {epoch + 1}/{epochs}  loss {total.item() / steps:.3f}  {spent:.0f} s",
            flush=True,
        )
    return average.module.eval()


def _rows_of(chosen: torch.Tensor, targets: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """Returns the boxes of the chosen images, their image index counted within the batch."""
    counts = first[chosen + 1] - first[chosen]
    within = torch.repeat_interleave(torch.arange(len(chosen), device=chosen.device), counts)
    offsets = torch.arange(len(within), device=chosen.device) - (counts.cumsum(0) - counts)[within]
    rows = targets[first[chosen][within] + offsets].clone()
    rows[:, 0] = within
    return rows


def augmented(pixels: torch.Tensor) -> torch.Tensor:
    """Changes light, contrast, colour and noise; geometry is varied where scenes are made."""
    count, device = len(pixels), pixels.device

    def uniform(low: float, high: float, channels: int = 1) -> torch.Tensor:
        return torch.empty(count, channels, 1, 1, device=device).uniform_(low, high)

    mean = pixels.mean((1, 2, 3), keepdim=True)
    changed = (
        (pixels - mean) * uniform(0.7, 1.3) + mean + uniform(-0.1, 0.1) + uniform(-0.05, 0.05, 3)
    )
    return (changed + torch.randn_like(pixels) * uniform(0, 0.03)).clamp(0, 1)


def detection_loss(outputs: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """Returns the summed loss of a batch: the cell under a box's centre answers for it."""
    total = torch.zeros((), device=rows.device)
    for index, (head, stride) in enumerate(HEADS.items()):
        raw = outputs[head].float()
        mine = rows[rows[:, 1] == index]
        image = mine[:, 0].long()
        column, row = (mine[:, 3] / stride).long(), (mine[:, 4] / stride).long()
        objects = torch.zeros_like(raw[:, 4])
        objects[image, row, column] = 1
        total = total + classification_loss(raw[:, 4], objects)
        if len(mine):
            answer = raw[image, :, row, column]
            corner = torch.stack([column, row], 1)
            centre = (torch.sigmoid(answer[:, :2]) + corner) * stride
            anchor = torch.tensor(ANCHORS[head], device=raw.device)
            size = torch.exp(answer[:, 2:4].clamp(-4, 4)) * anchor
            total = total + 4 * box_loss(torch.cat([centre, size], 1), mine[:, 3:]).sum()
            labels = torch.nn.functional.one_hot(mine[:, 2].long(), raw.shape[1] - 5).float()
            total = total + classification_loss(answer[:, 5:], labels)
    return total


if __name__ == "__main__":
    main()
