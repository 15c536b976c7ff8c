"""What a finished run holds of its network: enough to diagnose it without matrix.yaml or the images."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from trt_matrix.core.cells import Status, TableSource
from trt_matrix.core.layers.choices import choices
from trt_matrix.core.layers.precisions import LayersOf
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import Sums, metrics
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.core.qdq.placements import Placed, kept_in_float, placed_of, rules_of
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.tables import reading
from trt_matrix.core.tables.table import Table, TableError
from trt_matrix.diagnosis.measured import SumsOf, built, measured, timed
from trt_matrix.diagnosis.subject import Builds, Subject, comparable
from trt_matrix.errors import ConfigError, GoneError
from trt_matrix.judging.run_files import layers_of, tables_of, times_of
from trt_matrix.store.results import RunFolder, Store

QUANTISED = (
    "The network came quantised: what is diagnosed is its float form, with Q/DQ placed here and not where it "
    "had its own."
)

QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"})


def of_run(run: RunFolder, table: str | None) -> Subject:
    """Returns what is diagnosed of a run.

    Which `table` is said as in `running.opened`.

    Raises:
        ConfigError: what it would need is no longer stored, or it has no such table.
        StoreError: the run cannot be read.
    """
    manifest, records = run.manifest(), run.records()
    source = f"run {run.id}"
    asked = manifest.asked
    model = manifest.facts.get("model")
    sha256 = model.get("sha256") if isinstance(model, dict) else None
    if asked is None or not isinstance(sha256, str):
        raise ConfigError(source, ["it was made before networks were kept: run it again"])
    file = StoredObject(sha256=sha256, suffix=".onnx", size_bytes=0)
    network = _network(run.store, file, source)
    base = _baseline(manifest, records)
    known = _tables_of(run, manifest)
    chosen, name = _chosen(table, known, base, source)
    placed = _placed(manifest, base)
    exclude = base.exclude if base else ()
    sums_of = _sums_of(run.store, manifest)
    heads, notes = comparable(asked.heads, manifest.ranked, manifest.decode, source)
    if any(record.pass_.source is TableSource.SHIPPED for record in records):
        notes = (QUANTISED, *notes)
    return Subject(
        name=manifest.name,
        model=network,
        model_sha256=sha256,
        heads=heads,
        table=chosen,
        table_name=name,
        others={label: other for label, other in known.items() if other.digest != chosen.digest},
        engine=placed.engine,
        placement=placed.name,
        options=placed.options(exclude),
        images=_array(run.store, asked.evaluation, source),
        images_sha256=asked.evaluation.sha256,
        files=_files(manifest),
        gates={gate.head: gate for gate in manifest.heads},
        gate=manifest.gate,
        decode=manifest.decode,
        labels=manifest.labels,
        evaluation=manifest.evaluation,
        measured=measured(records, manifest.reference, chosen, placed, sums_of),
        builds=builds_of(
            manifest,
            records,
            known,
            network_map(network, asked.heads),
            functools.cache(layers_of(run.store)),
            sums_of,
        ),
        times=timed(
            records,
            [name for name, engine in asked.engines.items() if engine == placed.engine],
            manifest.baseline,
            chosen,
            times_of(run.store),
        ),
        run=run.id,
        folder=run.folder,
        notes=notes,
    )


def _network(store: Store, file: StoredObject, source: str) -> onnx.ModelProto:
    try:
        network = canonical(onnx.load(store.path(file), load_external_data=False))
        require_float(network, source)
    except OSError as error:
        problem = "its network is no longer stored: run it again"
        raise ConfigError(source, [problem]) from error
    except (DecodeError, GraphError) as error:
        raise ConfigError(source, [f"its network cannot be diagnosed: {error}"]) from error
    return network


def require_float(network: onnx.ModelProto, source: str) -> None:
    """Raises ConfigError where a network came quantised: what its float form would give is not known."""
    for node in network.graph.node:
        if node.op_type in QUANTISING:
            problem = (
                f"the network came quantised (node {node.name!r}): diagnose the float network that it was "
                "made of, or set `model: {quantised: strip}`"
            )
            raise ConfigError(source, [problem])


def _array(store: Store, stored: StoredObject, source: str) -> Any:
    if not store.has(stored):
        problem = "its evaluation images are no longer stored: run it again"
        raise ConfigError(source, [problem])
    return store.array(stored)


def _files(manifest: Manifest) -> tuple[str, ...]:
    if manifest.evaluation:
        return tuple(image.file_name for image in manifest.evaluation)
    return tuple(f"image {number}" for number in range(manifest.images))


@dataclass(frozen=True, slots=True)
class _Base:
    """What the baseline ran in int8."""

    measurement: Measurement
    exclude: tuple[str, ...]
    """Layers that matrix.yaml keeps in float."""


def _placed(manifest: Manifest, base: _Base | None) -> Placed:
    """Returns the placement that is simulated: the baseline's own, else what its engine needs."""
    if base and (placed := placed_of(base.measurement.placement or "")):
        return placed
    asked = manifest.asked.engines if manifest.asked else {}
    engine = rules_of(asked.get(manifest.baseline, ""))
    return Placed(engine=engine, in_float=kept_in_float(base.exclude if base else ()))


