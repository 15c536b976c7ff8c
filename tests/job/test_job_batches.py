"""Images in batches: what each gives is what it gives alone, whatever fills a short batch up."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from job import batches, calibrate
from tests.job.tensorrt_jobs import (
    CALIBRATION_IMAGES,
    OLD,
    TIMING,
    Jobs,
    int8,
    old_network,
    reference,
)
from tests.job.tensorrt_jobs import calibrate as own
from tests.job.test_job_contract import answer, pass_answer
from tests.job.two_heads import TENSORS, golden, network, one_pass, write_request

SIZE = 4
"""Of 3 and of 6 images."""
BATCH = {"size": SIZE, "alone": False}


def batched(content: bytes, size: int | str = SIZE) -> bytes:
    """Returns a network of `network` or `old_network` that takes so many images."""
    model = onnx.load_from_string(content)
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in constants:
            first = value.type.tensor_type.shape.dim[0]
            if isinstance(size, int):
                first.dim_value = size
            else:
                first.dim_param = size
    return model.SerializeToString()


def test_a_short_batch_is_filled_with_its_own_images() -> None:
    images = np.arange(7, dtype=np.float32).reshape(7, 1)
    found = [(batches.of(images, start, 4)) for start in batches.starts(images, 4)]
    assert [(one.ravel().tolist(), count) for one, count in found] == [
        ([0, 1, 2, 3], 4),
        ([4, 5, 6, 4], 3),
    ]
    one, count = batches.of(images[:1], 0, 3)
    assert (one.ravel().tolist(), count) == ([0, 0, 0], 1)


def run(folder: Path, **changes: Any) -> Path:
    for name, tensors in (("model", ["large", "small"]), ("calibration", TENSORS[1:])):
        (folder / f"{name}.onnx").write_bytes(batched(network(tensors)))
    result = folder.parent / f"result{len(list(folder.parent.iterdir()))}"
    write_request(folder, golden() | {"batch": BATCH} | changes)
    answer(folder, result)
    return result


def stored(result: Path, name: str, head: str) -> Any:
    return np.load(result / "passes" / name / pass_answer(result, name)["outputs"][head]["file"])


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_every_image_gives_what_it_gives_alone(request_folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
    np.save(request_folder / "evaluation.npy", images)
    result = run(request_folder)
    found = pass_answer(result, "fp32")
    assert (found["status"], found["error"]) == ("ok", None)
    assert found["latency"]["batch"] == SIZE
    wanted = reference(network(["large", "small"]), images, ("large", "small"))
    for head, expected in zip(("large", "small"), wanted, strict=True):
        np.testing.assert_allclose(stored(result, "fp32", head), expected, rtol=1e-4, atol=1e-5)


def test_calibration_counts_what_it_counts_one_by_one(request_folder: Path) -> None:
    """Whole batches: 8 images in two. The largest magnitudes are the same, and the counts of entropy nearly."""
    rng = np.random.default_rng(2)
    images = rng.standard_normal((8, 3, 16, 16)).astype(np.float32)
    np.save(request_folder / "calibration.npy", images)
    result = run(request_folder)
    found = json.loads((result / "calibration.json").read_text())
    write_request(request_folder, golden())
    (request_folder / "calibration.onnx").write_bytes(network(TENSORS[1:]))
    (request_folder / "model.onnx").write_bytes(network(["large", "small"]))
    alone = request_folder.parent / "alone"
    answer(request_folder, alone)
    expected = json.loads((alone / "calibration.json").read_text())
    assert found["images"] == expected["images"] == 8
    for algorithm in ("minmax", "percentile", "mse"):
        for tensor, amax in expected["algorithms"][algorithm].items():
            assert found["algorithms"][algorithm][tensor] == pytest.approx(amax, rel=0.03)


def test_an_image_alone_fills_a_batch_where_an_output_is_of_all_images(
    request_folder: Path,
) -> None:
    model = onnx.load_from_string(batched(network(["large"])))
    model.graph.node.append(helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("most", onnx.TensorProto.FLOAT, []))
    heads = [["large", "large"], ["most", "most"]]
    changes = {"heads": heads, "calibration": None, "passes": [one_pass("fp32", model="most.onnx")]}
    (request_folder / "most.onnx").write_bytes(model.SerializeToString())
    result = run(request_folder, batch={"size": SIZE, "alone": True}, **changes)
    large, most = (stored(result, "fp32", head) for head in ("large", "most"))
    assert most.shape == (len(large),)
    np.testing.assert_array_equal(most, large.max(axis=(1, 2, 3)))
    # Several images at once have one maximum: nobody could tell whose it is.
    result = run(request_folder, **changes)
    told = pass_answer(result, "fp32")["error"]["message"]
    assert told.startswith(
        "head most has shape (): of a batch of 4 images the first axis has to be theirs"
    )


@pytest.mark.parametrize("count", [2, 4, 6])
def test_images_that_mix_in_the_network_are_found(request_folder: Path, count: int) -> None:
    """A batch of one is built in, and undone behind: the shape says nothing, and each image sees all."""
    model = onnx.load_from_string(batched(network(["large"])))
    shapes = {"one": [1, -1], "all": [SIZE, 6, 4, 4]}
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape, "i8"), name))
    model.graph.node.extend(
        [
            helper.make_node("Reshape", ["large", "one"], ["row"]),
            helper.make_node("Softmax", ["row"], ["shares"], axis=1),
            helper.make_node("Reshape", ["shares", "all"], ["mixed"]),
        ]
    )
    model.graph.output[0].name = "mixed"
    (request_folder / "mixed.onnx").write_bytes(model.SerializeToString())
    images = np.random.default_rng(3).standard_normal((count, 3, 16, 16)).astype(np.float32)
    np.save(request_folder / "evaluation.npy", images)
    changes = {"heads": [["mixed", "mixed"]], "calibration": None, "timing": None}
    result = run(request_folder, **changes, passes=[one_pass("fp32", model="mixed.onnx")])
    told = pass_answer(result, "fp32")["error"]["message"]
    assert "what it gives for an image depends on the other images of its batch of 4" in told


@pytest.mark.parametrize("size", [0, -1, True, 1.5, None, "4"])
def test_a_batch_that_is_none_is_refused(request_folder: Path, size: Any) -> None:
    request = golden() | {"batch": {"size": size, "alone": False}}
    write_request(request_folder, request)
    result = request_folder.parent / "result"
    found = answer(request_folder, result)
    assert "batch.size is" in found["error"]["message"]


def test_one_batch_after_another_is_counted_once() -> None:
    """What fills a short batch up are images of it: the maximum is theirs, never zero's."""

    class Session:
        def run(self, inputs: Any, _outputs: Any) -> list[Any]:
            (image,) = inputs.values()
            assert len(image) == SIZE
            return [image * 2]

    images = np.linspace(1, 5, 5, dtype=np.float32).reshape(5, 1)
    (found,) = calibrate.calibrate(Session(), "x", images, ["y"], ["minmax"], lambda _: None, SIZE)
    assert found.amax == 10


needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the fake CUDA runtime needs gcc"
)


@needs_gcc
@pytest.mark.parametrize("version", ["5.0.6", "6.0.1", "7.2.3", "8.5.3.1", "10.3.0"])
@pytest.mark.parametrize("free", [False, True])
def test_tensorrt_is_given_batches(jobs: Jobs, version: str, free: bool) -> None:
    """Fixed, free, and no axis at all (5 and 6): fp32, an own calibration of 6 images, layers' times."""
    old = version in OLD
    if old and free:
        pytest.skip("its parser strips the batch")
    plain = old_network() if old else network(["large", "small"])
    (jobs.folder / "batch.onnx").write_bytes(batched(plain, "batch" if free else SIZE))
    calibrator = "entropy" if version.startswith("5.0") else "entropy2"
    passes = [
        one_pass("fp32", model="batch.onnx"),
        int8("own", own(calibrator), model="batch.onnx"),
    ]
    ended = jobs.run(version, passes, batch=BATCH, timing={**TIMING, "layer_runs": 1})
    assert (ended.code, ended.live) == (0, "live 0"), ended.log
    assert [ended.pass_(pass_["name"])["error"] for pass_ in passes] == [None, None], ended.log
    images = np.load(jobs.folder / "evaluation.npy")
    for head, expected in zip(
        ("large", "small"), reference(plain, images, ("large", "small")), strict=True
    ):
        np.testing.assert_allclose(ended.output("fp32", head), expected, rtol=1e-4, atol=1e-5)
    assert ended.pass_("fp32")["latency"]["batch"] == SIZE
    assert ended.told("own", "build")["quantisation"]["images"] == CALIBRATION_IMAGES
    # The largest magnitude over all images, those of the short last batch among them.
    alone = jobs.run(
        version, [int8("own", own(calibrator), model="old.onnx" if old else "model.onnx")]
    )
    caches = [
        (one.result / "passes" / "own" / one.pass_("own")["cache"]).read_bytes()
        for one in (ended, alone)
    ]
    assert caches[0] == caches[1]


@needs_gcc
def test_a_network_of_another_batch_is_refused(jobs: Jobs) -> None:
    ended = jobs.run("8.5.3.1", [one_pass("fp32")], batch=BATCH)
    told = ended.pass_("fp32")["error"]["message"]
    assert "input 'image' has shape (1, 3, 16, 16), images have (4, 3, 16, 16)" in told
