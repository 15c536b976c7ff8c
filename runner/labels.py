"""COCO labels of the evaluation images, as far as they are needed before anything runs."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from runner.config_errors import few

LISTS = ("images", "annotations", "categories")


def labels_problem(path: Path, images: Sequence[str]) -> str | None:
    """Returns why the file cannot serve as labels of these images; None where it can.

    It may name more images than there are: a part of a data set goes with the labels of all of it.

    Args:
        path: The JSON file.
        images: File names without folders.
    """
    try:
        coco: Any = json.loads(path.read_bytes())
    except OSError as error:
        return f"{path}: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return f"{path}: not JSON: {str(error).splitlines()[0]}"
    if not isinstance(coco, dict) or not all(isinstance(coco.get(key), list) for key in LISTS):
        return f"{path}: not COCO: an object with the lists {', '.join(LISTS)} is expected"
    named = set()
    for index, entry in enumerate(coco["images"]):
        file_name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(file_name, str):
            return f"{path}: not COCO: images[{index}] has no file_name"
        named.add(PurePosixPath(file_name).name)
    unlabelled = [name for name in images if name not in named]
    if unlabelled:
        return (
            f"{path}: no entry for {few(unlabelled)}; an image without objects needs one, too, "
            "else all that is found in it counts as wrong"
        )
    return None
