"""What a run would reuse: looks only, and makes nothing."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trt_matrix.core.cells import Cell, Status, TableSource
from trt_matrix.core.records import Calibration, Measurement
from trt_matrix.core.tables.table import Table
from trt_matrix.environments.base import Environment
from trt_matrix.execution import best
from trt_matrix.execution.cell_networks import variant_of
from trt_matrix.execution.jobs import Settled, known_measurement, unsettled
from trt_matrix.execution.lanes import DeviceLane, lanes_of
from trt_matrix.execution.matrix import SettledBeside
from trt_matrix.execution.reference import reference_site
from trt_matrix.execution.request import request_of
from trt_matrix.execution.simulations import searched_placement
from trt_matrix.execution.typed import TypedNetwork
from trt_matrix.execution.value_ranges import known, needed
from trt_matrix.execution.wanted import (
    FP32,
    JobSite,
    OutputUse,
    PassRequests,
    Variant,
    WantedPass,
)
from trt_matrix.store.results import Store


def known_repeats(
    store: Store,
    wants: PassRequests,
    cells: Sequence[Cell],
    environments: Mapping[str, Environment],
    reference: Environment,
    engine_options: Mapping[str, Mapping[str, Any]],
    settled: SettledBeside,
) -> Mapping[str, int]:
    """Returns cell id → repeats that an earlier run measured; cells without one are left out.

    `settled` is as the loop takes it.
    """
    identity = reference.identity()
    shared: Table | None = None
    at = reference_site(reference, identity, engine_options) if identity else None
    known_reference = _reference(store, wants, at)
    known_settled = unsettled  # nothing is, without the reference
    if known_reference is not None:
        known_settled = functools.partial(settled, known_reference.outputs)
    if wants.settings.given:
        shared = wants.settings.given.table
    elif at and wants.settings.shared:
        shared = _shared(store, wants, at, environments.values(), wants.settings.shared)
    repeats: dict[str, int] = {}
    for lane in lanes_of(cells).values():
        environment = environments[lane.environment]
        identity = environment.identity() if lane.runnable else None
        if identity is None:
            continue
        site = JobSite(
            environment=environment,
            identity=identity,
            device=lane.device,
            engine_options=engine_options[lane.environment],
            timing=None if lane.recorded else wants.settings.timing,
            shapes={},
            recorded=lane.recorded,
            reference=known_reference.outputs if known_reference else {},
        )
        for cell in lane.runnable:
            repeats[cell.id] = _known(store, wants, site, lane, cell, shared, at, known_settled)
    return {cell: count for cell, count in repeats.items() if count}


def _reference(store: Store, wants: PassRequests, at: JobSite | None) -> Measurement | None:
    asked = wants.measurement(at, FP32.name, 0, Variant(wants.network.fp32)) if at else None
    return known_measurement(store, asked) if asked else None


def _known(
    store: Store,
    wants: PassRequests,
    site: JobSite,
    lane: DeviceLane,
    cell: Cell,
    shared: Table | None,
    reference: JobSite | None,
    settled: Settled,
) -> int:
    """Returns how many repeats of a cell are known."""
    typed: TypedNetwork | None = None
    if needed(wants, site, cell.pass_.precision):
        typed = known(store, wants, reference, cell.pass_.precision)
        if typed is None:
            return 0
    pass_ = cell.pass_
    table: Table | None = None
    if pass_.source is not None and not pass_.made_inside:
        if pass_.source is TableSource.SHIPPED:
            table = wants.network.shipped.table if wants.network.shipped else None
        elif pass_.implicit or pass_.source is TableSource.SHARED:
            table = shared
        else:
            own = [name for name in wants.settings.algorithms if name in lane.own]
            table = _table(store, wants, site, own, pass_.algorithm or "")
        if table is None:
            return 0
    variant = variant_of(wants, site, pass_, table, typed, store, makes=False)
    if variant is None:
        return 0
    wanted = [
        wants.measurement(site, pass_.name, repeat, variant, use=OutputUse.JUDGED)
        for repeat in range(cell.repeats(wants.settings.repeats))
    ]
    return sum(
        known_measurement(store, wanted_pass, settled) is not None
        or _came_back(wants, site, wanted_pass)
        for wanted_pass in wanted
    )


def _came_back(wants: PassRequests, site: JobSite, wanted: WantedPass) -> bool:
    """Whether an environment that ran elsewhere has the answer, which the next run takes in."""
    holds = getattr(site.environment, "holds", None)
    return holds is not None and holds(request_of(wants, site, passes=[wanted]))


def _shared(
    store: Store,
    wants: PassRequests,
    site: JobSite,
    environments: Iterable[Environment],
    wanted: str,
) -> Table | None:
    """Returns the shared table, where it is known already."""
    every = list(wants.settings.algorithms)
    if wanted != best.BEST:
        return _table(store, wants, site, every, wanted)
    tables = {name: _table(store, wants, site, every, name) for name in every}
    known = {name: table for name, table in tables.items() if table is not None}
    if len(known) < len(tables):
        return None
    return best.WantedTable(wants, site, known, searched_placement(wants, environments)).known(
        store
    )


def _table(
    store: Store, wants: PassRequests, site: JobSite, algorithms: Sequence[str], wanted: str
) -> Table | None:
    """Returns a table of a calibration that is known already."""
    calibration = store.get(Calibration, wants.calibration(site, algorithms).fingerprint)
    if calibration is None or calibration.status is not Status.OK:
        return None
    return wants.table(site, calibration, wanted)
