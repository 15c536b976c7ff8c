"""What `migrate` tells: what arrived, what was added or left out, what it costs, and what proves it in engines."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trt_matrix.commands.columns import ABSENT, columns
from trt_matrix.commands.migration.migrating import MigratedToCache, MigratedToQdq
from trt_matrix.commands.migration.proving import proof
from trt_matrix.core.migration.to_qdq import ToQdq
from trt_matrix.core.migration.tracing import TensorFate, Traced
from trt_matrix.core.qdq.joins import Requantisation
from trt_matrix.core.tables.mistakes import LEAST_TENSORS
from trt_matrix.core.words import count, listed, visible

NAMED = 5
"""Tensors that a line names; --json names all."""

FATES: Mapping[TensorFate, str] = {
    TensorFate.USED: "used, bit for bit",
    TensorFate.CARRIED: "in a group that shares another tensor's scale",
    TensorFate.JOINED: "given the one scale of what they are joined with",
    TensorFate.FUSED: "inside a fusion, where no engine has a tensor",
    TensorFate.OUTPUT: "of outputs of the network, which stay float",
    TensorFate.FLOAT: "of tensors that no int8 layer reads",
    TensorFate.UNUSABLE: "no scale that int8 can have",
    TensorFate.PARSER: "of layers that TensorRT's parser adds, no tensors of the ONNX file",
    TensorFate.UNKNOWN: "of names that no tensor has",
}


def qdq_text(done: MigratedToQdq) -> str:
    """Returns the report of a table that became a Q/DQ network."""
    qdq, wish = done.made, done.wish
    header = f", {done.table.header}" if done.table.header else ""
    lines = [
        f"{visible(str(wish.table))} ({done.table.form}{header}) and {visible(str(done.source.path))} → "
        f"{visible(str(wish.output))}",
        *done.source.notes,
        *_naming(done),
        "",
        *_heads(done),
        "",
        f"of {count(len(qdq.tensors), 'scale')} in the table:",
        *_fates(qdq),
    ]
    lines += [
        f"added: {_named(added.tensor for added in qdq.added)} had no scale of their own: "
        f"{visible(qdq.added[0].tensor)} has that of {visible(qdq.added[0].source)}, {qdq.added[0].why}"
    ] if qdq.added else []  # fmt: skip
    lines += [*_first("without a scale", qdq.lacking), *_first("stays float", qdq.float_layers)]
    more = max(len(qdq.lacking), len(qdq.float_layers)) - NAMED
    lines += [f"  and {more} more; --json names all"] if more > 0 else []
    lines += [*_joins(done), *_compared(done), *_held(done)]
    lines += [f"warning: {text}" for text in done.warnings]
    return "\n".join([*lines, "", *proof(done)])


def _naming(done: MigratedToQdq) -> Iterator[str]:
    naming = done.made.naming
    if naming.affixes or naming.by_nodes:
        how = [*([str(naming.affixes)] if naming.affixes else [])]
        how += ["they are those of nodes"] if naming.by_nodes else []
        yield f"names: {count(len(naming.names), 'name')} became the network's: {' and '.join(how)}"
    elif naming.names:
        pairs = [f"{visible(name)} is {visible(other)}" for name, other in naming.names.items()]
        yield f"names: {listed(pairs, NAMED)}"
    if done.made.likely:
        pairs = [f"{visible(name)!r}: {visible(ours)!r}" for name, ours in done.made.likely.items()]
        yield f"likely, to be said in a --map file: {listed(pairs, NAMED)}"
    elif naming.nearest and done.made.with_fate(TensorFate.UNKNOWN):
        pairs = [f"{theirs!r} may be {ours!r}" for ours, theirs in naming.nearest.items()]
        yield f"perhaps, to be said in a --map file: {listed(pairs, NAMED)}"


def _heads(done: MigratedToQdq) -> Iterator[str]:
    rows = [["head", "scales", "layers in int8", "of the work", *_columns(done)]]
    for head, coverage in done.made.heads.items():
        share = ABSENT if coverage.integer_share is None else _percent(coverage.integer_share)
        rows.append(
            [
                visible(head),
                f"{coverage.scaled} of {coverage.wanted}",
                f"{coverage.int8} of {coverage.layers}",
                share,
                *_values(done, head),
            ]
        )
    yield from columns(rows)


def _percent(share: float) -> str:
    """Returns a share that is 100 % only where it is all."""
    return f"{100 * share:.4g} %" if share in (0, 1) else f"{math.floor(1000 * share) / 10:.1f} %"


def _columns(done: MigratedToQdq) -> Sequence[str]:
    if done.compared is None:
        return ()
    placed = ("unified", "apart") if done.wish.unified_scales else ("simulated", "unified scales")
    return placed if done.compared.other_db is not None else placed[:1]


def _values(done: MigratedToQdq, head: str) -> Iterator[str]:
    if done.compared is not None:
        yield _db(done.compared.sqnr_db[head])
        if done.compared.other_db is not None:
            yield _db(done.compared.other_db[head])


def _db(value: float | None) -> str:
    return "identical" if value is None else f"{value:.2f} dB"


def _fates(migrated: ToQdq) -> Iterator[str]:
    counted = Counter(tensor.fate for tensor in migrated.tensors)
    for fate, meaning in FATES.items():
        if not counted[fate]:
            continue
        names = migrated.with_fate(fate)
        told_names = "" if fate is TensorFate.USED else f": {_named(map(_tensor, names))}"
        yield f"  {counted[fate]:5}  {meaning}{told_names}"


def _tensor(traced: Traced) -> str:
    name = (
        traced.called if traced.fate in (TensorFate.UNKNOWN, TensorFate.PARSER) else traced.tensor
    )
    why = f" ({traced.why})" if traced.why else f" → {traced.source}" if traced.source else ""
    return f"{name}{why}"


def _joins(done: MigratedToQdq) -> Iterator[str]:
    if done.wish.unified_scales:
        if done.made.avoided:
            yield f"requantised without --unified-scales, and not here: {_requantised(done.made.avoided)}"
    elif done.made.requantised:
        costs = _costs(done)
        yield (
            f"requantised to be joined, which TensorRT may need kernels for: {_requantised(done.made.requantised)}; "
            f"--unified-scales avoids it{costs}"
        )


def _requantised(requantisations: Sequence[Requantisation]) -> str:
    parts = []
    for concat, singular, many in (
        (True, "input of a concatenation", "inputs of concatenations"),
        (False, "branch of an addition", "branches of additions"),
    ):
        names = [join.tensor for join in requantisations if (join.operator == "Concat") is concat]
        if names:
            parts.append(f"{count(len(names), singular, many)} ({_named(names)})")
    return " and ".join(parts)


def _costs(done: MigratedToQdq) -> str:
    """Returns what the other placement costs, per head, in dB."""
    if done.compared is None or done.compared.other_db is None:
        return ""
    changes = [
        f"{visible(head)} {other - mine:+.2f}"
        for head, mine in done.compared.sqnr_db.items()
        if mine is not None and (other := done.compared.other_db[head]) is not None
    ]
    return f" and changes, simulated: {listed(changes, 12)} dB" if changes else ""


def _compared(done: MigratedToQdq) -> Iterator[str]:
    compared = done.compared
    if compared is None:
        how = " and run by ONNX Runtime on noise" if done.loaded else ""
        yield f"checked by onnx{how}; not compared"
        return
    same = "to the bit" if compared.table_db is None else f"to {compared.table_db:.0f} dB at least"
    yield (
        f"simulated in exact float32 on {count(compared.images.count, 'image')}, {compared.images.told}; the file "
        f"computes what the table's own simulation computes {same}; nothing here was measured in an engine"
    )


def _held(done: MigratedToQdq) -> Iterator[str]:
    """Says whether the table's ranges are those that the network has."""
    held, compared = done.held, done.compared
    if held.why_not is not None or compared is None:
        yield f"the table was not held against the network's ranges: {visible(held.why_not or '')}"
        return
    if held.mistake:
        text = held.mistake.seen_from(
            f"the ranges on {visible(compared.images.told)}", "the preprocessing of these images"
        )
        yield f"warning: the table {'is likely' if held.mistake.sure else 'may be'} wrong: {text}"
    elif held.tensors < LEAST_TENSORS:
        yield f"of the table {count(held.tensors, 'tensor')} alone can be held against ranges: too few to tell"
    else:
        yield f"the table's {held.tensors} ranges fit those that the network has on these images"
    yield from (
        f"warning: {visible(above.tensor)}: its range {above.amax:.3g} is {above.ratio:.3g} times the largest magnitude on "
        f"{count(compared.images.count, 'image')} ({above.seen:.3g}), so {127 / above.ratio:.2g} of 127 steps are left for it"
        for above in held.far_above[:NAMED]
    )
    if len(held.far_above) > NAMED:
        yield f"  and {len(held.far_above) - NAMED} more; --json names all"


