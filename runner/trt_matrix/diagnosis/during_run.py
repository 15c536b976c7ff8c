"""What a run tries by itself: the layers that `diagnose` would keep in float, where int8 loses what matters."""

from collections.abc import Mapping, Sequence

from trt_matrix.core.answers.wanting import why_mix
from trt_matrix.core.cells import Cell, Status, TableSource
from trt_matrix.core.diagnosis.quantisers import DiagnosisError
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.network.graph import GraphError
from trt_matrix.diagnosis.from_run import of_run
from trt_matrix.diagnosis.running import kept, last_run
from trt_matrix.diagnosis.subject import DiagnosisWish
from trt_matrix.errors import ConfigError
from trt_matrix.execution.progress import Progress
from trt_matrix.judging.run import judgement_of
from trt_matrix.judging.run_files import diagnosis_of
from trt_matrix.planning.experiment import Experiment
from trt_matrix.store.results import RunFolder, Store

Layers = Mapping[bool, Sequence[str]]
"""Whether int8 is implicit → what is to be kept in float there."""


def layers_of_last_run(experiment: Experiment, store: Store) -> Layers:
    """Returns the layers that the newest run of the same network and images found; looks only.

    None where matrix.yaml names them, or wants none to be tried.
    """
    if not experiment.checked.config.quantisation.finds_mixed:
        return {}
    run = last_run(experiment, store)
    diagnosis = diagnosis_of(run) if run else None
    return _layers(diagnosis, experiment.cells) if diagnosis else {}


def _layers(diagnosis: Diagnosis, cells: Sequence[Cell]) -> Layers:
    chosen = diagnosis.search.chosen.layers if diagnosis.search.chosen else ()
    # What implicit builds lose beyond 8 bits has layers of its own.
    layers = {False: chosen, True: layers_to_hold(diagnosis, cells) or chosen}
    return {implicit: names for implicit, names in layers.items() if names}


def layers_to_hold(diagnosis: Diagnosis, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Returns what is held in floating point with the shared table in implicit int8.

    Of what the simulation of implicit builds found, that by which builds with the shared table lose: what
    is lost with the calibrator's own table is no reason to hold anything with another.
    """
    loss = diagnosis.engine_loss
    if loss is None:
        return ()
    shared = {
        cell.id
        for cell in cells
        if cell.pass_.implicit and cell.pass_.source is TableSource.SHARED and not cell.pass_.mixed
    }
    losing = [way for way in loss.ways if shared.intersection(way.cells) and way.lost()]
    if not loss.resizings:
        return loss.layers if losing else ()
    ran = {layer for way in losing for layer in way.in_int8}
    return tuple(layer for layer in loss.layers if layer in ran)


def layers_to_try(run: RunFolder, cells: Sequence[Cell], progress: Progress) -> Layers:
    """Returns the layers to try in float; none where int8 loses nothing that matters, or none would help.

    What is found is written into the run's folder, as by `trt-matrix diagnose`.
    """
    reason = why_mix(judgement_of(run, cells))
    if reason is None:
        return {}
    progress.note(f"{reason}: looking for the layers to keep in float")
    try:
        subject = of_run(run, None)
        diagnosis = kept(
            subject, DiagnosisWish(), run.store, lambda what: progress.stage("diagnose", what)
        )
    except (ConfigError, DiagnosisError, GraphError) as error:
        progress.warn(f"int8-mixed is not tried: {error}")
        return {}
    finally:
        progress.ended("diagnose")
    progress.note(diagnosis.search.sentence)
    if diagnosis.engine_loss:
        progress.note(diagnosis.engine_loss.sentence)
    progress.done("diagnose", Status.OK, f"{sum(diagnosis.seconds.values()):.0f} s", steps=0)
    return _layers(diagnosis, cells)
