"""How long does judging take? A large matrix whose per-image sums are drawn, judged by the real code.

200 environments × 3 heads × 6 passes × 256 images, 2 repeats, 2000 bootstrap draws; then half as many
environments: time should halve. Drawn numbers, for the judge alone. Usage: python -m benchmarks.judging
"""

import argparse
import functools
import resource
import time

import numpy as np

from trt_matrix.containers.job.reductions import SUMS
from trt_matrix.core.cells import Cell, Precision, Status
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.judge import judge
from trt_matrix.core.manifest import HeadGate, Manifest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.plan import passes
from trt_matrix.core.records import Measurement, Record, StoredObject

HEADS = ("large", "medium", "small")
PASSES = passes(
    [Precision.FP32, Precision.INT8], ["entropy", "minmax", "percentile", "mse"], "entropy"
)
ELEMENTS = 25_200
BASELINE = "v0"


def evidence(environments: int, images: int, repeats: int) -> Evidence:
    """Returns a matrix whose own tables differ everywhere: as many simulations as there can be."""
    names = [f"v{number}" for number in range(environments)]
    cells = [
        Cell(environment=name, device="cpu", pass_=pass_) for name in names for pass_ in PASSES
    ]
    tables = {"shared"} | {
        f"{cell.environment}-{cell.pass_.algorithm}" for cell in cells if cell.pass_.source
    }
    energy = np.random.default_rng(0).lognormal(8, 0.4, images)

    @functools.cache
    def sums_of(y: StoredObject, _: StoredObject) -> Sums:
        generator = np.random.default_rng([ord(letter) for letter in y.sha256])
        nmse = 1e-12 if "fp32" in y.sha256 else 0.004 * generator.normal(1, 0.02)
        rows = np.zeros(images, SUMS)
        rows["r2"] = rows["y2"] = rows["ry"] = energy
        rows["d2"] = nmse * energy * generator.lognormal(0, 0.3, images)
        rows["d1"] = np.sqrt(rows["d2"] * ELEMENTS)
        rows["dmax"] = np.sqrt(rows["d2"])
        rows["n"] = ELEMENTS
        return rows

    manifest = Manifest(
        run_id="run",
        name="large",
        created="2026-11-23T12:00:00+00:00",
        baseline=BASELINE,
        heads=tuple(HeadGate(head=head, sqnr_db=20.0) for head in HEADS),
        images=images,
        epsilon=1e-3,
        cells=tuple(cell.id for cell in cells),
        reference=_measurement("reference", 0, None),
        simulations=tuple(_measurement(f"simulation-{table}", 0, table) for table in tables),
        tables={},
        facts={},
    )
    return Evidence(manifest, cells, [_record(cell, repeats) for cell in cells], sums_of)


def _record(cell: Cell, repeats: int) -> Record:
    table = None
    if cell.pass_.source:
        own = f"{cell.environment}-{cell.pass_.algorithm}"
        table = "shared" if cell.pass_.source == "shared" else own
    return Record(
        cell=cell.id,
        environment=cell.environment,
        device=cell.device,
        pass_=cell.pass_,
        status=Status.OK,
        measurements=tuple(_measurement(cell.id, repeat, table) for repeat in range(repeats)),
    )


def _measurement(name: str, repeat: int, table: str | None) -> Measurement:
    return Measurement(
        fingerprint=f"{name}#{repeat}",
        name="pass",
        repeat=repeat,
        status=Status.OK,
        model_sha256="0",
        table=table,
        placement="onnxruntime" if table else None,
        outputs={
            head: StoredObject(sha256=f"{name}#{repeat}#{head}", suffix=".npy", size_bytes=1)
            for head in HEADS
        },
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=200)
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args(arguments)
    print("| environments | cells | sums read, s | judged, s | peak memory, MB |")
    print("| --- | --- | --- | --- | --- |")
    for environments in (options.environments // 2, options.environments):
        given = evidence(environments, options.images, repeats=2)
        start = time.perf_counter()
        for record in given.records:
            for measurement in record.measurements:
                for output in measurement.outputs.values():
                    given.sums_of(output, output)
        read = time.perf_counter()
        judge(given)
        judged = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"| {environments} | {len(given.cells)} | {read - start:.1f} | {judged - read:.1f} "
            f"| {peak:.0f} |"
        )


if __name__ == "__main__":
    main()
