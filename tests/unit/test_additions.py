"""Cells to add: entries that matrix.yaml takes as they are, and that say one factor more each."""

from pathlib import Path

import pytest
import yaml

from tests.unit.probes import library, start
from trt_matrix.config.environments import Image, Interpreter, Ngc
from trt_matrix.config.matrix import Config, load
from trt_matrix.config.sections import OnnxRuntime
from trt_matrix.config.venv import Venv
from trt_matrix.core.factors.additions import addition
from trt_matrix.core.factors.cell_factors import factors
from trt_matrix.core.factors.places import FactorPoint
from trt_matrix.core.factors.words import reasons
from trt_matrix.core.records import Start
from trt_matrix.core.verdicts.attribution import Attribution, FactorChange

MATRIX = """
name: demo
model: {onnx: model.onnx}
heads: {small: {}}
data:
  calibration: {images: a}
  evaluation: {images: b}
baseline: ort-1.32
environments:
  - {venv: onnxruntime, versions: ["1.26.0", "1.32.0"]}
"""


def config_with(text: str | None, folder: Path) -> Config:
    """Returns matrix.yaml with `text` pasted below its environments."""
    assert text
    pasted = "".join(f"  {line}\n" for line in text.splitlines())
    path = folder / "matrix.yaml"
    path.write_text(MATRIX + pasted, "utf-8")
    config, _ = load(path)
    ids = config.environment_ids()
    assert len(set(ids)) == len(ids), "no id twice"
    return config


def place(start_: Start) -> FactorPoint:
    return FactorPoint(start_.environment, start_)


def uniform(*starts: Start) -> set[str]:
    one, other = (factors(start).values for start in starts)
    return {name for name in one if one.get(name) == other.get(name)}


def test_one_cell_separates_the_engine_from_numpy(tmp_path: Path) -> None:
    new, old = start("1.32.0", numpy="2.4.6"), start("1.18.1", numpy="1.26.4")
    found = addition(place(new), place(old), {"engine", "numpy"}, uniform=uniform(new, old))
    assert found.left == ()
    assert found.yaml == (
        '- {venv: onnxruntime, versions: ["1.32.0"], with: ["numpy==1.26.4"], '
        'name: "ort-numpy-1.26.4"}'
    )
    entry = config_with(found.yaml, tmp_path).environments[-1]
    assert isinstance(entry, Venv)
    assert entry.requirements(0) == ("onnxruntime==1.32.0", "numpy==1.26.4")
    assert entry.ids() == ("ort-numpy-1.26.4-1.32.0",)


def test_a_library_is_pinned_by_the_packages_it_came_with(tmp_path: Path) -> None:
    def of(version: str, cudnn: str) -> Start:
        one = library("/site/nvidia/cudnn/lib/libcudnn.so.9", cudnn, "nvidia-cudnn-cu12")
        return start(version, libraries=(one,), packages={"nvidia-cudnn-cu12": cudnn})

    new, old = of("1.32.0", "9.3.0.75"), of("1.22.1", "9.1.0.70")
    found = addition(place(new), place(old), {"engine", "cuDNN"}, uniform=uniform(new, old))
    entry = config_with(found.yaml, tmp_path).environments[-1]
    assert isinstance(entry, Venv)
    assert set(entry.requirements(0)) == {
        "onnxruntime==1.32.0", "numpy==2.4.6", "nvidia-cudnn-cu12==9.1.0.70",
    }  # fmt: skip


def test_three_factors_take_two_cells_each_one_factor_further(tmp_path: Path) -> None:
    new = start("1.32.0", numpy="2.4.6", python="3.11.7")
    old = start("1.18.1", numpy="1.26.4", python="3.9.18")
    found = addition(place(new), place(old), {"engine", "numpy", "Python"}, uniform=set())
    first, second = config_with(found.yaml, tmp_path).environments[-2:]
    assert isinstance(first, Venv)
    assert isinstance(second, Venv)
    assert (first.python, first.requirements(0)) == (
        "3.9.18", ("onnxruntime==1.32.0", "numpy==2.4.6"),
    )  # fmt: skip
    assert (second.python, second.requirements(0)) == (
        "3.9.18", ("onnxruntime==1.32.0", "numpy==1.26.4"),
    )  # fmt: skip


