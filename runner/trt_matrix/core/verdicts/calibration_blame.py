"""Whose is the loss of a bad table: the calibration images', or the algorithm's?

For a table T made by algorithm a of the calibration images, and T' made by a of the evaluation images

    S(T) − S*  =  (S(T) − S(T'))  +  (S(T') − S*)
    the table     its images         its algorithm

Shown only where a `calibration_problem` was found; both parts are of the same, exact simulation.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.manifest import Manifest
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.head_errors import Told
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed, span


@dataclass(frozen=True, kw_only=True, slots=True)
class TableBlame:
    """What one table costs one head, all NMSE."""

    algorithm: str
    observed: float
    """S(T)."""
    seen: float
    """S(T'): the same algorithm on the evaluation images."""
    best: float
    """S*."""

    @property
    def images_share(self) -> float:
        """Share of the loss that other images would save, 0 to 1."""
        return min(max((self.observed - self.seen) / (self.observed - self.best), 0.0), 1.0)


def calibration_sentences(
    manifest: Manifest, heads: Sequence[MeasuredHead], told: Told
) -> Mapping[str, str]:
    """Returns head → what is wrong with its bad tables; heads without one are left out.

    Empty for runs from before tables were made of the evaluation images.
    """
    sentences = {}
    for head in heads:
        bad = [
            cell
            for cell in head.cells
            if Kind.CALIBRATION_PROBLEM in (verdict.kind for verdict in told[cell.cell, head.head])
        ]
        blames = dict.fromkeys(filter(None, (_blame(manifest, head, cell) for cell in bad)))
        if blames:
            sentences[head.head] = " ".join(_sentences(list(blames)))
    return sentences


def _blame(manifest: Manifest, head: MeasuredHead, cell: CellError) -> TableBlame | None:
    """Returns None where the run has no table of the same algorithm from the evaluation images."""
    placement, table = cell.placement or "", cell.table or ""
    algorithm = manifest.tables.get(table, {}).get("algorithm")
    same = (placement, of_evaluation(manifest).get(algorithm, ""))
    if same not in head.simulations or (placement, table) not in head.simulations:
        return None
    known = [sample.nmse for key, sample in head.simulations.items() if key[0] == placement]
    observed = head.simulations[placement, table].nmse
    if not observed > min(known):
        return None
    seen = head.simulations[same].nmse
    return TableBlame(algorithm=str(algorithm), observed=observed, seen=seen, best=min(known))


def of_evaluation(manifest: Manifest) -> Mapping[object, str]:
    """Returns algorithm → digest of the table that it made of the evaluation images."""
    images = manifest.facts.get("images", {}).get("evaluation", {}).get("array_sha256")
    return {
        facts.get("algorithm"): digest
        for digest, facts in manifest.tables.items()
        if images is not None and facts.get("images_sha256") == images
    }


def _sentences(blames: Sequence[TableBlame]) -> list[str]:
    images = [blame for blame in blames if blame.images_share >= 0.5]
    algorithm = [blame for blame in blames if blame.images_share < 0.5]
    sentences = []
    # Where one table's is the images' and another's the algorithm's, each sentence says whose.
    both = bool(images) and bool(algorithm)
    begin = [f"For {_names(blamed)} t" if both else "T" for blamed in (images, algorithm)]
    if images:
        kept, now = (_db(image.seen for image in images), _db(image.observed for image in images))
        sentences.append(
            f"{begin[0]}he calibration images are to blame, not the algorithm: "
            f"{_names(images)} on the evaluation images would keep {kept}, not {now}."
        )
    if algorithm:
        kept, best = _db(blame.seen for blame in algorithm), _db(blame.best for blame in algorithm)
        sentences.append(
            f"{begin[1]}he algorithm is to blame, not the images: "
            f"{_names(algorithm)} on the evaluation images themselves would keep {kept}, where {best} are "
            "possible."
        )
    return sentences


def _names(blames: Sequence[TableBlame]) -> str:
    return listed(list(dict.fromkeys(blame.algorithm for blame in blames)))


def _db(values: Iterable[float]) -> str:
    return f"{span(-10 * math.log10(value) for value in values)} dB"
