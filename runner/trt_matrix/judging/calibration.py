"""What a run wrote down of its calibration set → the report on it; needs no engine."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

from trt_matrix.core.boxes.evidence import BoxEvidence
from trt_matrix.core.calibration import alike, claims, fed, ranges
from trt_matrix.core.calibration.cost import costs
from trt_matrix.core.calibration.curve import Curve, curves
from trt_matrix.core.calibration.report import (
    AlikePair,
    CalibrationReport,
    Claim,
    LeftOutImage,
)
from trt_matrix.core.calibration.sizes import Size, can_tell, sizes
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.manifest import CalibrationFacts, CalibrationTrial
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.differences import Ranges
from trt_matrix.core.verdicts.head_errors import head_errors
from trt_matrix.core.words import count, listed
from trt_matrix.errors import GoneError
from trt_matrix.judging.preprocessing import fed_tables, trials
from trt_matrix.store.arrays import read_array
from trt_matrix.store.results import Store

ENTROPY = "entropy"
MOST = 12
"""Pairs and tensors that are listed."""
FEW = 5
"""Images that are listed for the ranges that they decide."""

Array = npt.NDArray[Any]


def calibration_report(
    store: Store,
    evidence: Evidence,
    boxes: BoxEvidence | None,
    tables: Mapping[str, Ranges],
    heads_of: Mapping[str, tuple[str, ...]],
    scaled: Collection[str],
) -> CalibrationReport | None:
    """Returns None of a run that did not look at its calibration set.

    `tables`: digest → ranges; `heads_of`: tensor → heads that depend on it. `scaled` are tensors whose range decides a
    scale in some cell; empty where none ran in int8, or the network is not known: of all is told then what was seen.
    """
    facts = evidence.manifest.calibration
    if facts is None:
        return None
    # What stays in float, or takes another's scale, has a range that nothing uses.
    columns = [at for at, name in enumerate(facts.tensors) if name in scaled]
    columns = columns or list(range(len(facts.tensors)))
    return _Judging(store, evidence, facts, boxes, tables, heads_of, columns).report()


@dataclass
class _Judging:
    store: Store
    evidence: Evidence
    facts: CalibrationFacts
    boxes: BoxEvidence | None
    tables: Mapping[str, Ranges]
    heads_of: Mapping[str, tuple[str, ...]]
    columns: Sequence[int]
    """Of the tensors that are told."""
    claims: list[Claim] = field(default_factory=list)
    well: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def heads(self) -> Sequence[str]:
        return [gate.head for gate in self.evidence.manifest.heads]

    @property
    def least_db(self) -> float:
        return self.evidence.rules.least_effect_db

    def report(self) -> CalibrationReport:
        facts, manifest = self.facts, self.evidence.manifest
        sets = (facts.calibration, facts.evaluation)
        here, there = (self._array(image_set.described) for image_set in sets)
        report = CalibrationReport(
            images=len(facts.calibration.files),
            evaluation_images=len(facts.evaluation.files),
            costs=costs(manifest, head_errors(self.evidence)),
            tensors=len(self.columns),
            algorithm=facts.algorithm,
        )
        if here is not None and there is not None:
            report = self._likeness(report, here, there)
            report = self._fed(report, here, there)
        elif all(image_set.described for image_set in sets):
            # Of samples that are no images it is said where that was seen.
            self.unknown.append("likeness of images: what was written down of them is gone")
        maxima = [self._array(image_set.maxima) for image_set in sets]
        if maxima[0] is not None and maxima[1] is not None:
            report = self._ranges(report, maxima[0], maxima[1])
        inputs = manifest.asked.input if manifest.asked else ""
        tables, of_tables = fed_tables(facts, self.tables, inputs, here)
        tried, of_trials = trials(facts, self.boxes)
        report = replace(
            report,
            sizes=self._sizes(),
            sizes_of=facts.areas_of,
            curves=self._curves(),
            orders_db=self._orders(),
            notes=tuple(self._notes()),
            tables=tables,
            trials=tried,
        )
        for preprocessing in (of_tables, of_trials):
            self._say(preprocessing.claims, preprocessing.well)
            self.unknown += preprocessing.unknown
        return replace(
            report,
            claims=tuple(self.claims),
            well=tuple(self.well),
            unknown=tuple(distinct((*facts.unknown, *self.unknown))),
        )

    def _array(self, stored: StoredObject | None) -> Array | None:
        if stored is None or not self.store.has(stored):
            return None
        try:
            array: Array = read_array(self.store.path(stored))
        except (OSError, ValueError):
            return None  # damaged; the next run makes it again
        return array

    def _say(
        self, claims: Iterable[Claim], well: str | None = None, unknown: str | None = None
    ) -> None:
        """Takes claims in; where there is none, tells what is well, or else why nobody could know."""
        new = list(claims)
        self.claims += new
        if not new and unknown:
            self.unknown.append(unknown)
        elif not new and well:
            self.well.append(well)

    @staticmethod
    def _too_few(here: Sequence[Any] | Array, there: Sequence[Any] | Array) -> str:
        sets = f"{len(here)} and {count(len(there), 'image')}"
        return f"{sets} are too few to tell, or their numbers are not finite"

    # Images

    def _likeness(self, report: CalibrationReport, here: Array, there: Array) -> CalibrationReport:
        likeness = alike.likeness(here["description"], there["description"])
        files, others = self.facts.calibration.files, self.facts.evaluation.files
        compared = sum(likeness.compared)
        self._say(claims.likeness_claims(likeness, files, others), claims.likeness_well(likeness))
        if likeness.compared != (len(here), len(there)):
            self.unknown.append(
                f"likeness of all images: {compared:,} of {len(here) + len(there):,} were compared"
            )
        if report.costs and claims.holds_evaluation(likeness):
            self.unknown.append(
                "what other images could give: the calibration set has most of the evaluation images"
            )
            report = replace(report, costs=())
        pairs = sorted(likeness.across, key=lambda twins: (-twins.cosine, twins.other))
        return replace(
            report,
            pairs=tuple(
                AlikePair(
                    calibration=files[pair.one],
                    evaluation=others[pair.other],
                    cosine=pair.cosine,
                    mirrored=pair.mirrored,
                )
                for pair in pairs[:MOST]
            ),
            pairs_in_all=len(pairs),
        )

    def _fed(self, report: CalibrationReport, here: Array, there: Array) -> CalibrationReport:
        ones, others = here["statistics"], there["statistics"]
        how = self._pixels(ones.shape[1])
        if how is not None:
            exchanged = fed.swapped(ones, others, how)
            measures = fed.measures_told(ones.shape[1])
            self._say(
                claims.set_claims(fed.differences(ones, others, how), exchanged),
                f"{measures} as in the evaluation",
                None
                if fed.can_tell(ones, others, how)
                else f"{measures}: {self._too_few(ones, others)}",
            )
        return replace(
            report, channels=fed.channels(ones), evaluation_channels=fed.channels(others)
        )

    def _pixels(self, channels: int) -> fed.Pixels | None:
        stated = self.evidence.manifest.facts.get("images", {}).get("preprocess", {})
        try:
            return fed.Pixels(
                scale=stated["scale"],
                mean=fed.each_channel(stated["mean"], channels),
                std=fed.each_channel(stated["std"], channels),
                blue_first=stated.get("color") in ("bgr", "bgra"),
            )
        except (KeyError, TypeError):
            return None

    # Ranges

    def _ranges(self, report: CalibrationReport, here: Array, there: Array) -> CalibrationReport:
        names = [self.facts.tensors[at] for at in self.columns]
        here, there = here[:, self.columns], there[:, self.columns]
        files = self.facts.calibration.files
        unseen = ranges.unseen(names, here, there, self.heads_of)
        self._say(
            claims.unseen_claims(unseen, len(there), len(names)),
            "no tensor goes beyond what calibration images showed more often than chance gives",
            None
            if ranges.can_tell(len(here), len(there), len(names))
            else f"ranges never seen: {self._too_few(here, there)}",
        )
        deciders = ranges.deciders(names, here)
        return replace(
            report,
            unseen=unseen[:MOST],
            unseen_in_all=len(unseen),
            deciders=tuple((files[decider.image], decider) for decider in deciders[:FEW]),
            without=self._without(deciders),
        )

    def _without(self, deciders: Sequence[ranges.Decider]) -> tuple[LeftOutImage, ...]:
        whole = self.facts.whole
        if whole is None:
            return ()
        everything = set(whole.images)
        by_image = {
            next(iter(everything.difference(tried.images))): tried for tried in self.facts.without
        }
        withouts = []
        for decider in deciders:
            if decider.image in by_image:
                kept = self._kept(by_image[decider.image])
                before = self._kept(whole)
                gains = [(head, kept[head] - before[head]) for head in kept if head in before]
                gains.sort(key=lambda gain: -abs(gain[1]))
                image = self.facts.calibration.files[decider.image]
                withouts.append(LeftOutImage(decider=decider, image=image, gains_db=tuple(gains)))
        self._say(claims.without_claims(withouts, self.least_db))
        return tuple(withouts)

    def _kept(self, tried: CalibrationTrial) -> Mapping[str, float]:
        """Returns head → SQNR in dB; heads of which that is not known any more are left out."""
        kept: dict[str, float] = {}
        for head in self.heads:
            with contextlib.suppress(GoneError):
                output = tried.outputs.get(head)
                sqnr_db = self.evidence.sqnr_of(head, output) if output else None
                if sqnr_db is not None:
                    kept[head] = sqnr_db
        return kept

    # Sizes, numbers

    def _sizes(self) -> tuple[Size, ...]:
        here, there = self.facts.calibration.areas, self.facts.evaluation.areas
        if here is None or there is None:
            return ()
        of_sets = sizes(here, there)
        by_telling = grouped(
            (can_tell(size, len(here), len(there)), size.name)
            for size in of_sets
            if size.evaluation
        )
        known, rare = by_telling.get(True, []), by_telling.get(False, [])
        self._say(
            claims.size_claims(of_sets, len(here), len(there), self.facts.areas_of),
            f"{listed(known)} objects not much rarer than in the evaluation" if known else None,
        )
        if rare:
            self.unknown.append(f"whether {listed(rare)} objects are rarer: too few to tell")
        return of_sets

    def _curves(self) -> tuple[Curve, ...]:
        whole = self.facts.whole
        if whole is None or not self.facts.subsets:
            return ()
        draws = grouped(
            (head, (len(tried.images), kept))
            for tried in (*self.facts.subsets, whole)
            for head, kept in self._kept(tried).items()
        )
        points = {head: grouped(draws[head]) for head in self.heads if head in draws}
        of_heads = curves(points, self.least_db)
        self._say(
            claims.curve_claims(of_heads, self.facts.algorithm),
            claims.enough(of_heads, self.least_db),
        )
        return of_heads

    def _orders(self) -> tuple[tuple[str, float], ...]:
        whole = self.facts.whole
        if whole is None or not self.facts.orders:
            return ()
        moved = grouped(
            (head, abs(other[head] - kept))
            for other in map(self._kept, self.facts.orders)
            for head, kept in self._kept(whole).items()
            if head in other
        )
        most = [(head, max(moved[head])) for head in self.heads if head in moved]
        if most:
            algorithm = self.facts.algorithm
            self._say(
                claims.order_claims(most, algorithm, self.least_db),
                claims.order_kept(most, algorithm),
            )
        return tuple(most)

    def _notes(self) -> Iterator[str]:
        """Yields what of a table's making its numbers do not show."""
        made = dict.fromkeys(
            name
            for record in self.evidence.records
            if record.status.ok
            and (name := record.pass_.algorithm or "").startswith(ENTROPY)
            # In which order a program of the user's own took its images, nobody knows.
            and not any(
                measurement.start is None or measurement.start.identity.get("kind") == "dumps"
                for measurement in record.measurements
            )
        )
        if made and len(self.facts.calibration.files) > 1:
            yield (
                f"Tables by {listed(list(made))} depend on the order of the images, since the first sets their "
                f"bins: these came by name, {self.facts.calibration.files[0]} first"
            )
