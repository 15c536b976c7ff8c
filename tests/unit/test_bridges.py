"""Implicit int8 and Q/DQ with one table: the same, by how much not, or not known; never more than is shown."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit import h200
from tests.unit.test_equivalence import ENERGY, IMAGES, cell
from trt_matrix.core.answers.bridges import bridge_sentences
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.bridges import Bridge, BridgeOutcome, bridges
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.sample import Sample


def pair(
    implicit: Sequence[float], explicit: Sequence[float], **changes: object
) -> tuple[CellError, CellError]:
    """Returns the cells of one environment, builds so many dB worse than 24 dB."""
    same = {"environment": "trt-10", "fixed": False} | changes
    return (
        cell("i", *implicit, **same, cell="i", pass_="int8-implicit-shared", implicit=True),
        cell("e", *explicit, **same, cell="e", pass_="int8-shared"),
    )


def found(*cells: CellError) -> Sequence[Bridge]:
    return bridges(
        [MeasuredHead(head="small", cells=cells, simulations={}, gate_nmse=None)], Rules()
    )


def only(*cells: CellError) -> Bridge:
    (bridge,) = found(*cells)
    return bridge


NOISE = (0, 0.05, -0.05, 0.02)


def shifted(by: float) -> Sequence[float]:
    return [by + one for one in NOISE]


@pytest.mark.parametrize(
    ("by", "outcome", "said"),
    [
        (
            0.0,
            BridgeOutcome.SAME,
            "loses the same: int8-shared and int8-implicit-shared agree in trt-10",
        ),
        (
            3.0,
            BridgeOutcome.WORSE,
            "loses 3.0 dB more: int8-shared against int8-implicit-shared in trt-10",
        ),
        (-3.0, BridgeOutcome.BETTER, "keeps 3.0 dB more"),
    ],
)
def test_what_four_builds_each_show(by: float, outcome: BridgeOutcome, said: str) -> None:
    bridge = only(*pair(NOISE, shifted(by)))
    assert bridge.outcome is outcome
    assert bridge.worse_db == pytest.approx(by, abs=0.01)
    assert bridge.low_db <= bridge.worse_db <= bridge.high_db
    (text,) = bridge_sentences([bridge])
    assert said in text
    assert "4 builds each" in text


def test_the_same_bits_are_those_of_every_build_of_both() -> None:
    assert only(*pair((0, 0), (0, 0))).same_bits
    for implicit, explicit in (
        ((0, 0), (0, 0.001)),
        ((0, 0.001), (0, 0)),
        ((0, 0), (0.001, 0.001)),
    ):
        bridge = only(*pair(implicit, explicit))
        assert not bridge.same_bits


def test_two_noisy_builds_show_nothing() -> None:
    bridge = only(*pair((0, 4), (0.5, 3)))
    assert bridge.outcome is BridgeOutcome.UNDECIDED
    assert "not decided" in bridge_sentences([bridge])[0]


def test_one_build_that_may_differ_is_not_called_the_same() -> None:
    bridge = only(*pair((0,), (0,)))
    assert bridge.outcome is BridgeOutcome.UNKNOWN
    assert "more repeats do" in bridge_sentences([bridge])[0]


def test_the_same_sum_with_another_typical_image_is_not_the_same() -> None:
    implicit, explicit = pair(NOISE, NOISE)
    rows = np.array([[0.02 * np.exp(0.001 * build)] * IMAGES for build in range(4)])
    rows[:, 0] += 0.02 * IMAGES
    moved = cell(
        "e", cell="e", environment="trt-10", pass_="int8-shared", sample=Sample(rows, ENERGY)
    )
    assert not only(implicit, moved).same
    assert only(implicit, explicit).same


def test_only_the_same_scales_on_the_same_device_are_compared() -> None:
    implicit, _ = pair(NOISE, NOISE)
    for changes in (
        {"table": "other"},
        {"device": "gpu:1"},
        {"placement": "onnxruntime"},
        {"held": True},
        {"quantised": False},
        {"table": None},
    ):
        _, explicit = pair(NOISE, NOISE, **changes)
        assert found(implicit, explicit) == (), changes


def test_eleven_has_no_implicit_cell_and_is_compared_with_ten() -> None:
    implicit, explicit = pair(NOISE, NOISE)
    eleven = cell(
        "trt-11", *shifted(2), fixed=False, cell="11", environment="trt-11", pass_="int8-shared"
    )
    ten, across = found(implicit, explicit, eleven)
    assert ten.environments == ("trt-10", "trt-10")
    assert across.environments == ("trt-10", "trt-11")
    said = bridge_sentences([ten, across])
    assert len(said) == 2
    assert "trt-11 (implicit in trt-10)" in said[1]


def test_another_version_with_implicit_cells_of_its_own_is_not_mixed_in() -> None:
    other = [
        dataclasses.replace(error, cell=f"8{error.cell}")
        for error in pair(NOISE, shifted(5), environment="trt-8")
    ]
    cells = [*pair(NOISE, NOISE), *other]
    assert {bridge.environments for bridge in found(*cells)} == {
        ("trt-10", "trt-10"),
        ("trt-8", "trt-8"),
    }


def test_what_real_engines_gave() -> None:
    """TensorRT 8.5.1.7, 8.5.3.1 and 8.6.0 on H200s, the shared table, two builds each."""
    judged = h200.judged()
    outcome = {
        head: {bridge.outcome for bridge in judged.bridges if bridge.head == head}
        for head in judged.heads
    }
    assert outcome == {
        "large": {BridgeOutcome.SAME},
        "medium": {BridgeOutcome.UNDECIDED},
        "small": {BridgeOutcome.BETTER},
    }
    assert "keeps 5.7 to 6.0 dB more" in judged.sentences["small"]
    assert (
        "agree in trt-8.5.1.7, trt-8.5.3.1 and trt-8.6.0 within 0.1 dB" in judged.sentences["large"]
    )


def test_a_layer_that_only_one_of_both_ran_in_int8_is_named() -> None:
    from trt_matrix.core.layers.precisions import LayerPrecisions, LayerReport

    judged = h200.judged()
    assert judged.layers is not None
    network = judged.layers.network
    name = next(
        layer.name for part, layer in network.layers if "small" in part.heads and layer.macs
    )
    bridge = only(*pair(NOISE, shifted(-3)))
    layers = LayerReport(
        network=network,
        ways=(
            LayerPrecisions(cells=("i",), precisions={name: "int8"}),
            LayerPrecisions(cells=("e",), precisions={name: "fp32"}),
        ),
    )
    assert f"only implicit int8 ran {name} in int8" in bridge_sentences([bridge], layers)[0]
    # Not where one build of the other did, or is not known.
    for precisions in ({name: "int8"}, {}):
        ways = (*layers.ways, LayerPrecisions(cells=("e",), precisions=precisions))
        told = bridge_sentences([bridge], LayerReport(network=network, ways=ways))[0]
        assert "only" not in told
