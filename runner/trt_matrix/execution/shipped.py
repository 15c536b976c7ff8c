"""A network that comes quantised, to be run as it is: its int8 cell, its scales, and what cannot run it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from trt_matrix.core.cells import Pass, TableSource
from trt_matrix.core.qdq.placements import Activations, Placed
from trt_matrix.core.records import StoredObject
from trt_matrix.core.shipped.quantisation import QuantisedForm, ShippedQuantisation
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.store.results import Store, object_of

ALGORITHM = "shipped"
NOTE = "shipped with the network: the ranges of its own scales"

READS_QDQ_ALONE = "tensorrt"
"""The engine that knows no operators on integers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """The network as it came."""

    content: bytes
    """Its file; functions are written out, weights embedded."""
    found: ShippedQuantisation
    table: Table
    """Tensor of the float network → what its own scales represent; of dynamic quantisation, nothing."""
    no_float: str | None
    """Why no float network can be made of it; None where one was."""

    @property
    def int8_outputs(self) -> bool:
        """Whether an output of the network comes from a DequantizeLinear, as most tools leave it."""
        graph = onnx.load_from_string(self.content).graph
        makers = {name: node.op_type for node in graph.node for name in node.output}
        return any(makers.get(value.name) == "DequantizeLinear" for value in graph.output)

    def placed(self, engine: str) -> Placed:
        """Returns the placement that is nearest to its own: its limit is taken there."""
        return Placed(
            engine=engine,
            activations=Activations.UINT8 if "uint8" in self.found.types else Activations.INT8,
            int8_outputs=self.int8_outputs,
        )

    @property
    def object(self) -> StoredObject:
        return object_of(self.content, ".onnx")

    def put_into(self, store: Store) -> None:
        store.put(self.content, ".onnx")

    def obstacle(self, pass_: Pass, engine: str) -> str | None:
        """Returns why an engine cannot run a pass of this network, None where nothing is known against it."""
        if pass_.source is not TableSource.SHIPPED:
            return self.no_float and (
                f"a {pass_.precision} pass needs a float network, and none can be made of this one, "
                f"which is quantised already: {self.no_float}"
            )
        if engine == READS_QDQ_ALONE and self.found.forms != (QuantisedForm.QDQ,):
            return (
                "TensorRT reads QuantizeLinear and DequantizeLinear alone; this network is quantised "
                f"by {' and '.join(self.found.others)}: export it in QDQ form, or set "
                "model.quantised: strip"
            )
        return None


def table_of(amax: Mapping[str, float], unusable: Mapping[str, str], sha256: str) -> Table:
    """Returns the scales of a network as a table: tensor → largest magnitude that its integers represent.

    `unusable` is tensor → why it has none; `sha256` that of the quantised network.
    """
    table = from_ranges(amax, Provenance(algorithm=ALGORITHM, model_sha256=sha256, note=NOTE))
    bad = {name: why for name, why in unusable.items() if name not in table.amax}
    return Table(amax=table.amax, provenance=table.provenance, unusable=bad | dict(table.unusable))


def quantisation_facts(shipped: ShippedQuantisation, *, stripped: bool) -> Mapping[str, Any]:
    """Returns what a run writes down of a network's own quantisation."""
    return {
        "used": "strip" if stripped else "shipped",
        "forms": [str(form) for form in shipped.forms],
        "nodes": dict(shipped.nodes),
        "weights": shipped.weights,
        "activations": shipped.activations,
        "types": list(shipped.types),
    }
