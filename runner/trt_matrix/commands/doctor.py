"""What `trt-matrix doctor` tells: this host's facts, what of matrix.yaml can run here, what to do."""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trt_matrix.commands.columns import columns
from trt_matrix.config import catalog
from trt_matrix.config import matrix as configuration
from trt_matrix.config.environments import Ngc
from trt_matrix.config.matrix import Config
from trt_matrix.core.hosts import wheels
from trt_matrix.core.hosts.compatibility import HostFacts, ImageFacts, Obstacle, gpu_obstacle
from trt_matrix.core.hosts.gpus import written
from trt_matrix.core.plan import without_device
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.factory import axes_of, environments_of, host_at, machines_of
from trt_matrix.environments.preflight import this_driver, this_host
from trt_matrix.errors import ConfigError, ExitCode


@dataclass(frozen=True, slots=True)
class EnvironmentFinding:
    """One environment of matrix.yaml on one device."""

    environment: str
    device: str
    obstacle: Obstacle | None
    here: bool = True
    """Whether it would run on this machine."""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    driver: Driver
    host: HostFacts
    matrix: Path
    findings: Sequence[EnvironmentFinding] = ()
    elsewhere: Mapping[str, HostFacts] = field(default_factory=dict)
    """Name in `hosts:` → what that machine offers, or why it does not answer."""
    notes: Sequence[str] = ()
    """Where an image that is here tells something else of itself than the catalogue."""
    pulls: Sequence[ImageFacts] = ()
    """Containers that can run here and are to be pulled for it."""
    problem: ConfigError | None = None
    """Why there are no findings: matrix.yaml is wrong."""

    def exit_code(self) -> ExitCode:
        """Returns 2 where matrix.yaml is wrong, 4 where an environment of it cannot run here."""
        if self.problem is not None:
            return ExitCode.BAD_CONFIG
        stopped = any(finding.obstacle for finding in self.findings)
        return ExitCode.COULD_NOT_RUN if stopped else ExitCode.OK

    def text(self) -> str:
        there = [(name, _in_short(host)) for name, host in self.elsewhere.items()]
        lines = columns([*_facts(self.driver, self.host), *there])
        if offers := _offers(self.driver, self.host):
            lines += ["TensorRT that could run here:"]
            lines += columns([(f"  {how}", versions) for how, versions in offers])
        lines.append("")
        if self.problem is not None:
            lines.append(str(self.problem))
        elif not self.findings:
            lines.append(f"{self.matrix}: not there; `trt-matrix init MODEL.onnx` writes one")
        else:
            lines.append(f"{self.matrix}:")
            lines += columns(
                [
                    (f"  {finding.environment}", finding.device, _fate(finding))
                    for finding in self.findings
                ]
            )
            able = sum(finding.obstacle is None for finding in self.findings)
            lines.append(f"{able} of {len(self.findings)} can run here")
            if self.pulls:
                lines.append(f"to pull: {_told(self.pulls)}")
        return "\n".join([*lines, *self.notes, *_advice(self)])

    def summary(self) -> Mapping[str, Any]:
        host = dataclasses.asdict(self.host)
        host["cdi"] = self.host.cdi and sorted(self.host.cdi.names or ())
        host["images"] = sorted(self.host.images)
        host["logins"] = sorted(self.host.logins)
        return {
            "host": host | {"cuda": self.driver.cuda, "silent_gpus": list(self.driver.silent)},
            "hosts": {name: _in_short(host) for name, host in self.elsewhere.items()},
            "offers": dict(_offers(self.driver, self.host)),
            "matrix": str(self.matrix),
            "problems": list(self.problem.problems) if self.problem else [],
            "environments": [
                {
                    "environment": finding.environment,
                    "device": finding.device,
                    "status": str(finding.obstacle[0]) if finding.obstacle else "ok",
                    "reason": finding.obstacle[1] if finding.obstacle else None,
                }
                for finding in self.findings
            ],
            "notes": list(self.notes),
            "advice": _advice(self),
        }


def examine(matrix: Path) -> DoctorReport:
    """Asks this machine and, where there is a matrix.yaml, every environment in it; changes nothing."""
    driver, host = this_driver(), this_host()
    if not matrix.exists():
        return DoctorReport(driver, host, matrix)
    try:
        config, _ = configuration.load(matrix)
    except ConfigError as error:
        return DoctorReport(driver, host, matrix, problem=error)
    machines = machines_of(config)
    axes = axes_of(config, environments_of(config, matrix.resolve().parent), machines)
    findings = [
        EnvironmentFinding(
            axis.environment, device, axis.obstacle(device), not machines[axis.environment].name
        )
        for axis in axes
        for device in axis.places(config.devices)
    ]
    containers = _containers(config)
    able = {finding.environment for finding in findings if finding.obstacle is None}
    return DoctorReport(
        driver,
        host,
        matrix,
        findings,
        elsewhere={name: host_at(address) for name, address in config.hosts.items()},
        notes=[
            *without_device(axes, config.devices),
            *(note for image in containers.values() for note in _notes(image, host)),
        ],
        pulls=[
            image
            for name, image in containers.items()
            if name in able and image.reference not in host.images
        ],
    )


def _containers(config: Config) -> Mapping[str, ImageFacts]:
    """Returns id → NVIDIA's container that it is, as published; those for this machine."""
    return {
        name: row
        for entry in config.environments
        if isinstance(entry, Ngc) and entry.host is None
        for name, tag in zip(entry.ids(), entry.tags(), strict=True)
        if (row := catalog.find(tag)) is not None
    }


