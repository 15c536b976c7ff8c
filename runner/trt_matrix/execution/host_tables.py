"""Tables that the host makes in its reference: the shared one, and candidates for the limit S*.

By every algorithm there is, whatever matrix.yaml lists, in one pass over the calibration images and one
over the evaluation images: what 8 bits can do is a fact of the network, and must not move with a list.
Where the calibration images are dark, few or preprocessed in another way, none of their tables tells what
8 bits can do, and the limit would take the blame that is the calibration's. Tables of the evaluation
images have seen what they are judged on, so the limit is optimistic by what a table can learn from them:
docs/concepts/method.md.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from trt_matrix.core.cells import Status
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.options import PlacementOptions
from trt_matrix.core.records import Calibration
from trt_matrix.core.tables.table import Table, TableError
from trt_matrix.execution import best
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.wanted import JobSite, PassRequests

NOTE = "made of the {} images: for the limit of 8 bits alone, no cell runs it"
TOLD = 0.001
"""Share of its values that a tensor loses from which on a run writes it down."""
CALIBRATION, EVALUATION = "calibration", "evaluation"


class HostTables:
    """What the host made of the images; empty before it did."""

    def __init__(self, jobs: Jobs, wants: PassRequests, progress: Progress) -> None:
        """Makes nothing yet."""
        self.shared: Table | str = "there is no shared table"
        """The table given to all, or why there is none."""
        self.candidates: dict[str, Table] = {}
        """digest → a table that no cell is given by this class, those of the calibration images first."""
        self.made: dict[str, Mapping[str, Table]] = {}
        """Which images → algorithm → its table."""
        self.clipped: dict[str, Mapping[str, float]] = {}
        """digest → tensor → share (0 to 1) of its nonzero values beyond the range, in the images it was made of."""
        self._jobs = jobs
        self._wants = wants
        self._progress = progress

    def make(self, site: JobSite, *, limit: bool, options: PlacementOptions) -> None:
        """Makes the shared table, and what else the limit needs where there is one; what fails is told as a warning.

        The reference is computed at `site`; `options` is the placement in which tables are tried for `best`.
        """
        settings = self._wants.settings
        if limit or settings.shared is not None:
            self._of_calibration(site, limit=limit)
        if settings.shared == best.BEST and CALIBRATION in self.made:
            self._search(site, options)
        if limit:
            self._of_evaluation(site)
        for images, tables in self.made.items():
            for algorithm, table in tables.items():
                if images != CALIBRATION or algorithm != settings.shared:
                    self.candidates.setdefault(table.digest, _noted(table, images))

    def _of_calibration(self, site: JobSite, *, limit: bool) -> None:
        wants, shared = self._wants, self._wants.settings.shared
        every = list(wants.settings.algorithms)
        tables = self._calibrated(wants, site, every, "calibrate")
        if isinstance(tables, str) and shared in every and every != [shared]:
            # An algorithm that nobody asked for must not cost the table that cells run with.
            tables = self._calibrated(wants, site, [shared], "calibrate-shared")
        if isinstance(tables, str):
            if shared is not None:
                self.shared = f"there is no shared table: {tables}"
                self._progress.warn(self.shared)
            elif limit:
                self._progress.warn(f"the limit is known from the evaluation images only: {tables}")
            return
        self.made[CALIBRATION] = tables
        if shared is not None and shared in tables:
            self.shared = tables[shared]

    def _search(self, site: JobSite, options: PlacementOptions) -> None:
        """Makes the shared table of the others' ranges."""
        what = f"{site.where}/{best.BEST}"
        self._progress.expect(1)
        wanted = best.WantedTable(self._wants, site, self.made[CALIBRATION], options)
        known = wanted.known(self._jobs.store)

        def told(tried: int, of: int) -> None:
            self._jobs.check()
            self._progress.stage(site.where, f"{best.BEST}: tensor {tried} of {of}")

        try:
            with self._jobs.turn(site):
                self.shared = known or wanted.made(self._jobs.store, told)
        except (GraphError, TableError) as error:
            self.shared = f"there is no shared table: {best.BEST}: {error}"
            self._progress.warn(self.shared)
            self._progress.done(what, Status.JOB_FAILED, str(error))
        else:
            detail = self.shared.provenance.note or ""
            self._count_clipped(self.shared)
            self._progress.done(what, Status.OK, detail, reused=known is not None)

    def _count_clipped(self, made: Table) -> None:
        """Takes the shares of a table that has each range from one of the others."""
        others = [
            (table.amax, self.clipped[table.digest])
            for table in self.made[CALIBRATION].values()
            if table.digest in self.clipped
        ]
        shares = {
            tensor: clipped[tensor]
            for tensor, amax in made.amax.items()
            for ranges, clipped in others
            if ranges.get(tensor) == amax and tensor in clipped
        }
        if others:
            self.clipped.setdefault(made.digest, shares)

    def _of_evaluation(self, site: JobSite) -> None:
        data = self._wants.data
        wants = dataclasses.replace(
            self._wants,
            data=dataclasses.replace(
                data,
                calibration=data.evaluation,
                calibration_images=data.evaluation_images,
            ),
        )
        algorithms = list(wants.settings.algorithms)
        tables = self._calibrated(wants, site, algorithms, "calibrate-for-limit")
        if isinstance(tables, str):
            self._progress.warn(f"the limit is known from the calibration images only: {tables}")
        else:
            self.made[EVALUATION] = tables

    def _calibrated(
        self, wants: PassRequests, site: JobSite, algorithms: Sequence[str], name: str
    ) -> Mapping[str, Table] | str:
        """Returns algorithm → its table, or why there is none."""
        self._progress.expect(1)
        done = self._jobs.calibrate(site, wants.calibration(site, algorithms), name)
        if done.status is not Status.OK:
            return done.reason or str(done.status)
        tables = {algorithm: wants.table(site, done, algorithm) for algorithm in algorithms}
        for algorithm, table in tables.items():
            self.take_clipped(table, done, algorithm)
        return tables

    def take_clipped(self, table: Table, calibration: Calibration, algorithm: str) -> None:
        """Keeps which share of each tensor's values lies beyond the range, where the calibration told."""
        if (clipped := clipped_by(calibration, algorithm)) is not None:
            self.clipped.setdefault(table.digest, clipped)


def clipped_by(calibration: Calibration, algorithm: str) -> Mapping[str, float] | None:
    """Returns tensor → share of its nonzero values beyond the range; None where a program did not tell."""
    if (shares := calibration.clipped.get(algorithm)) is None:
        return None
    # A run writes them for every table: what is not worth a word is left out.
    return {name: share for name, share in shares.items() if share >= TOLD}


def _noted(table: Table, images: str) -> Table:
    provenance = dataclasses.replace(table.provenance, note=NOTE.format(images))
    return dataclasses.replace(table, provenance=provenance)
