"""Keeps a run as test data: python -m tests.gpu.keep RESULTS/RUN FOLDER. Sums stand for outputs.

FOLDER gets manifest.json, records.json, tables/, sums.npz (per-image sums of every output against the
reference, by the outputs' hashes) and layers.json (of every build, by hash: each layer's tensors and
precision): enough to judge again, a thousandth of the size.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

from runner.run_files import layers_of
from runner.store import Store

HIDDEN = (
    (re.compile(r'"/[^"]*/(pack|trt|ort|request|result|python[0-9.]*)\b'), r'"/\1'),
    (re.compile(r"GPU-[0-9a-f-]{36}"), "GPU-00000000-0000-0000-0000-000000000000"),
)


def keep(run_folder: Path, folder: Path) -> None:
    resolved = run_folder.resolve()
    run = Store(resolved.parent).open_run(resolved.name)
    manifest, records = run.manifest(), run.records()
    assert manifest.reference
    measured = [one for record in records for one in record.measurements] + list(
        manifest.simulations
    )
    sums = {}
    for one in measured:
        for head, output in one.outputs.items():
            reference = manifest.reference.outputs[head]
            sums[f"{output.sha256}-{reference.sha256}"] = run.store.sums(
                output, reference, manifest.epsilon
            )
    own = [one for one in measured if one.name == "fp32" and one.outputs]
    for one in measured:
        for other in own:
            for head, output in one.outputs.items():
                found = run.store.sums(output, other.outputs[head], manifest.epsilon)
                sums.setdefault(f"{output.sha256}-{other.outputs[head].sha256}", found)
    read = layers_of(run.store)
    layers = {
        one.layers.sha256: [[list(each.tensors), each.precision] for each in read(one.layers) or ()]
        for one in measured
        if one.layers
    }
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    _write(folder / "layers.json", json.dumps(layers, separators=(",", ":")))
    np.savez_compressed(folder / "sums.npz", **sums)
    _write(folder / "manifest.json", manifest.model_dump_json(indent=1))
    _write(
        folder / "records.json",
        json.dumps([json.loads(record.model_dump_json()) for record in records], indent=1),
    )
    for table in (run.folder / "tables").iterdir():
        _write(folder / "tables" / table.name, table.read_text())


def _write(path: Path, text: str) -> None:
    for pattern, replacement in HIDDEN:
        text = pattern.sub(replacement, text)
    path.write_text(text)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