def _notes(image: ImageFacts, host: HostFacts) -> list[str]:
    reported = host.images.get(image.reference or "", {})
    return [
        f"note: {image.tag}: its {difference}"
        for difference in catalog.differences(image, reported)
    ]


def _told(images: Sequence[ImageFacts]) -> str:
    return f"{len(images)} image{'s' * (len(images) > 1)}, about {_bytes(images) / 1e9:.0f} GB"


def _bytes(images: Sequence[ImageFacts]) -> int:
    return sum(image.size_bytes or 0 for image in images)


def _in_short(host: HostFacts) -> str:
    """Returns what another machine offers, on one line."""
    if host.docker is not None:
        return host.docker
    driver = f"NVIDIA {host.driver}" if host.driver else host.driver_problem or "no NVIDIA driver"
    gpus = [f"gpu:{gpu.index} {gpu.name}" for gpu in host.gpus]
    return ", ".join([f"docker {_engine(host)}, {_way(host)}", driver, *gpus])


def _engine(host: HostFacts) -> str:
    if not host.rootless:
        return str(host.docker_version)
    limits = "" if host.limits else ", no limits of memory and processes"
    return f"{host.docker_version}, rootless{limits}"


def _way(host: HostFacts) -> str:
    if host.nvidia_runtime:
        return "GPUs through NVIDIA runtime"
    if host.cdi is None:
        return "no NVIDIA runtime, no CDI"
    if host.cdi.names is None:
        return "GPUs through CDI, as far as can be seen from here"
    return (
        f"GPUs through CDI: {', '.join(sorted(host.cdi.names))}"
        if host.cdi.names
        else "CDI without NVIDIA's GPUs"
    )


def _facts(driver: Driver, host: HostFacts) -> list[tuple[str, str]]:
    facts = [
        (
            "trt-matrix",
            f"{version('trt-matrix')}, Python {platform.python_version()}, {platform.system()} "
            f"{platform.machine()}",
        ),
        ("driver", f"NVIDIA {driver.version}" if driver.version else driver.problem or "unknown"),
    ]
    if driver.version:
        facts[-1] = ("driver", f"NVIDIA {driver.version}, runs CUDA {driver.cuda} natively")
    for gpu in driver.gpus:
        memory = f", {gpu.memory_bytes / 2**30:.0f} GiB" if gpu.memory_bytes else ""
        capability = f"compute capability {written(gpu.capability)}"
        facts.append((f"gpu:{gpu.index}", f"{gpu.name}, {capability}{memory}, {gpu.uuid}"))
    facts += [
        (gpu, f"does not answer: {problem}")
        for gpu, _, problem in (silent.partition(": ") for silent in driver.silent)
    ]
    if host.docker is not None:
        return [*facts, ("docker", host.docker)]
    free = host.disk_free_bytes
    return [
        *facts,
        ("docker", f"{_engine(host)}, {_way(host)}"),
        ("disk", "not known" if free is None else f"{free / 1e9:.0f} GB free for images"),
        ("logins", ", ".join(sorted(host.logins)) or "none; NVIDIA's public images need none"),
    ]


def _offers(driver: Driver, host: HostFacts) -> list[tuple[str, str]]:
    """Returns by which way → which versions of TensorRT could run on the GPUs here; none without a GPU."""
    if not driver.gpus:
        return []
    offers = [("ngc", _containers_here(driver, host))]
    for package in (wheels.TENSORRT, wheels.RTX):
        wheel = wheels.offered(package, driver.version, driver.gpus)
        offers.append(
            (f"venv: {package}", wheel or "no version runs on these GPUs with this driver")
        )
    return offers


def _containers_here(driver: Driver, host: HostFacts) -> str:
    able: list[list[ImageFacts]] = [[]]
    for row in catalog.rows():
        runs = any(gpu_obstacle(row, driver.version, gpu) is None for gpu in driver.gpus)
        able = [*able[:-1], [*able[-1], row]] if runs else [*able, []]
    ranges = [
        f"{run[0].tensorrt} to {run[-1].tensorrt} ({run[0].tag} to {run[-1].tag})"
        for run in able
        if run
    ]
    if not ranges:
        return "none runs on these GPUs with this driver"
    return ", ".join(ranges) + ("" if host.docker is None else "; but Docker does not answer")


def _advice(diagnosis: DoctorReport) -> list[str]:
    """Returns what to do about this host, where an environment waits for it."""
    waiting = {
        finding.device for finding in diagnosis.findings if finding.obstacle and finding.here
    }
    advice = []
    if diagnosis.driver.version is None and waiting - {"cpu"}:
        advice.append(
            "to do: for the cells on GPUs, install NVIDIA's driver (`nvidia-smi` must answer) or "
            "run on another machine; the others run without"
        )
    host = diagnosis.host
    if diagnosis.driver.version and host.docker is None and not host.nvidia_runtime:
        if host.cdi is None:
            advice.append("to do: let Docker reach the GPUs: install nvidia-container-toolkit")
        elif reason := host.cdi.obstacle(host.gpus, host.gpus):
            advice.append(f"to do: {reason}")
    if host.rootless and not host.limits:
        advice.append(
            "to do: let rootless Docker limit what a job takes: it needs cgroup v2 and systemd, and passes over every "
            "limit without them"
        )
    free = host.disk_free_bytes
    if free is not None and _bytes(diagnosis.pulls) > free:
        advice.append(
            f"to do: free some disk: {len(diagnosis.pulls)} images take about "
            f"{_bytes(diagnosis.pulls) / 1e9:.0f} GB, Docker has {free / 1e9:.0f} GB free"
        )
    return advice


def _fate(finding: EnvironmentFinding) -> str:
    return ": ".join(map(str, finding.obstacle)) if finding.obstacle else "can run"
