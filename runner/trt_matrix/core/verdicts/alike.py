"""What every version shows alike, though no version's own builds decide it.

Versions with one table stand for draws of what an engine does with it: D_c is what version c costs more than
exact arithmetic (or than its own Q/DQ build), their mean is tested against the least effect with the variance
between versions or that of their builds, whichever is larger, E − 1 degrees, in the same two views. What one
version alone does differently widens it, and is not named so.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.contrast import ContrastView
from trt_matrix.core.verdicts.hypotheses import Hypothesis
from trt_matrix.core.verdicts.student import Part, one_sided
from trt_matrix.core.verdicts.verdict import Kind, Verdict

KINDS_ALIKE = (Kind.ENGINE_LOSS, Kind.IMPLICIT_REGRESSION)
LEAST_VERSIONS = 3
LEVEL = 0.001
"""Over all heads and passes of a kind."""


def alike(
    hypotheses: Sequence[Hypothesis], held: Collection[str], rules: Rules
) -> Iterable[Verdict]:
    """Yields the verdicts of cells whose versions say the same together.

    Cells of which layers were held in floating point, `held` by their ids, are no versions.
    """
    for kind in KINDS_ALIKE:
        groups: dict[tuple[str, str], list[Hypothesis]] = {}
        for hypothesis in hypotheses:
            if hypothesis.kind is kind and hypothesis.cell not in held:
                groups.setdefault((hypothesis.head, hypothesis.pass_), []).append(hypothesis)
        tested = [same for same in groups.values() if len(same) >= LEAST_VERSIONS]
        for same in tested:
            large = all(hypothesis.large for hypothesis in same)
            if large and _p(same) <= LEVEL / rules.looks / len(tested):
                yield from (_verdict(hypothesis, len(same)) for hypothesis in same)


def _p(versions: Sequence[Hypothesis]) -> float:
    least = versions[0].least
    sqnr = _of_view([hypothesis.contrast.sqnr for hypothesis in versions], least)
    image = _of_view([hypothesis.contrast.image for hypothesis in versions], least)
    return min(1.0, 2 * min(sqnr, image))


def _of_view(views: Sequence[ContrastView], least: float) -> float:
    logs = np.array([view.log for view in views])
    # Builds that have states are alike in three versions by chance, and those of one machine may share their
    # noise: the mean of the versions is no surer than one of them by its own builds.
    own = float(np.mean([sum(variance for variance, _ in view.builds) for view in views]))
    between: Part = (max(float(logs.var(ddof=1)) / len(logs), own), len(logs) - 1)
    # The versions see the same images: their mean is no surer of them than one of them is.
    images = max((view.images for view in views), key=lambda part: part[0])
    return one_sided(float(logs.mean()) - least, between, images)


def _verdict(hypothesis: Hypothesis, versions: int) -> Verdict:
    return Verdict(
        kind=hypothesis.kind,
        cell=hypothesis.cell,
        head=hypothesis.head,
        against=hypothesis.against,
        effect=hypothesis.contrast.effect(hypothesis.least),
        versions=versions,
    )
