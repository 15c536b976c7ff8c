"""What every output says first: true of the numbers, one sentence, and the same everywhere."""

import dataclasses
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.unit import h200
from tests.unit.judgements import (
    BASELINE,
    FP32,
    HEADS,
    MINMAX,
    SHARED,
    cell_result,
    changes,
    fp32_head,
    head,
    judgement,
    latency,
    whole,
)
from tests.unit.random_judgements import Draw
from trt_matrix.core.answers.headline import Headline, headline
from trt_matrix.core.answers.since import run_of
from trt_matrix.core.answers.speed import cost
from trt_matrix.core.boxes.results import ALL, AveragePrecision, BoxErrors, BoxReport, CellBoxes
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.fix import Basis, Fix, FixKind, KeptQuality
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.judging.outcome import Outcome
from trt_matrix.report.junit import junit
from trt_matrix.report.summary import summary


def fact(told: Headline, name: str) -> str:
    return dict(told.facts).get(name, "")


def boxed(result: CellResult, lost: float, drop: float, new: float = 0.0) -> CellResult:
    """Returns the cell with so many of 200 boxes lost in the whole network."""
    errors = BoxErrors(
        changes={ALL: changes(lost, 200.0, new, mean_iou=0.9)},
        precision={ALL: AveragePrecision(ap=0.8 - drop, ap50=0.9, objects=200)},
        ap_drop=drop,
    )
    heads = tuple(replace(head_result, boxes=errors) for head_result in result.heads)
    return replace(result, heads=heads, boxes=CellBoxes(whole=errors, heads={"small": errors}))


REPORT = BoxReport(
    heads=("small",),
    shown_score=0.3,
    match_iou=0.5,
    sizes={},
    precision={ALL: AveragePrecision(ap=0.8, ap50=0.9, objects=200)},
)


def versions(*losses: tuple[float, float]) -> Judgement:
    """Returns one version for each (lost boxes, loss of AP), `v1` the first."""
    cells = [
        boxed(cell_result(f"v{number}", SHARED, [head("small")]), lost, drop)
        for number, (lost, drop) in enumerate(losses, 1)
    ]
    return judgement(cells, heads=("small",), baseline="v1", boxes=REPORT)


def test_ap_and_boxes_are_those_of_the_worst_version() -> None:
    told = headline(versions((4, 0.02), (30, 0.01), (2, 0.21)))
    assert told.text.startswith("INT8 costs AP 0.80 → 0.59 and loses up to 30 of 200 boxes")
    assert told.state == "severe"


def test_alike_is_said_only_where_a_test_says_so_of_every_version() -> None:
    made = versions((8, 0.05), (8, 0.05), (8, 0.05))
    assert "alike" not in headline(made).text
    equal = Equivalence(
        head="small", device="cpu", pass_=SHARED.name, baseline="v1",
        environments=("v1", "v2", "v3"), within_db=0.2, same_bits=False, all=True,
    )  # fmt: skip
    assert headline(replace(made, equal=(equal,))).text.endswith(", in all 3 versions alike.")
    assert fact(headline(replace(made, equal=(equal,))), "Since") == "v1 to v3, alike within 0.2 dB"
    for less in (
        replace(equal, environments=("v1", "v2")),
        replace(equal, all=False),
        replace(equal, pass_="int8-own-entropy"),
    ):
        assert "alike" not in headline(replace(made, equal=(less,))).text


def test_the_layer_that_builds_chose_is_told_with_what_it_cost() -> None:
    told = headline(h200.judged())
    assert told.text == (
        "INT8 leaves small at 14.7 dB and medium at 16.9 dB where a build runs "
        "neck16/upsample/Resize or neck8/upsample/Resize in int8."
    )
    assert told.remedy == (
        "Keep 2 layers in float: neck16/upsample/Resize and neck8/upsample/Resize: small 16.3 → 22.4 dB "
        "in trt-8.6.0, int8-implicit-shared-entropy"
    )
    assert told.measured is True
    assert [strip.head for strip in told.strips] == ["small", "medium", "large"]
    assert fact(told, "Since").startswith("no version's step")
    assert "TensorRT" in fact(told, "Send to")


