"""Labels in a folder, a file an image: YOLO's text or Pascal VOC's XML → COCO, which all else reads.

YOLO [1]: lines `class cx cy w h`, shares of the upright image's width and height; an image without objects
needs no file, as long as most have one, and a line that is there twice counts once, as in training. VOC [2]: pixels counted from 1,
the last one belonging to the box, so [xmin − 1, xmax] is where it lies; `difficult` objects are neither
found nor missed, as in VOC's own evaluation: COCO's `iscrowd`.

[1] Ultralytics, docs, datasets/detect. [2] Everingham et al., The PASCAL Visual Object Classes Challenge
2012 Development Kit, sections 4 and 6; VOCcode/VOCevaldet.m.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from trt_matrix.config.problems import few
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.inputs.images import BROKEN, upright_size
from trt_matrix.store.untrusted import named_file

LIMIT_BYTES = 10_000_000
"""Of the file of one image."""

TOLERANCE = 0.01
"""By which a share may be above 1: tools round."""

LEAST_LABELLED = 0.5
"""Share of the images that must have a file of YOLO's text, or the others are more likely not labelled, or
called otherwise, than without objects."""

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""In the order of the development kit, which is that of the alphabet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """What matrix.yaml says of the network's classes."""

    number: int | None = None
    names: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Object:
    name: int | str
    box: tuple[float, float, float, float]
    """Left, top, width, height in pixels."""
    difficult: bool = False


@dataclass(frozen=True, slots=True)
class LabelFolder:
    """What a folder of labels says."""

    coco: bytes
    """COCO JSON; category ids are class indices."""
    without: tuple[str, ...] = ()
    """Images that count as having no objects, since they have no file."""


def read_folder(folder: Path, images: Sequence[Path], classes: Classes) -> LabelFolder:
    """Returns the labels of these images: NAME.txt or NAME.xml for NAME.jpg, whatever the case of the suffix.

    Raises:
        LabelsError: the files cannot serve as labels of these images; names file and line.
        OSError: one of them cannot be read.
    """
    stems = [path.stem for path in images]
    twice = [path.name for path in images if stems.count(path.stem) > 1]
    if twice:
        raise LabelsError(f"{few(twice)} would share one file of labels: rename them")
    by_suffix = {suffix: _files(folder, suffix, images) for suffix in (".txt", ".xml")}
    if all(by_suffix.values()):
        raise LabelsError("it holds .txt and .xml of these images: keep one kind")
    if not any(by_suffix.values()):
        raise LabelsError(
            f"no labels of any of these images: {images[0].stem}.txt (YOLO: class cx cy w h) or "
            f"{images[0].stem}.xml (Pascal VOC) is looked for"
            if images
            else "no image to be labelled"
        )
    suffix = ".xml" if by_suffix[".xml"] else ".txt"
    files = by_suffix[suffix]
    without = tuple(path.name for path in images if path not in files)
    if suffix == ".xml" and without:
        raise LabelsError(
            f"no .xml for {few(without)}; an image without objects needs one, too, "
            "else all that is found in it counts as wrong"
        )
    if len(files) < LEAST_LABELLED * len(images):
        raise LabelsError(
            f"only {len(files)} of {len(images)} images have a .txt, none for {few(without)}: all that is "
            "found in the others would count as wrong; give an empty file to each image without objects"
        )
    objects = {path: _objects(files[path], path) if path in files else [] for path in images}
    return LabelFolder(_coco(objects, classes), without)


def _files(folder: Path, suffix: str, images: Sequence[Path]) -> dict[Path, Path]:
    """Returns image → its file of labels, for those that have one."""
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == suffix:
            by_stem.setdefault(path.stem, []).append(path)
    for image in images:
        several = by_stem.get(image.stem, [])
        if len(several) > 1:
            message = f"{few([path.name for path in several])} are labels of one image: keep one"
            raise LabelsError(message)
    return {image: by_stem[image.stem][0] for image in images if image.stem in by_stem}


