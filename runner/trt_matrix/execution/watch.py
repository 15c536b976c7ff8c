"""Was the GPU ours alone while a job ran? Its state is taken before and after each start."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from trt_matrix.core.hosts.gpus import BUSY, GpuState

Watch = Callable[[str], GpuState | None]
"""From a device to what its GPU does now; None for `cpu`, and where nobody can tell."""

SETTLE_S, LOOKS = 0.5, 4
"""Utilisation is a mean over up to a second, so what ran just before may still be in it."""


def unwatched(device: str) -> None:
    """Tells nothing of any device."""
    del device


def settled(
    watch: Watch, device: str, sleep: Callable[[float], None] = time.sleep
) -> GpuState | None:
    """Returns the state of a GPU before a start: of an idle one, once our own last job is forgotten."""
    state = watch(device)
    for _ in range(LOOKS - 1):
        if state is None or state.processes or (state.utilisation or 0) <= BUSY:
            break
        sleep(SETTLE_S)
        state = watch(device)
    return state


def facts(before: GpuState | None, after: GpuState | None) -> Mapping[str, Any]:
    """Returns the states as they are stored; empty where there is none."""
    return {"before": asdict(before), "after": asdict(after)} if before and after else {}
