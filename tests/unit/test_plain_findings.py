"""What is plainly so: outputs that are broken, references that are, int8 that is none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.unit.new_records import new_manifest, new_measurement, new_record, new_start
from tests.unit.passes import FP16, FP32, IMPLICIT, SHARED
from trt_matrix.containers.job.reductions import compare, flat
from trt_matrix.core.cells import Pass, Precision
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.judge import judge
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import IntegerShare, Measurement, Record, Start, StoredObject
from trt_matrix.core.verdicts.head_errors import head_errors, told_by_head
from trt_matrix.core.verdicts.plain_findings import (
    EXACT_NMSE,
    broken,
    fixed,
    nothing_quantised,
    reference_note,
    reference_problem,
)
from trt_matrix.core.verdicts.verdict import Kind, Verdict

IMAGES = 4
INT8 = SHARED
RANDOM = np.random.default_rng(0)
GOOD = RANDOM.normal(0, 1, (IMAGES, 50)).astype(np.float32)


def noisy(db: float) -> np.ndarray:
    noise = RANDOM.normal(0, 1, GOOD.shape) * 10 ** (-db / 20)
    return np.asarray(GOOD + noise, np.float32)


class World:
    """Arrays, and cells that gave them."""

    def __init__(self, reference: np.ndarray = GOOD, gate: float | None = None) -> None:
        self.arrays: dict[str, np.ndarray] = {"reference": reference}
        self.records: list[Record] = []
        self.simulations: list[Measurement] = []
        self.gate = gate

    def simulated(self, array: np.ndarray) -> "World":
        self.simulations.append(self._measured("simulation", array, 0, {"table": "t"}))
        return self

    def cell(
        self, name: str, *arrays: np.ndarray, pass_: Pass = INT8, device: str = "cpu", **more: Any
    ) -> "World":
        cell = f"{name}/{device}/{pass_.name}"
        if pass_.precision is Precision.INT8:
            more.setdefault("table", "t")
        self.records.append(
            new_record(
                name,
                pass_,
                tuple(
                    self._measured(f"{cell}#{repeat}", array, repeat, more)
                    for repeat, array in enumerate(arrays)
                ),
                device=device,
            )
        )
        return self

    def _measured(
        self, name: str, array: np.ndarray, repeat: int, more: dict[str, Any]
    ) -> Measurement:
        digest = next((k for k, known in self.arrays.items() if known is array), name)
        self.arrays[digest] = array
        more = {"placement": "onnxruntime", "start": start("onnxruntime")} | more
        outputs = {"small": stored(digest)}
        return new_measurement(
            fingerprint=name, name="pass", repeat=repeat, outputs=outputs, **more
        )

    @property
    def evidence(self) -> Evidence:
        manifest = new_manifest(
            heads=(HeadGate(head="small", sqnr_db=self.gate),),
            images=IMAGES,
            cells=tuple(record.cell for record in self.records),
            reference=self._measured("reference", self.arrays["reference"], 0, {}),
            simulations=tuple(self.simulations),
        )

        def sums_of(y: StoredObject, r: StoredObject) -> Sums:
            return compare(self.arrays[y.sha256], self.arrays[r.sha256])

        cells = [record.planned() for record in self.records]
        return Evidence(
            manifest, cells, self.records, sums_of, flat_of=lambda y: flat(self.arrays[y.sha256])
        )

    def broken(self) -> list[str | None]:
        evidence = self.evidence
        return [broken(evidence, record, "small") for record in self.records]

    def told(self) -> list[Verdict]:
        evidence = self.evidence
        found = told_by_head(evidence, head_errors(evidence))
        return [verdict for some in found.values() for verdict in some]

    def unquantised(self) -> str | None:
        return nothing_quantised(self.evidence, self.records[-1], "small")

    def judged(self) -> Judgement:
        return judge(self.evidence)


def stored(name: str) -> StoredObject:
    return StoredObject(sha256=name, suffix=".npy", size_bytes=1)


def start(engine: str) -> Start:
    return new_start(
        identity={"kind": "venv"},
        probe={"engine": {"name": engine, "version": "1.2.3"}},
        command=("python",),
    )


def with_value(value: float, *places: tuple[int, int], of: np.ndarray = GOOD) -> np.ndarray:
    array = of.copy()
    for place in places:
        array[place] = value
    return array


# Broken outputs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("pass_", [FP32, FP16, INT8])
def test_one_element_that_is_not_finite_is_broken_in_every_precision(
    value: float, pass_: Pass
) -> None:
    world = World().cell("base", with_value(value, (1, 3), (1, 4)), pass_=pass_)
    assert world.broken() == ["NaN or infinite in 1 of 4 images"]
    (verdict,) = world.told()
    assert (verdict.kind, verdict.head) == (Kind.BROKEN_OUTPUT, "small")
    assert any(finding.kind is Kind.BROKEN_OUTPUT for finding in world.judged().failing)


def test_repeats_that_are_broken_are_counted() -> None:
    world = World().cell("base", noisy(30), with_value(np.nan, (0, 0)), noisy(30))
    assert world.broken() == ["NaN or infinite in 1 of 4 images in 1 of 3 repeats"]


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros_like(GOOD), "all zero"),
        (np.full_like(GOOD, 0.25), "constant"),
        (np.repeat(GOOD[:1], IMAGES, axis=0), "the same for every image"),
    ],
    ids=["zero", "constant", "same"],
)
def test_an_output_that_is_flat_is_broken(array: np.ndarray, why: str) -> None:
    world = World().cell("base", noisy(30)).cell("old", array)
    assert world.broken() == [None, why]
    kinds = {verdict.cell.split("/")[0]: verdict.kind for verdict in world.told()}
    assert kinds == {"base": Kind.OK, "old": Kind.BROKEN_OUTPUT}


def test_a_reference_that_is_as_flat_breaks_nobody() -> None:
    same = np.repeat(GOOD[:1], IMAGES, axis=0)
    world = World(same).cell("base", np.repeat(noisy(30)[:1], IMAGES, axis=0))
    assert world.broken() == [None]


def test_an_output_that_its_scales_alone_make_flat_is_told_so_and_compared() -> None:
    zero = np.zeros_like(GOOD)
    world = World().simulated(zero).cell("base", zero)
    assert world.broken() == ["all zero, and so it is in exact arithmetic with its scales"]
    assert world.told()[0].kind is Kind.BROKEN_OUTPUT
    (head,) = head_errors(world.evidence)
    assert len(head.cells) == 1
    engine = World().simulated(noisy(30)).cell("base", zero)
    assert engine.broken() == ["all zero"]
    (head,) = head_errors(engine.evidence)
    assert head.cells == [], "what the engine broke is in no comparison"


# References


def test_where_the_reference_has_one_minus_infinity_only_more_of_them_are_broken() -> None:
    reference = with_value(-np.inf, (2, 7))
    fine = with_value(-np.inf, (2, 7), of=noisy(30))
    world = World(reference).cell("base", fine).cell("old", with_value(-np.inf, (2, 8), of=fine))
    assert world.broken() == [None, "NaN or infinite in 1 of 4 images"]
    assert reference_problem(world.evidence, "small") is None
    assert reference_note(world.evidence, "small") == (
        "one element of the reference of small is NaN or infinite, and left out of every number"
    )
    base = next(verdict for verdict in world.told() if verdict.cell.startswith("base"))
    assert base.kind is Kind.OK
    finite = World(reference).cell("base", noisy(30))
    assert finite.broken() == [None], (
        "that the reference's own is finite here is no fault of a cell"
    )


def test_several_are_counted() -> None:
    reference = with_value(np.nan, (0, 0), (3, 1), (3, 2))
    world = World(reference).cell("base", with_value(np.nan, (0, 0), (3, 1), (3, 2), of=noisy(30)))
    assert (reference_note(world.evidence, "small") or "").startswith("3 elements of the reference")


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (np.zeros_like(GOOD), "the reference of small is all zero"),
        (np.full_like(GOOD, np.nan), "the reference of small is NaN or infinite throughout"),
        (
            with_value(np.nan, (0, 0), of=np.zeros_like(GOOD)),
            "the reference of small has nothing finite but zeros",
        ),
    ],
    ids=["zero", "NaN", "zero but one"],
)
def test_a_reference_that_says_nothing_is_told_and_nobody_is_blamed(
    reference: np.ndarray, why: str
) -> None:
    world = World(reference, gate=20.0).cell("base", GOOD).cell("old", np.zeros_like(GOOD))
    assert reference_problem(world.evidence, "small") == why
    assert {(verdict.kind, verdict.why) for verdict in world.told()} == {(Kind.NOT_COMPARABLE, why)}
    (answer,) = world.judged().answers
    assert answer.fault == "the reference's own output"
    assert answer.findings[0].fails


def test_a_sound_reference_has_no_problem_whatever_cells_gave() -> None:
    world = World().cell("base", np.full_like(GOOD, np.nan))
    assert reference_problem(world.evidence, "small") is None
    assert reference_note(world.evidence, "small") is None
    assert reference_problem(World().evidence, "small") is None, "no cell gave anything"


# Int8 that is none


def shares(integer: int) -> dict[str, IntegerShare]:
    return {"small": IntegerShare(integer_macs=integer, total_macs=100, float_layers=())}


def test_nothing_is_quantised_where_no_multiplication_ran_on_integers() -> None:
    world = World().cell("base", noisy(30), noisy(30), shares=shares(0))
    assert world.unquantised() == "no multiplication ran on integers"
    (verdict,) = world.told()
    assert verdict.kind is Kind.NOTHING_QUANTISED
    assert World().cell("base", noisy(30), shares=shares(1)).unquantised() is None


def test_with_a_simulation_a_test_says_whether_it_rounds_all_the_same() -> None:
    world = World().simulated(noisy(30)).cell("base", noisy(30), shares=shares(0))
    assert world.unquantised() is None


def test_nothing_is_quantised_where_the_outputs_are_those_of_fp32_bit_for_bit() -> None:
    broken_too = noisy(20)
    world = World().cell("base", broken_too, pass_=FP32).cell("base", broken_too)
    assert world.unquantised() == "its outputs are those of fp32, bit for bit"
    other = World().cell("old", broken_too, pass_=FP32).cell("base", broken_too)
    assert other.unquantised() is None, "only its own fp32 says so"
    once = World().cell("base", broken_too, pass_=FP32).cell("base", broken_too, noisy(20))
    assert once.unquantised() is None, "in all repeats"


@pytest.mark.parametrize(("share", "none"), [(0.99, True), (1.01, False)])
def test_nothing_is_quantised_where_it_is_as_exact_as_floating_point(
    share: float, *, none: bool
) -> None:
    """60 dB."""
    world = World().cell("base", GOOD * np.float32(1 + np.sqrt(share * EXACT_NMSE)))
    assert (world.unquantised() == "it is as exact as floating point") is none


@pytest.mark.parametrize("pass_", [FP32, FP16])
def test_floating_point_may_be_exact(pass_: Pass) -> None:
    assert World().cell("base", GOOD, pass_=pass_, shares=shares(0)).unquantised() is None


# Flat, and fixed


def test_flat() -> None:
    assert flat(np.zeros((0, 3))) is None
    assert flat(np.zeros((3, 0))) is None
    assert flat(np.zeros((3, 2))) == "constant"
    assert flat(np.array([[1.0, 2.0]])) is None, "one image is like no other"
    assert flat(np.array([[1.0, 1.0]])) == "constant"
    assert flat(np.array([[1.0, 2.0]] * 3)) == "the same for every image"
    assert flat(np.array([[1.0, 1.0], [2.0, 2.0]])) is None


def test_onnx_runtime_on_one_cpu_is_fixed_and_nothing_else_without_its_layers() -> None:
    def of(world: World) -> bool:
        return fixed(world.records[-1])

    layers, others = stored("layers"), stored("others")
    assert of(World().cell("base", GOOD))
    assert not of(World().cell("base", GOOD, device="gpu:0"))
    assert not of(World().cell("base", GOOD, start=None))
    trt: dict[str, Any] = {"start": start("tensorrt"), "device": "gpu:0"}
    assert not of(World().cell("base", GOOD, GOOD, **trt))
    assert of(World().cell("base", GOOD, GOOD, layers=layers, **trt))
    assert not of(World().cell("base", GOOD, layers=layers, **trt)), "one build shows nothing"
    assert not of(World().cell("base", GOOD, GOOD, layers=layers, pass_=IMPLICIT, **trt))
    world = World().cell("base", GOOD, GOOD, layers=layers, **trt)
    first, second = world.records[-1].measurements
    differ: Sequence[Measurement] = (first, second.model_copy(update={"layers": others}))
    assert not fixed(world.records[-1].model_copy(update={"measurements": tuple(differ)}))
