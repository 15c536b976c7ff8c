"""The network's variants: their names, their function, and which of them a pass may run."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_networks as networks
from matrices import Trial, store_of
from onnx import numpy_helper

from tests.fakes.environment import ScriptedEnvironment
from trt_matrix.core.cells import Precision
from trt_matrix.core.network.image_input import image_input
from trt_matrix.core.qdq.placements import Placed
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.table import Provenance, from_ranges
from trt_matrix.environments.factory import reference_environment
from trt_matrix.errors import ConfigError
from trt_matrix.execution import alternatives
from trt_matrix.execution.answer_models import PassAnswer
from trt_matrix.execution.answers import AnswerError
from trt_matrix.execution.inputs import Network
from trt_matrix.execution.pass_answers import read_form
from trt_matrix.execution.wanted import Variant, WantedPass
from trt_matrix.planning.variants import interface_problems, names_problem, with_heads
from trt_matrix.store.results import Store

HEADS = (("large", "large"), ("small", "small"))


def network(*variants: Network) -> Network:
    model = networks.detector()
    return Network(model.SerializeToString(), model, "new.onnx", variants)


def variant(opset: int = 9) -> Network:
    model = networks.old_detector() if opset == 9 else networks.detector()
    model.opset_import[0].version = opset
    return Network(model.SerializeToString(), model, f"opset{opset}.onnx")


def outputs(store: Store, tmp_path: Path, **arrays: np.ndarray) -> dict[str, StoredObject]:
    stored_objects = {}
    for head, array in arrays.items():
        path = tmp_path / f"{head}.npy"
        np.save(path, array)
        stored_objects[head] = store.adopt(path)
    return stored_objects


# Names and shapes


def test_a_true_variant_fits_by_name_and_shape() -> None:
    image = image_input(networks.detector())
    old = networks.old_detector()
    assert interface_problems(old, image, 1) == []
    assert with_heads(old, HEADS, {}, ["large", "small"]) == (old, [])
    assert names_problem(variant().tensors, network().tensors, 1.0) is None


def test_another_input_or_output_is_named() -> None:
    builder = networks.Builder()
    builder.conv("pixels", "large", 3, 6)
    other = builder.model({"pixels": [1, 3, 32, 16]}, ["large"])
    assert interface_problems(other, image_input(networks.detector()), 1) == [
        "takes 'pixels' with 3 channels of 32×16, the network takes 'image' with 3 channels of 16×16: "
        "export both alike"
    ]
    assert with_heads(other, HEADS, {}, ["large", "small"])[1] == [
        "has no output 'small'; its outputs: large: export both with the same names"
    ]


def test_a_variant_without_an_image_input_says_so() -> None:
    builder = networks.Builder()
    builder.node("Relu", ["x"], "large")
    (problem,) = interface_problems(
        builder.model({"x": [7]}, ["large"]), image_input(networks.detector()), 1
    )
    assert "input" in problem


@pytest.mark.parametrize(("unknown", "refused"), [(0, False), (1, False), (2, True), (10, True)])
def test_names_must_be_those_of_the_network_but_for_few(unknown: int, refused: bool) -> None:
    tensors = [f"t{index}" for index in range(10)]
    known = tensors[unknown:]
    problem = names_problem(tensors, known, 0.9)
    assert (problem is not None) == refused
    if problem:
        assert problem.startswith(f"only {10 - unknown} of its 10 tensors are called as in")
        assert "'t0', 't1'" in problem


# One function


def test_equal_outputs_are_one_function(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    r = np.linspace(-4, 4, 24, dtype=np.float32).reshape(2, 3, 4)
    stored_objects = outputs(store, tmp_path, large=r, small=r)
    rounded = outputs(store, tmp_path, large=r, small=r + np.float32(2e-5))
    assert alternatives.unlike(store, stored_objects, rounded) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r + 1e-3, "head small differs by up to 0.001, where the largest value is 4"),
        (lambda r: r[:, :2], r"head small has the shape \(2, 4\), not \(3, 4\)"),
        (lambda r: np.where(r > 3, np.nan, r), "head small differs by up to nan"),
        (lambda r: np.where(r > 3, np.inf, r), "head small differs by up to inf"),
    ],
)
def test_other_outputs_are_another_function(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], told: str
) -> None:
    store = store_of(tmp_path)
    r = np.linspace(-4, 4, 24, dtype=np.float32).reshape(2, 3, 4)
    stored_objects = outputs(store, tmp_path, large=r, small=r)
    other = outputs(store, tmp_path, large=r, small=change(r).astype(np.float32))
    assert re.search(told, alternatives.unlike(store, stored_objects, other) or "")


def test_the_run_refuses_a_variant_of_another_function(tmp_path: Path) -> None:
    """The host computes it: here another weight, which no name gives away."""
    trial = Trial(tmp_path, ScriptedEnvironment("a"), reference=reference_environment())
    model = networks.old_detector()
    # The images of this trial are zero: a bias shows.
    bias = next(one for one in model.graph.initializer if one.name == "c1.bias")
    changed = numpy_helper.to_array(bias) * np.float32(1.01)
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    trial.matrix.wants.network.variants = (
        Network(model.SerializeToString(), model, "changed.onnx"),
    )
    with pytest.raises(ConfigError, match=r"changed.onnx is not the function of .*head large"):
        trial.matrix.run()


# Which of them a pass may run


def test_only_tensorrt_is_offered_variants() -> None:
    made = network(variant())
    assert [alternative.name for alternative in alternatives.floats(made, "tensorrt")] == [
        "opset9.onnx"
    ]
    assert alternatives.floats(made, "onnxruntime") == ()


def test_qdq_networks_are_offered_of_older_opsets_only(tmp_path: Path) -> None:
    """Q/DQ needs opset 13 anyway: those of opset 9 and 13 are equally hard to read."""
    store = store_of(tmp_path)
    model = networks.detector()
    model.opset_import[0].version = 17
    newest = Network(model.SerializeToString(), model, "new.onnx", [variant(13), variant(9)])
    table = from_ranges(dict.fromkeys(newest.tensors, 2.0), Provenance(algorithm="minmax"))
    assert alternatives.quantised_before(store, newest, table, Placed(engine="tensorrt")) is None
    found = alternatives.quantised(store, newest, table, Placed(engine="tensorrt"))
    assert [alternative.name for alternative in found] == ["opset13.onnx", "opset9.onnx"]
    assert all(
        {"QuantizeLinear", "Resize"}
        <= set(networks.operators(onnx.load(store.path(alternative.model))))
        for alternative in found
    )
    assert alternatives.quantised_before(store, newest, table, Placed(engine="tensorrt")) == found
    assert alternatives.quantised(store, newest, table, Placed(engine="onnxruntime")) == ()
    assert (
        alternatives.quantised(store, network(variant(9)), table, Placed(engine="tensorrt")) == ()
    )


# What came back


def wanted(*others: alternatives.Alternative) -> WantedPass:
    return WantedPass(
        fingerprint="f",
        name="fp32",
        precision=Precision.FP32,
        variant=Variant(
            StoredObject(sha256="a", suffix=".onnx", size_bytes=1), alternatives=others
        ),
        repeat=0,
    )


def answer(**changes: object) -> PassAnswer:
    given = {"schema_version": 1, "name": "fp32", "status": "ok", "error": None, "stages": {}}
    more = {"outputs": {}, "latency": None, "executed": None}
    return PassAnswer.model_validate(given | more | changes)


OTHER = alternatives.Alternative("old.onnx", StoredObject(sha256="b", suffix=".onnx", size_bytes=1))


def test_the_form_that_was_read_is_told_by_its_name() -> None:
    model, told = read_form(
        answer(model="b.onnx", refused={"a.onnx": "no Resize", "z.onnx": "?"}),
        wanted(OTHER),
        "new.onnx",
    )
    assert model == OTHER.model
    assert told == {
        "model_sha256": "b",
        "variant": "old.onnx",
        "refused": {"new.onnx": "no Resize"},
    }
    assert read_form(answer(), wanted(), "new.onnx") == (wanted().variant.model, {})


@pytest.mark.parametrize("model", [None, "c.onnx", "../b.onnx"])
def test_an_answer_cannot_name_another_file(model: str | None) -> None:
    with pytest.raises(AnswerError, match="no form of the network"):
        read_form(answer(model=model), wanted(OTHER), "new.onnx")
