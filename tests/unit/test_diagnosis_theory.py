"""What rounding alone must cost, by arithmetic that is not the tool's."""

import json
import math
import re
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.diagnosis.quantisers import Part, activation, weights
from trt_matrix.core.diagnosis.tensors import (
    ROUNDING,
    Cause,
    TensorTheory,
    expected,
    unlike,
    weights_theory,
)
from trt_matrix.core.diagnosis.tool_settings import elsewhere


def theory(**changes: object) -> TensorTheory:
    values: dict[str, object] = {
        "name": "x", "scale": 1.0, "elements": 100, "error_steps": ROUNDING, "clipped_share": 0.0,
        "amax": 127.0, "range": 127.0, "mse": 1 / 12, "best_mse": 1 / 12, "unlike_channels": 0.0,
    }  # fmt: skip
    return TensorTheory(**{**values, **changes})  # type: ignore[arg-type]


def test_rounding_errs_by_a_twelfth_of_a_step_squared() -> None:
    values = np.random.default_rng(0).uniform(-127, 127, 200_000)
    assert math.sqrt(np.mean((np.rint(values) - values) ** 2)) == pytest.approx(ROUNDING, rel=0.01)
    assert theory().causes == ()


def test_weights_with_one_channel_300_times_the_others_are_told() -> None:
    random = np.random.default_rng(1)
    weight = random.normal(0, 1, (16, 8, 3, 3)).astype("f4")
    weight[5] *= 300
    scale = np.abs(weight).max() / 127
    whole = (np.rint(weight / scale) * scale).astype("f4")
    tensor_theory = weights_theory("conv", weight, whole, axis=0)
    assert tensor_theory.causes == (Cause.CHANNELS,)
    assert tensor_theory.unlike_channels == pytest.approx(15 / 16)
    largest = np.abs(weight).reshape(16, -1).max(axis=1)[:, None, None, None] / 127
    each = (np.rint(weight / largest) * largest).astype("f4")
    assert weights_theory("conv", weight, each, axis=0).causes == ()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"error_steps": 0.9, "best_mse": 0.01}, Cause.CLIPPED),
        ({"range": 1000.0, "best_mse": 0.001}, Cause.WIDE),
        ({"best_mse": 0.01}, Cause.RANGE),
        ({"unlike_channels": 0.5}, Cause.CHANNELS),
    ],
)
def test_each_cause_is_told_by_its_own_sign(changes: dict[str, float], cause: Cause) -> None:
    assert theory(**changes).causes == (cause,)


def test_a_tensor_of_zeros_has_nothing_wrong_and_no_number_that_is_none() -> None:
    zero = theory(error_steps=0.0, amax=0.0, mse=0.0, best_mse=0.0)
    assert zero.causes == ()
    assert zero.avoidable == 0
    assert weights_theory("c", np.zeros((2, 2), "f4"), np.zeros((2, 2), "f4"), 0).causes == ()
    assert unlike(np.zeros(4)) == 0


def test_what_is_avoidable_is_taken_off_what_rounding_alone_predicts() -> None:
    alone: dict[tuple[Part, ...], float] = {(activation("x"),): 1e-2, (weights("c"),): 1e-3}
    known = {activation("x"): theory(mse=1.0, best_mse=0.01), weights("c"): theory()}
    found, avoidable = expected(alone, known, simulated=1.1e-2)
    assert found.parts == pytest.approx(1.1e-2)
    assert found.trust == pytest.approx(1.0)
    assert avoidable[activation("x"),] == pytest.approx(0.99e-2)
    assert found.rounding == pytest.approx(1e-4 + 1e-3)
    assert found.beyond_db == pytest.approx(10.0)


def test_a_head_that_rounding_explains_is_not_called_wrong() -> None:
    alone: dict[tuple[Part, ...], float] = {(activation("x"),): 1e-2}
    found, _ = expected(alone, {activation("x"): theory()}, simulated=1e-2)
    assert found.beyond_db == pytest.approx(0.0)


def test_errors_that_do_not_add_up_are_no_sign_of_a_cause() -> None:
    """A whole far above its parts may be anything; ranges are blamed for what the parts show alone."""
    found, _ = expected({(activation("x"),): 1e-4}, {activation("x"): theory()}, simulated=1e-1)
    assert found.beyond_db == pytest.approx(0.0)
    assert found.trust == pytest.approx(1e-3)


@pytest.mark.parametrize("simulated", [0.0, math.inf])
def test_a_head_without_a_finite_error_has_no_distance(simulated: float) -> None:
    found, _ = expected({(activation("x"),): 0.0}, {}, simulated=simulated)
    assert found.beyond_db is None


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
def test_every_form_names_every_layer_or_says_which_it_cannot(names: list[str]) -> None:
    tool_settings = elsewhere(names, {})
    assert json.loads(tool_settings.fp32_layers.removeprefix("fp32_layers: ")) == names
    patterns = shlex.split(tool_settings.modelopt)[1:]
    for name, pattern in zip(names, patterns, strict=True):
        assert re.match(pattern, name)
        assert not re.match(pattern, name + "0")
    told = [name for name in names if f"{name!r}" in " ".join(tool_settings.problems)]
    if tool_settings.polygraphy:
        given_ = [one.removesuffix(":float32") for one in shlex.split(tool_settings.polygraphy)[3:]]
        assert sorted({*told, *given_}) == sorted(names)
    else:
        assert sorted(told) == sorted(names)


def test_a_layer_is_held_with_the_activation_that_is_fused_into_it() -> None:
    tool_settings = elsewhere(["conv1"], {"conv1": ("silu", "mul")})
    assert tool_settings.fp32_layers == 'fp32_layers: ["conv1", "silu", "mul"]'
    assert tool_settings.trtexec == (
        "--precisionConstraints=obey --layerPrecisions=conv1:fp32,silu:fp32,mul:fp32"
    )
