"""What needs no engine: options, endings, words, owners. Words are verbatim from real engines."""

import signal
from dataclasses import replace

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from tests.unit.hosts import gpu, host
from trt_matrix.core.hosts.cdi import Cdi
from trt_matrix.environments.docker import failures, options, podman
from trt_matrix.environments.docker.container import ending_of
from trt_matrix.environments.docker.environment import given
from trt_matrix.environments.docker.hosts import driver_of, ssh_target
from trt_matrix.environments.docker.options import Bind, WantedContainer
from trt_matrix.environments.docker.owner import Owner, own, started
from trt_matrix.errors import EnvironmentUnavailableError

WANTED = WantedContainer(
    image="sha256:1",
    name="n",
    entrypoint=("python3", "-m", "job"),
    labels={},
    user="1000:1000",
    binds=(Bind("/a", "/request"), Bind("/b", "/results", read_only=False)),
    memory_bytes=1 << 30,
)


# Captured from a Docker Engine 20.10.24, except those marked
# (N): from NVIDIA's and others' issue threads, since no GPU host was at hand.
START = {
    'could not select device driver "" with capabilities: [[gpu]]': "no NVIDIA runtime",
    'could not select device driver "cdi" with capabilities: []': "CDI is switched off",
    # Those of CDI: captured from 26.1.5.
    "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=9": (
        "no CDI specification of this engine gives nvidia.com/gpu=9: write one again with `sudo nvidia-ctk"
    ),
    'CDI device injection failed: failed to inject devices: failed to stat CDI host device "/dev/nvidia7": no '
    "such file or directory": "the CDI specification is stale: it names /dev/nvidia7, which is not there",
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
    "failed: unable to start container process: error during container init: error mounting "
    '"/usr/lib/libcuda.so.535.1" to rootfs at "/usr/lib/libcuda.so.535.1": stat /usr/lib/libcuda.so.535.1: no '
    "such file or directory: unknown": "stale: it names /usr/lib/libcuda.so.535.1, which is not there",
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
    "failed: unable to start container process: error during container init: error running hook #0: fork/exec "
    "/usr/bin/nvidia-ctk: no such file or directory: unknown": "stale: it names /usr/bin/nvidia-ctk",
    "Unknown runtime specified nvidia": "no NVIDIA runtime",
    # (N)
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
    "container process: error during container init: error running hook #0: error running hook: "
    "exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\n"
    "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please update "
    "your driver to a newer version, or use an earlier cuda container: unknown": (
        "too old for this image (cuda>=12.4)"
    ),
    # (N)
    "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot "
    "open shared object file: no such file or directory: unknown": "no working driver",
    # (N)
    "nvidia-container-cli: device error: GPU-1: unknown device: unknown": "this GPU is not there",
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
    'container process: exec: "python3": executable file not found in $PATH: unknown': (
        "the image has no python3"
    ),
    'invalid mount config for type "bind": bind source path does not exist: /nonexist': (
        "does not see /nonexist"
    ),
    "Minimum memory limit allowed is 6MB": "memory_gb is too small: at least 6MB",
    # Podman 4.3 with runc
    "preparing container d299 for attach: runc: runc create failed: unable to start container process: error "
    "during container init: error applying cgroup configuration for process: unable to set memory limit to "
    "1048576 (current usage: 2875392, peak usage: 2912256): OCI runtime error": (
        "memory_gb is too small: at least 2875392"
    ),
    "container create: container-init binary not found on the host: stat /usr/libexec/podman/catatonit: no such "
    "file or directory": "no init for containers, /usr/libexec/podman/catatonit: install the package catatonit",
    "preparing container d299 for attach: runc: runc create failed: unable to start container process: error "
    "during container init: error setting rlimits for ready process: error setting rlimit type 7: operation not "
    "permitted: OCI permission denied": "may not give a process the limits",
    "preparing container d299 for attach: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=9": (
        "no CDI specification of this engine gives nvidia.com/gpu=9"
    ),
}

