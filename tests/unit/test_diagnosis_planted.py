"""Causes put into real networks: exactly they are named, and the set that cures them is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit import diagnoses
from trt_matrix.core.diagnosis.quantisers import DiagnosisError
from trt_matrix.core.diagnosis.record import Diagnosis, HeadDiagnosis
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT
from trt_matrix.diagnosis.diagnosing import diagnose, split
from trt_matrix.diagnosis.subject import DiagnosisWish, Subject
from trt_matrix.store.results import Store

SEEDS = [0, 1, 2]

UINT8 = replace(ONNXRUNTIME, unsigned_activations=True)


def diagnosed(subject: Subject, **wish: Any) -> Diagnosis:
    return diagnose(
        subject, DiagnosisWish(**wish), Store(subject.folder / "results"), lambda _: None
    )


def head(diagnosis: Diagnosis, name: str) -> HeadDiagnosis:
    return next(head_diagnosis for head_diagnosis in diagnosis.heads if head_diagnosis.head == name)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_clipped_tensor_is_named_with_its_images_and_its_layers_are_the_set(
    seed: int, tmp_path: Path
) -> None:
    data = diagnoses.images(20, seed=seed + 10)
    subject = diagnoses.subject(
        diagnoses.three_heads(seed),
        tmp_path,
        factors={"b_mid": 0.1, "b_in": 0.1},
        gates={"head_a": 20, "head_b": 20, "head_c": 20},
        data=data,
    )
    diagnosis = diagnosed(subject)
    head_diagnosis = head(diagnosis, "head_b")
    assert head_diagnosis.beyond_db is not None
    assert head_diagnosis.beyond_db > 3
    assert head_diagnosis.suspects[0].name in ("b_mid", "b_in")
    assert head_diagnosis.suspects[0].group == "b1"
    assert "clipped" in head_diagnosis.suspects[0].causes
    assert head_diagnosis.suspects[0].images
    assert head_diagnosis.parts[0].group == "b1"
    for other in ("head_a", "head_c"):
        assert (head(diagnosis, other).beyond_db or 0) < 3
    assert [goal.where for goal in diagnosis.search.failing] == ["head_b"]
    # The tensor lies between the two: it is float only where both layers are.
    assert diagnosis.search.chosen is not None
    assert diagnosis.search.chosen.layers == ("b1", "b")
    assert diagnosis.search.minimal
    assert diagnosis.search.confirmed_holds is True


@pytest.mark.parametrize("seed", SEEDS)
def test_one_weight_channel_of_300_times_the_others_is_named_and_only_that_layer(
    seed: int, tmp_path: Path
) -> None:
    model = diagnoses.three_heads(seed)
    diagnoses.dead_channel(model, "c_mid", 300.0)
    options = replace(TENSORRT, per_channel_weights=False)
    gates = {"head_a": 15, "head_b": 15, "head_c": 15}
    subject = diagnoses.subject(model, tmp_path, options=options, gates=gates)
    found = diagnosed(subject)
    tensor_diagnoses = [
        tensor for tensor in found.tensors if "channels of unlike range" in tensor.causes
    ]
    assert ("weights", "c1") in [(diagnosis.kind, diagnosis.name) for diagnosis in tensor_diagnoses]
    assert [diagnosis.name for diagnosis in tensor_diagnoses if diagnosis.kind == "weights"] == [
        "c1"
    ]
    suspect = head(found, "head_c").suspects[0]
    assert (suspect.kind, suspect.name) == ("weights", "c1")
    assert not [suspect for suspect in head(found, "head_a").suspects if suspect.group == "c1"]
    assert found.search.chosen is not None
    assert found.search.chosen.layers == ("c1",)
    # A scale for each channel cures it, too: then nothing is wrong.
    cured = replace(subject, options=TENSORRT, folder=tmp_path / "cured")
    assert diagnosed(cured).search.failing == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trunk_that_all_heads_share_is_left_in_float_rather_than_every_head(
    seed: int, tmp_path: Path
) -> None:
    subject = diagnoses.subject(
        diagnoses.three_heads(seed),
        tmp_path,
        factors={"t1": 0.08, "trunk1_out": 0.08},
        gates={"head_a": 15, "head_b": 15, "head_c": 15},
    )
    diagnosis = diagnosed(subject, most_cost=1.0)
    assert {goal.where for goal in diagnosis.search.failing} == {"head_a", "head_b", "head_c"}
    assert diagnosis.search.chosen is not None
    assert set(diagnosis.search.chosen.layers) == {"trunk1", "trunk2"}
    for name in ("head_a", "head_b", "head_c"):
        assert head(diagnosis, name).suspects[0].group == "trunk1"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_late_layer_of_one_head_is_found_in_that_head_alone(seed: int, tmp_path: Path) -> None:
    subject = diagnoses.subject(
        diagnoses.three_heads(seed),
        tmp_path,
        factors={"head_a": 0.1},
        gates={"head_a": 20, "head_b": 20, "head_c": 20},
    )
    diagnosis = diagnosed(subject)
    assert diagnosis.search.chosen is not None
    assert diagnosis.search.chosen.layers == ("a",)
    assert head(diagnosis, "head_a").suspects[0].name == "head_a"
    assert all(part.group != "a" for part in head(diagnosis, "head_b").parts)


def test_shuffled_images_do_not_change_what_is_found(tmp_path: Path) -> None:
    data = diagnoses.images(20)
    sets = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(data))
        subject = diagnoses.subject(
            diagnoses.three_heads(4),
            tmp_path / str(seed),
            factors={"b_mid": 0.1, "b_in": 0.1},
            gates={"head_b": 20},
            data=data[order],
        )
        subject.folder.mkdir()
        diagnosis = diagnosed(subject)
        assert diagnosis.search.chosen is not None
        sets.append(diagnosis.search.chosen.layers)
    assert set(sets) == {("b1", "b")}


def test_nothing_is_wrong_where_nothing_was_planted(tmp_path: Path) -> None:
    subject = diagnoses.subject(diagnoses.three_heads(), tmp_path, gates={"head_a": 15})
    diagnosis = diagnosed(subject)
    for head_diagnosis in diagnosis.heads:
        assert head_diagnosis.beyond_db is not None
        assert head_diagnosis.beyond_db < 3
        # Of a sound network the parts add up to what the whole loses.
        assert head_diagnosis.trust == pytest.approx(1.0, abs=0.5)
    assert diagnosis.search.chosen is None
    assert diagnosis.search.failing == ()
    assert "none need be in float" in diagnosis.search.sentence


def test_no_set_is_enough_where_the_cost_is_not_to_be_had(tmp_path: Path) -> None:
    subject = diagnoses.subject(
        diagnoses.three_heads(), tmp_path, gates={"head_a": 55, "head_b": 55}
    )
    diagnosis = diagnosed(subject, most_cost=0.2)
    assert diagnosis.search.chosen is None
    assert diagnosis.elsewhere is None
    assert diagnosis.search.best is not None
    assert diagnosis.search.best.cost <= 0.2
    assert diagnosis.search.best.failing
    assert "no set is enough" in diagnosis.search.sentence
    # Which limits break is named, and no other one: head_c has none.
    assert diagnosis.search.sentence.startswith(
        "2 of 2 limits do not hold in int8 (head_a: SQNR at least 55 dB and head_b: SQNR at least 55 dB), and"
    )


def test_a_set_is_never_called_confirmed_by_the_images_that_it_was_chosen_on(
    tmp_path: Path,
) -> None:
    few = diagnoses.images(6)
    subject = diagnoses.subject(
        diagnoses.three_heads(), tmp_path, factors={"head_a": 0.1}, gates={"head_a": 20}, data=few
    )
    diagnosis = diagnosed(subject)
    assert diagnosis.images_confirmed_on == 0
    assert diagnosis.search.chosen is not None
    assert diagnosis.search.confirmed is None
    assert diagnosis.search.confirmed_holds is None
    assert "too few images" in diagnosis.search.sentence
    assert all(not set(one) & set(other) for one, other in [split(64)])


def test_other_images_that_do_not_hold_are_told(tmp_path: Path) -> None:
    """Every other image is ten times as bright, and clipped everywhere: no set chosen on the rest cures it."""
    data = diagnoses.images(20)
    table = diagnoses.minmax(diagnoses.subject(diagnoses.three_heads(), tmp_path).model, data)
    data[1::2] *= 10
    subject = diagnoses.subject(diagnoses.three_heads(), tmp_path, gates={"head_a": 30}, data=data)
    subject = replace(subject, table=table)
    diagnosis = diagnosed(subject, most_cost=0.5)
    assert diagnosis.search.confirmed_holds is not True
    if diagnosis.search.chosen is not None:
        assert diagnosis.search.confirmed is not None
        assert diagnosis.search.confirmed.failing
        assert "no set is confirmed" in diagnosis.search.sentence


def test_what_was_computed_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = diagnoses.subject(
        diagnoses.three_heads(), tmp_path, factors={"head_a": 0.1}, gates={"head_a": 20}
    )
    first = diagnosed(subject)
    from trt_matrix.diagnosis.evaluation import Evaluation

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Evaluation, "_computed", never)
    again = diagnosed(subject)
    assert again.model_copy(update={"seconds": {}}) == first.model_copy(update={"seconds": {}})


def test_a_killed_analysis_goes_on_from_the_images_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trt_matrix.diagnosis.evaluation import Evaluation

    subject = diagnoses.subject(diagnoses.three_heads(), tmp_path, gates={"head_a": 15})
    real, calls = Evaluation._computed, []

    def counted(self: Evaluation, index: int, states: Any, boxed: int) -> object:
        if len(states) > 5:
            calls.append(index)
            if len(calls) == 4:
                raise KeyboardInterrupt
        return real(self, index, states, boxed)

    monkeypatch.setattr(Evaluation, "_computed", counted)
    with pytest.raises(KeyboardInterrupt):
        diagnosed(subject)
    before = set(calls)
    calls[:] = [-1] * 10
    diagnosed(subject)
    assert len(set(calls[10:]) & before) <= 2  # those in work when it was killed


def test_other_heads_limits_do_not_count_where_one_is_asked_for(tmp_path: Path) -> None:
    subject = diagnoses.subject(
        diagnoses.three_heads(), tmp_path, gates={"head_a": 55, "head_b": 10}
    )
    diagnosis = diagnosed(subject, heads=("head_b",))
    assert diagnosis.search.failing == ()
    assert len(diagnosis.heads) == 3
    with pytest.raises(DiagnosisError, match="no head 'nobody'"):
        diagnosed(subject, heads=("nobody",))


def test_a_limit_of_boxes_is_not_taken_for_kept_where_nothing_decodes_them(tmp_path: Path) -> None:
    subject = diagnoses.subject(diagnoses.three_heads(), tmp_path)
    diagnosis = diagnosed(subject, goals=(("ap_drop", 0.01),))
    assert diagnosis.search.goals == ()
    assert any("boxes are not known" in note for note in diagnosis.notes)
    assert "holds" not in diagnosis.search.sentence


def test_placements_of_both_engines_are_diagnosed(tmp_path: Path) -> None:
    for name, options in (("o", diagnoses.INT8_OUTPUTS), ("u", UINT8), ("t", TENSORRT)):
        folder = tmp_path / name
        folder.mkdir()
        subject = diagnoses.subject(
            diagnoses.three_heads(),
            folder,
            factors={"b_in": 0.1, "b_mid": 0.1},
            options=options,
            gates={"head_b": 20},
        )
        diagnosis = diagnosed(subject)
        assert diagnosis.search.chosen is not None
        # Only where outputs are in int8 does the first layer ask for the tensor between them, too: elsewhere
        # it is then the last in int8, and what it gives is float.
        assert diagnosis.search.chosen.layers == (("b1", "b") if name == "o" else ("b",))
