"""What a table clips, how a calibrator's table differs from its rule, and where a card says so."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import h200
from tests.unit.new_records import new_manifest, new_measurement, new_record, new_start, remeasured
from tests.unit.passes import SHARED
from trt_matrix.core.answers.table_facts import with_tables
from trt_matrix.core.cells import Pass, Precision, TableSource
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.network.network_map import network_map
from trt_matrix.core.records import Record, StoredObject
from trt_matrix.core.tables.calibrator_rule import compared_with_rule
from trt_matrix.core.tables.clipping import LEAST_KEPT, MOST_CLIPPED, clipped_tensors, sentence
from trt_matrix.core.tables.differences import TableReport, TableUse, called, table_report
from trt_matrix.core.tables.table import from_json
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.report import html

HEADS_OF = {
    "x": ("small", "medium"),
    "image": ("large", "medium", "small"),
    "small": ("small",),
    "y": (),
}
HEADS = ("large", "medium", "small")
CELLS_OF = {"x": ("c",), "image": ("c",), "small": ("c",)}

# Clipping


def test_a_tensor_that_is_mostly_clipped_is_told_by_name_with_its_heads() -> None:
    clipped = clipped_tensors(
        {"x": 0.585, "image": 1.0}, {"x": 7.29, "image": 1.0}, {"x": 0.83}, HEADS_OF, CELLS_OF
    )
    assert sentence("the shared entropy table", clipped, HEADS) == (
        "the shared entropy table clips 83 % of tensor x (amax 0.585 of 7.29), behind which small and medium lie"
    )


@pytest.mark.parametrize(
    ("amax", "share", "told"),
    [
        (5.0, MOST_CLIPPED, False),
        (5.0, MOST_CLIPPED + 0.001, True),
        (10 * LEAST_KEPT, 0.0, False),
        (10 * LEAST_KEPT - 0.01, 0.0, True),
        (10 * LEAST_KEPT - 0.01, None, True),
        (10.0, None, False),
        (12.0, 0.9, False),  # TensorRT's may lie above all that was seen: nothing is clipped then
    ],
)
def test_what_is_worth_a_word(amax: float, share: float | None, told: bool) -> None:
    shares = {} if share is None else {"x": share}
    assert bool(clipped_tensors({"x": amax}, {"x": 10.0}, shares, HEADS_OF, CELLS_OF)) is told


def test_ranges_that_decide_no_scale_are_not_told() -> None:
    """What a Relu reads has its output's range, so its own may clip what it likes."""
    ranges = {"x": 0.1, "y": 0.1}, {"x": 9.0, "y": 9.0}
    (clipped,) = clipped_tensors(*ranges, {}, HEADS_OF, {"y": ("c",)})
    assert clipped.tensor == "y"
    assert clipped_tensors({"x": 0.1}, {}, {"x": 0.9}, HEADS_OF, CELLS_OF) == ()


def test_sentences_of_many_tensors_of_no_known_heads_and_of_heads_themselves() -> None:
    ranges = {f"t{index}": 0.5 for index in range(5)} | {"small": 0.4}
    of = dict.fromkeys(ranges, ("c",))
    clipped = clipped_tensors(ranges, dict.fromkeys(ranges, 10.0), {}, HEADS_OF, of)
    text = sentence("it", clipped, HEADS)
    assert text.startswith(
        "it keeps 4 % of the range of tensor small (amax 0.4 of 10), a head itself"
    )
    assert text.endswith("and 3 more tensors")
    assert "behind which" not in text
    (all_of,) = clipped_tensors({"image": 0.1}, {"image": 10.0}, {}, HEADS_OF, CELLS_OF)
    assert "behind which all heads lie" in sentence("it", [all_of], HEADS)


@given(
    st.dictionaries(st.text(max_size=4), st.floats(1e-30, 1e30), max_size=6),
    st.dictionaries(st.text(max_size=4), st.floats(0, 1e30), max_size=6),
    st.dictionaries(st.text(max_size=4), st.floats(0, 1), max_size=6),
)
def test_any_tables_give_sentences(
    ranges: Mapping[str, float], seen: Mapping[str, float], shares: Mapping[str, float]
) -> None:
    found = clipped_tensors(ranges, seen, shares, {}, dict.fromkeys(ranges, ("c",)))
    assert all(clipped.amax < clipped.seen for clipped in found)
    if found:
        assert sentence("it", found, HEADS)


# The rule of a calibrator


def test_a_calibrator_that_follows_its_rule_but_for_one_tensor() -> None:
    rule = {f"t{index}": 1.0 + index for index in range(52)} | {"/x": 1.0}
    made = {name: amax * 1.002 for name, amax in rule.items()} | {"/x": 2.1}
    comparison = compared_with_rule("EntropyCalibration2", made, rule, {"/x": ("small",)})
    assert comparison
    assert (comparison.tensors, comparison.compared, comparison.same, comparison.near) == (
        53,
        53,
        52,
        52,
    )
    assert comparison.sentence() == (
        "of its 53 scales 52 are what TensorRT's entropy2 rule gives for these images; "
        "/x differs 2.1 times (behind it small)"
    )