def _objects(file: Path, image: Path) -> list[_Object]:
    try:
        size = upright_size(image)
    except BROKEN as error:
        raise LabelsError(f"{image.name}, which they are of, cannot be read: {error}") from error
    content = named_file(file, LIMIT_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelsError(f"{file.name}: no text in UTF-8") from error
    read = _voc if file.suffix.lower() == ".xml" else _yolo
    return list(dict.fromkeys(read(text, file.name, size)))


def _yolo(text: str, name: str, size: tuple[int, int]) -> Iterator[_Object]:
    width, height = size
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{name}, line {number}"
        if len(words) != 5:
            raise LabelsError(
                f"{where}: {len(words)} words; YOLO's `class cx cy w h` is expected (of polygons, give "
                "the boxes around them)"
            )
        label, *shares = (_number(word, where) for word in words)
        if label != int(label) or not 0 <= label < 100_000:
            raise LabelsError(f"{where}: {words[0]} is no class index")
        if not all(0 <= share <= 1 + TOLERANCE for share in shares):
            raise LabelsError(
                f"{where}: {' '.join(words[1:])} are no shares from 0 to 1 of width and height"
            )
        x, y, w, h = shares
        box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
        yield _Object(int(label), box)


def _voc(text: str, name: str, size: tuple[int, int]) -> Iterator[_Object]:
    # Entities, which can grow without end, are declared in a document type alone.
    if "<!DOCTYPE" in text:
        raise LabelsError(f"{name}: a document type is declared, which VOC's labels have none of")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without a document type, bounded in size
    except (ElementTree.ParseError, ValueError) as error:
        raise LabelsError(f"{name}: not XML: {error}") from error
    if root.tag != "annotation":
        message = f"{name}: not Pascal VOC: <annotation> is expected, <{root.tag:.40}> is there"
        raise LabelsError(message)
    sides = tuple(
        int(_number(root.findtext(f"size/{side}") or "0", name)) for side in ("width", "height")
    )
    if all(sides) and sides != size:
        raise LabelsError(
            f"{name}: it is of an image of {sides[0]} × {sides[1]} pixels, that of this name has "
            f"{size[0]} × {size[1]}"
        )
    for number, element in enumerate(root.iter("object"), 1):
        where = f"{name}, object {number}"
        label = (element.findtext("name") or "").strip()
        if not label:
            raise LabelsError(f"{where}: it has no <name>")
        left, top, right, bottom = (
            _number(element.findtext(f"bndbox/{side}") or "", f"{where}, {side}")
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
        if right < left or bottom < top:
            raise LabelsError(f"{where}: xmax and ymax must not be less than xmin and ymin")
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        yield _Object(label, (left - 1, top - 1, right - left + 1, bottom - top + 1), difficult)


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelsError(f"{where}: {word!r:.40} is no number")
    return value


def _coco(objects: dict[Path, list[_Object]], classes: Classes) -> bytes:
    named = {labelled.name for labels in objects.values() for labelled in labels}
    _refuse_shifted(named, classes)
    names = _order({name for name in named if isinstance(name, str)}, classes)
    # A name says which class of the network it is, and `category_ids` what that class is called.
    ids = classes.category_ids if names else ()
    further = range(max(ids, default=-1) + 1, max(ids, default=-1) + 1 + len(names))
    indices: dict[int | str, int] = dict(zip(names, (*ids, *further), strict=False))
    indices.update({index: index for index in named if isinstance(index, int)})
    last = max((*indices.values(), *classes.category_ids), default=-1)
    known = max(classes.number or 0, len(names), last + 1)
    labelled = (
        (image, label) for image, labels in enumerate(objects.values(), 1) for label in labels
    )
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": indices[label.name],
            "bbox": list(label.box),
            "area": label.box[2] * label.box[3],
            "iscrowd": int(label.difficult),
        }
        for number, (image, label) in enumerate(labelled, 1)
    ]
    coco = {
        "images": [{"id": index, "file_name": path.name} for index, path in enumerate(objects, 1)],
        "annotations": annotations,
        "categories": [{"id": index} for index in range(known)],
    }
    return json.dumps(coco, sort_keys=True).encode()


def _refuse_shifted(named: set[int | str], classes: Classes) -> None:
    """Raises LabelsError where `category_ids` would make other classes of YOLO's numbers.

    They are the network's own classes, `category_ids` says what a COCO file calls those: 1 to 90, published
    networks' 0 to 79. Taken together every label would be of another class. Only 0, 1, 2 … changes nothing, and
    leaves out what is above.
    """
    ids = classes.category_ids
    if ids == tuple(range(len(ids))) or not any(isinstance(name, int) for name in named):
        return
    raise LabelsError(
        f"the numbers of YOLO's text are the network's own classes, and decode.category_ids ({few([str(index) for index in ids])}) "
        "would make others of them: leave it out, or write [0, 1, …] to pass over objects of further classes; "
        "for labels that number classes otherwise, give COCO JSON"
    )


def _order(named: set[str], classes: Classes) -> tuple[str, ...]:
    """Returns the names of the classes in the network's order, then others that the labels have.

    Raises:
        LabelsError: nothing says which class of the network a name is.
    """
    order = classes.names
    if named and not order:
        if classes.number != len(VOC_CLASSES) or not named <= set(VOC_CLASSES):
            raise LabelsError(
                f"the objects are {few(sorted(named))}: give decode.class_names, the names of the "
                "network's classes in its order"
            )
        order = VOC_CLASSES
    return (*order, *sorted(named - set(order)))
