"""A set of layers in float as other tools take it: names are quoted for a shell, and problems told."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence

from trt_matrix.core.diagnosis.record import ToolSettings


def elsewhere(layers: Sequence[str], fused: Mapping[str, Sequence[str]]) -> ToolSettings:
    """Returns the set in every form.

    Args:
        layers: In the network's order.
        fused: Layer → the activations that go with it, which TensorRT fuses into it: they are held with
            it where layers are named to TensorRT. Where Q/DQ nodes are left out, the layer decides.
    """
    held = [name for layer in layers for name in (layer, *fused.get(layer, ()))]
    unusable = [name for name in held if re.search(r"[,:*]", name)]
    problems = [
        f"trtexec and Polygraphy cannot be told of {name!r}: ',', ':' and '*' have a meaning there"
        for name in unusable
    ]
    plain = [name for name in held if name not in unusable]
    trtexec = f"--layerPrecisions={','.join(f'{name}:fp32' for name in plain)}"
    polygraphy = " ".join(shlex.quote(f"{name}:float32") for name in plain)
    return ToolSettings(
        # JSON is YAML, and needs no rules about what a name may hold.
        fp32_layers=f"fp32_layers: {json.dumps(held, ensure_ascii=False)}",
        trtexec=f"--precisionConstraints=obey {shlex.quote(trtexec)}" if plain else "",
        polygraphy=f"--precision-constraints obey --layer-precisions {polygraphy}" if plain else "",
        # ModelOpt takes each for a regular expression that a name begins with.
        modelopt="--nodes_to_exclude " + " ".join(shlex.quote(_pattern(name)) for name in layers),
        problems=tuple(problems),
    )


def _pattern(name: str) -> str:
    """Returns a regular expression of this name alone: `conv1` must not take `conv10` with it."""
    return re.sub(r"([\\.^$*+?{}|()\[\]])", r"\\\1", name) + "$"
