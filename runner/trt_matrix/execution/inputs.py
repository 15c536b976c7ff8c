"""What jobs are given: images as arrays, and the network in its variants; each made once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import PlacementOptions, simulation_of
from trt_matrix.core.qdq.placements import Placed
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.pooled import max_pools
from trt_matrix.core.tables.table import Table
from trt_matrix.execution.shipped import Shipped
from trt_matrix.execution.uff import UffFile
from trt_matrix.store.results import Store, object_of

VARIANTS_VERSION = 1
"""Raise when the same network with the same table gives another variant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageArrays:
    """Preprocessed images, float32 .npy of shape (images, …input)."""

    evaluation: StoredObject
    calibration: StoredObject
    evaluation_images: int
    calibration_images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenTable:
    """A table of the user's own file, given to every environment; by the names of the network."""

    file: str
    """As matrix.yaml names it."""
    table: Table
    values: Mapping[str, float]
    """Tensor → largest magnitude as the file has it, also what cannot be a range."""
    scales: bool
    """Whether the file holds scales; else it holds largest magnitudes."""
    facts: Mapping[str, Any]
    """What a run writes down of it: its form, its maker, the file's hash, what was told of it."""
    notes: tuple[str, ...] = ()
    """How it was read."""
    doubts: tuple[str, ...] = ()
    """What it lacks, and what is wrong in it."""


class Network:
    """The user's network and everything that is derived from it."""

    def __init__(
        self,
        content: bytes,
        model: onnx.ModelProto,
        name: str = "",
        variants: Sequence["Network"] = (),
        uff: UffFile | None = None,
        shipped: Shipped | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes nothing; the network is the float one, or the quantised one where no float one could be made of it.

        `variants` are the same function in forms that older parsers read, the newest first; `facts` is what a run writes
        down of how it came, beside its name and hash.

        Raises:
            graph.GraphError: no range can be measured in it; see `calibration_model`.
        """
        self.model = model
        self.name = name
        self.variants = tuple(variants)
        self.uff = uff
        self.shipped = shipped
        self.facts = dict(facts or {})
        self.is_float = shipped is None or shipped.no_float is None
        with_outputs, self.tensors = calibration_model(model) if self.is_float else (model, ())
        self.max_pools = max_pools(with_outputs, set(self.tensors))
        self._content = content
        self.calibration_model = with_outputs
        """Gives out every tensor that needs a range."""
        self._calibration = with_outputs.SerializeToString(deterministic=True)
        self.fp32 = object_of(self._content, ".onnx")
        self.calibration = object_of(self._calibration, ".onnx")

    def put_into(self, store: Store) -> None:
        """Puts the network, its variants, and the one that gives out what is calibrated into the store."""
        store.put(self._content, ".onnx")
        store.put(self._calibration, ".onnx")
        for variant in self.variants:
            variant.put_into(store)
        if self.uff:
            self.uff.put_into(store)
        if self.shipped:
            self.shipped.put_into(store)

    def quantised(
        self,
        store: Store,
        table: Table,
        placed: Placed,
        exclude: Collection[str] = (),
        *,
        simulated: bool,
    ) -> StoredObject:
        """Returns the Q/DQ network of a placement, or its exact float32 simulation; the store keeps it.

        `exclude` are layers that are kept in float, those that `placed` speaks of.

        Raises:
            GraphError: the table quantises nothing, or the network cannot be rewritten.
        """
        if self.shipped and self.shipped.no_float:
            message = f"it is quantised already, and has no float form: {self.shipped.no_float}"
            raise GraphError(message)
        options = _options(placed, exclude, simulated)

        def make(target: Path) -> None:
            placement = place(self.model, table, options)
            target.write_bytes(placement.model.SerializeToString(deterministic=True))

        return store.derive(self._key(table, options), ".onnx", make)

    def quantised_before(
        self, store: Store, table: Table, placed: Placed, exclude: Collection[str] = ()
    ) -> StoredObject | None:
        """Returns what `quantised` made earlier; makes nothing."""
        return store.derived(self._key(table, _options(placed, exclude, simulated=False)))

    def _key(self, table: Table, options: PlacementOptions) -> Mapping[str, Any]:
        return {
            "quantised": VARIANTS_VERSION,
            # Of a set no two processes print the same.
            "options": repr(replace(options, exclude=frozenset())),
            **({"exclude": sorted(options.exclude)} if options.exclude else {}),
            "model": self.fp32.sha256,
            "table": table.digest,
        }


def _options(placed: Placed, exclude: Collection[str], simulated: bool) -> PlacementOptions:
    options = placed.options(exclude)
    return simulation_of(options) if simulated else options
