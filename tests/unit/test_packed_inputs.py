"""Networks of several inputs that differ from sample to sample: `data: {evaluation: {arrays: …}}` of .npz files."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import yaml
from onnx import TensorProto, helper

from tests.unit.experiments import changed, checked, write, wrong
from tests.unit.matrices import run_offline
from tests.unit.small_networks import Builder
from tests.unit.test_shipped_run import Ran
from trt_matrix.cli import app
from trt_matrix.commands import session
from trt_matrix.commands.migration.sources import source_of
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.network import graph
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.core.prepared.preparing import InputWishes, PreparationError, prepare
from trt_matrix.errors import ConfigError
from trt_matrix.inputs.samples import stack
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.planning.matrix import ONE_SCALE
from trt_matrix.store.results import Store

FOLDERS = {"calibration": {"arrays": "a"}, "evaluation": {"arrays": "b"}}


def sized(batch: int | str = 1) -> onnx.ModelProto:
    """A detector's end: what convolutions give, times the size of each image, where a truth value allows it."""
    b = Builder()
    b.node("Relu", [b.conv("images", "c1", 3, 8, strides=[2, 2])], "r1")
    b.conv("r1", "c2", 8, 4)
    b.node("GlobalAveragePool", ["c2"], "pooled")
    b.node("Flatten", ["pooled"], "boxes")
    b.node("Cast", ["sizes"], "float_sizes", to=TensorProto.FLOAT)
    b.node("Concat", ["float_sizes", "float_sizes"], "both", axis=1)
    b.node("Mul", ["boxes", "both"], "scaled")
    b.node("Where", ["wanted", "scaled", "boxes"], "large")
    model = b.model({"images": [batch, 3, 16, 16]}, [])
    for name, kind, shape in (
        ("sizes", TensorProto.INT64, [batch, 2]),
        ("wanted", TensorProto.BOOL, [batch, 1]),
    ):
        model.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    model.graph.output.append(helper.make_tensor_value_info("large", TensorProto.FLOAT, [batch, 4]))
    return model


def state() -> onnx.ModelProto:
    """Sound and a state whose batch is its second axis."""
    b = Builder()
    b.weight("w", b.random.normal(0, 0.2, (20, 8)).astype("f4"))
    b.node("MatMul", ["sound", "w"], "m")
    b.node("ReduceMean", ["state"], "mean", axes=[0], keepdims=0)
    b.node("Add", ["m", "mean"], "large")
    return b.model({"sound": [1, 20], "state": [2, 1, 8]}, ["large"])


def samples(count: int, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {
            "images": random.normal(0, 1, (3, 16, 16)).astype("f4"),
            "sizes": random.integers(100, 2000, 2),
            "wanted": np.array([index % 2 == 0]),
        }
        for index in range(count)
    ]


def fill(folder: Path, count: int = 4) -> None:
    for part, seed in (("a", 0), ("b", 1)):
        (folder / part).mkdir(exist_ok=True)
        for index, array in enumerate(samples(count, seed)):
            np.savez(folder / part / f"{index}.npz", **array)


def put(folder: Path, model: onnx.ModelProto) -> None:
    if not (folder / "matrix.yaml").exists():
        write(folder)
    (folder / "tiny.onnx").write_bytes(model.SerializeToString())


def told(folder: Path, model: onnx.ModelProto, **places: Any) -> list[str]:
    put(folder, model)
    return wrong(
        folder / "matrix.yaml", changed(heads={"large": {}}, **{"data": FOLDERS, **places})
    )


def answer(model: onnx.ModelProto, fed: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["large"], dict(fed))[0])


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_fed_as_one_gives_what_several_inputs_gave(opset: int, batch: int) -> None:
    model = sized("N")
    model.opset_import[0].version = opset
    prepared = prepare(model, InputWishes(each=True, batch=batch))
    (info,) = graph.inputs(prepared.model)
    assert (info.name, info.dtype, info.shape) == ("samples", "float32", (batch, 3 * 256 + 2 + 1))
    onnx.checker.check_model(prepared.model, full_check=True)
    some = samples(batch, 5)
    apart = {name: np.stack([array[name] for array in some]) for name in some[0]}
    rows = [np.concatenate([value.ravel() for value in array.values()]) for array in some]
    packed = np.stack(rows).astype("f4")
    assert np.array_equal(answer(prepared.model, {"samples": packed}), answer(model, apart))


