"""The section `data` of a matrix.yaml that `init` writes: where samples lie, and what is made of them."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trt_matrix.commands.yaml_text import comment, flow, quoted
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.image_input import CHANNELS, ImageInput, SampleInput
from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.errors import ConfigError
from trt_matrix.inputs import samples
from trt_matrix.inputs.images import SUFFIXES, image_files
from trt_matrix.store.arrays import read_arrays

PARTS = ("calibration", "evaluation")
MOST = 128
"""Files of a part that are used unless the user says otherwise: a first report is to be there soon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenSamples:
    """Samples that a user has, as matrix.yaml says it."""

    key: Literal["images", "arrays"]
    calibration: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    halved: bool
    """Whether both parts are of one folder."""
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Array in the first .npz file → its shape; empty where there is none."""


def given(folder: Path, called: str) -> GivenSamples:
    """Returns what a folder of samples holds: both parts in folders of their names, or files to be halved.

    `called` is what matrix.yaml is to call it.

    Raises:
        ConfigError: it holds no samples, too few, or what is none.
    """
    apart = all((folder / part).is_dir() for part in PARTS)
    folders = {part: folder / part for part in PARTS} if apart else {"": folder}
    by_part = {part: _files(path) for part, path in folders.items()}
    keys = {key for key, _ in by_part.values()}
    if len(keys) > 1:
        raise ConfigError(str(folder), ["one part holds images, the other arrays: take one kind"])
    (key,) = keys
    if not apart and by_part[""][1] < len(PARTS):
        problem = "one sample alone: half of them calibrate, the others are evaluated"
        raise ConfigError(str(folder), [problem])
    sections = []
    for part, half in zip(PARTS, ("odd", "even"), strict=True):
        files = by_part[part][1] if apart else (by_part[""][1] + (half == "odd")) // 2
        sections.append(
            {
                key: quoted(f"{called}/{part}" if apart else called),
                **({} if apart else {"half": half}),
                **({"limit": MOST} if files > MOST else {}),
            }
        )
    return GivenSamples(
        key=key,
        calibration=sections[0],
        evaluation=sections[1],
        halved=not apart,
        arrays=_arrays_of(next(iter(folders.values()))) if key == "arrays" else {},
    )


def _arrays_of(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Returns what the first .npz of a folder holds; nothing where it cannot be read: the run says why."""
    first = min((path for path in folder.iterdir() if path.suffix.lower() == ".npz"), default=None)
    if first is None:
        return {}
    try:
        return {name: array.shape for name, array in read_arrays(first).items()}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


def _files(folder: Path) -> tuple[Literal["images", "arrays"], int]:
    """Returns what kind of samples lie in a folder, and how many.

    Raises:
        ConfigError: none, or something else beside them.
    """
    try:
        images, strange = image_files(folder)
        arrays, unlike = image_files(folder, samples.SUFFIXES, "array")
        inner = any(path.is_dir() for path in folder.iterdir())
    except OSError as error:
        raise ConfigError(str(folder), [error.strerror or "cannot be read"]) from error
    if images or not arrays:
        problems = list(strange)
        if not images:
            deeper = "; those in folders inside are not looked for" if inner else ""
            problems = [f"no image ({', '.join(sorted(SUFFIXES))}) lies in this folder{deeper}"]
        if problems:
            raise ConfigError(str(folder), problems)
        return "images", len(images)
    if unlike:
        raise ConfigError(str(folder), list(unlike))
    return "arrays", len(arrays)


