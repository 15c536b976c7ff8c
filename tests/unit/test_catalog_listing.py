"""What `trt-matrix catalog` prints."""

import json
from typing import Any

import pytest

from tests.unit.hosts import gpu
from trt_matrix.commands.catalog import listing
from trt_matrix.config.catalog import rows
from trt_matrix.core.hosts.compatibility import gpu_obstacle
from trt_matrix.errors import ConfigError


def test_every_container_without_a_question() -> None:
    lines = listing(None, None).text().splitlines()
    assert lines[0].split() == [
        "tag", "TensorRT", "CUDA", "Python", "driver", "capability", "INT8", "known", "from",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:-1]] == [row.tag for row in rows()]


def test_what_runs_on_a_gpu_with_a_driver() -> None:
    text = listing("T4", "535").text()
    assert text.startswith(
        "90 of 94 containers run on T4 (compute capability 7.5) with driver 535\n"
    )
    assert "not 18.06-py3 to 18.08-py3 (3): for compute capability 3.0 to 7.0 only" in text
    assert "not 26.08-py3: needs driver 580 or later" in text
    fates = {line.split()[0]: line for line in text.splitlines()}
    assert fates["22.12-py3"].endswith("native")
    assert fates["25.06-py3"].endswith("minor-version compatibility")
    assert fates["26.07-py3"].endswith("forward compatibility")


def test_an_older_driver_than_the_toolkits() -> None:
    text = listing("H200", "550.54").text()
    assert text.startswith("42 of 94 containers run on H200")
    assert "not 26.03-py3 to 26.05-py3 (3): needs driver 580 or later (data-centre GPUs also R535, R570)" in text  # fmt: skip


def test_no_driver_named_is_a_new_one() -> None:
    found = listing("V100", None)
    assert found.text().startswith(
        "72 of 94 containers run on V100 (compute capability 7.0) with a new"
    )
    assert all(row.support is None for row in found.rows)


def test_a_compute_capability_in_place_of_a_name() -> None:
    assert (
        listing("8.6", None)
        .text()
        .startswith("69 of 94 containers run on compute capability 8.6 with")
    )


@pytest.mark.parametrize(
    "question", [(None, None), ("T4", "535"), ("RTX 4090", "525.60"), ("K10", "304")]
)
def test_the_machine_readable_answer(question: tuple[str | None, str | None]) -> None:
    summary: Any = json.loads(json.dumps(listing(*question).summary(), allow_nan=False))
    assert [container["tag"] for container in summary["containers"]] == [row.tag for row in rows()]
    for one, row in zip(summary["containers"], rows(), strict=True):
        assert (one["status"] == "ok") is (one["reason"] is None)
        if question[0] is not None:
            expected = gpu_obstacle(row, question[1], gpu(question[0]))
            assert (expected is None) is (one["status"] == "ok")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (("RTX 40900", None), "'RTX 40900' is not known; did you mean RTX 4090"),
        (("", None), "'' is not known"),
        (("x" * 500, None), "is not known"),
        (("T4", "new"), "'new' is no version; such as 535.104.05, or 535"),
        (("T4", ""), "is no version"),
        ((None, "535"), "needs --for-gpu beside it"),
    ],
)
def test_questions_that_cannot_be_answered(
    question: tuple[str | None, str | None], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        listing(*question)
    assert message in str(error.value)
    assert len(str(error.value)) < 300
