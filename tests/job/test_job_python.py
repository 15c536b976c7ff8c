"""A function of the user's own as the engine: what it may be, what it is given, and how its failures are told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import job
from job import protocol
from job.engines.python import Engine, FunctionError
from tests.job.two_heads import golden, one_pass, write_request
from tests.unit.programs import ran

HEADS = ["large", "small"]
RUN = """
import numpy as np

def run(images):
    mean = images.mean(axis=(2, 3))
    return {"large": mean, "small": np.stack([mean, -mean], 2).astype(np.float64)}
"""
Made = Callable[..., Engine]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes engines of a source; what they change of this process is changed back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def make(source: str, functions: dict[str, str] | None = None, **files: bytes) -> Engine:
        stored = {
            "program.py": source.encode(),
            **{k.replace("__", "."): v for k, v in files.items()},
        }
        request = tmp_path / "request"
        request.mkdir(exist_ok=True)
        for name, content in stored.items():
            (request / f"{Path(name).name}.stored").write_bytes(content)
        return Engine(
            {
                "file": "program.py",
                "entry_point": functions or {"fp32": "run"},
                "files": {name: f"{Path(name).name}.stored" for name in stored},
                "request": str(request),
                "folder": str(tmp_path / "program"),
                "heads": HEADS,
            }
        )

    return make


def image() -> np.ndarray:
    return np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)


def outputs(engine: Engine, precision: str = "fp32", **asked: Any) -> list[np.ndarray]:
    session = engine.build("model.onnx", precision, None, "", **asked)
    return session.run({"image": image()}, ["tensor of large", "tensor of small"])


def test_a_function_is_given_the_image_and_gives_the_heads_in_their_order(engine: Made) -> None:
    large, small = outputs(engine(RUN))
    assert large.tolist() == [[3.5, 11.5, 19.5]]
    assert small.shape == (1, 3, 2)


def test_what_makes_the_function_is_told_network_and_images_once(
    engine: Made, tmp_path: Path
) -> None:
    np.save(tmp_path / "calibration.npy", np.full((5, 3, 2, 4), 2, np.float32))
    source = """
import numpy as np
made = []

def load(network, calibration, threads=1):
    made.append(network)
    told = len(network) if calibration is None else float(calibration.sum())
    return lambda images: {"large": np.full((1, 1), told, np.float32), "small": np.full((1, 1), len(made), "f4")}
"""
    made = engine(source, {"fp32": "load", "int8": "load", "int8-qdq": "load"})
    assert [output.item() for output in outputs(made)] == [len("model.onnx"), 1]
    own = {
        "scales": "calibrate",
        "calibrator": "unknown",
        "images": str(tmp_path / "calibration.npy"),
    }
    assert [output.item() for output in outputs(made, "int8", implicit=own)] == [240, 2]
    session = made.build("qdq.onnx", "int8", None, "")
    for _ in range(3):
        assert session.run({"image": image()}, HEADS)[1].item() == 3


def test_what_it_needs_lies_beside_it_and_in_the_working_folder(engine: Made) -> None:
    source = """
import helper_of_mine
from pathlib import Path
import numpy as np

def run(images):
    beside = Path(__file__).resolve().with_name("weights.bin").read_bytes()
    assert beside == Path("weights.bin").read_bytes() == b"12"
    return {"large": np.full((1, 1), helper_of_mine.VALUE), "small": images}
"""
    made = engine(source, helper_of_mine__py=b"VALUE = 7.0\n", weights__bin=b"12")
    assert outputs(made)[0].item() == 7


def test_a_file_named_as_its_package_does_not_hide_it(engine: Made, tmp_path: Path) -> None:
    made = engine("import numpy\nassert hasattr(numpy, 'ndarray')\n" + RUN, numpy__py=b"")
    assert outputs(made)[0].shape == (1, 3)


def test_it_cannot_change_the_stored_image(engine: Made) -> None:
    made = engine("def run(images):\n images[:] = 0\n return {'large': images, 'small': images}")
    fed = image()
    fed.setflags(write=False)
    session = made.build("m", "fp32", None, "")
    session.run({"image": fed}, HEADS)
    assert fed.sum() == image().sum()


def test_the_engine_is_the_package_that_is_imported_with_its_version(engine: Made) -> None:
    import onnx

    source = "import os, json\nimport numpy as np\nfrom onnx import helper\n" + RUN
    told = engine(source).facts()
    assert (told["name"], told["version"]) == ("onnx", onnx.__version__)
    assert told["options"]["entry_point"] == {"fp32": "program.py:run"}
    assert engine(RUN).facts()["name"] == "numpy"
    assert engine("ENGINE = 'onnx'\n" + RUN).facts()["name"] == "onnx"
    late = engine(
        "def run(images):\n    import onnx\n    return {'large': images, 'small': images}\n"
    )
    outputs(late)
    assert late.facts()["name"] == "onnx"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return images", "returned ndarray; expected a dict with the heads: large, small"),
        ("return None", "returned NoneType; expected a dict"),
        ("return {}", "returned an empty dict; expected a dict with the heads: large, small"),
        ("return {'large': images, 'smal': images}", "returned large, smal; expected"),
        ("return {'large': images[0], 'small': images}", r"head large has shape \(3, 2, 4\), expected the batch of one"),
        ("return {'large': images.astype('i1'), 'small': images}", "head large is int8, expected floating point: integers"),
        ("return {'large': [[object()]], 'small': images}", "head large is object, expected floating point"),
        ("return {'large': Bad(), 'small': images}", r"is a Bad that numpy cannot read \(requires grad\)"),
        ("return images['x']", r"program.py:run raised IndexError: .* \(program.py line 9 in run: return images\['x'\]\)"),
        ("import sys; sys.exit(3)", r"program.py:run raised SystemExit: 3 \(program.py line 9 in run"),
        ("deeper(deeper)", r"line 9 in run: deeper\(deeper\); program.py line 6 in deeper: raise ValueError"),
        ("return open('absent.pb')", "FileNotFoundError: .*; what the function reads is to be named in `files`"),
    ],
)  # fmt: skip
def test_what_it_does_wrong_is_told_with_the_line(engine: Made, body: str, told: str) -> None:
    source = f"""class Bad:
    def __array__(self, *given, **named):
        raise RuntimeError("requires grad")

