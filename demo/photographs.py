"""The photographs that digits are put on, each with its licence, split so that no crop meets another.

All of them come inside the packages scikit-image and scikit-learn; nothing is downloaded.
"""

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


class Split(StrEnum):
    TRAINING = "training"
    CALIBRATION = "calibration"
    EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class Photograph:
    package: str
    file: str
    licence: str
    by: str


PHOTOGRAPHS = (
    Photograph("skimage.data", "astronaut.png", "public domain", "NASA"),
    Photograph("skimage.data", "brick.png", "CC0 1.0", "CC0Textures, Bricks25"),
    Photograph("skimage.data", "camera.png", "CC0 1.0", "Lav Varshney"),
    Photograph("skimage.data", "chelsea.png", "CC0 1.0", "Stefan van der Walt"),
    Photograph("skimage.data", "clock_motion.png", "public domain", "Stefan van der Walt"),
    Photograph("skimage.data", "coffee.png", "CC0 1.0", "Rachel Michetti"),
    Photograph("skimage.data", "grass.png", "CC0 1.0", "linolafett"),
    Photograph("skimage.data", "gravel.png", "CC0 1.0", "CC0Textures, Gravel04"),
    Photograph("skimage.data", "hubble_deep_field.jpg", "public domain", "NASA"),
    Photograph("skimage.data", "rocket.jpg", "public domain", "SpaceX"),
    Photograph("sklearn.datasets", "images/china.jpg", "CC BY 2.0", "danielbuechele"),
    Photograph("sklearn.datasets", "images/flower.jpg", "CC BY 2.0", "vultilion"),
)
"""Images of those packages without a clear licence (moon, coins, motorcycle …) are left out."""


def region(photograph: Photograph, split: Split) -> Pixels:
    """Returns the part of a photograph that belongs to a split, shape (h, w, 3).

    The left half is for training, the upper right quarter for calibration, the lower right one for
    evaluation, with 8 pixels between them: resampling looks at neighbours.
    """
    path = files(photograph.package).joinpath(photograph.file)
    with path.open("rb") as stream, Image.open(stream) as image:
        pixels = np.asarray(image.convert("RGB"))
    middle_y, middle_x = pixels.shape[0] // 2, pixels.shape[1] // 2
    match split:
        case Split.TRAINING:
            return pixels[:, : middle_x - 4]
        case Split.CALIBRATION:
            return pixels[: middle_y - 4, middle_x + 4 :]
        case Split.EVALUATION:
            return pixels[middle_y + 4 :, middle_x + 4 :]