def test_an_input_without_a_batch_is_fed_whole() -> None:
    prepared = prepare(state(), InputWishes(each=True))
    assert prepared.parts == (
        InputPart("sound", (20,), "float32"),
        InputPart("state", (2, 1, 8), "float32", batched=False),
    )
    random = np.random.default_rng(0)
    fed = {"sound": random.normal(size=(1, 20)), "state": random.normal(size=(2, 1, 8))}
    fed = {name: value.astype("f4") for name, value in fed.items()}
    packed = np.concatenate([value.ravel() for value in fed.values()])[None]
    assert np.array_equal(answer(prepared.model, {"samples": packed}), answer(state(), fed))
    with pytest.raises(PreparationError, match="batch"):
        prepare(state(), InputWishes(each=True, batch=3))


def test_a_constant_beside_stays_one(tmp_path: Path) -> None:
    fill(tmp_path)
    assert told(tmp_path, sized(), model__constants={"wanted": [True]}) == []
    found = checked(tmp_path / "matrix.yaml")
    assert [part.name for part in found.parts] == ["images", "sizes"]


def test_a_network_with_a_tensor_called_samples_keeps_it() -> None:
    model = sized()
    for node in model.graph.node:
        node.input[:] = ["samples" if name == "boxes" else name for name in node.input]
        node.output[:] = ["samples" if name == "boxes" else name for name in node.output]
    (info,) = graph.inputs(prepare(model, InputWishes(each=True)).model)
    assert info.name == "samples_"


def test_with_images_it_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, sized(), data=changed()["data"])
    assert "say what the others are fed, the same with every image" in problem
    assert "an .npz with an array an input: data: {evaluation: {arrays: FOLDER}}" in problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"sizes": None}, "input 'sizes': no .npz of numbers: no array in it is called 'sizes'"),
        ({"sizes": np.array([1.5, 2])}, "input 'sizes': the network takes int64: whole numbers"),
        ({"sizes": np.array([(1 << 24) + 1, 2])}, "input 'sizes': holds whole numbers above 2^24"),
        ({"wanted": np.array([2])}, "input 'wanted': the network takes truth values: 0 and 1"),
        ({"images": np.zeros((3, 8, 8))}, "input 'images': has the shape (3, 8, 8)"),
    ],
)
def test_a_sample_that_lacks_something_is_named(
    tmp_path: Path, content: dict[str, Any], problem: str
) -> None:
    one = {**samples(1, 9)[0], **content}
    path = tmp_path / "1.npz"
    np.savez(path, **{name: value for name, value in one.items() if value is not None})
    parts = prepare(sized(), InputWishes(each=True)).parts
    with pytest.raises(ConfigError) as caught:
        stack([path], parts, tmp_path / "made")
    (found,) = caught.value.problems
    assert found.startswith(f"{path}: {problem}")


def test_one_array_alone_is_not_several(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.zeros(3))
    with pytest.raises(ConfigError) as caught:
        stack(
            [tmp_path / "0.npy"], prepare(sized(), InputWishes(each=True)).parts, tmp_path / "made"
        )
    assert list(caught.value.problems) == [
        f"{tmp_path / '0.npy'}: one array alone: the network takes several, so give an .npz with an array for each"
    ]


def test_what_the_parts_hold_decides_whether_boxes_can_be(tmp_path: Path) -> None:
    fill(tmp_path)
    assert told(tmp_path, sized()) == []
    found = checked(tmp_path / "matrix.yaml")
    assert (found.shape, found.sample, found.boxless) == ((3, 16, 16), (771,), False)
    assert told(tmp_path, state()) == []
    assert checked(tmp_path / "matrix.yaml").boxless


def test_implicit_int8_is_not_tried_since_it_has_one_scale_for_all(tmp_path: Path) -> None:
    fill(tmp_path)
    environments = [{"interpreter": sys.executable, "name": "rt", "engine": "tensorrt"}]
    assert (
        told(tmp_path, sized(), environments=environments, baseline="rt", devices=["gpu:0"]) == []
    )
    cells = session.plan_experiment(tmp_path / "matrix.yaml", tmp_path / "results", select=[]).cells
    implicit = [cell for cell in cells if cell.pass_.implicit]
    assert implicit
    assert {cell.obstacle for cell in implicit} == {(Status.UNSUPPORTED, ONE_SCALE)}
    assert all(
        cell.obstacle != (Status.UNSUPPORTED, ONE_SCALE)
        for cell in cells
        if not cell.pass_.implicit
    )


# A run

