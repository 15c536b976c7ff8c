"""What the choice of calibration images costs each head: S(T) against S(T'), T' of the evaluation images."""

from collections.abc import Iterator, Sequence

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
    of_heads = (list(_costs(manifest, head)) for head in heads)
    return tuple(
        max(of_head, key=lambda cost: (cost.kept_db, cost.algorithm))
        for of_head in of_heads
        if of_head
    )


def _costs(manifest: Manifest, head: MeasuredHead) -> Iterator[Cost]:
    images = manifest.facts.get("images", {}).get("calibration", {}).get("array_sha256")
    others = of_evaluation(manifest)
    for placement, table in {
        (cell.placement or "", cell.table) for cell in head.cells if cell.table
    }:
        facts = manifest.tables.get(table or "", {})
        algorithm = facts.get("algorithm")
        keys = (placement, table or ""), (placement, others.get(algorithm, ""))
        # Only of tables that these images made: of another program's nobody knows them.
        ours = images is not None and facts.get("images_sha256") == images
        if ours and all(key in head.simulations for key in keys):
            kept, possible = (sqnr_db(head.simulations[key].nmse) for key in keys)
            if kept is not None and possible is not None:
                yield Cost(
                    head=head.head,
                    algorithm=str(algorithm),
                    kept_db=kept,
                    possible_db=possible,
                )
