"""A tiny experiment whose environments are scripted: two heads, four images, real Q/DQ networks."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tests.fakes.environment import InstantEnvironment, ScriptedEnvironment
from tests.unit import small_networks as networks
from trt_matrix.commands.session import run_experiment
from trt_matrix.core.cells import Cell, Pass, Precision, Status
from trt_matrix.core.network import graph
from trt_matrix.core.plan import passes
from trt_matrix.core.records import Record, StoredObject
from trt_matrix.environments.base import Environment
from trt_matrix.execution.answer_models import RESULTS_LIMIT_BYTES
from trt_matrix.execution.inputs import ImageArrays, Network
from trt_matrix.execution.matrix import ExperimentRun
from trt_matrix.execution.wanted import PassRequests, Settings
from trt_matrix.judging.outcome import Outcome
from trt_matrix.store.results import RunFolder, Store

IMAGES = 4
CREATED = datetime(2026, 11, 28, tzinfo=UTC)
"""Of every run: its id decides the order of environments, so that is the same in every test."""
PASSES = tuple(
    pass_
    for pass_ in passes([Precision.FP32, Precision.INT8], ["entropy", "minmax"], "entropy")
    if not pass_.implicit
)


class Told:
    """Progress that remembers; `steps` ends at `expected`."""

    def __init__(self) -> None:
        self.expected = 0
        self.steps = 0
        self.lines: list[str] = []
        self.stages: list[str] = []
        self.under_way: set[str] = set()

    def note(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"warning: {text}")

    def expect(self, steps: int) -> None:
        self.expected += steps

    def transfer(self, what: str, done: int, total: int) -> None:
        pass

    def stage(self, where: str, stage: str) -> None:
        self.stages.append(f"{where}: {stage}")
        self.under_way.add(where)

    def ended(self, where: str) -> None:
        self.under_way.discard(where)

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        self.steps += steps
        self.lines.append(f"{status} {what} {detail}")


def run_offline(
    source: Path,
    results: Path | None = None,
    *,
    select: Sequence[str] | None = None,
    told: Told | None = None,
) -> Outcome:
    """Runs a matrix.yaml as `trt-matrix run --offline` does; without `results` into those beside it."""
    return run_experiment(
        source,
        results or source.with_name("results"),
        select=select or (),
        offline=True,
        progress=told or Told(),
    )


def store_of(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def wants_of(
    store: Store,
    *,
    repeats: int = 2,
    most_repeats: int | None = None,
    shared: str | None = "entropy",
    deadline_s: float = 600,
    results_bytes: int | None = None,
) -> PassRequests:
    model = networks.detector()

    def images(value: float) -> StoredObject:
        def make(target: Path) -> None:
            np.save(target, np.full((IMAGES, 3, 16, 16), value, np.float32))

        return store.derive({"images": IMAGES, "value": value}, ".npy", make)

    return PassRequests(
        settings=Settings(
            input="image",
            heads=tuple((info.name, info.name) for info in graph.outputs(model)),
            algorithms={"entropy": {}, "minmax": {}},
            shared=shared,
            transplant="cache",
            repeats=repeats,
            most_repeats=most_repeats or repeats,
            timing={"min_samples": 2, "max_samples": 2, "max_s": 0.1, "warm_up_max_s": 0.1},
            deadline_s=deadline_s,
            results_bytes=results_bytes or RESULTS_LIMIT_BYTES,
            program="p",
            host="h",
            preprocess="q",
        ),
        network=Network(model.SerializeToString(), model),
        data=ImageArrays(
            evaluation=images(0.0),
            calibration=images(1.0),
            evaluation_images=IMAGES,
            calibration_images=IMAGES,
        ),
    )


def cells_of(
    environments: Sequence[ScriptedEnvironment], wanted: Sequence[Pass] = PASSES
) -> list[Cell]:
    return [
        Cell(environment=environment.name, device="cpu", pass_=pass_)
        for environment in environments
        for pass_ in wanted
    ]


class Trial:
    """One run of the tiny experiment."""

    def __init__(
        self,
        tmp_path: Path,
        *environments: ScriptedEnvironment,
        passes: Sequence[Pass] = PASSES,
        reference: Environment | None = None,
        cells: Sequence[Cell] | None = None,
        repeats: int = 2,
        most_repeats: int | None = None,
        undecided: Callable[[ExperimentRun], Collection[str]] = lambda _: (),
        fresh: bool = False,
        shared: str | None = "entropy",
        deadline_s: float = 600,
        results_bytes: int | None = None,
    ) -> None:
        self.store = store_of(tmp_path)
        self.told = Told()
        self.run: RunFolder = self.store.new_run("trial", CREATED)
        self.reference = reference or InstantEnvironment()
        self.matrix = ExperimentRun(
            run=self.run,
            progress=self.told,
            wants=wants_of(
                self.store,
                repeats=repeats,
                most_repeats=most_repeats,
                shared=shared,
                deadline_s=deadline_s,
                results_bytes=results_bytes,
            ),
            cells=cells_of(environments, passes) if cells is None else cells,
            environments={environment.name: environment for environment in environments},
            reference=self.reference,
            engine_options={
                environment.name: {} for environment in (self.reference, *environments)
            },
            offline=True,
            fresh=fresh,
            undecided=undecided,
        )

    def records(self) -> dict[str, Record]:
        """Runs it; returns cell id → record."""
        self.matrix.run()
        return {record.cell: record for record in self.matrix.records()}


def statuses(records: dict[str, Record]) -> dict[str, Status]:
    return {cell: record.status for cell, record in records.items()}
