"""What a real TensorRT 8.5.1.7, 8.5.3.1 and 8.6.0 gave on H200s, judged again: tests/data/h200, docs/reference/verified.md."""

import json
from collections.abc import Mapping

import pytest

from tests.unit import h200
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import HeadResult, Judgement
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.report import html, junit, summary
from trt_matrix.report.questions import questions

SHARED = "trt-8.5.3.1/gpu:*/int8-shared-entropy"
IMPLICIT = "trt-8.5.3.1/gpu:*/int8-implicit-shared-entropy"
OWN = "trt-8.5.3.1/gpu:*/int8-implicit-own-entropy2"
INT8 = ("int8-shared-entropy", "int8-implicit-shared-entropy", "int8-implicit-own-entropy2")


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    return h200.judged()


def heads(judgement: Judgement, cell: str) -> Mapping[str, HeadResult]:
    (cell_result,) = [result for result in judgement.cells if result.cell.id == cell]
    assert cell_result.status is Status.OK
    return {head.head: head for head in cell_result.heads}


def sqnr(result: HeadResult) -> float:
    assert result.error.sqnr_db
    return result.error.sqnr_db


def test_fp32_agrees_and_reduced_precisions_are_no_regression(judgement: Judgement) -> None:
    for precision, least in (("fp32", 127), ("tf32", 54), ("fp16", 54)):
        for head in heads(judgement, f"trt-8.5.3.1/gpu:*/{precision}").values():
            assert sqnr(head) > least
            assert {verdict.kind for verdict in head.verdicts} == {Kind.OK}


def test_explicit_int8_is_what_its_simulation_says(judgement: Judgement) -> None:
    """Q/DQ: the engine part is a tenth of the error at most, and both builds are bit-identical."""
    for head in heads(judgement, SHARED).values():
        assert head.budget
        assert abs(head.budget.engine) < 0.1 * head.budget.observed
        assert head.budget.noise == 0
        assert head.integer_share == 1


def test_implicit_int8_loses_the_small_head_with_the_very_same_table(judgement: Judgement) -> None:
    """The story's picture: FP32 agrees, the large head is well, small is lost behind the upsampling."""
    explicit, implicit = heads(judgement, SHARED), heads(judgement, IMPLICIT)
    assert sqnr(explicit["large"]) - sqnr(implicit["large"]) < 0.1
    assert sqnr(explicit["small"]) - sqnr(implicit["small"]) > 5
    split = implicit["small"].budget
    assert split
    assert split.engine > 0.7 * split.observed, "neither 8 bits nor the table: TensorRT"


def test_builds_of_its_own_calibration_differ_too_much_to_tell(judgement: Judgement) -> None:
    small = heads(judgement, OWN)["small"]
    assert small.budget
    assert small.budget.noise
    assert small.budget.noise > 0.5 * small.budget.observed
    assert "more repeats would decide" in judgement.sentences["small"]


def test_its_facts_are_those_of_the_gpu(judgement: Judgement) -> None:
    (result,) = [cell for cell in judgement.cells if cell.cell.id == SHARED]
    assert result.engine_version == "8.5.3.1"
    assert "H200" in json.dumps(dict(result.facts))
    assert result.latency
    assert result.latency.median_s < 0.001


def test_it_makes_a_report_and_summaries(judgement: Judgement) -> None:
    page = html.render(judgement)
    assert "int8-implicit-shared-entropy" in page or "implicit" in page
    assert "trt-8.5.3.1" in summary.summary(judgement)
    assert "failure" in junit.junit(judgement)


def test_the_next_version_tells_the_same_story(judgement: Judgement) -> None:
    """8.6.0, an H200 of another day: it agrees in FP32 and by Q/DQ, and its implicit INT8 loses the same heads."""
    (other, base) = (
        {name: heads(judgement, f"{version}/gpu:*/{name}") for name in ("fp32", *INT8)}
        for version in ("trt-8.6.0", "trt-8.5.3.1")
    )
    for head in ("large", "medium", "small"):
        assert sqnr(other["fp32"][head]) > 127
        assert abs(sqnr(other[INT8[0]][head]) - sqnr(base[INT8[0]][head])) < 0.1
    for one in (other, base):
        assert sqnr(one[INT8[2]]["large"]) > 27
        assert sqnr(one[INT8[2]]["small"]) < 18, "the gate"
    regressed = {
        verdict.kind
        for results in other.values()
        for result in results.values()
        for verdict in result.verdicts
    }
    assert Kind.ENGINE_REGRESSION not in regressed, "two builds each decide nothing between them"


def test_the_layer_is_named_that_loses_the_heads(judgement: Judgement) -> None:
    """Every build that ran the upsampling in int8 is worse than every build that did not."""
    layers = {choice.head: choice.layers for choice in judgement.choices}
    assert layers == {"medium": ("neck16/upsample/Resize",), "small": ("neck8/upsample/Resize",)}
    (small,) = (choice for choice in judgement.choices if choice.head == "small")
    assert (len(small.worse_db), len(small.better_db), small.tables) == (11, 8, 2)
    assert max(small.worse_db) < 17.3
    assert len(small.held_db) == 7
    assert min(small.better_db) > 22.4
    (answer,) = (answer for answer in judgement.answers if answer.head == "small")
    assert answer.fault == "a layer's: neck8/upsample/Resize in int8"
    assert "out of int8: fp32_layers" in answer.advice
    assert answer.confidence == "tested: held in floating point, 7 builds of 7 recovered"
    assert "would decide" not in answer.text, "the test decided"
    assert "would decide" in judgement.sentences["small"], "of cells that is still so"
    asked = questions(judgement, headline(judgement))
    first, second = asked[1], asked[4]
    assert "small: a layer's: neck8/upsample/Resize in int8 (tested: held" in first.evidence
    assert "small 83 % the engine, 14 % 8 bits, 3 % the table" in first.evidence
    assert "Not decided yet" not in first.evidence
    assert "neck8/upsample/Resize in int8 (11 builds)" in second.evidence


