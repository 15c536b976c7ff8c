"""What the matrix kept out of int8, as the job tells the options that it was started with."""

from collections.abc import Mapping

from runner.records import Start


def held_layers(start: Start | None) -> frozenset[str]:
    """Returns the layers, or tensors that they make, that `fp32_layers` named."""
    engine = start.probe.get("engine") if start else None
    options = engine.get("options") if isinstance(engine, Mapping) else None
    named = options.get("fp32_layers") if isinstance(options, Mapping) else None
    return frozenset(str(one) for one in named) if isinstance(named, list) else frozenset()
