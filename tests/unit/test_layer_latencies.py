"""Time that an engine told of its layers, as the cost of keeping them in float."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import diagnoses
from trt_matrix.core.diagnosis.latencies import (
    ProfileError,
    by_name,
    by_tensors,
    latency_shares,
    read_profile,
)
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.layers.engine_layers import LayerTime, LayerTimes
from trt_matrix.diagnosis.diagnosing import diagnose
from trt_matrix.diagnosis.subject import CellTimes, DiagnosisWish, Subject
from trt_matrix.store.results import Store

FUSED = "/model.0/conv/Conv + PWN(PWN(/model.0/act/Sigmoid), /model.0/act/Mul)"


def written(*layers: tuple[str, float]) -> bytes:
    rows = [{"name": name, "timeMs": 10 * ms, "averageMs": ms} for name, ms in layers]
    return json.dumps([{"count": 100}, *rows]).encode()


def test_what_is_fused_belongs_to_what_multiplies_and_what_is_added_to_nothing() -> None:
    added = f"Reformatting CopyNode for Input Tensor 0 to {FUSED}"
    profile = read_profile(written((added, 2), (FUSED, 3), ("b || other", 4), ("resize", 1)))
    work = {"/model.0/conv/Conv": 300, "b": 100}
    shares = latency_shares(by_name(profile, work), work)
    assert shares == pytest.approx({"/model.0/conv/Conv": 0.3, "b": 0.4})


def test_layers_that_run_as_one_share_its_time_by_their_work() -> None:
    work = {"a": 3, "b": 1}
    shares = latency_shares(by_name(read_profile(written(("a + b", 8), ("x", 2))), work), work)
    assert shares == pytest.approx({"a": 0.6, "b": 0.2})


def test_a_profile_of_another_network_is_refused() -> None:
    with pytest.raises(ProfileError, match="1 of the 2 layers that multiply, not 'b'"):
        latency_shares(by_name({"a": 1, "other": 1}, ("a", "b")), {"a": 1, "b": 1})


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[1]", b'[{"name": "a"}]', b"[{\"count\": 3}]", written(("a", 0)),
        b'[{"name": "a", "averageMs": -1}]', b'[{"name": "a", "averageMs": 1e999}]', b"[" * 9000,
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused(content: bytes) -> None:
    with pytest.raises(ProfileError):
        read_profile(content)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        found = read_profile(content)
    except ProfileError:
        return
    assert sum(found.values()) > 0


LAYERS = ("trunk1", "trunk2", "trunk3", "a1", "a", "b1", "b", "c1", "c")
DEAR = {name: (30.0 if name in ("trunk2", "trunk3") else 5.0) for name in LAYERS}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Both layers at the clipped tensor must be in float."""
    return diagnoses.subject(
        diagnoses.three_heads(),
        tmp_path_factory.mktemp("planted"),
        factors={"trunk2_out": 0.05},
        gates=dict.fromkeys(("head_a", "head_b", "head_c"), 20.0),
    )


def found(subject: Subject, **wish: Any) -> Diagnosis:
    return diagnose(
        subject, DiagnosisWish(most_cost=0.9, **wish), Store(subject.folder), lambda _: None
    )


def own(subject: Subject, times: Mapping[str, float], more: Sequence[LayerTime] = ()) -> Subject:
    """Returns the subject with what an engine of its run told: `times` of layers, by what they give out."""
    makers = {node.name: node for node in subject.model.graph.node}
    layers = [
        LayerTime(name=f"fused {number}", tensors=tuple(makers[name].output), seconds=ms / 1000)
        for number, (name, ms) in enumerate(times.items())
    ]
    layer_times = LayerTimes(runs=20, layers=(*layers, *more))
    return dataclasses.replace(subject, times=CellTimes(cell="trt/gpu:0/int8", times=layer_times))


def test_the_cheapest_set_is_the_cheapest_in_time(planted: Subject) -> None:
    """What the layers cost is what the engine told: in a file of trtexec's, or in our own job's answer."""
    added = LayerTime(
        name="Reformatting CopyNode for Input Tensor 0 to trunk1",
        tensors=tuple(planted.model.graph.node[0].output),
        seconds=0.095,
    )
    for diagnosis, share in (
        (found(planted, profile=DEAR), 60 / 95),
        (found(own(planted, DEAR)), 60 / 95),
        # What is added takes time, and is of no layer, though it is called after one.
        (found(own(planted, DEAR, [added])), 60 / 190),
        # What was asked for by hand counts before what was measured.
        (found(own(planted, dict.fromkeys(LAYERS, 1.0)), profile=DEAR), 60 / 95),
    ):
        assert diagnosis.cost_unit == "measured time"
        assert diagnosis.search.chosen is not None
        assert set(diagnosis.search.chosen.layers) == {"trunk2", "trunk3"}
        assert diagnosis.search.chosen.cost == pytest.approx(share)
    told = found(own(planted, DEAR))
    assert any("took in trt/gpu:0/int8, the median of 20 runs" in note for note in told.notes)


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ({"trunk1": 5.0}, "names 1 of the 9 layers"),  # the rest was compiled as a whole
        (dict.fromkeys(LAYERS, 0.0), "no layer in it took any time"),
        ({}, "no layer in it took any time"),
    ],
)
def test_times_that_are_no_use_are_told_and_not_used(
    planted: Subject, times: Mapping[str, float], why: str
) -> None:
    diagnosis = found(own(planted, times))
    assert diagnosis.cost_unit == "multiply-accumulates"
    assert diagnosis.search == found(planted).search
    assert any(why in note for note in diagnosis.notes)


def test_tensors_of_another_network_are_of_no_layer(planted: Subject) -> None:
    layer_times = [LayerTime(name="trunk1", tensors=("unknown",), seconds=1.0)]
    assert [by_tensor.layers for by_tensor in by_tensors(layer_times, planted.model, LAYERS)] == [
        frozenset()
    ]
