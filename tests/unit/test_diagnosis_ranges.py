"""The table in which each tensor takes the known range of least squared error: chosen right, and evaluated as it is."""

import dataclasses
from pathlib import Path

import pytest

from tests.unit.diagnoses import subject, three_heads
from trt_matrix.core.diagnosis.record import Diagnosis, MixRecord
from trt_matrix.core.diagnosis.tensors import TensorTheory, best_of_known
from trt_matrix.diagnosis.diagnosing import diagnose
from trt_matrix.diagnosis.subject import DiagnosisWish, Subject
from trt_matrix.store.results import Store


def theory(name: str, errors: dict[float, float], leader: str | None = None) -> TensorTheory:
    return TensorTheory(
        name=name, scale=0.1, elements=10, error_steps=0.3, clipped_share=0.0, amax=1.0, range=1.0,
        mse=0.1, best_mse=0.1, unlike_channels=0.0, leader=leader or name, errors=errors,
    )  # fmt: skip


def test_tensors_with_one_range_are_judged_together() -> None:
    """What is best for the one alone would be worst for both."""
    found = best_of_known(
        [theory("a", {1.0: 5.0, 2.0: 4.0}), theory("b", {1.0: 1.0, 2.0: 9.0}, leader="a")]
    )
    assert found == {"a": 1.0}


def test_a_tensor_that_no_table_helps_is_left_alone() -> None:
    """Of a tensor that is all zero every range is as good; of one in one table there is no other."""
    assert best_of_known([theory("dead", {1.0: 0.0, 2.0: 0.0}), theory("one", {1.0: 3.0})]) == {}


def mixed(one: Subject, folder: Path) -> tuple[Diagnosis, MixRecord | None]:
    diagnosis = diagnose(one, DiagnosisWish(), Store(folder / "results"), lambda _: None)
    return diagnosis, diagnosis.mix


def test_a_range_that_is_wrong_is_put_right_and_the_gain_is_that_of_the_whole_network(
    tmp_path: Path,
) -> None:
    one = subject(three_heads(), tmp_path, factors={"trunk2_out": 0.05})
    diagnosis, mix = mixed(one, tmp_path)
    assert mix is not None
    assert mix.changed == 1
    assert mix.confirmed is not None
    assert diagnosis.other_images is not None
    for head in diagnosis.heads:
        before, after = head.int8.sqnr_db, mix.chosen.heads[head.head].sqnr_db
        assert before is not None
        assert after is not None
        assert after > before + 10
    # The other table is the diagnosed one but for that range: put right, it is that table.
    whole = dataclasses.replace(
        one, table=one.others["entropy of a test"], others={}, folder=tmp_path
    )
    right, none = mixed(whole, tmp_path)
    assert none is None
    for head in right.heads:
        assert mix.chosen.heads[head.head].sqnr_db == pytest.approx(head.int8.sqnr_db, abs=1e-9)


def test_a_table_of_the_images_that_are_judged_is_not_taken_from(tmp_path: Path) -> None:
    """It has seen what it is judged on: nobody can calibrate so."""
    one = subject(three_heads(layers=1), tmp_path, factors={"trunk1_out": 0.05})
    seen = {
        name: dataclasses.replace(
            table, provenance=dataclasses.replace(table.provenance, images_sha256=one.images_sha256)
        )
        for name, table in one.others.items()
    }
    _, mix = mixed(dataclasses.replace(one, others=seen), tmp_path)
    assert mix is None
