"""model.variants and model.plugins of matrix.yaml: what is refused, and what a job is given."""

import dataclasses
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.environment import InstantEnvironment, ScriptedEnvironment
from tests.unit import small_networks as networks
from tests.unit.experiments import changed, checked, write, wrong
from tests.unit.matrices import Told, Trial, run_offline
from tests.unit.programs import ran
from tests.unit.test_tensorrt_matrix import FAKES, MATRIX, at, png
from tests.unit.trips import answer_there
from trt_matrix.errors import ConfigError
from trt_matrix.execution.plugins import PluginFiles
from trt_matrix.execution.request import request_of
from trt_matrix.execution.wanted import JobSite, Variant
from trt_matrix.packs.environment import pass_key
from trt_matrix.packs.packing import pack
from trt_matrix.planning.experiment import read_experiment
from trt_matrix.store.results import RunFolder, Store
from trt_matrix.ticket.again import rerun
from trt_matrix.ticket.making import MadeTicket, TicketWish, make

AUTHOR = "Ada Plugh"
SOURCE = Path(__file__).parents[1] / "data" / "plugins" / "upsample.cpp"


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    made = write(tmp_path)
    (tmp_path / "old.onnx").write_bytes(networks.old_detector().SerializeToString())
    (tmp_path / "up.cpp").write_bytes(b"source")
    (tmp_path / "up8.so").write_bytes(b"library")
    return made


# Variants


def test_variants_are_read(matrix: Path) -> None:
    content = changed(model__variants=["old.onnx"])
    assert wrong(matrix, content) == []
    (variant,) = checked(matrix).variants
    assert variant.name == "old.onnx"
    assert variant.content == (matrix.parent / "old.onnx").read_bytes()


def test_a_variant_that_does_not_fit_is_named(matrix: Path) -> None:
    builder = networks.Builder()
    builder.conv("image", "large", 3, 6)
    other = builder.model({"image": [1, 3, 16, 16]}, ["large"])
    (matrix.parent / "other.onnx").write_bytes(other.SerializeToString())
    (matrix.parent / "cut.onnx").write_bytes(b"\x08\x07\x12")
    names = ["other.onnx", "no.onnx", "cut.onnx"]
    problems = wrong(matrix, changed(model__variants=names))
    assert len(problems) == 3
    assert "model.variants[0]" in problems[0]
    assert "other.onnx has no output 'small'; its outputs: large" in problems[0]
    assert "no.onnx: No such file" in problems[1]
    assert "cut.onnx" in problems[2]


def test_a_variant_with_other_names_inside_is_refused(matrix: Path) -> None:
    model = networks.old_detector()
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                if name in ("c1", "s2", "c2", "s4", "c3", "c4", "mixed", "c5"):
                    tensors[index] = f"exported/{name}"
    (matrix.parent / "renamed.onnx").write_bytes(model.SerializeToString())
    assert wrong(matrix, changed(model__variants=["renamed.onnx"])) == []
    with pytest.raises(ConfigError, match=r"model.variants\[0\].*renamed.onnx: only 7 of its 15"):
        read_experiment(matrix, [])


# Plugins


def test_plugins_are_read(matrix: Path) -> None:
    plugins = [{"sources": ["up.cpp"], "flags": ["-DX"]}, {"libraries": {"8": "up8.so"}}]
    assert wrong(matrix, changed(model__plugins=plugins)) == []
    sources, libraries = checked(matrix).plugins
    assert sources == PluginFiles(libraries={}, sources={"up.cpp": b"source"}, flags=("-DX",))
    assert libraries == PluginFiles(libraries={"8": b"library"}, sources={}, flags=())


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        ({}, "a plugin has either `libraries` or `sources`"),
        ({"libraries": {"8": "up8.so"}, "sources": ["up.cpp"]}, "either `libraries` or `sources`"),
        ({"libraries": {"8": "up8.so"}, "flags": ["-O3"]}, "libraries are compiled already"),
        ({"libraries": {"8.6": "up8.so"}}, "8.6"),
        ({"sources": ["up.cpp", "a/up.cpp"]}, "two sources have one name"),
        ({"sources": ["none.cpp"]}, "none.cpp: No such file"),
        ({"source": "up.cpp"}, "did you mean 'sources'?"),
        ({"sources": ["-o.cpp"]}, "'-o.cpp' is no plain file name"),
    ],
)
def test_a_wrong_plugin_is_told(matrix: Path, plugin: dict[str, Any], told: str) -> None:
    assert any(told in problem for problem in wrong(matrix, changed(model__plugins=[plugin])))


