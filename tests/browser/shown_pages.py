"""Pages that are looked at: an ordinary one, a real one, a full one, a crowded one, hostile ones."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from playwright.sync_api import Page

from tests.browser import hostile
from tests.unit import h200
from tests.unit.judgements import FP32, OWN, SHARED, cell_result, fp32_head, head, judgement, whole
from trt_matrix.core.boxes.results import FedImage
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import Judgement
from trt_matrix.report.html import render

Open = Callable[..., Page]
"""(page's HTML, width, fragment, **of the context) → the page, open."""

EVILS = tuple(f"evil-{name}" for name in hostile.EVIL)
PAGES = ("ordinary", "h200", "complete", "crowded", *EVILS)


@cache
def html(name: str) -> str:
    """Returns one of PAGES."""
    if name in EVILS:
        evil = hostile.EVIL[name.removeprefix("evil-")]
        spoiled = hostile.spoiled(hostile.complete(), evil)
        name = hostile.IMAGE + evil
        return render(spoiled, {name: hostile.PICTURE}, fed={name: FED})
    if name == "complete":
        return render(
            hostile.complete(), {hostile.IMAGE: hostile.PICTURE}, fed={hostile.IMAGE: FED}
        )
    judgements = {
        "ordinary": whole,
        "h200": h200.judged,
        "crowded": _crowded,
        "undivided": _undivided,
    }
    return render(judgements[name]())


FED = FedImage(
    picture=hostile.PICTURE, order="bgr", width=640, height=480, low=-2.1, high=431.0, clipped=0.25
)


def _undivided() -> Judgement:
    """Recorded outputs, of which nobody knows what 8 bits cost."""
    lone = replace(head("small", 0.02), budget=None)
    return judgement([cell_result(pass_=SHARED, heads=[lone])], heads=("small",))


def _crowded() -> Judgement:
    """Forty versions, missing cells, and long and breaking-out text on top."""
    evil, long, reversed_ = (hostile.EVIL[one] for one in ("markup", "long", "reversed"))
    heads = (evil, long, reversed_)
    odd = {6: reversed_, 7: long, 8: evil}
    cells = [
        cell_result(
            f"ort-1.{minor}-{odd.get(minor, 0)}",
            pass_,
            [
                fp32_head(name)
                if pass_ is FP32
                else head(name, 0.003 * (minor + 1), float_layers=heads)
                for name in heads
            ],
            facts={evil: {long: heads}},
            version=odd.get(minor),
            device=odd.get(minor, "cpu"),
        )
        for minor in range(40)
        for pass_ in (FP32, SHARED, OWN)
        if minor % 5 or pass_ is not OWN
    ]
    cells += [
        cell_result(evil, SHARED, status=Status.CRASHED, reason=long, log_tail=f"{evil}\n{long}"),
        cell_result(long, SHARED, status=Status.UNAVAILABLE, reason=evil),
        cell_result(reversed_, SHARED, status=Status.UNSUPPORTED, reason=reversed_),
    ]
    sentences = dict(zip(heads, heads[1:] + heads[:1], strict=True))
    return judgement(cells, heads=heads, name=evil, baseline=long, sentences=sentences)
