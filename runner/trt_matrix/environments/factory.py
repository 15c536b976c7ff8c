"""matrix.yaml → environments, and what the plan must know of them."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trt_matrix.config.entry_point import PYTHON, WithFunction
from trt_matrix.config.environments import (
    Dumps,
    Elsewhere,
    EnvironmentEntry,
    Image,
    Interpreter,
    Ngc,
)
from trt_matrix.config.matrix import Config
from trt_matrix.config.sections import GPU_PROVIDERS, OnnxRuntime, TensorRt
from trt_matrix.config.venv import Venv
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.hosts.compatibility import HostFacts
from trt_matrix.core.hosts.gpus import Gpu, Machine
from trt_matrix.core.plan import Axis, Recording
from trt_matrix.environments import preflight
from trt_matrix.environments.base import Ending, Environment, Identity, JobRun, Transfer, untold
from trt_matrix.environments.docker.environment import DockerEnvironment, NgcEnvironment
from trt_matrix.environments.dumps import DumpsEnvironment, recording_of
from trt_matrix.environments.interpreter import InterpreterEnvironment
from trt_matrix.environments.packages import Sources
from trt_matrix.environments.venv import VenvEnvironment, default_cache
from trt_matrix.errors import EnvironmentUnavailableError

OFFERED: Mapping[str, frozenset[Precision]] = {
    "onnxruntime": frozenset({Precision.FP32, Precision.INT8}),
    "tensorrt": frozenset(Precision),
    PYTHON: frozenset(Precision),
}
"""engine → precisions; of a function, what it is made for."""


class ElsewhereEnvironment:
    """An environment on another machine: cannot run here; `trt_matrix.packs` packs its jobs, and answers for it once they came back."""

    def __init__(self, name: str, engine: str) -> None:
        self.name = name
        self.engine = engine
        self._where = (
            f"it is on another machine: `trt-matrix pack -e {name}`, run it there, "
            "`trt-matrix merge results.tar`"
        )

    def obstacle(self, device: str) -> str | None:
        del device
        return self._where

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        del offline, transfer
        raise EnvironmentUnavailableError(self._where)

    def identity(self) -> Identity | None:
        return None

    def run(self, job: JobRun) -> Ending:
        del job
        return Ending(exit_code=None, error=self._where)


def environments_of(
    config: Config, root: Path, evaluation: Sequence[Path] = ()
) -> Mapping[str, Environment]:
    """Returns id → environment, in the order of matrix.yaml, whose folder is `root`; nothing is made yet.

    Recorded outputs are named after the images in `evaluation`.
    """
    cache = default_cache(os.environ)
    environments: dict[str, Environment] = {}
    for entry in config.environments:
        for index, name in enumerate(entry.ids()):
            environments[name] = _environment(entry, index, name, config, root, cache, evaluation)
    return environments


def _environment(
    entry: EnvironmentEntry,
    index: int,
    name: str,
    config: Config,
    root: Path,
    cache: Path,
    evaluation: Sequence[Path],
) -> Environment:
    hosts = config.hosts
    match entry:
        case Dumps():
            return DumpsEnvironment(
                entry,
                root=root,
                known=config.recordable(entry),
                heads=list(config.heads),
                images=[path.stem for path in evaluation],
                least_coverage=config.calibration.coverage,
            )
        case Venv():
            driver = preflight.this_driver().version if entry.engine == "tensorrt" else None
            return VenvEnvironment(
                name=name,
                engine=entry.engine,
                requirements=entry.requirements(index, driver),
                python=entry.python,
                cache=cache,
                sources=Sources(
                    index=tuple(_place(index, root) for index in entry.index),
                    wheels=entry.wheels and root / entry.wheels,
                ),
                wheel=entry.tensorrt(index, driver),
                pythons=entry.pythons(index),
            )
        case Interpreter():
            return InterpreterEnvironment(
                name=name,
                engine=entry.engine,
                python=root / entry.interpreter,
                variables=entry.env,
                library_paths=[root / path for path in entry.library_path],
            )
        case Ngc():
            return NgcEnvironment(
                name=name, tag=entry.tags()[index], cache=cache, address=hosts.get(entry.host or "")
            )
        case Elsewhere():
            return ElsewhereEnvironment(name, entry.engine)
        case Image():
            return DockerEnvironment(
                name=name,
                engine=entry.engine,
                image=entry.image,
                python=entry.python,
                requirements=entry.requirements(index),
                memory_gb=entry.memory_gb,
                cache=cache,
                address=hosts.get(entry.host or ""),
            )


def _place(index: str, root: Path) -> str:
    """Returns an index as uv takes it: an address, or the whole path of a folder."""
    return index if "://" in index else str((root / Path(index).expanduser()).absolute())


def reference_environment() -> Environment:
    """Returns this tool's own Python, whose onnxruntime the lock pins."""
    return InterpreterEnvironment(
        name="reference", engine="onnxruntime", python=Path(sys.executable)
    )


