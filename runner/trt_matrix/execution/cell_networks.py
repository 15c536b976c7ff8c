"""Which network a cell runs, with which table, or why it runs none."""

from trt_matrix.core.cells import Cell, Status, TableSource
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.records import Calibration
from trt_matrix.core.tables.table import Table
from trt_matrix.execution import alternatives
from trt_matrix.execution.implicit import calibrated_inside, carried
from trt_matrix.execution.lanes import DeviceLane
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.used_tables import UsedTables
from trt_matrix.execution.value_ranges import TypedNetworks
from trt_matrix.execution.wanted import JobSite, PassRequests, Variant


class CellNetworks:
    """Gives every cell of a lane its network."""

    def __init__(
        self, wants: PassRequests, progress: Progress, tables: UsedTables, typed: TypedNetworks
    ) -> None:
        self.wants = wants
        self.progress = progress
        self.tables = tables
        self.typed = typed

    def give(self, lane: DeviceLane, site: JobSite, cell: Cell) -> None:
        """Decides which network a cell runs, or why it runs none."""
        name, network, engine = cell.pass_.name, self.wants.network, site.environment.engine
        placed = None if cell.pass_.source is None else self.wants.placed(site, cell.pass_)
        table = self._table(site, cell, lane.calibration)
        try:
            match table:
                case None:
                    inside = cell.pass_.made_inside
                    implicit = calibrated_inside(cell.pass_, self.wants) if inside else None
                    lane.variants[name] = Variant(
                        network.fp32,
                        precision=cell.pass_.precision,
                        implicit=implicit,
                        alternatives=alternatives.floats(network, engine),
                        typed=self.typed.of(site, cell.pass_.precision),
                        placed=placed,
                    )
                case Table() if cell.pass_.source is TableSource.SHIPPED:
                    assert network.shipped  # noqa: S101 - its table is
                    lane.variants[name] = Variant(
                        network.shipped.object,
                        self.tables.use(table),
                        alternatives=alternatives.shipped(network, engine),
                        placed=placed,
                    )
                case Table() if cell.pass_.implicit:
                    implicit, content = carried(self.tables.use(table), self.wants, cell.pass_)
                    self.tables.store.put(content, ".json")
                    lane.variants[name] = Variant(
                        network.fp32,
                        table,
                        implicit=implicit,
                        alternatives=alternatives.floats(network, engine),
                        placed=placed,
                    )
                case Table() if placed:
                    exclude = cell.pass_.exclude
                    model = network.quantised(
                        self.tables.store, table, placed, exclude, simulated=False
                    )
                    others = alternatives.quantised(
                        self.tables.store, network, table, placed, exclude
                    )
                    lane.variants[name] = Variant(
                        model, self.tables.use(table), alternatives=others, placed=placed
                    )
                case str() if lane.recorded:
                    # What was recorded is there; it is judged without a table.
                    lane.variants[name] = Variant(
                        network.fp32, precision=cell.pass_.precision, placed=placed
                    )
                case str():
                    mine = cell.pass_.source is TableSource.SHARED and self.wants.settings.given
                    status = Status.UNAVAILABLE if mine else Status.JOB_FAILED
                    lane.refused[name] = status, table
        except GraphError as error:
            reason = f"its table cannot be written into the network: {error}"
            lane.refused[name] = Status.JOB_FAILED, reason
        if name in lane.refused:
            self.progress.done(
                cell.id,
                *lane.refused[name],
                steps=lane.repeats(self.wants.settings.repeats),
            )

    def _table(
        self, site: JobSite, cell: Cell, calibration: Calibration | None
    ) -> Table | str | None:
        """Returns the cell's table, None where it needs none, or why it has none."""
        if cell.pass_.source is None or cell.pass_.made_inside:
            return None
        if cell.pass_.source is TableSource.SHARED:
            return self.tables.host.shared
        if cell.pass_.source is TableSource.SHIPPED:
            shipped = self.wants.network.shipped
            return shipped.table if shipped else "the network has no quantisation of its own"
        if calibration is None or calibration.status is not Status.OK:
            return f"its calibration failed: {calibration.reason if calibration else 'not run'}"
        algorithm = cell.pass_.algorithm or ""
        table = self.wants.table(site, calibration, algorithm)
        self.tables.host.take_clipped(table, calibration, algorithm)
        return table
