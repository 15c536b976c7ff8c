"""How much of a table arrived, head by head, and that a table which did not is not judged."""

import dataclasses
from pathlib import Path

import pytest

from tests.unit import small_networks as networks
from tests.unit.new_records import remeasured
from tests.unit.test_judge import FP32, SHARED, Experiment, by_id
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.judge import judge
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Coverage, Measurement
from trt_matrix.core.tables.coverage import TensorArrival, coverage
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.execution.answers import AnswerError, ResultFolder

HEADS = (("large", "large"), ("small", "small"))


# Counting


def test_a_whole_table_covers_every_head() -> None:
    coverages = coverage(networks.detector(), TensorArrival(), HEADS)
    assert {head: one.ratio for head, one in coverages.items()} == {"large": 1.0, "small": 1.0}
    assert coverages["small"].mapped > coverages["large"].mapped > 4


def test_a_tensor_that_lacks_its_scale_counts_for_the_heads_behind_it() -> None:
    everything = coverage(networks.detector(), TensorArrival(), HEADS)
    arrived = TensorArrival(
        unmapped=["s2", "up"], unknown=["mixed"], zero=["sum"], missing=["s4", "up"]
    )
    coverages = coverage(networks.detector(), arrived, HEADS)
    assert coverages["large"].unmapped == ("s2", "s4")
    assert coverages["small"].unmapped == ("s2", "s4", "up", "mixed")
    assert (coverages["large"].zero, coverages["small"].zero) == ((), ("sum",))
    for head, one in coverages.items():
        assert one.total == everything[head].mapped


def test_names_that_no_head_depends_on_count_for_none() -> None:
    """TensorRT's network has tensors of its own, and tables have names of other networks."""
    arrived = TensorArrival(unmapped=["(Unnamed Layer* 3) [Shuffle]_output"], unknown=["elsewhere"])
    coverages = coverage(networks.detector(), arrived, HEADS)
    assert all(coverage.ratio == 1.0 for coverage in coverages.values())


def test_names_are_those_of_the_folded_network() -> None:
    """A batch normalisation is folded: the tensor before it needs no scale, though TensorRT has it."""
    b = networks.Builder()
    b.conv("image", "c", 3, 4)
    for name in ("scale", "bias", "mean", "var"):
        b.weight(name, networks.np.ones(4, "f4"))
    b.node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], "head")
    model = b.model({"image": [1, 3, 8, 8]}, ["head"])
    coverages = coverage(model, TensorArrival(unmapped=["c"]), [("h", "head")])
    assert coverages["h"] == Coverage(mapped=2)


def test_an_old_form_has_the_same_tensors() -> None:
    arrived = TensorArrival(unmapped=["up"])
    new, old = (
        coverage(one, arrived, HEADS) for one in (networks.detector(), networks.old_detector())
    )
    assert new == old


@pytest.mark.parametrize(
    ("counts", "ratio"), [((9, 1, 0), 0.9), ((0, 3, 1), 0.0), ((0, 0, 0), None)]
)
def test_the_share_of_what_arrived(counts: tuple[int, int, int], ratio: float | None) -> None:
    mapped, unmapped, zero = counts
    assert Coverage(mapped=mapped, unmapped=("a",) * unmapped, zero=("b",) * zero).ratio == ratio


# What a job tells


def scales(**changes: object) -> dict[str, object]:
    told = {"table": 3, "mapped": 1, "unmapped": ["a"], "unknown": [], "zero": ["b"]}
    return {"scales": told | changes}


def test_what_a_job_tells_of_scales_is_read(tmp_path: Path) -> None:
    answers = ResultFolder(tmp_path)
    assert answers.scales("p", {}) is None
    assert answers.scales("p", {"scales": None}) is None
    answer = answers.scales("p", scales(missing=["c"], defaulted=7, surprise=1))
    assert answer is not None
    assert (answer.unmapped, answer.zero, answer.missing) == (("a",), ("b",), ("c",))


@pytest.mark.parametrize(
    "facts",
    [
        {"scales": 7},
        {"scales": {}},
        scales(unmapped="a"),
        scales(unmapped=[3]),
        scales(zero=None),
        scales(missing={"a": 1}),
    ],
)
def test_what_is_no_such_answer_is_refused(tmp_path: Path, facts: dict[str, object]) -> None:
    with pytest.raises(
        AnswerError, match="p: what its build told of scales is not a valid answer: "
    ):
        ResultFolder(tmp_path).scales("p", facts)


# Judging


def judged(found: Coverage | None, least: float | None) -> Judgement:
    """One cell whose engine loses much at the same scales, of which only a part arrived."""
    experiment = Experiment(gate=20.0)
    experiment.simulated("t", 0.002)
    experiment.cell("new", FP32, 1e-12)
    experiment.cell("new", SHARED, 0.002, 0.002, table="t")
    experiment.cell("old", SHARED, 0.03, 0.03, table="t")
    return judge(with_coverage(experiment.evidence(), found, least))


def with_coverage(evidence: Evidence, found: Coverage | None, least: float | None) -> Evidence:
    of_heads = found and {"small": found}
    records = [
        remeasured(record, lambda _: {"coverage": of_heads})
        if record.environment == "old"
        else record
        for record in evidence.records
    ]
    manifest = evidence.manifest.model_copy(update={"least_coverage": least})
    return dataclasses.replace(evidence, manifest=manifest, records=records)


HALF = Coverage(mapped=31, unmapped=tuple(f"t{index}" for index in range(18)), zero=("z",))


def test_a_table_that_did_not_arrive_is_not_judged() -> None:
    judgement = judged(HALF, 0.9)
    cell = by_id(judgement)["old/cpu/int8-shared-entropy"]
    (head,) = cell.heads
    verdict, lost = head.verdicts
    assert verdict.kind is Kind.NOT_COMPARABLE
    assert lost.kind is Kind.UNEXPLAINED_LOSS, "its gate fails all the same"
    assert verdict.why == (
        "its table covers 62% of the tensors of head small (31 of 50), less than 90%: "
        "no scale for t0, t1, t2 and 16 more"
    )
    assert head.budget is None
    assert head.error.nmse == pytest.approx(0.03)  # still shown, and gated
    assert head.passed is False
    assert (
        "Cannot judge old/cpu/int8-shared-entropy: its table covers 62%"
        in judgement.sentences["small"]
    )
    assert "At the same scales" not in judgement.sentences["small"]
    assert cell.facts["scales"]["heads"]["small"]["mapped"] == 31


@pytest.mark.parametrize(
    ("found", "least"),
    [
        (HALF, 0.62),
        (HALF, None),  # a run of before
        (None, 0.9),
        (Coverage(mapped=0), 0.9),
    ],
)
def test_what_arrived_well_enough_is_judged(found: Coverage | None, least: float | None) -> None:
    judgement = judged(found, least)
    (head,) = by_id(judgement)["old/cpu/int8-shared-entropy"].heads
    assert [verdict.kind for verdict in head.verdicts] == [Kind.ENGINE_REGRESSION]
    assert head.budget is not None


def test_old_manifests_and_measurements_have_neither() -> None:
    assert Manifest.model_fields["least_coverage"].default is None
    assert Measurement.model_fields["coverage"].default is None
