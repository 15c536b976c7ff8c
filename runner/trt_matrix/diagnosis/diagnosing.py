"""Diagnoses one network on the host: theory, sensitivity, search, and the confirmation on other images."""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from trt_matrix.core.boxes.evidence import UNKNOWN
from trt_matrix.core.diagnosis.errors import Goal, StateErrors, decibel, failing, goals_of, harmless
from trt_matrix.core.diagnosis.groups import fused_behind, groups
from trt_matrix.core.diagnosis.latencies import (
    ProfileError,
    by_name,
    by_tensors,
    latency_shares,
    work_shares,
)
from trt_matrix.core.diagnosis.quantisers import DiagnosisError, Part, quantised
from trt_matrix.core.diagnosis.record import (
    Diagnosis,
    HeadDiagnosis,
    MeasuredError,
    MixRecord,
    SetRecord,
)
from trt_matrix.core.diagnosis.recording import (
    group_of,
    numbers,
    ordered,
    part,
    set_record,
    suspects,
    tensor_records,
)
from trt_matrix.core.diagnosis.tensors import TensorTheory, best_of_known, expected
from trt_matrix.core.diagnosis.tool_settings import elsewhere
from trt_matrix.core.metrics import metrics
from trt_matrix.core.network.shapes import macs
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import simulation_of
from trt_matrix.core.words import count
from trt_matrix.diagnosis.evaluation import Evaluation
from trt_matrix.diagnosis.implicit import engine_loss
from trt_matrix.diagnosis.searching import Searching
from trt_matrix.diagnosis.sensitivity import Sensitivity, sensitivity
from trt_matrix.diagnosis.simulator import Simulator, whole_outputs
from trt_matrix.diagnosis.subject import DiagnosisWish, Subject, Told
from trt_matrix.diagnosis.theory import theory
from trt_matrix.store.results import Store

ENOUGH = 16
"""Images from which a half is left to confirm on; below, a set is chosen and judged on all."""

WORST_NAMED = 5


def diagnose(subject: Subject, wish: DiagnosisWish, store: Store, told: Told) -> Diagnosis:
    """Finds what int8 loses and what keeping layers in float gives back.

    The store keeps every image's numbers as they are made, so that a killed analysis goes on.

    Raises:
        DiagnosisError: the network cannot be simulated here, or the wish names what it has not.
        graph.GraphError: the table quantises nothing of it.
    """
    clock = _Clock()
    chosen_on, confirmed_on = split(min(wish.images, len(subject.images)))
    in_int8 = quantised(subject.model, subject.table, subject.options)
    simulator = Simulator(in_int8, [tensor for _, tensor in subject.heads])
    _check(subject, simulator)
    notes = list(subject.notes)
    try:
        evaluation = Evaluation(subject, simulator, store, told)
        evaluation.evaluate((), chosen_on[:1], "float and int8")
    except UNKNOWN as error:
        notes.append(f"boxes are not known: {error}")
        subject = dataclasses.replace(subject, decode=None, labels=None, evaluation=())
        evaluation = Evaluation(subject, simulator, store, told)
    clock.lap("preparing")
    every = groups(in_int8)
    of_tensors = theory(subject, simulator, sorted((*chosen_on, *confirmed_on)), told)
    clock.lap("theory")
    known = sensitivity(evaluation, every, chosen_on)
    clock.lap("sensitivity")
    goals = _goals(subject, wish, notes, evaluation, known.full)
    shares, measured = _shares(subject, wish, in_int8.model, notes)
    searching = Searching(
        subject=subject,
        found=in_int8,
        known=known,
        evaluation=evaluation,
        goals=goals,
        most_cost=wish.most_cost,
        shares=shares,
        unit="time" if measured else "work",
        chosen_on=chosen_on,
        confirmed_on=confirmed_on,
    )
    search = searching.run()
    clock.lap("search")
    lost = engine_loss(subject, chosen_on, store, told)
    if subject.builds:
        clock.lap("implicit builds")
    layers = search.chosen.layers if search.chosen else ()
    others = _as_it_is(evaluation, confirmed_on, goals) if confirmed_on else None
    mix = _mixed(evaluation, best_of_known(of_tensors.values()), goals, chosen_on, confirmed_on)
    clock.lap("ranges")
    return Diagnosis(
        name=subject.name,
        run=subject.run,
        model_sha256=subject.model_sha256,
        engine=subject.engine,
        placement=subject.placement,
        table=subject.table_name,
        table_sha256=subject.table.digest,
        cost_unit="measured time" if measured else "multiply-accumulates",
        images_chosen_on=len(chosen_on),
        images_confirmed_on=len(confirmed_on),
        heads=tuple(
            _head(subject, head, known, of_tensors, searching.costs, chosen_on)
            for head, _ in subject.heads
        ),
        whole=numbers(None, known.full.whole),
        tensors=tensor_records(of_tensors, group_of(every)),
        skipped=dict(in_int8.skipped),
        search=search,
        elsewhere=elsewhere(layers, fused_behind(in_int8.model)) if layers else None,
        engine_loss=lost,
        other_images=others,
        mix=mix,
        notes=tuple(notes),
        seconds=clock.laps,
    )


