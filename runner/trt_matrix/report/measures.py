"""What each layer costs, in each way that it is known: by the diagnosis, else by its work alone; pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trt_matrix.core.collecting import grouped
from trt_matrix.core.diagnosis.record import Diagnosis, GroupCost
from trt_matrix.core.judgement import Judgement

WORK = "work"
ALL = ""
"""In place of a head, of what is the same for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    key: str
    name: str
    title: str
    """The same, and in which unit."""
    unit: str
    words: str
    """What a number of it says: `{} dB back in float (◇)`."""
    limits: tuple[float, ...]
    """From which a layer is drawn darker, in `unit`."""
    adds_up: bool
    """Whether what layers have of it can be added; else the worst of them stands for all."""
    values: Mapping[str, Mapping[str, float]]
    """Layer → head → what of it, in `unit`; layers of which that is not known are left out."""

    def of(self, layers: Iterable[str]) -> Mapping[str, float]:
        """Returns head → what these layers have of it together; empty where nothing is known."""
        values = grouped(pair for layer in layers for pair in self.values.get(layer, {}).items())
        return {head: sum(all_) if self.adds_up else max(all_) for head, all_ in values.items()}

    @property
    def by_head(self) -> bool:
        return any(ALL not in of for of in self.values.values())

    def level(self, value: float) -> int:
        """Returns 0 to the number of limits: how many it reaches."""
        return sum(value >= limit for limit in self.limits)


def measures(judgement: Judgement) -> tuple[Measure, ...]:
    """Returns those of which anything is known, what is asked for most first."""
    diagnosis = judgement.diagnosis
    known = [_work(judgement)]
    if diagnosis is not None:
        known = [
            Measure(
                key="sensitivity", name="sensitivity ◇", title="dB back in float ◇", unit="dB",
                words="{} dB back in float ◇", limits=(0.1, 0.3, 0.7, 3), adds_up=False,
                values=_parts(diagnosis, lambda part: part.gain_db),
            ),
            Measure(
                key="own", name="own error ◇", title="own error ◇, % of all", unit="%",
                words="{} % of all errors ◇", limits=(2, 5, 10, 25), adds_up=True,
                values=_parts(diagnosis, lambda part: 100 * part.share),
            ),
            *known,
        ]  # fmt: skip
    return tuple(measure for measure in known if measure.values)


def _parts(
    diagnosis: Diagnosis, value: Callable[[GroupCost], float]
) -> Mapping[str, Mapping[str, float]]:
    groups = grouped(
        (part.group, (head.head, value(part))) for head in diagnosis.heads for part in head.parts
    )
    return {group: dict(values) for group, values in groups.items()}


def _work(judgement: Judgement) -> Measure:
    """Returns the time of layers where an engine's profile was given, else their multiply-accumulates."""
    diagnosis = judgement.diagnosis
    layers = [layer for _, layer in judgement.layers.network.layers] if judgement.layers else []
    whole = sum(layer.macs for layer in layers)
    values = {layer.name: 100 * layer.macs / whole for layer in layers if layer.macs}
    unit = "multiply-accumulates"
    if diagnosis is not None and diagnosis.cost_unit != unit:
        unit = diagnosis.cost_unit
        parts = [part for head in diagnosis.heads for part in head.parts]
        values = {part.group: 100 * part.cost for part in parts if part.cost}
    return Measure(
        key=WORK, name="work" if unit.startswith("multiply") else "latency", title=f"% of {unit}", unit="%", words=f"{{}} % of {unit}",
        limits=(2, 5, 10, 25), adds_up=True,
        values={layer: {ALL: value} for layer, value in values.items()},
    )  # fmt: skip