def test_one_that_follows_it_wholly_and_one_that_is_near() -> None:
    rule = {"a": 1.0, "b": 2.0}
    wholly = compared_with_rule("MinMaxCalibration", rule, rule, {})
    assert wholly
    assert wholly.sentence() == "of its 2 scales all are what TensorRT's MinMaxCalibration rule gives for these images".replace("MinMaxCalibration", "minmax")  # fmt: skip
    near = compared_with_rule("EntropyCalibration", {"a": 1.05, "b": 2.0}, rule, {})
    assert near
    assert near.sentence().endswith("1 is what TensorRT's entropy rule gives for these images; 1 more within 10 %")  # fmt: skip
    smaller = compared_with_rule("EntropyCalibration", {"a": 0.25, "b": 2.0}, rule, {})
    assert smaller
    assert "a differs 4.0 times" in smaller.sentence()


def test_nothing_is_said_of_tables_whose_tensors_are_not_known() -> None:
    rule = {"a": 1.0, "b": 2.0}
    assert compared_with_rule("EntropyCalibration2", {}, rule, {}) is None
    assert compared_with_rule("EntropyCalibration2", {"x": 1.0}, rule, {}) is None
    assert compared_with_rule("EntropyCalibration2", {"x": 1.0, "y": 1.0, "a": 1.0}, rule, {}) is None  # fmt: skip
    half = compared_with_rule("EntropyCalibration2", {"x": 1.0, "a": 1.0}, rule, {})
    assert half
    assert half.sentence().startswith("of its 2 scales that the reference knows, 1, all are")


def stored(digest: str) -> Mapping[str, float]:
    return from_json((h200.DATA / "tables" / f"{digest}.json").read_text()).amax


def test_the_minmax_of_a_real_tensorrt_is_its_rule_on_a_gpu_too() -> None:
    """8.6.0 on an H200, and the largest magnitudes that ONNX Runtime saw on a CPU."""
    comparison = compared_with_rule(
        "MinMaxCalibration", stored("327455dc7807"), stored("faa10d8a37fa"), {}
    )
    assert comparison
    assert (comparison.tensors, comparison.compared, comparison.same) == (54, 54, 54)


def test_the_entropy_of_before_was_not_tensorrts() -> None:
    """Recorded before `entropy` became TensorRT's own: 22 tensors of 54 within 0.5 %, where the rule gives 93 %."""
    comparison = compared_with_rule(
        "EntropyCalibration2", stored("7301ca8fe2ff"), stored("17bc48c1f460"), {}
    )
    assert comparison
    assert comparison.compared == 54
    assert comparison.same < 0.5 * comparison.compared
    assert comparison.differing


# In a run

OWN = Pass(
    precision=Precision.INT8, source=TableSource.OWN, algorithm="entropy2", implicit=True
)  # fmt: skip
CACHE, MINMAX, ENTROPY = "c" * 64, "m" * 64, "e" * 64
RANGES: Mapping[str, Mapping[str, float]] = {
    MINMAX: {"image": 1.0, "x": 7.29, "small": 9.0},
    ENTROPY: {"image": 1.0, "x": 0.585, "small": 0.5},
    CACHE: {"image": 1.0, "x": 1.5, "small": 0.5},
}


def manifest(**more: Any) -> Manifest:
    facts: dict[str, Any] = {
        "environment": "reference",
        "images_sha256": "cal",
        "note": None,
        "unusable": {},
    }
    content: dict[str, Any] = {
        "baseline": "v",
        "facts": {"images": {"calibration": {"array_sha256": "cal"}}},
        "tables": {
            ENTROPY: {**facts, "algorithm": "entropy", "clipped": {"x": 0.83}},
            MINMAX: {**facts, "algorithm": "minmax", "clipped": {}},
            CACHE: {**facts, "algorithm": "EntropyCalibration2", "images_sha256": None},
        },
    }
    return new_manifest(**(content | more))


def record(
    name: str, pass_: Pass, table: str, *, kind: str = "venv", placement: str = "tensorrt"
) -> Record:
    file = StoredObject(sha256="f" * 64, suffix=".cache", size_bytes=1)
    start = new_start(environment=name, identity={"kind": kind}, started="")
    measurement = new_measurement(
        name=pass_.name,
        table=table,
        placement=placement,
        cache=file if pass_.implicit else None,
        start=start,
    )
    return new_record(name, pass_, (measurement,))


