"""Whose fault it is, how sure that is and what to do: said first, of every head."""

import dataclasses
from typing import Any

import pytest

from tests.unit.judgements import BASELINE, OWN, SHARED, cell_result, errors, head
from tests.unit.test_severity import boxes
from trt_matrix.core.answers.causes import WORDS
from trt_matrix.core.answers.findings import DECODE_SAYS
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.cells import Pass, TableSource
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.rules import DB
from trt_matrix.core.verdicts.attribution import Addition, Attribution, FactorChange
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict

EFFECT = Effect(log=4 * DB, low=3 * DB, high=5 * DB, p=1e-9, typical=3.5 * DB, builds=3)


def verdict(kind: Kind, **changes: Any) -> Verdict:
    values = {"cell": "c", "head": "small", "effect": EFFECT, "against": "base/cpu/x"}
    return Verdict(**{"kind": kind, **values, **changes})


def told(*cells: CellResult, blame: str = "") -> dict[str, str]:
    """Returns the answer for head small, as a page shows it."""
    (answer,) = answers(("small",), cells, BASELINE, {"small": blame} if blame else {})
    return {name: getattr(answer, name) for name in ("fault", "text", "advice", "confidence")}


def with_verdicts(
    name: str, *verdicts: Verdict, pass_: Pass = SHARED, calibration: float = 0.002,
    gate_sqnr_db: float | None = 18, **changes: Any,
) -> CellResult:  # fmt: skip
    """Returns a cell whose head keeps 20 dB and all of its boxes."""
    changes = {"boxes": boxes(), **changes}
    head_result = head(
        "small", 0.01, calibration=calibration, gate_sqnr_db=gate_sqnr_db, verdicts=verdicts
    )
    return cell_result(name, pass_, [dataclasses.replace(head_result, **changes)])


def test_nothing_wrong() -> None:
    ok = verdict(Kind.OK, bound_db=0.31)
    one = told(
        with_verdicts("old", ok, calibration=0.004), with_verdicts(BASELINE, calibration=0.004)
    )
    assert one["fault"] == "nobody's: nothing is wrong"
    assert one["text"].startswith(
        "Nothing was found: no version is more than 0.4 dB worse than the baseline (95 %); int8 measures at most "
        "0.0 dB worse than its scales must cost; no box is lost. In ort-1.32.0 the shared entropy table keeps 20.0 dB;"
    )
    assert one["advice"] == "Nothing to do."
    assert one["confidence"] == "", "nothing was found that anybody could be sure of"


def test_an_engine_regression_names_what_changed_and_what_to_use() -> None:
    attribution = Attribution(factors=(FactorChange(factor="cuDNN", baseline="8.9", cell="9.1"),))
    bad = verdict(Kind.ENGINE_REGRESSION, attribution=attribution)
    one = told(
        with_verdicts("old", bad, integer_operators={"Resize": 2}, float_operators={}),
        with_verdicts("fine"),
        with_verdicts(BASELINE, integer_operators={}, float_operators={"Resize": 2}),
    )
    assert one["fault"] == "the version's (cuDNN)"
    assert one["advice"] == "Use one of fine and ort-1.32.0, or keep Resize out of int8."
    assert one["confidence"] == "3 builds of each; by chance in fewer than 1 of 200 matrices"


def test_confounded_factors_name_the_environment_to_add() -> None:
    attribution = Attribution(
        confounded=tuple(
            FactorChange(factor=name, baseline="1", cell="2") for name in ("TensorRT", "cuDNN")
        ),
        addition=Addition(yaml="- {image: a}", names=("a",)),
    )
    one = told(
        with_verdicts("old", verdict(Kind.ENGINE_REGRESSION, attribution=attribution)),
        with_verdicts(BASELINE),
    )
    assert one["fault"] == "the engine's (TensorRT or cuDNN, which changed together)"
    assert one["advice"].startswith("Add a to matrix.yaml")


