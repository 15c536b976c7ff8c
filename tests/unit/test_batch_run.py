"""`model: {batch: 4}`: seven images to calibrate, six to judge, by the command's way and the real job."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper
from PIL import Image

from tests.unit.public_networks import dynamic, rt_detr
from tests.unit.small_networks import Builder, detector
from tests.unit.test_shipped_run import FOLDERS, Ran
from trt_matrix.commands import init, session
from trt_matrix.core.cells import Status
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.prepared.preparing import InputWishes, PreparationError, prepare
from trt_matrix.errors import ConfigError

BATCH, CALIBRATION, EVALUATION = 4, 7, 6
PIXELS = {"mean": 0.5, "std": 0.25}


def images(folder: Path) -> None:
    random = np.random.default_rng(3)
    for part, count in (("calibration", CALIBRATION), ("evaluation", EVALUATION)):
        (folder / part).mkdir()
        for index in range(count):
            coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            fine = Image.fromarray(coarse).resize((16, 16), Image.Resampling.BILINEAR)
            fine.save(folder / part / f"{index}.png")


def made(folder: Path, **model: Any) -> Ran:
    images(folder)
    return Ran(folder, dynamic(["batch", 3, 16, 16]), {**FOLDERS, "preprocess": PIXELS}, **model)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return made(tmp_path_factory.mktemp("batched"), batch=BATCH)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same one by one, calibrated with the four images that fill a batch."""
    folder = tmp_path_factory.mktemp("alone")
    data = {**FOLDERS, "preprocess": PIXELS}
    data["calibration"] = {"images": "calibration", "limit": BATCH}
    images(folder)
    return Ran(folder, dynamic(["batch", 3, 16, 16]), data)


def test_every_cell_gives_what_it_gives_one_by_one(ran: Ran, alone: Ran) -> None:
    assert {record.status for record in ran.records.values()} == {Status.OK}
    assert ran.records.keys() == alone.records.keys()
    assert ran.manifest.images == EVALUATION
    for name in ran.records:
        for head in ("large", "small"):
            one, other = (sums(run, name, head) for run in (ran, alone))
            assert len(one) == EVALUATION
            assert one["r2"] == pytest.approx(other["r2"], rel=1e-4)
            assert one["y2"] == pytest.approx(other["y2"], rel=1e-3)
            if name != "fp32":  # the same errors, image by image
                assert one["d2"] == pytest.approx(other["d2"], rel=1e-2)


def sums(run: Ran, name: str, head: str) -> Any:
    """Returns the sums of each image against the reference."""
    reference = run.manifest.reference
    assert reference is not None
    outputs = run.records[name].measurements[0].outputs
    return run.run.store.sums(outputs[head], reference.outputs[head], 1e-3)


def test_limits_and_what_is_known_of_images_are_the_same(ran: Ran, alone: Ran) -> None:
    """Simulations of tables, and maxima of each image: both go through batches too."""

    def sqnr(run: Ran) -> dict[tuple[str, str], float]:
        return {
            (str(simulation.placement), head): run.sqnr(simulation.outputs, head)
            for simulation in run.manifest.simulations
            for head in simulation.outputs
        }

    here, there = sqnr(ran), sqnr(alone)
    assert here
    shared = here.keys() & there.keys()
    assert [here[one] for one in shared] == pytest.approx([there[one] for one in shared], abs=0.1)
    found = ran.manifest.calibration
    assert found is not None
    assert found == alone.manifest.calibration


