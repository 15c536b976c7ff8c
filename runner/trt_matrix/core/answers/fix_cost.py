"""What the first fix costs in time: where both cells were timed alike, else why that is not known."""

from trt_matrix.core.answers.speed import SLOWER, milliseconds
from trt_matrix.core.fix import Basis, Fix
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.latency import Latency
from trt_matrix.core.rounding import difference


def fix_cost(judgement: Judgement, fix: Fix) -> str:
    """Returns `+0.09 ms an inference (0.37 → 0.47)`, or what stands against saying it."""
    if fix.basis is not Basis.MEASURED:
        return "not known: no engine has run it"
    by_id = {result.id: result for result in judgement.cells}
    before = by_id.get(fix.against)
    after = next((by_id[cell] for cell in fix.cells if cell in by_id), None)
    if before is None or after is None or before.latency is None or after.latency is None:
        return "not known: it was not timed"
    if fix.now.latency_s and fix.reaches.latency_s:
        return _change(before.latency, after.latency)
    shown, _ = milliseconds(after.latency.median_s, before.latency.median_s)
    return (
        f"not known: {shown} ms an inference, {_apart(before, after)}{_in_float(judgement, after)}"
    )


def _change(before: Latency, after: Latency) -> str:
    now, then = milliseconds(before.median_s, after.median_s)
    decimals = len(now.partition(".")[2])
    apart = difference(1e3 * after.median_s, 1e3 * before.median_s, decimals)
    ratio = after.median_s / before.median_s
    if ratio > SLOWER and after.low_s > before.high_s:
        return f"{apart:+.{decimals}f} ms an inference ({now} → {then})"
    if ratio * SLOWER < 1 and after.high_s < before.low_s:
        return f"nothing: {apart:+.{decimals}f} ms an inference ({now} → {then})".replace("-", "−")
    return f"nothing that was shown: {then} against {now} ms an inference"


def _apart(before: CellResult, after: CellResult) -> str:
    if before.disturbed or after.disturbed:
        return "while something else ran on the machine"
    if before.latency and after.latency and before.latency.batch != after.latency.batch:
        return "with another batch"
    return "timed after all others"


def _in_float(judgement: Judgement, after: CellResult) -> str:
    """Returns which share of the multiplications it takes out of int8."""
    layers = [layer for _, layer in judgement.layers.network.layers] if judgement.layers else []
    whole = sum(layer.macs for layer in layers if layer.macs)
    kept = sum(layer.macs for layer in layers if layer.macs and layer.name in after.pass_.exclude)
    return (
        f"; {100 * kept / whole:.0f} % of the multiplications leave int8" if kept and whole else ""
    )
