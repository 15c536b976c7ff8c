"""Causes planted in random networks that were not made for this: the planted one is named, sound ones are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit import branching_networks, diagnoses
from trt_matrix.core.diagnosis.quantisers import quantised
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.diagnosis.tensors import BEYOND_DB, clamps
from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.diagnosis.diagnosing import diagnose
from trt_matrix.diagnosis.subject import DiagnosisWish, Subject
from trt_matrix.diagnosis.summary import Done
from trt_matrix.store.results import Store

IMAGES = 5
PLACEMENTS = (TENSORRT, ONNXRUNTIME)
PER_TENSOR = replace(TENSORRT, per_channel_weights=False)


def diagnosed(one: Subject, **wish: object) -> Diagnosis:
    wanted = DiagnosisWish(images=IMAGES, **wish)  # type: ignore[arg-type]
    return diagnose(one, wanted, Store(one.folder / "results"), lambda _: None)


def subject(seed: int, folder: Path, options: PlacementOptions, **given: object) -> Subject:
    folder.mkdir(parents=True, exist_ok=True)
    data = branching_networks.pictures(IMAGES, seed + 50)
    model = branching_networks.network(seed)
    return diagnoses.subject(model, folder, options=options, data=data, **given)  # type: ignore[arg-type]


def unfit(diagnosis: Diagnosis) -> set[str]:
    """Returns what has a range that does not fit; that channels differ in an activation accuses no range."""
    return {
        tensor.name
        for tensor in diagnosis.tensors
        if set(tensor.causes)
        - ({"channels of unlike range"} if tensor.kind == "activation" else set())
    }


@pytest.mark.parametrize(("seed", "placement"), [(2, 1), (9, 0), (17, 1)])
def test_a_sound_network_is_not_accused(seed: int, placement: int, tmp_path: Path) -> None:
    """Largest magnitudes of the very images: ranges hold all there is, and none is far too wide."""
    diagnosis = diagnosed(subject(seed, tmp_path, PLACEMENTS[placement]))
    for head in diagnosis.heads:
        assert head.beyond_db is not None
        assert head.beyond_db < BEYOND_DB
    assert not [
        tensor for tensor in diagnosis.tensors if {"clipped", "range too wide"} & set(tensor.causes)
    ]
    text = Done(diagnosis=diagnosis, file=tmp_path, network=None).text()
    assert "something is wrong" not in text


@pytest.mark.parametrize("seed", [4, 5, 7])
def test_a_clipped_tensor_is_named_alone_and_the_set_frees_it(seed: int, tmp_path: Path) -> None:
    options = PLACEMENTS[seed % 2]
    sound = subject(seed, tmp_path / "sound", options)
    leaders = scale_groups(sound.model)
    quantisers = quantised(sound.model, sound.table, options).state.tensors
    planted = str(
        np.random.default_rng(seed).choice(sorted({leaders[quantiser] for quantiser in quantisers}))
    )
    group = {tensor for tensor, leader in leaders.items() if leader == planted}
    before = diagnosed(sound)
    kept = {head.head: head.int8.sqnr_db or 0 for head in before.heads}
    gates = {head: db - 2 for head, db in kept.items()}
    one = subject(seed, tmp_path / "planted", options, factors={planted: 0.1}, gates=gates)
    diagnosis = diagnosed(one, most_cost=1.0)
    hit = {head.head for head in diagnosis.heads if (head.beyond_db or 0) > BEYOND_DB}
    assert hit
    for head in diagnosis.heads:
        if head.head in hit:
            assert {suspect.name for suspect in head.suspects} <= group
            assert "clipped" in head.suspects[0].causes
    assert group & unfit(diagnosis)
    assert unfit(diagnosis) - unfit(before) <= group
    # What is said to cure it has none of these tensors in int8, and no layer too many.
    assert diagnosis.search.failing
    assert diagnosis.search.chosen
    assert diagnosis.search.minimal
    exclude = frozenset(diagnosis.search.chosen.layers)
    cured = place(one.model, one.table, replace(options, exclude=exclude))
    assert not group & cured.quantised.keys()


@pytest.mark.parametrize("seed", [5, 11])
def test_a_weight_channel_of_300_times_the_others_is_named_alone(seed: int, tmp_path: Path) -> None:
    model = branching_networks.network(seed)
    network = canonical(model)
    users = graph.consumers(network)
    dies = ("Relu", "Sigmoid", "HardSigmoid", "Clip")
    layers = [
        node
        for node in network.graph.node
        if node.op_type == "Conv" and users[node.output[0]][0].op_type in dies
    ]
    planted = layers[int(np.random.default_rng(seed).integers(len(layers)))]
    diagnoses.dead_channel(model, planted.output[0], 300.0)
    data = branching_networks.pictures(IMAGES, seed + 50)
    one = diagnoses.subject(model, tmp_path, options=PER_TENSOR, data=data)
    diagnosis = diagnosed(one)
    weights = {tensor.name for tensor in diagnosis.tensors if tensor.kind == "weights"}
    assert weights & unfit(diagnosis) == {planted.name}
    worst = max(diagnosis.heads, key=lambda head: head.beyond_db or 0)
    assert (worst.beyond_db or 0) > BEYOND_DB
    assert [(suspect.kind, suspect.name) for suspect in worst.suspects] == [
        ("weights", planted.name)
    ]


def test_other_images_lead_to_the_same_set(tmp_path: Path) -> None:
    sets = set()
    for draw in range(3):
        folder = tmp_path / str(draw)
        folder.mkdir()
        data = branching_networks.pictures(IMAGES, draw)
        model = branching_networks.network(3)
        one = diagnoses.subject(
            model,
            folder,
            options=ONNXRUNTIME,
            data=data,
            factors={"conv27": 0.1},
            gates={"box2": 25},
        )
        diagnosis = diagnosed(one, most_cost=1.0)
        assert diagnosis.search.chosen
        sets.add(diagnosis.search.chosen.layers)
    assert len(sets) == 1


def test_what_relu_and_clip_cut_off_is_not_called_clipped(tmp_path: Path) -> None:
    """Before them stands the range of what they give: all below nothing, all above six lies beyond it."""
    one = subject(2, tmp_path, ONNXRUNTIME)
    limits = clamps(one.model)
    assert limits
    assert {(limit.low, limit.high) for limit in limits.values()} <= {(0, float("inf")), (0, 6)}
    diagnosis = diagnosed(one)
    before = [tensor for tensor in diagnosis.tensors if tensor.name in limits]
    assert before
    assert not [tensor for tensor in before if "clipped" in tensor.causes]
