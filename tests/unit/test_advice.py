"""What is advised follows from what was seen: nothing is advised that was done, or that nobody can do."""

import pytest

from tests.unit.judgements import FP32, SHARED, cell_result, fp32_head, head, judgement
from tests.unit.passes import FP16
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.plain import did_not_run
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict


def broken(pass_: Pass, why: str = "NaN or infinite in 4 of 4 images") -> CellResult:
    verdict = Verdict(kind=Kind.BROKEN_OUTPUT, cell=f"v2/cpu/{pass_.name}", head="small", why=why)
    return cell_result("v2", pass_, [head("small", None, nonfinite=9, verdicts=(verdict,))])


def advised(*cells: CellResult) -> str:
    return headline(judgement(cells, heads=("small",), baseline="v2")).remedy


@pytest.mark.parametrize("precision", [FP16, SHARED])
def test_fp32_that_ran_and_is_sound_is_not_to_be_run(precision: Pass) -> None:
    """The advice was "run fp32 there", beside an fp32 of 130 dB."""
    told = advised(cell_result("v2", FP32, [fp32_head()]), broken(precision))
    assert told.startswith("fp32 is sound in v2")
    assert f"in {precision.precision}, and keep it in fp32" in told


@pytest.mark.parametrize(
    "other",
    [
        (),
        (cell_result("v2", FP32, status=Status.CRASHED, reason="killed"),),
        (cell_result("v1", FP32, [fp32_head()]),),
        (cell_result("v2", FP32, [fp32_head()], device="gpu:0"),),
    ],
)
def test_fp32_that_nobody_has_seen_there_is(other: tuple[CellResult, ...]) -> None:
    assert "run fp32 there" in advised(*other, broken(FP16))


def test_fp32_that_is_broken_otherwise_comes_first() -> None:
    told = advised(broken(FP32, "NaN or infinite in 1 of 4 images"), broken(FP16))
    assert told.startswith("Mend fp32 there first")


def failed(environment: str, reason: str = "no kernel") -> CellResult:
    return cell_result(environment, SHARED, status=Status.JOB_FAILED, reason=reason)


def test_where_the_log_is_where_it_stopped_and_who_ran_it_is_told() -> None:
    reason = "Non-zero status code returned while running QLinearConv node. Name:'c_1'"
    (finding,) = did_not_run([failed("v2", reason), cell_result("v1", SHARED, [head()])])
    assert finding.advice == (
        "Read the log, in the report under Cells: it stopped at operator QLinearConv. v1 ran it."
    )
    (finding,) = did_not_run([failed("v1"), failed("v2")])
    assert finding.advice == "Read the log, in the report under Cells."
    # Another pass of another version is no proof that this one can run there.
    (finding,) = did_not_run([failed("v2"), cell_result("v1", FP32, [fp32_head()])])
    assert finding.advice == "Read the log, in the report under Cells."


def test_two_versions_that_stop_at_one_operator_are_one_reason() -> None:
    """Each said it in its own words, eight lines together, and nobody saw that it was the same."""
    reason = "{}: Non-zero status code returned while running QLinearConv node. Name:'c_1' at 0x{}"
    cells = [failed("v1", reason.format("Fail", 1)), failed("v2", reason.format("RuntimeError", 2))]
    facts = dict(headline(judgement(cells, heads=("small",), baseline="v2")).facts)
    assert facts["Not run"] == "2 of 2 cells: job failed: at operator QLinearConv"
    other = [*cells, failed("v3", "out of memory")]
    facts = dict(headline(judgement(other, heads=("small",), baseline="v2")).facts)
    assert facts["Not run"].endswith("at operator QLinearConv; job failed: out of memory")


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (
            "raw, before it, is compared",
            "Say how the rows of dets become boxes (`decode`): raw, before it, is compared",
        ),
        (
            "name the tensor before it as head: `heads: {raw: {output: t}}`",
            "Name the tensor before it as head: `heads: {raw: {output: t}}`, or say how the rows of dets become boxes (`decode`)",
        ),
        (
            "the network has no tensor before it that could be a head: export it without it",
            "Say how the rows of dets become boxes (`decode`): the network has no tensor before it that could be a head: export it without it",
        ),
    ],
)
def test_of_ranked_rows_a_head_that_is_compared_is_not_to_be_named(before: str, told: str) -> None:
    why = f"head dets: its rows are ranked by TopK (node t), and a row that moves is an error; {before}"
    verdict = Verdict(kind=Kind.NOT_COMPARABLE, cell="v2", head="dets", why=why)
    cells = [
        cell_result(name, SHARED, [head("dets", 0.5, gate_sqnr_db=None, verdicts=(verdict,))])
        for name in ("v1", "v2")
    ]
    found = headline(judgement(cells, heads=("dets",), baseline="v2"))
    assert found.remedy == told
    # Of versions it says nothing, and there is nobody to send it to.
    assert {name for name, _ in found.facts}.isdisjoint({"Since", "Send to"})


def test_tensors_without_a_scale_are_whoever_calibrates() -> None:
    why = (
        "its table covers 20% of the tensors of head small (1 of 5), less than 90%: no scale for t"
    )
    verdict = Verdict(kind=Kind.NOT_COMPARABLE, cell="v2", head="small", why=why)
    cells = [cell_result("v2", SHARED, [head(gate_sqnr_db=None, verdicts=(verdict,))])]
    found = headline(judgement(cells, heads=("small",), baseline="v2"))
    assert dict(found.facts)["Send to"] == "whoever calibrates"
    # No table beats it where no other was judged: it was called a loss that another table undoes, and left out.
    assert dict(found.facts)["Whose"] == "not comparable"
