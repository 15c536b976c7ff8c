"""From a matrix.yaml or the name of a run to what is diagnosed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from trt_matrix.diagnosis.from_matrix import of_matrix
from trt_matrix.diagnosis.from_run import of_run
from trt_matrix.diagnosis.subject import Subject
from trt_matrix.errors import StoreError
from trt_matrix.planning.arrays import known_data
from trt_matrix.planning.boxes import head_gates, network_gate
from trt_matrix.planning.experiment import Experiment, read_experiment
from trt_matrix.store.results import RunFolder, Store, finished_run

Told = Callable[[str], None]


def opened(what: str, results: Path, table: str | None, told: Told) -> tuple[Subject, Store]:
    """Returns what is to be diagnosed, and the store that keeps what is found.

    Args:
        what: A matrix.yaml, or the name of a run; `latest` is one.
        results: Where results are kept.
        table: Which table: an algorithm, a pass, the beginning of a digest, or a file; None: the one that
            the run's baseline ran with, else the shared one.
        told: Takes what is being done.

    Raises:
        ConfigError: nothing of the kind, or it cannot be diagnosed.
        StoreError: the run cannot be read.
    """
    path = Path(what)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return _of_matrix(path, results, table, told)
    run = finished_run(what, results)
    return of_run(run, table), run.store


def _of_matrix(source: Path, results: Path, table: str | None, told: Told) -> tuple[Subject, Store]:
    experiment = read_experiment(source, [])
    store = Store(results)
    run = last_run(experiment, store)
    if run is not None:
        subject = of_run(run, table)
        config = experiment.checked.config
        # What is asked for now counts, not what the run was asked.
        gates = {
            head_gate.head: head_gate
            for head_gate in head_gates(config, experiment.checked.rankings.rows)
        }
        return dataclasses.replace(subject, gates=gates, gate=network_gate(config)), store
    return of_matrix(experiment, store, table, told), store


def last_run(experiment: Experiment, store: Store) -> RunFolder | None:
    """Returns the newest run of this very network on these very images."""
    data = known_data(experiment.checked, store)
    if data is None:
        return None
    wanted = experiment.network.fp32.sha256
    for path in sorted(store.results.glob("*/manifest.json"), reverse=True):
        if path.parent.is_symlink():
            continue
        run = RunFolder(store, path.parent.name)
        try:
            manifest = run.manifest()
        except StoreError:
            continue  # a damaged run is none to take anything from
        model = manifest.facts.get("model")
        same = isinstance(model, dict) and model.get("sha256") == wanted
        if (
            same
            and manifest.asked
            and manifest.asked.evaluation == data.evaluation
            and manifest.tables
        ):
            return run
    return None