IMAGE = {
    # words → (sentence, whether it is final)
    "manifest for 127.0.0.1:5000/x:9 not found: manifest unknown: manifest unknown": (
        "no such tag", True,
    ),
    'Head "http://127.0.0.1:5000/v2/x/manifests/1": no basic auth credentials': (
        "docker login", True,
    ),
    'unauthorized: authentication required': ("docker login", True),
    'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused': (
        "does not answer", False,
    ),
    'Get "https://nosuch.invalid/v2/": dial tcp: lookup nosuch.invalid on 10.0.0.53:53: no such host': (
        "cannot be reached", False,
    ),
    "unexpected EOF": ("does not answer", False),
    "toomanyrequests: You have reached your pull rate limit.": ("allows no more pulls", False),
    "write /var/lib/docker/tmp/x: no space left on device": ("docker system df", True),
    "invalid reference format": ("no name of an image", True),
}  # fmt: skip


@pytest.mark.parametrize(("said", "meant"), START.items())
def test_refusals_to_start_are_explained(said: str, meant: str) -> None:
    assert meant in failures.of_start(said)


@pytest.mark.parametrize(("said", "meant"), IMAGE.items())
def test_failed_pulls_are_explained(said: str, meant: tuple[str, bool]) -> None:
    words, final = meant
    assert words in failures.of_image(said)
    assert failures.is_final(said) is final


@drawn(st.text(max_size=2000))
def test_unknown_words_are_handed_on(said: str) -> None:
    for told in (failures.of_start(said), failures.of_image(said), failures.of_engine(said)):
        assert len(told) < 700
    assert failures.of_output(0, said) is None


def test_an_engine_that_is_not_there() -> None:
    said = "Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2))"
    assert failures.of_engine(said).startswith("Docker does not answer")
    said = said.replace("FileNotFoundError(2)", "PermissionError(13, 'Permission denied')")
    assert "join the group `docker`" in failures.of_engine(said)


def test_a_job_that_failed_by_itself_is_not_blamed_on_its_container() -> None:
    assert failures.of_output(1, "Traceback ...\nRuntimeError: CUDA out of memory") is None
    assert failures.of_output(1, "PermissionError: [Errno 13] Permission denied: '/etc/x'") is None
    said = "PermissionError: [Errno 13] Permission denied: '/results/stage.txt.part'"
    assert "may not write" in str(failures.of_output(1, said))
    said = "[FATAL tini (7)] exec python3 failed: No such file or directory"
    assert "no python3" in str(failures.of_output(127, said))


# Endings


@pytest.mark.parametrize(
    ("state", "exit_code", "number", "oom"),
    [
        ({"ExitCode": 0}, 0, None, False),
        ({"ExitCode": 1}, 1, None, False),
        ({"ExitCode": 139}, None, signal.SIGSEGV, False),
        ({"ExitCode": 137, "OOMKilled": True}, None, signal.SIGKILL, True),
        ({"ExitCode": 0, "OOMKilled": True}, 0, None, False),
        ({"ExitCode": 255}, 255, None, False),
        ({"ExitCode": 128}, 128, None, False),
    ],
)
def test_what_a_state_tells(
    state: dict[str, object], exit_code: int | None, number: int | None, oom: bool
) -> None:
    ending = ending_of(state, timed_out=False)
    assert (ending.exit_code, ending.signal, ending.oom_killed) == (exit_code, number, oom)


# Options


def test_a_container_is_locked_in() -> None:
    found = options.options(WANTED)
    assert found["network_mode"] == "none"
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["read_only"]
    assert not found["use_config_proxy"]
    assert found["mem_limit"] == found["memswap_limit"] == 1 << 30
    limits = {ulimit["Name"]: ulimit["Hard"] for ulimit in found["ulimits"]}
    assert limits == {"core": 0, "memlock": -1, "stack": 67108864}
    assert [mount["ReadOnly"] for mount in found["mounts"]] == [True, False]
    assert "device_requests" not in found


def test_an_engine_without_rights_gets_no_raised_limits() -> None:
    found = options.options(replace(WANTED, limits=options.ProcessLimits.ENGINE))
    assert [ulimit["Name"] for ulimit in found["ulimits"]] == ["core"]
    assert not [one for one in options.command_line(replace(WANTED, limits=options.ProcessLimits.ENGINE))
                if "memlock" in one]  # fmt: skip


