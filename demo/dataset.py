"""Writes the calibration and evaluation images and their labels: `python -m demo.dataset`."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from demo.photographs import Split
from demo.scenes import scenes
from demo.sizes import AREAS, SIZE

SEED = 2019
COUNT = 128
QUALITY = 75
"""JPEG quality: 256 images and two networks stay under 10 MB."""


def write(folder: Path) -> None:
    """Writes images/SPLIT/*.jpg and labels.json, labels-calibration.json (COCO) into `folder`."""
    for split, labels in (
        (Split.CALIBRATION, "labels-calibration.json"),
        (Split.EVALUATION, "labels.json"),
    ):
        images = folder / "images" / split
        images.mkdir(parents=True, exist_ok=True)
        coco: dict[str, Any] = {
            "info": {
                "description": "Handwritten digits on photographs",
                "areas_px2": {name: list(limits) for name, limits in AREAS.items()},
            },
            "categories": [{"id": digit, "name": str(digit)} for digit in range(10)],
            "images": [],
            "annotations": [],
        }
        for index, scene in enumerate(scenes(split, COUNT, SEED)):
            name = f"{index:04}.jpg"
            Image.fromarray(scene.pixels).save(images / name, quality=QUALITY, optimize=True)
            coco["images"].append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
            for digit in scene.digits:
                coco["annotations"].append(
                    {
                        "id": len(coco["annotations"]) + 1,
                        "image_id": index,
                        "category_id": digit.label,
                        "bbox": list(digit.box),
                        "area": digit.box[2] * digit.box[3],
                        "iscrowd": 0,
                    }
                )
        (folder / labels).write_text(json.dumps(coco, indent=None, sort_keys=True) + "\n")


if __name__ == "__main__":
    write(Path(__file__).parent)