def test_bit_identical_builds_are_said_to_be_no_noise() -> None:
    exact = dataclasses.replace(EFFECT, same_bits=True)
    one = told(
        with_verdicts("old", verdict(Kind.ENGINE_REGRESSION, effect=exact)), with_verdicts(BASELINE)
    )
    assert (
        one["confidence"] == "builds are bit-identical; by chance in fewer than 1 of 200 matrices"
    )


def test_a_bad_table_names_the_best_one_and_the_images() -> None:
    one = told(
        with_verdicts("old", verdict(Kind.CALIBRATION_PROBLEM), pass_=OWN, calibration=0.05),
        with_verdicts(BASELINE, calibration=0.0001),
        blame="The calibration images are to blame.",
    )
    assert one["fault"] == "the calibration's (the own entropy table)"
    assert one["text"].endswith("The calibration images are to blame.")
    assert one["advice"].startswith("Use the shared entropy table, which loses least; look at")


@pytest.mark.parametrize(
    ("suspected", "words"),
    [
        (Kind.IMPLICIT_REGRESSION, "TensorRT's implicit scales"),
        (Kind.ENGINE_LOSS, "the engine's int8 kernels"),
        (None, ""),
    ],
)
def test_what_is_not_decided_says_what_it_looks_like_and_what_would_decide(
    suspected: Kind | None, words: str
) -> None:
    undecided = [
        verdict(Kind.INCONCLUSIVE, needs=needs, suspected=suspected)
        for needs in ("2 more repeats", "22 more repeats", "more evaluation images")
    ]
    one = told(*(with_verdicts("old", each) for each in undecided), with_verdicts(BASELINE))
    assert one["fault"] == f"not decidable yet; perhaps {words}".removesuffix("; perhaps ")
    assert one["advice"].startswith("22 more repeats and more evaluation images would decide.")
    assert one["confidence"] == "not decided"
    assert words in one["text"]
    assert one["text"].count("old") == 1, "an environment is named once"


def test_the_first_cause_stands_first_and_the_others_are_kept() -> None:
    everything = [verdict(kind, why="why") for kind in Kind if kind is not Kind.OK]
    (answer,) = answers(("small",), [with_verdicts("old", *everything)], BASELINE)
    assert [finding.kind for finding in answer.findings[:2]] == [
        Kind.BROKEN_OUTPUT,
        Kind.FP32_REGRESSION,
    ]
    kinds = {finding.kind for finding in answer.findings}
    # What did not run has no head, and a latency is about the whole cell.
    assert kinds == set(Kind) - {Kind.OK, Kind.LATENCY_REGRESSION, Kind.COULD_NOT_RUN}
    assert all(finding.text and finding.advice and finding.fault for finding in answer.findings)
    assert answer.findings[-1].kind is Kind.PRECISION_FALLBACK


def test_what_a_gate_fails_of_stands_before_what_holds_it() -> None:
    holds = with_verdicts("old", verdict(Kind.ENGINE_REGRESSION))
    fails = with_verdicts("new", verdict(Kind.ENGINE_LOSS), gate_sqnr_db=21)
    float_too = with_verdicts("worst", verdict(Kind.FP32_REGRESSION))
    one = told(holds, fails, with_verdicts(BASELINE))
    assert one["fault"] == "the engine's int8 kernels"
    better = with_verdicts("float", verdict(Kind.PRECISION_FALLBACK), gate_sqnr_db=21)
    (answer,) = answers(("small",), [holds, fails, float_too, better], BASELINE)
    assert [(finding.kind, finding.fails) for finding in answer.findings] == [
        (Kind.FP32_REGRESSION, False),
        (Kind.ENGINE_LOSS, True),
        (Kind.ENGINE_REGRESSION, False),
        (Kind.PRECISION_FALLBACK, False),
    ]


def test_no_int8_cell() -> None:
    (answer,) = answers(("small",), [], BASELINE)
    assert (answer.fault, answer.passed) == ("nothing to judge", None)


