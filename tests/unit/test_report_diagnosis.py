"""What `diagnose` found, as the page shows it."""

from dataclasses import replace

from tests.unit.pages import assert_inert, column_counts, parse
from tests.unit.test_headline import versions
from tests.unit.test_report_questions import asked
from trt_matrix.core.diagnosis.record import (
    Diagnosis,
    GroupCost,
    HeadDiagnosis,
    Numbers,
    SearchRecord,
    SetRecord,
    TensorDiagnosis,
)
from trt_matrix.report.html import render

EVIL = "</td><script>"


def part(number: int) -> GroupCost:
    return GroupCost(
        group=f"layer{number}{EVIL}", operator="Conv", cost=0.25, alone_db=30.0, share=0.5, gain_db=float(number),
        worst_gain_db=1.0, lost_back=2, ap_back=0.125, weights_share=None,
    )  # fmt: skip


def tensor(number: int) -> TensorDiagnosis:
    return TensorDiagnosis(
        kind="activation", name=f"tensor{number}", group="layer", error_steps=0.5, clipped_share=0.01, range=4.0,
        amax=8.0, next_range=None, next_table=None, unlike_channels=1.0, avoidable=number / 100,
        causes=("one image decides its range",),
    )  # fmt: skip


def diagnosis(*, chosen: bool) -> Diagnosis:
    kept = SetRecord(layers=("layer1", "layer2"), cost=0.1, whole=Numbers(), heads={}, failing=())
    return Diagnosis(
        name="d", run="r", model_sha256="0", engine="onnxruntime", placement="ort", table="entropy",
        table_sha256="1", cost_unit="multiply-accumulates", images_chosen_on=64, images_confirmed_on=64,
        heads=(
            HeadDiagnosis(
                head="small", int8=Numbers(sqnr_db=20.0), weights_only_db=None, activations_only_db=None,
                predicted_db=None, rounding_db=None, beyond_db=None, trust=None, worst_images=(), suspects=(),
                parts=tuple(part(one) for one in range(20)),
            ),
        ),
        whole=Numbers(), tensors=tuple(tensor(one) for one in range(40)), skipped={},
        search=SearchRecord(
            goals=(), failing=(), chosen=kept if chosen else None, confirmed=None, confirmed_holds=None, looks=1,
            minimal=False, best=None, front=(), evaluations=3, sentence="Two layers in float keep every limit.",
        ),
        elsewhere=None, seconds={},
    )  # fmt: skip


def test_groups_and_tensors_stand_with_what_they_cost() -> None:
    judgement = replace(versions((8, 0.2)), diagnosis=diagnosis(chosen=True))
    page = parse(render(judgement))
    assert_inert(page)
    section = page.by_id("diagnosis")
    assert "Two layers in float keep every limit." in section.text
    groups, tensors = section.all("table")
    assert all(len(column_counts(element)) == 1 for element in (groups, tensors))
    assert len(groups.all("tr")) == 1 + 12
    assert "12 of 20" in groups.text
    assert [element.all("th")[0].text for element in tensors.all("tr")[1:3]] == [
        "tensor39",
        "tensor38",
    ]


def test_whether_it_is_a_few_layers_is_what_the_search_found() -> None:
    judgement = versions((8, 0.2))
    question = asked(replace(judgement, diagnosis=diagnosis(chosen=True)), "Is it a few")
    assert (question.answer, question.number) == ("Yes", "2")
    question = asked(replace(judgement, diagnosis=diagnosis(chosen=False)), "Is it a few")
    assert (question.answer, question.number) == ("No", "0")
    assert "diagnosis" not in {
        element.attributes.get("id") for element in parse(render(judgement)).walk()
    }
