"""matrix.yaml → pack.tar: every job of the chosen environments, to be run where no network is."""

import dataclasses
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trt_matrix.config import matrix as configuration
from trt_matrix.config.environments import Elsewhere
from trt_matrix.config.matrix import Config
from trt_matrix.containers import job
from trt_matrix.containers.job import protocol
from trt_matrix.core.records import digest
from trt_matrix.core.words import count
from trt_matrix.diagnosis.during_run import layers_of_last_run
from trt_matrix.environments.base import Environment
from trt_matrix.errors import NothingSelectedError
from trt_matrix.execution.matrix import ExperimentRun, SettledBeside
from trt_matrix.execution.progress import Progress
from trt_matrix.packs.environment import PackedEnvironment
from trt_matrix.planning.arrays import data_of
from trt_matrix.planning.experiment import Experiment, read_experiment
from trt_matrix.store.objects import require_folder
from trt_matrix.store.results import Store, explained, sha256_of, utc_now
from trt_matrix.store.untrusted import remove

FOLDER = "pack"
"""Everything in the archive is under it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    file: Path
    requests: Sequence[str]
    size_bytes: int

    def text(self) -> str:
        return (
            f"{self.file}: {count(len(self.requests), 'job start')}, {self.size_bytes / 1e6:.0f} MB\n"
            f"carry it to the other machine; there: tar xf {self.file.name} && "
            f"python3 {FOLDER}/run-pack.py    (--help: another Python, or a container)\n"
            "carry results.tar back; here: trt-matrix merge results.tar"
        )


def pack(
    source: Path,
    results: Path,
    output: Path,
    *,
    select: Sequence[str],
    progress: Progress,
    settling: Callable[[Experiment, Store], SettledBeside] = lambda *_: lambda *_: False,
) -> Packed:
    """Writes the pack; the reference and the shared table are computed here, now. What is known already is not packed.

    `select` are globs over cell ids; all of them are packed, whether they could run here or not; without any, those of
    `elsewhere:` environments. `settling` gives what says of outputs that were not kept whether they are needed again;
    without it they are asked for anew.

    Raises:
        RunnerError: the experiment cannot be read, or nothing is left to pack.
    """
    require_folder(output)
    config, _ = configuration.load(source)
    select = select or _elsewhere(config)
    store = Store(results)
    with store.workspace() as workspace:
        folder = workspace / FOLDER
        for name in ("objects", "requests"):
            (folder / name).mkdir(parents=True)
        packed: dict[str, PackedEnvironment] = {}

        def around(environment: Environment) -> Environment:
            packed[environment.name] = PackedEnvironment(
                environment, folder, config.repeats_range()[0]
            )
            return packed[environment.name]

        experiment = read_experiment(source, select, around)
        _ask(experiment, store, progress, settling(experiment, store))
        kept = [
            request
            for environment in packed.values()
            # Devices are asked at once, each in its order: sorting by device is stable.
            for request in sorted(environment.kept.values(), key=_device)
        ]
        if not kept:
            message = "nothing to pack: every job of these cells has been run elsewhere and merged"
            raise NothingSelectedError(message)
        add_program(folder)
        content = seal(folder, config.name, kept)
        # What comes back must have gone out from here.
        with explained(store.root):
            protocol.write_json(str(sent(store.root, content["id"])), content)
        _write(folder, output)
        size = output.stat().st_size
    return Packed(output, tuple(request["id"] for request in kept), size)


def _elsewhere(config: Config) -> list[str]:
    """Returns globs over the cells of environments that are nowhere but on another machine.

    Raises:
        NothingSelectedError: there are none.
    """
    patterns = [
        f"{name}/*"
        for environment in config.environments
        if isinstance(environment, Elsewhere)
        for name in environment.ids()
    ]
    if not patterns:
        message = "matrix.yaml has no `elsewhere:` environment; name what to pack with -e"
        raise NothingSelectedError(message)
    return patterns


def _device(request: Mapping[str, Any]) -> str:
    """Returns `ENVIRONMENT@DEVICE` of a request's id."""
    return str(request["id"]).rpartition("@")[0]


def sent(store: Path, pack_id: str) -> Path:
    """Returns where in `results/.store` the list of what a pack held is kept; `pack_id` is its hash."""
    return store / "packs" / f"{pack_id}.json"


def _ask(experiment: Experiment, store: Store, progress: Progress, settled: SettledBeside) -> None:
    """Runs the loop; the environments keep what they are asked."""
    run = store.new_run(f"{experiment.checked.config.name}-pack", utc_now())
    try:
        ExperimentRun(
            run=run,
            progress=progress,
            wants=experiment.wants(data_of(experiment.checked, store)),
            cells=experiment.cells,
            environments=experiment.environments,
            reference=experiment.reference,
            named=experiment.named,
            engine_options=experiment.engine_options,
            offline=True,
            # Nothing is judged here: what the last run found is tried there.
            kept_in_float=lambda _: layers_of_last_run(experiment, store),
            settled=settled,
        ).run()
    finally:
        remove(run.folder)


def add_program(folder: Path) -> None:
    """Puts the job and run-pack.py into the folder of a pack."""
    source = Path(job.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source, folder / "job", ignore=ignored)
    (folder / "job" / "run_pack.py").rename(folder / "run-pack.py")


def seal(folder: Path, experiment: str, requests: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Writes pack.json, which says what run-pack.py runs and what every file's hash is; returns it.

    Nothing in the pack's folder changes any more; `requests` are as `PackedEnvironment` keeps them.
    """
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    content: dict[str, Any] = {
        "tool": version("trt-matrix"),
        "experiment": experiment,
        "requests": list(requests),
        "files": files,
    }
    content["id"] = digest(content)
    protocol.write_json(str(folder / protocol.PACK), content)
    return content


def _write(folder: Path, output: Path) -> None:
    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    partial = output.with_name(f"{output.name}.part")
    with explained(output, "--output"):
        with tarfile.open(partial, "w") as archive:
            archive.add(folder, arcname=FOLDER, filter=anonymous)
        partial.replace(output)
