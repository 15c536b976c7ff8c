"""What `trt-matrix diagnose` tells: what int8 loses by which tensors and layers, and the set to keep in float."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_matrix.core.diagnosis.groups import INPUT
from trt_matrix.core.diagnosis.record import (
    Diagnosis,
    EngineLoss,
    GroupCost,
    HeadDiagnosis,
    Numbers,
    SetRecord,
    TensorDiagnosis,
    ToolSettings,
)
from trt_matrix.core.diagnosis.tensors import BEYOND_DB, ROUNDING, Cause
from trt_matrix.core.words import count, listed

SHOWN_PARTS = 8
SHOWN_TENSORS = 8
SHOWN_SETS = 12

ONE_SCALE = "one scale for all of its channels"
"""What weights err by beyond a scale for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A diagnosis that was made and written."""

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
        diagnosis, others = self.diagnosis, self.diagnosis.images_confirmed_on
        lines = [
            f"{diagnosis.name}: int8 by the table {diagnosis.table}, placed for {diagnosis.placement}; "
            f"simulated on {count(diagnosis.images_chosen_on, 'image')}"
            + (f", confirmed on {others} others" if diagnosis.search.confirmed else ""),
            *diagnosis.notes,
        ]
        for head in diagnosis.heads:
            lines += ["", *_head(head)]
        lines += ["", *_tensors(diagnosis), *_mix(diagnosis), "", *_search(diagnosis)]
        if diagnosis.engine_loss:
            lines += ["", *engine_loss_lines(diagnosis.engine_loss)]
        if self.network:
            lines.append(f"wrote {self.network}: the network with Q/DQ, those layers in float")
        lines += ["", f"wrote {self.file} in {sum(diagnosis.seconds.values()):.0f} s"]
        return "\n".join(lines)


# One head


def _head(head: HeadDiagnosis) -> list[str]:
    lines = [f"head {head.head}: {_told(head.int8)} (simulated)"]
    lines.append(
        f"  expected: {_db(head.rounding_db)} by rounding alone with the best ranges, {_db(head.predicted_db)} as its "
        f"parts add up, {_db(head.int8.sqnr_db)} simulated"
        + "".join(f", {_db(real.sqnr_db)} measured in {real.cell}" for real in head.measured[:1])
    )
    lines.append(
        f"  weights alone {_db(head.weights_only_db)}, activations alone {_db(head.activations_only_db)}; "
        f"parts over whole {'unknown' if head.trust is None else f'{head.trust:.2f}'}"
        + (_TRUSTED if head.trust is not None and 2 / 3 <= head.trust <= 3 / 2 else _UNTRUSTED)
    )
    beyond = head.beyond_db
    if beyond is not None and beyond >= BEYOND_DB:
        lines.append(f"  something is wrong beside 8 bits: {beyond:.1f} dB beyond rounding alone")
        for suspect in head.suspects[:4]:
            causes = suspect.causes or ((ONE_SCALE,) if suspect.kind == "weights" else ())
            why = f": {', '.join(causes)}" if causes else ""
            images = f"; most on {listed(suspect.images, 3)}" if suspect.images else ""
            lines.append(
                f"    {suspect.kind} {suspect.name}{why}: on its own {suspect.avoidable_share:.0%} of the error as its "
                f"parts add up; {suspect.gain_db:+.1f} dB with {suspect.group} in float{images}"
            )
    elif beyond is not None:
        told = f"{max(beyond, 0):.1f} dB beyond rounding alone"
        lines.append(f"  nothing is wrong beside 8 bits: {told}")
    if head.parts:
        lines.append("  what one group in float gives back (simulated), most first:")
        lines += _rows(_part_rows(head.parts[:SHOWN_PARTS]))
        if (more := len(head.parts) - SHOWN_PARTS) > 0:
            lines.append(f"    and {count(more, 'group')} more, in the file")
    return lines


_TRUSTED = ": they can be added"
_UNTRUSTED = ": they do not add up, only sets that were evaluated tell anything"


def _part_rows(parts: Sequence[GroupCost]) -> list[list[str]]:
    boxes = any(part.lost_back is not None for part in parts)
    precision = any(part.ap_back is not None for part in parts)
    header = ["group", "dB back", "on worst", *(["boxes"] if boxes else ())]
    header += [*(["AP"] if precision else ()), "of error", "its weights", "cost"]
    rows = [header]
    for part in parts:
        name = f"{part.group} (the input)" if part.operator == INPUT else part.group
        row = [name, f"{part.gain_db:+.2f}", f"{part.worst_gain_db:+.2f}"]
        row += [_number(part.lost_back, "+.0f")] if boxes else []
        row += [_number(part.ap_back, "+.3f")] if precision else []
        weights = _number(part.weights_share, ".0%")
        rows.append([*row, f"{part.share:.1%}", weights, f"{part.cost:.1%}"])
    return rows


# Tensors


def _tensors(diagnosis: Diagnosis) -> list[str]:
    every = _once(diagnosis.tensors)
    bad = [tensor for tensor in every if tensor.causes]
    unlike = [t for t in bad if t.causes == (Cause.CHANNELS,) and t.kind == "activation"]
    unfit = [tensor for tensor in bad if tensor not in unlike]
    rounding = f"rounding alone errs by {ROUNDING:.3f} of a step"
    lines = [
        f"tensors: {len(unfit) or 'none'} of {len(every)} with a range that does not fit ({rounding})"
    ]
    if unlike:
        lines.append(
            f"  {count(len(unlike), 'more activation')} whose channels differ: small ones have few steps, "
            "and no one range helps"
        )
    if not bad:
        return lines
    shares: dict[str, float] = {}
    for head in diagnosis.heads:
        for part in head.parts:
            shares[part.group] = max(shares.get(part.group, 0.0), part.share)

    def harm(tensor: TensorDiagnosis) -> float:
        return -tensor.avoidable * shares.get(tensor.group, 0.0)

    bad = [*sorted(unfit, key=harm), *sorted(unlike, key=harm)]
    header = ["", "tensor", "error in steps", "clipped", "range", "seen", "another table"]
    header += ["its group's part", "why"]
    rows = [
        [
            tensor.kind,
            tensor.name,
            f"{tensor.error_steps:.2f}",
            f"{tensor.clipped_share:.2%}",
            f"{tensor.range:.4g}",
            f"{tensor.amax:.4g}",
            _number(tensor.next_range, ".4g"),
            f"{shares.get(tensor.group, 0.0):.1%}",
            ", ".join(tensor.causes),
        ]
        for tensor in bad[:SHOWN_TENSORS]
    ]
    lines += _rows([header, *rows])
    if len(bad) > SHOWN_TENSORS:
        lines.append(f"    and {len(bad) - SHOWN_TENSORS} more, in the file")
    return lines


def _once(every: Sequence[TensorDiagnosis]) -> Sequence[TensorDiagnosis]:
    """Returns one tensor for each range of a group: what carries its values on is quantised with it."""
    first: dict[tuple[object, ...], TensorDiagnosis] = {}
    for tensor in every:
        first.setdefault((tensor.kind, tensor.group, tensor.range, tensor.amax), tensor)
    return list(first.values())


def _mix(diagnosis: Diagnosis) -> list[str]:
    """Returns what the network keeps where each tensor has the best of the known ranges."""
    mix = diagnosis.mix
    if mix is None:
        return []
    before = {head.head: head.int8 for head in diagnosis.heads}, diagnosis.whole
    after, images = mix.chosen, f"the {count(diagnosis.images_chosen_on, 'image')} that chose them"
    if mix.confirmed is not None and diagnosis.other_images is not None:
        before = diagnosis.other_images.heads, diagnosis.other_images.whole
        after, images = mix.confirmed, count(diagnosis.images_confirmed_on, "other image")
    heads, whole = before
    parts = [
        f"{name} {_number(heads[name].sqnr_db)} to {_db(kept.sqnr_db)}"
        for name, kept in after.heads.items()
    ]
    for what, now, then in (
        ("lost boxes", whole.lost, after.whole.lost),
        ("AP drop", whole.ap_drop, after.whole.ap_drop),
    ):
        if now is not None and then is not None:
            digits = 0 if what == "lost boxes" else 3
            parts.append(f"{what} {now:z.{digits}f} to {then:z.{digits}f}")
    return [
        f"  with the range of least squared error that any table has for it ({count(mix.changed, 'tensor')} changed): "
        f"{', '.join(parts)}; simulated on {images}"
    ]


# The search


def _search(diagnosis: Diagnosis) -> list[str]:
    search = diagnosis.search
    lines = [search.sentence]
    if search.chosen and search.chosen.layers:
        lines.append(f"  in float: {listed(search.chosen.layers, 12)}")
        if search.minimal:
            lines.append("  none of them can be left out: each was tried")
    if search.front:
        lines.append(f"  sets by cost ({count(search.evaluations, 'set')} evaluated, simulated):")
        heads = [head.head for head in diagnosis.heads]
        lines += _rows(_set_rows(search.front, heads, limits=bool(search.goals)))
    if diagnosis.elsewhere:
        lines += _elsewhere(diagnosis.elsewhere)
    return lines


def _elsewhere(tool_settings: ToolSettings, *, explicit: bool = True) -> list[str]:
    """Returns the set for other tools; for those that leave out Q/DQ nodes where that does anything."""
    lines = ["  for use elsewhere:"]
    lines += [
        f"    {name:<12}{text}"
        for name, text in (
            ("matrix.yaml", f"options: {{{tool_settings.fp32_layers}}} of TensorRT environments"),
            ("trtexec", tool_settings.trtexec),
            ("Polygraphy", tool_settings.polygraphy),
            ("ModelOpt", tool_settings.modelopt if explicit else ""),
        )
        if text
    ]
    return [*lines, *(f"    {problem}" for problem in tool_settings.problems)]


# Implicit builds


def engine_loss_lines(loss: EngineLoss) -> list[str]:
    """Returns what is told of what implicit builds lose."""
    lines = [f"implicit int8: {loss.sentence}"]
    if loss.resizings:
        header = ["resizing", "input's range", "output's", "values times"]
        rows = [header]
        for resizing in loss.resizings:
            before, after = resizing.source_range, resizing.target_range
            rows.append([resizing.layer, f"{before:.4g}", f"{after:.4g}", f"{after / before:.3f}"])
        lines += _rows(rows)
    lines.append(f"  builds, dB measured / simulated so / by Q/DQ, {count(loss.images, 'image')}:")
    heads = list(loss.ways[0].measured_db)[:6]
    rows = [["builds", "table", "resizings in int8", *heads]]
    for way in loss.ways[:SHOWN_SETS]:
        numbers = []
        for head in heads:
            measured = min(filter(None, way.measured_db[head]), default=None)
            db = (measured, way.given_on_db[head], way.qdq_db[head])
            numbers.append(" / ".join(map(_number, db)))
        which = listed(way.in_int8, 2) or ("none: held" if way.held else "none")
        rows.append([str(len(way.cells)), way.table, which, *numbers])
    lines += _rows(rows)
    if loss.elsewhere:
        lines += _elsewhere(loss.elsewhere, explicit=False)
    return lines


def _set_rows(sets: Sequence[SetRecord], heads: Sequence[str], *, limits: bool) -> list[list[str]]:
    shown = heads[:6]
    boxes = any(record.whole.lost is not None for record in sets)
    precision = any(record.whole.ap_drop is not None for record in sets)
    header = ["layers", "cost", *(f"{head} dB" for head in shown)]
    header += [*(["lost"] if boxes else ()), *(["AP drop"] if precision else ())]
    rows = [[*header, *(["limits"] if limits else ()), ""]]
    step = max(1, -(-len(sets) // SHOWN_SETS))
    for record in [*sets[:-1:step], sets[-1]]:
        row = [str(len(record.layers)), f"{record.cost:.1%}"]
        row += [_number(record.heads[head].sqnr_db) for head in shown]
        row += [_number(record.whole.lost, ".0f")] if boxes else []
        row += [_number(record.whole.ap_drop, "z.3f")] if precision else []
        if limits:
            row.append(f"{len(record.failing)} broken" if record.failing else "all hold")
        rows.append([*row, listed(record.layers, 3)])
    return rows


# Words


def _told(numbers: Numbers) -> str:
    parts = [_db(numbers.sqnr_db), f"{_db(numbers.worst_sqnr_db)} on the worst images"]
    if numbers.lost is not None:
        share = f" ({numbers.lost_share:.1%})" if numbers.lost_share is not None else ""
        parts.append(f"{numbers.lost:.0f} boxes lost{share}")
    if numbers.ap_drop is not None:
        parts.append(f"AP drop {numbers.ap_drop:z.3f}")
    return ", ".join(parts)


def _db(value: float | None) -> str:
    return "no number" if value is None else f"{value:.1f} dB"


def _number(value: float | None, form: str = ".1f") -> str:
    return "–" if value is None else format(value, form)


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        # Names to the left, numbers to the right.
        cells = [
            text.rjust(width) if text and text[0] in "+-–0123456789" else text.ljust(width)
            for text, width in zip(row, widths, strict=True)
        ]
        lines.append(f"    {'  '.join(cells)}".rstrip())
    return lines
