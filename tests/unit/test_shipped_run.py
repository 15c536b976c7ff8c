"""Runs of networks that come quantised: the command's way, the real job, the onnxruntime of this Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import Told, run_offline
from tests.unit.processors import EXACT
from tests.unit.quantised import Quantising, by_tool, pairs
from tests.unit.small_networks import Builder
from tests.unit.test_functions import with_function
from trt_matrix.commands import session
from trt_matrix.core.cells import Status
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.qdq.placements import INT8_KERNELS
from trt_matrix.core.records import Record
from trt_matrix.core.tables.table import from_json
from trt_matrix.packs.packing import pack
from trt_matrix.store.results import Store
from trt_matrix.ticket.making import TicketWish, make

FOLDERS = {"calibration": {"images": "calibration"}, "evaluation": {"images": "evaluation"}}


class Ran:
    def __init__(
        self,
        folder: Path,
        model: onnx.ModelProto,
        data: Mapping[str, Any] | None = None,
        session_config: Mapping[str, str] | None = None,
        **model_settings: Any,
    ) -> None:
        self.folder, self.results = folder, folder / "results"
        self.source = folder / "matrix.yaml"
        (folder / "net.onnx").write_bytes(model.SerializeToString())
        noise_images(folder, 7, calibration=3, evaluation=3)
        self.source.write_text(
            yaml.safe_dump(
                quick(
                    model={"onnx": "net.onnx", **model_settings},
                    heads={value.name: {} for value in model.graph.output},
                    data=dict(data or {**FOLDERS, "preprocess": {"mean": 0.5, "std": 0.25}}),
                    engines={
                        "onnxruntime": {"threads": 1}
                        | ({"session_config": dict(session_config)} if session_config else {})
                    },
                )
            )
        )
        self.told = Told()
        run_offline(self.source, self.results, told=self.told)
        self.run = Store(self.results).open_run("latest")

    @property
    def manifest(self) -> Manifest:
        return self.run.manifest()

    @property
    def records(self) -> Mapping[str, Record]:
        return {record.pass_.name: record for record in self.run.records()}

    def sqnr(self, outputs: Mapping[str, Any], head: str) -> float:
        reference = self.manifest.reference
        assert reference is not None
        sums = self.run.store.sums(outputs[head], reference.outputs[head], 1e-3)
        return float(10 * np.log10(sums["r2"].sum() / max(sums["d2"].sum(), 1e-300)))


def test_pairs_run_as_shipped_beside_their_own_simulation(tmp_path: Path) -> None:
    ran = Ran(tmp_path, pairs(), session_config=EXACT)
    assert list(ran.records) == ["fp32", "int8-shipped"]
    assert {record.status for record in ran.records.values()} == {Status.OK}
    cell = ran.records["int8-shipped"].measurements[0]
    assert cell.model_sha256 == ran.manifest.facts["model"]["quantised"]["sha256"]
    assert ran.records["fp32"].measurements[0].model_sha256 == ran.manifest.facts["model"]["sha256"]
    (simulated,) = [
        simulation for simulation in ran.manifest.simulations if simulation.table == cell.table
    ]
    # Its activations are uint8 and its outputs quantised: its limit is taken in that placement.
    assert {simulated.placement, cell.placement} == {"onnxruntime-uint8-per_channel-int8_outputs"}
    assert simulated.model_sha256 == cell.model_sha256
    for head in ("large", "small"):
        assert ran.sqnr(ran.records["fp32"].measurements[0].outputs, head) > 100
        assert 20 < ran.sqnr(simulated.outputs, head) < 50
        assert abs(ran.sqnr(cell.outputs, head) - ran.sqnr(simulated.outputs, head)) < 1
    assert cell.shares is not None
    assert cell.shares["large"].ratio == 1.0
    # From uint8 to int8 ONNX Runtime has no convolution: it computes this one in float, silently, unless int8 is made
    # uint8 first.
    assert cell.shares["small"].float_layers == (("conv_c3",) if INT8_KERNELS in EXACT else ())
    assert cell.table is not None
    table = from_json((ran.run.folder / "tables" / f"{cell.table[:12]}.json").read_text())
    assert table.digest == cell.table
    assert table.provenance.note == ran.manifest.tables[cell.table]["note"]
    assert table.amax["r1"] == pytest.approx(6)
    assert any("is quantised already" in line for line in ran.told.lines)


@pytest.mark.parametrize("form", ["QOperator", "dynamic"])
def test_operators_on_integers_are_counted_by_what_they_multiply(form: str, tmp_path: Path) -> None:
    ran = Ran(tmp_path, by_tool(networks.detector(), tmp_path, form))
    cell = ran.records["int8-shipped"].measurements[0]
    fp32 = ran.records["fp32"].measurements[0]
    assert cell.shares is not None
    assert fp32.shares is not None
    for head in ("large", "small"):
        assert ran.sqnr(fp32.outputs, head) > 100
        assert cell.shares[head].ratio == 1.0
        assert cell.shares[head].total_macs == fp32.shares[head].total_macs
        assert fp32.shares[head].ratio == 0.0
        assert ran.sqnr(cell.outputs, head) > 15


def test_weights_alone_ran_nothing_on_integers(tmp_path: Path) -> None:
    b = Quantising()
    b.qconv("image", "y", 3, 4)
    ran = Ran(tmp_path, b.model({"image": [1, 3, 16, 16]}, ["y"]))
    cell = ran.records["int8-shipped"].measurements[0]
    assert cell.shares is not None
    assert cell.shares["y"].total_macs > 0
    assert cell.shares["y"].ratio == 0.0


def test_a_float_network_without_layers_has_an_int8_cell_of_ratio_0(tmp_path: Path) -> None:
    b = Builder()
    b.node("Sigmoid", ["image"], "s")
    b.node("AveragePool", ["s"], "y", kernel_shape=[2, 2])
    ran = Ran(tmp_path, b.model({"image": [1, 3, 16, 16]}, ["y"]))
    for name, record in ran.records.items():
        for measurement in record.measurements:
            assert measurement.shares is not None, name
            assert measurement.shares["y"].ratio == 0.0


def test_what_has_no_float_form_is_its_own_reference(tmp_path: Path) -> None:
    b = Quantising()
    s, double = b.weight("s", np.float32(0.05)), b.weight("s2", np.float32(0.1))
    b.node("QuantizeLinear", ["image", s], "q")
    b.node("DequantizeLinear", ["q", double], "d")
    b.pair(b.qconv("d", "c", 3, 4), "y", 0.1, 128)
    ran = Ran(tmp_path, b.model({"image": [1, 3, 16, 16]}, ["y"]))
    assert ran.records["fp32"].status is Status.UNSUPPORTED
    assert "needs a float network" in (ran.records["fp32"].reason or "")
    assert ran.records["int8-shipped"].status is Status.OK
    (simulated,) = ran.manifest.simulations
    assert ran.sqnr(simulated.outputs, "y") > 300  # the very same


def test_stripped_it_is_quantised_anew_and_shares_what_was_known(tmp_path: Path) -> None:
    ran = Ran(tmp_path, pairs())
    again = Ran(tmp_path, pairs(), quantised="strip")
    assert set(again.records) == {"fp32", "int8-own-minmax", "int8-shared-minmax"}
    assert again.records["fp32"].reused == 1  # the same float network
    assert again.manifest.facts["model"]["quantised"]["used"] == "strip"
    assert again.manifest.facts["model"]["sha256"] == ran.manifest.facts["model"]["sha256"]


def test_layers_inside_of_functions_run_on_integers(tmp_path: Path) -> None:
    ran = Ran(tmp_path, with_function())
    cell = ran.records["int8-shared-minmax"].measurements[0]
    assert cell.shares is not None
    assert cell.shares["large"].kept == 1.0
    assert cell.shares["large"].placed_float == ("Conv_2",)
    assert len(ran.manifest.facts["model"]["functions"]) == 2


def test_the_plan_knows_it_and_packs_and_tickets_hold_it(tmp_path: Path) -> None:
    ran = Ran(tmp_path, pairs())
    planned = session.plan_experiment(ran.source, ran.results, select=[])
    assert planned.known == {"here/cpu/fp32": 1, "here/cpu/int8-shipped": 1}
    assert planned.text().startswith("net.onnx is quantised already")
    assert planned.summary()["notes"] == list(planned.notes)
    ticket = make(
        "latest", ran.results, tmp_path / "ticket.zip", TicketWish(no_weights=True, images=2)
    )
    assert "Random weights stand in" in ticket.text()
    packed = pack(
        ran.source, tmp_path / "elsewhere", tmp_path / "p.tar", select=["here/*"], progress=Told()
    )
    assert len(packed.requests) == 1
