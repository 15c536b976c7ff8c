"""What is computed of a calibration set → sentences; each says its numbers, and nothing is said of sound sets."""

import math
from collections.abc import Iterator, Sequence

from trt_matrix.core.calibration.alike import COPY, Likeness, in_a_row
from trt_matrix.core.calibration.curve import Curve, Trend
from trt_matrix.core.calibration.fed import SetDifference, told
from trt_matrix.core.calibration.preprocessings import AS_FED
from trt_matrix.core.calibration.ranges import BEYOND, Unseen
from trt_matrix.core.calibration.report import Claim, Concern, Cost, FedTable, LeftOutImage, Trial
from trt_matrix.core.calibration.sizes import Size
from trt_matrix.core.collecting import distinct
from trt_matrix.core.words import capital, count, listed, span

NAMED = 3
"""Images, tensors and heads that a sentence names."""
LONGEST = 60
"""Characters of a name in a sentence."""
FEW_SCENES = 0.75
"""Share of a set's images that are scenes of their own, below which that is told."""
LEAST_FRAMES = 3
"""Images in a row of one scene that may be called frames."""
FLAT = 0.1
"""Share of a set that is flat from which on it is told."""
WORTH = 1.0
"""dB that other images must be able to give, before it is told as that."""
BETTER_AP50 = 0.02
"""AP50 that another preprocessing must gain at least, with 95 %."""

Claims = Iterator[Claim]


def likeness_claims(likeness: Likeness, files: Sequence[str], evaluation: Sequence[str]) -> Claims:
    """Yields what near-identical images there are, across the sets and within them."""
    yield from _overlap(likeness, files, evaluation)
    flat, others = len(likeness.flat), likeness.evaluation_flat
    here, there = likeness.compared
    yield from _scenes(
        likeness.scenes,
        here - flat,
        len(files),
        "calibration",
        "They count little more than one image each; take few of each scene.",
    )
    yield from _scenes(
        likeness.evaluation_scenes,
        there - others,
        len(evaluation),
        "evaluation",
        "Intervals over images are too narrow; take few of each scene.",
    )
    share = flat / (here or 1)
    if share >= FLAT and share >= 2 * others / (there or 1):
        yield Claim(
            concern=Concern.FLAT,
            text=f"{flat} of {count(here, 'calibration image')} {_is(flat)} dark or of one "
            f"colour, and {others} of {count(there, 'evaluation image')}: see "
            f"{listed([_short(files[index]) for index in likeness.flat], NAMED)}.",
            advice="Take such images out: they show no layer anything.",
        )


def _scenes(
    groups: Sequence[Sequence[int]], number: int, of: int, whose: str, advice: str
) -> Claims:
    """Yields that so many comparable images of a set are few scenes."""
    own = number - sum(len(group) - 1 for group in groups)
    if number and own < FEW_SCENES * number:
        # Of two neighbours nobody knows whether they are frames or copies.
        film = len(groups[0]) >= LEAST_FRAMES and in_a_row(groups)
        frames = ", mostly neighbours by name, as frames of a video" if film else ""
        which = f" of {of:,} that can be compared" if number < of else ""
        yield Claim(
            concern=Concern.SCENES,
            text=f"The {count(number, f'{whose} image')}{which} show {count(own, 'scene')}: the largest has "
            f"{count(len(groups[0]), 'nearly identical image')}{frames}.",
            advice=advice,
        )


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def likeness_well(likeness: Likeness) -> str | None:
    """Returns how many pictures were compared, and none alike; None where there were no two to compare."""
    flat = len(likeness.flat) + likeness.evaluation_flat
    compared = sum(likeness.compared) - flat
    if compared < 2:
        return None
    left_out = f" ({count(flat, 'image')} of one colour cannot be compared)" if flat else ""
    return f"no nearly identical pictures among {count(compared, 'image')}{left_out}"


def holds_evaluation(likeness: Likeness) -> bool:
    """Whether the calibration set has most evaluation images: a table of it has seen what it is judged on."""
    copies = sum(twins.cosine >= COPY for twins in likeness.across)
    return copies > 0.5 * likeness.compared[1]


def _overlap(likeness: Likeness, files: Sequence[str], evaluation: Sequence[str]) -> Claims:
    copies = [twins for twins in likeness.across if twins.cosine >= COPY]
    scenes = [twins for twins in likeness.across if twins.cosine < COPY]
    for twins, what in (
        (copies, "nearly the same picture"),
        (scenes, "the same scene, cut or moved,"),
    ):
        if not twins:
            continue
        first = twins[0]
        mirrored = sum(twin.mirrored for twin in twins)
        turned = f" ({mirrored} of them mirrored)" if mirrored else ""
        are = f"{len(twins)} of {likeness.compared[1]} evaluation images {_is(len(twins))}"
        every = len(twins) == likeness.compared[1]
        yield Claim(
            concern=Concern.OVERLAP,
            text=f"{are} {what} as a calibration image{turned}: {_short(evaluation[first.other])} as "
            f"{_short(files[first.one])}{', …' if len(twins) > 1 else ''}.",
            advice="Evaluate on other images: errors on these are smaller than on images not seen."
            if every
            else "Take them out of one set: errors on them are smaller than on images not seen.",
            hint=what.startswith("the same scene"),
        )


