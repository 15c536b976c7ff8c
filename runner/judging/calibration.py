"""What a run wrote down of its calibration set → the report on it; needs no engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.cells import Status
from runner.core.boxes.evidence import UNKNOWN, BoxEvidence
from runner.core.calibration import alike, claims, fed, ranges
from runner.core.calibration.cost import costs
from runner.core.calibration.curve import Curve, curves
from runner.core.calibration.preprocessings import AS_FED, nearest
from runner.core.calibration.report import (
    CalibrationReport,
    Claim,
    FedTable,
    Pair,
    Trial,
    Without,
)
from runner.core.calibration.sizes import Size, sizes
from runner.core.evidence import Evidence
from runner.core.rules import Rules
from runner.core.tables.differences import Ranges
from runner.core.verdicts.head_errors import head_errors
from runner.core.words import count, listed
from runner.records import CalibrationFacts, Manifest, Object, Tried
from runner.store import Store

ENTROPY = "entropy"
MOST = 12
"""Pairs and tensors that are listed."""
FEW = 5
"""Images that are listed for the ranges that they decide."""

Array = npt.NDArray[Any]


def calibration_report(
    store: Store,
    found: Evidence,
    boxes: BoxEvidence | None,
    tables: Mapping[str, Ranges],
    heads_of: Mapping[str, tuple[str, ...]],
) -> CalibrationReport | None:
    """Returns None of a run that did not look at its calibration set.

    Args:
        store: Holds what was written down.
        found: Of the run.
        boxes: The same; None where none are decoded.
        tables: Digest → ranges of the run's tables.
        heads_of: Tensor → heads that depend on it; empty where the network is not known.
    """
    facts = found.manifest.calibration
    if facts is None:
        return None
    return _Judging(store, found, facts, boxes, tables, heads_of).report()


class _Judging:
    def __init__(
        self,
        store: Store,
        found: Evidence,
        facts: CalibrationFacts,
        boxes: BoxEvidence | None,
        tables: Mapping[str, Ranges],
        heads_of: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.store = store
        self.found = found
        self.manifest: Manifest = found.manifest
        self.facts = facts
        self.boxes = boxes
        self.tables = tables
        self.heads_of = heads_of
        self.rules: Rules = found.rules
        self.claims: list[Claim] = []
        self.well: list[str] = []
        self.unknown = list(facts.unknown)

    def report(self) -> CalibrationReport:
        facts = self.facts
        here, there = (self._array(one.described) for one in (facts.calibration, facts.evaluation))
        made = CalibrationReport(
            images=len(facts.calibration.files),
            evaluation_images=len(facts.evaluation.files),
            costs=costs(self.manifest, head_errors(self.found)),
            tensors=len(facts.tensors),
            algorithm=facts.algorithm,
        )
        if here is None or there is None:
            self.unknown.append("likeness of images: what was written down of them is gone")
        else:
            made = self._likeness(made, here, there)
            made = self._fed(made, here, there)
        maxima = [
            self._array(one.maxima) if one.maxima else None
            for one in (facts.calibration, facts.evaluation)
        ]
        if maxima[0] is not None and maxima[1] is not None:
            made = self._ranges(made, maxima[0], maxima[1])
        return replace(
            made,
            sizes=self._sizes(),
            sizes_of=facts.areas_of,
            curves=self._curves(),
            orders_db=self._orders(),
            notes=tuple(self._notes()),
            tables=self._tables(here),
            trials=self._trials(),
            claims=tuple(self.claims),
            well=tuple(self.well),
            unknown=tuple(dict.fromkeys(self.unknown)),
        )

    def _array(self, stored: Object) -> Array | None:
        if not self.store.has(stored):
            return None
        try:
            found: Array = np.load(self.store.path(stored), allow_pickle=False)
        except (OSError, ValueError):
            return None  # damaged; the next run makes it again
        return found

    def _say(self, made: Iterator[Claim], well: str | None = None) -> None:
        """Takes claims in; where there is none, that is told instead."""
        found = list(made)
        self.claims += found
        if not found and well:
            self.well.append(well)

    # Images

    def _likeness(self, made: CalibrationReport, here: Array, there: Array) -> CalibrationReport:
        found = alike.likeness(here["description"], there["description"])
        files, others = self.facts.calibration.files, self.facts.evaluation.files
        compared = sum(found.compared)
        self._say(
            claims.likeness_claims(found, files, others),
            f"no nearly identical pictures among {count(compared, 'image')}",
        )
        if found.compared != (len(here), len(there)):
            self.unknown.append(
                f"likeness of all images: {compared:,} of {len(here) + len(there):,} were compared"
            )
        pairs = sorted(found.across, key=lambda one: (-one.cosine, one.other))
        return replace(
            made,
            pairs=tuple(
                Pair(
                    calibration=files[one.one],
                    evaluation=others[one.other],
                    cosine=one.cosine,
                    mirrored=one.mirrored,
                )
                for one in pairs[:MOST]
            ),
            pairs_in_all=len(pairs),
        )

    def _fed(self, made: CalibrationReport, here: Array, there: Array) -> CalibrationReport:
        ones, others = here["statistics"], there["statistics"]
        how = self._pixels(ones.shape[1])
        if how is not None:
            exchanged = fed.swapped(ones, others, how)
            self._say(
                claims.set_claims(fed.differences(ones, others, how), exchanged),
                "brightness, contrast and colour as in the evaluation",
            )
        return replace(made, channels=fed.channels(ones), evaluation_channels=fed.channels(others))

    def _pixels(self, channels: int) -> fed.Pixels | None:
        stated = self.manifest.facts.get("images", {}).get("preprocess", {})

        def each(name: str) -> tuple[float, ...]:
            value = stated[name]
            return tuple(value) if isinstance(value, list | tuple) else (value,) * channels

        try:
            return fed.Pixels(
                scale=stated["scale"],
                mean=each("mean"),
                std=each("std"),
                blue_first=stated.get("color") == "bgr",
            )
        except (KeyError, TypeError):
            return None

    # Ranges

    def _ranges(self, made: CalibrationReport, here: Array, there: Array) -> CalibrationReport:
        names, files = self.facts.tensors, self.facts.calibration.files
        unseen = ranges.unseen(names, here, there, self.heads_of)
        self._say(
            claims.unseen_claims(unseen, len(there), len(names)),
            "no tensor goes beyond what calibration images showed more often than chance gives",
        )
        deciders = ranges.deciders(names, here)
        return replace(
            made,
            unseen=unseen[:MOST],
            unseen_in_all=len(unseen),
            deciders=tuple((files[one.image], one) for one in deciders[:FEW]),
            without=self._without(here),
        )

    def _without(self, maxima: Array) -> tuple[Without, ...]:
        whole = self.facts.whole
        if whole is None:
            return ()
        everything = set(whole.images)
        by_image = {next(iter(everything - set(one.images))): one for one in self.facts.without}
        made = []
        for decider in ranges.suspects(self.facts.tensors, maxima):
            if decider.image not in by_image:
                continue
            gains = []
            for head in self._heads():
                kept = self._sqnr(head, by_image[decider.image])
                before = self._sqnr(head, whole)
                if kept is not None and before is not None:
                    gains.append((head, kept - before))
            gains.sort(key=lambda one: -abs(one[1]))
            image = self.facts.calibration.files[decider.image]
            made.append(Without(decider=decider, image=image, gains_db=tuple(gains)))
        self._say(claims.without_claims(made, self.rules.least_effect_db))
        return tuple(made)

    def _heads(self) -> Sequence[str]:
        return [gate.head for gate in self.manifest.heads]

    def _sqnr(self, head: str, one: Tried) -> float | None:
        output = one.outputs.get(head)
        if output is None or not self.store.has(output):
            return None
        return self.found.sqnr_of(head, output)

    # Sizes, numbers

    def _sizes(self) -> tuple[Size, ...]:
        here, there = self.facts.calibration.areas, self.facts.evaluation.areas
        if here is None or there is None:
            return ()
        found = sizes(here, there)
        if any(one.calibration + one.evaluation for one in found):
            self._say(
                claims.size_claims(found, len(here), len(there), self.facts.areas_of),
                "objects of every size as often as in the evaluation",
            )
        return found

    def _curves(self) -> tuple[Curve, ...]:
        whole = self.facts.whole
        if whole is None or not self.facts.subsets:
            return ()
        found: dict[str, dict[int, list[float]]] = {}
        for head in self._heads():
            for one in (*self.facts.subsets, whole):
                kept = self._sqnr(head, one)
                if kept is not None:
                    found.setdefault(head, {}).setdefault(len(one.images), []).append(kept)
        least = self.rules.least_effect_db
        made = curves(found, least)
        self._say(claims.curve_claims(made, self.facts.algorithm), claims.enough(made, least))
        return made

    def _orders(self) -> tuple[tuple[str, float], ...]:
        whole = self.facts.whole
        if whole is None or not self.facts.orders:
            return ()
        found = []
        for head in self._heads():
            kept = self._sqnr(head, whole)
            others = [self._sqnr(head, one) for one in self.facts.orders]
            moved = [abs(one - kept) for one in others if one is not None and kept is not None]
            if moved:
                found.append((head, max(moved)))
        if found:
            algorithm = self.facts.algorithm
            self._say(
                claims.order_claims(found, algorithm, self.rules.least_effect_db),
                claims.order_kept(found, algorithm),
            )
        return tuple(found)

    def _notes(self) -> Iterator[str]:
        """Yields what of a table's making its numbers do not show."""
        made = dict.fromkeys(
            name
            for record in self.found.records
            if record.status is Status.OK
            and (name := record.pass_.algorithm or "").startswith(ENTROPY)
        )
        if made and self.facts.calibration.files:
            yield (
                f"Tables by {listed(list(made))} depend on the order of the images, since the first sets their "
                f"bins: these came by name, {self.facts.calibration.files[0]} first"
            )

    # Preprocessing

    def _tables(self, here: Array | None) -> tuple[FedTable, ...]:
        if not self.facts.forms:
            return ()
        made = []
        inputs = self.manifest.asked.input if self.manifest.asked else ""
        reached = float(np.abs(here["statistics"][:, :, 2:4]).max()) if here is not None else 0.0
        for digest, name in self.facts.foreign.items():
            table = self.tables.get(digest)
            found = nearest(table, self.facts.forms) if table else None
            if table is None or found is None:
                continue
            made.append(
                FedTable(
                    table=digest,
                    name=name,
                    nearest=found,
                    input_amax=table.get(inputs),
                    input_fed=reached,
                )
            )
        names = listed([one.name for one in made], 3)
        self._say(
            claims.table_claims(made),
            f"the table of {names} fits what was fed" if _all_fit(made) else None,
        )
        return tuple(made)

    def _trials(self) -> tuple[Trial, ...]:
        boxes = self.boxes
        if not self.facts.trials or boxes is None or boxes.precision_of is None:
            return ()
        draws_of: Callable[..., npt.NDArray[np.float64]] | None = boxes.draws_of
        made: list[Trial] = []
        first: npt.NDArray[np.float64] | None = None
        for one in self.facts.trials:
            try:
                ap50 = boxes.precision_of(one.outputs)["all"].ap50
                draws = draws_of(one.outputs)[:, 1] if draws_of else None
            except UNKNOWN as error:
                self.unknown.append(f"what is found with {one.name}: {error}")
                continue
            if ap50 is None or draws is None:
                continue
            if one.name == AS_FED:
                first = draws
            better = (
                float(np.nanquantile(draws - first, 0.025))
                if one.name != AS_FED and first is not None and np.isfinite(draws - first).any()
                else None
            )
            made.append(Trial(form=one.name, ap50=float(ap50), better_by=better))
        if first is not None:
            self._say(
                claims.trial_claims(made), "the float network finds most with the images as fed"
            )
        return tuple(made)


def _all_fit(made: Sequence[FedTable]) -> bool:
    return bool(made) and all(AS_FED in one.nearest.forms for one in made)
