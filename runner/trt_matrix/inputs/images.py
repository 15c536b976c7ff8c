"""Images → the network's input, the same for every environment: one array, made once, streamed.

Pixels are 8-bit RGB after decoding: EXIF orientation is applied, 16-bit images are scaled down,
palettes resolved, transparency is laid over the padding value unless it is a channel of its own (rgba), grey
becomes three equal channels;
of an animation the first frame is taken. Then the image is resized (by default bilinear, antialiased
where it shrinks, as Pillow does; `linear` is OpenCV's INTER_LINEAR, which is not) and
value = (pixel · scale − mean) / std.
"""

import hashlib
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from trt_matrix.config.data import Filter, Preprocess
from trt_matrix.errors import ConfigError
from trt_matrix.store.arrays import float_rows

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""Pillow would also read formats that start other programs (EPS)."""

LIMIT_PIXELS = 100_000_000
"""Larger images are taken for decompression bombs."""

PREPROCESS_VERSION = 1
"""Raise when the same settings give other values."""

BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow's readers raise on damaged files."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlacement:
    """How an image lies in the network's input: x' = x · scale_x + left, likewise y."""

    width: int
    height: int
    """Size of the image itself, in pixels, upright."""
    inner_width: int
    inner_height: int
    """Its size in the input."""
    left: int
    top: int

    @property
    def scale_x(self) -> float:
        return self.inner_width / self.width

    @property
    def scale_y(self) -> float:
        return self.inner_height / self.height


def image_files(
    folder: Path, suffixes: Collection[str] = SUFFIXES, called: str = "image"
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Returns the images of a folder in the order of their names, and what is wrong with others.

    Hidden files and folders are passed over. `suffixes` are in lower case, `called` is what one file is.

    Raises:
        OSError: the folder cannot be read.
    """
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    dangling = sorted(path for path in shown if path.is_symlink() and not path.exists())
    files = sorted((path for path in shown if path.is_file()), key=lambda path: path.name)
    problems = [
        f"{path}: no {called} by its name ({', '.join(sorted(suffixes))}); move it elsewhere"
        for path in files
        if path.suffix.lower() not in suffixes
    ]
    problems += [f"{path}: a link to a file that is not there" for path in dangling]
    return tuple(path for path in files if path.suffix.lower() in suffixes), tuple(problems)


def content_hashes(files: Sequence[Path]) -> tuple[str, ...]:
    """Returns the SHA-256 of each file."""
    return tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def upright_size(path: Path) -> tuple[int, int]:
    """Returns width and height as `decode` would, read from the file's header.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: no image, or a broken one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            # Orientations 5 to 8 lie on their side (EXIF 2.32, tag 0x0112).
            on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
            return (image.height, image.width) if on_its_side else image.size


def overlap(
    calibration: Sequence[Path], evaluation: Sequence[Path]
) -> tuple[tuple[Path, Path], ...]:
    """Returns the pairs of files with the same content: calibrated on what is then judged."""
    known = dict(zip(content_hashes(calibration), calibration, strict=True))
    return tuple(
        (known[digest], path)
        for digest, path in zip(content_hashes(evaluation), evaluation, strict=True)
        if digest in known
    )


def preprocess(
    files: Sequence[Path],
    shape: tuple[int, ...],
    settings: Preprocess,
    target: Path,
    *,
    channels_last: bool = False,
) -> tuple[ImagePlacement, ...]:
    """Writes all images into one float32 .npy, (images, c, h, w) or (images, h, w, c), one in memory at a time.

    `shape` is channels, height, width of the network's input.

    Returns:
        Where each image lies in its part of the array.

    Raises:
        ConfigError: images that cannot be read; names each of them. `target` is useless then.
        OSError: `target` cannot be written.
    """
    channels, height, width = shape
    order = (height, width, channels) if channels_last else shape
    placements, problems = [], []
    with float_rows(target, (len(files), *order)) as write:
        for path in files:
            try:
                pixels = decode(path, settings)
            except BROKEN as error:
                problems.append(f"{path}: {_why(error)}")
                continue
            values, placement = fit(pixels, (height, width), settings)
            write(values if channels_last else values.transpose(2, 0, 1))
            placements.append(placement)
    if problems:
        raise ConfigError(str(files[0].parent), problems)
    return tuple(placements)


def decode(path: Path, settings: Preprocess) -> Image.Image:
    """Returns the upright image, mode RGB, RGBA or L.

    Raises:
        OSError: the file cannot be read, is no image, or a broken one.
        ValueError, SyntaxError: a broken image, as Pillow's readers say it.
        Image.DecompressionBombError: more than `LIMIT_PIXELS`.
    """
    with warnings.catch_warnings():
        # Pillow warns of what is refused or handled right below.
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > LIMIT_PIXELS:
                message = f"{image.width}×{image.height} pixels are more than {LIMIT_PIXELS}"
                raise Image.DecompressionBombError(message)
            image.load()
            upright = ImageOps.exif_transpose(image)
        mode = MODES[settings.channels]
        return _eight_bits(upright, settings.pad, opaque=mode != "RGBA").convert(mode)


MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Channels → Pillow's mode."""


