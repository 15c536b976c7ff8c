"""What the matrix kept out of int8, as the job tells the options that it was started with."""

from collections.abc import Mapping
from typing import Any

from trt_matrix.core.records import Start


def held_layers(start: Start | None) -> frozenset[str]:
    """Returns the layers, or tensors that they make, that `fp32_layers` named."""
    return named_layers(start.probe) if start else frozenset()


def named_layers(probe: Mapping[str, Any]) -> frozenset[str]:
    """Returns the same of what was probed."""
    engine = probe.get("engine")
    options = engine.get("options") if isinstance(engine, Mapping) else None
    named = options.get("fp32_layers") if isinstance(options, Mapping) else None
    return frozenset(str(one) for one in named) if isinstance(named, list) else frozenset()
