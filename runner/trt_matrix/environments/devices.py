"""What the NVIDIA driver tells of the GPUs here, through NVML; milliseconds, no network.

Facts only: which GPU a device means and whether one was disturbed is judged in `trt_matrix.core.hosts.gpus`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from trt_matrix.core.hosts.gpus import Gpu, GpuState

NO_DRIVER = "no NVIDIA driver"

DATA_CENTRE_BRANDS = frozenset({pynvml.NVML_BRAND_TESLA, pynvml.NVML_BRAND_NVIDIA})
"""T4, V100 and older say Tesla, A100 and newer NVIDIA (an H200 with driver 580 does)."""

SLOWDOWNS = {
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "heat (hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
}
"""Not among them: idle, and what an administrator or another GPU of a sync group asks for."""

HELD_BACK = {
    "heat": pynvml.NVML_PERF_POLICY_THERMAL,
    "power": pynvml.NVML_PERF_POLICY_POWER,
    "board limit": pynvml.NVML_PERF_POLICY_BOARD_LIMIT,
    "reliability": pynvml.NVML_PERF_POLICY_RELIABILITY,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The NVIDIA driver of this machine and its GPUs."""

    version: str | None = None
    problem: str | None = None
    """Why there is no version."""
    cuda: str | None = None
    """Newest CUDA release that it runs natively."""
    gpus: tuple[Gpu, ...] = ()
    silent: tuple[str, ...] = ()
    """GPUs that the driver counts but that do not answer: `gpu:1: GPU is lost`."""


def read_driver() -> Driver:
    """Returns the driver and its GPUs; without a driver, why there is none."""
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return Driver(problem=NO_DRIVER)
    except pynvml.NVMLError as error:
        return Driver(problem=f"the NVIDIA driver does not answer ({error}); see `nvidia-smi`")
    try:
        return _driver()
    finally:
        pynvml.nvmlShutdown()


def _driver() -> Driver:
    gpus, silent = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_gpu(index))
        except pynvml.NVMLError as error:
            silent.append(f"gpu:{index}: {error}")
    newest = pynvml.nvmlSystemGetCudaDriverVersion()
    return Driver(
        version=pynvml.nvmlSystemGetDriverVersion(),
        cuda=f"{newest // 1000}.{newest % 1000 // 10}",
        gpus=tuple(gpus),
        silent=tuple(silent),
    )


def read_state(uuid: str, *, ours: frozenset[int] = frozenset()) -> GpuState:
    """Returns what one GPU does now; processes with an id in `ours` are not called others.

    Raises:
        pynvml.NVMLError: no driver, or no such GPU.
    """
    pynvml.nvmlInit()
    try:
        return _state(uuid, ours)
    finally:
        pynvml.nvmlShutdown()


def read_state_if_there(uuid: str, *, ours: frozenset[int] = frozenset()) -> GpuState | None:
    """Returns `read_state`; None where the GPU or the driver is gone, as the job on it will tell."""
    try:
        return read_state(uuid, ours=ours)
    except pynvml.NVMLError:
        return None


def _state(uuid: str, ours: frozenset[int]) -> GpuState:
    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    power_mw = _asked(pynvml.nvmlDeviceGetPowerUsage, handle)
    limit_mw = _asked(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    used = _asked(pynvml.nvmlDeviceGetUtilizationRates, handle)
    reasons = _asked(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    processes = _asked(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    return GpuState(
        uuid=uuid,
        time_ns=time.monotonic_ns(),
        sm_clock_mhz=_asked(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=_asked(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        set_clocks_mhz=_set_clocks(handle),
        power_w=None if power_mw is None else power_mw / 1000,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
        temperature_c=_asked(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        utilisation=None if used is None else used.gpu / 100,
        slowdowns=tuple(name for bit, name in SLOWDOWNS.items() if reasons & bit),
        held_back_ns=_held_back(handle),
        processes=tuple(_process(process.pid) for process in processes if process.pid not in ours),
    )


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _asked(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        index=index,
        name=pynvml.nvmlDeviceGetName(handle),
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        data_centre=_asked(pynvml.nvmlDeviceGetBrand, handle) in DATA_CENTRE_BRANDS,
        memory_bytes=None if memory is None else memory.total,
    )


def _asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """Returns an answer; None where this card or driver has none, as many have for some questions."""
    try:
        return question(*arguments)
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_InvalidArgument,
    ):
        return None


def _set_clocks(handle: Any) -> tuple[int, ...]:
    kinds = (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
    clocks = [_asked(pynvml.nvmlDeviceGetApplicationsClock, handle, kind) for kind in kinds]
    return tuple(clock for clock in clocks if clock is not None)


def _held_back(handle: Any) -> dict[str, int]:
    held_back = {}
    for cause, policy in HELD_BACK.items():
        status = _asked(pynvml.nvmlDeviceGetViolationStatus, handle, policy)
        if status is not None:
            held_back[cause] = int(status.violationTime)
    return held_back


def _process(pid: int) -> str:
    try:
        name = str(pynvml.nvmlSystemGetProcessName(pid))
    except pynvml.NVMLError:  # it ended meanwhile, or belongs to another user or container
        return f"process {pid}"
    return f"{name.rpartition('/')[2]} ({pid})"
