"""Whose fault it is, over all heads, and whom to send the report to."""

from collections.abc import Sequence

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.since import environments_of
from trt_matrix.core.answers.strips import Strip, best_fix
from trt_matrix.core.answers.undecided import COVERS
from trt_matrix.core.collecting import grouped
from trt_matrix.core.fix import FixKind
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed

MOST_HEADS = 3
"""Named of a fault."""
MOST_FAULTS = 2
FLOATS = {
    Kind.FP16_REGRESSION: "FP16",
    Kind.BF16_REGRESSION: "BF16",
    Kind.TF32_REGRESSION: "TF32",
}
ENGINES = frozenset(
    {
        Kind.ENGINE_REGRESSION,
        Kind.VERSION_REGRESSION,
        Kind.ENGINE_LOSS,
        Kind.IMPLICIT_REGRESSION,
        Kind.CALIBRATOR_REGRESSION,
        Kind.BROKEN_OUTPUT,
        Kind.COULD_NOT_RUN,
        *FLOATS,
    }
)
CALIBRATOR = "whoever calibrates"
QUANTISER = "whoever quantises the network"
EXPORTER = "whoever exports the network"
UNDECIDED = "nobody before it is decided"
FIXERS = {
    FixKind.LAYERS: QUANTISER,
    FixKind.WEIGHTS: QUANTISER,
    FixKind.WAY: QUANTISER,
    FixKind.TABLE: CALIBRATOR,
    FixKind.TENSORS: CALIBRATOR,
    FixKind.RANGES: CALIBRATOR,
    FixKind.IMAGES: CALIBRATOR,
}
"""Who does what helps before it is known who is to blame."""


def whose(told: Sequence[Strip], whole: Answer) -> str:
    """Returns `a layer's: x (small), y (medium)`; of heads in which nothing was found only where it is so of all."""
    strips = [strip for strip in told if strip.fault and strip.state != "clean"]
    strips = [strip for strip in strips if strip.state != "none" or not strip.nothing] or strips
    faults = grouped((strip.fault, strip.head) for strip in strips)
    if not faults:
        return whole.fault
    groups, kinds = [], set()
    for fault, heads in [*faults.items()][:MOST_FAULTS]:
        kind, colon, rest = fault.partition(": ")
        shown = rest if colon and kind in kinds else fault
        kinds.add(kind)
        groups.append(
            f"{shown}{f' ({listed(heads, MOST_HEADS)})' if len(heads) < len(told) else ''}"
        )
    more = len(faults) - len(groups)
    return "; ".join(groups) + (f"; {more} more" if more else "")


def send_to(
    judgement: Judgement, answer: Answer | None, finding: Finding | None, whole: Answer
) -> str:
    if whole.clean:
        return "nobody: there is nothing to do"
    if answer is None or finding is None:
        return ""
    if answer.fault.startswith("a custom layer's"):
        return "whoever wrote the custom layer"
    if answer.fault.startswith("a layer's"):
        return f"{QUANTISER}; {_maintainers(judgement, finding)} for the choice"
    kind = finding.kind
    if kind is Kind.INCONCLUSIVE:
        fix = best_fix(judgement.fixes)
        who = FIXERS.get(fix.kind) if fix and whole.severity.matters else None
        return f"{who}, for the fix; nobody else before it is decided" if who else UNDECIDED
    if kind is Kind.NOT_COMPARABLE:
        return CALIBRATOR if "the table of" in finding.fault or COVERS in finding.text else ""
    shares = answer.shares
    # What is broken is the table's where the table is what broke it; NaN has no shares.
    if shares and (
        kind is Kind.UNEXPLAINED_LOSS
        or (kind is Kind.BROKEN_OUTPUT and shares.cell in finding.cells)
    ):
        kind = {"8 bits": Kind.INT8_LIMIT, "the table": Kind.CALIBRATION_PROBLEM}.get(
            shares.largest, Kind.ENGINE_LOSS
        )
    if kind is Kind.FP32_REGRESSION:
        return f"{_maintainers(judgement, finding)}, or {EXPORTER}"
    if kind in ENGINES:
        return _maintainers(judgement, finding)
    if kind is Kind.CALIBRATION_PROBLEM:
        return CALIBRATOR
    if kind is Kind.UNEXPLAINED_LOSS and answer.head == WHOLE_NETWORK:
        return ""
    return QUANTISER


def _maintainers(judgement: Judgement, finding: Finding) -> str:
    names = finding.environments or environments_of(judgement)
    engines = (
        next(iter(result.versions))
        for result in judgement.cells
        if result.versions and result.environment in names
    )
    return f"the maintainers of {next(engines, 'the engine')}, with a ticket (trt-matrix ticket)"
