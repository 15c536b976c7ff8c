"""Which table is carried with equal ranges, and what is told of that, and of nodes in float, before anything runs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.unit import experiments
from tests.unit.small_networks import Builder, detector, resized
from tests.unit.test_equal_ranges_command import UNEQUAL
from trt_matrix.config.data import CalibrationSection
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.records import StoredObject
from trt_matrix.execution.inputs import ImageArrays
from trt_matrix.planning.experiment import Experiment, read_experiment
from trt_matrix.planning.placing import carrier_notes, range_notes


@pytest.mark.parametrize(
    ("content", "equal"),
    [
        ({}, True),
        ({"shared": "best"}, True),
        ({"shared": None}, True),
        ({"equal_ranges": False}, False),
        ({"shared": {"table": Path("user.cache")}}, False),
        ({"shared": {"table": Path("results/latest/tables/7301ca8fe2ff.json")}}, False),
        ({"shared": {"table": Path("user.cache")}, "equal_ranges": None}, False),
        ({"shared": {"table": Path("user.cache")}, "equal_ranges": True}, True),
    ],
)
def test_a_file_is_tried_as_it_is_and_a_table_of_the_run_made_equal(
    content: dict[str, Any], *, equal: bool
) -> None:
    assert CalibrationSection.model_validate(content).carried_equal is equal


@pytest.mark.parametrize("equal", [False, True])
def test_two_ranges_around_a_resizing_are_told_before_anything_runs(*, equal: bool) -> None:
    (note,) = range_notes("user.cache", resized(), UNEQUAL, equal=equal)
    assert note.startswith("user.cache ")
    if equal:
        assert "1 range changed" in note
        assert "up 3 → 4" in note
        assert "equal_ranges: false" in note
    else:
        assert "resize 4 before and 3 behind it" in note
        assert "1 resizing:" in note
        assert "equal_ranges: true" in note


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize(
    ("form", "amax"),
    [
        (resized(), UNEQUAL | {"up": 4.0}),
        (resized(), UNEQUAL | {"up": 4.0 * (1 - 1e-7)}),  # a float32 apart
        (resized(), {"image": 1.0, "a": 4.0, "head": 9.0}),  # nothing to be read at
        (resized("cubic"), UNEQUAL),  # it computes values of its own
    ],
)
def test_nothing_is_told_of_ranges_that_lose_nothing(
    form: onnx.ModelProto, amax: dict[str, float], *, equal: bool
) -> None:
    assert range_notes("user.cache", form, amax, equal=equal) == ()


def test_of_other_nodes_than_resizings_no_loss_is_known_and_none_is_told() -> None:
    b = Builder(0)
    b.conv("image", "a", 3, 4, name="first")
    b.node("MaxPool", ["a"], "pooled", kernel_shape=[2, 2], strides=[2, 2], name="pool")
    b.conv("pooled", "head", 4, 2, name="last")
    form = canonical(b.model({"image": [1, 3, 8, 8]}, ["head"]))
    amax = {"image": 1.0, "a": 4.0, "pooled": 3.0, "head": 9.0}
    assert range_notes("user.cache", form, amax, equal=False) == ()
    assert "pooled 3 → 4" in range_notes("user.cache", form, amax, equal=True)[0]


ENGINES = ("tensorrt", "onnxruntime")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_node_without_weights_may_run_on_integers_where_its_neighbours_do(engine: str) -> None:
    (note,) = carrier_notes(resized(), [(engine, ["resize"])])
    assert note.startswith("resize has no weights: ")
    (note,) = carrier_notes(resized(joined=True), [(engine, ["resize", "resize2", "side"])])
    assert note.startswith("resize and resize2 have no weights: ")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kept", [["first"], ["last"], ["first", "resize", "last"]])
def test_what_has_weights_or_stands_among_floats_runs_on_no_integers(
    engine: str, kept: list[str]
) -> None:
    assert carrier_notes(resized(), [(engine, kept)]) == ()


def experiment(folder: Path, select: str = "*", **more: Any) -> Experiment:
    """One of TensorRT elsewhere, whose resizing has two ranges in the user's cache, and is asked into float."""
    source = experiments.write(folder)
    names = [node.output[0] for node in detector().graph.node]
    amax = dict.fromkeys(["image", *names], 4.0) | {"up": 3.0}
    lines = [f"{name}: {np.float32(value / 127).view(np.uint32):x}" for name, value in amax.items()]
    (folder / "user.cache").write_text("\n".join(["TRT-8503-EntropyCalibration2", *lines, ""]))
    places: dict[str, Any] = {
        "calibration__shared": {"table": "user.cache"},
        "quantisation__mixed": ["resize_up"],
        "environments": [{"elsewhere": ["trt-8.5.3.1"]}],
        "baseline": "trt-8.5.3.1",
        "devices": ["gpu:*"],
    }
    source.write_text(yaml.safe_dump(experiments.changed(**places | more)))
    return read_experiment(source, [select])


def notes(folder: Path, select: str = "*", **more: Any) -> tuple[str, ...]:
    return experiment(folder, select, **more).notes


@pytest.mark.parametrize(
    ("more", "equal"),
    [
        ({}, False),
        ({"calibration__equal_ranges": True}, True),
        ({"calibration__shared": "entropy"}, True),
    ],
)
def test_cells_are_measured_with_what_was_told(
    tmp_path: Path, more: dict[str, Any], *, equal: bool
) -> None:
    images = StoredObject(sha256="0" * 64, suffix=".npy", size_bytes=0)
    data = ImageArrays(
        evaluation=images, calibration=images, evaluation_images=2, calibration_images=2
    )
    assert experiment(tmp_path, **more).wants(data).settings.equal_ranges is equal


def test_of_a_network_without_a_float_form_nothing_is_told(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    assert len(made.notes) > 1
    made.network.is_float = False
    assert not any("two ranges" in note or "no weights" in note for note in made.notes)


def test_a_run_tells_both_of_the_cells_that_it_plans(tmp_path: Path) -> None:
    told = notes(tmp_path)
    assert sum("two ranges around 1 resizing: resize_up" in one for one in told) == 1
    assert sum(one.startswith("resize_up has no weights") for one in told) == 1


def test_a_run_tells_nothing_of_cells_that_it_does_not_plan(tmp_path: Path) -> None:
    told = notes(tmp_path, select="*/int8-shared-file")
    assert not any("two ranges" in one or "no weights" in one for one in told)


def test_implicit_int8_holds_what_is_asked_for(tmp_path: Path) -> None:
    told = notes(tmp_path, select="*/int8-implicit-mixed", calibration__equal_ranges=True)
    assert not any("no weights" in one for one in told)
    assert sum("up 3 → 4" in one for one in told) == 1
