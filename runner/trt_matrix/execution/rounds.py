"""Calibrates and measures lanes: on each device one job at a time, on different devices at once.

On a device each repeat is a round over all environments, so that what drifts with time (clocks,
heat, neighbours) is in every environment alike and looks like no version's effect; in which order,
`trt_matrix.core.turns` says. Processors come before GPUs: a job for a GPU is built and fed by the
processor, and would be in the latencies there.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from trt_matrix.core.cells import Status, device_kind
from trt_matrix.core.turns import turns
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.lanes import DeviceLane
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.wanted import JobSite, OutputUse, PassRequests, WantedPass
from trt_matrix.execution.workers import Workers

AT_ONCE = 2
"""Calibrations on one processor: each holds a network, and its tensors of one image."""

KINDS = ("cpu", "gpu")
"""Of devices, in the order in which they have their turn."""


@dataclass(eq=False)
class Rounds:
    jobs: Jobs
    wants: PassRequests
    progress: Progress
    workers: Workers

    def calibrate(self, lanes: Iterable[DeviceLane]) -> None:
        """Lets every lane make the tables of its own that its cells need, once."""

        def one_device(shared: Sequence[DeviceLane]) -> None:
            wanted = [
                (lane, lane.site, self.wants.calibration(lane.site, own))
                for lane in shared
                for own in [[name for name in self.wants.settings.algorithms if name in lane.own]]
                if lane.site and own
            ]
            if not wanted:
                return
            # Histograms take one core: on a processor the engine of another job has use for the next.
            at_once = AT_ONCE if device_kind(shared[0].device) == "cpu" else 1
            calibrations = self.jobs.calibrate_together(
                [(site, asked) for _, site, asked in wanted],
                functools.partial(self.workers.all, at_once=at_once),
            )
            for (lane, _, _), calibration in zip(wanted, calibrations, strict=True):
                lane.calibration = calibration

        self._on_each_device(lanes, one_device)

    def measure(
        self,
        lanes: Iterable[DeviceLane],
        repeats: Iterable[int],
        cells: Collection[str] | None = None,
    ) -> None:
        """Measures these repeats, from 0, in this order, each in an order of environments of its own; of `cells` or all."""

        def one_device(shared: Sequence[DeviceLane]) -> None:
            for repeat in repeats:
                for lane in self._in_turn(shared, repeat):
                    self._measure(lane, repeat, cells)

        self._on_each_device(lanes, one_device)

    def _on_each_device(
        self, lanes: Iterable[DeviceLane], work: Callable[[Sequence[DeviceLane]], None]
    ) -> None:
        devices = by_device(lanes, self.wants.place)
        for kind in KINDS:
            self.workers.all(
                [
                    functools.partial(work, shared)
                    for shared in devices
                    if device_kind(shared[0].device) == kind
                ]
            )

    def _in_turn(self, shared: Sequence[DeviceLane], repeat: int) -> list[DeviceLane]:
        """Returns the lanes of one device in the order of this round."""
        lanes = {f"{lane.environment}/{lane.device}": lane for lane in shared}
        earlier = {name: lane.started(repeat - 1) for name, lane in lanes.items()}
        order = turns(lanes, repeat, seed=self.jobs.run.id, earlier=earlier)
        return [lanes[name] for name in order]

    def _measure(self, lane: DeviceLane, repeat: int, cells: Collection[str] | None) -> None:
        """Runs one repeat of a lane's passes in one start; no more of those that failed."""
        if lane.site is None or repeat >= lane.repeats(repeat + 1):
            return
        wanted = self.wanted(lane, lane.site, repeat, cells)
        for measured in self.jobs.measure(lane.site, wanted):
            lane.add(measured.measurement, reused=measured.reused)
            if measured.measurement.status is not Status.OK:
                left = lane.repeats(self.wants.settings.repeats) - repeat - 1
                self.progress.expect(-max(left, 0))

    def wanted(
        self, lane: DeviceLane, site: JobSite, repeat: int, cells: Collection[str] | None = None
    ) -> list[WantedPass]:
        """Returns one repeat of a lane's passes; of `cells` (ids), of all where None."""
        return [
            self.wants.measurement(site, name, repeat, variant, use=OutputUse.JUDGED)
            for name, variant in lane.variants.items()
            if not lane.failed(name) and (cells is None or lane.id(name) in cells)
        ]


def by_device(
    lanes: Iterable[DeviceLane], place: Callable[[JobSite], str]
) -> list[list[DeviceLane]]:
    """Returns the lanes of each device, in their order; those that cannot run are left out."""
    devices: dict[str, list[DeviceLane]] = {}
    for lane in lanes:
        if lane.site is not None:
            devices.setdefault(place(lane.site), []).append(lane)
    return list(devices.values())
