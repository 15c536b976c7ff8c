"""What becomes of a network before anything else reads it: made fit to be fed, and its quantisation seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import onnx

from trt_matrix.core.network.functions import inlined
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.loading import external_files
from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.core.prepared.preparing import NO_WISHES, InputWishes, Prepared, prepare
from trt_matrix.core.shipped.quantisation import ShippedQuantisation, quantisation_of
from trt_matrix.core.shipped.scales import StripError
from trt_matrix.core.shipped.stripping import StrippedNetwork, stripped
from trt_matrix.core.words import count
from trt_matrix.execution.shipped import Shipped, quantisation_facts, table_of
from trt_matrix.store.results import object_of

Use = Literal["shipped", "strip"]

AS_SHIPPED = (
    "It runs as shipped, as int8-shipped, and is not quantised a second time: no shared, own or implicit "
    "pass (model.quantised: strip does that)."
)
SAME = 1e-6
"""Two ranges nearer than this, as a share, are one: float32 and back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedNetwork:
    """A network as the experiment uses it."""

    model: onnx.ModelProto
    """Float, where one could be made; functions written out."""
    content: bytes
    """The same as a file."""
    given: onnx.ModelProto
    """With its own quantisation."""
    shipped: Shipped | None
    """To be run as it came; None for a float network, and for one that is stripped."""
    notes: tuple[str, ...]
    """What the user is told."""
    facts: Mapping[str, Any]
    """What the run writes down of that."""
    pixels: str | None = None
    """Type of integers that its input takes, None where it takes floats."""
    parts: tuple[InputPart, ...] = ()
    """What its input holds, where several inputs were packed into one."""


def used(
    model: onnx.ModelProto,
    content: bytes,
    source: str,
    use: Use,
    wishes: InputWishes = NO_WISHES,
    *,
    sorted_: bool = False,
) -> UsedNetwork:
    """Returns what an experiment works on; `content` is the model as a file, called `source` in messages.

    `sorted_` tells that its nodes had to be put in order.

    Raises:
        PreparationError: its inputs cannot be fed.
        GraphError: its functions cannot be written out; it is not quantised to integers; or it is to
            be stripped and cannot be.
    """
    model, functions = inlined(model, source)
    fed = prepare(model, wishes)
    model, given = fed.model, content
    if functions or fed.facts or sorted_:
        content = model.SerializeToString(deterministic=True)
    notes = [_functions_note(source, functions)] if functions else []
    facts: dict[str, Any] = {"functions": list(functions)} if functions else {}
    if fed.facts or sorted_:
        notes.append(prepared_note(source, fed, sorted_=sorted_))
        facts["prepared"] = {
            **fed.facts,
            "sorted": sorted_,
            "file_sha256": sha256(given).hexdigest(),
            "sha256": object_of(content, ".onnx").sha256,
        }
    quantisation, as_float, why, shipped = quantisation_of(model), None, None, None
    if quantisation is not None:
        as_float, why = _stripped(model)
        if problem := _problem(source, quantisation, use, why):
            raise GraphError(problem)
    if quantisation is not None and quantisation.anything:
        notes.append(_note(source, quantisation, use, as_float, why))
        digest = object_of(content, ".onnx").sha256
        facts["quantised"] = {
            **quantisation_facts(quantisation, stripped=use == "strip"),
            "sha256": digest,
            "relus": list(as_float.relus) if as_float else [],
            "rounded_weights": as_float.rounded if as_float else None,
            "no_float": why,
        }
        if use == "shipped":
            ranges = (as_float.amax, as_float.unusable) if as_float else ({}, {})
            table = table_of(*ranges, digest)
            shipped = Shipped(content=content, found=quantisation, table=table, no_float=why)
    return UsedNetwork(
        model=as_float.model if as_float else model,
        content=as_float.model.SerializeToString(deterministic=True) if as_float else content,
        given=model,
        shipped=shipped,
        notes=tuple(notes),
        facts=facts,
        pixels=fed.pixels,
        parts=fed.parts,
    )


