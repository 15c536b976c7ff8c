"""What a run must record so that its boxes can be judged again without matrix.yaml or the images."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trt_matrix.core.manifest import EvaluationImage
from trt_matrix.core.records import StoredObject
from trt_matrix.inputs.images import ImagePlacement, placement, upright_size
from trt_matrix.planning.matrix import Checked

Put = Callable[[bytes, str], StoredObject]


def placed(checked: Checked, path: Path) -> ImagePlacement:
    """Returns how a sample lies in the network's input; one that is an array fills it."""
    _, height, width = checked.shape
    arrays = checked.config.data.are_arrays
    size = (width, height) if arrays else upright_size(path)
    return placement(size, (height, width), checked.config.data.preprocess)


def box_facts(checked: Checked, put: Put) -> Mapping[str, Any]:
    """Returns the fields of the manifest that are about boxes; empty where none are decoded.

    `put` takes labels, and the user's own decoder, into the store: `Store.put`.
    """
    if checked.decode is None:
        return {}
    if checked.decode.source is not None:
        put(checked.decode.source, ".py")
    return {
        "decode": checked.decode.decode,
        "labels": None if checked.labels is None else put(checked.labels, ".json"),
        "evaluation": tuple(
            EvaluationImage(file_name=path.name, **asdict(placed(checked, path)))
            for path in checked.evaluation
        ),
    }