@pytest.mark.parametrize(
    ("device", "count", "ids", "flag"),
    [
        ("gpu:*", -1, None, "--gpus=all"),
        ("gpu:1", None, ["1"], "--gpus=device=1"),
        ("GPU-5a1f", None, ["GPU-5a1f"], "--gpus=device=GPU-5a1f"),
    ],
)
def test_gpus_are_asked_for(
    device: str, count: int | None, ids: list[str] | None, flag: str
) -> None:
    wanted = replace(WANTED, device=device)
    [request] = options.options(wanted)["device_requests"]
    assert (request.count or None, request.device_ids or None) == (count, ids)
    assert request.capabilities == [["gpu", "compute", "utility"]]
    assert flag in options.command_line(wanted)


def test_a_gpu_by_cdi_is_asked_for_as_such() -> None:
    wanted = replace(WANTED, device="nvidia.com/gpu=GPU-5a1f")
    [request] = options.options(wanted)["device_requests"]
    assert (request["Driver"], request["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=GPU-5a1f"])
    line = options.command_line(wanted)
    assert "--device=nvidia.com/gpu=GPU-5a1f" in line
    assert not [one for one in line if one.startswith("--gpus")]


def test_the_way_to_a_gpu_is_nvidias_runtime_where_there_is_one() -> None:
    card, cdi = gpu("T4"), Cdi(frozenset({"0"}))
    assert given("gpu:0", host(card, cdi=cdi)) == card.uuid
    assert given("gpu:0", host(card, nvidia_runtime=False, cdi=cdi)) == "nvidia.com/gpu=0"
    assert given("gpu:0", host(card, nvidia_runtime=False)) == card.uuid
    assert given("cpu", host(card, nvidia_runtime=False, cdi=cdi)) == "cpu"
    assert given("gpu:7", host(card, cdi=cdi)) == "gpu:7"


def test_the_command_line_says_the_same() -> None:
    line = options.command_line(WANTED)
    for flag in ("--network=none", "--cap-drop=ALL", "--read-only", "--user=1000:1000",
                 "--mount=type=bind,source=/a,target=/request,readonly",
                 "--mount=type=bind,source=/b,target=/results"):  # fmt: skip
        assert flag in line
    assert line[-4:] == ("--entrypoint=python3", "sha256:1", "-m", "job")


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, ("1000:100", None)),
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, ("0:0", None)),
        ({"SecurityOptions": ["name=seccomp,profile=default"], "Rootless": True}, ("0:0", None)),
        ({"SecurityOptions": None, "Rootless": False}, ("1000:100", None)),
        ({"SecurityOptions": ["name=userns"]}, ("1000:100", "host")),
    ],
)
def test_files_belong_to_the_user(
    info: dict[str, object], expected: tuple[str, str | None]
) -> None:
    assert options.user(info, 1000, 100) == expected


def test_paths_of_python_inside() -> None:
    assert options.variables({}, None)["PYTHONPATH"] == "/trt-matrix"
    found = options.variables({"PYTHONPATH": "/own", "PATH": "/x"}, "/added")
    assert found["PYTHONPATH"] == "/trt-matrix:/added:/own"
    assert "PATH" not in found


@drawn(st.text(max_size=300), st.text(max_size=300))
def test_names_are_what_docker_takes(run_id: str, environment: str) -> None:
    import re

    name = options.container_name(run_id, environment, "3f2a9c01")
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name)
    assert len(name) < 200


def test_memory() -> None:
    assert options.memory_bytes(1000, None) == 900
    assert options.memory_bytes(1000, 2.5) == 2_500_000_000


# Owners

HERE = Owner(machine="m", boot="b", namespace="1", pid=5, started=100)


@pytest.mark.parametrize(
    ("owner", "now", "gone"),
    [
        (HERE, 100, False),
        (HERE, None, True),
        (HERE, 101, True),  # the number was given again
        (replace(HERE, boot="earlier"), 100, True),
        (replace(HERE, machine="other"), None, False),
        (replace(HERE, namespace="2"), None, False),
    ],
)
def test_who_is_surely_gone(owner: Owner, now: int | None, gone: bool) -> None:
    assert owner.is_gone(HERE, now) is gone