def variant_problem(main: Shipped | None, variant: Shipped | None) -> str | None:
    """Returns why a variant's own quantisation does not go with the network's, None where it does."""
    if variant is None:
        return None
    if main is None:
        return (
            "is quantised already, the network is not: no variant of it, since its rounding makes it "
            "another function; give its float form"
        )
    if main.no_float or variant.no_float:
        return None
    for tensor, amax in variant.table.amax.items():
        other = main.table.amax.get(tensor)
        if other is not None and abs(amax - other) > SAME * other:
            return (
                f"is quantised with another scale than the network: {tensor!r} reaches {amax:.6g}, "
                f"not {other:.6g}; export both of one quantised network"
            )
    return None


def told_of(
    model: onnx.ModelProto, source: str, wishes: InputWishes = NO_WISHES
) -> tuple[str, ...]:
    """Returns what is to be known of a network's functions and quantisation before it is used.

    Raises:
        GraphError: see `used`; never for what `quantised: strip` would help against.
    """
    model, functions = inlined(model, source)
    notes = [_functions_note(source, functions)] if functions else []
    model = prepare(model, wishes).model
    shipped = quantisation_of(model)
    if shipped is None or not shipped.anything:
        return tuple(notes)
    if external_files(model):  # to be read later; whether it can be stripped is seen then
        notes.append(f"{source} is {shipped.sentence()}. {AS_SHIPPED}")
    else:
        as_float, why = _stripped(model)
        notes.append(
            _problem(source, shipped, "shipped", why)
            or _note(source, shipped, "shipped", as_float, why)
        )
    return tuple(notes)


def _stripped(model: onnx.ModelProto) -> tuple[StrippedNetwork | None, str | None]:
    try:
        return stripped(model), None
    except StripError as error:
        return None, str(error)


def _problem(source: str, shipped: ShippedQuantisation, use: Use, why: str | None) -> str | None:
    if not shipped.anything:
        return None
    if use == "strip" and why:
        return (
            f"{source}: {shipped.sentence()}; it cannot be stripped to a float network: {why}; give the "
            "network that it was made of"
        )
    if use == "shipped" and not shipped.integer:
        return (
            f"{source}: it is quantised to {', '.join(shipped.types)}, which are no integers of 8 bits: "
            "no int8 cell can be it; set model.quantised: strip to quantise it anew"
        )
    return None


def _note(
    source: str,
    shipped: ShippedQuantisation,
    use: Use,
    as_float: StrippedNetwork | None,
    why: str | None,
) -> str:
    begin = f"{source} is {shipped.sentence()}"
    relus = (
        f" {count(len(as_float.relus), 'Relu')} that its quantiser left out were put back."
        if as_float and as_float.relus
        else ""
    )
    rounded = (
        f" What rounding {count(as_float.rounded, 'weight tensor')} to integers cost is in its float form too: no "
        "number here tells it."
        if as_float and as_float.rounded
        else ""
    )
    if use == "strip":
        return (
            f"{begin}. Its nodes are taken out, and it is quantised anew (quantised: strip)."
            f"{relus}{rounded}"
        )
    alone = (
        " Only its weights are: its layers compute in float. To have all of it quantised, set "
        "model.quantised: strip."
        if not shipped.activations
        else ""
    )
    reference = (
        f"FP32 and the reference are its float form, the same without these nodes.{relus}{rounded}"
        if as_float
        else f"No float form can be made of it ({why}), so the reference is this network, unfused: "
        "errors are those of engines alone."
    )
    return f"{begin}. {AS_SHIPPED} {reference}{alone}"


def prepared_note(source: str, fed: Prepared, *, sorted_: bool) -> str:
    """Returns what was done to a network so that it can be fed."""
    done = [
        *(["its nodes are put in the order in which they compute"] if sorted_ else []),
        *fed.told,
    ]
    return (
        f"{source} is prepared before it runs: {'; '.join(done)}. The file itself stays as it is."
    )


def _functions_note(source: str, functions: Sequence[str]) -> str:
    named = ", ".join(functions[:3]) + (", …" if len(functions) > 3 else "")
    return (
        f"{source} holds {count(len(functions), 'function')} ({named}): written out, so that what is "
        "inside is found and quantised"
    )