def _shares(
    subject: Subject, wish: DiagnosisWish, model: onnx.ModelProto, notes: list[str]
) -> tuple[Mapping[str, float], bool]:
    """Returns layer that multiplies → its share of what the network costs, and whether that is measured time.

    Raises:
        ProfileError: the profile that was given is not of this network.
    """
    work = macs(model)
    if wish.profile:
        return latency_shares(by_name(wish.profile, work), work), True
    if subject.times is None:
        return work_shares(work), False
    cell, times = subject.times.cell, subject.times.times
    try:
        shares = latency_shares(by_tensors(times.layers, model, work), work)
    except ProfileError as error:
        notes.append(
            f"Layers cost multiply-accumulates, for what {cell} told of their time is no use: {error}"
        )
        return work_shares(work), False
    notes.append(
        f"What a layer costs is the time that it took in {cell}, the median of {count(times.runs, 'run')}."
    )
    return shares, True


def _as_it_is(evaluation: Evaluation, images: Sequence[int], goals: tuple[Goal, ...]) -> SetRecord:
    """Returns what the network costs with all in int8."""
    errors = evaluation.evaluate((), images, "int8 on other images").errors(evaluation.full)
    return set_record((), 0.0, errors, failing(goals, errors))


def _mixed(
    evaluation: Evaluation,
    ranges: Mapping[str, float],
    goals: tuple[Goal, ...],
    chosen_on: Sequence[int],
    confirmed_on: Sequence[int],
) -> MixRecord | None:
    """Evaluates a table in which some tensors have other ranges; None where none has."""
    subject, before = evaluation.subject, evaluation.subject.table
    changed = {name: amax for name, amax in ranges.items() if amax != before.amax.get(name)}
    if not changed:
        return None
    table = dataclasses.replace(
        before,
        amax={**before.amax, **changed},
        unusable={name: why for name, why in before.unusable.items() if name not in changed},
    )
    in_int8 = quantised(subject.model, table, subject.options)
    other = Evaluation(
        dataclasses.replace(subject, table=table),
        Simulator(in_int8, evaluation.tensors),
        evaluation.store,
        evaluation.told,
    )
    return MixRecord(
        changed=len(changed),
        chosen=_as_it_is(other, chosen_on, goals),
        confirmed=_as_it_is(other, confirmed_on, goals) if confirmed_on else None,
    )


def split(images: int) -> tuple[list[int], list[int]]:
    """Returns the images to choose on and those to confirm on: every other one, where there are enough."""
    if images < ENOUGH:
        return list(range(images)), []
    return list(range(0, images, 2)), list(range(1, images, 2))


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


