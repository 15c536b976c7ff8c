"""GPUs: what they are, which of them a device of matrix.yaml means, and whether one was disturbed.

Pure; `trt_matrix.environments.devices` reads these facts from the driver.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from trt_matrix.core.hosts.processor import Processor

Capability = tuple[int, int]
"""Compute capability: (9, 0) is written 9.0 and sm_90."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """What does not change while the driver stays loaded."""

    index: int
    """As the driver counts; it may be another after a restart."""
    name: str
    uuid: str
    capability: Capability
    data_centre: bool
    """Whether NVIDIA's forward compatibility packages are for it; not for GeForce, RTX and Titan."""
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuState:
    """What a GPU was doing at one moment; None where the card or the driver does not tell."""

    uuid: str
    time_ns: int
    """Of a clock that only moves forward."""
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    set_clocks_mhz: tuple[int, ...] = ()
    """What an administrator can set and an experiment must not change under way."""
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: int | None = None
    utilisation: float | None = None
    """Share of the last sample period in which a kernel ran, 0 to 1."""
    slowdowns: tuple[str, ...] = ()
    """Why its clocks are held below what it was asked for, heat and hardware only."""
    held_back_ns: dict[str, int] = field(default_factory=dict)
    """cause → time since the driver was loaded in which the clocks were held back."""
    processes: tuple[str, ...] = ()
    """Compute processes on it that are not ours: `python (4711)`."""


BUSY = 0.05
"""Utilisation above which an idle GPU is called busy: a display takes a few per cent."""

HELD_BACK = 0.05
"""Share of the time with clocks held back that a latency does not notice."""

OWN_LOAD = "power"
"""Of what holds clocks back, that which a job does to itself: measured again, it would again."""


def written(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"


def words(name: str) -> tuple[str, ...]:
    """Returns the parts of a GPU's name that tell cards apart.

    >>> words("NVIDIA A100-SXM4-80GB")
    ('a', '100', 'sxm', '4', '80', 'gb')
    """
    parts = re.findall(r"[a-z]+|[0-9]+", name.casefold())
    return tuple(part for part in parts if part not in ("nvidia", "tesla", "geforce"))


def holds(name: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Says whether `wanted` stands in `name` as whole words, in order and side by side."""
    size = len(wanted)
    return size > 0 and any(name[at : at + size] == wanted for at in range(len(name)))


def meant(device: str, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Returns the GPUs that a device of matrix.yaml means: `gpu:*`, `gpu:0`, `gpu:T4`, a uuid."""
    if device.startswith("GPU-"):
        return tuple(gpu for gpu in gpus if gpu.uuid.casefold() == device.casefold())
    wanted = device.removeprefix("gpu:")
    if wanted == "*":
        return tuple(gpus)
    if wanted.isdecimal():
        return tuple(gpu for gpu in gpus if gpu.index == int(wanted))
    named = [gpu for gpu in gpus if words(gpu.name) == words(wanted)]
    # An RTX 4070 is no RTX 4070 Ti where both are there.
    return tuple(named or [gpu for gpu in gpus if holds(words(gpu.name), words(wanted))])


def absent(device: str, gpus: Sequence[Gpu]) -> str | None:
    """Returns that a device means none of these GPUs, and which there are; None where it means one."""
    if meant(device, gpus):
        return None
    here = ", ".join(f"gpu:{gpu.index} ({gpu.name})" for gpu in gpus) or "none"
    return f"no GPU here is {device}; there is {here}"


def expanded(devices: Sequence[str], gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Returns the devices with every GPU once, as `gpu:0`, …; what means no GPU here stays as it is.

    Two ways to write one GPU become one device, or it would be measured twice.
    """
    every: list[str] = []
    for device in devices:
        chosen = () if device == "cpu" else meant(device, gpus)
        every += [f"gpu:{gpu.index}" for gpu in chosen] or [device]
    return tuple(dict.fromkeys(every))


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where jobs run: one machine, its driver and its GPUs."""

    name: str = ""
    """Of `hosts:` in matrix.yaml; empty for the one that the runner is on."""
    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    processor: Processor | None = None
    """None where it is not known before a job ran there."""

    def decides(self, device: str) -> str:
        """Returns what of a device decides numbers: `gpu:0` may be another card tomorrow."""
        gpu = self._gpu(device)
        if gpu is None:
            return device
        return f"{gpu.uuid} {gpu.name} {written(gpu.capability)} driver {self.driver}"

    def place(self, device: str) -> str:
        """Returns the one name of what jobs cannot share: a GPU, or the processor of a machine."""
        gpu = self._gpu(device)
        if gpu is not None:
            return gpu.uuid
        return f"{self.name}/{device}" if self.name else device

    def _gpu(self, device: str) -> Gpu | None:
        return next(iter(meant(device, self.gpus)), None) if device != "cpu" else None


def disturbed(before: GpuState, after: GpuState) -> str | None:
    """Returns why what was timed between two moments is not to be trusted; None where it is.

    Both are taken while none of our own jobs runs on the GPU.
    """
    if before.uuid != after.uuid:
        return f"another GPU: {before.uuid} before, {after.uuid} after"
    if others := sorted({*before.processes, *after.processes}):
        return f"the GPU was busy with {', '.join(others)}"
    if before.utilisation is not None and before.utilisation > BUSY:
        return f"the GPU was busy: {before.utilisation:.0%} used before the job"
    if before.set_clocks_mhz != after.set_clocks_mhz:
        return f"its clocks were set from {_mhz(before)} to {_mhz(after)}"
    if before.power_limit_w != after.power_limit_w:
        return f"its power limit went from {before.power_limit_w} W to {after.power_limit_w} W"
    if slow := sorted({*before.slowdowns, *after.slowdowns}):
        return f"it was throttled: {', '.join(slow)}"
    return _held_back(before, after)


def _held_back(before: GpuState, after: GpuState) -> str | None:
    passed_ns = after.time_ns - before.time_ns
    for cause, total_ns in sorted(after.held_back_ns.items()):
        held_ns = total_ns - before.held_back_ns.get(cause, total_ns)
        if cause != OWN_LOAD and passed_ns > 0 and held_ns > HELD_BACK * passed_ns:
            return f"it was throttled: {cause} held its clocks back {held_ns / passed_ns:.0%} of the time"
    return None


def _mhz(state: GpuState) -> str:
    return "/".join(map(str, state.set_clocks_mhz)) + " MHz" if state.set_clocks_mhz else "unset"
