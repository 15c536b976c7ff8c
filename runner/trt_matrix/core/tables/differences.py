"""How the calibration tables differ: between environments, between algorithms, tensor by tensor.

A scale is amax / 127, so two tables differ in a tensor by the ratio of their ranges. Half the range
clips what lies beyond, double the range halves the resolution: both directions cost, so differences
are ordered by |log₂ ratio|.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.cells import TableSource
from trt_matrix.core.evidence import good
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Measurement, Record
from trt_matrix.core.tables.calibrator_rule import RULES, RuleComparison, compared_with_rule
from trt_matrix.core.tables.clipping import Clipped, Decided, clipped_tensors

SAME = 1e-6
"""Ratios nearer to 1 than this are one range: float32 text and back."""
MOST_TENSORS = 20
"""Tensors that are named."""
MINMAX = "minmax"

Ranges = Mapping[str, float]
"""Tensor → amax."""

TableFacts = Mapping[str, Mapping[str, Any]]
"""Table's digest → how it was made, as the manifest says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableUse:
    """One candidate table, and how it differs from the one that all are compared with."""

    digest: str
    algorithm: str
    note: str | None
    """Why it was made, where it is nobody's own and not shared."""
    own_of: tuple[str, ...]
    """Environments whose calibrator made exactly this table."""
    shared: bool
    cells: tuple[str, ...]
    """Ids of the cells that ran with it."""
    tensors: int
    unusable: int
    compared: int
    """Tensors that it has in common with the table that it is compared with; 0 for that itself."""
    differing: int
    """Of these, how many have another range."""
    median_ratio: float | None
    """Of its ranges to the other's; None where nothing is compared."""
    furthest: str | None
    """Tensor whose ranges differ most; None where none does."""
    furthest_ratio: float | None
    kept: float | None
    """Median of amax over the largest magnitude seen, by the minmax table of the same images; what lies
    beyond is clipped. None where there is no such table."""
    clipped: tuple[Clipped, ...] = ()
    """Tensors that it clips much, in a cell that ran with it."""
    rule: RuleComparison | None = None
    """How it differs from the rule of the calibrator that made it; None where that or its images are unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorRanges:
    """A tensor whose range differs between tables."""

    tensor: str
    heads: tuple[str, ...]
    """Heads that depend on it; empty where the network is not known."""
    amax: Mapping[str, float]
    """Table's digest → range; tables without it are left out."""
    spread: float
    """Largest range over the smallest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableReport:
    against: str | None
    """Digest of the table that the others are compared with: the shared one, else the baseline's own."""
    tables: tuple[TableUse, ...]
    """What cells ran with first."""
    tensors: tuple[TensorRanges, ...]
    """Those that differ most between the tables that cells ran with, the furthest apart first."""
    missing: tuple[str, ...] = ()
    """Digests of tables whose ranges are not stored with the run any more."""


def table_report(
    manifest: Manifest,
    records: Sequence[Record],
    ranges: Mapping[str, Ranges],
    heads_of: Mapping[str, tuple[str, ...]],
    decided: Decided,
) -> TableReport:
    """Compares the tables of a run.

    Tables that cannot be read have no `ranges`; `heads_of` and `decided` are empty where the network is not
    known.
    """
    cells: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {}
    shared: list[str] = []
    for record in records:
        tables = (measurement.table for measurement in good(record))
        for table in filter(None, dict.fromkeys(tables)):
            cells.setdefault(table, []).append(record.cell)
            if record.pass_.source is TableSource.OWN:
                if record.environment not in own.setdefault(table, []):
                    own[table].append(record.environment)
            elif record.pass_.source is TableSource.SHARED:
                shared.append(table)
    known = [digest for digest in manifest.tables if digest in ranges]
    used = [digest for digest in known if digest in cells]
    against = _against(used, shared, own, manifest.baseline)
    ordered = sorted(known, key=lambda digest: (digest != against, digest not in cells))
    clipped = _clipped(manifest, ranges, heads_of, decided)
    rules = _rules(manifest, records, ranges, heads_of)
    return TableReport(
        against=against,
        tables=tuple(
            _use(
                digest,
                manifest.tables,
                ranges,
                against,
                own_of=tuple(own.get(digest, ())),
                shared=digest in shared,
                cells=tuple(cells.get(digest, ())),
                clipped=clipped.get(digest, ()),
                rule=rules.get(digest),
            )
            for digest in ordered
        ),
        tensors=_furthest(
            {digest: ranges[digest] for digest in ordered if digest in cells}, heads_of
        ),
        missing=tuple(digest for digest in manifest.tables if digest not in ranges),
    )


def title(use: TableUse) -> str:
    """Returns `entropy, shared and own of ort-1.18.1`: by whom, and whose."""
    makers = [f"own of {_names(use.own_of)}"] if use.own_of else []
    whose = " and ".join((["shared"] if use.shared else []) + makers)
    return f"{use.algorithm}, {whose}" if whose else use.algorithm


def called(use: TableUse) -> str:
    """Returns `the shared entropy table`, as a sentence names it."""
    whose = "shared " if use.shared else "own "
    whose_own = f" of {_names(use.own_of)}" if use.own_of and not use.shared else ""
    return f"the {whose if use.cells else ''}{use.algorithm} table{whose_own}"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} environments"


def _against(
    used: Sequence[str], shared: Sequence[str], own: Mapping[str, Sequence[str]], baseline: str
) -> str | None:
    candidates = [
        *(digest for digest in used if digest in shared),
        *(digest for digest in used if baseline in own.get(digest, ())),
        *used,
    ]
    return next(iter(candidates), None)


