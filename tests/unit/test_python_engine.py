"""engine: python, from matrix.yaml to records: what is refused, planned, run and judged; and a named reference."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.unit import experiments
from tests.unit.experiments import changed, problems, wrong
from tests.unit.matrices import Told, run_offline
from trt_matrix.core.cells import Status
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record
from trt_matrix.errors import ConfigError, EnvironmentUnavailableError
from trt_matrix.execution.answer_models import PassAnswer
from trt_matrix.execution.answers import AnswerError, ResultFolder
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.planning.experiment import read_experiment
from trt_matrix.store.results import Store
from trt_matrix.ticket import again
from trt_matrix.ticket.jobs import OWN_FUNCTION, obstacle
from trt_matrix.ticket.requests import job_id

PROGRAM = """
import onnxruntime as ort
import numpy as np

def load(network):
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    session = ort.InferenceSession(network, settings)
    names = [one.name for one in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {session.get_inputs()[0].name: images})))

def coarse(network):
    run = load(network)
    return lambda images: {head: np.round(one * 4) / 4 for head, one in run(images).items()}

def broken(images):
    return {"large": images.nothing}
"""


def entry(**more: Any) -> dict[str, Any]:
    given = {"interpreter": sys.executable, "name": "mine", "engine": "python"}
    return {**given, "entry_point": "program.py:load", **more}


def of(*environments: Mapping[str, Any], **places: Any) -> dict[str, Any]:
    return changed(environments=list(environments), baseline=environments[0]["name"], **places)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """matrix.yaml, beside all that it names and program.py."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return experiments.write(tmp_path)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (entry(entry_point=None), "engine: python needs `entry_point: file.py:function`"),
        (entry(engine="onnxruntime"), "entry_point: belongs to `engine: python`, the engine here is onnxruntime"),
        (entry(entry_point="program:load"), "'program:load' is no entry point: file.py:function"),
        (entry(entry_point="program.py"), "is no entry point"),
        (entry(entry_point={"fp32": "a.py:f", "int8": "b.py:f"}), "functions in a.py and b.py: an environment has one file"),
        (entry(entry_point={"int4": "a.py:f"}), "allowed: fp32, tf32, fp16, bf16, int8, int8-qdq"),
        (entry(entry_point={}), "entry_point: empty; name at least one"),
        (entry(options={"threads": 2}), "a function has no options of an engine"),
        ({"venv": {"requirements": ["x"]}, "name": "x", "files": ["w"]}, "files: belongs to `engine: python`"),
        ({"venv": {"requirements": ["x=={version}"]}, "name": "x"}, "{version} stands for each of `versions`"),
        ({"venv": {"requirements": ["x==1"]}, "name": "x", "versions": ["1"]}, "leave out `versions`, or write {version}"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_entry_is_told(given: dict[str, Any], told: str) -> None:
    found = problems(of({k: v for k, v in given.items() if v is not None}))
    assert any(told in one for one in found), found


def test_versions_are_put_where_requirements_want_them() -> None:
    venv = {
        "venv": {"requirements": ["openvino=={version}", "numpy<3"]},
        "versions": ["2026.4.1", "2025.3.0"],
    }
    given = of({**entry(), **venv, "name": "ov"} | {"interpreter": None})
    del given["environments"][0]["interpreter"]
    one = experiments.config(given).environments[0]
    assert one.ids() == ("ov-2026.4.1", "ov-2025.3.0")
    assert one.requirements(1) == ("openvino==2025.3.0", "numpy<3")  # type: ignore[union-attr]
    assert one.engine == "python"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (entry(entry_point="absent.py:load"), "absent.py: No such file"),
        (entry(entry_point="program.py:laod"), "program.py defines no 'laod'; did you mean 'load'?"),
        (entry(files=["weights.pb"]), "weights.pb: No such file"),
        (entry(files=["labels.json", "more/labels.json"]), "a second file called labels.json"),
        (entry(files=["empty"]), "this folder is empty"),
        (entry(files=["a b.bin"]), "'a b.bin' is no plain name"),
    ],
)  # fmt: skip
def test_what_the_entry_names_is_looked_at_by_plan(
    tiny: Path, given: dict[str, Any], told: str
) -> None:
    folder = tiny.parent
    (folder / "more").mkdir()
    (folder / "empty").mkdir()
    (folder / "more" / "labels.json").write_text("{}")
    (folder / "a b.bin").write_text("")
    found = wrong(tiny, of(given))
    assert any(told in one for one in found), found


def test_functions_that_only_running_finds_are_left_to_the_run(tiny: Path) -> None:
    for text in (
        "from x import *",
        "if True:\n    def load(): pass",
        "match = load = 3; print 'two'",
    ):
        (tiny.parent / "program.py").write_text(text)
        assert wrong(tiny, of(entry())) == []


