"""Effects are named after a factor only through cells that differ in that factor alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.unit.new_records import new_measurement, new_record, remeasured
from tests.unit.passes import SHARED
from tests.unit.probes import library, start
from trt_matrix.core.cells import Precision
from trt_matrix.core.factors.attribute import attributed
from trt_matrix.core.factors.words import reason, reasons
from trt_matrix.core.records import LatencySamples, Measurement, Record, Start
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.attribution import Attribution, FactorChange
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.decisions import verdicts
from trt_matrix.core.verdicts.latency import latency_verdicts
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.verdict import Kind, Verdict

ENERGY = np.full(40, 10.0)
PATTERN = np.linspace(0.5, 1.5, 40)
RULES = Rules()


def sample(nmse: float, exact: bool = False) -> Sample:
    return Sample(np.stack([nmse * ENERGY * PATTERN] * (1 if exact else 3)), ENERGY, exact=exact)


def record(name: str, found: Start | None, device: str = "cpu", latency_s: float = 0.01) -> Record:
    measurements = tuple(
        new_measurement(
            fingerprint=f"{name}-{repeat}",
            name=SHARED.name,
            repeat=repeat,
            latency=LatencySamples(
                batch=1, samples_s=(latency_s * (1 + 0.001 * repeat),), warm_up=1
            ),
            start=found,
        )
        for repeat in range(3)
    )
    return new_record(name, SHARED, measurements, device=device)


class Trial:
    """Cells of one pass and head: an NMSE and the facts of each."""

    def __init__(self, baseline: str = "base") -> None:
        self.baseline = baseline
        self.records: list[Record] = []
        self.cells: list[CellError] = []
        self.simulations: dict[tuple[str, str], Sample] = {("engine", "t"): sample(0.004, True)}

    def add(
        self, name: str, nmse: float, found: Start | None, *, device: str = "cpu", **changes: Any
    ) -> "Trial":
        self.records.append(record(name, found, device))
        values: dict[str, Any] = {"placement": "engine", "table": "t", "fixed": True, **changes}
        self.cells.append(
            CellError(
                cell=self.records[-1].cell,
                environment=name,
                device=device,
                pass_=SHARED.name,
                precision=Precision.INT8,
                sample=sample(nmse),
                **values,
            )
        )
        return self

    def told(self) -> Mapping[str, Verdict]:
        """Returns environment (and device) → its attributed verdict, those that are about cells."""
        head = MeasuredHead(
            head="small", cells=self.cells, simulations=self.simulations, gate_nmse=None
        )
        by_cell: dict[tuple[str, str | None], tuple[Verdict, ...]] = {}
        for verdict in verdicts([head], self.baseline, RULES):
            by_cell[verdict.cell, verdict.head] = (
                *by_cell.get((verdict.cell, verdict.head), ()),
                verdict,
            )
        found = attributed(by_cell, [head], self.records, RULES)
        return {
            verdict.cell.removesuffix(f"/{SHARED.name}").removesuffix("/cpu"): verdict
            for told in found.values()
            for verdict in told
            if verdict.against and verdict.against.endswith(SHARED.name)
        }

    def why(self, name: str = "bad") -> Attribution:
        attribution = self.told()[name].attribution
        assert attribution
        return attribution


def names(changes: Iterable[FactorChange]) -> list[str]:
    return [change.factor for change in changes]


def cudnn(version: str, engine: str = "8.6.1", **more: Any) -> Start:
    one = library(f"/usr/lib/libcudnn.so.{version}", version)
    return start(engine, engine="tensorrt", libraries=(one,), **more)


def test_one_factor_changed_alone() -> None:
    why = Trial().add("base", 0.004, start("1.32.0")).add("bad", 0.008, start("1.26.0")).why()
    assert names(why.factors) == ["ONNX Runtime"]
    assert (why.factors[0].baseline, why.factors[0].cell) == (
        "onnxruntime 1.32.0 (1320ab)", "onnxruntime 1.26.0 (1260ab)",
    )  # fmt: skip
    assert why.confounded == ()
    assert why.addition is None
    assert reason(why) == "ONNX Runtime changed alone"


def test_two_that_changed_together_are_confounded_and_a_cell_is_named() -> None:
    trial = Trial().add("base", 0.004, cudnn("8.9.7", "8.6.1", **interpreter("8.6.1")))
    why = trial.add("bad", 0.008, cudnn("8.2.1", "8.0.3", **interpreter("8.0.3"))).why()
    assert why.factors == ()
    assert names(why.confounded) == ["cuDNN", "TensorRT"]
    assert why.addition
    assert why.addition.yaml
    assert "/opt/trt-8.6.1" in why.addition.yaml
    assert 'library_path: ["/usr/lib"' in why.addition.yaml
    assert reason(why) == (
        "confounded: cuDNN and TensorRT changed together; add base-cuDNN-8.2.1 to tell them apart"
    )


def interpreter(version: str) -> dict[str, Any]:
    executable = f"/opt/trt-{version}/bin/python"
    identity = {"kind": "interpreter", "executable": executable, "libraries": {}, "variables": {}}
    return {"environment": f"trt-{version}", "identity": identity}


@pytest.mark.parametrize(
    ("corner", "guilty"),
    [(0.004, "TensorRT"), (0.008, "cuDNN")],
    ids=["the corner is good, so the step after it", "the corner is bad, so the step before it"],
)
def test_a_cell_between_tells_which_it_was(corner: float, guilty: str) -> None:
    trial = Trial().add("base", 0.004, cudnn("8.9.7", "8.6.1"))
    trial.add("corner", corner, cudnn("8.2.1", "8.6.1"))
    why = trial.add("bad", 0.008, cudnn("8.2.1", "8.0.3")).why()
    assert names(why.factors) == [guilty]
    assert why.confounded == ()
    assert why.through == (f"corner/cpu/{SHARED.name}",)
    assert guilty in reason(why)
    assert "corner" in reason(why)


def test_both_can_be_guilty() -> None:
    trial = Trial().add("base", 0.004, cudnn("8.9.7", "8.6.1"))
    trial.add("corner", 0.006, cudnn("8.2.1", "8.6.1"))
    why = trial.add("bad", 0.008, cudnn("8.2.1", "8.0.3")).why()
    assert names(why.factors) == ["cuDNN", "TensorRT"]


def test_of_three_the_one_that_is_innocent_is_left_out() -> None:
    trial = Trial().add("base", 0.004, cudnn("8.9.7", "8.6.1", libc="glibc 2.36"))
    trial.add("other libc", 0.004, cudnn("8.9.7", "8.6.1", libc="glibc 2.31"))
    why = trial.add("bad", 0.008, cudnn("8.2.1", "8.0.3", libc="glibc 2.31")).why()
    assert names(why.confounded) == ["cuDNN", "TensorRT"]
    assert why.factors == ()


def test_an_effect_spread_over_steps_needs_more_repeats() -> None:
    trial = Trial().add("base", 0.004, cudnn("8.9.7", "8.6.1"))
    trial.add("corner", 0.00438, cudnn("8.2.1", "8.6.1"))
    why = trial.add("bad", 0.0048, cudnn("8.2.1", "8.0.3")).why()
    assert not why.separated
    assert why.factors == ()
    assert names(why.confounded) == ["cuDNN", "TensorRT"]
    assert "more repeats" in reason(why)


def test_a_cell_with_another_table_is_no_evidence_about_the_engine() -> None:
    trial = Trial().add("base", 0.004, cudnn("8.9.7", "8.6.1"))
    trial.add("corner", 0.008, cudnn("8.2.1", "8.6.1"), table="another")
    why = trial.add("bad", 0.008, cudnn("8.2.1", "8.0.3")).why()
    assert why.factors == ()
    assert why.through == ()


def test_of_own_tables_that_nobody_knows_the_engine_and_the_calibrator_are_suspects() -> None:
    """The baseline has another table too: the chain goes over all cells of the pass."""
    new, old = start("1.32.0", numpy="2.4.6"), start("1.18.1", numpy="1.26.4")
    trial = Trial().add("base", 0.004, new, table="unknown", own=True)
    trial.add("corner", 0.004, start("1.32.0", numpy="1.26.4"), table="another", own=True)
    verdict = trial.add("bad", 0.008, old, table="third", own=True).told()["bad"]
    assert verdict.kind is Kind.VERSION_REGRESSION
    assert verdict.attribution
    assert names(verdict.attribution.factors) == ["ONNX Runtime"]
    assert verdict.attribution.through == (f"corner/cpu/{SHARED.name}",)


def test_numpy_is_no_factor_of_the_engine_but_one_of_tables() -> None:
    new, old = start("1.32.0", numpy="2.4.6"), start("1.18.1", numpy="1.26.4")
    why = Trial().add("base", 0.004, new).add("bad", 0.008, old).why()
    assert names(why.factors) == ["ONNX Runtime"]
    assert "numpy" in dict(why.harmless)

    trial = Trial()
    trial.simulations |= {
        ("engine", "own"): sample(0.004, True),
        ("engine", "bad"): sample(0.008, True),
    }
    trial.add("base", 0.004, new, table="own", own=True)
    verdict = trial.add("bad", 0.008, old, table="bad", own=True).told()["bad"]
    assert verdict.kind is Kind.CALIBRATOR_REGRESSION
    assert verdict.attribution
    assert names(verdict.attribution.confounded) == ["ONNX Runtime", "numpy"]


def test_the_baseline_on_another_gpu_is_compared_with_itself() -> None:
    def on(name: str) -> Start:
        return start(gpu={"name": name, "compute_capability": "9.0"})

    trial = Trial().add("base", 0.004, on("H200"), device="gpu:0")
    trial.add("base", 0.008, on("H100"), device="gpu:1")
    verdict = trial.told()["base/gpu:1"]
    assert verdict.kind is Kind.ENGINE_REGRESSION
    assert verdict.against == f"base/gpu:0/{SHARED.name}"
    assert names(trial.why("base/gpu:1").factors) == ["GPU"]


def test_a_version_on_another_gpu_is_compared_with_the_baseline_there() -> None:
    def on(version: str, gpu: str) -> Start:
        return start(version, gpu={"name": gpu, "compute_capability": "9.0"})

    trial = Trial().add("base", 0.004, on("1.32.0", "H200"), device="gpu:0")
    trial.add("base", 0.008, on("1.32.0", "H100"), device="gpu:1")
    told = trial.add("bad", 0.016, on("1.26.0", "H100"), device="gpu:1").told()
    assert told["bad/gpu:1"].against == f"base/gpu:1/{SHARED.name}"
    assert names(trial.why("bad/gpu:1").factors) == ["ONNX Runtime"]


def test_where_nothing_probed_differs_that_is_said() -> None:
    why = Trial().add("base", 0.004, start()).add("bad", 0.008, start(environment="twin")).why()
    assert (why.factors, why.confounded) == ((), ())
    assert reason(why) == "nothing that was probed differs between the two"


def test_without_facts_there_is_no_attribution() -> None:
    verdict = Trial().add("base", 0.004, start()).add("bad", 0.008, None).told()["bad"]
    assert verdict.kind is Kind.ENGINE_REGRESSION
    assert verdict.attribution is None
    stated = start()
    unprobed = stated.model_copy(update={"probe": {}})
    assert (
        Trial().add("base", 0.004, unprobed).add("bad", 0.008, stated).told()["bad"].attribution
        is None
    )


def in_rounds(records: Sequence[Record]) -> list[Record]:
    """Returns them as measured in rounds, in both orders in turn."""

    def started(place: int) -> Callable[[Measurement], Mapping[str, Any]]:
        return lambda measurement: {"started": minute(measurement.repeat, place, len(records))}

    return [remeasured(record, started(place), "start") for place, record in enumerate(records)]


def minute(repeat: int, place: int, places: int) -> str:
    here = places - 1 - place if repeat % 2 else place
    return f"2026-11-23T12:{repeat * places + here:02}:00+00:00"


def test_a_slowdown_is_attributed_too() -> None:
    cells = [
        record("base", start("1.32.0", numpy="2.4.6")),
        record("corner", start("1.32.0", numpy="1.26.4")),
        record("bad", start("1.18.1", numpy="1.26.4"), latency_s=0.02),
    ]
    records = in_rounds(cells)
    slower = latency_verdicts(records, "base", RULES)
    assert {one.kind for one in slower.values()} == {Kind.LATENCY_REGRESSION}
    told = attributed({(cell, None): (one,) for cell, one in slower.items()}, [], records, RULES)
    [(verdict,)] = told.values()
    assert verdict.attribution
    assert names(verdict.attribution.factors) == ["ONNX Runtime"]
    assert verdict.attribution.through == (f"corner/cpu/{SHARED.name}",)


def test_one_reason_is_told_once_and_several_by_name() -> None:
    engine = Attribution(factors=(FactorChange(factor="TensorRT", baseline="8", cell="7"),))
    both = Attribution(
        confounded=(
            FactorChange(factor="TensorRT", baseline="8", cell="6"),
            FactorChange(factor="cuDNN", baseline="8", cell="7"),
        )
    )
    assert reasons([("a", engine), ("b", engine), ("c", None)]) == "TensorRT changed alone."
    assert reasons([("a", engine), ("b", both), ("b", both)]) == (
        "a: TensorRT changed alone. b: confounded: TensorRT and cuDNN changed together."
    )
    assert reasons([("a", None)]) == ""
