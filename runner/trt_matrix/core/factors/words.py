"""Sentences about why: which factor changed alone, or which are confounded and what would help."""

from collections.abc import Iterable, Sequence

from trt_matrix.core.verdicts.attribution import Addition, Attribution, FactorChange
from trt_matrix.core.words import capital, listed


def reasons(told: Iterable[tuple[str, Attribution | None]]) -> str:
    """Returns a sentence for each different attribution, with the environments that it is of."""
    groups: dict[str, list[str]] = {}
    for name, attribution in told:
        if attribution:
            names = groups.setdefault(reason(attribution), [])
            if name not in names:
                names.append(name)
    if len(groups) == 1:
        return f"{capital(next(iter(groups)))}."
    return " ".join(f"{listed(names)}: {text}." for text, names in groups.items())


def reason(attribution: Attribution) -> str:
    """Returns `TensorRT changed alone`, or what is confounded and which cell to add."""
    if not attribution.factors and not attribution.confounded:
        return "nothing that was probed differs between the two"
    if not attribution.separated:
        return (
            f"{_names(attribution.confounded)} changed; taken apart, neither is told from noise yet: more "
            "repeats would decide"
        )
    parts = []
    if attribution.factors and not attribution.through:
        parts.append(f"{_names(attribution.factors)} changed alone")
    elif attribution.factors:
        each = "each changed" if len(attribution.factors) > 1 else "changed"
        over = listed([cell.split("/")[0] for cell in attribution.through])
        parts.append(
            f"{_names(attribution.factors)} {each} alone on the way over {over}, and the loss came with it"
        )
    if attribution.confounded:
        text = f"confounded: {_names(attribution.confounded)} changed together"
        parts.append(f"{text}; {_help(attribution.addition)}" if attribution.addition else text)
    return "; besides, ".join(parts)


def _help(addition: Addition) -> str:
    left = f"{listed(addition.left)} stay together even then" if addition.left else ""
    if not addition.names:
        return "no environment made here tells them apart: run where only one of them differs"
    text = f"{'add' if addition.yaml else 'run'} {listed(addition.names)} to tell them apart"
    return f"{text}; {left}" if left else text


def _names(changes: Sequence[FactorChange]) -> str:
    return listed([change.factor for change in changes])
