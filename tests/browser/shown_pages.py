"""Judgements whose pages are looked at: an ordinary one, a real one, a hostile one."""

from collections.abc import Callable
from functools import cache

from playwright.sync_api import Page

from runner.core.judgement import Judgement
from runner.plan import Status
from tests.unit import h200
from tests.unit.judgements import FP32, OWN, SHARED, cell_result, fp32_head, head, judgement, whole

Open = Callable[..., Page]
"""(judgement or page, width, fragment, **of the context) → the page, open."""

EVIL = (
    "</script></style><script>alert(1)</script><img src=http://sentinel.invalid/x onerror=alert(1)>"
)
LONG = "x" * 10_000
REVERSED = "\u202egpj.exe\u2066 \"quoted\" 'too' & \n two lines"


@cache
def hostile() -> Judgement:
    """Long and breaking-out text wherever text comes from outside, forty versions, missing cells."""
    heads = (EVIL, LONG, REVERSED)
    odd = {6: REVERSED, 7: LONG, 8: EVIL}
    cells = [
        cell_result(
            f"ort-1.{minor}-{odd.get(minor, 0)}",
            pass_,
            [
                fp32_head(name)
                if pass_ is FP32
                else head(name, 0.003 * (minor + 1), float_layers=(EVIL, LONG, REVERSED))
                for name in heads
            ],
            facts={EVIL: {LONG: [EVIL, LONG, REVERSED]}},
            version=odd.get(minor),
            device=odd.get(minor, "cpu"),
        )
        for minor in range(40)
        for pass_ in (FP32, SHARED, OWN)
        if minor % 5 or pass_ is not OWN
    ]
    cells += [
        cell_result(EVIL, SHARED, status=Status.CRASHED, reason=LONG, log_tail=f"{EVIL}\n{LONG}"),
        cell_result(LONG, SHARED, status=Status.UNAVAILABLE, reason=EVIL),
        cell_result(REVERSED, SHARED, status=Status.UNSUPPORTED, reason=REVERSED),
    ]
    return judgement(
        cells,
        heads=heads,
        name=EVIL,
        baseline=LONG,
        sentences={EVIL: LONG, LONG: REVERSED, REVERSED: EVIL},
    )


PAGES = {"ordinary": cache(whole), "h200": cache(h200.judged), "hostile": hostile}
