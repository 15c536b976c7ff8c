"""COCO labels of the evaluation images: read, and checked before anything runs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from trt_matrix.config.problems import few
from trt_matrix.core.boxes.average_precision import Labels, LabelsError, read_labels

Areas = tuple[tuple[float, ...], ...]
"""For each image the areas of its objects, in square pixels."""

LISTS = ("images", "annotations", "categories")

MOST_BOXES = 10_000
"""On one image: the densest data sets have some thousand."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageLabels:
    """Checked labels, and which entry of them each evaluated image has."""

    labels: Labels
    image_ids: tuple[int, ...]
    """In the order of the images."""


def parse(content: bytes, images: Sequence[str], category_ids: Sequence[int] = ()) -> ImageLabels:
    """Reads the labels of these images (file names without folders) from a JSON file's content.

    The file may name more images than there are: a part of a data set goes with the labels of all. `category_ids` are
    those of the network's classes; default: the labels' own, rising.

    Raises:
        LabelsError: the content cannot serve as labels of these images.
    """
    try:
        coco: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"not JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(coco, dict) or not all(isinstance(coco.get(key), list) for key in LISTS):
        raise LabelsError(f"not COCO: an object with the lists {', '.join(LISTS)} is expected")
    ids = _ids_by_name(coco["images"])
    unlabelled = [name for name in images if name not in ids]
    if unlabelled:
        raise LabelsError(
            f"no entry for {few(unlabelled)}; an image without objects needs one, too, "
            "else all that is found in it counts as wrong"
        )
    image_ids = tuple(ids[name] for name in images)
    on_each = Counter(
        str(annotation.get("image_id"))
        for annotation in coco["annotations"]
        if isinstance(annotation, dict)
    )
    crowded = [name for name in images if on_each[str(ids[name])] > MOST_BOXES]
    if crowded:
        message = f"more than {MOST_BOXES:,} boxes on {few(crowded)}: no image has so many objects"
        raise LabelsError(message)
    return ImageLabels(read_labels(coco, image_ids, category_ids), image_ids)


def areas(labels: ImageLabels) -> Areas:
    """Returns the areas of the boxes of each image, in the order of the images; crowds are left out."""
    sizes: dict[int, list[float]] = {image: [] for image in labels.image_ids}
    for annotation in labels.labels.annotations:
        if not annotation.get("iscrowd"):
            _, _, width, height = annotation["bbox"]
            sizes[labels.labels.images[annotation["image_id"]]].append(float(width) * float(height))
    return tuple(tuple(sizes[image]) for image in labels.image_ids)


def _ids_by_name(entries: Sequence[Any]) -> Mapping[str, Any]:
    """Returns file name without folders → image id, of any type as yet."""
    ids = {}
    for index, entry in enumerate(entries):
        file_name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(file_name, str):
            raise LabelsError(f"not COCO: images[{index}] has no file_name")
        ids[PurePosixPath(file_name).name] = entry.get("id")
    return ids