def site_of(environment: InstantEnvironment | ScriptedEnvironment, engine: str) -> JobSite:
    environment.engine = engine
    return JobSite(
        environment=environment,
        identity=environment.prepare(offline=True),
        device="cpu",
        engine_options={},
        timing=None,
        shapes={},
    )


def test_only_tensorrt_is_given_plugins(tmp_path: Path) -> None:
    plain = Trial(tmp_path, ScriptedEnvironment("a")).matrix.wants
    plugin = PluginFiles(libraries={}, sources={"up.cpp": b"source"}, flags=("-DX",))
    wants = dataclasses.replace(plain, plugins=(plugin,))
    fingerprints = []
    for engine, given in (("onnxruntime", 0), ("tensorrt", 1)):
        site = site_of(InstantEnvironment(), engine)
        request = request_of(wants, site)
        assert len(request.get("plugins", [])) == given
        one, other = (
            each.measurement(site, "fp32", 0, Variant(each.network.fp32)) for each in (plain, wants)
        )
        fingerprints.append(one.fingerprint == other.fingerprint)
    assert fingerprints == [True, False]
    (entry,) = request["plugins"]
    assert entry == {
        "sources": [{"name": "up.cpp", "file": plugin.objects[0].file}], "flags": ["-DX"],
    }  # fmt: skip


def test_answers_belong_to_the_plugins_they_had() -> None:
    bare = {"engine": "tensorrt", "repeat": 0}
    one = {"name": "fp32"}
    of_plugins: tuple[dict[str, Any], ...] = ({}, {"plugins": []}, {"plugins": [{"a": 1}]})
    keys = {pass_key(bare | plugins, one) for plugins in of_plugins}
    assert len(keys) == 2  # an empty list is what packs of before asked


# The whole loop