def decides(*records: Record) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Every range in every cell."""
    cells = tuple(record.cell for record in records)
    return {digest: dict.fromkeys(RANGES[digest], cells) for digest in (ENTROPY, CACHE)}


def use(report: TableReport, digest: str) -> TableUse:
    (table_use,) = (table for table in report.tables if table.digest == digest)
    return table_use


def test_a_run_tells_what_its_cells_tables_clip_and_how_a_calibrator_differs() -> None:
    records = [record("v", SHARED, ENTROPY), record("t", OWN, CACHE)]
    report = table_report(manifest(), records, RANGES, HEADS_OF, decides(*records))
    shared, own = use(report, ENTROPY), use(report, CACHE)
    assert [(clipped.tensor, clipped.share) for clipped in shared.clipped] == [
        ("x", 0.83),
        ("small", None),
    ]
    assert [clipped.tensor for clipped in own.clipped] == ["small"], (
        "held against the reference's minmax"
    )
    assert use(report, MINMAX).clipped == (), "no cell ran with it"
    assert own.rule
    assert (own.rule.same, [differing.tensor for differing in own.rule.differing]) == (2, ["x"])
    assert shared.rule is None
    assert called(shared) == "the shared entropy table"
    assert called(own) == "the own EntropyCalibration2 table of t"


@pytest.mark.parametrize("why", ["recorded", "other images", "of before", "no cache", "gone"])
def test_nothing_is_compared_where_the_images_or_the_rule_are_not_known(why: str) -> None:
    told, ranges = manifest(), dict(RANGES)
    one = record("t", OWN, CACHE, kind="dumps" if why == "recorded" else "venv")
    if why == "other images":
        told = manifest(facts={"images": {"calibration": {"array_sha256": "others"}}})
    if why == "of before":
        tables = {name: {k: v for k, v in facts.items() if k != "clipped"} for name, facts in told.tables.items()}  # fmt: skip
        told = manifest(tables=tables)
    if why == "no cache":
        one = remeasured(one, lambda _: {"cache": None})
    if why == "gone":
        del ranges[ENTROPY]
    report = table_report(told, [one], ranges, HEADS_OF, decides(one))
    assert use(report, CACHE).rule is None


# On a card


def with_report(kind: Kind) -> tuple[Judgement, TableReport, str]:
    """A real judgement, one of whose findings is made one of `kind`, with what tables say beside it."""
    judged = h200.judged()
    answer = next(answer for answer in judged.answers if answer.findings)
    cell = next(result.cell.id for result in judged.cells if "int8" in result.cell.id)
    blamed = dataclasses.replace(answer.findings[0], kind=kind, cells=(cell,))
    other = dataclasses.replace(answer, findings=(blamed, *answer.findings[1:]))
    answers = tuple(other if one is answer else one for one in judged.answers)
    heads_of = {"x": (answer.head,), "image": judged.heads}
    records = [record("v", SHARED, ENTROPY), record("t", OWN, CACHE)]
    report = table_report(manifest(), records, RANGES, heads_of, decides(*records))
    tables = tuple(
        dataclasses.replace(
            table,
            cells=(cell,) if table.digest == wanted else (),
            clipped=tuple(dataclasses.replace(each, cells=(cell,)) for each in table.clipped),
        )
        for wanted in [CACHE if kind is Kind.CALIBRATOR_REGRESSION else ENTROPY]
        for table in report.tables
    )
    return (
        dataclasses.replace(judged, answers=answers),
        dataclasses.replace(report, tables=tables),
        answer.head,
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Kind.CALIBRATION_PROBLEM, "clips 83 % of tensor x (amax 0.585 of 7.29), behind which"),
        (Kind.CALIBRATOR_REGRESSION, "of its 3 scales 2 are what TensorRT's entropy2 rule gives for these images; x differs 2.6 times"),
        (Kind.ENGINE_LOSS, None),
    ],
)  # fmt: skip
def test_a_card_says_it_where_its_table_is_blamed(kind: Kind, said: str | None) -> None:
    judged, report, head = with_report(kind)
    judgement = with_tables(judged, report)
    assert judgement.tables is report
    for before, after in zip(judged.answers, judgement.answers, strict=True):
        texts = (after.text, after.findings[0].text if after.findings else "", judgement.sentences[after.head])  # fmt: skip
        if said and after.head == head:
            assert all(said in text for text in texts)
        else:
            assert after == before
            assert judgement.sentences[after.head] == judged.sentences[after.head]
    page = html.render(judgement)
    if said:
        assert "of tensor x (amax 0.585 of 7.29)" in page or "entropy2 rule" in page


def test_the_demos_leaders_are_known_to_the_network_map(tmp_path: Path) -> None:
    """Names that tables have are those that heads are known of."""
    heads = [(name, name) for name in HEADS]
    known = network_map(onnx.load(h200.ROOT / "demo" / "digits3.onnx"), heads).heads_of
    assert set(stored("faa10d8a37fa")) <= set(known)
    assert np.isfinite(list(stored("faa10d8a37fa").values())).all()
    assert json.loads((h200.DATA / "manifest.json").read_text())["tables"]
