"""Numbers and names in sentences."""

import pytest

from trt_matrix.containers.job.comparison import table
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.verdicts.gates import SPOKEN
from trt_matrix.core.words import count, listed, span


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "an unknown number of"),
        ([0.0], "0.0"),
        ([-0.0, 0.0], "0.0"),
        ([-0.04, 0.04], "-0.04 to 0.04"),
        ([0.043], "0.04"),
        ([0.043, 1.26], "0.04 to 1.26"),
        ([0.31, 0.2], "0.2 to 0.3"),
        ([0.31, 0.29], "0.3"),
        ([-0.001], "0.00"),
    ],
)
def test_a_span_tells_small_numbers_and_no_negative_zero(values: list[float], text: str) -> None:
    assert span(values) == text


def test_no_sentence_holds_a_negative_zero() -> None:
    assert SPOKEN["ap_drop"].value_text(-0.0004) == "0.000"
    assert SPOKEN["ap_drop"].value_text(-0.0006) == "-0.001"
    assert SPOKEN["sqnr_db"].value_text(-0.04) == "0.0 dB"
    assert str(sqnr_db(1.0)) == "0.0", "nor does a file"
    errors = {"small": {"sqnr_db": -0.004, "mae": 0.0, "max_abs": 1.0, "nonfinite": 0}}
    assert table(["small"], errors).split()[-4:] == ["0.00", "0", "1", "0"]


def test_one_of_a_thing_is_singular() -> None:
    assert [count(amount, "repeat") for amount in (0, 1, 2, 1200)] == [
        "0 repeats", "1 repeat", "2 repeats", "1,200 repeats",
    ]  # fmt: skip
    assert listed([]) == ""