def set_claims(differences: Sequence[SetDifference], exchanged: float | None) -> Claims:
    """Yields in what the fed images of the two sets are not alike."""
    if exchanged is not None:
        yield Claim(
            concern=Concern.EXCHANGED,
            text="The calibration images look as if red and blue had been exchanged: in the evaluation images "
            f"red less blue is {exchanged:+.0f} of 255 at the median, in these {-exchanged:+.0f}, and all "
            "else is alike.",
            advice="Check that both sets were written by the same program: OpenCV writes BGR.",
            hint=True,
        )
    others = [
        difference
        for difference in differences
        if exchanged is None or difference.measure != "red less blue"
    ]
    if others:
        share = min(max(other.share, 1 - other.share) for other in others)
        yield Claim(
            concern=Concern.OTHER_IMAGES,
            text=f"The calibration images are not of the kind that is evaluated: {told(others)}; of pairs of one "
            f"each, {100 * share:.0f} % are that way round.",
            advice="Calibrate on images like those that are evaluated, with the same camera and light.",
        )


def unseen_claims(unseens: Sequence[Unseen], images: int, tensors: int) -> Claims:
    """Yields that evaluation images go where no calibration image did."""
    sure = [unseen for unseen in unseens if unseen.sure]
    if not sure:
        return
    heads = distinct(head for unseen in sure for head in unseen.heads)
    behind = f" behind {listed(heads, NAMED)}" if heads else ""
    first = sure[0]
    reach = "where calibration showed zeros alone"
    if first.seen > 0:
        reach = f"{first.factor:.1f} times what calibration showed"
    yield Claim(
        concern=Concern.UNSEEN,
        text=f"{len(sure)} of {count(tensors, 'tensor')}{behind} reach more than {BEYOND} times the largest "
        f"magnitude of all calibration images: {_short(first.tensor)} {reach}, in "
        f"{first.far} of {count(images, 'evaluation image')}.",
        advice="Add images like these to the calibration set: what lies beyond is clipped.",
    )


def without_claims(withouts: Sequence[LeftOutImage], least_db: float) -> Claims:
    """Yields which image decides ranges, where leaving it out changes a head by the least effect."""
    for without in withouts:
        changed = [(head, gain) for head, gain in without.gains_db if abs(gain) >= least_db]
        if not changed:
            continue
        told_ = listed([f"{head} {gain:+.1f} dB" for head, gain in changed], NAMED)
        gains = [gain > 0 for _, gain in changed]
        yield Claim(
            concern=Concern.DECIDER,
            text=f"{_short(without.image)} alone decides the range of {len(without.decider.tensors)} of "
            f"{count(without.decider.of, 'tensor')} ({without.decider.factor:.1f} times the next image, "
            f"{_short(without.decider.tensors[0])} {without.decider.furthest:.1f} times); without it: {told_}.",
            advice="Look at it, and take it out if it is nothing that will be evaluated."
            if all(gains)
            else "Add more images of its kind: all that is known of these ranges hangs on one.",
        )


def size_claims(sizes: Sequence[Size], images: int, evaluation: int, source: str) -> Claims:
    """Yields which objects the calibration set lacks."""
    for size in sizes:
        if size.lacking:
            having = (
                f"no {size.name} objects"
                if not size.calibration
                else f"{size.calibration:,} {size.name} objects in {count(size.calibration_images, 'image')}"
            )
            yield Claim(
                concern=Concern.SIZES,
                text=f"{capital(having)} among {count(images, 'calibration image')}, {size.evaluation:,} in "
                f"{size.evaluation_images} of {count(evaluation, 'evaluation image')} ({source}).",
                advice=f"Add images with {size.name} objects to the calibration set.",
            )


def curve_claims(curves: Sequence[Curve], algorithm: str | None) -> Claims:
    """Yields whether more images would help; nothing where that is not decided."""
    for trend, begin, advice in (
        (Trend.GAINS, "More calibration images still help", "Calibrate on more images."),
        (
            Trend.WORSE,
            "More calibration images make it worse",
            "Use an algorithm that clips, or look for images that are unlike the others.",
        ),
    ):
        heads = [curve for curve in curves if curve.trend is trend]
        if heads:
            before, whole = (heads[0].points[index].images for index in (-2, -1))
            gains = listed([f"{head.head} {head.gain_db:+.1f} dB" for head in heads], NAMED)
            yield Claim(
                concern=Concern.CURVE,
                text=f"{begin}: from {before} to {whole} of them ({algorithm or 'simulated'}) {gains}.",
                advice=advice,
            )


