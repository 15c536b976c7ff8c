"""What a real TensorRT 8.5.3.1 gave on an H200, judged again: tests/data/h200, docs/verified.md."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runner.core.evidence import Evidence
from runner.core.judge import judge
from runner.core.judgement import Judgement
from runner.core.metrics import Sums
from runner.records import Manifest, Object, Record

DATA = Path(__file__).parents[1] / "data" / "h200"


def judged() -> Judgement:
    manifest = Manifest.model_validate_json((DATA / "manifest.json").read_bytes())
    records = [
        Record.model_validate(one) for one in json.loads((DATA / "records.json").read_text())
    ]
    sums: Mapping[str, Sums] = dict(np.load(DATA / "sums.npz"))

    def sums_of(y: Object, r: Object) -> Sums:
        return sums[f"{y.sha256}-{r.sha256}"]

    return judge(Evidence(manifest, [one.planned() for one in records], records, sums_of))
