"""One start of a job outside of a run: its files laid out, and its answer read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.environments.base import Ending, Environment, JobRun
from trt_matrix.store.results import same_file_system_link
from trt_matrix.ticket.plugins import files_of as plugin_files


def start(
    environment: Environment,
    asked: Mapping[str, Any],
    objects: Path,
    folder: Path,
    *,
    device: str,
    deadline_s: float,
) -> tuple[Ending, Path]:
    """Runs a job in a prepared environment until `deadline_s`; returns how it ended, and its RESULT_DIR.

    `asked` is the content of request.json, whose files are named as they are in `objects`; request/ and result/ are made
    in `folder`.
    """
    request, result, log = folder / "request", folder / "result", folder / "job.log"
    request.mkdir(parents=True)
    result.mkdir()
    for name in set(files_of(asked)):
        same_file_system_link(objects / name, request / name)
    protocol.write_json(str(request / protocol.REQUEST), dict(asked))
    job = JobRun(request=request, result=result, log=log, deadline_s=deadline_s, device=device)
    return environment.run(job), result


def files_of(asked: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names of the files that a request refers to."""
    calibration = asked["calibration"] or {}
    named = [asked["evaluation"], calibration.get("model"), calibration.get("images")]
    for pass_ in asked["passes"]:
        named += [pass_["model"], pass_["table"], (pass_["implicit"] or {}).get("images")]
    for plugin in asked.get("plugins", ()):
        named += plugin_files(plugin)
    yield from (name for name in named if name)
