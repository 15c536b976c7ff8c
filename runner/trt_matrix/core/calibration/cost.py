"""What the choice of calibration images costs each head: S(T) against S(T'), T' of the evaluation images."""

from collections.abc import Sequence

from trt_matrix.core.calibration.report import Cost
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.verdicts.calibration_blame import of_evaluation
from trt_matrix.core.verdicts.cell_errors import MeasuredHead


def costs(manifest: Manifest, heads: Sequence[MeasuredHead]) -> tuple[Cost, ...]:
    """Returns the cost of the calibration images by head, where both tables were simulated.

    Of several tables that cells ran with, the one that keeps most: what another algorithm costs is not the
    images'.
    """
    images = manifest.facts.get("images", {}).get("calibration", {}).get("array_sha256")
    others = of_evaluation(manifest)
    found = []
    for head in heads:
        used = {(cell.placement, cell.table) for cell in head.cells if cell.table}
        mine = []
        for placement, table in used:
            facts = manifest.tables.get(table or "", {})
            algorithm = facts.get("algorithm")
            same = (placement or "", others.get(algorithm, ""))
            here = (placement or "", table or "")
            # Only of tables that these images made: of another program's nobody knows them.
            if facts.get("images_sha256") != images or images is None:
                continue
            if here not in head.simulations or same not in head.simulations:
                continue
            kept, possible = (sqnr_db(head.simulations[key].nmse) for key in (here, same))
            if kept is not None and possible is not None:
                mine.append(
                    Cost(
                        head=head.head,
                        algorithm=str(algorithm),
                        kept_db=kept,
                        possible_db=possible,
                    )
                )
        if mine:
            found.append(max(mine, key=lambda cost: (cost.kept_db, cost.algorithm)))
    return tuple(found)
