"""An inner tensor as head in TensorRT, old and new, played by the fake of tests/fakes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import small_networks as networks
from tests.unit.archives import unpack
from tests.unit.matrices import Told, run_offline
from tests.unit.test_tensorrt_matrix import FAKES, MATRIX, at, png
from tests.unit.trips import answer_there
from trt_matrix.core.cells import Status
from trt_matrix.core.network.cutting import renamed
from trt_matrix.core.records import Record
from trt_matrix.packs.packing import pack
from trt_matrix.store.results import Store

HEADS = (
    "heads: {{inner: {{output: joined, variants: {{tiny-opset9.onnx: concat_7}}}}, small: {{}}}}"
)
VERSIONS = {"trt-5.1.5": "5.1.5", "trt-8.6.1": "8.6.1"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5.1.5 reads the opset-9 form, in which the tensor is called otherwise; `large` is no head."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc for the fake CUDA runtime")
    folder = tmp_path_factory.mktemp("inner")
    (folder / "images").mkdir()
    for index in range(2):
        (folder / "images" / f"{index}.png").write_bytes(png(index))
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    old = renamed(networks.old_detector(), {"joined": "concat_7"})
    (folder / "tiny-opset9.onnx").write_bytes(old.SerializeToString())
    text = MATRIX.replace("heads: {{large: {{stride: 4}}, small: {{stride: 2}}}}", HEADS)
    text = text.replace(", trt-11.0", "").replace("[fp32, tf32, int8]", "[fp32, int8]")
    (folder / "matrix.yaml").write_text(text.format(python=sys.executable))
    (folder / "cudart").mkdir()
    library = ["gcc", "-shared", "-fPIC", "-o", str(folder / "cudart" / "libcudart.so")]
    subprocess.run([*library, str(FAKES / "cudart" / "cudart.c")], check=True)
    for name, version in VERSIONS.items():
        packed = pack(
            folder / "matrix.yaml", folder / "results", folder / f"{name}.tar",
            select=[f"{name}/*"], progress=Told(),
        )  # fmt: skip
        there = folder / f"there-{name}"
        unpack(packed.file, there)
        answer_there(there, folder / "results", at(folder, version))
    run_offline(folder / "matrix.yaml")
    return folder


def records(run: Path) -> dict[str, Record]:
    return {record.cell: record for record in Store(run / "results").open_run("latest").records()}


@pytest.mark.parametrize(
    "cell",
    [
        "trt-5.1.5/gpu:*/fp32",
        "trt-5.1.5/gpu:*/int8-implicit-shared-entropy",
        "trt-8.6.1/gpu:*/fp32",
        "trt-8.6.1/gpu:*/int8-shared-entropy",
        "trt-8.6.1/gpu:*/int8-implicit-shared-entropy",
    ],
)
def test_every_form_gives_it_out_by_the_same_name(run: Path, cell: str) -> None:
    record = records(run)[cell]
    assert record.status is Status.OK, record.reason
    for measurement in record.measurements:
        assert set(measurement.outputs) == {"inner", "small"}
        assert (measurement.variant == "tiny-opset9.onnx") == ("5.1.5" in cell)


def test_the_reference_gives_it_out_and_what_no_head_is_is_in_no_cell(run: Path) -> None:
    manifest = Store(run / "results").open_run("latest").manifest()
    assert manifest.reference is not None
    assert set(manifest.reference.outputs) == {"inner", "small"}
    assert all("large" not in group.heads for group in manifest.lineage)
    assert len(manifest.facts["model"]["cut_from_sha256"]) == 64
