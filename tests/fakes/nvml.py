"""A driver in place of NVIDIA's: the functions of `pynvml` that are used, with scripted answers.

Its surface is held against the real module by tests/unit/test_devices.py. The values of `H200` were
read from a real NVIDIA H200 with driver 580.159.04, idle.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml


@dataclass
class Card:
    name: str = "NVIDIA H200"
    uuid: str = "GPU-d3615187-a850-b4eb-26fa-36c0adccf198"
    brand: int = pynvml.NVML_BRAND_NVIDIA
    capability: tuple[int, int] = (9, 0)
    memory: int = 150_754_820_096
    clocks: dict[int, int] = field(
        default_factory=lambda: {pynvml.NVML_CLOCK_SM: 375, pynvml.NVML_CLOCK_MEM: 3201}
    )
    set_clocks: dict[int, int] = field(
        default_factory=lambda: {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201}
    )
    power_mw: int = 87_669
    limit_mw: int = 700_000
    temperature: int = 42
    used: int = 0
    reasons: int = pynvml.nvmlClocksThrottleReasonGpuIdle
    held_back: dict[int, int] = field(
        default_factory=lambda: {
            pynvml.NVML_PERF_POLICY_POWER: 0,
            pynvml.NVML_PERF_POLICY_THERMAL: 0,
            pynvml.NVML_PERF_POLICY_BOARD_LIMIT: 0,
            pynvml.NVML_PERF_POLICY_RELIABILITY: 0,
        }
    )
    pids: tuple[int, ...] = ()
    refuses: dict[str, int] = field(default_factory=dict)
    """Function → the error that it answers with."""


class Nvml:
    """`pynvml`'s functions over scripted cards; handles are the cards themselves."""

    def __init__(self, *cards: Card, driver: str = "580.159.04", start: int | None = None) -> None:
        self.cards = cards
        self.driver = driver
        self.start = start
        """The error that initialisation ends with."""
        self.opened = 0
        self.process_names: dict[int, str] = {}

    def install(self, monkeypatch: Any) -> "Nvml":
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, getattr(self, name))
        return self

    def _answer(self, handle: Card, name: str, value: Any) -> Any:
        assert self.opened > 0, f"{name} before nvmlInit"
        if name in handle.refuses:
            raise pynvml.NVMLError(handle.refuses[name])
        return value

    def nvmlInit(self) -> None:  # noqa: N802
        if self.start is not None:
            raise pynvml.NVMLError(self.start)
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return self.driver

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802
        return 13000

    def nvmlSystemGetProcessName(self, pid: int) -> str:  # noqa: N802
        if pid not in self.process_names:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.process_names[pid]

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:  # noqa: N802
        card = self.cards[index]
        return self._answer(card, "nvmlDeviceGetHandleByIndex", card)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Card:  # noqa: N802
        for card in self.cards:
            if card.uuid == uuid:
                return card
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetName(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetName", handle.name)

    def nvmlDeviceGetUUID(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetUUID", handle.uuid)

    def nvmlDeviceGetBrand(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetBrand", handle.brand)

    def nvmlDeviceGetCudaComputeCapability(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetCudaComputeCapability", handle.capability)

    def nvmlDeviceGetMemoryInfo(self, handle: Card) -> Any:  # noqa: N802
        total = SimpleNamespace(total=handle.memory, free=handle.memory, used=0)
        return self._answer(handle, "nvmlDeviceGetMemoryInfo", total)

    def nvmlDeviceGetClockInfo(self, handle: Card, type: int) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetClockInfo", handle.clocks[type])

    def nvmlDeviceGetApplicationsClock(self, handle: Card, type: int) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetApplicationsClock", handle.set_clocks[type])

    def nvmlDeviceGetPowerUsage(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetPowerUsage", handle.power_mw)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetEnforcedPowerLimit", handle.limit_mw)

    def nvmlDeviceGetTemperature(self, handle: Card, sensor: int) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetTemperature", handle.temperature)

    def nvmlDeviceGetUtilizationRates(self, handle: Card) -> Any:  # noqa: N802
        rates = SimpleNamespace(gpu=handle.used, memory=0)
        return self._answer(handle, "nvmlDeviceGetUtilizationRates", rates)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Card) -> Any:  # noqa: N802
        return self._answer(handle, "nvmlDeviceGetCurrentClocksThrottleReasons", handle.reasons)

    def nvmlDeviceGetViolationStatus(self, device: Card, perfPolicyType: int) -> Any:  # noqa: N802, N803
        status = SimpleNamespace(referenceTime=0, violationTime=device.held_back[perfPolicyType])
        return self._answer(device, "nvmlDeviceGetViolationStatus", status)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Card) -> Any:  # noqa: N802
        found = [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in handle.pids]
        return self._answer(handle, "nvmlDeviceGetComputeRunningProcesses", found)
