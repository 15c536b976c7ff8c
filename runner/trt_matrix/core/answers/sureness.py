"""How sure a finding is: of the claim beside it, and never more than its data can carry."""

import math
from collections.abc import Sequence

from trt_matrix.core.answers.rows import HeadVerdict
from trt_matrix.core.collecting import present
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import KINDS, Kind
from trt_matrix.core.words import count, span

UNDECIDED = "not decided"
SEEN = "seen, not inferred"


def sureness(kind: Kind, rows: Sequence[HeadVerdict]) -> str:
    """Returns `5 builds of each; by chance in fewer than 1 of 200 matrices`, or what it is in place of a test."""
    if kind is Kind.INCONCLUSIVE:
        return UNDECIDED
    level = KINDS[kind].level
    effects = present(row.verdict.effect for row in rows)
    if level is None:
        return SEEN
    if not effects:
        return "what is lost was seen; whose it is, by its largest part, not by a test"
    builds = sorted({effect.builds for effect in effects})
    versions = max((row.verdict.versions or 0 for row in rows), default=0)
    chance = f"by chance in fewer than 1 of {round(1 / level):,} matrices"
    if builds[-1] == 0:
        return f"exact arithmetic over these images; {chance}"
    if versions:
        return f"{versions} versions alike; by chance in fewer than 1 of 1,000 matrices"
    if builds[0] <= 1:
        return "one build, far beyond what builds of this precision differ by"
    if all(effect.same_bits for effect in effects):
        return f"builds are bit-identical; {chance}"
    numbers = count(builds[-1], "build")
    if len(builds) > 1:
        numbers = f"{builds[0]} to {numbers}"
    compared = all("/" in (row.verdict.against or "") for row in rows)
    return f"{numbers}{' of each' if compared else ''}; {chance}"


def interval(effects: Sequence[Effect]) -> str:
    """Returns `95 %: 5.2 to 6.9 dB` of one effect; nothing of several, or where it is unknown."""
    if len(effects) != 1 or not math.isfinite(effects[0].low):
        return ""
    return f"95 %: {span((effects[0].low_db, effects[0].high_db))} dB"
