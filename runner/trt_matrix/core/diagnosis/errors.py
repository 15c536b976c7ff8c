"""What one state of a network costs: errors and boxes of each head, and of the whole network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.cells import Precision
from trt_matrix.core.manifest import Gate, HeadGate, Limits
from trt_matrix.core.metrics import Metrics, Sums, metrics
from trt_matrix.core.severity import AP, LOST
from trt_matrix.core.verdicts.gates import SPOKEN, WHOLE_NETWORK, gate_results

WORST_SHARE = 0.25
"""Share of the images that are called the worst of a head: those with the largest error by int8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadErrors:
    """What one head loses in one state."""

    error: Metrics
    """Over all images."""
    worst: Metrics
    """Over the worst images."""
    boxes: BoxErrors | None = None
    """None where the run decodes none of it."""

    @property
    def nmse(self) -> float:
        """Σd² / Σr², infinite where an output is not finite or has no energy to be held against."""
        return _nmse(self.error)

    @property
    def worst_nmse(self) -> float:
        return _nmse(self.worst)


@dataclass(frozen=True, kw_only=True, slots=True)
class StateErrors:
    """What every head, and the whole network, loses in one state."""

    heads: Mapping[str, HeadErrors]
    whole: BoxErrors | None = None


@dataclass(frozen=True, slots=True, order=True)
class Goal:
    """One limit that is to be kept: of a head, or of the whole network."""

    where: str
    """A head, or `gates.WHOLE_NETWORK`."""
    name: str
    """As in a gate: `sqnr_db`, `ap_drop`, `ap50_drop`, `iou`, `lost`."""
    limit: float

    @property
    def allowed(self) -> float:
        """Returns the most that may be lost, as `loss` counts it."""
        return loss_of(self.name, self.limit)

    def loss(self, errors: StateErrors) -> float:
        """Returns what is lost, infinite where it is not known: Σd²/Σr² for SQNR, 1 − IoU, else the drop."""
        return loss(errors, self.where, self.name)

    def text(self) -> str:
        spoken = SPOKEN[self.name]
        side = "at most" if spoken.upper else "at least"
        return f"{self.where}: {spoken.name} {side} {self.limit:g}{spoken.unit}"


def loss_of(name: str, value: float) -> float:
    """Returns a gate's value as something that is lost: less is better, nothing lost is 0."""
    if name == "sqnr_db":
        return float(10.0 ** (-value / 10.0))
    return 1.0 - value if name == "iou" else value


def loss(errors: StateErrors, where: str, name: str) -> float:
    """Returns what a head, or the whole network, loses by one measure; infinite where it is not known."""
    head = errors.heads.get(where)
    if name == "sqnr_db":
        return head.nmse if head else math.inf
    boxes = errors.whole if where == WHOLE_NETWORK else head.boxes if head else None
    if boxes is None:
        return math.inf
    value = {
        "ap_drop": boxes.ap_drop,
        "ap50_drop": boxes.ap50_drop,
        "iou": boxes.changes[ALL].mean_iou,
        "lost": boxes.changes[ALL].lost_share,
    }[name]
    return math.inf if value is None else loss_of(name, value)


def goals_of(heads: Mapping[str, HeadGate], whole: Gate | None) -> tuple[Goal, ...]:
    """Returns every limit that int8 has to keep."""
    goals = [
        Goal(name, limit, value)
        for name, gate in heads.items()
        for limit, value in gate.limits(Precision.INT8).named.items()
    ]
    if whole is not None:
        limits = whole.limits(Precision.INT8).named
        goals += [Goal(WHOLE_NETWORK, limit, value) for limit, value in limits.items()]
    return tuple(goals)


def harmless(whole: BoxErrors | None) -> tuple[Goal, ...]:
    """Returns limits within which nobody would see a loss of boxes: of AP too, where there are labels.

    A single box is no loss that a set of layers could be held to.
    """
    if whole is None or not whole.changes[ALL].reference:
        return ()
    goals = [Goal(WHOLE_NETWORK, "lost", max(LOST[0], 1 / whole.changes[ALL].reference))]
    if whole.ap_drop is not None:
        goals.append(Goal(WHOLE_NETWORK, "ap_drop", AP[0]))
    return tuple(goals)


def holds(goal: Goal, errors: StateErrors) -> bool:
    """Judges one limit as a run's gate is judged."""
    head = errors.heads.get(goal.where)
    limits = Limits(**{goal.name: goal.limit})
    if goal.where == WHOLE_NETWORK:
        (result,) = gate_results(limits, None, errors.whole)
    else:
        (result,) = gate_results(limits, head.error if head else None, head.boxes if head else None)
    return result.passed


def failing(goals: tuple[Goal, ...], errors: StateErrors) -> tuple[Goal, ...]:
    """Returns the limits that are not kept."""
    return tuple(goal for goal in goals if not holds(goal, errors))


def state_errors(
    sums: Sums,
    worst: Mapping[str, list[int]],
    boxes: Mapping[str, BoxErrors],
    whole: BoxErrors | None,
) -> StateErrors:
    """Returns the errors of one state over all images, and over those that are the worst of each head.

    Args:
        sums: Shape (images, heads).
        worst: Every head, in the order of the second axis → places of its worst images.
        boxes: Head → what became of its boxes, over all these images; none where they are not known.
        whole: The same of the whole network.
    """
    heads = {
        head: HeadErrors(
            error=metrics(sums[:, index]), worst=metrics(sums[places, index]), boxes=boxes.get(head)
        )
        for index, (head, places) in enumerate(worst.items())
    }
    return StateErrors(heads=heads, whole=whole)


def worst_images(heads: tuple[str, ...], sums: Sums) -> Mapping[str, list[int]]:
    """Returns head → places of the images with the largest relative error in int8, the largest first.

    `sums` has the shape (images, heads).
    """
    count = max(1, math.ceil(WORST_SHARE * len(sums)))
    worst = {}
    for index, head in enumerate(heads):
        with np.errstate(divide="ignore", invalid="ignore"):
            error, energy = sums["d2"][:, index], sums["r2"][:, index]
            share = np.where(energy > 0, error / energy, 0.0)
        worst[head] = list(map(int, np.argsort(-share, kind="stable")[:count]))
    return worst


def _nmse(error: Metrics) -> float:
    return math.inf if error.nonfinite or error.nmse is None else error.nmse


def decibel(nmse: float) -> float | None:
    """Returns SQNR of a relative error in dB; None where nothing is lost, or the error is not finite."""
    return None if nmse <= 0 or not math.isfinite(nmse) else -10 * math.log10(nmse)