def test_this_process_is_alive() -> None:
    mine = own()
    assert Owner.parse(mine.text) == mine
    assert not mine.is_gone(mine, started(mine.pid))
    assert started(2**22 + 1) is None


@drawn(st.text())
def test_other_labels_are_no_owner(text: str) -> None:
    owner = Owner.parse(text)
    assert owner is None or isinstance(owner, Owner)


# Other machines

SMI = """0, NVIDIA H200, GPU-5a1f2a3b-1111-2222-3333-444455556666, 9.0, 143771, 580.65.06
1, NVIDIA GeForce RTX 3090, GPU-0, 8.6, 24576, 580.65.06
"""


def test_gpus_of_another_machine() -> None:
    driver = driver_of(SMI)
    assert driver.version == "580.65.06"
    assert [(gpu.index, gpu.capability, gpu.data_centre) for gpu in driver.gpus] == [
        (0, (9, 0), True),
        (1, (8, 6), False),
    ]
    assert driver.gpus[0].memory_bytes == 143771 << 20


@drawn(st.text(alphabet="0123456789,. \nGPUx-[]", max_size=300))
def test_what_is_no_table_of_gpus(text: str) -> None:
    driver = driver_of(text)
    assert (driver.version is None) == (driver.problem is not None)


@pytest.mark.parametrize(
    ("address", "target", "socket"),
    [
        ("ssh://me@box", ("--", "me@box"), "/var/run/docker.sock"),
        ("ssh://box:2222", ("-p", "2222", "--", "box"), "/var/run/docker.sock"),
        ("ssh://me@box/run/other.sock", ("--", "me@box"), "/run/other.sock"),
    ],
)
def test_addresses(address: str, target: tuple[str, ...], socket: str) -> None:
    assert ssh_target(address) == (target, socket)


@pytest.mark.parametrize(
    "address", ["ssh://", "ssh://me:secret@box", "ssh://-oProxyCommand=x", "ssh://box:99999"]
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(EnvironmentUnavailableError) as caught:
        ssh_target(address)
    assert "secret" not in str(caught.value)


# Podman


def test_a_container_of_podman_is_locked_in_too() -> None:
    found = podman.specification(WANTED)
    assert found["netns"] == {"nsmode": "none"}
    assert found["cap_drop"] == ["ALL"]
    assert found["no_new_privileges"]
    assert found["read_only_filesystem"]
    assert not found["httpproxy"]
    memory = found["resource_limits"]["memory"]
    assert memory["limit"] == memory["swap"] == 1 << 30
    assert {r_limit["type"]: r_limit["hard"] for r_limit in found["r_limits"]} == {
        "core": 0, "memlock": (1 << 64) - 1, "stack": 67108864,
    }  # fmt: skip
    assert [mount["options"][-1] for mount in found["mounts"]][1:] == ["ro", "rw"]
    assert "devices" not in found
    assert not [one for one in podman.command_line(WANTED) if one.startswith("--device")]


@pytest.mark.parametrize(
    ("device", "name"),
    [("gpu:*", "all"), ("gpu:1", "1"), ("GPU-5a1f", "GPU-5a1f"), ("nvidia.com/gpu=0", "0")],
)
def test_podman_has_no_way_to_a_gpu_but_cdi(device: str, name: str) -> None:
    wanted = replace(WANTED, device=device)
    assert podman.specification(wanted)["devices"] == [{"path": f"nvidia.com/gpu={name}"}]
    line = podman.command_line(wanted)
    assert line[:2] == ("podman", "run")
    assert f"--device=nvidia.com/gpu={name}" in line
    assert not [one for one in line if one.startswith("--gpus")]


def test_what_every_engine_may_give_is_the_last_that_is_asked() -> None:
    asked = [
        dict(options.limits(replace(WANTED, limits=limit)))
        for limit in sorted(options.ProcessLimits)
    ]
    assert [sorted(one) for one in asked] == [
        ["core", "memlock", "stack"], ["core"], ["core", "nofile", "nproc"],
    ]  # fmt: skip
    assert failures.refuses_limits("crun: setrlimit `RLIMIT_MEMLOCK`: Operation not permitted")
    assert not failures.refuses_limits("no such image")
