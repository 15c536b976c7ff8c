import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.experiments import changed, checked, config, problems, settings
from trt_matrix.config import matrix as configuration
from trt_matrix.config.environments import KINDS
from trt_matrix.config.matrix import Config, validate
from trt_matrix.config.venv import Venv
from trt_matrix.config.yaml_file import Document
from trt_matrix.core.cells import Precision
from trt_matrix.errors import ConfigError

ROOT = Path(__file__).parents[2]


# Shape


def test_the_committed_schema_is_that_of_the_types() -> None:
    committed = json.loads((ROOT / "runner/matrix.schema.json").read_text())
    assert committed == configuration.schema(), "run `make schema`"


def test_the_schema_does_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = configuration.schema()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert configuration.schema() == before
    assert "threads" not in json.dumps(before["properties"]["engines"])


def test_the_schema_knows_every_key() -> None:
    schema = configuration.schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    assert "with" in schema["$defs"]["Venv"]["properties"]


def test_what_is_left_out_has_a_default() -> None:
    found = config(settings())
    assert found.precisions == (Precision.FP32, Precision.INT8)
    assert (found.devices, found.repeats, found.deadline_s) == (("cpu",), 3, 1800)
    assert (found.calibration.algorithms, found.calibration.shared) == (
        ("entropy", "minmax"),
        "entropy",
    )
    assert found.data.preprocess.resize == "letterbox"
    assert found.heads["small"].gate.sqnr_db == 20
    assert found.heads["large"].gate.sqnr_db is None


def test_the_demo_is_valid() -> None:
    found = checked(ROOT / "matrix.yaml")
    assert found.baseline == "ort-1.32.0"
    assert len(found.config.environment_ids()) == 12
    assert [head for head, _ in found.heads] == ["large", "medium", "small"]
    assert len(found.calibration) >= 128
    assert len(found.evaluation) >= 128


def entry(**keys: Any) -> dict[str, Any]:
    return changed(environments=[keys], baseline="x")


def test_ids() -> None:
    one = config(
        changed(
            environments=[
                {"venv": "onnxruntime", "versions": ["1.26.0"]},
                {"venv": "onnxruntime-gpu", "versions": ["1.26.0"]},
                {"venv": "onnxruntime", "versions": ["1.26.0", "1.27.0"], "name": "old"},
                {"venv": {"requirements": ["onnxruntime @ file:///ort.whl"]}, "name": "own"},
                {"interpreter": "/opt/python", "name": "tar"},
                {"ngc": ["19.09-py3"]},
            ]
        )
    )
    assert one.environment_ids() == (
        "ort-1.26.0", "ort-gpu-1.26.0", "old-1.26.0", "old-1.27.0", "own", "tar", "ngc-19.09-py3",
    )  # fmt: skip


def venv_of(settings: Config) -> Venv:
    venv = settings.environments[0]
    assert isinstance(venv, Venv)
    return venv


def test_requirements_of_an_environment() -> None:
    one = config(entry(venv="onnxruntime", versions=["1.1", "1.2"], **{"with": ["numpy<2"]}))
    assert venv_of(one).requirements(1) == ("onnxruntime==1.2", "numpy<2")
    two = config(entry(venv={"requirements": ["a", "b"]}, name="x", **{"with": ["c"]}))
    assert venv_of(two).requirements(0) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("keys", "provider"),
    [
        ({"venv": "onnxruntime", "versions": ["1"]}, "CPUExecutionProvider"),
        ({"venv": "onnxruntime-gpu", "versions": ["1"]}, "CUDAExecutionProvider"),
        ({"interpreter": "p", "name": "x"}, "CPUExecutionProvider"),
        (
            {"interpreter": "p", "name": "x", "options": {"provider": "TensorrtExecutionProvider"}},
            "TensorrtExecutionProvider",
        ),
    ],
)
def test_the_provider_follows_from_the_package(keys: dict[str, Any], provider: str) -> None:
    one = config(entry(**keys))
    assert one.onnxruntime_of(one.environments[0]).provider == provider


