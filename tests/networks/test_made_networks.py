"""Every kind of network in one command: `init NETWORK --images FOLDER --run`, nothing edited, in ONNX Runtime."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.networks.first_report import as_the_file_says, fill, first_report
from tests.networks.kinds import KINDS
from tests.unit.quantised import sqnr
from trt_matrix.core.cells import Precision, Status

TRIED = list(KINDS)[:: 6 if os.environ.get("CI") else 1]
"""All kinds, five minutes on two cores; with CI, which has half an hour for everything, every sixth."""


@pytest.mark.parametrize("name", TRIED)
def test_a_first_report_in_one_command(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    model = kind.make()
    file = tmp_path / "net.onnx"
    file.write_bytes(model.SerializeToString())
    fill(tmp_path / "samples", kind.samples, kind.shape)
    made = first_report(file, tmp_path / "samples", tmp_path)

    assert {(record.cell, record.status) for record in made.records} == {
        (record.cell, Status.OK) for record in made.records
    }
    assert any(record.pass_.precision is Precision.INT8 for record in made.records)
    assert "<title>" in made.page

    floats = [
        tensor.name for tensor in model.graph.output if tensor.type.tensor_type.elem_type in FLOATS
    ]
    tensors = {
        name: (head or {}).get("output", name) for name, head in made.written["heads"].items()
    }
    assert list(tensors.values()) == list(kind.heads or floats)

    # The reference is the user's own file, whatever was done to it.
    asked, reference = made.manifest.asked, made.manifest.reference
    assert asked is not None
    assert reference is not None
    assert made.manifest.images == 3
    constants = made.written["model"].get("constants", {})
    for index in range(made.manifest.images if kind.least is not None else 0):
        fed = made.store.array(asked.evaluation)[index]
        there = as_the_file_says(model, fed, constants, list(tensors.values()))
        for head, tensor in tensors.items():
            here = made.store.array(reference.outputs[head])[index]
            wanted = np.asarray(there[tensor], "f4").reshape(-1)[: here.size]
            assert sqnr(here.reshape(-1), wanted) >= (kind.least or 0)


FLOATS = {
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16,
}  # fmt: skip
