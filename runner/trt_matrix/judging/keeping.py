"""Which outputs go once a run is judged: those of which only sums and boxes were needed (`keep: sums`).

What new cells are compared with stays: the reference's outputs, and those of each environment's own fp32.
So does whatever another finished run needs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trt_matrix.core.cells import Precision
from trt_matrix.core.evidence import good
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record, StoredObject
from trt_matrix.errors import StoreError
from trt_matrix.execution.matrix import Outputs, SettledBeside
from trt_matrix.execution.wanted import OutputUse
from trt_matrix.store.results import RunFolder, hashes


def release(run: RunFolder, settled: SettledBeside) -> int | None:
    """Removes the outputs that a finished, judged run needs no more.

    `settled` makes what is still lacking; outputs of which it cannot stay.

    Returns:
        Bytes freed; None where another has the results open, who may need them.
    """
    manifest, records = run.manifest(), run.records()
    if manifest.keep == "outputs" or manifest.reference is None:
        return 0
    kept = needed(manifest, records)
    stored_objects: dict[str, StoredObject] = {}
    for outputs, use in asked(manifest, records):
        if settled(manifest.reference.outputs, outputs, use):
            stored_objects |= {output.sha256: output for output in outputs.values()}
        else:
            kept |= {output.sha256 for output in outputs.values()}
    try:
        with run.store.alone():
            for path in run.store.results.glob("*/manifest.json"):
                if not path.parent.is_symlink() and path.parent.name != run.id:
                    kept |= _needed_by(path.parent)
            return run.store.release(
                stored for name, stored in stored_objects.items() if name not in kept
            )
    except StoreError:
        return None


def asked(manifest: Manifest, records: Sequence[Record]) -> Iterator[tuple[Outputs, OutputUse]]:
    """Yields the outputs of a run, but for the reference's, and what is asked of them."""
    for record in records:
        for measurement in good(record):
            yield measurement.outputs, OutputUse.JUDGED
    for simulation in manifest.simulations:
        yield simulation.outputs, OutputUse.COMPARED
    if facts := manifest.calibration:
        whole = (facts.whole,) if facts.whole else ()
        for tried in (*facts.subsets, *whole, *facts.orders, *facts.without):
            yield tried.outputs, OutputUse.COMPARED
        for tried in facts.trials:
            yield tried.outputs, OutputUse.FOUND


def needed(manifest: Manifest, records: Sequence[Record]) -> set[str]:
    """Returns SHA-256 of the outputs that a run keeps."""
    stored_objects = list(manifest.reference.outputs.values()) if manifest.reference else []
    if manifest.keep == "outputs":
        stored_objects += [
            output for outputs, _ in asked(manifest, records) for output in outputs.values()
        ]
    for record in records:
        if record.pass_.precision is Precision.FP32:
            stored_objects += [
                output for first in good(record)[:1] for output in first.outputs.values()
            ]
    return {stored.sha256 for stored in stored_objects}


def _needed_by(folder: Path) -> set[str]:
    """Returns what a finished run keeps; all that it names, where it cannot be read."""
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        cells = [
            cell
            for cell in manifest.cells
            if manifest.keep == "outputs" or cell.endswith(f"/{Precision.FP32}")
        ]
        files = [folder / "records" / f"{cell}.json" for cell in cells]
        return needed(manifest, [Record.model_validate_json(file.read_bytes()) for file in files])
    except (OSError, ValueError):
        every = [folder / "manifest.json", *(folder / "records").rglob("*.json")]
        return set().union(*(hashes(path.read_text("utf-8", "replace")) for path in every))