def _use(
    digest: str,
    facts: TableFacts,
    ranges: Mapping[str, Ranges],
    against: str | None,
    *,
    own_of: tuple[str, ...],
    shared: bool,
    cells: tuple[str, ...],
    clipped: tuple[Clipped, ...],
    rule: RuleComparison | None,
) -> TableUse:
    here = ranges[digest]
    ratios = _ratios(here, ranges[against]) if against not in (None, digest) else {}
    differing = {tensor: ratio for tensor, ratio in ratios.items() if abs(ratio - 1) > SAME}
    furthest = max(differing, key=lambda tensor: _distance(differing[tensor]), default=None)
    kept = _ratios(here, _seen(digest, facts, ranges))
    stated = facts[digest]
    return TableUse(
        digest=digest,
        algorithm=str(stated.get("algorithm", "")),
        note=stated.get("note"),
        own_of=own_of,
        shared=shared,
        cells=cells,
        tensors=len(here),
        unusable=len(stated.get("unusable") or ()),
        compared=len(ratios),
        differing=len(differing),
        median_ratio=statistics.median(ratios.values()) if ratios else None,
        furthest=furthest,
        furthest_ratio=None if furthest is None else differing[furthest],
        kept=statistics.median(kept.values()) if kept else None,
        clipped=clipped,
        rule=rule,
    )


def _clipped(
    manifest: Manifest,
    ranges: Mapping[str, Ranges],
    heads_of: Mapping[str, tuple[str, ...]],
    decided: Decided,
) -> Mapping[str, tuple[Clipped, ...]]:
    """Returns digest → what a table clips."""
    by_table = {}
    for table, cells_of in decided.items():
        if table not in ranges:
            continue
        seen = _seen(table, manifest.tables, ranges) or _made_of(
            _calibration_images(manifest), MINMAX, manifest.tables, ranges
        )
        if seen:
            shares = manifest.tables[table].get("clipped") or {}
            by_table[table] = clipped_tensors(ranges[table], seen, shares, heads_of, cells_of)
    return by_table


def _rules(
    manifest: Manifest,
    records: Sequence[Record],
    ranges: Mapping[str, Ranges],
    heads_of: Mapping[str, tuple[str, ...]],
) -> Mapping[str, RuleComparison]:
    """Returns digest → how a table that TensorRT made of the calibration images differs from its rule."""
    comparisons = {}
    for record in records:
        if not (record.pass_.made_inside and record.pass_.implicit):
            continue
        for measurement in good(record):
            table, calibrator = measurement.table, _calibrator(measurement, manifest)
            # What a program of the user's own calibrated on, nobody knows.
            start = measurement.start
            recorded = start is None or start.identity.get("kind") == "dumps"
            if recorded or not table or table not in ranges or calibrator not in RULES:
                continue
            # Before what is clipped was counted, `entropy` was none of TensorRT's.
            known = {name: facts for name, facts in manifest.tables.items() if "clipped" in facts}
            rule = _made_of(_calibration_images(manifest), RULES[calibrator], known, ranges)
            if rule and (
                comparison := compared_with_rule(calibrator, ranges[table], rule, heads_of)
            ):
                comparisons[table] = comparison
    return comparisons


def _calibrator(measurement: Measurement, manifest: Manifest) -> str:
    """Returns what the cache of a measurement says of its maker; empty where it was not read."""
    if not (measurement.cache and measurement.table and not measurement.table_problem):
        return ""
    return str(manifest.tables.get(measurement.table, {}).get("algorithm", ""))


def _calibration_images(manifest: Manifest) -> str | None:
    """Returns the digest of the array of the calibration images."""
    images = manifest.facts.get("images", {}).get("calibration", {}).get("array_sha256")
    return None if images is None else str(images)


def _seen(digest: str, facts: TableFacts, ranges: Mapping[str, Ranges]) -> Ranges:
    """Returns the largest magnitudes in the images that a table was made of; nothing where they are unknown."""
    return _made_of(facts[digest].get("images_sha256"), MINMAX, facts, ranges)


def _made_of(
    images: str | None, algorithm: str, facts: TableFacts, ranges: Mapping[str, Ranges]
) -> Ranges:
    """Returns the ranges that an algorithm gave for images; nothing where no table has them."""
    candidates = (
        ranges[digest]
        for digest, stated in facts.items()
        if digest in ranges
        and images is not None
        and stated.get("images_sha256") == images
        and stated.get("algorithm") == algorithm
    )
    return next(candidates, {})


def _ratios(here: Ranges, there: Ranges) -> dict[str, float]:
    return {tensor: amax / there[tensor] for tensor, amax in here.items() if tensor in there}


def _distance(ratio: float) -> float:
    return abs(math.log2(ratio)) if 0 < ratio < math.inf else math.inf


def _furthest(
    tables: Mapping[str, Ranges], heads_of: Mapping[str, tuple[str, ...]]
) -> tuple[TensorRanges, ...]:
    all_ranges: list[TensorRanges] = []
    for tensor in dict.fromkeys(tensor for ranges in tables.values() for tensor in ranges):
        amax = {digest: ranges[tensor] for digest, ranges in tables.items() if tensor in ranges}
        spread = max(amax.values()) / min(amax.values())
        if spread > 1 + SAME:
            heads = heads_of.get(tensor, ())
            all_ranges.append(TensorRanges(tensor=tensor, heads=heads, amax=amax, spread=spread))
    all_ranges.sort(key=lambda ranges: (-ranges.spread, ranges.tensor))
    return tuple(all_ranges[:MOST_TENSORS])
