"""One start of the job in a container: with this machine's folders, or with copies on another one."""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.environments.base import Ending, JobRun
from trt_matrix.environments.docker import options, owner, remote_files
from trt_matrix.environments.docker.container import run_container
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.prepared import PreparedImage
from trt_matrix.environments.machine import PROGRAM, program


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerStart:
    """What is asked of a start, wherever its files are."""

    environment: str
    made: PreparedImage
    executable: str
    device: str
    memory_gb: float | None
    variables: Mapping[str, str]
    job: JobRun


def run_job(engine: Engine, start: ContainerStart) -> Ending:
    """Runs `python -m job` to its end; afterwards the results are in `start.job.result`."""
    return (_run_there if engine.has_remote_files else _run_here)(engine, start)


def _run_here(engine: Engine, start: ContainerStart) -> Ending:
    user, userns = options.user(engine.facts, os.getuid(), os.getgid())
    binds = (
        options.Bind(str(PROGRAM), f"{options.PROGRAM}/job"),
        options.Bind(str(start.job.request.absolute()), options.REQUEST),
        options.Bind(str(start.job.result.absolute()), options.RESULTS, read_only=False),
    )
    wanted = _wanted(engine, start, user=user, userns=userns, binds=binds, program=options.PROGRAM)
    return run_container(
        engine, wanted, log=start.job.log, deadline_s=start.job.deadline_s, tick=start.job.tick
    )


def _run_there(engine: Engine, start: ContainerStart) -> Ending:
    """The same with volumes; root inside owns these, and has no capabilities either."""
    there = f"{remote_files.INPUTS}/programs/{program()}"
    wanted = _wanted(
        engine, start, user="0:0", userns=None, binds=remote_files.BINDS, program=there
    )
    remote_files.send_inputs(engine, wanted.image, start.job.request)
    return run_container(
        engine,
        wanted,
        log=start.job.log,
        deadline_s=start.job.deadline_s,
        tick=start.job.tick,
        prepare=lambda container: remote_files.send_request(container, start.job.request),
        collect=lambda container: remote_files.fetch_results(container, start.job.result),
    )


def _wanted(
    engine: Engine,
    start: ContainerStart,
    *,
    user: str,
    userns: str | None,
    binds: tuple[options.Bind, ...],
    program: str,
) -> options.WantedContainer:
    image = start.made
    return options.WantedContainer(
        image=image.image.id,
        name=options.container_name(start.job.run_id, start.environment, uuid.uuid4().hex[:8]),
        entrypoint=(start.executable, "-m", "job", options.REQUEST, options.RESULTS),
        labels=owner.labels(start.job.run_id, start.environment),
        user=user,
        userns=userns,
        binds=binds,
        memory_bytes=options.memory_bytes(engine.facts["MemTotal"], start.memory_gb),
        variables={
            **options.variables(image.base.variables, image.packages_folder, program),
            **start.variables,
        },
        device=start.device,
        working_dir=program,
    )
