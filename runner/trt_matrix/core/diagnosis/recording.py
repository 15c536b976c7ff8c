"""From evaluated states to the record: every number of diagnosis.json is made here."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.diagnosis.errors import Goal, HeadErrors, StateErrors, decibel
from trt_matrix.core.diagnosis.groups import Group
from trt_matrix.core.diagnosis.quantisers import Part as Quantiser
from trt_matrix.core.diagnosis.quantisers import activation, weights
from trt_matrix.core.diagnosis.record import (
    GoalRecord,
    GroupCost,
    Numbers,
    SetRecord,
    Suspect,
    TensorDiagnosis,
)
from trt_matrix.core.diagnosis.search import TriedLayers
from trt_matrix.core.diagnosis.tensors import TensorTheory

SUSPECT_SHARE = 0.05
"""Of a head's error, from which a quantiser that costs more than rounding is named."""


def numbers(head: HeadErrors | None, boxes: BoxErrors | None) -> Numbers:
    """Returns what a head, or without one the whole network, keeps."""
    changes = boxes.changes[ALL] if boxes else None
    return Numbers(
        sqnr_db=decibel(head.nmse) if head else None,
        worst_sqnr_db=decibel(head.worst_nmse) if head else None,
        lost=changes.lost if changes else None,
        lost_share=changes.lost_share if changes else None,
        mean_iou=changes.mean_iou if changes else None,
        ap_drop=boxes.ap_drop if boxes else None,
        ap50_drop=boxes.ap50_drop if boxes else None,
    )


def set_record(
    layers: Iterable[str], cost: float, errors: StateErrors, failing: Iterable[Goal]
) -> SetRecord:
    return SetRecord(
        layers=tuple(layers),
        cost=cost,
        whole=numbers(None, errors.whole),
        heads={name: numbers(head, head.boxes) for name, head in errors.heads.items()},
        failing=tuple(map(goal_record, failing)),
    )


def tried_record(tried: TriedLayers, order: Mapping[str, int]) -> SetRecord:
    layers = sorted(tried.layers, key=lambda layer: order[layer])
    return set_record(layers, tried.cost, tried.errors, tried.failing)


def goal_record(goal: Goal) -> GoalRecord:
    return GoalRecord(where=goal.where, name=goal.name, limit=goal.limit)


def part(
    group: Group,
    cost: float,
    head: str,
    *,
    full: StateErrors,
    alone: StateErrors,
    left_out: StateErrors,
    total: float,
    weights_share: float | None,
) -> GroupCost:
    """Returns what a group, whose layers are such a share of the network's `cost`, costs a head.

    In `full` all is in int8, in `alone` this group, in `left_out` all but it. The total is the sum of what every
    group costs this head alone, Σd²/Σr².
    """
    before, after = full.heads[head], left_out.heads[head]
    error = alone.heads[head].nmse
    return GroupCost(
        group=group.name,
        operator=group.operator,
        cost=cost,
        alone_db=decibel(error),
        share=error / total if total > 0 and math.isfinite(error) else 0.0,
        gain_db=gain_db(before.nmse, after.nmse),
        worst_gain_db=gain_db(before.worst_nmse, after.worst_nmse),
        lost_back=_back(before.boxes, after.boxes, lambda boxes: boxes.changes[ALL].lost),
        ap_back=_back(before.boxes, after.boxes, lambda boxes: boxes.ap_drop),
        weights_share=weights_share,
    )


def gain_db(before: float, after: float) -> float:
    """Returns how many dB an error falls by; an error that is gone altogether counts as 120 dB."""
    if not math.isfinite(before) or not math.isfinite(after) or before <= 0:
        return 0.0
    return min(MOST_DB, 10 * math.log10(before / max(after, 1e-30)))


MOST_DB = 120.0
"""Float32 tells no more."""


def _back(
    before: BoxErrors | None, after: BoxErrors | None, value: Callable[[BoxErrors], float | None]
) -> float | None:
    if before is None or after is None:
        return None
    had, has = value(before), value(after)
    return None if had is None or has is None else had - has


def ordered(parts: Iterable[GroupCost]) -> tuple[GroupCost, ...]:
    """Returns parts by what they give back: boxes and AP first where there are any, then dB."""
    return tuple(
        sorted(
            parts,
            key=lambda cost: (
                -round(cost.ap_back or 0.0, 3),
                -(cost.lost_back or 0.0),
                -cost.gain_db,
                -cost.share,
            ),
        )
    )


def suspects(
    avoidable: Mapping[tuple[Quantiser, ...], float],
    total: float,
    theory: Mapping[Quantiser, TensorTheory],
    group_of: Mapping[Quantiser, str],
    parts: Iterable[GroupCost],
) -> tuple[Suspect, ...]:
    """Returns the quantisers that cost a head more than rounding must, the worst first.

    What is avoidable is predicted of it alone; what its group in float gives back was evaluated. Where the head
    loses by that, errors cancel, and it is not named.
    """
    gains = {cost.group: cost.gain_db for cost in parts}
    named = []
    for quantisers, error in avoidable.items():
        share = error / total if total > 0 else 0.0
        if share < SUSPECT_SHARE:
            continue
        known = [(quantiser, theory[quantiser]) for quantiser in quantisers if quantiser in theory]
        (kind, name), worst = max(known, key=lambda pair: pair[1].avoidable)
        group = group_of[kind, name]
        if gains.get(group, 0.0) <= 0:
            continue
        named.append(
            Suspect(
                kind="weights" if kind == "weights" else "activation",
                name=name,
                group=group,
                causes=tuple(map(str, worst.causes)),
                avoidable_share=share,
                gain_db=gains[group],
                images=worst.images,
            )
        )
    return tuple(sorted(named, key=_certain_share, reverse=True))


def _certain_share(suspect: Suspect) -> float:
    """Of a head's error, what a suspect costs by the prediction and by the evaluation alike."""
    return min(suspect.avoidable_share, 1 - 10 ** (-suspect.gain_db / 10))


def tensor_records(
    theory: Mapping[Quantiser, TensorTheory], group_of: Mapping[Quantiser, str]
) -> tuple[TensorDiagnosis, ...]:
    """Returns the record of every quantised activation and of every layer's weights."""
    return tuple(
        TensorDiagnosis(
            kind="weights" if tensor.weights else "activation",
            name=tensor.name,
            group=group_of[quantiser],
            error_steps=tensor.error_steps,
            clipped_share=tensor.clipped_share,
            range=tensor.range,
            amax=tensor.amax,
            next_range=tensor.next_range,
            next_table=tensor.next_table,
            unlike_channels=tensor.unlike_channels,
            avoidable=tensor.avoidable,
            causes=tuple(map(str, tensor.causes)),
            images=tensor.images,
        )
        for quantiser, tensor in theory.items()
    )


def group_of(groups: Sequence[Group]) -> Mapping[Quantiser, str]:
    """Returns quantiser → the group that it moves with."""
    groups_of = {activation(tensor): group.name for group in groups for tensor in group.tensors}
    groups_of |= {weights(layer): group.name for group in groups for layer in group.layers}
    return groups_of
