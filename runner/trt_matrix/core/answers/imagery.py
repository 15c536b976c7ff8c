"""What other calibration images would do: tried by leaving one out, bounded by the evaluation images' own table."""

from collections.abc import Collection, Iterator

from trt_matrix.core.answers.kept import WORTH_DB, bad_heads, of_cell
from trt_matrix.core.calibration.claims import WORTH, costs_told, curve_claims, enough
from trt_matrix.core.calibration.curve import Trend
from trt_matrix.core.calibration.report import CalibrationReport, Concern
from trt_matrix.core.fix import Basis, Fix, FixKind, KeptQuality
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.words import capital

OF_IMAGES = frozenset(
    {
        Concern.PREPROCESSING,
        Concern.OTHER_IMAGES,
        Concern.EXCHANGED,
        Concern.FLAT,
        Concern.SIZES,
        Concern.UNSEEN,
    }
)
"""What other images, or the same ones fed in another way, could mend."""
MOST = 2
"""Claims that are told."""


def image_fixes(now: CellResult, report: CalibrationReport | None) -> Iterator[Fix]:
    """Yields what other calibration images would give one cell, or what speaks for trying some.

    Nothing where not even the evaluation images themselves would make a better table.
    """
    if report is None or now.pass_.source is None or _hopeless(now, report):
        return
    bad = bad_heads(now)
    before = of_cell(now)

    def bad_too(heads: Collection[str]) -> bool:
        return not heads or not set(bad).isdisjoint(heads)

    for without in report.without:
        gains = dict(without.gains_db)
        if any(gains.get(head, 0.0) >= WORTH_DB for head in bad):
            reaches = {
                head: db + gains[head]
                for head, db in before.sqnr_db.items()
                if db is not None and head in gains
            }
            yield Fix(
                kind=FixKind.IMAGES,
                what=f"leave {without.image} out of the calibration images",
                why=(
                    f"simulated with {report.algorithm or 'the shared algorithm'}; it alone decides "
                    f"{len(without.decider.tensors)} of {without.decider.of} ranges"
                ),
                basis=Basis.SIMULATED,
                now=before,
                reaches=KeptQuality(sqnr_db=reaches),
                against=now.id,
            )
    said = [claim for claim in report.said(hints=False) if claim.concern in OF_IMAGES]
    if not any(unseen.sure and bad_too(unseen.heads) for unseen in report.unseen):
        said = [claim for claim in said if claim.concern is not Concern.UNSEEN]
    rising = [curve for curve in report.curves if curve.head in bad and curve.trend is Trend.GAINS]
    said += curve_claims(rising, report.algorithm)
    most = [cost for cost in report.costs if cost.head in bad and cost.loss_db >= WORTH]
    if said or most:
        parts = [*(claim.text.removesuffix(".") for claim in said[:MOST])]
        if most:
            parts.append(costs_told(most).removesuffix("."))
        yield Fix(
            kind=FixKind.IMAGES,
            what="other calibration images",
            why="; ".join(parts),
            basis=Basis.UNKNOWN,
            now=before,
            reaches=KeptQuality(),
            against=now.id,
        )


def _hopeless(now: CellResult, report: CalibrationReport) -> bool:
    """Whether no table of any images is known to keep more of a bad head, as far as its own algorithm goes."""
    bad = set(bad_heads(now))
    costs = {cost.head: cost.loss_db for cost in report.costs if cost.head in bad}
    return bool(costs) and bad == set(costs) and max(costs.values()) < WORTH


def no_images(now: CellResult, report: CalibrationReport | None) -> Iterator[str]:
    """Yields that other images, or more of them, will not help what is bad of a cell."""
    bad = bad_heads(now)
    if report is None or not bad:
        return
    if _hopeless(now, report):
        yield costs_told([cost for cost in report.costs if cost.head in bad])
    elif told := enough([curve for curve in report.curves if curve.head in bad], WORTH_DB):
        yield f"{capital(told)}."
