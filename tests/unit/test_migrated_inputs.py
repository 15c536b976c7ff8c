"""`migrate` and `check` work on the network with the shapes and constants that matrix.yaml says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.unit.experiments import changed, write
from tests.unit.public_networks import paddle
from tests.unit.small_networks import run
from trt_matrix.commands.migration.files import network_of
from trt_matrix.commands.migration.migrating import MigrationWish, migrate_to_qdq
from trt_matrix.commands.migration.sources import as_stated, made_up, source_of
from trt_matrix.commands.migration.told import qdq_text
from trt_matrix.config import matrix as configuration
from trt_matrix.core.network import graph
from trt_matrix.core.tables.table import Provenance, Table, to_json
from trt_matrix.errors import ConfigError


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = write(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(paddle().SerializeToString())
    say(path, constants={"scale_factor": [2, 4]})
    return path


def say(matrix: Path, **model: Any) -> None:
    heads: dict[str, Any] = {"large": {}, "on_image": {}}
    places = changed(
        heads=heads, data__evaluation__labels=None, model={"onnx": "tiny.onnx", **model}
    )
    matrix.write_text(yaml.safe_dump(places))


def test_a_table_goes_into_the_network_that_matrix_yaml_feeds(matrix: Path) -> None:
    """PaddleDetection's has three inputs: the cache is of one that was fed an image."""
    folder = matrix.parent
    source = source_of(None, matrix)
    names = {
        name for node in source.model.graph.node for name in (*node.input, *node.output) if name
    }
    table = Table(amax=dict.fromkeys(names, 4.0), provenance=Provenance(algorithm="minmax"))
    (folder / "table.json").write_text(to_json(table))
    wish = MigrationWish(table=folder / "table.json", output=folder / "qdq.onnx", config=matrix)
    done = migrate_to_qdq(wish)
    model = onnx.load(folder / "qdq.onnx")
    assert [(tensor.name, tensor.shape) for tensor in graph.inputs(model)] == [
        ("image", (1, 3, 16, 16))
    ]
    image = np.random.default_rng(0).uniform(0, 1, (1, 3, 16, 16)).astype("f4")
    others = {"im_shape": np.ones((1, 2), "f4"), "scale_factor": np.array([[2, 4]], "f4")}
    there = run(paddle(), {"image": image, **others})
    here = run(model, {"image": image})
    assert np.abs(here["on_image"] - there["on_image"]).max() < 0.5, (
        "8 bits; without the factors it is twice"
    )
    assert done.compared is not None
    assert "tiny.onnx is prepared before it runs: 'scale_factor' is the constant" in qdq_text(done)


def test_without_a_word_of_inputs_the_network_stays_as_it_is(matrix: Path) -> None:
    say(matrix)
    source = source_of(None, matrix)
    assert [tensor.name for tensor in graph.inputs(source.model)] == [
        "image",
        "im_shape",
        "scale_factor",
    ]
    assert source.notes == ()
    with pytest.raises(ConfigError, match="it has 3 inputs: image .* model.constants"):
        made_up(source, matrix.parent)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"constants": {"scale": [1, 1]}}, "model.constants.scale (line "),
        ({"constants": {"scale_factor": [1, 1, 1]}}, "model.constants.scale_factor (line "),
        ({"shapes": {"image": [1, 3, 16, 16]}}, "tiny.onnx: the network takes 3 inputs"),
    ],
)
def test_what_does_not_fit_is_told_where_it_stands(
    matrix: Path, model: dict[str, Any], told: str
) -> None:
    say(matrix, **model)
    with pytest.raises(ConfigError) as caught:
        as_stated(
            network_of(matrix.parent / "tiny.onnx"),
            matrix.parent / "tiny.onnx",
            *configuration.load(matrix),
        )
    assert any(told in problem for problem in caught.value.problems)