def reference_options(threads: int) -> Mapping[str, Any]:
    """Returns options without graph optimisation.

    With it ONNX Runtime quantises float weights of half-quantised graphs, silently.
    """
    return {
        "provider": "CPUExecutionProvider",
        "provider_options": {},
        "threads": threads,
        "graph_optimization": "disabled",
        "session_config": {},
    }


def engine_options_of(config: Config) -> Mapping[str, Mapping[str, Any]]:
    """Returns id → the options handed to its engine."""
    by_environment: dict[str, Mapping[str, Any]] = {}
    for entry in config.environments:
        if isinstance(entry, Dumps):  # it was run already, with whatever options
            by_environment[entry.name] = {}
            continue
        if entry.engine == PYTHON:
            continue  # its files are among them
        own = entry.options if isinstance(entry.options, TensorRt) else config.engines.tensorrt
        options = _onnxruntime(config, entry) or own
        stated = options.model_dump(mode="json")
        if not stated.get("fp32_layers", True):
            # It came later: answers of packs that were made before it stay answers.
            del stated["fp32_layers"]
        by_environment.update(dict.fromkeys(entry.ids(), stated))
    return by_environment


def _onnxruntime(config: Config, entry: EnvironmentEntry) -> OnnxRuntime | None:
    """Returns an entry's options of ONNX Runtime; None where another engine is inside."""
    other = isinstance(entry, Dumps) or entry.engine != "onnxruntime"
    return None if other else config.onnxruntime_of(entry)


def machines_of(config: Config) -> Mapping[str, Machine]:
    """Returns id → the machine that its jobs run on; asks every host of matrix.yaml that is used."""
    machines: dict[str, Machine] = {}
    for entry in config.environments:
        host = entry.host if isinstance(entry, Ngc | Image) else None
        machine = _machine_at(host, config.hosts[host]) if host else preflight.this_machine()
        machines.update(dict.fromkeys(entry.ids(), machine))
    return machines


def _machine_at(name: str, address: str) -> Machine:
    host = host_at(address)
    return Machine(name=name, driver=host.driver, gpus=host.gpus)


def host_at(address: str) -> HostFacts:
    """Returns what another machine offers, or why it cannot be asked: each of its cells will say so."""
    from trt_matrix.environments.docker.hosts import remote_engine  # noqa: PLC0415 - imports the SDK

    try:
        return remote_engine(address).host
    except EnvironmentUnavailableError as error:
        return HostFacts(docker=str(error))


def axes_of(
    config: Config, environments: Mapping[str, Environment], machines: Mapping[str, Machine]
) -> list[Axis]:
    """Returns what the plan must know, one an environment."""
    axes: list[Axis] = []
    for entry in config.environments:
        # One provider an entry: what is planned on a GPU also runs there.
        options = _onnxruntime(config, entry)
        on_gpu = options is None or options.provider in GPU_PROVIDERS
        functions = frozenset(entry.functions) if isinstance(entry, WithFunction) else frozenset()
        if isinstance(entry, WithFunction) and functions:
            on_gpu = entry.device == "gpu"
        devices = frozenset({"gpu" if on_gpu else "cpu"})
        recording = (
            recording_of(entry, config.recordable(entry)) if isinstance(entry, Dumps) else None
        )
        axes += [
            _axis(
                environments[name],
                devices,
                recording,
                machines.get(name, Machine()).gpus,
                functions,
            )
            for name in entry.ids()
        ]
    return axes


def _axis(
    environment: Environment,
    devices: frozenset[str],
    recording: Recording | None,
    gpus: tuple[Gpu, ...],
    functions: frozenset[str],
) -> Axis:
    def obstacle(device: str) -> tuple[Status, str] | None:
        reason = environment.obstacle(device)
        return (Status.UNAVAILABLE, reason) if isinstance(reason, str) else reason

    return Axis(
        environment=environment.name,
        devices=devices,
        precisions=OFFERED[environment.engine],
        implicit=environment.engine == "tensorrt",
        obstacle=obstacle,
        recording=recording,
        gpus=gpus,
        functions=functions,
    )
