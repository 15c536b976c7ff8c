"""Which positions can hold a box: what is decoded of them is decoded of all, bit for bit, whoever made the rest."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from tests.unit.decoder_loops import CASES, ONE, Outputs
from tests.unit.decodings import detect, recorded, settings_of
from tests.unit.test_detection import decoding, laid_out, raw
from trt_matrix.containers.job import settle
from trt_matrix.core.boxes.activations import (
    least_activated,
    least_below_largest,
    least_logit,
    sigmoid,
    softmax,
)
from trt_matrix.core.boxes.decoding import Family, Layout
from trt_matrix.core.boxes.detection import detect as detect_yolo
from trt_matrix.core.boxes.detection import gates as yolo_gates
from trt_matrix.core.boxes.gates import gates_of
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.styles import PositionGate


def changed_outputs(outputs: Outputs, bad: float | None = None) -> Outputs:
    """Returns other outputs, about as far away as those of a bad int8 build."""
    generator = np.random.default_rng(29)
    found = {}
    for head, values in outputs.items():
        moved = values + generator.normal(0, 0.4, values.shape).astype(np.float32)
        if bad is not None:
            moved.reshape(-1)[::5] = bad
        found[head] = moved.astype(np.float32)
    return found


def filled(
    test: Outputs, reference: Outputs, gates: tuple[PositionGate, ...]
) -> tuple[Outputs, float]:
    """Returns what a host makes of what came, and the share of positions that did."""
    found = {head: values.copy() for head, values in reference.items()}
    came = []
    for position_gate in gates:
        gate = json.loads(json.dumps(asdict(position_gate)))  # as it is sent
        mask = settle.passing(test[gate["head"]], gate) | settle.passing(
            reference[gate["head"]], gate
        )
        came.append(mask)
        for head, channels in gate["heads"].items():
            came_of = settle.came(test[head], reference[head], head, gate)[mask]
            before = settle.positions(reference[head], channels)[mask]
            values = settle.restored(came_of, before, head, gate)
            settle.positions(found[head], channels)[mask] = values
    return found, float(np.concatenate(came).mean())


def same(boxes: Boxes, other: Boxes) -> None:
    for name in ("corners", "scores", "classes", "heads"):
        np.testing.assert_array_equal(getattr(boxes, name), getattr(other, name))
    assert boxes.degenerate == other.degenerate


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threshold", [0.35, 0.9])
@pytest.mark.parametrize("style", CASES)
def test_boxes_of_what_came_are_those_of_all(
    style: str, threshold: float, bad: float | None
) -> None:
    heads, _, reference, _ = CASES[style]
    decode = recorded(heads, settings_of(style, score_threshold=threshold))
    gates = gates_of(decode)
    assert gates is not None
    assert {head for gate in gates for head in gate.heads} == {head.head for head in decode.heads}
    test = changed_outputs(reference, bad)
    came, share = filled(test, reference, gates)
    same(detect(came, decode), detect(test, decode))
    for head in reference:  # as one head of the cell among those of the reference is judged
        same(
            detect({**reference, head: came[head]}, decode),
            detect({**reference, head: test[head]}, decode),
        )
    if threshold == 0.9 and bad is None:
        assert share < 0.9, "and not all of it has to come"


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("bins", [16, 1])
@pytest.mark.parametrize("family", Family)
def test_boxes_of_yolo(family: Family, layout: Layout, bins: int) -> None:
    settings = decoding(family, layout, bins if family is Family.YOLOV8 else 16)
    reference = {"small": laid_out(raw(settings), layout)}
    test = changed_outputs(reference)
    came, _ = filled(test, reference, yolo_gates(settings))
    same(detect_yolo(came, settings), detect_yolo(test, settings))
    assert len(detect_yolo(test, settings))


def test_anchors_that_are_channels_of_a_map_come_together() -> None:
    heads = {"s": {"stride": 16, "role": "scores"}, "b": {"stride": 16, "role": "boxes"}}
    decode = recorded(heads, settings_of("scrfd", layout="channels_first"))
    generator = np.random.default_rng(3)
    reference: Outputs = {
        "s": generator.uniform(0, 1, (2, 4, 6)).astype(np.float32),
        "b": generator.uniform(0.1, 3, (8, 4, 6)).astype(np.float32),
    }
    (gate,) = gates_of(decode) or ()
    assert gate.scores == ((0,), (1,))
    test = changed_outputs(reference)
    came, _ = filled(test, reference, (gate,))
    same(detect(came, decode), detect(test, decode))


@pytest.mark.parametrize("score", [1e-6, 0.01, 0.25, 0.5, 0.999, 0.999999])
def test_no_score_above_the_threshold_is_below_its_gate(score: float) -> None:
    """At the edge, in float32: the numbers whose score is the threshold, and their neighbours."""
    edge = np.float32(np.log(score / (1 - score)))
    near = edge + np.arange(-2000, 2000, dtype=np.float32) * np.float32(1e-5)
    above = sigmoid(near) > np.float32(score)
    assert (near[above] >= np.float32(least_logit(score))).all()
    shares = np.float32(score) + np.arange(-99, 99, dtype=np.float32) * np.float32(1e-8)
    assert (shares[shares > np.float32(score)] >= np.float32(least_activated(score))).all()
    rows = np.stack([near, np.zeros_like(near)], axis=1)
    passing = softmax(rows)[:, 0] > np.float32(score)
    below = rows[:, 0] - rows.max(axis=1)
    assert (below[passing] >= np.float32(least_below_largest(score))).all()


def test_where_nobody_knows_what_decides_all_has_to_come() -> None:
    decode = recorded(ONE, settings_of("nanodet"))
    assert gates_of(None) == ()
    assert gates_of(decode.model_copy(update={"score_threshold": 0.0})) is None, "all scores count"
    mine = decode.model_copy(update={"style": None, "entry_point": "mine:decode"})
    assert gates_of(mine) is None
    assert gates_of(decode.model_copy(update={"style": "of another version"})) is None


def test_the_heads_of_one_box_have_one_gate() -> None:
    heads, _, _, _ = CASES["yunet"]
    gates = gates_of(recorded(heads, settings_of("yunet"))) or ()
    assert len(gates) == 3
    for gate in gates:
        assert gate.head.startswith("obj")
        assert len(gate.heads) == 3
