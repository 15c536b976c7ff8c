"""Cells with errors made by hand, and what is decided of them."""

from collections.abc import Sequence

import numpy as np

from trt_matrix.core.cells import Precision
from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.decisions import verdicts
from trt_matrix.core.verdicts.sample import Floats, Sample
from trt_matrix.core.verdicts.verdict import Kind, Verdict

IMAGES = 40

ENERGY = np.full(IMAGES, 10.0)


PATTERN = np.linspace(0.5, 1.5, IMAGES)


def builds(*nmse: float, pattern: Floats = PATTERN) -> Sample:
    return Sample(np.stack([value * ENERGY * pattern for value in nmse]), ENERGY)


def cell(name: str, nmse: float, **changes: object) -> CellError:
    """Returns an int8 cell; three builds that cannot differ."""
    values = {
        "cell": f"{name}/cpu/int8-shared",
        "environment": name,
        "device": "cpu",
        "pass_": "int8-shared",
        "precision": Precision.INT8,
        "sample": builds(nmse, nmse, nmse),
        "placement": "engine",
        "table": "t",
        "fixed": True,
    }
    return CellError(**(values | changes))  # type: ignore[arg-type]


def floating(name: str, sqnr_db: float, precision: Precision, **changes: object) -> CellError:
    made: dict[str, object] = {
        "precision": precision,
        "placement": None,
        "table": None,
        "pass_": str(precision),
    }
    nmse = 10 ** (-sqnr_db / 10)
    made["sample"] = builds(nmse, nmse, nmse, pattern=np.ones(IMAGES))
    return cell(name, nmse, cell=f"{name}/cpu/{precision}", **made | changes)


def free(name: str, *nmse: float, **changes: object) -> CellError:
    """Returns a cell whose builds may differ."""
    return cell(name, nmse[0], sample=builds(*nmse), fixed=False, **changes)


def exact(nmse: float) -> Sample:
    return Sample((nmse * ENERGY * PATTERN)[None], ENERGY, exact=True)


def errors(cells: Sequence[CellError], gate: float | None = 0.01, **tables: float) -> MeasuredHead:
    return MeasuredHead(
        head="small",
        cells=cells,
        simulations={("engine", table): exact(nmse) for table, nmse in tables.items()},
        gate_nmse=gate,
    )


def judged(
    *cells: CellError, gate: float | None = 0.01, **tables: float
) -> dict[str, tuple[Verdict, ...]]:
    found: dict[str, tuple[Verdict, ...]] = {}
    for verdict in verdicts([errors(cells, gate, **tables)], "base", Rules()):
        name = verdict.cell.split("/")[0]
        found[name] = (*found.get(name, ()), verdict)
    return found


def told(*cells: CellError, gate: float | None = 0.01, **tables: float) -> dict[str, set[Kind]]:
    found = judged(*cells, gate=gate, **tables)
    return {name: {verdict.kind for verdict in some} for name, some in found.items()}


def worse(db: float, nmse: float = 0.004) -> float:
    return float(nmse * np.exp(db * DB))
