"""A matrix.yaml that was never run: its tables are made here, in this process."""

import json
from pathlib import Path

from trt_matrix.containers.job.calibrate import calibrate, tables
from trt_matrix.containers.job.engines.onnxruntime import Engine
from trt_matrix.core.hosts.gpus import Machine
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.placements import Placed, activations_for, kept_in_float, rules_of
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.diagnosis.from_run import QUANTISED, named_table, require_float
from trt_matrix.diagnosis.subject import Subject, Told, comparable
from trt_matrix.errors import ConfigError
from trt_matrix.judging.box_facts import box_facts
from trt_matrix.planning.arrays import data_of
from trt_matrix.planning.boxes import head_gates, network_gate
from trt_matrix.planning.experiment import Experiment
from trt_matrix.store.results import Store

HERE = "this machine"


def of_matrix(experiment: Experiment, store: Store, table: str | None, told: Told) -> Subject:
    """Returns what is diagnosed of an experiment, calibrated here.

    Which `table` is said as in `running.opened`.

    Raises:
        ConfigError: the network came quantised, an image cannot be read, or there is no such table.
    """
    checked, network = experiment.checked, experiment.network
    source = str(experiment.source)
    if network.shipped and network.shipped.no_float:
        problem = f"the network came quantised and has no float form: {network.shipped.no_float}"
        raise ConfigError(source, [problem])
    model = canonical(network.model)
    require_float(model, source)
    told("preparing images")
    data = data_of(checked, store)
    network.put_into(store)
    tables = _tables(experiment, store, data.calibration, told)
    shared = checked.config.calibration.shared
    given = experiment.given
    if given is not None:
        tables = {given.file: given.table, **tables}
    if table is not None:
        chosen, name = named_table(table, tables, source)
    else:
        # `best` is made of all by a search that belongs to a run.
        wanted = f"{shared} of {HERE}"
        name = wanted if wanted in tables else next(iter(tables))
        chosen = tables[name]
    placed = _placed(experiment, store)
    facts = box_facts(checked, store.put)
    config = checked.config
    heads, notes = comparable(checked.heads, checked.rankings.rows, facts.get("decode"), source)
    return Subject(
        name=config.name,
        model=model,
        model_sha256=network.fp32.sha256,
        heads=heads,
        table=chosen,
        table_name=name,
        others={label: other for label, other in tables.items() if other.digest != chosen.digest},
        engine=placed.engine,
        placement=placed.name,
        options=placed.options(config.quantisation.exclude),
        images=store.array(data.evaluation),
        images_sha256=data.evaluation.sha256,
        files=tuple(path.name for path in checked.evaluation),
        gates={gate.head: gate for gate in head_gates(config, checked.rankings.rows)},
        gate=network_gate(config),
        decode=facts.get("decode"),
        labels=facts.get("labels"),
        evaluation=facts.get("evaluation", ()),
        run=None,
        folder=store.results,
        notes=(
            "There is no run of this network: its tables were made here, nothing is measured.",
            *((QUANTISED,) if network.shipped else ()),
            *notes,
        ),
    )


def _placed(experiment: Experiment, store: Store) -> Placed:
    """Returns the placement that the baseline would have on its processor."""
    baseline = experiment.checked.baseline
    engine = rules_of(experiment.environments[baseline].engine)
    asked = experiment.wants(data_of(experiment.checked, store)).settings.quantisation
    choice = activations_for(
        engine,
        on_cpu=True,
        asked=asked.activations,
        processor=experiment.machines.get(baseline, Machine()).processor,
    )
    return Placed(
        engine=engine,
        activations=choice.activations,
        int8_outputs=asked.int8_outputs,
        in_float=kept_in_float(experiment.checked.config.quantisation.exclude),
    )


def _tables(
    experiment: Experiment, store: Store, images: StoredObject, told: Told
) -> dict[str, Table]:
    """Returns what it is called → table, made of the calibration images in this process, and kept."""
    network = experiment.network
    settings = experiment.wants(data_of(experiment.checked, store)).settings
    options = settings.algorithms
    algorithms = [{"name": name, "options": dict(options[name])} for name in options]

    def make(target: Path) -> None:
        engine = Engine({"graph_optimization": "disabled"})
        session = engine.build(str(store.path(network.calibration)), "fp32", None, None)
        histograms = calibrate(
            session,
            settings.input,
            store.array(images),
            list(network.tensors),
            [str(algorithm["name"]) for algorithm in algorithms],
            lambda done: told(f"calibrating: image {done}"),
            settings.batch,
        )
        target.write_text(json.dumps(tables(histograms, algorithms)))

    key = {
        "diagnosis tables": 1,
        "model": network.calibration.sha256,
        "images": images.sha256,
        "algorithms": algorithms,
        # Not in full: what a derived object is made of is read from the digests in its key.
        "program": settings.program[:40],
    }
    calibrated = json.loads(store.path(store.derive(key, ".json", make)).read_text())
    return {
        f"{algorithm} of {HERE}": from_ranges(
            ranges,
            Provenance(
                algorithm=algorithm,
                environment=HERE,
                images_sha256=images.sha256,
                preprocess_sha256=settings.preprocess,
                model_sha256=network.fp32.sha256,
            ),
        )
        for algorithm, ranges in calibrated["algorithms"].items()
    }
