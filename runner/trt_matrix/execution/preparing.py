"""Makes environments, several at a time: what each is, or why it cannot be made."""

import functools
from collections.abc import Mapping

from trt_matrix.environments.base import Environment, Identity
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.workers import Workers

AT_ONCE = 4
"""Downloads share one line, and builds the processors."""


def prepare(
    environments: Mapping[str, Environment],
    *,
    offline: bool,
    progress: Progress,
    workers: Workers,
) -> Mapping[str, Identity | str]:
    """Returns name → what the environment is, or why it cannot be made."""

    def one(environment: Environment) -> Identity | str:
        def transfer(what: str, done: int, total: int) -> None:
            workers.check()
            progress.transfer(f"{environment.name}: {what}", done, total)

        progress.stage(environment.name, "prepare")
        try:
            return environment.prepare(offline=offline, transfer=transfer)
        except EnvironmentUnavailableError as error:
            return str(error)
        finally:
            progress.ended(environment.name)

    made = workers.all(
        [functools.partial(one, environment) for environment in environments.values()],
        at_once=AT_ONCE,
    )
    return dict(zip(environments, made, strict=True))
