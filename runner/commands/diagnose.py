"""What `trt-matrix diagnose` tells: what int8 loses by which tensors and layers, and the set to keep in float."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.core.diagnosis.record import (
    Diagnosis,
    HeadDiagnosis,
    Numbers,
    Part,
    SetRecord,
    TensorDiagnosis,
)
from runner.core.diagnosis.tensors import BEYOND_DB, ROUNDING
from runner.core.words import count, listed

SHOWN_PARTS = 8
SHOWN_TENSORS = 8
SHOWN_SETS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    diagnosis: Diagnosis
    file: Path
    network: Path | None
    """Where the network with the chosen set in float is."""

    def summary(self) -> Mapping[str, Any]:
        return self.diagnosis.model_dump(mode="json") | {
            "file": str(self.file),
            "network": str(self.network) if self.network else None,
        }

    def text(self) -> str:
        one = self.diagnosis
        lines = [
            f"{one.name}: int8 by the table {one.table}, placed for {one.placement}; "
            f"simulated on {count(one.images_chosen_on, 'image')}"
            + (
                f", confirmed on {one.images_confirmed_on} others"
                if one.images_confirmed_on
                else ""
            ),
            *one.notes,
        ]
        for head in one.heads:
            lines += ["", *_head(head)]
        lines += ["", *_tensors(one.tensors), "", *_search(one)]
        if self.network:
            lines.append(f"wrote {self.network}: the network with Q/DQ, those layers in float")
        lines += ["", f"wrote {self.file} in {sum(one.seconds.values()):.0f} s"]
        return "\n".join(lines)


# One head


def _head(one: HeadDiagnosis) -> list[str]:
    lines = [f"head {one.head}: {_told(one.int8)} (simulated)"]
    lines.append(
        f"  expected: {_db(one.rounding_db)} by rounding alone with the best ranges, {_db(one.predicted_db)} as its "
        f"parts add up, {_db(one.int8.sqnr_db)} simulated"
        + "".join(f", {_db(real.sqnr_db)} measured in {real.cell}" for real in one.measured[:1])
    )
    lines.append(
        f"  weights alone {_db(one.weights_only_db)}, activations alone {_db(one.activations_only_db)}; "
        f"parts over whole {_ratio(one.trust)}"
        + (_TRUSTED if one.trust is not None and 0.5 <= one.trust <= 2 else _UNTRUSTED)
    )
    if one.beyond_db is not None and one.beyond_db >= BEYOND_DB:
        lines.append(
            f"  something is wrong beside 8 bits: {one.beyond_db:.1f} dB beyond rounding alone"
        )
        for suspect in one.suspects[:4]:
            why = f": {', '.join(suspect.causes)}" if suspect.causes else ""
            images = f", most on {listed(suspect.images, 3)}" if suspect.images else ""
            lines.append(
                f"    {suspect.kind} {suspect.name} costs {suspect.avoidable_share:.0%} of its error "
                f"beyond that{why}{images}"
            )
    elif one.beyond_db is not None:
        lines.append(
            f"  nothing is wrong beside 8 bits: {max(one.beyond_db, 0):.1f} dB beyond rounding alone"
        )
    if one.parts:
        lines.append("  what one group in float gives back (simulated), most first:")
        lines += _rows(_part_rows(one.parts[:SHOWN_PARTS]))
        if len(one.parts) > SHOWN_PARTS:
            lines.append(
                f"    and {count(len(one.parts) - SHOWN_PARTS, 'group')} more, in the file"
            )
    return lines


_TRUSTED = ": they can be added"
_UNTRUSTED = ": they do not add up, only sets that were evaluated tell anything"


def _part_rows(parts: Sequence[Part]) -> list[list[str]]:
    boxes = any(one.lost_back is not None for one in parts)
    precision = any(one.ap_back is not None for one in parts)
    header = ["group", "dB back", "on worst", *(["boxes"] if boxes else ())]
    header += [*(["AP"] if precision else ()), "of error", "its weights", "of work"]
    rows = [header]
    for one in parts:
        row = [one.group, f"{one.gain_db:+.2f}", f"{one.worst_gain_db:+.2f}"]
        if boxes:
            row.append("–" if one.lost_back is None else f"{one.lost_back:+.0f}")
        if precision:
            row.append("–" if one.ap_back is None else f"{one.ap_back:+.3f}")
        weights = "–" if one.weights_share is None else f"{one.weights_share:.0%}"
        rows.append([*row, f"{one.share:.1%}", weights, f"{one.cost:.1%}"])
    return rows


# Tensors


def _tensors(every: Sequence[TensorDiagnosis]) -> list[str]:
    bad = [one for one in every if one.causes]
    if not bad:
        return [
            f"tensors: none of {len(every)} has an error far from rounding's ({ROUNDING:.3f} of a step)"
        ]
    bad.sort(key=lambda one: (-one.avoidable, -one.error_steps))
    lines = [
        f"tensors: {len(bad)} of {len(every)} have a range that does not fit "
        f"(rounding alone errs by {ROUNDING:.3f} of a step)"
    ]
    header = ["", "tensor", "error in steps", "clipped", "range", "seen", "another table", "why"]
    rows = [
        [
            one.kind,
            one.name,
            f"{one.error_steps:.2f}",
            f"{one.clipped_share:.2%}",
            f"{one.range:.4g}",
            f"{one.amax:.4g}",
            f"{one.next_range:.4g}" if one.next_range is not None else "–",
            ", ".join(one.causes),
        ]
        for one in bad[:SHOWN_TENSORS]
    ]
    lines += _rows([header, *rows])
    if len(bad) > SHOWN_TENSORS:
        lines.append(f"    and {len(bad) - SHOWN_TENSORS} more, in the file")
    return lines


# The search


def _search(one: Diagnosis) -> list[str]:
    search = one.search
    lines = [search.sentence]
    if search.chosen and search.chosen.layers:
        lines.append(f"  in float: {listed(search.chosen.layers, 12)}")
        if search.minimal:
            lines.append("  none of them can be left out: each was tried")
    if search.front:
        lines.append(f"  sets by cost ({count(search.evaluations, 'set')} evaluated, simulated):")
        lines += _rows(
            _set_rows(search.front, [head.head for head in one.heads], limits=bool(search.goals))
        )
    if one.elsewhere:
        told = one.elsewhere
        lines.append("  for use elsewhere:")
        lines += [
            f"    {name:<12}{text}"
            for name, text in (
                ("matrix.yaml", f"options: {{{told.fp32_layers}}} of TensorRT environments"),
                ("trtexec", told.trtexec),
                ("Polygraphy", told.polygraphy),
                ("ModelOpt", told.modelopt),
            )
            if text
        ]
        lines += [f"    {problem}" for problem in told.problems]
    return lines


def _set_rows(sets: Sequence[SetRecord], heads: Sequence[str], *, limits: bool) -> list[list[str]]:
    shown = heads[:6]
    boxes = any(one.whole.lost is not None for one in sets)
    precision = any(one.whole.ap_drop is not None for one in sets)
    header = ["layers", "of work", *(f"{head} dB" for head in shown)]
    header += [*(["lost"] if boxes else ()), *(["AP drop"] if precision else ())]
    rows = [[*header, *(["limits"] if limits else ()), ""]]
    step = max(1, -(-len(sets) // SHOWN_SETS))
    for one in [*sets[:-1:step], sets[-1]]:
        row = [str(len(one.layers)), f"{one.cost:.1%}"]
        row += [_plain(one.heads[head].sqnr_db) for head in shown]
        if boxes:
            row.append("–" if one.whole.lost is None else f"{one.whole.lost:.0f}")
        if precision:
            row.append("–" if one.whole.ap_drop is None else f"{one.whole.ap_drop:z.3f}")
        if limits:
            row.append(f"{len(one.failing)} broken" if one.failing else "all hold")
        rows.append([*row, listed(one.layers, 3)])
    return rows


# Words


def _told(one: Numbers) -> str:
    parts = [_db(one.sqnr_db), f"{_db(one.worst_sqnr_db)} on the worst images"]
    if one.lost is not None:
        share = f" ({one.lost_share:.1%})" if one.lost_share is not None else ""
        parts.append(f"{one.lost:.0f} boxes lost{share}")
    if one.ap_drop is not None:
        parts.append(f"AP drop {one.ap_drop:z.3f}")
    return ", ".join(parts)


def _db(value: float | None) -> str:
    return "no number" if value is None else f"{value:.1f} dB"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    # Names to the left, numbers to the right.
    return [
        ("    " + "  ".join(_cell(row, index, widths) for index in range(len(row)))).rstrip()
        for row in rows
    ]


def _cell(row: Sequence[str], index: int, widths: Sequence[int]) -> str:
    number = row[index][:1] in "+-–0123456789" and row[index] != ""
    return row[index].rjust(widths[index]) if number else row[index].ljust(widths[index])
