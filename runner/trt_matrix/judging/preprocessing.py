"""Which preprocessing a table, and the network itself, were made for: of what a run wrote down; needs no engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.evidence import UNKNOWN, BoxEvidence
from trt_matrix.core.calibration import claims
from trt_matrix.core.calibration.preprocessings import AS_FED, FITS, nearest
from trt_matrix.core.calibration.report import Claim, FedTable, Trial
from trt_matrix.core.manifest import CalibrationFacts
from trt_matrix.core.tables.differences import Ranges
from trt_matrix.core.words import count, listed

LEAST_IMAGES = 8
"""Of the evaluation, for a claim with 95 % on what is found in them: draws of fewer are nearly all alike."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldPreprocessing:
    claims: tuple[Claim, ...] = ()
    well: str | None = None
    """What was looked at, and nothing found."""
    unknown: tuple[str, ...] = ()
    """What could not be looked at, and why."""


def fed_tables(
    facts: CalibrationFacts, tables: Mapping[str, Ranges], inputs: str, here: Array | None
) -> tuple[tuple[FedTable, ...], ToldPreprocessing]:
    """Returns how tables that other programs made lie to what was fed.

    `inputs` names the network's input; `here` is `described.stored` of the calibration images, None where that is gone.
    """
    foreign = []
    reached = (
        float(np.abs(here["statistics"][:, :, 2:4]).max(initial=0.0)) if here is not None else 0.0
    )
    for digest, name in facts.foreign.items() if facts.forms else ():
        table = tables.get(digest)
        fit = nearest(table, facts.forms) if table else None
        if table is None or fit is None:
            continue
        foreign.append(
            FedTable(
                table=digest,
                name=name,
                nearest=fit,
                input_amax=table.get(inputs),
                input_fed=reached,
            )
        )
    if not foreign:
        return (), ToldPreprocessing()
    which = (
        f"with what the table of {listed([fed_table.name for fed_table in foreign], 3)} was made"
    )
    # Of an image of one colour every preprocessing gives the same few numbers.
    if here is not None and 2 * (~here["description"].any(axis=1)).sum() > len(here):
        return (), ToldPreprocessing(
            unknown=(f"{which}: most calibration images are of one colour",)
        )
    wrong = tuple(claims.table_claims(foreign))
    # What was fed must be near, not nearest alone: a table of another network is nearest to something too.
    fits = [AS_FED in table.nearest.forms and table.nearest.fed <= FITS for table in foreign]
    if wrong or all(fits):
        well = (
            f"the table of {listed([fed_table.name for fed_table in foreign], 3)} fits what was fed"
        )
        return tuple(foreign), ToldPreprocessing(claims=wrong, well=None if wrong else well)
    return tuple(foreign), ToldPreprocessing(unknown=(f"{which}: no known preprocessing fits",))


def trials(
    facts: CalibrationFacts, boxes: BoxEvidence | None
) -> tuple[tuple[Trial, ...], ToldPreprocessing]:
    """Returns what the float network finds in the evaluation images, preprocessed in every known way."""
    if not facts.trials or boxes is None or boxes.precision_of is None:
        return (), ToldPreprocessing()
    draws_of: Callable[..., npt.NDArray[np.float64]] | None = boxes.draws_of
    judged_trials: list[Trial] = []
    unknown: list[str] = []
    first: npt.NDArray[np.float64] | None = None
    for trial in facts.trials:
        try:
            ap50 = boxes.precision_of(trial.outputs)["all"].ap50
            draws = draws_of(trial.outputs)[:, 1] if draws_of else None
        except UNKNOWN as error:
            unknown.append(f"what is found with {trial.name}: {error}")
            continue
        if ap50 is None or draws is None:
            continue
        if trial.name == AS_FED:
            first = draws
        better = (
            float(np.nanquantile(draws - first, 0.025))
            if trial.name != AS_FED and first is not None and np.isfinite(draws - first).any()
            else None
        )
        judged_trials.append(Trial(form=trial.name, ap50=float(ap50), better_by=better))
    if first is None:
        return tuple(judged_trials), ToldPreprocessing(unknown=tuple(unknown))
    return judged(judged_trials, len(facts.evaluation.files), unknown)


def judged(
    tried: Sequence[Trial], images: int, unknown: Sequence[str] = ()
) -> tuple[tuple[Trial, ...], ToldPreprocessing]:
    """Returns what trials say of the preprocessing, and the trials as far as they say anything.

    What was fed is among those `tried`; `unknown` says what of them failed.
    """
    which = "whether another preprocessing finds more"
    if images < LEAST_IMAGES:
        few = f"{which}: {count(images, 'evaluation image')} tell too little"
        plain = tuple(replace(trial, better_by=None) for trial in tried)
        return plain, ToldPreprocessing(unknown=(*unknown, few))
    if max(trial.ap50 for trial in tried) == 0:
        nothing = f"{which}: the float network finds nothing that is labelled"
        return tuple(tried), ToldPreprocessing(unknown=(*unknown, nothing))
    wrong = tuple(claims.trial_claims(tried))
    well = f"no known preprocessing finds {claims.BETTER_AP50} AP50 more for sure than the images as fed"
    return tuple(tried), ToldPreprocessing(
        claims=wrong, well=None if wrong else well, unknown=tuple(unknown)
    )