def cache_text(done: MigratedToCache) -> str:
    """Returns the report of a Q/DQ network that became a cache."""
    migrated, wish = done.made, done.wish
    lines = [
        f"{visible(str(wish.table))} → {visible(str(wish.output))} ({wish.header}), names of "
        f"{visible(done.float_network)}",
        f"  {len(migrated.own):5}  scales of its own, bit for bit",
    ]
    if migrated.added:
        added = migrated.added[0]
        lines.append(
            f"  {len(migrated.added):5}  added: {_named(scale.tensor for scale in migrated.added)}; "
            f"{visible(added.tensor)}: {added.why}"
        )
    if migrated.outputs:
        lines.append(
            f"  {len(migrated.outputs):5}  outputs of the network without one ({_named(migrated.outputs)}): a Q/DQ network "
            "keeps them float, and TensorRT may keep the layers before them float too"
        )
    if migrated.without:
        lines.append(
            f"  {migrated.without:5}  other tensors without one, inside fusions and in the float part"
        )
    lines += _first("without a scale", migrated.lacking)
    if len(migrated.lacking) > NAMED:
        lines.append(f"  and {len(migrated.lacking) - NAMED} more; --json names all")
    lines += _first("left out", done.table.unusable)
    if migrated.unknown:
        lines.append(f"warning: the float network has no tensor {_named(migrated.unknown)}")
    lines += [f"warning: {text}" for text in done.warnings]
    if wish.network:
        lines.append(f"wrote the float network too: {visible(str(wish.network))}")
    lines.append(
        f"No cache holds scales of weights ({count(done.weights, 'layer')} here): TensorRT makes those from the "
        f"float weights, one an output channel. It is read by a calibrator of the kind that its first line names."
    )
    return "\n".join(lines)


