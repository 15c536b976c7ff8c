"""What is told of converted networks: only of cells that ran one, of tensors whose range is known, of types that end near."""

import dataclasses
from typing import Any

import pytest

from tests.unit.judgements import cell_result, fp32_head
from tests.unit.test_head_answers import EFFECT
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.cells import Pass, Precision
from trt_matrix.core.reduced.conversion_sentences import (
    CONVERTED,
    converted_sentence,
    converted_sentences,
)
from trt_matrix.core.verdicts.verdict import Kind, Verdict


def typed(**changes: Any) -> dict[str, Any]:
    told = {
        "type": "float16", "kept in float32": "nothing", "near the end of its range": "nothing",
        "judged by": "60 tensors on the evaluation images",
    }  # fmt: skip
    return {CONVERTED: told | changes}


def test_tensors_of_which_no_range_is_known_are_not_told_to_be_far_from_the_end() -> None:
    assert converted_sentence(typed()).endswith("of 60 tensors on the evaluation images none comes near float16's end.")  # fmt: skip
    weights = typed(**{"judged by": "the weights alone: mask is infinite"})
    assert converted_sentence(weights) == " The network was converted to float16."


def test_no_other_tensor_is_said_where_one_is_told_to_reach_far() -> None:
    kept = {"kept in float32": {"up": "ONNX's Resize takes no bfloat16"}}
    assert "none comes near" in converted_sentence(typed(**kept))
    far = {"kept in float32": {"up": "t reaches 1e+06, beyond float16's 65504"}}
    assert "no other comes near" in converted_sentence(typed(**far))


def test_cells_that_ran_the_network_as_it_came_are_not_told_to_have_converted_it() -> None:
    both = converted_sentences([("a", typed()), ("b", {})])
    assert both.startswith(" In a the network was converted to float16")
    assert converted_sentences([("a", typed()), ("b", typed())]) == converted_sentence(typed())
    assert converted_sentences([("a", {}), ("b", {})]) == ""
    assert converted_sentences([]) == ""


@pytest.mark.parametrize(
    ("precision", "kind", "overflows"),
    [
        (Precision.FP16, Kind.FP16_REGRESSION, True),
        (Precision.BF16, Kind.BF16_REGRESSION, False),
        (Precision.TF32, Kind.TF32_REGRESSION, False),
    ],
)
def test_only_what_has_a_near_end_is_looked_at_for_overflows(
    precision: Precision, kind: Kind, overflows: bool
) -> None:
    """bfloat16 and TF32 reach as far as float32: they lose digits."""
    bad = Verdict(kind=kind, cell="c", head="small", effect=EFFECT, against="40 dB")
    losing = dataclasses.replace(fp32_head("small", 1e-2), verdicts=(bad,))
    (answer,) = answers(("small",), [cell_result("v", Pass(precision=precision), [losing])], "v")
    assert ("overflows" in answer.findings[0].advice) is overflows