def test_a_folder_travels_whole_and_without_bytecode(tiny: Path) -> None:
    saved = tiny.parent / "here" / "saved_model"
    (saved / "variables").mkdir(parents=True)
    (saved / "__pycache__").mkdir()
    for name in ("saved_model.pb", "variables/v.index", "__pycache__/x.pyc"):
        (saved / name).write_text(name)
    tiny.write_text(yaml.safe_dump(of(entry(files=["here/saved_model"]))))
    (functions,) = experiments.checked(tiny).functions.values()
    assert set(functions.files) == {
        "program.py",
        "saved_model/saved_model.pb",
        "saved_model/variables/v.index",
    }


EVERY = {
    "fp32": "program.py:load",
    "int8": "program.py:coarse",
    "int8-qdq": "program.py:load",
    "bf16": "program.py:coarse",
}


@pytest.mark.parametrize(
    ("functions", "precisions", "passes"),
    [
        ("program.py:load", ["fp32", "fp16", "int8"], ["fp32"]),
        (EVERY, ["fp32", "int8"], ["fp32", "int8-shared-entropy", "int8-own"]),
        (EVERY, ["fp32", "bf16"], ["fp32", "bf16"]),
        ({"int8": "program.py:coarse"}, ["fp32", "int8"], ["int8-own"]),
    ],
)  # fmt: skip
def test_it_has_the_passes_that_it_has_functions_for(
    tiny: Path, functions: Any, precisions: list[str], passes: list[str]
) -> None:
    tiny.write_text(yaml.safe_dump(of(entry(entry_point=functions), precisions=precisions)))
    assert [cell.pass_.name for cell in read_experiment(tiny, ["*"]).cells] == passes


def test_a_function_on_a_gpu_has_cells_on_gpus(tiny: Path) -> None:
    tiny.write_text(yaml.safe_dump(of(entry(device="gpu"), devices=["cpu", "gpu:0"])))
    assert [cell.device for cell in read_experiment(tiny, []).cells] == ["gpu:0"]


def test_a_changed_file_is_another_cell(tiny: Path) -> None:
    (tiny.parent / "weights.bin").write_bytes(b"1")
    tiny.write_text(yaml.safe_dump(of(entry(files=["weights.bin"]))))
    before = read_experiment(tiny, []).engine_options["mine"]
    assert read_experiment(tiny, []).engine_options["mine"] == before
    (tiny.parent / "weights.bin").write_bytes(b"2")
    weights = read_experiment(tiny, []).engine_options["mine"]
    (tiny.parent / "program.py").write_text(PROGRAM + "\n")
    program = read_experiment(tiny, []).engine_options["mine"]
    assert len({json.dumps(one) for one in (before, weights, program)}) == 3


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("their", "no environment is called 'their'"),
        ("mine/int8", "'int8' is none of the passes"),
        ("mine/fp16", "mine has no pass fp16; a function has one that `entry_point` names"),
        ("ngc-19.09-py3", "cannot run here: "),
    ],
)
def test_a_reference_that_cannot_be_is_told(tiny: Path, reference: str, told: str) -> None:
    tiny.write_text(
        yaml.safe_dump(
            of(
                entry(),
                {"ngc": ["19.09-py3"], "name": "ngc"},
                reference=reference,
                devices=["cpu", "gpu:0"],
            )
        )
    )
    with pytest.raises(ConfigError, match=told):
        read_experiment(tiny, [])


def test_axes_in_another_order_are_told_with_what_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "result" / "passes" / "fp32"
    folder.mkdir(parents=True)
    np.save(folder / "large.npy", np.zeros((2, 4, 4, 6), np.float32))
    answer = PassAnswer.model_validate_json(json.dumps({
        "schema_version": 1, "name": "fp32", "status": "ok", "error": None, "stages": {}, "latency": None,
        "outputs": {"large": {"file": "large.npy", "shape": [2, 4, 4, 6]}}, "executed": None, "compare": None,
        "build": None, "layers": None, "cache": None, "model": None, "refused": {},
    }))  # fmt: skip
    read = ResultFolder(tmp_path / "result")
    with pytest.raises(
        AnswerError, match=r"stand in another order, as in TensorFlow: .transpose\(0, 3, 1, 2\)"
    ):
        read.output("fp32", "large", answer, images=2, shape=(2, 6, 4, 4))
    with pytest.raises(AnswerError, match=r"the reference's is \(2, 5, 4, 4\): the two cannot"):
        read.output("fp32", "large", answer, images=2, shape=(2, 5, 4, 4))


# The real job