def _first(what: str, reasons: Mapping[str, str]) -> list[str]:
    """Returns a line for each of the first names that have a reason."""
    return [f"{what}: {visible(name)}: {why}" for name, why in list(reasons.items())[:NAMED]]


def _named(names: Any) -> str:
    return listed([visible(str(name)) for name in names], NAMED)


def qdq_summary(done: MigratedToQdq) -> Mapping[str, Any]:
    """Returns the report as JSON holds it: every tensor."""
    migrated, compared = done.made, done.compared
    return {
        "table": str(done.wish.table),
        "form": str(done.table.form),
        "header": str(done.table.header) if done.table.header else None,
        "network": str(done.source.path),
        "prepared": list(done.source.notes),
        "output": str(done.wish.output),
        "names": dict(migrated.naming.names),
        "likely_names": dict(migrated.likely),
        "tensors": [
            asdict(tensor) | {"fate": str(tensor.fate), "scale": _finite(tensor.scale)}
            for tensor in migrated.tensors
        ],
        "added": [asdict(added) for added in migrated.added],
        "lacking": dict(migrated.lacking),
        "float_layers": dict(migrated.float_layers),
        "layers": migrated.layers,
        "heads": {
            head: {
                "scaled": coverage.scaled,
                "wanted": coverage.wanted,
                "lacking": list(coverage.lacking),
                "int8_layers": coverage.int8,
                "layers": coverage.layers,
                "integer_share": coverage.integer_share,
                "sqnr_db": compared.sqnr_db[head] if compared else None,
                "other_placement_sqnr_db": compared.other_db[head]
                if compared and compared.other_db
                else None,
            }
            for head, coverage in migrated.heads.items()
        },
        "unified_scales": done.wish.unified_scales,
        "requantised": [asdict(join) for join in migrated.requantised],
        "avoided": [
            asdict(join)
            for join in (migrated.avoided if done.wish.unified_scales else migrated.requantised)
        ],
        "simulation": {
            "images": compared.images.count,
            "of": compared.images.told,
            "agreement_with_the_tables_own_db": compared.table_db,
        }
        if compared
        else None,
        "loaded": done.loaded,
        "ranges": {
            "not_held_against_any": done.held.why_not,
            "tensors": done.held.tensors,
            "mistake": done.held.mistake.text if done.held.mistake else None,
            "far_above": [asdict(above) for above in done.held.far_above],
        },
        "warnings": list(done.warnings),
    }


def cache_summary(done: MigratedToCache) -> Mapping[str, Any]:
    """Returns the report as JSON holds it."""
    migrated = done.made
    return {
        "network": str(done.wish.table),
        "names_of": done.float_network,
        "output": str(done.wish.output),
        "header": str(done.wish.header),
        "names": dict(migrated.naming.names),
        "scales": dict(migrated.own),
        "added": [asdict(added) for added in migrated.added],
        "lacking": dict(migrated.lacking),
        "outputs_without": list(migrated.outputs),
        "others_without": migrated.without,
        "unknown": list(migrated.unknown),
        "left_out": dict(done.table.unusable),
        "layers_with_quantised_weights": done.weights,
        "warnings": list(done.warnings),
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
