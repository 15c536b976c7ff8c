"""What every table must cost in every placement, computed on the host in exact float32 arithmetic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.options import PlacementOptions
from trt_matrix.core.qdq.placements import ENGINES, Placed
from trt_matrix.core.records import Measurement, StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.environments.base import Environment
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.lanes import DeviceLane
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.used_tables import UsedTables
from trt_matrix.execution.wanted import JobSite, OutputUse, PassRequests, Variant

SiteOf = Callable[[DeviceLane], JobSite]
"""Where the cells of a lane run, as far as that is known."""


@dataclass(eq=False)
class Simulations:
    """Those that are done already are not made again."""

    jobs: Jobs
    wants: PassRequests
    progress: Progress
    tables: UsedTables
    made: list[Measurement] = field(default_factory=list)

    def make(self, site: JobSite, lanes: Iterable[DeviceLane], site_of: SiteOf) -> None:
        """Computes, in exact float32 arithmetic, what every table must cost in every placement.

        Does those that are not done yet: TensorRT's own tables are known after its passes only.
        """
        done = {(measurement.placement, measurement.table) for measurement in self.made}
        wanted = []
        for placed, (exclude, tables) in self._placements(lanes, site_of).items():
            for table in tables:
                if (placed.name, table.digest) in done:
                    continue
                name = f"simulation-{placed.name}-{table.digest[:12]}"
                try:
                    model = self._network(table, placed, exclude)
                except GraphError as error:
                    self.progress.warn(f"{name}: {error}")
                    continue
                wanted.append(
                    self.wants.measurement(
                        site,
                        name,
                        0,
                        Variant(model, table, placed=placed),
                        use=OutputUse.COMPARED,
                    )
                )
        self.progress.expect(len(wanted))
        for measured in self.jobs.measure(site, wanted, computed=True):
            if measured.measurement.status is Status.OK:
                self.made.append(measured.measurement)
            else:
                self.progress.warn(f"{measured.measurement.name}: {measured.measurement.reason}")

    def _placements(
        self, lanes: Iterable[DeviceLane], site_of: SiteOf
    ) -> Mapping[Placed, tuple[Sequence[str], Sequence[Table]]]:
        """Returns the placements of all int8 cells; known before environments are made.

        Returns:
            Placement → the layers that it keeps in float, and the tables to simulate there: all that are known;
            where layers are only tried in float, the one that they are tried with.
        """
        every = tuple(self.tables.all.values())
        placements: dict[Placed, tuple[Sequence[str], Sequence[Table]]] = {}
        for lane in quantised(lanes):
            for cell in lane.runnable:
                if cell.pass_.source is None:
                    continue
                placed = self.wants.placed(lane.site or site_of(lane), cell.pass_)
                shared = self.tables.host.shared
                tables = (shared,) if cell.pass_.mixed and isinstance(shared, Table) else every
                # What one scale a weight costs is told against a scale a channel.
                for placement in (placed, placed.per_channel):
                    placements.setdefault(placement, (cell.pass_.exclude, tables))
        return placements

    def _network(self, table: Table, placed: Placed, exclude: Sequence[str]) -> StoredObject:
        """Returns the network that says what a table must cost: what came quantised is its own.

        Raises:
            GraphError: see `Network.quantised`.
        """
        shipped = self.wants.network.shipped
        if shipped and shipped.table.digest == table.digest:
            return shipped.object
        return self.wants.network.quantised(
            self.tables.store, table, placed, exclude, simulated=True
        )


def quantised(lanes: Iterable[DeviceLane]) -> Sequence[DeviceLane]:
    """Returns the lanes with cells in int8, less those that could not be made."""
    return [
        lane
        for lane in lanes
        if lane.obstacle is None
        and any(cell.pass_.precision is Precision.INT8 for cell in lane.runnable)
    ]


def searched_placement(
    wants: PassRequests, environments: Iterable[Environment]
) -> PlacementOptions:
    """Returns the placement in which the table `best` is looked for: the first environment's.

    Of the whole matrix, so that the table is the same whichever cells are selected.
    """
    engine = next(
        (environment.engine for environment in environments if environment.engine in ENGINES),
        "tensorrt",
    )
    return wants.explicit(engine).options()