def section(
    image: ImageInput | SampleInput,
    pixels: str | None,
    samples: GivenSamples | None,
    published: Mapping[str, Any],
    style: str | None,
    *,
    boxless: bool = False,
    parts: Sequence[InputPart] = (),
) -> str:
    """Returns the section: of images, or of arrays for what no file of an image holds.

    `pixels` is the type of whole numbers that the network takes, None for floats. `published` are the keys of
    `preprocess` in which its family, `style`, differs from the defaults. With `boxless` labels would have no use;
    `parts` are the network's inputs, where every sample brings several.

    Raises:
        GraphError: images cannot fill the network's input.
    """
    no_image = isinstance(image, SampleInput) or image.channels not in CHANNELS
    if no_image or (samples is not None and samples.key == "arrays"):
        return _arrays(image, samples, parts)
    assert isinstance(image, ImageInput)  # noqa: S101 - held above
    labels = "" if boxless else "labels: COCO JSON, or a folder of YOLO or VOC files"
    if samples is None:
        where = (
            "  # 128 or more images like those the network will see; not those you evaluate on.\n"
            "  calibration: {images: images/calibration}\n"
            "  evaluation: {images: images/evaluation}" + (f"   # {labels}" if labels else "")
        )
    else:
        where = _lines(samples, labels)
    origin = f"; as published for {style}" if published else ""
    return f"""\
data:
{where}
  # value = (pixel * scale - mean) / std, after resizing. It must be what the network was trained
  # with: a wrong one here looks exactly like a bad calibration{origin}.
  preprocess:
{_preprocess(image, pixels, published)}"""


def _arrays(
    image: ImageInput | SampleInput, samples: GivenSamples | None, parts: Sequence[InputPart] = ()
) -> str:
    if samples is not None and samples.key == "images":
        shape = list(image.sample)
        told = f"the network takes {shape}, which no file of an image holds: give a folder of .npy, one a sample"
        raise GraphError(told)
    told = (
        "  # 128 or more samples like those the network will see; not those you evaluate on. Each is a .npy of the\n"
        f"  # shape {list(image.sample)}, or an .npz that holds one; it is fed as it is.\n"
    )
    if parts:
        each = ", ".join(f"{part.name} {list(part.shape)}" for part in parts)
        lines = "\n".join(
            comment(
                f"128 or more samples like those the network will see; not those you evaluate on. Each is an .npz with an array for each input, fed as it is: {each}."
            )
        )
        told = "".join(f"  {line}\n" for line in lines.splitlines())
    if samples is None:
        return f"""\
data:
{told}  calibration: {{arrays: arrays/calibration}}
  evaluation: {{arrays: arrays/evaluation}}"""
    return f"data:\n{told}{_lines(samples, '')}"


def _lines(samples: GivenSamples, more: str) -> str:
    why = ["  # Half of one folder each: what was calibrated on would look better than it is."]
    behind = f"   # {more}" if more else ""
    return "\n".join(
        [
            *(why if samples.halved else []),
            f"  calibration: {flow(samples.calibration)}",
            f"  evaluation: {flow(samples.evaluation)}{behind}",
        ]
    )


def _preprocess(image: ImageInput, pixels: str | None, published: Mapping[str, Any]) -> str:
    """Returns its lines, each with what may stand there."""
    known = {"resize": "letterbox", "position": "center", "filter": "bilinear", "pad": 114}
    known |= {"size": [image.height, image.width], "scale": 1 / 255, "mean": 0, "std": 1}
    known |= {"color": COLORS[image.channels]}
    own = set(published) - ({"mean", "std", "color"} if image.channels != 3 else set())
    if pixels is not None:
        own -= {"scale", "mean", "std"}
        known |= {"scale": 1, "mean": 128 if pixels == "int8" else 0}
    known |= {key: published[key] for key in own}
    comments = {
        "resize": "letterbox keeps proportions; or stretch",
        "position": "of a letterboxed image; or top_left",
        "filter": "Pillow's; linear is OpenCV's INTER_LINEAR",
        "size": "height, width of the network's input",
        "scale": f"its input takes {pixels}: pixels as they are" if pixels else "",
        "mean": "or one value a channel: [0.485, 0.456, 0.406]",
        "std": "likewise",
        "color": "rgb, bgr, gray or rgba, bgra: what the network was trained with",
        "pad": "pixel value beside a letterboxed image",
    }
    if known["scale"] == 1 / 255:
        comments["scale"] = "1/255"
    lines = []
    for key, why in comments.items():
        line = f"    {key}: {_value(known[key])}"
        lines.append(f"{line:<35} # {why}" if why else line)
    return "\n".join(lines)


COLORS = {1: "gray", 3: "rgb", 4: "rgba"}
"""Channels → what images of so many hold."""


def _value(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value!r}" if isinstance(value, float) else f"{value}"
