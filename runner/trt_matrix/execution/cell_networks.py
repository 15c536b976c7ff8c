"""Which network a cell runs, with which table, or why it runs none."""

from dataclasses import dataclass, replace

from trt_matrix.core.cells import Cell, Pass, Status, TableSource
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.records import Calibration
from trt_matrix.core.tables.table import Table
from trt_matrix.execution import alternatives
from trt_matrix.execution.implicit import calibrated_inside, carried
from trt_matrix.execution.lanes import DeviceLane
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.typed import TypedNetwork
from trt_matrix.execution.used_tables import UsedTables
from trt_matrix.execution.value_ranges import TypedNetworks
from trt_matrix.execution.wanted import JobSite, PassRequests, Variant
from trt_matrix.store.results import Store


def variant_of(
    wants: PassRequests,
    site: JobSite,
    pass_: Pass,
    table: Table | None,
    typed: TypedNetwork | None,
    store: Store,
    *,
    makes: bool = True,
) -> Variant | None:
    """Returns what a pass runs with its table, which is None of floating point and where TensorRT makes it.

    Unless it `makes` networks it only looks: None where a Q/DQ network is not in the store.

    Raises:
        GraphError: the table cannot be written into the network.
    """
    network, engine = wants.network, site.environment.engine
    floats = alternatives.floats(network, engine)
    placed = None if pass_.source is None else wants.placed(site, pass_)
    if table is None or placed is None:
        implicit = calibrated_inside(pass_, wants) if pass_.made_inside else None
        return Variant(network.fp32, None, pass_.precision, implicit, floats, typed, placed)
    if pass_.source is TableSource.SHIPPED:
        assert network.shipped  # noqa: S101 - its table is
        others = alternatives.shipped(network, engine)
        return Variant(network.shipped.object, table, alternatives=others, placed=placed)
    if pass_.implicit:
        implicit, content = carried(table, wants, pass_)
        if makes:
            store.put(content, ".json")
        return Variant(network.fp32, table, implicit=implicit, alternatives=floats, placed=placed)
    explicit = table, placed, pass_.exclude
    if makes:
        model = network.quantised(store, *explicit, simulated=False)
        others = alternatives.quantised(store, network, *explicit)
        return Variant(model, table, alternatives=others, placed=placed)
    known = network.quantised_before(store, *explicit)
    known_others = alternatives.quantised_before(store, network, *explicit)
    if known is None or known_others is None:
        return None
    return Variant(known, table, alternatives=known_others, placed=placed)


@dataclass(eq=False)
class CellNetworks:
    """Gives every cell of a lane its network."""

    wants: PassRequests
    progress: Progress
    tables: UsedTables
    typed: TypedNetworks

    def give(self, lane: DeviceLane, site: JobSite, cell: Cell) -> None:
        """Decides which network a cell runs, or why it runs none."""
        name, pass_, wants = cell.pass_.name, cell.pass_, self.wants
        table = self._table(site, cell, lane.calibration)
        try:
            if isinstance(table, str) and lane.recorded:
                # What was recorded is there; it is judged without a table.
                placed = None if pass_.source is None else wants.placed(site, pass_)
                lane.variants[name] = Variant(
                    wants.network.fp32, precision=pass_.precision, placed=placed
                )
            elif isinstance(table, str):
                mine = pass_.source is TableSource.SHARED and wants.settings.given
                status = Status.UNAVAILABLE if mine else Status.JOB_FAILED
                lane.refused[name] = status, table
            else:
                typed = None if table else self.typed.of(site, pass_.precision)
                variant = variant_of(wants, site, pass_, table, typed, self.tables.store)
                assert variant  # noqa: S101 - what is not there is made
                used = self.tables.use(table) if table else None
                lane.variants[name] = replace(variant, table=used)
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