def test_an_option_is_stated_with_all_the_others(tmp_path: Path) -> None:
    one = start("1.32.0", options=OnnxRuntime(threads=1).model_dump())
    other = start("1.26.0", options=OnnxRuntime(threads=4).model_dump())
    found = addition(place(one), place(other), {"engine", "option threads"}, uniform=set())
    entry = config_with(found.yaml, tmp_path).environments[-1]
    assert isinstance(entry, Venv)
    assert entry.versions == ("1.32.0",)
    assert entry.options == OnnxRuntime(threads=4)


def test_requirements_keep_their_form(tmp_path: Path) -> None:
    def of(wheel: str, numpy: str) -> Start:
        stated = {
            "kind": "venv",
            "requirements": [f"onnxruntime @ file:///{wheel}.whl", "flatbuffers"],
        }
        return start(wheel, environment=f"own-{wheel}", numpy=numpy, identity=stated)

    one, other = of("a", "2.4.6"), of("b", "1.26.4")
    found = addition(place(one), place(other), {"engine", "numpy"}, uniform=uniform(one, other))
    entry = config_with(found.yaml, tmp_path).environments[-1]
    assert isinstance(entry, Venv)
    assert entry.requirements(0) == (
        "onnxruntime @ file:///a.whl", "flatbuffers", "numpy==1.26.4",
    )  # fmt: skip
    assert entry.ids() == ("own-a-numpy-1.26.4",)


def interpreter(version: str, cudnn: str, engine: str = "onnxruntime", **more: object) -> Start:
    stated = {
        "kind": "interpreter",
        "executable": f"/opt/trt {version}/bin/python",
        "libraries": {f"/opt/TensorRT-{version}/lib": {}},
        "variables": {"OMP_NUM_THREADS": "2"},
        **more,
    }
    folder = f"/opt/cudnn {cudnn}"
    return start(
        version,
        environment=f"trt-{version}",
        engine=engine,
        libraries=(library(f"{folder}/libcudnn.so.{cudnn}", cudnn),),
        identity=stated,
    )


def test_an_interpreter_takes_the_others_library_first(tmp_path: Path) -> None:
    one, other = interpreter("6.0.1", "7.6.3"), interpreter("5.1.5", "7.1.4")
    found = addition(place(one), place(other), {"engine", "cuDNN"}, uniform=uniform(one, other))
    entry = config_with(found.yaml, tmp_path).environments[-1]
    assert isinstance(entry, Interpreter)
    assert entry.interpreter == Path("/opt/trt 6.0.1/bin/python")
    assert entry.library_path == (Path("/opt/cudnn 7.1.4"), Path("/opt/TensorRT-6.0.1/lib"))
    assert entry.env == {"OMP_NUM_THREADS": "2"}
    assert entry.ids() == ("trt-6.0.1-cuDNN-7.1.4",)


def test_an_interpreter_states_its_engine_where_it_is_not_the_default() -> None:
    one, other = (interpreter(*each, "tensorrt") for each in (("6.0.1", "7.6.3"), ("5.1", "7.1")))
    found = addition(place(one), place(other), {"engine", "cuDNN"}, uniform=uniform(one, other))
    [entry] = yaml.safe_load(found.yaml or "")
    assert entry["engine"] == "tensorrt"


def test_what_no_entry_can_say_stays_together(tmp_path: Path) -> None:
    one, other = start("1.32.0"), start("1.26.0")
    found = addition(place(one), place(other), {"driver", "GPU"}, uniform=set())
    assert (found.yaml, found.left) == (None, ("GPU", "driver"))
    some = addition(place(one), place(other), {"driver", "GPU", "engine"}, uniform=set())
    assert some.left == ("GPU", "driver")
    assert isinstance(config_with(some.yaml, tmp_path).environments[-1], Venv)
    two = addition(place(one), place(other), {"driver", "engine"}, uniform=uniform(one, other))
    assert two.left == (), "with the engine's share known, the rest is the driver's"


def test_environments_of_two_kinds_share_no_entry() -> None:
    one, other = start("1.32.0"), interpreter("6.0.1", "7.6.3")
    found = addition(place(one), place(other), {"engine", "cuDNN"}, uniform=set())
    assert found.yaml is None


