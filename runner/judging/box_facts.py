"""What a run must record so that its boxes can be judged again without matrix.yaml or the images."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from runner.checks.matrix import Checked
from runner.images import placement, upright_size
from runner.records import EvaluationImage
from runner.store import Store


def box_facts(checked: Checked, store: Store) -> Mapping[str, Any]:
    """Returns the fields of the manifest that are about boxes; empty where none are decoded.

    Labels and the user's own decoder become objects of the store.
    """
    if checked.decode is None:
        return {}
    if checked.decode.source is not None:
        store.put(checked.decode.source, ".py")
    _, height, width = checked.shape
    resize = checked.config.data.preprocess.resize
    return {
        "decode": checked.decode.decode,
        "labels": None if checked.labels is None else store.put(checked.labels, ".json"),
        "evaluation": tuple(
            EvaluationImage(
                file_name=path.name,
                **asdict(placement(upright_size(path), (height, width), resize)),
            )
            for path in checked.evaluation
        ),
    }