def test_a_head_is_not_acquitted_while_nobody_saw_its_boxes() -> None:
    """Nor where a gate of dB holds: with all objects set to background a head kept 27 dB."""
    said = {
        None: "not known whether it matters: int8 keeps 20.0 dB",
        18: "nothing found, but not all was seen",
    }
    for gate, fault in said.items():
        one = told(with_verdicts(BASELINE, gate_sqnr_db=gate, boxes=None))
        assert one["fault"] == fault
        assert one["advice"] == f"To know more: {DECODE_SAYS}."


def test_one_build_of_an_engine_that_chooses_is_no_acquittal() -> None:
    once = dataclasses.replace(with_verdicts("old"), repeats=1)
    (answer,) = answers(("small",), [once, with_verdicts(BASELINE)], BASELINE)
    assert (answer.clean, answer.unseen) == (False, ("another build of old",))
    sure = dataclasses.replace(once, fixed=True)
    (answer,) = answers(("small",), [sure, with_verdicts(BASELINE)], BASELINE)
    assert (answer.clean, answer.unseen) == (True, ())


def test_a_table_that_another_one_beats_is_nobodys() -> None:
    bad = with_verdicts(
        "old", verdict(Kind.CALIBRATION_PROBLEM), pass_=OWN, error=errors(0.02), gate_sqnr_db=15
    )
    (answer,) = answers(("small",), [bad, with_verdicts(BASELINE)], BASELINE)
    assert answer.findings[0].beaten
    assert answer.fault == "nobody's, with another table than the own entropy table"


def test_what_all_versions_lose_is_said_of_all() -> None:
    lost = verdict(Kind.ENGINE_LOSS, versions=3)
    one = told(*(with_verdicts(name, lost) for name in ("old", "mid", BASELINE)))
    assert one["fault"] == "the engine's int8 kernels, in every version alike"
    assert one["confidence"] == "3 versions alike; by chance in fewer than 1 of 1,000 matrices"


def test_a_fallback_alone_is_no_fault() -> None:
    better = with_verdicts("old", verdict(Kind.PRECISION_FALLBACK))
    (answer,) = answers(("small",), [better, with_verdicts(BASELINE)], BASELINE)
    assert [finding.kind for finding in answer.findings] == [Kind.PRECISION_FALLBACK]
    assert answer.clean
    assert not answer.findings[0].fails


def test_of_what_is_not_decided_the_largest_stands_first() -> None:
    little = verdict(
        Kind.INCONCLUSIVE, needs="more evaluation images", suspected=Kind.CALIBRATION_PROBLEM
    )
    much = verdict(
        Kind.INCONCLUSIVE,
        needs="2 more repeats",
        suspected=Kind.IMPLICIT_REGRESSION,
        effect=dataclasses.replace(EFFECT, log=9 * DB, typical=9 * DB),
    )
    one = told(with_verdicts("old", little, much, gate_sqnr_db=21), with_verdicts(BASELINE))
    assert one["fault"] == "not decidable yet; perhaps TensorRT's implicit scales"


def test_own_tables_are_no_evidence_of_an_unharmed_engine() -> None:
    assert SHARED.source is TableSource.SHARED
    one = told(with_verdicts("old", pass_=OWN), with_verdicts(BASELINE, pass_=OWN))
    assert "at the same scales" not in one["text"]


def test_a_kind_without_words_of_its_own_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a new one is, before anybody writes a sentence for it."""
    monkeypatch.delitem(WORDS, Kind.IMPLICIT_REGRESSION)
    one = told(with_verdicts("old", verdict(Kind.IMPLICIT_REGRESSION)), with_verdicts(BASELINE))
    assert one["fault"] == "TensorRT's implicit scales"
    assert "old loses 4.0 dB" in one["text"]
    assert "against base/cpu/x: TensorRT's implicit scales." in one["text"]
    assert one["advice"] == "Look at old beside base/cpu/x."
