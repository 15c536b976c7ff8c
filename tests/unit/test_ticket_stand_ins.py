"""Weights and images that stay at home: none of them is in the ticket, and the fault is looked for."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.unit import small_networks as networks
from tests.unit import tickets
from tests.unit.test_ticket import CELL, local
from trt_matrix.core.network.graph import GraphError
from trt_matrix.ticket.again import rerun
from trt_matrix.ticket.making import MadeTicket, TicketWish, make
from trt_matrix.ticket.random_data import random_images, random_weights


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tickets.run(tmp_path_factory.mktemp("stand-ins"))


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def networks_in(ticket: MadeTicket) -> list[onnx.ModelProto]:
    with zipfile.ZipFile(ticket.path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".onnx")]
        return [onnx.load_from_string(archive.read(name)) for name in names]


def arrays_in(ticket: MadeTicket) -> list[np.ndarray]:
    with zipfile.ZipFile(ticket.path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return [np.load(io.BytesIO(archive.read(name))) for name in names]


def test_no_weight_of_the_network_is_left(results: Path, tmp_path: Path) -> None:
    ticket = make("latest", results, tmp_path / "t.zip", TicketWish(no_weights=True))
    real = np.unique(
        np.concatenate([weight.ravel() for weight in weights(tickets.detector()).values()])
    )
    real = real[~np.isin(real, (1, 2))]  # the scales of its Resize
    models = networks_in(ticket)
    assert len(models) >= 3
    for model in models:
        floats = [
            weight.ravel() for weight in weights(model).values() if weight.dtype == np.float32
        ]
        assert not np.isin(np.concatenate(floats), real).any()
    stand_in = ticket.content.stand_in
    assert stand_in
    assert stand_in.what == ("weights",)
    assert set(stand_in.heads) == {"large", "small"}
    assert all(stand_in.heads["small"].values())
    assert ("NOT survive" in stand_in.sentence) is not stand_in.survives
    done = rerun(ticket.path, CELL, offline=True, environment_of=local)
    assert done.word == "cannot judge"
    assert "stands in for the original" in done.reason
    assert [line.split()[-1] for line in done.table[1:]] != ["-", "-"], "it runs all the same"


def test_no_image_is_left(results: Path, tmp_path: Path) -> None:
    ticket = make("latest", results, tmp_path / "t.zip", TicketWish(no_images=True))
    given_ = [array for array in arrays_in(ticket) if array.shape == (4, 3, 16, 16)]
    own = np.load(next(iter(sorted((results / ".store" / "objects").glob("*.npy")))))
    assert given_
    for path in (results / ".store" / "objects").glob("*.npy"):
        own = np.load(path)
        if own.dtype == np.float32 and own.shape == (4, 3, 16, 16):
            for image in own:
                assert not any(np.allclose(image, one) for array in given_ for one in array)
    assert ticket.content.stand_in
    assert ticket.content.stand_in.what == ("images",)
    assert ("images", "reproduce") in {(out.kind, out.file) for out in ticket.content.removed}


def test_random_weights_have_the_statistics_of_the_real_ones() -> None:
    model = networks.detector()
    model_proto, count = random_weights(model, 3)
    real, drawn = weights(model), weights(model_proto)
    assert count == len(real) - 1
    assert np.array_equal(drawn["twice"], real["twice"]), "the scales of Resize are no weights"
    for name, array in real.items():
        if array.ndim == 4:
            np.testing.assert_allclose(
                drawn[name].mean((1, 2, 3)), array.mean((1, 2, 3)), atol=1e-6
            )
            np.testing.assert_allclose(drawn[name].std((1, 2, 3)), array.std((1, 2, 3)), rtol=1e-4)
            assert not np.isin(drawn[name], array).any()
    assert weights(random_weights(model, 3)[0])["c1.weight"].tolist() == drawn["c1.weight"].tolist()
    onnx.checker.check_model(model_proto)


def test_weights_in_constants_and_inner_graphs_are_replaced() -> None:
    values = np.linspace(-1, 1, 100, dtype=np.float32)
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(values))],
        "inner", [], [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [100])],
    )  # fmt: skip
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)], "outer",
        [onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [100])],
        [numpy_helper.from_array(np.arange(-50, 50, dtype=np.int8), "quantised")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph)
    model_proto, count = random_weights(model, 0)
    assert count == 3
    assert values.tobytes() not in model_proto.SerializeToString()
    assert weights(model_proto)["quantised"].dtype == np.int8
    model.graph.sparse_initializer.add()
    with pytest.raises(GraphError, match="sparse weights"):
        random_weights(model, 0)


def test_random_images_have_the_values_and_the_smoothness_of_the_real_ones() -> None:
    rows = np.linspace(0, 1, 32, dtype=np.float32)
    real = np.stack([np.outer(rows, rows) ** power for power in (0.5, 1, 2)])[:, None]
    made = random_images(real, 5, 1)
    assert made.shape == (5, 1, 32, 32)
    assert made.dtype == np.float32
    assert (made.min(), made.max()) == (real.min(), real.max())
    assert abs(made.mean() - real.mean()) < 0.01

    def roughness(images: np.ndarray) -> float:
        return float(np.abs(np.diff(images, axis=-1)).mean())

    noise = np.random.default_rng(0).permuted(made.reshape(5, -1), axis=1).reshape(made.shape)
    assert roughness(made) < 0.5 * roughness(noise)


@given(st.integers(0, 20), st.integers(1, 8))
def test_random_images_of_any_shape(seed: int, count: int) -> None:
    flat = np.full((2, 1, 3, 4), 0.25, np.float32)
    assert np.allclose(random_images(flat, count, seed), 0.25)