@pytest.mark.parametrize(
    "hostile", ["a: b", "x]}", '"quoted"', "ünï\n- {ngc: [evil]}", "no", "{", ""]
)
def test_hostile_text_stays_one_entry(hostile: str) -> None:
    one = interpreter("6.0.1", "7.6.3", executable=hostile, variables={hostile: hostile})
    other = interpreter("5.1.5", "7.1.4")
    found = addition(place(one), place(other), {"engine", "cuDNN"}, uniform=uniform(one, other))
    [entry] = yaml.safe_load(found.yaml or "")
    assert entry["interpreter"] == hostile
    assert entry["env"] == {hostile: hostile}


# Containers


def container(
    environment: str,
    version: str,
    gpu: str,
    *,
    device: str = "gpu:0",
    engine: str | None = None,
    **stated: object,
) -> Start:
    """A TensorRT container; `engine` is the id of another machine's Docker engine."""
    identity = {
        "kind": "image",
        "reference": f"nvcr.io/nvidia/tensorrt:{version}",
        "executable": "python3",
        **({"engine": engine} if engine else {}),
        **stated,
    }
    return start(
        version,
        environment=environment,
        device=device,
        engine="tensorrt",
        identity=identity,
        gpu={"name": gpu, "compute_capability": "9.0"},
    )


def test_on_one_machine_the_same_image_is_run_on_the_other_gpu() -> None:
    one = container("ngc-24.04-py3", "8.6.3", "H200")
    other = container("ngc-21.06-py3", "7.2.3", "T4", device="gpu:1")
    found = addition(place(one), place(other), {"engine", "GPU"}, uniform=set())
    assert (found.yaml, found.names, found.left) == (None, ("ngc-24.04-py3/gpu:1",), ())
    told = reasons(
        [
            (
                "ngc-21.06-py3",
                Attribution(
                    confounded=(
                        FactorChange(factor="GPU", baseline="H200", cell="T4"),
                        FactorChange(factor="TensorRT", baseline="8.6.3", cell="7.2.3"),
                    ),
                    addition=found,
                ),
            )
        ]
    )
    assert "run ngc-24.04-py3/gpu:1 to tell them apart" in told


def test_on_another_machine_the_same_tag_is_added_there(tmp_path: Path) -> None:
    one = container("ngc-24.04-py3", "8.6.3", "H200")
    other = container("box-ngc-21.06-py3", "7.2.3", "T4", engine="ABCD")
    factors_ = {"engine", "cuDNN", "GPU"}
    found = addition(place(one), place(other), factors_, uniform=set())
    assert found.names == ("box-ngc-24.04-py3",)
    assert found.left == ("cuDNN", "engine"), "both are in the image"
    entry = yaml.safe_load(found.yaml or "")[0]
    assert Ngc.model_validate(entry, strict=False).ids() == found.names
    back = addition(place(other), place(one), factors_, uniform=set())
    assert back.yaml == '- {ngc: ["21.06-py3"]}'
    assert back.names == ("ngc-21.06-py3",)
    pasted = config_with(back.yaml, tmp_path).environments[-1]
    assert isinstance(pasted, Ngc)


def test_an_image_of_the_users_own_is_written_out(tmp_path: Path) -> None:
    mine = container(
        "mine", "8.6.3", "T4", engine="ABCD", reference="mine:1", executable="/opt/py/bin/python"
    )
    here = container("ngc-21.06-py3", "7.2.3", "H200")
    found = addition(place(mine), place(here), {"engine", "GPU"}, uniform=set())
    entry = config_with(found.yaml, tmp_path).environments[-1]
    assert isinstance(entry, Image)
    assert (entry.image, entry.engine, entry.host) == ("mine:1", "tensorrt", None)
    assert entry.python == "/opt/py/bin/python"
    assert entry.ids() == found.names == ("mine-on-this-machine",)


def test_where_no_container_can_be_named_nothing_is_made_up() -> None:
    inside = addition(
        place(container("a", "8.6.3", "T4")), place(container("b", "7.2.3", "T4")),
        {"engine", "cuDNN"}, uniform=set(),
    )  # fmt: skip
    assert (inside.yaml, inside.names, inside.left) == (None, (), ("cuDNN", "engine"))
    added = {"id": "x", "because": "matrix.yaml asks for numpy"}
    one = container("a", "8.6.3", "T4", engine="ABCD", derived=added)
    other = container("b", "7.2.3", "H200", engine="EFGH")
    unknown = addition(place(one), place(other), {"engine", "GPU"}, uniform=set())
    assert (unknown.yaml, unknown.names) == (None, ()), "nobody knows what the hosts are called"