def _check(subject: Subject, simulator: Simulator) -> None:
    """Holds the segments against the whole network: they must give the same bits.

    Raises:
        DiagnosisError: they do not, which would make every number here wrong.
    """
    image, full = subject.image(0), simulator.found.state
    model = place(subject.model, subject.table, simulation_of(subject.options)).model
    whole = whole_outputs(model, image, simulator.heads)
    for head, value in simulator.run(image, full).items():
        if not np.array_equal(value, whole[head], equal_nan=True):
            message = (
                f"head {head!r}: the network in segments does not give what the whole network gives; "
                "this placement cannot be taken apart: report it with the network"
            )
            raise DiagnosisError(message)


def _goals(
    subject: Subject,
    wish: DiagnosisWish,
    notes: list[str],
    evaluation: Evaluation,
    full: StateErrors,
) -> tuple[Goal, ...]:
    heads = dict(subject.heads)
    unknown = [name for name in wish.heads if name not in heads]
    if unknown:
        message = f"no head {unknown[0]!r}; there are {', '.join(heads)}"
        raise DiagnosisError(message)
    wanted = wish.heads or tuple(heads)
    if wish.goals:
        goals = [Goal(head, name, limit) for head in wanted for name, limit in wish.goals]
    else:
        gates = {name: gate for name, gate in subject.gates.items() if name in wanted}
        goals = list(goals_of(gates, None if wish.heads else subject.gate))
        # Gates may be wide: what is lost beyond them is to be mended as well, where anybody would see it.
        goals += harmless(full.whole) if not wish.heads else ()
    boxed = evaluation.boxes.heads if evaluation.boxes else ()
    usable = []
    for goal in goals:
        of_boxes = goal.name != "sqnr_db"
        if of_boxes and not boxed:
            notes.append(f"{goal.text()}: not looked at, since boxes are not known")
        elif of_boxes and goal.where in heads and goal.where not in boxed:
            notes.append(f"{goal.text()}: not looked at, since the head holds no boxes")
        elif goal.name.startswith("ap") and subject.labels is None:
            notes.append(f"{goal.text()}: not looked at, since there are no labels")
        else:
            usable.append(goal)
    return tuple(usable)


def _head(
    subject: Subject,
    head: str,
    known: Sensitivity,
    of_tensors: Mapping[Part, TensorTheory],
    costs: Mapping[str, float],
    images: list[int],
) -> HeadDiagnosis:
    full = known.full.heads[head]
    alone = {parts: errors.heads[head].nmse for parts, errors in known.of_units.items()}
    prediction, avoidable = expected(alone, of_tensors, full.nmse)
    total = sum(errors.heads[head].nmse for errors in known.alone.values())
    parts = [
        part(
            group,
            sum(costs[layer] for layer in group.layers),
            head,
            full=known.full,
            alone=known.alone[group.name],
            left_out=known.left_out[group.name],
            total=total,
            weights_share=known.weights_share(group, head),
        )
        for group in known.groups
        # A group that this head does not depend on costs it nothing, to the bit.
        if known.alone[group.name].heads[head].nmse > 0
    ]
    return HeadDiagnosis(
        head=head,
        int8=numbers(full, full.boxes),
        weights_only_db=decibel(known.weights_only.heads[head].nmse),
        activations_only_db=decibel(known.activations_only.heads[head].nmse),
        predicted_db=decibel(prediction.parts),
        rounding_db=decibel(prediction.rounding),
        beyond_db=prediction.beyond_db,
        trust=prediction.trust,
        measured=tuple(
            MeasuredError(cell=measured.cell, sqnr_db=metrics(measured.sums[head][images]).sqnr_db)
            for measured in subject.measured
            if head in measured.sums
        ),
        worst_images=tuple(
            subject.files[images[place]] for place in known.evaluated.worst[head][:WORST_NAMED]
        ),
        suspects=suspects(avoidable, prediction.parts, of_tensors, group_of(known.groups), parts),
        parts=ordered(parts),
    )