def enough(curves: Sequence[Curve], least_db: float) -> str | None:
    """Returns that more images of this kind will not help, of the heads of which that was shown."""
    heads = [curve for curve in curves if curve.trend is Trend.ENOUGH]
    if not heads:
        return None
    before, whole = (heads[0].points[index].images for index in (-2, -1))
    who = listed([head.head for head in heads], NAMED)
    return (
        f"more images of this kind will not help {who}: from {before} to {whole} of them "
        f"{span(abs(head.gain_db) for head in heads)} dB changed, less than {least_db:g} dB with 95 %"
    )


def order_claims(
    moves: Sequence[tuple[str, float]], algorithm: str | None, least_db: float
) -> Claims:
    """Yields that the order of the images decides, where it moves a head by the least effect."""
    moved = [(head, db) for head, db in moves if db >= least_db]
    if moved:
        yield Claim(
            concern=Concern.ORDER,
            text=f"The order of the calibration images decides: with {algorithm} the same images in other orders "
            f"move {listed([f'{head} by {db:.1f} dB' for head, db in moved], NAMED)}.",
            advice="Give every calibrator the images in one order, and take more of them, or another algorithm.",
        )


def order_kept(moves: Sequence[tuple[str, float]], algorithm: str | None) -> str:
    """Returns by how much the order of the images moves heads, where that is nothing to speak of."""
    most = max(db for _, db in moves)
    by = "not at all" if most == 0 else f"by at most {most:.2g} dB"
    return f"the order of the images moves heads {by} ({algorithm})"


def table_claims(tables: Sequence[FedTable]) -> Claims:
    """Yields which tables were made with another preprocessing."""
    for table in tables:
        if not table.nearest.named:
            continue
        reach = (
            f"its range of the network's input is {table.input_amax:.4g}, what was fed reaches "
            f"{table.input_fed:.4g}; "
            if table.input_amax is not None
            else ""
        )
        yield Claim(
            concern=Concern.TABLE,
            text=f"The table of {_short(table.name)} seems made with another preprocessing: {reach}its first "
            f"{count(table.nearest.tensors, 'range')} fit {listed(table.nearest.forms)} (off by "
            f"{_percent(table.nearest.distance)}), and not what was fed (off by {_percent(table.nearest.fed)}).",
            advice="Calibrate with the preprocessing of matrix.yaml, or put that right if it is wrong.",
        )


def trial_claims(trials: Sequence[Trial]) -> Claims:
    """Yields that the float network itself finds more with another preprocessing."""
    fed = next((trial for trial in trials if trial.form == AS_FED), None)
    better = [
        trial for trial in trials if trial.better_by is not None and trial.better_by >= BETTER_AP50
    ]
    if fed is None or not better:
        return
    best = max(better, key=lambda trial: trial.ap50)
    yield Claim(
        concern=Concern.PREPROCESSING,
        text=f"The float network itself does better on other input: AP50 {best.ap50:.2f} with {best.form}, "
        f"{fed.ap50:.2f} as fed (at least {best.better_by or 0:.2f} more, 95 %).",
        advice="Put data.preprocess of matrix.yaml right before anything else: every number here is of images "
        "that the network was not made for.",
    )


def costs_told(costs: Sequence[Cost]) -> str:
    """Returns the bound on what other images can give: the answer in one sentence; empty where none is known.

    The evaluation images' own table has seen what it is judged on: what it keeps more is the most that other
    images could give, and some of it they could not.
    """
    if not costs:
        return ""
    lost = [cost for cost in costs if cost.loss_db >= WORTH]
    names = listed(distinct(cost.algorithm for cost in lost or costs))
    if not lost:
        most = max(cost.loss_db for cost in costs)
        more = "no more" if most < 0.05 else f"at most {most:.1f} dB more"
        return (
            f"Other images would hardly help: {names} on the evaluation images themselves keeps {more} at "
            f"{listed([cost.head for cost in costs])}."
        )
    told_ = listed([f"{cost.head} {cost.loss_db:.1f} dB" for cost in lost], NAMED)
    return (
        f"Other images could give up to {told_} more: so much more does {names} keep on the evaluation images "
        "themselves."
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"


def _percent(distance: float) -> str:
    """Returns a root mean square of ln ratio as a share: 0.1 is 11 %; large ones as a factor."""
    factor = math.exp(distance)
    return f"{100 * (factor - 1):.0f} %" if factor < 2 else f"{factor:.1f} times"
