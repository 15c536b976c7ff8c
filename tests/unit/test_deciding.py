"""Whose range decides: what a placement keeps in float, or gives another's scale, is told to be clipped by nobody."""

import pytest

from tests.unit import small_networks as networks
from tests.unit.new_records import new_manifest, new_measurement, new_record, new_start
from tests.unit.passes import IMPLICIT, SHARED
from trt_matrix.core.cells import Pass
from trt_matrix.core.layers.deciding import decided
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.qdq.explicit import deciding
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.records import Record
from trt_matrix.core.tables.differences import table_report
from trt_matrix.judging.run_files import deciding_of

ENTROPY, MINMAX = "e" * 64, "m" * 64
EVERY = calibration_model(networks.detector())[1]
RANGES = {ENTROPY: dict.fromkeys(EVERY, 0.1), MINMAX: dict.fromkeys(EVERY, 10.0)}
"""Of every tensor 1 % is kept."""
TOLD = new_manifest(
    baseline="v",
    tables={
        ENTROPY: {"algorithm": "entropy", "images_sha256": "i"},
        MINMAX: {"algorithm": "minmax", "images_sha256": "i"},
    },
)


def record(placement: str | None, pass_: Pass = SHARED, held: tuple[str, ...] = ()) -> Record:
    probe = {"engine": {"options": {"fp32_layers": list(held)}}}
    start = new_start(environment="v", device="gpu", probe=probe, started="")
    measurement = new_measurement(name=pass_.name, table=ENTROPY, placement=placement, start=start)
    return new_record(f"v-{placement}", pass_, (measurement,), device="gpu")


def clipped(*records: Record) -> dict[str, tuple[str, ...]]:
    """Tensor that is told to be clipped → the cells in which it is."""
    known = deciding_of(networks.detector())
    assert known
    report = table_report(TOLD, records, RANGES, {}, decided(records, RANGES, known))
    return {one.tensor: one.cells for use in report.tables for one in use.clipped}


def test_heads_that_stay_in_float_and_what_is_inside_a_fusion_are_clipped_by_nobody() -> None:
    told = set(clipped(record("tensorrt")))
    assert told == {"image", "s2", "s4", "joined", "mixed", "sum"}
    assert not told & {"large", "small"}, "given out in float"
    assert not told & {"c1", "c2", "lateral", "up"}, "they take another's scale, which is named"


def test_heads_that_are_quantised_are_told() -> None:
    both = record("onnxruntime-int8-per_channel-int8_outputs")
    assert {"large", "small"} <= set(clipped(both))
    alone = record("onnxruntime-uint8-per_channel-float_outputs")
    assert not {"large", "small"} & set(clipped(alone))
    assert clipped(alone, both)["large"] == (both.cell,), "in the cell that does so alone"
    assert clipped(alone, both)["image"] == (alone.cell, both.cell)


def test_an_implicit_engine_gives_its_heads_out_in_float_whatever_was_asked() -> None:
    cell = record("tensorrt-int8-per_channel-int8_outputs", IMPLICIT)
    assert not {"large", "small"} & set(clipped(cell))


@pytest.mark.parametrize("held", ["conv_small", "small"])
def test_what_only_layers_held_in_float_read_is_clipped_by_nobody(held: str) -> None:
    """`fp32_layers` names a layer, or a tensor that it makes; it means implicit builds alone."""
    with_it, without = (clipped(record("tensorrt", IMPLICIT, held)) for held in ((held,), ()))
    assert set(without) - set(with_it) == {"sum"}
    assert set(clipped(record("tensorrt", SHARED, (held,)))) == set(without)


@pytest.mark.parametrize("placement", [None, "", "quantised by somebody"])
def test_where_it_is_not_known_how_a_cell_is_placed_nothing_is_told(placement: str | None) -> None:
    assert clipped(record(placement)) == {}


def test_a_network_that_is_gone_decides_nothing_that_is_known() -> None:
    assert deciding_of(None) is None


def test_tensors_whose_leader_has_no_range_stay_in_float() -> None:
    """A table of another network's names: `s2` leads `c1`, and without it neither is quantised."""
    form = networks.detector()
    assert "c1" not in deciding(form, ["image", "c1"], TENSORRT)