def deeper(x):
    raise ValueError("first line\\nsecond")

def run(images):
    {body}
"""
    with pytest.raises(FunctionError, match=told):
        outputs(engine(source))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_package", "program.py raised .*No module named 'no_such_package'.*line 1.*; add the package"),
        ("def run(:", r"program.py raised SyntaxError: .*line 1: def run\(:"),
        ("raise SystemExit(1)", "program.py raised SystemExit: 1"),
        ("def ran(images): pass", "program.py has no function 'run'; it has: ran"),
        ("run = 3", "program.py has no function 'run'; it has: none"),
        ("def run(images, size): pass", "program.py:run takes images, size: a function takes the image alone"),
        ("def run(network): pass", "takes no image, so it must return the function that does; it returned NoneType"),
        ("def run(): raise KeyError('x')", "program.py:run raised KeyError: 'x'"),
    ],
)  # fmt: skip
def test_what_is_no_function_is_told_before_anything_runs(
    engine: Made, source: str, told: str
) -> None:
    with pytest.raises(FunctionError, match=told):
        engine(source).build("m", "fp32", None, "")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("m", "fp16", None, ""), "no function for fp16; it has: fp32"),
        (("m", "int8", None, ""), "no function for int8-qdq; it has: fp32"),
        (("m", "int8", {"x": 1.0}, ""), "takes scales as Q/DQ nodes"),
        (("m", "fp32", None, None), "no table can be made of it"),
    ],
)
def test_what_it_has_no_function_for_is_unsupported(
    engine: Made, asked: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(protocol.UnsupportedError, match=told):
        engine(RUN).build(*asked)


def test_files_outside_its_folder_are_refused(engine: Made) -> None:
    with pytest.raises(FunctionError, match="'../evil' is no name of a file"):
        engine(RUN, **{"../evil": b""})


def test_a_whole_job(request_folder: Path, tmp_path: Path) -> None:
    (request_folder / "abc.py").write_text(
        """
import numpy as np

def run(images):
    print("seen", images.dtype, images.shape)
    return {"large": images * 2, "small": np.float16(images)}

def broken(images):
    return {"large": images, "small": images.x}
"""
    )
    options = {
        "file": "abc_of_mine.py",
        "entry_point": {"fp32": "run", "bf16": "broken"},
        "files": {"abc_of_mine.py": "abc.py"},
    }
    passes = [one_pass("fp32"), one_pass("bf16", precision="bf16", compare_with="fp32")]
    asked = {
        **golden(),
        "engine": "python",
        "engine_options": options,
        "passes": passes,
        "calibration": None,
    }
    write_request(request_folder, asked)
    result = tmp_path / "result"
    done = ran(
        sys.executable,
        "-m",
        "job",
        request_folder,
        result,
        cwd=Path(job.__file__).parents[1],
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    good, bad = (
        json.loads((result / "passes" / one / "pass.json").read_text()) for one in ("fp32", "bf16")
    )
    assert (good["status"], bad["status"]) == ("ok", "job_failed")
    found = np.load(result / "passes" / "fp32" / "large.npy")
    fed = np.load(request_folder / "evaluation.npy")
    assert found.tobytes() == (fed * 2).tobytes()
    assert np.load(result / "passes" / "fp32" / "small.npy").dtype == np.float32
    assert len(good["latency"]["samples_s"]) >= 3
    assert good["latency"]["device_s"] is None
    assert "abc_of_mine.py:broken raised AttributeError" in bad["error"]["message"]
    assert "seen float32 (1, 3, 16, 16)" in done.stdout
    assert "images.x" in done.stderr, "the traceback is in the log"
    probed = json.loads((result / "probe.json").read_text())
    assert probed["engine"]["name"] == "numpy"
    assert probed["engine"]["version"] == np.__version__