def test_three_versions_choose_alike_and_are_bit_identical(judgement: Judgement) -> None:
    """What the versions are not to blame for: an explicit build, and builds of one choice."""
    records = json.loads((h200.DATA / "records.json").read_text())
    outputs: dict[str, set[str]] = {}
    for record in records:
        for measurement in record["measurements"]:
            if measurement["status"] == "ok":
                name = f"{record['environment']} {measurement['name']}"
                outputs.setdefault(name, set()).add(measurement["outputs"]["small"]["sha256"])
    versions = ("trt-8.5.1.7", "trt-8.5.3.1", "trt-8.6.0")
    explicit = [outputs[f"{version} int8-shared-entropy"] for version in versions]
    assert explicit[0] == explicit[1] == explicit[2]
    assert len(explicit[0]) == 1
    own = [outputs[f"{version} int8-implicit-own-entropy2"] for version in versions]
    assert own[0] & own[1] & own[2], "the build that ran both resizings in int8"
    for version in versions:
        assert sqnr(heads(judgement, f"{version}/gpu:*/int8-shared-entropy")["small"]) > 22


@pytest.mark.parametrize("version", ["trt-8.5.1.7", "trt-8.6.0"])
@pytest.mark.parametrize("name", ["int8-implicit-shared-entropy", "int8-implicit-own-entropy2"])
def test_held_in_fp32_the_lost_heads_come_back(
    judgement: Judgement, version: str, name: str
) -> None:
    """The test of the regularity: the same version and tables, the resizing held in fp32."""
    free = heads(judgement, f"{version}/gpu:*/{name}")
    held = heads(judgement, f"{version}-held/gpu:*/{name}")
    assert sqnr(free["small"]) < 17
    assert sqnr(held["small"]) > 22
    assert sqnr(held["medium"]) > 24.5
    verdicts = [verdict for head in held.values() for verdict in head.verdicts]
    # At most that another table might keep 1 dB more, in exact arithmetic: nothing of this engine.
    assert {verdict.suspected or verdict.kind for verdict in verdicts} <= {
        Kind.OK,
        Kind.CALIBRATION_PROBLEM,
    }


def test_three_versions_are_shown_to_lose_the_same(judgement: Judgement) -> None:
    """By Q/DQ nodes all heads to the bit: not the absence of a difference, but a finding."""
    equal = {
        equivalence.head: equivalence
        for equivalence in judgement.equal
        if equivalence.pass_ == "int8-shared-entropy"
    }
    assert set(equal) == {"large", "medium", "small"}
    for equivalence in equal.values():
        assert equivalence.environments == ("trt-8.5.3.1", "trt-8.5.1.7", "trt-8.6.0")
        assert equivalence.same_bits
        assert equivalence.all
        assert equivalence.within_db == 0
    (large,) = (answer for answer in judgement.answers if answer.head == "large")
    assert (
        "Not the version's: trt-8.5.3.1, trt-8.5.1.7 and trt-8.6.0 lose the same to the bit"
        in large.text
    )


def test_no_version_is_accused(judgement: Judgement) -> None:
    kinds = {verdict.kind for cell in judgement.cells for verdict in cell.all_verdicts}
    assert not kinds & {Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION, Kind.LATENCY_REGRESSION}
    assert Kind.BROKEN_OUTPUT not in kinds


def test_what_two_builds_cannot_decide_is_told_with_what_would(judgement: Judgement) -> None:
    """Implicit `small` is 6 dB worse than its Q/DQ twin in all of 6 builds."""
    for version in ("trt-8.5.1.7", "trt-8.5.3.1", "trt-8.6.0"):
        verdicts = heads(judgement, f"{version}/gpu:*/int8-implicit-shared-entropy")[
            "small"
        ].verdicts
        kinds = {verdict.suspected or verdict.kind for verdict in verdicts}
        assert Kind.IMPLICIT_REGRESSION in kinds
        assert Kind.OK not in {verdict.kind for verdict in verdicts}


def test_two_versions_of_cudnn_are_no_difference() -> None:
    judgement = h200.judged(h200.CUDNN)
    kinds = {
        verdict.kind for cell in judgement.cells for head in cell.heads for verdict in head.verdicts
    }
    # Its CUDA provider multiplies in float between Q and DQ, and rounds all the same.
    assert kinds == {Kind.OK}
    assert all(equivalence.same_bits and equivalence.all for equivalence in judgement.equal)
    assert {equivalence.head for equivalence in judgement.equal} == {"large", "medium", "small"}
    libraries = {
        library["version"].partition(".0.")[0]
        for record in json.loads((h200.CUDNN / "records.json").read_text())
        for measurement in record["measurements"]
        if measurement["start"]
        for library in measurement["start"]["probe"]["mapped"]["libraries"]
        if "cudnn_engines_precompiled" in library["path"]
    }
    assert libraries == {"9.14.0", "9.19"}
