"""Keeps a run as test data: python -m tests.gpu.keep RESULTS/RUN FOLDER [--only ENVIRONMENT]...

FOLDER gets manifest.json.xz, records.json.xz, tables/, sums.npz (per-image sums of every output against the
reference and the fp32 beside it, by the outputs' hashes), layers.json.xz (of every build, by hash: each layer's tensors
and precision) and, where builds told them, times.json.xz (what its layers took, as
`core.layers.engine_layers.LayerTimes`): enough to judge again, a thousandth of the size. Sums stand for outputs, which
must still be there: `keep: outputs` in matrix.yaml. `read` also reads what was kept without xz.

With --only, FOLDER is brought up to date: these environments come from RUN, the others stay as they
are kept, and what was never kept is taken from RUN. Both must have compared with the same reference.
"""

import argparse
import json
import lzma
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Measurement, Record
from trt_matrix.judging.run_files import layers_of, times_of
from trt_matrix.store.results import RunFolder, Store

HIDDEN = (
    (re.compile(r'"/[^"]*/(pack|trt|ort|request|result|python[0-9.]*)\b'), r'"/\1'),
    (re.compile(r"GPU-[0-9a-f-]{36}"), "GPU-00000000-0000-0000-0000-000000000000"),
)


def read(folder: Path, name: str) -> str:
    """Returns the text of a kept file; `{}` of times where no build told them."""
    packed = folder / f"{name}.xz"
    if packed.exists():
        return lzma.decompress(packed.read_bytes()).decode()
    plain = folder / name
    return plain.read_text() if plain.exists() or name != "times.json" else "{}"


def keep(run_folder: Path, folder: Path, only: Collection[str] = ()) -> None:
    """Writes FOLDER; see above.

    Raises:
        SystemExit: what is kept was compared with other reference outputs, or outputs are gone.
    """
    resolved = run_folder.resolve()
    run = Store(resolved.parent).open_run(resolved.name)
    manifest, records = run.manifest(), run.records()
    kept: list[Record] = []
    sums: dict[str, Any] = {}
    layers: dict[str, Any] = {}
    times: dict[str, Any] = {}
    if only:
        before = Manifest.model_validate_json(read(folder, "manifest.json"))
        if _hashes(before) != _hashes(manifest):
            raise SystemExit(f"{folder}: other reference outputs than {run_folder}: keep it whole")
        kept = [Record.model_validate(load) for load in json.loads(read(folder, "records.json"))]
        sums = dict(np.load(folder / "sums.npz"))
        layers = json.loads(read(folder, "layers.json"))
        times = json.loads(read(folder, "times.json"))
        manifest = _with_simulations(manifest, before)
    stays = {record.cell: record for record in kept if record.environment not in only}
    records = tuple(stays.get(record.cell, record) for record in records)
    fresh = [
        measurement
        for record in records
        if record.cell not in stays
        for measurement in record.measurements
    ]
    if not all(
        run.store.has(output) for measurement in fresh for output in measurement.outputs.values()
    ):
        raise SystemExit(
            f"{run_folder}: its outputs are gone; `keep: outputs` in matrix.yaml keeps them"
        )
    measured = [
        *(measurement for record in records for measurement in record.measurements),
        *manifest.simulations,
    ]
    sums.update(_sums(run, manifest, [*fresh, *manifest.simulations]))
    layers_in, timed = layers_of(run.store), times_of(run.store)
    for measurement in fresh:
        if measurement.layers:
            engine_layers = layers_in(measurement.layers) or ()
            layers[measurement.layers.sha256] = [
                [list(each.tensors), each.precision] for each in engine_layers
            ]
            if layer_times := timed(measurement.layers):
                times[measurement.layers.sha256] = asdict(layer_times)
    wanted = {measurement.layers.sha256 for measurement in measured if measurement.layers}
    outputs = {output.sha256 for measurement in measured for output in measurement.outputs.values()}
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    _pack(folder / "layers.json", {key: layers[key] for key in sorted(wanted)})
    if kept_times := {key: times[key] for key in sorted(wanted & times.keys())}:
        _pack(folder / "times.json", kept_times)
    np.savez_compressed(
        folder / "sums.npz",
        **{key: sums[key] for key in sorted(sums) if key.partition("-")[0] in outputs},
    )
    _pack(folder / "manifest.json", json.loads(manifest.model_dump_json()))
    _pack(folder / "records.json", [json.loads(record.model_dump_json()) for record in records])
    for table in (run.folder / "tables").glob("*.json"):
        (folder / "tables" / table.name).write_text(_hidden(table.read_text()))


def _hashes(manifest: Manifest) -> dict[str, str]:
    assert manifest.reference
    return {head: output.sha256 for head, output in manifest.reference.outputs.items()}


def _with_simulations(manifest: Manifest, before: Manifest) -> Manifest:
    """Returns `manifest` with the tables and simulations that only `before` has."""
    names = {simulation.name for simulation in manifest.simulations}
    others = [simulation for simulation in before.simulations if simulation.name not in names]
    return manifest.model_copy(
        update={
            "simulations": (*manifest.simulations, *others),
            "tables": {**before.tables, **manifest.tables},
        }
    )


def _sums(run: RunFolder, manifest: Manifest, measured: Iterable[Measurement]) -> dict[str, Any]:
    """Returns the sums of each output against the reference, and against fp32 of its environment and device."""
    assert manifest.reference
    measured = list(measured)
    floats = [measurement for measurement in measured if measurement.name == "fp32"]
    return {
        f"{output.sha256}-{other.outputs[head].sha256}": run.store.sums(
            output, other.outputs[head], manifest.epsilon
        )
        for measurement in measured
        for head, output in measurement.outputs.items()
        for other in [
            manifest.reference,
            *(each for each in floats if _place(each) == _place(measurement)),
        ]
        if head in other.outputs and run.store.has(output)
    }


def _place(measurement: Measurement) -> tuple[str, str] | None:
    return (measurement.start.environment, measurement.start.device) if measurement.start else None


def _hidden(text: str) -> str:
    for pattern, replacement in HIDDEN:
        text = pattern.sub(replacement, text)
    return text


def _pack(path: Path, value: Any) -> None:
    text = _hidden(json.dumps(value, separators=(",", ":")))
    path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(text.encode(), preset=9))
    path.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="ENVIRONMENT")
    told = parser.parse_args()
    keep(told.run, told.folder, told.only)
