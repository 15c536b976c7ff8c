"""Removes the containers that a killed runner left behind."""

import logging
import threading

from docker.errors import APIError, NotFound

from trt_matrix.environments.docker import owner
from trt_matrix.environments.docker.engine import Engine

_LOG = logging.getLogger(__name__)
_SWEPT: set[int] = set()
_TURN = threading.Lock()


def sweep_once(engine: Engine) -> None:
    """Sweeps at the first call for each engine in this process."""
    with _TURN:
        if id(engine) not in _SWEPT:
            sweep(engine)
            _SWEPT.add(id(engine))


def sweep(engine: Engine) -> None:
    """Removes every container of ours whose runner is gone.

    Raises:
        EnvironmentUnavailableError: the engine does not answer.
    """
    with engine.explained():
        containers = engine.client.containers.list(
            all=True, filters={"label": owner.LABEL}, ignore_removed=True
        )
        for container in containers:
            runner = owner.Owner.parse(container.labels.get(owner.LABEL, ""))
            if runner is None or not runner.is_gone(owner.own(), owner.started(runner.pid)):
                continue
            try:
                # v: with it go the volumes that only it had.
                container.remove(force=True, v=True)
            except NotFound:
                continue  # another runner swept it
            except APIError as error:
                # "removal of container … is already in progress": that runner does it.
                _LOG.warning("%s: left behind and not removed: %s", container.name, error)
                continue
            _LOG.warning("%s: left behind by a run that was killed; removed", container.name)
