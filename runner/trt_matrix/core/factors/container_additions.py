"""Cells to add where containers changed in several ways at once.

What is inside an image comes as one: no line of matrix.yaml gives it another cuDNN. But the same
image can run on the other place's GPU, which tells what is inside from what is around it.
"""

import re
from collections.abc import Collection

from trt_matrix.core.factors.places import Entry, FactorPoint, line
from trt_matrix.core.verdicts.attribution import Addition

AROUND = frozenset({"GPU", "driver", "processor"})
"""Factors of the machine; all others are in the image."""

NGC = re.compile(r"(?:(?P<host>.+)-)?ngc-(?P<tag>\d\d\.\d\d.*)")
"""Id of an NGC container's environment."""


def crossed(place: FactorPoint, other: FactorPoint, confounded: Collection[str]) -> Addition:
    """Returns the one cell that separates the image's factors from the machine's, if it can be said."""
    around = AROUND & set(confounded)
    inside = set(confounded) - around
    nothing = Addition(yaml=None, left=tuple(sorted(confounded)))
    if not around or not inside:
        return nothing
    left = tuple(sorted(name for group in (around, inside) if len(group) > 1 for name in group))
    # The id of the other machine's Docker engine; none of the one here.
    if place.stated.get("engine") == other.stated.get("engine"):
        return Addition(yaml=None, names=(f"{place.environment}/{other.start.device}",), left=left)
    for base, target in ((place, other), (other, place)):
        if entry := _moved(base, target):
            name = entry.get("name") or f"{entry.get('host', '')}-ngc-{entry['ngc'][0]}".lstrip("-")
            return Addition(yaml=line(entry), names=(name,), left=left)
    return nothing


def _moved(base: FactorPoint, target: FactorPoint) -> Entry | None:
    """Returns the image of `base` on the machine of `target`; None where that cannot be written."""
    match_ = NGC.fullmatch(target.environment)
    if match_ is None and target.stated.get("engine"):
        return None  # the engine's id does not tell what `hosts` calls it
    host = {"host": match_["host"]} if match_ and match_["host"] else {}
    if own := NGC.fullmatch(base.environment):
        return {"ngc": [own["tag"]], **host}
    if base.stated.get("derived") or not base.stated.get("reference"):
        return None  # what was added to it is not stated in full
    python = str(base.stated.get("executable") or "python3")
    return {
        "image": base.stated["reference"],
        "engine": str((base.start.probe.get("engine") or {}).get("name", "")),
        **({} if python == "python3" else {"python": python}),
        "name": f"{base.environment}-on-{host.get('host', 'this-machine')}",
        **host,
    }
