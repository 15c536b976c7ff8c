"""End to end: the command line, the real job, the real onnxruntime of this Python, a tiny network.

Started twice, killed, interrupted, doubled.
"""

import csv
import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import Told, run_offline
from trt_matrix.commands import session
from trt_matrix.commands.gc import collect_in
from trt_matrix.core.tables.table import from_json
from trt_matrix.errors import ConfigError, NothingSelectedError, StoreError
from trt_matrix.judging import run as judging
from trt_matrix.store.results import Store

ROOT = Path(__file__).parents[2]
CELLS = 4
VARYING = {"run", "reused"}
"""Columns that no two runs share, beside those of latency."""

TIMING = {"min_samples": 2, "max_samples": 3, "max_s": 0.01, "warm_up_max_s": 0.01}
MATRIX = quick(
    calibration={"algorithms": ["entropy", "minmax"], "shared": "entropy"}, repeats=2, timing=TIMING
)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with matrix.yaml and all that it names."""
    folder = tmp_path_factory.mktemp("tiny")
    folder.joinpath("tiny.onnx").write_bytes(networks.detector().SerializeToString())
    noise_images(folder, 7, calibration=4, evaluation=4)
    (folder / "matrix.yaml").write_text(yaml.safe_dump(MATRIX))
    return folder


def start(experiment: Path, results: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "trt_matrix", "run", "-c", str(experiment / "matrix.yaml")]
    return subprocess.Popen(
        [*command, "--results", str(results), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]", code: int = 0) -> str:
    out, err = process.communicate()
    assert process.returncode == code, out + err
    return out + err


def numbers(results: Path) -> list[dict[str, str]]:
    """Returns the rows of results.csv without what differs from run to run."""
    with (results / "latest" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == CELLS * 2
    return [
        {
            name: value
            for name, value in row.items()
            if name not in VARYING and not name.startswith("latency")
        }
        for row in rows
    ]


@pytest.fixture(scope="module")
def undisturbed(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Results of a run from start to end, and how many seconds it took."""
    results = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    finish(start(experiment, results))
    return results, time.monotonic() - started


def test_a_run_measures_all_and_the_next_nothing(
    experiment: Path, undisturbed: tuple[Path, float]
) -> None:
    results, _ = undisturbed
    rows = numbers(results)
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["engine_version"] for row in rows)
    by_pass = {(row["pass_name"], row["head"]): row for row in rows}
    for head in ("large", "small"):
        assert float(by_pass["fp32", head]["nmse"]) < 1e-10
        int8 = float(by_pass["int8-shared-entropy", head]["sqnr_db"])
        assert 15 < int8 < 60, "8 bits cost something, and not everything"
    newest = results / "latest"
    for name in ("report.html", "results.parquet", "manifest.json", "matrix.yaml"):
        assert (newest / name).stat().st_size > 0
    manifest = json.loads((newest / "manifest.json").read_text())
    took = manifest["seconds"]
    assert 0 < took["environments"] < took["wall"]
    assert 0 < took["engines"] < took["wall"]
    assert "Resize" in [
        operator["operator"]
        for group in manifest["lineage"]
        if group["heads"] == ["small"]
        for operator in group["operators"]
    ]
    tables = [from_json(path.read_text()) for path in (newest / "tables").iterdir()]
    assert {"entropy"} <= {table.provenance.algorithm for table in tables}
    assert all(table.amax for table in tables)
    told = Told()
    again = run_offline(experiment / "matrix.yaml", results, told=told)
    assert all(cell.reused for cell in again.judgement.cells)
    assert again.seconds["engines"] == 0
    assert told.steps == told.expected
    assert numbers(results) == rows


