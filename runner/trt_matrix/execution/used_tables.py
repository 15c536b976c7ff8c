"""The calibration tables that cells of a run use, each once, whoever made it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trt_matrix.core.records import Measurement
from trt_matrix.core.tables.table import Table
from trt_matrix.core.tables.trt_cache import parse, to_table
from trt_matrix.execution.host_tables import HostTables
from trt_matrix.store.results import Store


class UsedTables:
    def __init__(self, store: Store, host: HostTables) -> None:
        self.store = store
        self.host = host
        self.used: dict[str, Table] = {}
        """digest → every table that a cell uses."""

    def use(self, table: Table) -> Table:
        """Returns the table that all use which have the same ranges: the first."""
        return self.used.setdefault(table.digest, table)

    def take(self, environment: str, measurement: Measurement) -> None:
        """Takes in the table that TensorRT made of the calibration images, for its simulation."""
        if measurement.cache and measurement.table and measurement.table not in self.used:
            text = self.store.path(measurement.cache).read_text("utf-8")
            self.use(to_table(parse(text), environment=environment))

    @property
    def all(self) -> Mapping[str, Table]:
        """Returns digest → every table that a cell uses or that is a candidate for the limit."""
        return {
            **self.used,
            **{
                name: candidate
                for name, candidate in self.host.candidates.items()
                if name not in self.used
            },
        }

    def facts(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns table digest → who made it, how, and what it could not cover."""
        return {
            name: {
                **asdict(table.provenance),
                "tensors": len(table.amax),
                "unusable": dict(table.unusable),
                **({"clipped": dict(self.host.clipped[name])} if name in self.host.clipped else {}),
            }
            for name, table in self.all.items()
        }
