"""Which environments are given a converted network, by which ranges, and what is told of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from tests.fakes.environment import ScriptedEnvironment
from tests.unit import small_networks as networks
from tests.unit.judgements import cell_result, fp32_head
from tests.unit.matrices import Told, store_of, wants_of
from tests.unit.test_head_answers import EFFECT
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.cells import Pass, Precision, Status
from trt_matrix.core.records import Calibration
from trt_matrix.core.reduced.conversion_sentences import CONVERTED, converted_sentence, facts
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.environments.base import Identity
from trt_matrix.execution.inputs import Network
from trt_matrix.execution.typed import (
    MOST,
    Ranges,
    TypedNetwork,
    may_be_strong,
    typed,
    typed_before,
)
from trt_matrix.execution.value_ranges import TypedNetworks
from trt_matrix.execution.wanted import MINMAX, JobSite, PassRequests, WantedCalibration
from trt_matrix.store.results import Store

FP16, BF16 = Precision.FP16, Precision.BF16
NOTHING: Mapping[str, float] = {}


@pytest.mark.parametrize(
    ("options", "identity", "expected"),
    [
        ({"typed": "strong"}, {"packages": {"tensorrt": "10.0.1"}}, True),
        ({"typed": "weak"}, {"packages": {"tensorrt": "10.16.1.11"}}, False),
        ({"typed": "weak"}, {"packages": {"tensorrt-cu12": "8.6.1", "numpy": "2.0"}}, False),
        ({"typed": "weak"}, {"packages": {"nvidia-tensorrt": "8.4.1.5"}}, False),
        ({"typed": "weak"}, {"packages": {"tensorrt": "11.0.0.114"}}, True),
        ({"typed": "weak"}, {"packages": {"tensorrt": "8.6.1", "tensorrt_cu13": "11.4"}}, True),
        ({"typed": "weak"}, {"packages": {"tensorrt-rtx": "1.7.1.116"}}, True),
        ({"typed": "weak"}, {"packages": {"numpy": "2.0"}}, True),
        ({"typed": "weak"}, {"kind": "packed"}, True),
        ({"typed": "weak"}, {"packages": {}, "reported": {"tensorrt": "8.6.1.6+cuda12.0"}}, False),
        ({"typed": "weak"}, {"packages": [], "reported": {"tensorrt": "11.1"}}, True),
        ({"typed": "weak"}, {"packages": {"tensorrt": "of mine"}}, True),
    ],
)
def test_where_networks_may_be_strongly_typed(
    options: dict[str, Any], identity: dict[str, Any], expected: bool
) -> None:
    assert may_be_strong("tensorrt", options, Identity(fingerprint="x", facts=identity)) is expected
    assert not may_be_strong("onnxruntime", options, Identity(fingerprint="x", facts=identity))


class Answers:
    """Calibrations without an engine: what is asked first is answered first."""

    def __init__(self, store: Store, *given: Mapping[str, float] | str) -> None:
        self.store, self.given, self.progress = store, list(given), Told()
        self.asked: list[WantedCalibration] = []

    def calibrate(self, site: JobSite, wanted: WantedCalibration, name: str) -> Calibration:
        del site
        self.asked.append(wanted)
        one = self.given.pop(0)
        self.progress.done(name, Status.OK, "")
        if isinstance(one, str):
            return Calibration(fingerprint=wanted.fingerprint, status=Status.JOB_FAILED, reason=one)
        tables = {MINMAX: one}
        return Calibration(fingerprint=wanted.fingerprint, status=Status.OK, tables=tables)


def site(_: PassRequests, engine: str = "tensorrt", **facts: Any) -> JobSite:
    environment = ScriptedEnvironment("one")
    environment.engine = engine
    return JobSite(
        environment=environment,
        identity=Identity(fingerprint="x", facts=facts),
        device="cpu",
        engine_options={"typed": "weak"},
        timing=None,
        shapes={},
    )


def asked(wants: PassRequests, answers: Answers) -> TypedNetworks:
    typed_networks = TypedNetworks(answers, wants)  # type: ignore[arg-type]
    typed_networks.site = site(wants, "onnxruntime")
    return typed_networks


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of(tmp_path)


def test_a_tensor_reaches_as_far_as_on_the_worst_set_of_images(store: Store) -> None:
    wants = wants_of(store)
    answers = Answers(store, {"s2": 1.0, "s4": 7e4}, {"s2": 9.0})
    networks_ = asked(wants, answers)
    assert networks_.ranges().amax == {"s2": 9.0, "s4": 7e4}
    assert "calibration and evaluation images" in networks_.ranges().told
    made = networks_.of(site(wants), FP16)
    assert made is not None
    assert made.model is not None
    assert any("s4 reaches" in why for why in made.facts["in_float32"].values())
    assert len(answers.asked) == 2, "once a run, whatever is converted"
    assert networks_.of(site(wants), BF16) is not None
    assert networks_.of(site(wants), FP16) is made
    assert len(answers.asked) == 2
    assert answers.progress.steps == answers.progress.expected
    assert len({calibration.fingerprint for calibration in answers.asked}) == 2


def test_where_a_tensor_is_infinite_those_of_int8_are_asked_alone(store: Store) -> None:
    wants = wants_of(store)
    fine = {"s2": 3.0}
    answers = Answers(store, fine, "mask is infinite", fine, fine)
    assert asked(wants, answers).ranges().amax == fine
    assert answers.asked[2].tensors == wants.network.tensors
    assert len(answers.asked[0].tensors) >= len(wants.network.tensors) - 1  # the input is no output


def test_without_ranges_the_weights_decide_alone_and_that_is_told(store: Store) -> None:
    wants = wants_of(store)
    networks_ = asked(wants, Answers(store, *["mask is infinite"] * 2, *["so is s2"] * 2))
    made = networks_.of(site(wants), FP16)
    assert made is not None
    assert made.facts["ranges"] == "the weights alone: so is s2"
    told = facts(made.facts)
    assert "no other tensor" not in converted_sentence({CONVERTED: told})


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.TF32, Precision.INT8])
def test_what_needs_no_conversion_asks_nothing(store: Store, precision: Precision) -> None:
    answers = Answers(store)
    assert asked(wants_of(store), answers).of(site(wants_of(store)), precision) is None
    wants = wants_of(store)
    assert asked(wants, answers).of(site(wants, packages={"tensorrt": "8.6.1"}), FP16) is None
    assert asked(wants, answers).of(site(wants, "onnxruntime"), FP16) is None


def test_why_it_cannot_be_goes_to_the_engines_that_need_it(store: Store) -> None:
    model = networks.detector()
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.ndim == 4:
            weight.CopyFrom(numpy_helper.from_array((values * 1e9).astype(np.float32), weight.name))
    network = Network(model.SerializeToString(), model)
    made = typed(store, network, FP16, Ranges(amax=NOTHING, told="-"))
    assert made.model is None
    assert "beyond float16's 65504" in (made.reason or "")
    assert made.asked["model"] is None
    assert made.key != TypedNetwork(model=None, facts={}, reason="another").key
    assert typed_before(store, network, FP16, Ranges(amax=NOTHING, told="-")) is None


def test_it_is_made_once_and_depends_on_the_ranges(store: Store) -> None:
    network = wants_of(store).network
    plain = Ranges(amax={"s2": 1.0}, told="-")
    assert typed_before(store, network, FP16, plain) is None
    made = typed(store, network, FP16, plain)
    again = typed_before(store, network, FP16, plain)
    assert again is not None
    assert again.key == made.key == typed(store, network, FP16, plain).key
    others = [
        typed(store, network, BF16, plain),
        typed(store, network, FP16, Ranges(amax={"s2": 1e6}, told="-")),
    ]
    assert len({str(one.key) for one in (made, *others)}) == 3
    assert made.model is not None
    assert store.path(made.model).stat().st_size < len(network.model.SerializeToString())


def test_many_nodes_are_counted_beyond_the_first() -> None:
    kept = {f"n{index}": "because" for index in range(MOST)}
    raw = {
        "type": "float16", "nodes": 5, "in_float32": kept, "nodes_in_float32": MOST + 7,
        "near_the_end": {"t": 40000.0}, "weights_that_became_zero": {"values": 3, "of": ["w"]},
        "ranges": "9 tensors on the evaluation images",
    }  # fmt: skip
    told = facts(raw)
    assert told["kept in float32"]["…"] == "and 7 nodes more"
    assert told["weights that became zero"] == "3 values, of w"
    sentence = converted_sentence({CONVERTED: told})
    assert "n0 (because), n1 (because), n2 (because) and more than 97 more" in sentence
    assert "near the end of float16: t (4e+04)" in sentence


@pytest.mark.parametrize("given", [{}, {CONVERTED: None}, {CONVERTED: "text"}, {CONVERTED: []}])
def test_what_was_not_converted_is_told_nothing_of(given: dict[str, Any]) -> None:
    assert converted_sentence(given) == ""


def test_a_card_says_what_stayed_and_what_nearly_overflows() -> None:
    raw = {
        "type": "float16", "nodes": 50, "in_float32": {}, "nodes_in_float32": 0,
        "near_the_end": {}, "weights_that_became_zero": {"values": 0, "of": []},
        "ranges": "60 tensors on the evaluation images",
    }  # fmt: skip
    assert converted_sentence({CONVERTED: facts(raw)}) == (
        " The network was converted to float16; of 60 tensors on the evaluation images none comes near float16's end."
    )


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (Kind.FP16_REGRESSION, {"against": "40 dB"}),
        (Kind.BROKEN_OUTPUT, {"why": "NaN or infinite in 3 of 32 images"}),
    ],
)
def test_the_card_of_a_head_that_fp16_loses_says_what_is_near_the_end(
    kind: Kind, changes: dict[str, Any]
) -> None:
    raw = {
        "type": "float16", "nodes": 50, "in_float32": {"up": "t reaches 1e+06"}, "nodes_in_float32": 1,
        "near_the_end": {"logits": 31000.0}, "weights_that_became_zero": {"values": 0, "of": []},
        "ranges": "60 tensors on the evaluation images",
    }  # fmt: skip
    verdict = Verdict(
        kind=kind, cell="trt/gpu:0/fp16", head="small", **{"effect": EFFECT, **changes}
    )
    losing = dataclasses.replace(fp32_head("small", 1e-2), verdicts=(verdict,))
    cell = cell_result(
        "trt", Pass(precision=FP16), [losing], device="gpu:0", facts={CONVERTED: facts(raw)}
    )
    (answer,) = answers(("small",), [cell], "trt")
    text = answer.findings[0].text
    assert answer.findings[0].kind is kind
    assert "kept in float32: up (t reaches 1e+06)" in text
    assert "near the end of float16: logits (3.1e+04)" in text
