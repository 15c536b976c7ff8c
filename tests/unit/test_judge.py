"""Judgement from records: budgets, gates, identity and sentences on numbers worked out by hand."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from tests.unit.new_records import new_manifest, new_measurement, new_record, new_start
from tests.unit.passes import FP32, SHARED
from trt_matrix.containers.job.reductions import SUMS
from trt_matrix.core.cells import Cell, Pass, Precision, Status, TableSource
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.judge import judge
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.metrics import Sums, metrics
from trt_matrix.core.records import IntegerShare, LatencySamples, Measurement, Record, StoredObject
from trt_matrix.core.verdicts.head_errors import undecided
from trt_matrix.core.verdicts.verdict import Kind

IMAGES = 4
OWN = Pass(precision=Precision.INT8, source=TableSource.OWN, algorithm="minmax")


def stored(name: str) -> StoredObject:
    return StoredObject(sha256=name, suffix=".npy", size_bytes=1)


def sums(nmse: float, nonfinite: int = 0) -> Sums:
    rows = np.zeros(IMAGES, SUMS)
    rows["r2"] = rows["y2"] = rows["ry"] = 100.0
    rows["d2"] = 100.0 * nmse
    rows["d1"] = math.sqrt(nmse) * 10
    rows["dmax"] = math.sqrt(nmse)
    rows["n"] = 100 - nonfinite
    rows["nonfinite"] = nonfinite
    return rows


class Experiment:
    """Cells whose error against the reference is given; contents are named after cell and repeat."""

    def __init__(
        self, *, gate: float | None = 20.0, baseline: str = "new", engine: str = "onnxruntime"
    ) -> None:
        self.gate = gate
        self.engine = engine
        self.baseline = baseline
        self.cells: list[Cell] = []
        self.records: list[Record] = []
        self.errors: dict[str, Sums] = {"reference": sums(0.0)}
        self.simulations: list[Measurement] = []

    def simulated(self, table: str, nmse: float) -> None:
        self.errors[f"simulation-{table}"] = sums(nmse)
        self.simulations.append(self._measurement(f"simulation-{table}", table))

    def cell(
        self,
        environment: str,
        pass_: Pass,
        *errors: float,
        table: str | None = None,
        content: str | None = None,
        nonfinite: int = 0,
        integer: Mapping[str, int] | None = None,
        floating: Mapping[str, int] | None = None,
    ) -> None:
        cell = Cell(environment=environment, device="cpu", pass_=pass_)
        measurements = []
        for repeat, error in enumerate(errors):
            name = content or f"{cell.id}#{repeat}"
            self.errors[name] = sums(error, nonfinite)
            measurement = self._measurement(name, table, repeat)
            share = IntegerShare(
                integer_macs=90,
                total_macs=100,
                float_layers=("conv9",),
                integer_operators=integer or {},
                float_operators=floating or {},
            )
            measurements.append(measurement.model_copy(update={"shares": {"small": share}}))
        self._record(cell, Status.OK, None, tuple(measurements))

    def failed(self, environment: str, pass_: Pass, status: Status, reason: str) -> None:
        self._record(Cell(environment=environment, device="cpu", pass_=pass_), status, reason, ())

    def judged(self) -> Judgement:
        return judge(self.evidence())

    def evidence(self, looks: int = 1) -> Evidence:
        manifest = new_manifest(
            baseline=self.baseline,
            heads=(HeadGate(head="small", sqnr_db=self.gate),),
            images=IMAGES,
            cells=tuple(cell.id for cell in self.cells),
            reference=self._measurement("reference", None),
            simulations=tuple(self.simulations),
            looks=looks,
        )

        def sums_of(y: StoredObject, r: StoredObject) -> Sums:
            return self.errors[y.sha256] if r.sha256 == "reference" else sums(0.5)

        return Evidence(manifest, self.cells, self.records, sums_of)

    def _measurement(self, name: str, table: str | None, repeat: int = 0) -> Measurement:
        return new_measurement(
            fingerprint=name,
            name="pass",
            repeat=repeat,
            table=table,
            placement="onnxruntime",
            outputs={"small": stored(name)},
            latency=LatencySamples(batch=1, samples_s=(0.01, 0.011, 0.012), warm_up=3),
            shares={
                "small": IntegerShare(integer_macs=90, total_macs=100, float_layers=("conv9",))
            },
            start=new_start(
                identity={"kind": "venv"},
                probe={"engine": {"name": self.engine, "version": "1.2.3"}},
                command=("python", "-m", "job"),
            ),
        )

    def _record(
        self, cell: Cell, status: Status, reason: str | None, measurements: tuple[Measurement, ...]
    ) -> None:
        self.cells.append(cell)
        self.records.append(
            new_record(
                cell.environment,
                cell.pass_,
                measurements,
                device=cell.device,
                status=status,
                reason=reason,
            )
        )


def by_id(judgement: Judgement) -> Mapping[str, CellResult]:
    return {result.cell.id: result for result in judgement.cells}


def test_an_engine_that_loses_at_the_same_scales_is_named() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    for name, error in (("old", 0.008), ("older", 0.009), ("new", 0.002), ("mid", 0.00201)):
        experiment.cell(name, FP32, 1e-12)
        experiment.cell(name, SHARED, error, error, table="t")
    sentence = experiment.judged().sentences["small"]
    assert "At the same scales old and older lose 6.0 to 6.5 dB against new" in sentence
    assert "new and mid lose the same within 0.1 dB (95 %) in int8-shared-entropy" in sentence


def test_an_operator_that_moved_between_integers_and_float_is_named() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    experiment.cell("old", SHARED, 0.008, 0.008, table="t", integer={"Resize": 2, "Add": 1})
    experiment.cell(
        "new", SHARED, 0.002, 0.002, table="t", integer={"Add": 1}, floating={"Resize": 2}
    )
    sentence = experiment.judged().sentences["small"]
    assert "It runs Resize on integers, the baseline in float." in sentence
    assert "Add" not in sentence


def test_a_cell_whose_engine_did_not_load_is_judged_all_the_same() -> None:
    """Its Q/DQ network was placed; of its engine the job wrote null."""
    experiment = Experiment()
    experiment.cell("new", SHARED, 0.002, table="t")
    experiment.cell("none", SHARED, 0.002, table="t")
    failed = experiment.records[-1]
    (measurement,) = failed.measurements
    assert measurement.start
    experiment.records[-1] = failed.model_copy(
        update={
            "status": Status.JOB_FAILED,
            "measurements": (
                measurement.model_copy(
                    update={
                        "status": Status.JOB_FAILED,
                        "start": measurement.start.model_copy(update={"probe": {"engine": None}}),
                    }
                ),
            ),
        }
    )
    result = by_id(experiment.judged())["none/cpu/int8-shared-entropy"]
    assert result.status is Status.JOB_FAILED
    assert result.engine_version is None
    assert not result.may_saturate


def test_differences_within_the_noise_are_not_told() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.002, 0.004, table="t")
    experiment.cell("old", SHARED, 0.003, 0.005, table="t")
    sentence = experiment.judged().sentences["small"]
    # Two builds each, far apart: a bound of many dB would say nothing.
    assert sentence.startswith("Nothing was found: int8 measures at most 3.1 dB worse")
    assert "lose the same" not in sentence, "two builds that differ by 3 dB show no equality"


def test_a_bad_table_is_told_from_a_bad_engine() -> None:
    experiment = Experiment()
    experiment.simulated("bad", 0.02)
    experiment.simulated("good", 0.002)
    experiment.cell("new", SHARED, 0.021, table="bad")
    experiment.cell("new", OWN, 0.002, table="good")
    judgement = experiment.judged()
    assert (
        "The shared entropy table costs 10.0 dB more than the best table known, in exact arithmetic."
        in judgement.sentences["small"]
    )
    split = by_id(judgement)["new/cpu/int8-shared-entropy"].heads[0].budget
    assert split
    assert split.calibration == pytest.approx(0.018)


def test_one_repeat_says_what_would_decide() -> None:
    experiment = Experiment(engine="tensorrt")
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.002, table="t")
    experiment.cell("old", SHARED, 0.004, table="t")
    sentence = experiment.judged().sentences["small"]
    assert "In old 3.0 dB look like the version's engine: 3 more repeats would decide." in sentence


def test_one_repeat_is_enough_where_building_again_gives_the_same() -> None:
    """ONNX Runtime on one CPU."""
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.002, table="t")
    experiment.cell("old", SHARED, 0.004, table="t")
    assert "At the same scales old loses 3.0 dB" in experiment.judged().sentences["small"]


def test_nan_outputs_are_broken_with_and_without_a_gate() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.002, 0.002, table="t")
    experiment.cell("old", SHARED, 0.002, 0.002, table="t", nonfinite=1)
    results = by_id(experiment.judged())
    kinds = {
        name: [verdict.kind for verdict in result.heads[0].verdicts]
        for name, result in results.items()
    }
    assert kinds == {
        "new/cpu/int8-shared-entropy": [Kind.OK],
        "old/cpu/int8-shared-entropy": [Kind.BROKEN_OUTPUT],
    }
    assert any(finding.kind is Kind.BROKEN_OUTPUT for finding in experiment.judged().failing)


def test_gates_apply_to_int8_alone_and_name_the_cells_below() -> None:
    experiment = Experiment(gate=20.0)
    experiment.simulated("t", 0.002)
    experiment.cell("new", FP32, 0.5)
    experiment.cell("new", SHARED, 0.002, table="t")
    experiment.cell("old", SHARED, 0.02, table="t")
    judgement = experiment.judged()
    assert by_id(judgement)["new/cpu/fp32"].heads[0].passed is None
    assert by_id(judgement)["new/cpu/int8-shared-entropy"].heads[0].passed is True
    assert judgement.gates_failed == (("old/cpu/int8-shared-entropy", "small"),)
    assert (
        "Gate failed, SQNR at least 20 dB: old/cpu/int8-shared-entropy (17.0 dB)."
        in judgement.sentences["small"]
    )


def test_nonfinite_outputs_never_pass_and_are_named() -> None:
    experiment = Experiment(gate=1.0)
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.0001, table="t", nonfinite=3)
    judgement = experiment.judged()
    head = judgement.cells[0].heads[0]
    assert head.error.nonfinite == 3 * IMAGES
    assert head.passed is False
    assert (
        "The output of new in int8-shared-entropy is broken: NaN or infinite in 4 of 4 images"
        in judgement.sentences["small"]
    )


def test_equal_contents_are_bit_identical() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.002, table="t", content="same")
    experiment.cell("old", SHARED, 0.002, table="t", content="same")
    experiment.cell("mid", SHARED, 0.002, table="t", content="other")
    results = by_id(experiment.judged())
    assert results["old/cpu/int8-shared-entropy"].heads[0].identical_to == (
        "new/cpu/int8-shared-entropy",
    )
    assert results["mid/cpu/int8-shared-entropy"].heads[0].identical_to == ()


def test_every_planned_cell_is_judged_also_those_that_failed() -> None:
    experiment = Experiment()
    experiment.failed("old", SHARED, Status.CRASHED, "ended by SIGSEGV")
    experiment.failed("ngc", SHARED, Status.UNAVAILABLE, "no NVIDIA driver")
    judgement = experiment.judged()
    assert [(result.status, result.reason) for result in judgement.cells] == [
        (Status.CRASHED, "ended by SIGSEGV"),
        (Status.UNAVAILABLE, "no NVIDIA driver"),
    ]
    assert all(result.heads == () for result in judgement.cells)
    assert judgement.sentences["small"].startswith(
        "old crashed (1 cell: int8-shared-entropy): ended by SIGSEGV."
    )
    (answer,) = judgement.answers
    assert (answer.fault, answer.unseen) == ("old crashed", ("any result of it",))
    assert [finding.fault for finding in judgement.failing] == ["old crashed"]


def test_facts_shares_and_latency_reach_the_result() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    experiment.cell("new", SHARED, 0.002, 0.002, table="t")
    result = experiment.judged().cells[0]
    assert result.engine_version == "1.2.3"
    assert result.heads[0].integer_share == 0.9
    assert result.heads[0].float_layers == ("conv9",)
    assert result.latency
    assert result.latency.samples == 6
    assert result.latency.low_s <= result.latency.median_s == 0.011 <= result.latency.high_s


def test_metrics_have_their_right_names() -> None:
    rows = np.zeros(2, SUMS)
    rows["d2"], rows["d1"], rows["dmax"] = [1.0, 3.0], [2.0, 2.0], [0.5, 1.5]
    rows["r2"], rows["y2"], rows["ry"] = [8.0, 8.0], [9.0, 9.0], [6.0, 6.0]
    rows["n"], rows["over"] = [10, 10], [1, 4]
    found = metrics(rows)
    assert found.nmse == 0.25
    assert found.sqnr_db == pytest.approx(6.0206, abs=1e-4)
    assert (found.mse, found.mae, found.max_abs) == (0.2, 0.2, 1.5)
    assert found.rmse == pytest.approx(math.sqrt(0.2))
    assert found.cosine == pytest.approx(12 / math.sqrt(16 * 18))
    assert found.share_over_epsilon == 0.25
    assert not found.identical


def test_nothing_to_compare_gives_no_numbers() -> None:
    found = metrics(np.zeros(2, SUMS))
    assert (found.nmse, found.sqnr_db, found.mse, found.mae, found.cosine) == (None,) * 5
    with pytest.raises(TypeError, match="per-image sums"):
        metrics(np.zeros(2, np.float32))


def test_undecided_cells_are_named_with_what_they_are_compared_with() -> None:
    experiment = Experiment(engine="tensorrt")
    experiment.simulated("t", 0.002)
    for name, error in (("new", 0.002), ("same", 0.002), ("old", 0.004)):
        experiment.cell(name, SHARED, error, table="t")
    open_ = undecided(experiment.evidence())
    assert {"old/cpu/int8-shared-entropy", "new/cpu/int8-shared-entropy"} <= open_
    assert "same/cpu/int8-shared-entropy" not in open_


def test_what_is_decided_needs_no_more_repeats() -> None:
    experiment = Experiment()
    experiment.simulated("t", 0.002)
    for name, error in (("new", 0.002), ("old", 0.004)):
        experiment.cell(name, SHARED, error, error, table="t")
    assert undecided(experiment.evidence()) == frozenset()


def test_every_look_has_its_share_of_the_errors() -> None:
    experiment = Experiment()
    once, often = experiment.evidence(), experiment.evidence(looks=5)
    assert often.rules.familywise_error_rate == pytest.approx(once.rules.familywise_error_rate / 5)