def _baseline(manifest: Manifest, records: Sequence[Record]) -> _Base | None:
    """Returns the baseline's int8 measurement with the shared table, else with one of its own."""
    bases = [
        _Base(measurement, record.pass_.exclude)
        for source in (TableSource.SHARED, TableSource.OWN, TableSource.SHIPPED)
        for record in records
        if record.environment == manifest.baseline
        and record.pass_.source is source
        and not record.pass_.mixed
        for measurement in record.measurements
        if measurement.status is Status.OK and measurement.table in manifest.tables
    ]
    return bases[0] if bases else None


def _tables_of(run: RunFolder, manifest: Manifest) -> dict[str, Table]:
    """Returns what it is called → table, for those that are still in the run's folder."""
    tables: dict[str, Table] = {}
    for digest, table in tables_of(run, manifest):
        provenance = table.provenance
        label = f"{provenance.algorithm} of {provenance.environment or 'an unknown maker'}"
        if provenance.note:
            label += f" ({digest[:8]})"
        tables[label if label not in tables else f"{label} {digest[:8]}"] = table
    return tables


def _chosen(
    wanted: str | None, known: Mapping[str, Table], base: _Base | None, source: str
) -> tuple[Table, str]:
    usable = {name: table for name, table in known.items() if table.amax}
    if wanted is not None:
        return named_table(wanted, usable, source)
    ran = base.measurement.table if base else None
    plain = [name for name, table in usable.items() if table.provenance.note is None]
    for name in (*(name for name, table in usable.items() if table.digest == ran), *plain):
        return usable[name], name
    problem = "it has no table to diagnose: it ran nothing in int8, or its tables are gone"
    raise ConfigError(source, [problem])


def named_table(wanted: str, known: Mapping[str, Table], source: str) -> tuple[Table, str]:
    """Returns a table that the user named, and what it is called.

    Raises:
        ConfigError: there is none of that name, or the file is no table.
    """
    path = Path(wanted)
    if path.is_file():
        return _read_table(path), path.name
    # Those that somebody made come before those that a note explains.
    for name, table in sorted(known.items(), key=lambda pair: pair[1].provenance.note is not None):
        if wanted in (name, table.provenance.algorithm) or (
            len(wanted) >= 6 and table.digest.startswith(wanted)
        ):
            return table, name
    listed = ", ".join(known) or "none"
    problem = f"no table {wanted!r}, and no such file; there are {listed}"
    raise ConfigError(source, [problem])


def _read_table(path: Path) -> Table:
    try:
        return reading.read(content_of(path, reading.LIMIT_BYTES, "table")).table()
    except TableError as error:
        raise ConfigError(str(path), [str(error)]) from error


def content_of(path: Path, most_bytes: int, what: str) -> bytes:
    """Returns a file's content; raises ConfigError where it cannot be read, or is larger than any `what`."""
    try:
        if path.stat().st_size > most_bytes:
            raise ConfigError(str(path), [f"larger than {most_bytes >> 20} MB: no {what} is"])
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), [error.strerror or "cannot be read"]) from error


def _sums_of(store: Store, manifest: Manifest) -> SumsOf:
    @functools.cache
    def sums_of(output: StoredObject, reference: StoredObject) -> Sums | None:
        try:
            return store.sums(output, reference, manifest.epsilon)
        except GoneError:
            return None

    return sums_of


def builds_of(
    manifest: Manifest,
    records: Sequence[Record],
    tables: Mapping[str, Table],
    network: NetworkMap,
    layers_of: LayersOf,
    sums_of: SumsOf,
) -> Builds | None:
    """Returns the implicit builds of a run; None where it has none."""
    builds = built(records, manifest.reference, tables, network, layers_of, sums_of)
    if not builds:
        return None

    def sqnr_of(head: str, output: StoredObject) -> float | None:
        outputs = manifest.reference.outputs if manifest.reference else {}
        sums = sums_of(output, outputs[head]) if head in outputs else None
        return None if sums is None else metrics(sums).sqnr_db

    implicit = [record for record in records if record.pass_.implicit]
    chosen = choices(network, implicit, layers_of, sqnr_of)
    return Builds(network=network, built=builds, choices=chosen)