CELL = "trt-8.6.1/gpu:*/fp32"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment, packed, answered by a fake version, merged and run."""
    if shutil.which("g++") is None:
        pytest.skip("plugins need g++")
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "images").mkdir()
    for index in range(2):
        (folder / "images" / f"{index}.png").write_bytes(png(index))
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    (folder / "up.cpp").write_text(f"// written by {AUTHOR}\n{SOURCE.read_text()}")
    text = MATRIX.format(python=sys.executable).replace(
        "variants: [tiny-opset9.onnx]", "plugins: [{sources: [up.cpp]}]"
    )
    (folder / "matrix.yaml").write_text(text)
    (folder / "cudart").mkdir()
    (folder / "cuda").mkdir()
    (folder / "cuda" / "include").symlink_to(FAKES / "nvinfer")
    library = ["gcc", "-shared", "-fPIC", "-o", str(folder / "cudart" / "libcudart.so")]
    subprocess.run([*library, str(FAKES / "cudart" / "cudart.c")], check=True)
    select = ["trt-8.6.1/*/fp32"]
    packed = pack(
        folder / "matrix.yaml", folder / "results", folder / "pack.tar",
        select=select, progress=Told(),
    )  # fmt: skip
    with tarfile.open(packed.file) as archive:
        archive.extractall(folder / "there", filter="data")
    answer_there(folder / "there", folder / "results", variables(folder))
    run_offline(folder / "matrix.yaml", select=select)
    return folder


def variables(folder: Path) -> dict[str, str]:
    """Returns the environment variables of the machine there."""
    return {
        **at(folder, "8.6.1"),
        "TENSORRT_INCLUDE": str(FAKES / "nvinfer"),
        "CUDA_HOME": str(folder / "cuda"),
        "TRT_MATRIX_CACHE": str(folder / "cache"),
    }


def test_a_packed_plugin_is_compiled_there(there: Path) -> None:
    (record,) = Store(there / "results").open_run("latest").records()
    assert (record.status, record.reason) == ("ok", None)
    start = record.measurements[0].start
    assert start
    (told,) = start.probe["engine"]["options"]["plugins"]
    assert told["creators"] == ["UpsampleNearest 1"]


# In a ticket


def ticket(there: Path, folder: Path, **wish: Any) -> tuple[MadeTicket, Path]:
    made_ticket = make("latest", there / "results", folder / "t.zip", TicketWish(**wish))
    with zipfile.ZipFile(made_ticket.path) as archive:
        archive.extractall(folder)
    return made_ticket, folder / "ticket"


def sources_in(ticket: Path) -> list[str]:
    return [path.read_text() for path in (ticket / "reproduce" / "objects").glob("*.cpp")]


def test_a_ticket_holds_the_sources_without_secrets_and_runs_with_them(
    there: Path, tmp_path: Path
) -> None:
    made_ticket, root = ticket(there, tmp_path, hide=[AUTHOR])
    (source,) = sources_in(root)
    assert source.startswith("// written by hidden-1\n")
    assert source.partition("\n")[2] == SOURCE.read_text()
    (cell,) = (cell for cell in made_ticket.content.cells if cell.reproduce)
    script = root / str(cell.reproduce)
    script.chmod(0o755)
    done = ran(script, env={**variables(there), "PYTHON": sys.executable})
    assert "same: every head's error is that of the ticket" in done.stdout


def test_verify_loads_no_code_out_of_a_ticket(there: Path, tmp_path: Path) -> None:
    made_ticket, _ = ticket(there, tmp_path)
    done = rerun(
        made_ticket.path, CELL, offline=True, environment_of=lambda *_: InstantEnvironment()
    )
    assert done.word == "cannot judge"
    assert "loads plugins, code of whoever made the ticket" in done.reason


def test_plugins_stay_at_home_where_that_is_wanted(there: Path, tmp_path: Path) -> None:
    made_ticket, root = ticket(there, tmp_path, no_plugins=True)
    assert sources_in(root) == []
    assert [(cell.reproduce, cell.why_not) for cell in made_ticket.content.cells] == [
        (None, "its network needs plugins, which were left out with --no-plugins")
    ]


def test_a_ticket_says_why_it_has_no_plugins(there: Path, tmp_path: Path) -> None:
    def told(change: Any) -> str | None:
        results = tmp_path / change.__name__
        shutil.copytree(there / "results", results, symlinks=True)
        run = Store(results).open_run("latest")
        change(run)
        made_ticket = make("latest", results, tmp_path / "t.zip", TicketWish(hide=[AUTHOR]))
        (cell,) = made_ticket.content.cells
        assert cell.reproduce is None
        return cell.why_not

    def asked_for(run: RunFolder, plugins: list[Any]) -> None:
        path = run.folder / "manifest.json"
        content = json.loads(path.read_text())
        content["asked"]["plugins"] = plugins
        path.write_text(json.dumps(content))

    def before(run: RunFolder) -> None:
        asked_for(run, [])

    def gone(run: RunFolder) -> None:
        for path in (run.store.root / "objects").glob("*.cpp"):
            path.unlink()

    def secret(run: RunFolder) -> None:
        stored = run.store.put(b"\x7fELF\0" + AUTHOR.encode() + b"\0", ".so")
        asked_for(run, [{"libraries": {"8": stored.file}}])

    assert "older runs did not keep" in (told(before) or "")
    assert "not stored with the run any more" in (told(gone) or "")
    assert "holds a secret (asked for with --hide): build it elsewhere" in (told(secret) or "")


def test_a_library_goes_along_as_it_is(there: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(there / "results", results, symlinks=True)
    run = Store(results).open_run("latest")
    stored = run.store.put(b"\x7fELF\0machine code\xff", ".so")
    path = run.folder / "manifest.json"
    content = json.loads(path.read_text())
    content["asked"]["plugins"] = [{"libraries": {"8": stored.file}}]
    path.write_text(json.dumps(content))
    _, root = ticket(tmp_path, tmp_path)
    (request,) = (root / "reproduce" / "requests").iterdir()
    assert json.loads(request.read_text())["plugins"] == [{"libraries": {"8": stored.file}}]
    copied = root / "reproduce" / "objects" / stored.file
    assert copied.read_bytes() == b"\x7fELF\0machine code\xff"