def test_a_plan_tells_what_is_known(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    matrix = experiment / "matrix.yaml"
    fresh = session.plan_experiment(matrix, tmp_path / "results", select=[])
    assert fresh.known == {}
    assert not (tmp_path / "results").exists(), "a plan makes nothing"
    planned = session.plan_experiment(matrix, undisturbed[0], select=["here/*"])
    assert planned.known == {cell.id: 2 for cell in planned.cells}
    assert "0 measurements to make" in planned.text()


def test_judging_again_gives_the_same_and_leaves_latest_alone(
    undisturbed: tuple[Path, float],
) -> None:
    results, _ = undisturbed
    oldest = min(path.parent for path in results.glob("2*/manifest.json"))
    report = (oldest / "report.html").read_bytes()
    latest = (results / "latest").readlink()
    outcome = judging.judge_again(oldest.name, results)
    assert outcome.report == oldest / "report.html"
    assert outcome.report.read_bytes() == report
    assert (results / "latest").readlink() == latest


def test_a_collection_leaves_all_that_judging_and_the_next_run_need(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(undisturbed[0], results, symlinks=True)
    rows = numbers(results)
    newest = (results / "latest").readlink().name
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    stamp = later.timestamp()
    os.utime(results / newest / "manifest.json", (stamp, stamp))  # nothing was left since
    collect_in(results, keep=1, older_than=None, now=later, dry_run=False)
    assert [path.parent.name for path in results.glob("2*/manifest.json")] == [newest]
    planned = session.plan_experiment(experiment / "matrix.yaml", results, select=[])
    assert planned.known == {cell.id: 2 for cell in planned.cells}
    judging.judge_again("latest", results)
    assert numbers(results) == rows
    again = run_offline(experiment / "matrix.yaml", results)
    assert again.seconds["engines"] == 0
    assert numbers(results) == rows


def damage(path: Path) -> None:
    """Changes 8 bytes in the middle; size and time of change stay, as on a failing disk."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    middle = max(len(content) // 2 - 4, 0)
    content[middle : middle + 8] = bytes(byte ^ 0x41 for byte in content[middle : middle + 8])
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("what", ["objects/*.npy", "objects/*.onnx", "objects/*", "facts/*/*"])
def test_what_a_disk_changed_is_made_again_and_told(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path, what: str
) -> None:
    results = tmp_path / "results"
    shutil.copytree(undisturbed[0], results, symlinks=True)
    rows = numbers(results)
    damaged = sorted((results / Store.FOLDER).glob(what))
    assert damaged
    for path in damaged:
        damage(path)
    told = Told()
    run_offline(experiment / "matrix.yaml", results, told=told)
    assert numbers(results) == rows
    assert any("damaged" in text for text in told.lines)


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_ends_with_the_same_numbers(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    expected, whole_s = undisturbed
    moments = random.Random(20190617)
    killed = 0
    for _ in range(4):
        process = start(experiment, tmp_path)
        try:
            process.wait(moments.uniform(0.25, 0.5) * whole_s)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.communicate()
        if not process.returncode:
            break
    assert killed > 0, "the first moment is within half the time that a whole run takes"
    finish(start(experiment, tmp_path))
    assert numbers(tmp_path) == numbers(expected)
    assert not list((tmp_path / Store.FOLDER / "work").iterdir()), "what was in work is swept"


@pytest.mark.slow
def test_two_runs_at_once_do_each_thing_once(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    both = [start(experiment, tmp_path) for _ in range(2)]
    said = [finish(process) for process in both]
    assert numbers(tmp_path) == numbers(undisturbed[0])
    runs = [json.loads(path.read_text()) for path in tmp_path.glob("2*/manifest.json")]
    assert len(runs) == 2
    assert runs[0]["reference"]["outputs"] == runs[1]["reference"]["outputs"]
    fresh = [
        line
        for text in said
        for line in text.splitlines()
        if line.startswith("[") and "here/cpu/" in line and "reused" not in line
    ]
    assert len(fresh) == 1 + CELLS * 2, "one calibration, and each repeat of each cell once"


@pytest.mark.slow
def test_interrupted_it_records_all_that_was_planned_and_goes_on(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    process = start(experiment, tmp_path)
    assert process.stderr is not None
    told = iter(process.stderr)
    assert any("here/cpu/calibrate" in line for line in told), "there is something to keep"
    process.send_signal(signal.SIGINT)
    assert "run again to go on" in finish(process, 130)
    [manifest] = tmp_path.glob("2*/manifest.json")
    records = [json.loads(path.read_text()) for path in tmp_path.glob("2*/records/**/*.json")]
    assert len(records) == CELLS == len(json.loads(manifest.read_text())["cells"])
    # A cell of this network takes milliseconds: some may have ended before the signal came.
    stopped = [record for record in records if record["status"] == "not_run"]
    assert stopped
    assert {record["status"] for record in records} <= {"not_run", "ok"}
    assert all("run again" in record["reason"] for record in stopped)
    assert (manifest.parent / "report.html").exists()
    assert not list((tmp_path / Store.FOLDER / "work").iterdir())
    finish(start(experiment, tmp_path))
    assert numbers(tmp_path) == numbers(undisturbed[0])


FULL = """
set -u
run() { "$PYTHON" -m trt_matrix run -c "$MATRIX" --results disk/results >$1 2>&1; echo $? >>codes; }
mkdir disk
mount -t tmpfs -o size=$SIZE none disk
run first
dd if=/dev/zero of=disk/ballast bs=1k 2>/dev/null  # not a byte is left
"$PYTHON" -m trt_matrix gc --results disk/results >collected 2>&1; echo $? >>codes
rm disk/ballast
mount -o remount,size=64m disk
run second
cp -r disk/results .
"""


def mount_refused() -> str | None:
    """Returns why no file system can be mounted here, None where one can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    tried = subprocess.run(mount, check=False, capture_output=True, text=True)
    return f"no mount namespace: {tried.stderr.strip()}" if tried.returncode else None


@pytest.mark.slow
@pytest.mark.parametrize("size", ["360k", "100k", "900k"][: 1 if os.environ.get("CI") else None])
def test_a_full_disk_is_told_loses_nothing_and_with_space_it_goes_on(
    experiment: Path, undisturbed: tuple[Path, float], tmp_path: Path, size: str
) -> None:
    if why := mount_refused():
        pytest.skip(why)
    variables = {
        "PYTHON": sys.executable,
        "MATRIX": str(experiment / "matrix.yaml"),
        "SIZE": size,
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL], cwd=tmp_path, env=os.environ | variables, check=True
    )
    first, collected, second = (
        (tmp_path / name).read_text() for name in ("first", "collected", "second")
    )
    assert (tmp_path / "codes").read_text().split() == ["5", "0", "0"], first + collected + second
    assert "the disk is full: free space" in first.splitlines()[-1]
    assert "freed" in collected
    ended = [line.split()[2] for line in first.splitlines() if "] ok " in line]
    reused = [line.split()[2] for line in second.splitlines() if line.endswith("reused")]
    # More may be: a start that the full disk stopped had passes that ended before.
    assert set(ended) - {"-"} <= set(reused), "what ended is kept"
    assert numbers(tmp_path / "results") == numbers(undisturbed[0])


# What stops a run before it starts


def run(experiment: Path, results: Path, select: list[str] | None = None) -> None:
    run_offline(experiment / "matrix.yaml", results, select=select)


def test_nothing_selected(experiment: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingSelectedError, match="no cell matches tensorrt"):
        run(experiment, tmp_path, ["tensorrt*"])


def test_what_was_not_selected_is_not_called_nothing(experiment: Path, tmp_path: Path) -> None:
    outcomes = [
        run_offline(experiment / "matrix.yaml", tmp_path, select=select)
        for select in (["*/fp32"], [])
    ]
    some, every = (outcome.text() for outcome in outcomes)
    left = len(outcomes[1].judgement.cells) - len(outcomes[0].judgement.cells)
    assert left
    assert f"{left} cells of matrix.yaml not selected" in some
    assert "nothing was left out" not in some
    assert "not selected" not in every


def test_results_that_are_a_file(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("x")
    with pytest.raises(StoreError, match="name another place"):
        run(experiment, tmp_path / "results")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_results_that_may_not_be_written(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="owner and mode"):
        run(experiment, tmp_path / "results")


def test_an_unreadable_image_is_named(experiment: Path, tmp_path: Path) -> None:
    broken = tmp_path / "evaluation"
    broken.mkdir()
    (broken / "half.png").write_bytes((experiment / "evaluation/0.png").read_bytes()[:60])
    for name in ("tiny.onnx", "calibration"):
        (tmp_path / name).symlink_to(experiment / name)
    (tmp_path / "matrix.yaml").write_text((experiment / "matrix.yaml").read_text())
    with pytest.raises(ConfigError, match=r"half\.png"):
        run(tmp_path, tmp_path / "results")


# init


def test_init_writes_an_experiment_once(experiment: Path, tmp_path: Path) -> None:
    output = tmp_path / "matrix.yaml"
    assert "trt-matrix plan" in session.init(experiment / "tiny.onnx", output, force=False)
    assert "small" in output.read_text()
    with pytest.raises(ConfigError, match="--force"):
        session.init(experiment / "tiny.onnx", output, force=False)
    session.init(experiment / "tiny.onnx", output, force=True)


@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_init_on_what_is_no_network(tmp_path: Path, content: bytes | None) -> None:
    model = tmp_path / "model.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.onnx"):
        session.init(model, tmp_path / "matrix.yaml", force=False)
    assert not (tmp_path / "matrix.yaml").exists()
