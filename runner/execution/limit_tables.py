"""Tables that the host makes of the evaluation images: candidates for the limit S*, given to no cell.

All other tables of a run come from one set of calibration images. Where those are dark, few or
preprocessed in another way, none of them tells what 8 bits can do, and the limit would take the blame
that is the calibration's. These tables have seen the images that they are judged on, so the limit is
optimistic by what a table can learn from them: docs/method.md.
"""

import dataclasses

from runner.cells import Status
from runner.core.tables.table import Table
from runner.execution.jobs import Jobs
from runner.execution.wanted import Site, Wants

NOTE = "made of the evaluation images: for the limit of 8 bits alone, no cell runs it"


def limit_tables(jobs: Jobs, wants: Wants, site: Site) -> list[Table] | str:
    """Returns one table an algorithm of the run, or why there is none."""
    seen = dataclasses.replace(
        wants,
        data=dataclasses.replace(
            wants.data,
            calibration=wants.data.evaluation,
            calibration_images=wants.data.evaluation_images,
        ),
    )
    algorithms = list(wants.settings.algorithms)
    made = jobs.calibrate(site, seen.calibration(site, algorithms), "calibrate-for-limit")
    if made.status is not Status.OK:
        return f"the limit is known from the calibration images only: {made.reason}"
    return [_noted(seen.table(site, made, algorithm)) for algorithm in algorithms]


def _noted(table: Table) -> Table:
    return dataclasses.replace(table, provenance=dataclasses.replace(table.provenance, note=NOTE))
