"""The images that the report shows: thumbnails made of what the network was given.

Those arrays are stored with the run, so nothing here needs the folder that the images came from.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trt_matrix.core.boxes.results import FedImage, WorstImage
from trt_matrix.core.collecting import distinct
from trt_matrix.core.manifest import EvaluationImage, Manifest
from trt_matrix.store.results import Store

LONGEST = 256
"""Pixels of the longer side."""

LONGEST_FED = 96
"""The same of an image as it was fed: enough to see exchanged colours, padding and proportions."""

QUALITY = 60


@dataclass(frozen=True, slots=True)
class Pictures:
    """By the file names of the images; what is not stored any more is left out."""

    cut_out: Mapping[str, str]
    """As they were before preprocessing, but for the resizing: `data:` URIs."""
    fed: Mapping[str, FedImage]

    def renamed(self, new: Callable[[str], str]) -> "Pictures":
        return Pictures(
            {new(name): uri for name, uri in self.cut_out.items()},
            {new(name): image for name, image in self.fed.items()},
        )


def pictures(store: Store, manifest: Manifest, worst: Sequence[WorstImage]) -> Pictures:
    """Returns these images; none of samples that came as arrays."""
    asked = manifest.asked.evaluation if manifest.asked else None
    facts = manifest.facts.get("images") or {}
    cut_outs: dict[str, str] = {}
    fed: dict[str, FedImage] = {}
    if asked is None or manifest.decode is None or "arrays" in facts or not store.has(asked):
        return Pictures(cut_outs, fed)
    batch = store.array(asked)
    settings = facts.get("preprocess") or {}
    places = {image.file_name: (index, image) for index, image in enumerate(manifest.evaluation)}
    wanted = distinct(image.file_name for image in worst if image.file_name in places)
    for name in wanted:
        index, place = places[name]
        if index < len(batch):
            values = batch[index]
            exact = pixels_of(values, manifest.decode.image_size, settings)
            pixels = eight_bits(exact[..., :3])  # without how opaque they are
            order = settings.get("color", "rgb")
            upright = pixels[..., ::-1] if order in ("bgr", "bgra") else pixels
            cut_outs[name] = data_uri(cut_out(upright, place))
            fed[name] = FedImage(
                picture=data_uri(at_most(Image.fromarray(pixels), LONGEST_FED)),
                order=order,
                width=pixels.shape[1],
                height=pixels.shape[0],
                low=float(values.min()),
                high=float(values.max()),
                clipped=clipped(exact),
            )
    return Pictures(cut_outs, fed)


def pixels_of(
    values: npt.NDArray[Any], size: tuple[int, int], settings: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """Undoes the arithmetic of `images.preprocess`; channels stay in the order in which they were fed.

    Args:
        values: One image as the network got it, shape (c, h, w) or (h, w, c), float32.
        size: Height and width of the network's input: tells which of the two it is.
        settings: `preprocess` of the run: value = (pixel · scale − mean) / std.

    Returns:
        Shape (h, w, c): 0 to 255 where the settings are those that the values were made with.
    """
    if values.shape[1:] == size:
        values = np.moveaxis(values, 0, -1)
    scale, mean, std = (
        np.asarray(settings.get(key, default), np.float32)
        for key, default in (("scale", 1.0), ("mean", 0.0), ("std", 1.0))
    )
    pixels: npt.NDArray[np.float32] = (values * std + mean) / scale
    return pixels


def eight_bits(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Returns pixels cut to 0 to 255, shape (h, w, 3): a single channel three times."""
    whole = np.rint(np.clip(np.nan_to_num(pixels), 0, 255)).astype(np.uint8)
    return np.repeat(whole, 3, axis=-1) if whole.shape[-1] == 1 else whole


def clipped(pixels: npt.NDArray[np.float32]) -> float:
    """Returns the share of values that `eight_bits` cuts off; what is not finite is among them."""
    whole = np.rint(pixels)
    return float(np.mean(~((whole >= 0) & (whole <= 255))))


def cut_out(pixels: npt.NDArray[np.uint8], place: EvaluationImage) -> Image.Image:
    """Returns the image without its padding, in its own proportions, at most LONGEST pixels a side."""
    box = (place.left, place.top, place.left + place.inner_width, place.top + place.inner_height)
    image = Image.fromarray(np.ascontiguousarray(pixels)).crop(box)
    return at_most(image, LONGEST, (place.width, place.height))


def at_most(
    image: Image.Image, longest: int, proportions: tuple[int, int] | None = None
) -> Image.Image:
    """Returns the image with at most `longest` pixels a side, in these proportions, else in its own."""
    width, height = proportions or image.size
    shrink = min(1.0, longest / max(width, height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return image.resize(size, Image.Resampling.BILINEAR)


def data_uri(image: Image.Image) -> str:
    target = io.BytesIO()
    image.save(target, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(target.getvalue()).decode('ascii')}"