QUICK = {"min_samples": 2, "max_samples": 3, "max_s": 0.01, "warm_up_max_s": 0.01}
HERE = {"interpreter": sys.executable, "name": "here"}


class Ran:
    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        (folder / "program.py").write_text(PROGRAM)
        path = experiments.write(folder)
        path.write_text(yaml.safe_dump({**settings, "repeats": 1, "timing": QUICK}))
        self.told = Told()
        self.source = path
        try:
            run_offline(path, folder / "results", told=self.told)
        finally:
            self.folder = folder / "results" / "latest"
            self.run = Store(folder / "results").open_run("latest")
            self.manifest: Manifest = self.run.manifest()
            self.records: dict[str, Record] = {record.cell: record for record in self.run.records()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    every = {**EVERY, "bf16": "program.py:broken"}
    return Ran(
        tmp_path_factory.mktemp("functions"),
        of(HERE, entry(entry_point=every), precisions=["fp32", "bf16", "int8"], reference="mine"),
    )


def test_its_rows_are_rows_as_any_other(ran: Ran) -> None:
    statuses = {
        cell: record.status for cell, record in ran.records.items() if cell.startswith("mine")
    }
    assert statuses == {
        "mine/cpu/fp32": Status.OK,
        "mine/cpu/bf16": Status.JOB_FAILED,
        "mine/cpu/int8-shared-entropy": Status.OK,
        "mine/cpu/int8-own": Status.OK,
    }
    measurement = ran.records["mine/cpu/int8-shared-entropy"].measurements[0]
    other = ran.records["here/cpu/int8-shared-entropy"].measurements[0]
    assert (measurement.model_sha256, measurement.table, measurement.placement) == (
        other.model_sha256,
        other.table,
        other.placement,
    )
    assert measurement.start is not None
    assert measurement.start.probe["engine"]["name"] == "onnxruntime"
    assert len(measurement.latency.samples_s) >= 2 if measurement.latency else False
    own = ran.records["mine/cpu/int8-own"].measurements[0]
    assert own.table is None, "nobody knows with which table"


def test_what_its_function_raised_is_its_cells_reason(ran: Ran) -> None:
    failed = ran.records["mine/cpu/bf16"]
    assert "program.py:broken raised AttributeError" in (failed.reason or "")
    assert "program.py line 17 in broken" in (failed.reason or "")
    log = failed.measurements[0].log_tail or ""
    assert 'return {"large": images.nothing}' in log
    assert "engines/python.py" not in log, "our own lines help nobody"
    assert log.splitlines()[-1].startswith("bf16: failed in stage "), "not what came after it"


def test_errors_are_against_the_named_reference(ran: Ran) -> None:
    assert ran.manifest.reference is not None
    assert ran.manifest.reference.start is not None
    assert ran.manifest.reference.start.environment == "mine"
    assert ran.manifest.facts["reference"]["cell"] == "mine/cpu/fp32"
    assert ran.manifest.facts["reference"]["version"]
    assert any("every error is against mine/cpu/fp32" in line for line in ran.told.lines)
    judged = JudgementFile.read(ran.folder / "judgement.json").judgement
    found = {result.cell.id: [head.error for head in result.heads] for result in judged.cells}
    assert [metrics.nmse for metrics in found["mine/cpu/fp32"]] == [0, 0]
    coarse = [metrics.sqnr_db for metrics in found["mine/cpu/int8-own"]]
    assert len(coarse) == 2
    assert all(one is not None and 5 < one < 60 for one in coarse)


def test_a_ticket_has_no_job_of_it_and_says_why(ran: Ran) -> None:
    assert obstacle(ran.manifest.asked, ran.records["mine/cpu/fp32"]) == OWN_FUNCTION
    assert obstacle(ran.manifest.asked, ran.records["here/cpu/fp32"]) is None


def test_without_its_reference_nothing_is_compared(tmp_path: Path) -> None:
    given = of(HERE, entry(entry_point="program.py:broken"), reference="mine")
    with pytest.raises(
        EnvironmentUnavailableError,
        match=r"the reference \(mine\) could not run .* raised AttributeError",
    ):
        Ran(tmp_path, given)


def test_a_function_in_a_strangers_ticket_is_not_run(ran: Ran, tmp_path: Path) -> None:
    record = ran.records["mine/cpu/fp32"]
    asked = tmp_path / "requests" / f"{job_id(record.cell)}.json"
    asked.parent.mkdir()
    asked.write_text(json.dumps({"engine": "python"}))
    rerun = again._run(
        tmp_path, tmp_path / "job", record, read_experiment(ran.source, []).reference
    )
    assert (rerun.word, rerun.reason) == ("cannot judge", again.OWN_FUNCTION)
    assert not (tmp_path / "job").exists()
