"""The program that runs packs, on its own: what it says, whom it blames, how it asks for a container."""

from typing import Any

import pytest

from trt_matrix.containers.job import pack_docker, run_pack


def test_it_says_what_it_does_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("build fp32", "build fp32", "infer fp32"):
        run_pack.progress(stage, 61.0)
    run_pack.finish_progress("[1/3] a: ")
    assert capsys.readouterr().out == "\n    build fp32, 61 s\n    infer fp32, 61 s\n[1/3] a: "
    run_pack.finish_progress("[1/3] a: ")
    assert capsys.readouterr().out == ""


# The program that runs there, on its own


def test_who_is_to_blame_there() -> None:
    crash = {"error": None, "exit_code": None, "stage": "infer b"}
    assert run_pack.blamed(crash, ["b", "c"], True) == ["b"]
    assert run_pack.blamed({**crash, "stage": "probe"}, ["b", "c"], True) == []
    assert run_pack.blamed({**crash, "stage": None}, ["b", "c"], False) == ["b", "c"]
    assert run_pack.blamed({**crash, "exit_code": 0}, ["b", "c"], True) == ["b", "c"]


def test_a_container_gets_the_pack_read_only_and_no_network() -> None:
    options = run_pack.parser().parse_args(["--docker", "image:tag", "--gpus", "none"])
    start = f"{run_pack.HERE}/work/lab@cpu@repeat-0/start-1"
    command = pack_docker.start(run_pack.HERE, start, options)
    assert command[:4] == ["docker", "run", "--rm", "--network=none"]
    assert f"{run_pack.HERE}:/pack:ro" in command
    assert "--gpus" not in command
    assert command[-5:] == [
        "image:tag", "-m", "job",
        "/pack/work/lab@cpu@repeat-0/start-1/request", "/pack/work/lab@cpu@repeat-0/start-1/result",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "info", "wanted"),
    [
        ("none", {"CDISpecDirs": ["/etc/cdi"]}, []),
        ("all", {}, ["--gpus", "all"]),
        ("all", {"CDISpecDirs": ["/etc/cdi"], "Runtimes": {"nvidia": {}}}, ["--gpus", "all"]),
        ("all", {"CDISpecDirs": [], "Runtimes": {"runc": {}}}, ["--gpus", "all"]),
        ("all", {"CDISpecDirs": ["/etc/cdi"]}, ["--device=nvidia.com/gpu=all"]),
        ("2", {"CDISpecDirs": ["/etc/cdi"]}, ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=1"]),
        ("device=GPU-1", {"CDISpecDirs": ["/etc/cdi"]}, ["--device=nvidia.com/gpu=GPU-1"]),
        ('"device=0,1"', {"DiscoveredDevices": [{}]}, ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=1"]),
    ],
)  # fmt: skip
def test_gpus_by_the_way_that_the_engine_there_has(
    gpus: str, info: dict[str, Any], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert pack_docker.gpu_options(gpus, info) == wanted
