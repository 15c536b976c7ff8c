"""The images that the report shows: thumbnails made of what the network was given.

Those arrays are stored with the run, so nothing here needs the folder that the images came from.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runner.core.boxes.results import WorstImage
from runner.records import EvaluationImage, Manifest
from runner.store import Store

LONGEST = 256
"""Pixels of the longer side."""

QUALITY = 60


def pictures(store: Store, manifest: Manifest, worst: Sequence[WorstImage]) -> dict[str, str]:
    """Returns file name → the image as a `data:` URI; what is not stored any more is left out."""
    asked = manifest.asked.evaluation if manifest.asked else None
    if asked is None or manifest.decode is None or not store.has(asked):
        return {}
    batch = store.array(asked)
    settings = (manifest.facts.get("images") or {}).get("preprocess") or {}
    places = {one.file_name: (index, one) for index, one in enumerate(manifest.evaluation)}
    wanted = list(dict.fromkeys(one.file_name for one in worst if one.file_name in places))
    found: dict[str, str] = {}
    for name in wanted:
        index, place = places[name]
        if index < len(batch):
            pixels = upright(batch[index], manifest.decode.image_size, settings)
            found[name] = data_uri(cut_out(pixels, place))
    return found


def upright(
    values: npt.NDArray[Any], size: tuple[int, int], settings: Mapping[str, Any]
) -> npt.NDArray[np.uint8]:
    """Undoes `images.preprocess`, but for the resizing.

    Args:
        values: One image as the network got it, shape (c, h, w) or (h, w, c), float32.
        size: Height and width of the network's input: tells which of the two it is.
        settings: `preprocess` of the run: value = (pixel · scale − mean) / std.

    Returns:
        Shape (h, w, 3), RGB.
    """
    if values.shape[1:] == size:
        values = np.moveaxis(values, 0, -1)
    scale, mean, std = (
        np.asarray(settings.get(key, default), np.float32)
        for key, default in (("scale", 1.0), ("mean", 0.0), ("std", 1.0))
    )
    pixels: npt.NDArray[np.uint8] = np.rint(np.clip((values * std + mean) / scale, 0, 255)).astype(
        np.uint8
    )
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    return pixels[..., ::-1] if settings.get("color") == "bgr" else pixels


def cut_out(pixels: npt.NDArray[np.uint8], place: EvaluationImage) -> Image.Image:
    """Returns the image without its padding, in its own proportions, at most LONGEST pixels a side."""
    box = (place.left, place.top, place.left + place.inner_width, place.top + place.inner_height)
    image = Image.fromarray(np.ascontiguousarray(pixels)).crop(box)
    shrink = min(1.0, LONGEST / max(place.width, place.height))
    size = (max(1, round(place.width * shrink)), max(1, round(place.height * shrink)))
    return image.resize(size, Image.Resampling.BILINEAR)


def data_uri(image: Image.Image) -> str:
    target = io.BytesIO()
    image.save(target, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(target.getvalue()).decode('ascii')}"