FUNCTION = """
import numpy as np
import onnxruntime

def fp32(network):
    session = onnxruntime.InferenceSession("own.onnx", providers=["CPUExecutionProvider"])
    def run(inputs):
        assert {name: str(one.dtype) for name, one in inputs.items()} == TYPES
        return {"large": session.run(["large"], inputs)[0]}
    return run

TYPES = {"images": "float32", "sizes": "int64", "wanted": "bool"}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("packed")
    fill(folder)
    found = Ran(folder, sized(), FOLDERS)
    (folder / "function.py").write_text(FUNCTION)
    (folder / "own.onnx").write_bytes(sized().SerializeToString())
    content = yaml.safe_load(found.source.read_text())
    content["environments"].append(
        {
            "interpreter": sys.executable,
            "name": "mine",
            "engine": "python",
            "entry_point": "function.py:fp32",
            "files": ["own.onnx"],
        }
    )
    found.source.write_text(yaml.safe_dump(content))
    run_offline(found.source, found.results)
    return found


def test_every_engine_is_fed_what_each_sample_brings(ran: Ran) -> None:
    run = Store(ran.results).open_run("latest")
    records = {record.cell: record for record in run.records()}
    assert {record.status for record in records.values()} == {Status.OK}
    assert "mine/cpu/fp32" in records
    assert any("int8" in record for record in records)
    reference = run.manifest().reference
    assert reference is not None
    for index, array in enumerate(samples(4, 1)):
        there = answer(sized(), {name: value[None] for name, value in array.items()})[0]
        here = run.store.array(reference.outputs["large"])[index]
        assert np.allclose(here, there, rtol=1e-5)
        own = run.store.array(records["mine/cpu/fp32"].measurements[0].outputs["large"])[index]
        assert np.allclose(own, there, rtol=1e-5)


def test_no_part_has_the_scale_of_another(ran: Ran) -> None:
    """Sizes reach 2000, pixels 4: with one scale for both nothing would be left of these."""
    judgement = JudgementFile.read(ran.results / "latest").judgement
    kept = [
        head.error.sqnr_db
        for cell in judgement.cells
        if cell.cell.pass_.precision is Precision.INT8
        for head in cell.heads
    ]
    assert kept
    assert min(one for one in kept if one is not None) > 25


def test_init_reads_from_the_samples_what_each_brings(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for index, array in enumerate(samples(4, 0)):
        np.savez(tmp_path / "samples" / f"{index}.npz", **array)
    (tmp_path / "net.onnx").write_bytes(sized("N").SerializeToString())
    matrix = tmp_path / "matrix.yaml"
    arguments = ["init", str(tmp_path / "net.onnx"), "--images", str(tmp_path / "samples")]
    assert (app([*arguments, "-o", str(matrix)], standalone_mode=False) or 0) == 0
    content = yaml.safe_load(matrix.read_text())
    assert "constants" not in content["model"]
    assert content["model"]["shapes"]["sizes"] == [1, 2]
    assert "images [3, 16, 16], sizes [2], wanted [1]" in " ".join(matrix.read_text().split("#"))
    session.plan_experiment(matrix, tmp_path / "results", select=[])


def test_init_says_what_it_wrote_of_inputs_without_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without what the samples bring nothing can be proposed: neither is an image."""
    (tmp_path / "samples").mkdir()
    for index in range(2):
        np.savez(
            tmp_path / "samples" / f"{index}.npz",
            sound=np.zeros((1, 20), "f4"),
            state=np.full((2, 1, 8), index, "f4"),
        )
    (tmp_path / "net.onnx").write_bytes(state().SerializeToString())
    matrix = tmp_path / "matrix.yaml"
    arguments = ["init", str(tmp_path / "net.onnx"), "--images", str(tmp_path / "samples")]
    assert (app([*arguments, "-o", str(matrix)], standalone_mode=False) or 0) == 0
    told = capsys.readouterr().out
    assert "'sound' and 'state' are fed as one tensor, and cut apart inside" in told
    assert "preprocessing" not in told
    assert yaml.safe_load(matrix.read_text())["decode"] == "none"
    session.plan_experiment(matrix, tmp_path / "results", select=[])


def test_init_proposes_constants_where_samples_bring_one_input_alone(tmp_path: Path) -> None:
    brought = {"images": (3, 16, 16)}
    assert likely(sized(), brought).wishes.constants == {"sizes": [16, 16], "wanted": [False]}
    assert likely(sized(), {**brought, "sizes": (2,), "wanted": (1,)}).wishes.each


def test_migrate_makes_no_network_of_our_own_input(tmp_path: Path) -> None:
    fill(tmp_path)
    assert told(tmp_path, sized(), model__constants={"wanted": [True]}) == []
    with pytest.raises(ConfigError, match="say in model.constants what all but one are fed"):
        source_of(None, tmp_path / "matrix.yaml")