def test_own_options_replace_the_general_ones() -> None:
    content = entry(venv="onnxruntime", versions=["1"], options={"graph_optimization": "basic"})
    content["engines"] = {"onnxruntime": {"threads": 3, "graph_optimization": "disabled"}}
    one = config(content)
    assert one.engines.onnxruntime.threads == 3
    assert one.onnxruntime_of(one.environments[0]).graph_optimization == "basic"


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"repeat": 3}, "repeat: unknown key; allowed: name, guessed, model, heads, data, gate, decode, "
                        "calibration, quantisation, precisions, repeats, devices, baseline, reference, environments, "
                        "hosts, engines, timing, deadline_s, results_gb, keep, verdicts, report; did you mean 'repeats'?"),
        ({"data__preprocess": {"sice": [1, 1]}}, "data.preprocess.sice: unknown key; allowed: resize, position, filter, "
                        "size, scale, mean, std, color, pad; did you mean 'size'?"),
        ({"heads": {"a": {"gates": {}}}}, "heads.a.gates: unknown key; allowed: output, variants, stride, anchors, "
                        "role, scale_x_y, gate; did you mean 'gate'?"),
        ({"heads": {"a": {"gate": {"sqnr": 1}}}}, "heads.a.gate.sqnr: unknown key; allowed: ap_drop, "
                        "ap50_drop, iou, lost, sqnr_db, fp16, tf32, bf16; did you mean 'sqnr_db'?"),
        ({"environments": [{"elsewhere": ["x"], "options": {"threads": 1}}]},
                        "environments[0]: these are no options of tensorrt, which is inside; it has: "
                        "workspace_bytes, typed, fallback, fp32_layers, "),
        ({"environments": [{"interpreter": "p", "name": "x", "options": {"typed": "weak"}}]},
                        "environments[0]: these are no options of onnxruntime, which is inside"),
        ({"environments": [{"elsewhere": ["x"], "options": {"typed": "weak", "fp32_layer": []}}]},
                        "environments[0].options.fp32_layer: unknown key"),
        ({"heads": {}}, "heads: empty; name at least one"),
        ({"heads": {"": {}}}, "heads: a head's name has 1 to 200 characters, '' has 0"),
        ({"heads": None}, "heads: "),
        ({"name": "größe"}, 'name: "größe" becomes part of file names'),
        ({"name": "../x"}, 'name: "../x" becomes part of file names'),
        ({"name": ""}, 'name: "" becomes part of file names'),
        ({"precisions": []}, "precisions: empty; name at least one"),
        ({"precisions": ["int4"]}, "precisions[0]: \"int4\" is not known here; allowed: fp32, tf32, "
                        "fp16, bf16, int8; did you mean 'int8'?"),
        ({"devices": ["gpu"]}, "devices[0]: 'gpu' is no device; cpu, gpu:*, gpu:0, gpu:NAME or GPU-uuid"),
        ({"devices": ["../cpu"]}, "devices[0]: '../cpu' is no device"),
        ({"devices": []}, "devices: empty"),
        ({"devices": "cpu"}, "devices: should be a valid array"),
        ({"repeats": 0}, "repeats: should be greater than or equal to 1, is 0"),
        ({"repeats": "3"}, 'repeats: should be a valid integer, is "3"'),
        ({"repeats": {"min": 4, "max": 3}}, "repeats: min 4 is above max 3"),
        ({"repeats": {"min": 0}}, "repeats.min: should be greater than or equal to 1, is 0"),
        ({"repeats": {"most": 3}}, "repeats.most: unknown key; allowed: min, max"),
        ({"repeats": [2, 3]}, "repeats: should be a valid integer"),
        ({"repeats": True}, "repeats: should be a valid integer, is true"),
        ({"repeats": 2.5}, "repeats: should be a valid integer"),
        ({"deadline_s": float("nan")}, "deadline_s: should be a finite number"),
        ({"deadline_s": float("inf")}, "deadline_s: should be a finite number"),
        ({"calibration__algorithms": ["entropi"]}, "calibration.algorithms[0]: \"entropi\" is not known "
                        "here; allowed: entropy, minmax, percentile, mse, robust; did you mean 'entropy'?"),
        ({"calibration__algorithms": []}, "calibration.algorithms: empty"),
        ({"calibration__percentile": 50}, "calibration.percentile: should be greater than 50, is 50"),
        ({"environments": []}, "environments: empty; name at least one"),
        ({"environments": [{"vnev": "x"}]}, "environments[0]: an environment has one of the keys venv, "
                        f"{', '.join(list(KINDS)[1:])}; this one has vnev"),
        ({"environments": ["ort"]}, "environments[0]: an environment has one of the keys"),
        ({"environments": [{"venv": "onnxruntme", "versions": ["1"]}]}, "environments[0].venv: "
                        "\"onnxruntme\" is not known here; allowed: onnxruntime, onnxruntime-gpu, tensorrt, "
                        "tensorrt-cu11, tensorrt-cu12, tensorrt-cu13, tensorrt-rtx, tensorrt-rtx-cu12, "
                        "tensorrt-rtx-cu13; did you mean 'onnxruntime'?"),
        ({"environments": [{"venv": "onnxruntime", "version": ["1"], "versions": ["1"]}]},
                        "environments[0].version: unknown key; allowed: venv, versions, python, with, "
                        "index, wheels, name, engine, options, entry_point, files, device; did you mean 'versions'?"),
        ({"environments": [{"venv": "onnxruntime"}]}, "environments[0]: name at least one version"),
        ({"environments": [{"venv": "onnxruntime", "versions": ["latest"]}]},
                        "environments[0].versions[0]: \"latest\" becomes part"),
        ({"environments": [{"venv": {"requirements": ["x"]}}]},
                        "environments[0]: an environment of requirements needs a `name`"),
        ({"environments": [{"venv": {"requirements": ["x"]}, "name": "x", "versions": ["1"]}]},
                        "environments[0]: requirements state their versions themselves"),
        ({"environments": [{"venv": {"requirements": ["x"], "requirement": 1}, "name": "x"}]},
                        "environments[0].venv.requirement: unknown key; allowed: requirements"),
        ({"environments": [{"interpreter": "p"}]}, "environments[0].name: missing"),
        ({"environments": [{"interpreter": "p", "name": "x", "options": {"thread": 1}}]},
                        "environments[0].options.thread: unknown key"),
        ({"environments": [{"ngc": []}]}, "environments[0].ngc: empty"),
        ({"environments": [{"ngc": ["../x"]}]}, "environments[0].ngc[0]: \"../x\" becomes part"),
        ({"environments": [{"ngc": ["19.09-py3"], "venv": "onnxruntime"}]}, "environments[0].ngc: unknown key"),
        ({"engines__onnxruntime": {"threads": 0}}, "engines.onnxruntime.threads: should be greater"),
        ({"timing": {"min_samples": 9, "max_samples": 3}}, "timing: min_samples 9 is above max_samples 3"),
        ({"data__preprocess": {"mean": [1, 2]}}, "data.preprocess: mean has 2 values, rgb has 3 channels"),
        ({"data__preprocess": {"std": [1, 0, 1]}}, "data.preprocess: std is 0"),
        ({"data__preprocess": {"std": 0}}, "data.preprocess: std is 0"),
        ({"data__preprocess": {"mean": "x"}}, "data.preprocess.mean: should be a valid number, is \"x\""),
        ({"data__preprocess": {"mean": [1, "x", 3]}}, "data.preprocess.mean[1]: should be a valid number"),
        ({"data__preprocess": {"size": [320]}}, "data.preprocess.size[1]: missing"),
        ({"data__preprocess": {"pad": 256}}, "data.preprocess.pad: should be less than or equal to 255"),
        ({"data__calibration": {}}, "data.calibration: say where the samples are: either `images` or `arrays`"),
        ({"quantisation": {"weight": "per_tensor"}}, "quantisation.weight: unknown key; allowed: outputs, activations, weights"),
        ({"quantisation": {"weights": []}}, "quantisation.weights: "),
        ({"quantisation": {"weights": ["per_tensor", "per_tensor"]}}, "quantisation.weights: names one twice"),
        ({"quantisation": {"weights": "tensor"}}, "quantisation.weights: "),
        ({"quantisation": {"weights": 1}}, "quantisation.weights: "),
        ({"quantisation": {"activations": "int4"}}, "quantisation.activations: "),
        ({"quantisation": {"outputs": "int16"}}, "quantisation.outputs: "),
        ({"data__calibration": {"images": "x", "lables": "y"}}, "data.calibration.lables: unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(places: dict[str, Any], told: str) -> None:
    (problem,) = problems(changed(**places))
    assert problem.startswith(told)


def test_all_problems_are_told_at_once() -> None:
    content = changed(repeats=0, nme="x", devices=["tpu"], environments=[{"venv": "onnx"}])
    del content["baseline"]
    assert [problem.split(":")[0] for problem in problems(content)] == [
        "repeats", "devices[0]", "baseline", "environments[0].venv", "nme",
    ]  # fmt: skip


def test_a_great_many_problems_are_counted() -> None:
    found = problems(changed(**{f"key{index}": 1 for index in range(70)}))
    assert len(found) == 51
    assert found[-1] == "and 20 more"


def test_a_number_where_text_belongs_is_to_be_quoted() -> None:
    text = yaml.safe_dump(settings()) + (
        "devices: [cpu]\nengines: {onnxruntime: {session_config: {a: on, b: 012}}}\n"
    )
    text = text.replace("- 1.26.0", "- 1.10").replace("baseline: ort-1.32", "baseline:")
    first, second, third, fourth = problems(text)
    assert first == "baseline (line 1): nothing is read as null, text is expected"
    assert "environments[0].versions[0] (line" in second
    assert second.endswith('): 1.10 is read as 1.1, text is expected; put it in quotes: "1.10"')
    assert third.endswith('on is read as true, text is expected; put it in quotes: "on"')
    assert fourth.endswith('012 is read as 10, text is expected; put it in quotes: "012"')


def test_problems_have_lines() -> None:
    text = "name: x\nmodel:\n  onnx: a\n  onx: b\n"
    assert any(p.startswith("model.onx (line 4): unknown key") for p in problems(text))


KEYS = st.sampled_from(
    [*Config.model_fields, "venv", "ngc", "interpreter", "options", "versions", "requirements",
     "images", "mean", "size", "preprocess", "onnxruntime", "gate", "engine", "entry_point", "files", "fp32",
     "[key]"]
) | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=6)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_document_is_an_experiment_or_a_config_error(content: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(validate(Document("f", content)), Config)


@given(st.sampled_from(sorted(settings())), JSON)
def test_any_value_of_one_key(key: str, value: Any) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(validate(Document("f", settings() | {key: value})), Config)


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_environment(keys: dict[str, Any]) -> None:
    content = settings() | {"environments": [keys | {"venv": keys.get("venv", "onnxruntime")}]}
    with contextlib.suppress(ConfigError):
        assert validate(Document("f", content)).environment_ids()
