"""Outputs that stayed on another machine: what came in their place is checked, as far as it can be.

What came are sums (`job.reductions`), hashes, and the values at positions that can hold a box (`job.settle`).
Nobody can tell here whether they are those of the outputs; that they contradict themselves, the reference or
each other can be told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from trt_matrix.containers.job import protocol, settle
from trt_matrix.containers.job.reductions import FLAT, SUMS
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import StoredObject
from trt_matrix.execution.answer_models import PassAnswer, plain_json, valid
from trt_matrix.execution.answers import AnswerError, ResultFolder
from trt_matrix.store.results import Store

LEFT = "left.json"
"""In the folder of a pass, written by whoever merged it: `LeftFacts`."""

TOLERANCE = 1e-4
"""Relative, of sums that must agree: several times what float32 within a row can cost them."""

TINY = 1e-30
"""Of sums of squares: below, float32 has none."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Floats = npt.NDArray[np.float32]


class LeftFile(BaseModel):
    """An output that stayed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sha256: Digest
    size_bytes: Annotated[int, Field(ge=0, le=1 << 40)]


class LeftFacts(BaseModel):
    """What is known of a pass whose outputs stayed, beside what its job wrote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settle: Mapping[str, Any]
    """As it was asked: `job.protocol.SETTLE_KEYS`, without `own`."""
    files: Mapping[str, LeftFile]
    """Name in the pass's folder → the output."""
    own: Mapping[str, Digest]
    """Head → SHA-256 of the environment's own fp32; empty where it was not compared with that."""


class _Settled(BaseModel):
    """settled.json."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: Literal[1]
    flat: Mapping[str, Literal["constant", "the same for every image"] | None]
    own: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What came in place of outputs."""

    outputs: Mapping[str, StoredObject]
    reference: Mapping[str, StoredObject]
    sums: Mapping[str, Sums]
    """head → against the reference."""
    own: Mapping[str, tuple[str, Sums]]
    """head → SHA-256 of the environment's own fp32, and the sums against it; heads of which they are not known
    are left out."""
    flat: Mapping[str, str | None]
    """head → `job.reductions.flat`."""
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    """SHA-256 of an output → what stands in for it where boxes are made: the values that travelled, and the
    reference's elsewhere, of which no box is made on either side."""


Take = Callable[[Left], None]
"""Keeps all that is asked of such outputs, as if it had been made of them here."""


def untaken(left: Left) -> None:
    """Is a Take of who asks nobody elsewhere.

    Raises:
        AnswerError: always.
    """
    del left
    raise AnswerError("its outputs did not come, and nothing here was asked to do without them")