def _eight_bits(image: Image.Image, ground: int, *, opaque: bool) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float64))
        # 16 bits unless the file says less; a float image is taken to lie in [0, 1].
        full = 1.0 if image.mode == "F" else 65535.0
        return Image.fromarray(np.clip(values / full * 255 + 0.5, 0, 255).astype(np.uint8))
    if opaque and image.has_transparency_data:
        below = Image.new("RGBA", image.size, (ground, ground, ground, 255))
        return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
    return image


def fit(
    image: Image.Image, size: tuple[int, int], settings: Preprocess
) -> tuple[Floats, ImagePlacement]:
    """Resizes and normalises one image of mode RGB, RGBA or L to `size`, height and width.

    Returns:
        Values, shape (height, width, channels), float32, and where the image lies in them.
    """
    height, width = size
    place = placement(image.size, size, settings)
    resized = _resized(image, (place.inner_width, place.inner_height), settings.filter)
    canvas = Image.new(resized.mode, (width, height), _ground(resized.mode, settings.pad))
    canvas.paste(resized, (place.left, place.top))
    pixels = np.asarray(canvas, np.float32)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if settings.blue_first:
        pixels = pixels[:, :, [2, 1, 0, 3][: settings.channels]]
    mean, std = np.asarray(settings.mean, np.float32), np.asarray(settings.std, np.float32)
    values = (pixels * np.float32(settings.scale) - mean) / std
    return np.ascontiguousarray(values, np.float32), place


def _resized(image: Image.Image, size: tuple[int, int], how: Filter) -> Image.Image:
    """Returns the image with that width and height."""
    if size == image.size:
        return image
    if how == "linear":
        return Image.fromarray(_linear(np.asarray(image, np.float32), size[::-1]))
    filter_ = Image.Resampling[how.upper()]
    if image.mode != "RGBA":
        return image.resize(size, filter_)
    # Channel by channel: Pillow would weigh colours by how opaque they are.
    return Image.merge(image.mode, [channel.resize(size, filter_) for channel in image.split()])


def _linear(pixels: Floats, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Interpolates between the four nearest pixels, however far apart they are in the new image.

    A pixel's middle at x is at (x + ½) · old / new − ½ of the old one, its edge repeated beyond: OpenCV,
    modules/imgproc/src/resize.cpp, INTER_LINEAR, whose integers give the same within 1.
    """
    for axis, wanted in enumerate(size):
        length = pixels.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
        low = at.astype(np.intp)
        share = (at - low).astype(np.float32)
        share = np.expand_dims(share, tuple(other for other in range(pixels.ndim) if other != axis))
        before, after = (pixels.take(np.minimum(low + k, length - 1), axis) for k in (0, 1))
        pixels = before + (after - before) * share
    rounded: npt.NDArray[np.uint8] = np.floor(pixels + 0.5).astype(np.uint8)
    return rounded


def placement(
    image: tuple[int, int], size: tuple[int, int], settings: Preprocess
) -> ImagePlacement:
    """Returns where an image of (width, height) lies in an input of (height, width).

    A letterboxed image keeps its proportions (to the pixel), and is centred or lies at the top left.
    """
    image_width, image_height = image
    height, width = size
    if settings.resize == "stretch":
        inner_width, inner_height = width, height
    else:
        factor = min(width / image_width, height / image_height)
        inner_width = max(1, round(image_width * factor))
        inner_height = max(1, round(image_height * factor))
    centred = settings.position == "center"
    return ImagePlacement(
        width=image_width,
        height=image_height,
        inner_width=inner_width,
        inner_height=inner_height,
        left=(width - inner_width) // 2 if centred else 0,
        top=(height - inner_height) // 2 if centred else 0,
    )


def _ground(mode: str, pad: int) -> int | tuple[int, ...]:
    """Returns what lies beside an image: of no colour of its own, and not there."""
    colours = (pad, pad, pad)
    return pad if mode == "L" else (*colours, 0) if mode == "RGBA" else colours


def _why(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not an image of a known format ({', '.join(FORMATS)}), whatever its name says"
    if isinstance(error, Image.DecompressionBombError):
        return f"{error}; make it smaller"
    return f"a broken image: {str(error) or type(error).__name__}"
