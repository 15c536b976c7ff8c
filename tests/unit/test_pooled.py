"""A MaxPool's output has its input's range in TensorRT's entropy tables, and in no other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from tests.fakes.environment import ScriptedEnvironment
from tests.unit.matrices import Trial
from tests.unit.small_networks import Builder
from trt_matrix.core.cells import Status
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.tables.pooled import max_pools, take_inputs
from trt_matrix.execution.inputs import Network
from trt_matrix.execution.wanted import JobSite

POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}


def pooling() -> onnx.ModelProto:
    """Two pools in a row, a third beside them, and an average."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8)], "r1")
    b.node("MaxPool", ["r1"], "p1", **POOL)
    b.node("MaxPool", ["p1"], "p2", **POOL)
    b.node("AveragePool", ["p1"], "a1", **POOL)
    b.node("MaxPool", ["a1"], "p3", kernel_shape=[1, 1])
    b.node("Add", ["p2", "p3"], "sum")
    b.conv("sum", "head", 8, 6, k=1)
    return b.model({"image": [1, 3, 16, 16]}, ["head"])


def test_a_chain_of_pools_has_the_range_of_what_the_first_reads() -> None:
    model, tensors = calibration_model(pooling())
    assert max_pools(model, tensors) == {"p1": "r1", "p2": "r1", "p3": "a1"}


def test_the_output_with_indices_is_none_of_them() -> None:
    model = pooling()
    for node in model.graph.node:
        if node.output[0] == "p2":
            node.output.append("where")
    assert max_pools(model, {"r1", "p1", "p2", "where"}) == {"p1": "r1", "p2": "r1"}


def test_a_pool_of_another_domain_is_none() -> None:
    model = pooling()
    for node in model.graph.node:
        node.domain = "my.plugins"
    assert max_pools(model, {"r1", "p1", "p2", "a1", "p3"}) == {}


def test_nothing_is_said_of_tensors_that_are_not_calibrated() -> None:
    """Where the link between two pools is not calibrated the second has what that would have: nothing."""
    assert max_pools(pooling(), {"r1", "p2", "a1", "p3"}) == {"p3": "a1"}


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"r1": 3.0, "p1": 2.0, "p2": 1.0}, {"r1": 3.0, "p1": 3.0, "p2": 3.0}),
        # A pool of what is negative somewhere may be zero in every image: TensorRT still has its input's.
        ({"r1": 3.0}, {"r1": 3.0, "p1": 3.0, "p2": 3.0}),
        ({"p1": 2.0, "p2": 1.0, "other": 4.0}, {"p1": 2.0, "p2": 1.0, "other": 4.0}),
        ({}, {}),
    ],
)
def test_an_output_keeps_its_own_only_where_its_input_has_none(
    values: dict[str, float], wanted: dict[str, float]
) -> None:
    assert take_inputs(values, {"p1": "r1", "p2": "r1"}) == wanted


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 9)),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("def")),
)
def test_it_changes_outputs_of_pools_alone_and_once(
    values: dict[str, float], pools: dict[str, str]
) -> None:
    found = take_inputs(values, pools)
    assert {name: found[name] for name in values if name not in pools} == {
        name: value for name, value in values.items() if name not in pools
    }
    assert take_inputs(found, pools) == found


UNLIKE = """
tensors = request["calibration"]["tensors"]
told = {name: 1.0 + index for index, name in enumerate(tensors)}
shares = {name: index / 100 for index, name in enumerate(tensors)}
calibrate(
    algorithms={one["name"]: told for one in request["calibration"]["algorithms"]},
    seen=told,
    clipped={one["name"]: shares for one in request["calibration"]["algorithms"]},
)
finish()
"""
"""Every tensor has another range and another share that is clipped."""


def test_the_record_of_a_calibration_has_it_for_entropy_alone(tmp_path: Path) -> None:
    environment = ScriptedEnvironment("a", [UNLIKE])
    jobs = Trial(tmp_path, environment).matrix.jobs
    model = pooling()
    network = Network(model.SerializeToString(), model)
    network.put_into(jobs.store)
    jobs.wants = replace(jobs.wants, network=network)
    site = JobSite(
        environment=environment,
        identity=environment.prepare(offline=True),
        device="cpu",
        engine_options={},
        timing=None,
        shapes={},
    )
    made = jobs.calibrate(site, jobs.wants.calibration(site, ["entropy", "minmax"]))
    assert made.status is Status.OK, made.reason
    told = {name: 1.0 + index for index, name in enumerate(network.tensors)}
    pools = {"p1": "r1", "p2": "r1", "p3": "a1"}
    assert made.tables["minmax"] == made.seen == told
    assert made.tables["entropy"] == told | {to: told[of] for to, of in pools.items()}
    shares = dict(made.clipped["minmax"])
    assert made.clipped["entropy"] == shares | {to: shares[of] for to, of in pools.items()}
    table = jobs.wants.table(site, made, "entropy")
    assert table.amax == made.tables["entropy"]


def test_a_network_of_nothing_but_a_pool_has_one() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1])
    info = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 2, 2]) for name in "xy"
    ]
    model = helper.make_model(helper.make_graph([node], "g", info[:1], info[1:]))
    assert max_pools(model, {"x", "y"}) == {"y": "x"}
    assert take_inputs({"x": np.inf}, {"y": "x"}) == {"x": np.inf, "y": np.inf}
