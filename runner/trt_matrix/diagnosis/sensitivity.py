"""Which states are computed to know what every group costs, and what they come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.diagnosis.errors import Goal, StateErrors
from trt_matrix.core.diagnosis.groups import Group
from trt_matrix.core.diagnosis.quantisers import Part, State, activation, weights
from trt_matrix.diagnosis.evaluation import Evaluated, Evaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """The activations of a group, or its weights."""

    group: Group
    parts: tuple[Part, ...]
    state: State
    """With these alone in int8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """What every group, and each half of it, costs on the images that were looked at."""

    groups: tuple[Group, ...]
    units: tuple[Unit, ...]
    full: StateErrors
    weights_only: StateErrors
    activations_only: StateErrors
    alone: Mapping[str, StateErrors]
    """Group → with it alone in int8."""
    left_out: Mapping[str, StateErrors]
    """Group → with it alone in float."""
    of_units: Mapping[tuple[Part, ...], StateErrors]
    """Parts of a unit → with them alone in int8."""
    evaluated: Evaluated

    def weights_share(self, group: Group, head: str) -> float | None:
        """Returns what share of a group's error its weights make; None where it has no weights, or nothing else."""
        units = [unit for unit in self.units if unit.group is group]
        if len(units) < 2:
            return None
        errors = {unit.parts[0][0]: self.of_units[unit.parts].heads[head].nmse for unit in units}
        total = sum(errors.values())
        return errors["weights"] / total if total > 0 else None

    def gains(self, goal: Goal) -> Mapping[Part, float]:
        """Returns part → what leaving it in float should give back of what a limit is about.

        Parts of one unit move together, so the first stands for all. Of SQNR it is the error that the
        unit makes alone: such errors add up. What a group does to boxes is the mean of what it costs
        alone and what comes back without it, shared between its units as their errors are.
        """
        result: dict[Part, float] = {}
        for group in self.groups:
            units = [unit for unit in self.units if unit.group is group]
            if goal.name == "sqnr_db":
                for unit in units:
                    result[unit.parts[0]] = goal.loss(self.of_units[unit.parts])
                continue
            alone = goal.loss(self.alone[group.name])
            back = goal.loss(self.full) - goal.loss(self.left_out[group.name])
            gain = max(0.0, (max(0.0, alone) + max(0.0, back)) / 2)
            of_heads = [self.of_units[unit.parts].heads.values() for unit in units]
            errors = [sum(head.nmse for head in heads) for heads in of_heads]
            total = sum(errors)
            for unit, error in zip(units, errors, strict=True):
                result[unit.parts[0]] = gain * (error / total if total > 0 else 1 / len(units))
        return {part: gain for part, gain in result.items() if 0 < gain < float("inf")}


def units_of(groups: Sequence[Group], every: State) -> tuple[Unit, ...]:
    """Returns the activations of every group, and its weights, where it has any."""
    units = []
    for group in groups:
        if group.tensors:
            parts, state = map(activation, group.tensors), every.with_only(group.tensors, ())
            units.append(Unit(group=group, parts=tuple(parts), state=state))
        if group.layers:
            parts, state = map(weights, group.layers), every.with_only((), group.layers)
            units.append(Unit(group=group, parts=tuple(parts), state=state))
    return tuple(units)


def sensitivity(
    evaluation: Evaluation, groups: Sequence[Group], images: Sequence[int]
) -> Sensitivity:
    """Computes every group alone in int8, alone in float, and its halves."""
    every = evaluation.full
    units = units_of(groups, every)
    weights_only = State(frozenset(), every.layers)
    activations_only = State(every.pairs, frozenset())
    alone = {group.name: group.alone(every) for group in groups}
    left_out = {group.name: group.left_out(every) for group in groups}
    states = [weights_only, activations_only, *alone.values(), *left_out.values()]
    what = f"{len(groups)} groups, alone and left out"
    evaluated = evaluation.evaluate(states, images, what, bare=[unit.state for unit in units])

    def errors(states_of: Mapping[str, State]) -> Mapping[str, StateErrors]:
        result = {}
        for number, (name, state) in enumerate(states_of.items()):
            evaluation.told(f"boxes of groups: {number + 1} of {len(states_of)}")
            result[name] = evaluated.errors(state)
        return result

    return Sensitivity(
        groups=tuple(groups),
        units=units,
        full=evaluated.errors(every),
        weights_only=evaluated.errors(weights_only),
        activations_only=evaluated.errors(activations_only),
        alone=errors(alone),
        left_out=errors(left_out),
        of_units={unit.parts: evaluated.errors(unit.state, precision=False) for unit in units},
        evaluated=evaluated,
    )
