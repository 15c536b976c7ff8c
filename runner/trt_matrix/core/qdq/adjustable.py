"""A simulation whose activation scales are inputs: one session tries any number of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.graph import keep
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import PlacementOptions, simulation_of
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.tables.table import LEVELS, Table


@dataclass(frozen=True, slots=True)
class Adjustable:
    model: onnx.ModelProto
    leaders: Mapping[str, str]
    """Input that takes a scale (float32, no axes) → the tensor whose range it is of."""

    def scales(self, amax: Mapping[str, float]) -> dict[str, npt.NDArray[np.float32]]:
        """Returns what to feed for a table with these ranges."""
        return {
            name: np.asarray(amax[leader] / LEVELS, np.float32)
            for name, leader in self.leaders.items()
        }

    @property
    def tensors(self) -> Sequence[str]:
        """Returns the tensors whose ranges it asks for, each once."""
        return tuple(dict.fromkeys(self.leaders.values()))


def adjustable(model: onnx.ModelProto, table: Table, options: PlacementOptions) -> Adjustable:
    """Returns the simulation of a placement, with every activation's scale an input.

    Biases stay float32: rounded to the product of two scales they would be wrong with the next table. All
    that this moves is single values that lie between two steps.

    The table says which tensors have a range, whatever it is.

    Raises:
        graph.GraphError: see `place`.
    """
    placed = place(model, table, replace(simulation_of(options), int32_bias=False))
    lead = scale_groups(canonical(model))
    leaders = {f"{tensor}/scale": lead[tensor] for tensor in placed.quantised}
    keep(placed.model.graph.initializer, lambda tensor: tensor.name not in leaders)
    placed.model.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in leaders
    )
    return Adjustable(placed.model, leaders)