def test_a_crash_stands_beside_the_loss() -> None:
    told = headline(whole())
    assert told.text == (
        "INT8 leaves small at 19.5 dB (gate 20), at worst of 6 environments, and ort-1.22.1 crashed."
    )
    assert "25 of 48 cells" in fact(told, "Not run")


def test_nothing_planned_and_nothing_run_are_said_to_be_so() -> None:
    assert headline(judgement([])).text == "Nothing was planned."
    gone = [cell_result("a", status=Status.UNAVAILABLE, reason="no NVIDIA driver")]
    told = headline(judgement(gone))
    assert told.text == "Nothing ran: no NVIDIA driver."
    assert not told.cost


def timed(*pairs: tuple[float, float]) -> Judgement:
    """Returns one version for each (fp32's, int8's) time in seconds."""
    cells = [
        result
        for number, (fp32, int8) in enumerate(pairs)
        for result in (
            cell_result(f"v{number}", FP32, [fp32_head("small")], latency_s=fp32),
            cell_result(f"v{number}", SHARED, [head("small")], latency_s=int8),
        )
    ]
    return judgement(cells, heads=("small",), baseline="v0")


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (((0.002, 0.010), (0.002, 0.016)), "INT8 is 5.0 to 8.0 times slower than FP32 on cpu"),
        (((0.010, 0.004),), "INT8 takes 0.4 times FP32's time on cpu (4.0 against 10.0 ms"),
        (((0.010, 0.0101),), "INT8 is no faster than FP32 on cpu (10.1 against 10.0 ms"),
        (
            ((0.010, 0.004), (0.010, 0.02)),
            f"INT8 is faster than FP32 in 1 of 2 cells and slower in 1 (v1, {SHARED.name}) on",
        ),
    ],
)
def test_int8_that_is_slower_than_fp32_is_said_to_be(
    pairs: tuple[tuple[float, float], ...], said: str
) -> None:
    assert cost(timed(*pairs)).startswith(said)


def test_times_are_not_compared_over_batches_or_without_fp32() -> None:
    made = timed((0.002, 0.010))
    fp32, int8 = made.cells
    other = replace(int8, latency=latency(0.010, batch=4))
    assert cost(replace(made, cells=(fp32, other))) == ""
    assert cost(replace(made, cells=(int8,))) == ""
    some = replace(int8, disturbed="1 of 3 repeats: another process")
    assert cost(replace(made, cells=(fp32, some))) == cost(made), "its time is of the others"
    busy = replace(some, latency_disturbed=True)
    assert "do not trust its time" in cost(replace(made, cells=(fp32, busy)))


def fix(now: float, then: float, basis: Basis) -> Fix:
    return Fix(
        kind=FixKind.LAYERS, what="keep small/Conv in float", why="", basis=basis,
        now=KeptQuality(sqnr_db={"small": 20.0}, ap_drop=now), against="v1/cpu/int8",
        reaches=KeptQuality(sqnr_db={"small": 22.0}, ap_drop=then),
    )  # fmt: skip


def test_the_first_fix_that_gains_is_what_to_do_and_says_who_saw_it() -> None:
    made = versions((8, 0.2))
    useless = replace(fix(0.2, 0.2, Basis.MEASURED), reaches=KeptQuality(ap_drop=0.2))
    unknown = fix(0.2, 0.0, Basis.UNKNOWN)
    told = headline(replace(made, fixes=(useless, unknown, fix(0.2, 0.02, Basis.SIMULATED))))
    assert told.told_remedy == (
        "Keep small/Conv in float: AP lost 0.200 → 0.020, small 20.0 → 22.0 dB (◇ simulated)."
    )
    assert told.strips[0].reaches == "20.0 → 22.0 dB"