def question(asked: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Returns what of a request's `settle` decides whether an answer is one to it."""
    return {key: value for key, value in asked.items() if key != "own"} if asked else None


def left_of(
    answers: ResultFolder,
    name: str,
    answer: PassAnswer,
    store: Store,
    *,
    heads: Sequence[str],
    reference: Mapping[str, StoredObject],
) -> Left | None:
    """Returns what came in place of a pass's outputs; None where they came themselves.

    `answers` are of a start elsewhere, as it was merged; `heads` in the order of the request; `reference` is
    head → output.

    Raises:
        AnswerError: it cannot be read, or contradicts itself or the reference.
    """
    facts = _facts(answers, name)
    if facts is None:
        return None
    settled = _read(_Settled, answers, name, protocol.SETTLED)
    outputs: dict[str, StoredObject] = {}
    sums: dict[str, Sums] = {}
    own: dict[str, tuple[str, Sums]] = {}
    for number, head in enumerate(heads):
        file = answer.outputs[head].file if head in answer.outputs else ""
        if file not in facts.files or head not in settled.flat:
            raise _problem(name, head, "it did not come, and nothing is told of it")
        left_file, r = facts.files[file], reference[head]
        if left_file.size_bytes != r.size_bytes:
            raise _problem(
                name, head, f"it has {left_file.size_bytes} bytes, the reference {r.size_bytes}"
            )
        outputs[head] = StoredObject(
            sha256=left_file.sha256, suffix=r.suffix, size_bytes=left_file.size_bytes
        )
        array = store.array(r)
        sums[head] = _sums(answers, name, f"sums-{number}.bin", len(array))
        theirs = store.sums(r, r, facts.settle["epsilon"])
        if wrong := _contradiction(sums[head], theirs, array[0].size, facts.settle["epsilon"]):
            raise _problem(name, head, wrong)
        if left_file.sha256 == r.sha256 and sums[head]["d2"].any():
            raise _problem(name, head, "it is the reference by its hash, and differs by its sums")
        if settled.flat[head] == FLAT[0] and not _even(sums[head]):
            raise _problem(name, head, "it is constant, and has another energy in another image")
        if settled.own and head in facts.own:
            own[head] = facts.own[head], _sums(answers, name, f"own-{number}.bin", len(array))
    arrays: dict[str, Floats] = {}
    for number, gate in enumerate(facts.settle["gates"]):
        for head, filled in _filled(answers, name, number, gate, heads, store, reference).items():
            if wrong := _against_rows(filled, store.array(reference[head]), sums[head]):
                raise _problem(name, head, wrong)
            arrays[outputs[head].sha256] = filled
    return Left(
        outputs=outputs, reference=reference, sums=sums, own=own, flat=settled.flat, arrays=arrays
    )


def _problem(name: str, head: str, what: str) -> AnswerError:
    return AnswerError(
        f"{name}: of head {head!r} the output stayed on the other machine, and what came in its place cannot be "
        f"true: {what}; there `run-pack.py --outputs` takes the outputs along"
    )


def _facts(answers: ResultFolder, name: str) -> LeftFacts | None:
    path = answers.folder / protocol.PASSES / name / LEFT
    return _read(LeftFacts, answers, name, LEFT) if path.is_file() else None


def _read(kind: type[Any], answers: ResultFolder, name: str, file: str) -> Any:
    try:
        return valid(kind, plain_json(answers.file(name, file, 16 << 20).read_bytes()))
    except ValueError as error:
        raise AnswerError(f"{name}: {file} is not valid: {error}") from error


def _bytes(answers: ResultFolder, name: str, file: str, size: int) -> bytes:
    content = answers.file(name, file, size).read_bytes()
    if len(content) != size:
        raise AnswerError(f"{name}: {file} has {len(content)} bytes where {size} are needed")
    return content


def _sums(answers: ResultFolder, name: str, file: str, images: int) -> Sums:
    content = _bytes(answers, name, file, images * SUMS.itemsize)
    sums: Sums = np.frombuffer(content, settle.SUMS).astype(SUMS)
    return sums


def _contradiction(sums: Sums, theirs: Sums, elements: int, epsilon: float) -> str | None:
    """Returns why these are no sums of any output against this reference; None where they may be.

    `theirs` are of the reference against itself; `elements` are of one image, `epsilon` is that of `over`.
    """
    d2, d1, dmax, r2, y2, ry = (sums[name] for name in ("d2", "d1", "dmax", "r2", "y2", "ry"))
    n, over, bad = (sums[name] for name in ("n", "over", "nonfinite"))
    if not all(np.isfinite(array).all() for array in (d2, d1, dmax, r2, y2, ry)):
        return "a sum is not finite"
    if any((array < 0).any() for array in (d2, d1, dmax, r2, y2, n, over, bad)):
        return "a sum that cannot be is negative"
    if (n + bad != elements).any() or (over > n).any():
        return "it counts more or fewer elements than there are"
    more = 1 + TOLERANCE
    whole = (bad == 0) & (theirs["nonfinite"] == 0)
    if (bad < theirs["nonfinite"]).any() or (r2 > theirs["r2"] * more + TINY).any():
        return "it was compared with another reference"
    if not np.allclose(r2[whole], theirs["r2"][whole], rtol=TOLERANCE, atol=TINY):
        return "it was compared with another reference"
    scale = r2 + y2 + 2 * np.abs(ry)
    if (np.abs(d2 - (r2 - 2 * ry + y2)) > TOLERANCE * scale + TINY).any():
        return "its error is not that of its energy and its product with the reference"
    impossible = (
        (dmax * dmax > d2 * more + TINY)
        | (d2 > dmax * dmax * n * more + TINY)
        | (d1 > n * dmax * more + TINY)
        | (d1 * d1 > n * d2 * more + TINY)
        | (d2 > d1 * dmax * more + TINY)
        | ((over > 0) & (dmax < epsilon / more))
        | ((over == 0) & (dmax > epsilon * more))
    )
    return (
        "no differences have such a sum, such squares and such a largest"
        if impossible.any()
        else None
    )


def alike(a: Sums, b: Sums) -> bool:
    """Whether two machines may have computed these sums of the same arrays: the order of adding is a BLAS's own."""
    if a.shape != b.shape:
        return False
    least = {name: np.zeros(len(a)) for name in SUMS.names or ()}
    least["ry"] = TOLERANCE * np.sqrt(a["r2"] * a["y2"])  # its terms cancel
    return all(
        bool((np.abs(a[name] - b[name]) <= TOLERANCE * np.abs(a[name]) + more + TINY).all())
        for name, more in least.items()
    )


def _even(sums: Sums) -> bool:
    energy = sums["y2"][sums["nonfinite"] == 0]
    return not len(energy) or bool(np.allclose(energy, energy[0], rtol=TOLERANCE, atol=TINY))


def _filled(
    answers: ResultFolder,
    name: str,
    number: int,
    gate: Mapping[str, Any],
    heads: Sequence[str],
    store: Store,
    reference: Mapping[str, StoredObject],
) -> Mapping[str, Floats]:
    """Returns head → the reference's output with the values that travelled in their places.

    Raises:
        AnswerError: other positions travelled than can hold a box.
    """
    tells = gate["head"]
    r = store.array(reference[tells])
    count = len(settle.positions(r[0], gate["heads"][tells]))
    wide = -(-count // 8)
    packed = _bytes(answers, name, f"mask-{number}.bin", len(r) * wide)
    bits = np.frombuffer(packed, np.uint8).reshape(len(r), wide)
    masks = np.unpackbits(bits, axis=1)[:, :count].astype(bool)
    outputs: dict[str, Floats] = {}
    for head, channels in gate["heads"].items():
        theirs = store.array(reference[head])
        place = heads.index(head)
        columns = settle.positions(theirs[0], channels).shape[1]
        rows = int(masks.sum())
        content = _bytes(answers, name, f"rows-{place}.bin", 4 * rows * columns)
        planes = np.frombuffer(content, np.uint8).reshape(4, -1)
        values = np.ascontiguousarray(planes.T).view("<f4").reshape(rows, columns)
        path = answers.folder.parent / f"filled-{name}-{place}.npy"
        filled: Floats = np.lib.format.open_memmap(path, "w+", np.float32, theirs.shape)
        start = 0
        for image, mask in enumerate(masks):
            end = start + int(mask.sum())
            filled[image] = theirs[image]
            before = settle.positions(theirs[image], channels)[mask]
            settle.positions(filled[image], channels)[mask] = settle.restored(
                values[start:end], before, head, gate
            )
            start = end
        outputs[head] = filled
    for image, mask in enumerate(masks):
        passing = settle.passing(outputs[tells][image], gate) | settle.passing(r[image], gate)
        if (mask != passing).any():
            raise _problem(name, tells, "other positions came than can hold a box")
    return outputs


def _against_rows(filled: Floats, reference: Floats, sums: Sums) -> str | None:
    """Returns what the values that travelled say against the sums; None where nothing.

    Elsewhere `filled` is the reference, so that its differences are some of the output's.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for image, row in enumerate(sums):
            d = np.abs(filled[image].astype(np.float64) - reference[image])
            d = d[np.isfinite(d)]
            if (d * d).sum() > row["d2"] * (1 + TOLERANCE) + TINY or (
                d.size and d.max() > row["dmax"] * (1 + TOLERANCE) + TINY
            ):
                return f"image {image} differs more where boxes are than its sums say of all of it"
    return None