def test_a_time_is_told_for_the_batch_and_for_an_image(ran: Ran) -> None:
    folder = ran.results / "latest"
    page, summary = ((folder / name).read_text() for name in ("report.html", "summary.md"))
    timing = ran.records["fp32"].measurements[0].latency
    assert timing is not None
    assert timing.batch == BATCH
    assert "batch 4, " in page
    assert " an image" in page
    assert "(batch 4, " in summary
    with (folder / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    row = next(row for row in rows if row["latency_median_s"])
    assert float(row["latency_image_s"]) == pytest.approx(float(row["latency_median_s"]) / BATCH)


def test_what_becomes_of_images_that_fill_no_batch_is_told(ran: Ran) -> None:
    told = "\n".join(ran.told.lines)
    assert "4 images are fed at once (model.batch)" in told
    assert "calibration: 4 of 7 images fill batches of 4; the last 3 are left out" in told
    assert "evaluation: the last 2 of 6 images fill a batch of 4 by coming again" in told


def test_a_plan_knows_what_was_measured(ran: Ran) -> None:
    plan = session.plan_experiment(ran.source, ran.results, select=[])
    assert sum(plan.known.values()) == len(plan.cells)


def with_settings(ran_: Ran, folder: Path, model: onnx.ModelProto, **settings: Any) -> Path:
    """Writes the matrix of a run for another network; returns it."""
    written = yaml.safe_load(ran_.source.read_text())
    images(folder)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    written["model"] |= settings
    written["heads"] = {value.name: {} for value in model.graph.output}
    (folder / "matrix.yaml").write_text(yaml.safe_dump(written))
    return folder / "matrix.yaml"


def test_a_head_whose_images_cannot_be_told_apart_is_refused_before_anything_runs(
    ran: Ran, tmp_path: Path
) -> None:
    """One image is built into a Reshape, which gives the boxes of all in one row."""
    b = Builder()
    b.conv("image", "map", 3, 6, strides=[4, 4])
    b.weight("one", np.array([1, 6, -1], "i8"))
    b.node("Reshape", ["map", "one"], "rows")
    source = with_settings(ran, tmp_path, b.model({"image": [1, 3, 16, 16]}, ["map", "rows"]))
    with pytest.raises(ConfigError) as caught:
        session.plan_experiment(source, tmp_path / "results", select=[])
    told = "\n".join(caught.value.problems)
    assert (
        "head rows has the shape [1, 6, 64]: of a batch of 4 images the first size has to be 4"
        in told
    )
    assert "head map" not in told
    assert "model.batch" in told


def test_what_is_given_for_one_image_is_every_images() -> None:
    prepared = prepare(rt_detr(), InputWishes(batch=3, constants={"orig_target_sizes": [16, 8]}))
    (value,) = (
        tensor for tensor in prepared.model.graph.initializer if tensor.name == "orig_target_sizes"
    )
    assert numpy_helper.to_array(value).tolist() == [[16, 8]] * 3
    own = prepare(
        rt_detr(), InputWishes(batch=2, constants={"orig_target_sizes": [[16, 8], [4, 2]]})
    )
    (value,) = (
        tensor for tensor in own.model.graph.initializer if tensor.name == "orig_target_sizes"
    )
    assert numpy_helper.to_array(value).tolist() == [[16, 8], [4, 2]]
    with pytest.raises(PreparationError, match="one symbol is one size"):
        prepare(rt_detr(), InputWishes(batch=3, constants={"orig_target_sizes": [[16, 8], [4, 2]]}))


def built_in() -> onnx.ModelProto:
    """Exported for four images, which a Reshape holds: it takes no other number."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[4, 4])], "r1")
    b.conv("r1", "map", 8, 6, k=1)
    b.weight("sizes", np.array([BATCH, 6, 16], "i8"))
    b.node("Reshape", ["map", "sizes"], "rows", name="rows_of_four")
    return b.model({"image": [BATCH, 3, 16, 16]}, ["rows"])


def test_a_batch_that_is_built_in_is_what_init_writes(tmp_path: Path) -> None:
    found = likely(built_in())
    assert (found.wishes.batch, found.wishes.shapes) == (BATCH, {})
    text = init.text(Path("net.onnx"), built_in())
    assert yaml.safe_load(text)["model"] == {"onnx": "net.onnx", "batch": BATCH}
    with pytest.raises(PreparationError, match=r"feed 4 at once: model: \{batch: 4\}"):
        prepare(built_in(), InputWishes())
    # A network that takes any number is fed one by one still.
    assert likely(dynamic([BATCH, 3, 16, 16])).wishes.batch == 1


def test_another_batch_than_the_file_has_is_refused_with_what_to_write() -> None:
    with pytest.raises(PreparationError) as caught:
        prepare(built_in(), InputWishes(batch=8))
    assert "images are fed 8 at once, so its batch is to be 8" in str(caught.value)
    assert "or feed 4 at once: model: {batch: 4}" in str(caught.value)
    with pytest.raises(PreparationError, match="does not take 'image' as"):
        prepare(built_in(), InputWishes(batch=8, shapes={"image": (8, 3, 16, 16)}))


def test_one_image_in_the_file_is_no_limit_where_nothing_holds_it() -> None:
    prepared = prepare(detector(), InputWishes(batch=BATCH))
    shapes = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in prepared.model.graph.output
    ]
    assert [shape[0] for shape in shapes] == [BATCH, BATCH]


def test_diagnose_says_of_a_batch_what_it_says_of_images_alone(ran: Ran, alone: Ran) -> None:
    from trt_matrix.core.diagnosis.quantisers import quantised
    from trt_matrix.diagnosis.from_run import of_run
    from trt_matrix.diagnosis.simulator import Simulator

    found = []
    for one in (ran, alone):
        subject = of_run(one.run, None)
        simulator = Simulator(quantised(subject.model, subject.table, subject.options), ["large"])
        image = subject.image(5)
        assert len(image) == 1
        (value,) = simulator.run(image, simulator.found.state).values()
        found.append(value)
    assert found[0].shape == found[1].shape
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)