@pytest.mark.parametrize("seed", range(60))
def test_of_any_judgement_it_is_short_and_its_decibels_were_measured(seed: int) -> None:
    made = Draw(seed).judgement()
    told = headline(made)
    assert told.text.endswith(".")
    assert "\n" not in told.text
    assert 1 < len(told.lines()) <= 5
    assert len(told.strips) == len(made.heads)
    known = {
        f"{head_result.error.sqnr_db:z.1f}"
        for result in made.cells
        for head_result in result.heads
        if head_result.error.sqnr_db is not None
    }
    for strip in told.strips:
        assert strip.sqnr_db is None or f"{strip.sqnr_db:z.1f}" in known
    for db in re.findall(r" at (-?[\d.]+) dB", told.text):
        assert db in known
    if made.network and made.network.clean:
        assert told.text.startswith("Nothing is wrong")
    elif told.state == "clean":
        pytest.fail("clean is said of a network that is not")


def doubted() -> Judgement:
    made = whole()
    return dataclasses.replace(made, facts={**made.facts, "doubts": ["guessed (line 3): the size"]})


@pytest.mark.parametrize(
    "made", [whole(), h200.judged(), doubted()], ids=["demo-like", "h200", "doubted"]
)
def test_every_output_says_the_same(made: Judgement) -> None:
    lines = headline(made).lines()
    terminal = Outcome(made, Path(), Path("r.html"), {}).text().splitlines()
    assert terminal[-len(lines) - 1 : -1] == list(lines)
    root = ET.fromstring(junit(made))
    assert [one.get("value") for one in root.iter("property")] == list(lines)
    plain = re.sub(r"\\([\\`*_\[\]<>#|~&])", r"\1", summary(made))
    for line in lines:
        assert line in plain


def test_the_worst_head_stands_first() -> None:
    cells = [
        cell_result(
            BASELINE, SHARED, [head("large", 0.002), head("medium", 0.5), head("small", 0.02)]
        )
    ]
    told = headline(judgement(cells, heads=HEADS))
    assert [strip.head for strip in told.strips] == ["medium", "small", "large"]


def test_a_table_that_another_one_beats_is_not_what_int8_costs() -> None:
    """Nor is a pass that tries layers in float, which is a remedy; nor fp16."""
    good = boxed(cell_result("v1", SHARED, [head("small", 0.01)]), 2, 0.02)
    bad = boxed(cell_result("v1", MINMAX, [head("small", 0.2)]), 90, 0.5)
    mixed = replace(SHARED, algorithm=None, source=None, mixed=True)
    tried = boxed(cell_result("v1", mixed, [head("small", 0.3)]), 100, 0.6)
    half = boxed(
        cell_result("v1", replace(FP32, precision=Precision.FP16), [fp32_head("small")]), 80, 0.4
    )
    made = judgement([good, bad, tried, half], heads=("small",), baseline="v1", boxes=REPORT)
    told = headline(made)
    assert told.text.startswith("INT8 costs AP 0.800 → 0.780 and loses 2 of 200 boxes")
    assert (told.strips[0].lost, told.strips[0].ap_drop) == (2, 0.02)


def test_what_is_not_decided_is_not_called_severe_and_its_remedy_promises_nothing() -> None:
    effect = Effect(log=1.4, low=-0.2, high=3.0, p=0.1, builds=2)
    verdict = Verdict(
        kind=Kind.INCONCLUSIVE, cell="c", head="small", effect=effect, needs="3 more repeats",
        suspected=Kind.ENGINE_REGRESSION,
    )  # fmt: skip
    cells = [
        cell_result("v1", SHARED, [head("small", 0.001)]),
        cell_result("v2", SHARED, [head("small", 0.009, verdicts=(verdict,))]),
    ]
    told = headline(judgement(cells, heads=("small",), baseline="v1"))
    assert (told.state, told.word) == ("open", "not decided")
    # What was measured is told; open is only what would be to blame.
    assert told.text.startswith("INT8 keeps 20.5 dB")
    assert told.text.endswith("; whether small loses by the version's engine is not decided.")
    # What would decide it is said once, as what to do.
    assert told.remedy.startswith("3 more repeats would decide")
    assert "→" not in told.told_remedy
    assert fact(told, "Send to") == "nobody before it is decided"


