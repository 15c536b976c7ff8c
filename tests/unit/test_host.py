"""What Docker tells of a host; the answers are a real engine's, shortened."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hosts import gpu
from trt_matrix.core.hosts.cdi import Cdi
from trt_matrix.environments import host as module
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.host import facts_of, is_local, logins, read_host
from trt_matrix.errors import EnvironmentUnavailableError

INFO: dict[str, Any] = {
    "ServerVersion": "20.10.24+dfsg1",
    "Runtimes": {"io.containerd.runc.v2": {"path": "runc"}, "runc": {"path": "runc"}},
    "DockerRootDir": "/var/lib/docker",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
}
NO_DRIVER = Driver(problem="no NVIDIA driver")


def facts(info: dict[str, Any], *, local: bool = True, **more: Any) -> Any:
    arguments: dict[str, Any] = {"listed": [], "driver": NO_DRIVER, "registries": frozenset()}
    return facts_of(INFO | info, local=local, **(arguments | more))


@pytest.fixture(autouse=True)
def no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)


def test_an_engine_without_gpus(tmp_path: Path) -> None:
    found = facts({"DockerRootDir": str(tmp_path)})
    assert (found.docker, found.docker_version) == (None, "20.10.24+dfsg1")
    assert (found.nvidia_runtime, found.cdi) == (False, None)
    assert found.disk_free_bytes > 0
    assert (found.driver, found.driver_problem) == (None, "no NVIDIA driver")


def test_the_driver_and_its_gpus_are_handed_on() -> None:
    found = facts({}, driver=Driver(version="580.1", gpus=(gpu("T4"),)))
    assert (found.driver, found.driver_problem, found.gpus) == ("580.1", None, (gpu("T4"),))


def test_the_nvidia_runtime() -> None:
    runtimes = {"nvidia": {"path": "nvidia-container-runtime"}, "runc": {"path": "runc"}}
    assert facts({"Runtimes": runtimes}).nvidia_runtime is True


def test_the_hook_serves_without_a_registered_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert facts({}).nvidia_runtime is True
    assert facts({}, local=False).nvidia_runtime is False  # another machine's programs are not ours


def test_cdi_devices_that_the_engine_lists() -> None:
    newer = {"ServerVersion": "28.3.1", "CDISpecDirs": ["/etc/cdi"]}
    devices = [{"Source": "cdi", "ID": f"nvidia.com/gpu={name}"} for name in ("0", "GPU-1", "all")]
    found = facts(newer | {"DiscoveredDevices": devices}, local=False).cdi
    assert found == Cdi(frozenset({"0", "GPU-1", "all"}))
    devices = [{"Source": "cdi", "ID": "amd.com/gpu=0"}]
    assert facts(newer | {"DiscoveredDevices": devices}, local=False).cdi == Cdi(frozenset())
    assert facts(newer, local=False).cdi == Cdi(frozenset())


def test_cdi_files_of_an_engine_that_lists_none(tmp_path: Path) -> None:
    folders = {"ServerVersion": "26.1.5", "CDISpecDirs": [str(tmp_path), str(tmp_path / "missing")]}
    assert facts(folders).cdi == Cdi(frozenset())
    devices = "[{name: '0'}, {name: GPU-1}, {other: 2}, 3]"
    (tmp_path / "a.yaml").write_text(
        f"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: {devices}\n"
    )
    (tmp_path / "b.json").write_text('{"kind": "nvidia.com/gpu", "devices": [{"name": "all"}]}')
    (tmp_path / "c.yaml").write_text("kind: vendor.com/net\ndevices: [{name: eth0}]\n")
    assert facts(folders).cdi == Cdi(frozenset({"0", "GPU-1", "all"}))
    # Another machine's folders cannot be looked into: its engine will say what it does not know.
    assert facts(folders, local=False).cdi == Cdi(None)


@pytest.mark.parametrize(
    "text", ["", "[", "a: [\n", "- 1", "kind: nvidia.com/gpu", "\x00", "!!python/object:x {}"]
)
def test_a_damaged_specification_gives_no_device(tmp_path: Path, text: str) -> None:
    (tmp_path / "nvidia.yaml").write_text(text)
    assert facts({"CDISpecDirs": [str(tmp_path)]}).cdi == Cdi(frozenset())


@pytest.mark.parametrize(
    "info", [{"DockerRootDir": "/no/such/folder"}, {"DockerRootDir": None, "Runtimes": None}]
)
def test_an_engine_that_tells_little(info: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOCKER_ROOT", Path("/no/such/folder"))
    found = facts(info | {"DriverStatus": None, "CDISpecDirs": None, "DiscoveredDevices": None})
    assert found.disk_free_bytes is None


def test_images_of_containerds_store_lie_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONTAINERD_ROOT", tmp_path)
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    found = facts({"DriverStatus": status, "DockerRootDir": "/no/such/folder"})
    assert found.disk_free_bytes is not None


def test_the_disk_of_another_machine_is_not_ours(tmp_path: Path) -> None:
    assert facts({"DockerRootDir": str(tmp_path)}, local=False).disk_free_bytes is None


def test_images_by_tag_and_digest_with_what_they_tell() -> None:
    listed = [
        {
            "RepoTags": ["nvcr.io/nvidia/tensorrt:24.04-py3"],
            "RepoDigests": ["nvcr.io/nvidia/tensorrt@sha256:1"],
            "Labels": {"com.nvidia.tensorrt.version": "8.6.3.1"},
        },
        {"RepoTags": None, "RepoDigests": None, "Labels": None},
    ]
    told = {"tensorrt": "8.6.3.1"}
    assert facts({}, listed=listed).images == {
        "nvcr.io/nvidia/tensorrt:24.04-py3": told,
        "nvcr.io/nvidia/tensorrt@sha256:1": told,
    }


@pytest.mark.parametrize(
    ("address", "local"),
    [(None, True), ("", True), ("unix:///run/docker.sock", True), ("tcp://a:2375", False), ("ssh://a", False)],
)  # fmt: skip
def test_where_an_engine_is(address: str | None, local: bool) -> None:
    assert is_local(address) is local


# Registries


def configured(tmp_path: Path, text: str) -> frozenset[str]:
    (tmp_path / "config.json").write_text(text)
    return logins({"DOCKER_CONFIG": str(tmp_path)})


def test_registries_are_named_and_credentials_are_not(tmp_path: Path) -> None:
    found = configured(
        tmp_path,
        json.dumps(
            {
                "auths": {"nvcr.io": {"auth": "c2VjcmV0"}, "https://index.docker.io/v1/": {}},
                "credHelpers": {"gcr.io": "gcloud"},
                "credsStore": "desktop",
            }
        ),
    )
    assert found == {"nvcr.io", "docker.io", "gcr.io"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"auths": null}', '{"auths": ["x"]}', "\x00"]
)
def test_a_configuration_that_says_nothing(tmp_path: Path, text: str) -> None:
    assert configured(tmp_path, text) == frozenset()


def test_no_configuration(tmp_path: Path) -> None:
    assert logins({"DOCKER_CONFIG": str(tmp_path / "missing")}) == frozenset()


# The engine itself


class Silent:
    address = None

    @property
    def facts(self) -> dict[str, Any]:
        message = "Docker does not answer: is it installed and started?"
        raise EnvironmentUnavailableError(message)


def test_an_engine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from trt_matrix.environments.docker import engine

    monkeypatch.setattr(engine, "local_engine", Silent)
    monkeypatch.setattr(module, "read_driver", lambda: Driver(version="580.1", gpus=(gpu("T4"),)))
    host_facts = read_host()
    assert host_facts.docker == "Docker does not answer: is it installed and started?"
    assert (host_facts.driver, host_facts.gpus) == ("580.1", (gpu("T4"),))
    assert host_facts.images == {}


ROOTLESS = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}


def test_a_rootless_engine_limits_by_cgroup_v2_and_systemd_alone() -> None:
    found = facts(ROOTLESS | {"CgroupDriver": "systemd", "CgroupVersion": "2"})
    assert (found.rootless, found.limits) == (True, True)
    found = facts(ROOTLESS | {"CgroupDriver": "none", "CgroupVersion": "1"})
    assert (found.rootless, found.limits) == (True, False)
    found = facts({"SecurityOptions": ["name=userns"], "CgroupDriver": "cgroupfs"})
    assert (found.rootless, found.limits) == (False, True)


@pytest.mark.parametrize(
    ("folders", "written"),
    [
        (["/home/me/.config/cdi", "/run/user/1000/cdi", "/etc/cdi"], "/home/me/.config/cdi"),
        (["/run/user/1000/cdi", "/home/me/.config/cdi"], "/home/me/.config/cdi"),
        (["/etc/cdi", "/var/run/cdi"], "/etc/cdi"),
    ],
)
def test_a_users_specification_is_written_where_its_engine_looks(
    folders: list[str], written: str
) -> None:
    found = facts(ROOTLESS | {"ServerVersion": "29.9.0", "CDISpecDirs": folders}).cdi
    assert found == Cdi(frozenset(), written)
    said = found.obstacle([gpu("T4")], [gpu("T4")])
    root = "sudo " if written == "/etc/cdi" else ""
    assert f"`{root}nvidia-ctk cdi generate --output={written}/nvidia.yaml` writes one" in said
    assert facts({"ServerVersion": "29.9.0", "CDISpecDirs": folders}).cdi.folder == "/etc/cdi"
