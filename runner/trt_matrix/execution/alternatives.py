"""The network's variants as files: which of them a pass may run, and whether they are one function.

Parsers of old TensorRT versions refuse what newer exporters write. matrix.yaml may name the network in
several forms; the job takes the first that the parser reads, and says which.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trt_matrix.core.network.canonical import OPSET, canonical, opset
from trt_matrix.core.qdq.explicit import QdqError
from trt_matrix.core.qdq.placements import Placed, kept_in_float
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.execution.inputs import Network
from trt_matrix.store.results import Store

PARSES_ONNX = "tensorrt"
"""The engine whose parser follows its version; ONNX Runtime reads every older form."""
TOLERANCE = 1e-5
"""Largest difference between outputs of two variants, as a share of the head's largest magnitude."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the forms of the network that a pass runs."""

    name: str
    """The file, as matrix.yaml calls it, that it is or was made of."""
    model: StoredObject
    uff: Mapping[str, Any] | None = None
    """What the job is told of a UFF file beside its path; None for an ONNX file."""

    @property
    def asked(self) -> str | Mapping[str, Any]:
        """Returns the entry of a request's `alternatives`."""
        return {"uff": self.model.file, **self.uff} if self.uff else self.model.file

    @property
    def key(self) -> Any:
        """What it adds to a fingerprint."""
        return {"uff": self.model.sha256, **self.uff} if self.uff else self.model.sha256


def floats(network: Network, engine: str) -> tuple[Alternative, ...]:
    """Returns the float networks to try where the engine's parser refuses the first."""
    if engine != PARSES_ONNX:
        return ()
    alternatives = [
        Alternative(variant.name, variant.fp32) for variant in network.variants if variant.is_float
    ]
    if uff := network.uff:
        alternatives.append(Alternative(uff.name, uff.object, uff.interface()))
    return tuple(alternatives)


def shipped(network: Network, engine: str) -> tuple[Alternative, ...]:
    """Returns the forms of a network that came quantised to try where the parser refuses the first."""
    if engine != PARSES_ONNX:
        return ()
    return tuple(
        Alternative(variant.name, variant.shipped.object)
        for variant in network.variants
        if variant.shipped
    )


def quantised(
    store: Store, network: Network, table: Table, placed: Placed, exclude: Collection[str] = ()
) -> tuple[Alternative, ...]:
    """Returns the Q/DQ networks to try where the engine's parser refuses the first.

    Raises:
        GraphError: see `Network.quantised`; or a variant makes what an excluded layer makes in another way.
    """
    return tuple(
        Alternative(variant.name, variant.quantised(store, table, there, mine, simulated=False))
        for variant, there, mine in _older_explicit(network, placed, exclude)
    )


def quantised_before(
    store: Store, network: Network, table: Table, placed: Placed, exclude: Collection[str] = ()
) -> tuple[Alternative, ...] | None:
    """Returns what `quantised` made earlier, None where one is missing; makes nothing.

    Raises:
        GraphError: see `quantised`.
    """
    known = [
        (variant.name, variant.quantised_before(store, table, there, mine))
        for variant, there, mine in _older_explicit(network, placed, exclude)
    ]
    alternatives = tuple(Alternative(name, model) for name, model in known if model)
    return alternatives if len(alternatives) == len(known) else None


def renamed(network: Network, variant: Network, layers: Collection[str]) -> tuple[str, ...]:
    """Returns what layers of the network are called in a variant: nodes that make the same tensors.

    Raises:
        GraphError: a variant has no such node.
    """
    if not layers:
        return ()
    mine = {node.name: node.output[0] for node in canonical(network.model).graph.node}
    theirs = {node.output[0]: node.name for node in canonical(variant.model).graph.node}
    unknown = [name for name in layers if mine.get(name) not in theirs]
    if unknown:
        raise QdqError(
            f"{variant.name} has no layer that makes what {unknown[0]!r} makes, to keep in float"
        )
    return tuple(theirs[mine[name]] for name in layers)


def _older_explicit(
    network: Network, placed: Placed, exclude: Collection[str]
) -> Iterator[tuple[Network, Placed, tuple[str, ...]]]:
    """Yields the variants whose Q/DQ network is of an older opset, since others are as hard to read.

    Each with its placement, and what the excluded layers are called in it.
    """
    least = max(opset(network.model), OPSET)
    for variant in network.variants if placed.engine == PARSES_ONNX else ():
        if max(opset(variant.model), OPSET) < least:
            mine = renamed(network, variant, exclude)
            yield variant, replace(placed, in_float=kept_in_float(mine)), mine


def unlike(
    store: Store, reference: Mapping[str, StoredObject], other: Mapping[str, StoredObject]
) -> str | None:
    """Returns why two networks are not one function, None where they are; by head → outputs, float32 (images, …)."""
    for head, output in reference.items():
        r, y = store.array(output), store.array(other[head])
        if r.shape != y.shape:
            return f"its head {head} has the shape {y.shape[1:]}, not {r.shape[1:]}"
        worst = peak = 0.0
        for mine, theirs in zip(r, y, strict=True):  # an image at a time: outputs may be large
            # np.maximum keeps NaN, which then is no agreement.
            worst = float(np.maximum(worst, np.abs(theirs - mine).max()))
            peak = float(np.maximum(peak, np.abs(mine).max()))
        if not worst <= TOLERANCE * peak:
            return (
                f"its head {head} differs by up to {worst:.3g}, where the largest value is "
                f"{peak:.3g}: more than rounding ({TOLERANCE:g} of it)"
            )
    return None