def test_versions_that_follow_each_other_are_a_span_and_others_a_list() -> None:
    order = ["v1", "v2", "v3", "v4", "v5"]
    assert run_of(["v2", "v3", "v4"], order) == "v2 to v4"
    assert run_of(["v1", "v3", "v5"], order) == "v1, v3 and v5"
    assert run_of(["v4", "v5"], order) == "v4 and v5"
    assert run_of(order, order) == "v1 to v5"


def test_no_head_is_blamed_for_the_boxes_that_another_loses_with_a_table() -> None:
    """UltraFace: entropy ruins the scores and is a little better for the boxes' places; minmax loses fewest."""
    entropy = boxed(
        cell_result("v1", SHARED, [head("large", 0.2), head("small", 0.001)]), lost=100, drop=0.3
    )
    minmax = boxed(
        cell_result("v1", MINMAX, [head("large", 0.001), head("small", 0.002)]), lost=20, drop=0.05
    )
    made = judgement([entropy, minmax], heads=("large", "small"), baseline="v1", boxes=REPORT)
    strips = {strip.head: strip for strip in headline(made).strips}
    assert {name: strip.lost for name, strip in strips.items()} == {"large": 20, "small": 20}
    assert strips["small"].sqnr_db == pytest.approx(27.0, abs=0.1)
    # A head whose boxes are its own is spoken of with the table that keeps most of it.
    apart = [replace(result, heads=result.heads[1:]) for result in (entropy, minmax)]
    (alone,) = headline(judgement(apart, heads=("small",), baseline="v1", boxes=REPORT)).strips
    assert alone.lost == 100
    assert alone.sqnr_db == pytest.approx(30.0, abs=0.1)


@pytest.mark.parametrize(
    ("reaches", "told_of"),
    [
        ({"large": 30.0, "small": 23.5}, "small"),
        ({"large": 30.0, "small": 20.1}, "large"),
        ({"large": 30.0}, "large"),
        ({"large": 24.5, "small": 19.0}, "large"),
    ],
)
def test_the_remedy_speaks_of_the_worst_head_that_it_helps_as_much_as_any(
    reaches: dict[str, float], told_of: str
) -> None:
    """Beside `small 14.7 dB` it said what medium gains, a tenth of a decibel more."""
    cells = [boxed(cell_result("v1", SHARED, [head("large", 0.005), head("small", 0.01)]), 20, 0.2)]
    made = judgement(cells, heads=("large", "small"), baseline="v1", boxes=REPORT)
    one = replace(
        fix(0.2, 0.02, Basis.MEASURED),
        now=KeptQuality(sqnr_db={"large": 25.0, "small": 20.0}, ap_drop=0.2),
        reaches=KeptQuality(sqnr_db=reaches, ap_drop=0.02),
    )
    told = headline(replace(made, fixes=(one,)))
    assert f", {told_of} 2" in told.remedy


def test_what_a_fix_gains_where_no_harm_was_seen_is_no_remedy_of_that_head() -> None:
    cells = [
        cell_result(
            "v1", SHARED, [head("large", 0.004, limit=0.004, calibration=0.0), head("small", 0.04)]
        )
    ]
    made = judgement(cells, heads=("large", "small"), baseline="v1")
    one = replace(
        fix(0.2, 0.02, Basis.MEASURED),
        now=KeptQuality(sqnr_db={"large": 24.0, "small": 14.0}),
        reaches=KeptQuality(sqnr_db={"large": 24.5, "small": 20.0}),
    )
    strips = {strip.head: strip for strip in headline(replace(made, fixes=(one,))).strips}
    assert strips["small"].reaches == "14.0 → 20.0 dB"
    assert (strips["large"].state, strips["large"].reaches) == ("none", "")
