"""Which cells no engine can run because of what the network is; they stay in the matrix with the reason."""

from collections.abc import Iterable, Mapping

from trt_matrix.core.cells import Cell
from trt_matrix.core.plan import hindered
from trt_matrix.environments.base import Environment
from trt_matrix.planning.matrix import Checked

ONE_SCALE = (
    "its inputs are fed as one tensor and cut apart inside, and implicit int8 gives a tensor one scale: pixels would "
    "get that of sizes beside them; int8 by Q/DQ nodes keeps them apart"
)


def hindered_by_network(
    cells: Iterable[Cell], checked: Checked, environments: Mapping[str, Environment]
) -> tuple[Cell, ...]:
    """Returns the cells, `unsupported` where the network is quantised already or several inputs forbid it."""
    found = tuple(cells)
    if shipped := checked.shipped:
        engines = {name: environment.engine for name, environment in environments.items()}
        found = hindered(
            found, lambda cell: shipped.obstacle(cell.pass_, engines[cell.environment])
        )
    if checked.parts:
        found = hindered(found, lambda cell: ONE_SCALE if cell.pass_.implicit else None)
    return found
