"""Many states of one network over many images: image by image, each image's answers kept as they are made.

An image is computed in float and in int8 once; each further state takes from the nearer of the two what
it shares with it and computes the rest. Memory holds the values of one image a worker; what is kept of an
image is its sums and its boxes.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from job.reductions import SUMS, compare
from runner.core.boxes.nms import Boxes
from runner.core.boxes.results import AveragePrecision
from runner.core.diagnosis.errors import ImageErrors, StateErrors, worst_images
from runner.core.diagnosis.quantisers import State
from runner.diagnosis.boxes import ImageBoxes
from runner.diagnosis.simulator import Base, Simulator
from runner.diagnosis.subject import Subject
from runner.records import digest
from runner.store import Store

VERSION = 1
"""Raise when the same states and images give other numbers."""

EPSILON = 1e-3
"""Of the sums: |d| above it is counted, which nothing here asks for."""

FLOAT = State()

BOX = np.dtype(
    [("corners", np.float64, 4), ("score", np.float32), ("label", np.int32), ("head", np.int16)]
)

Told = Callable[[str], None]
"""Takes what is being done."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image in several states."""

    sums: npt.NDArray[np.void]
    """Shape (states, heads)."""
    changes: npt.NDArray[np.void]
    """Of each list of boxes against the float network's, shape (lists, heads, sizes)."""
    starts: npt.NDArray[np.int64]
    """Where each list of boxes begins in `boxes`, and where the last ends."""
    boxes: npt.NDArray[np.void]
    lists: npt.NDArray[np.int64]
    """Which list of boxes each state has in each variant, shape (states, variants)."""

    def of(self, state: int, variant: int) -> Boxes:
        number = self.lists[state, variant]
        table = self.boxes[self.starts[number] : self.starts[number + 1]]
        return Boxes(
            table["corners"],
            table["score"],
            table["label"].astype(np.intp),
            table["head"].astype(np.intp),
        )


class Evaluation:
    """Evaluates states; what it has evaluated once it reads again."""

    def __init__(self, subject: Subject, simulator: Simulator, store: Store, told: Told) -> None:
        """Computes nothing yet.

        Raises:
            One of `evidence.UNKNOWN`, where boxes are wanted and cannot be decoded.
        """
        self.subject = subject
        self.simulator = simulator
        self.store = store
        self.told = told
        self.full = simulator.found.state
        self.heads = tuple(head for head, _ in subject.heads)
        self.tensors = tuple(tensor for _, tensor in subject.heads)
        self.boxes = ImageBoxes(subject, store) if subject.decode else None
        self.workers = len(os.sched_getaffinity(0))
        self.computed = 0
        """Pairs of state and image that were computed, not read again."""
        self._precision: dict[Any, AveragePrecision] = {}

    def evaluate(self, states: Sequence[State], images: Sequence[int], what: str) -> "Evaluated":
        """Computes states over images.

        Args:
            states: The float network and the one in int8 come with every evaluation, unasked.
            images: Indices.
            what: Told with the progress.
        """
        every = list(dict.fromkeys((FLOAT, self.full, *states)))
        key = digest([one.key() for one in every])[:40]
        facts: list[ImageFacts | None] = [None] * len(images)

        def one(place: int) -> None:
            facts[place] = self._image(images[place], every, key)

        self._for_all(one, len(images), what)
        return Evaluated(self, every, tuple(images), [one for one in facts if one is not None])

    def _for_all(self, one: Callable[[int], None], count: int, what: str) -> None:
        """Does the images in parallel; the first error, or an interruption, ends it."""
        with ThreadPoolExecutor(self.workers) as pool:
            running = [pool.submit(one, place) for place in range(count)]
            try:
                for done, future in enumerate(running):
                    self.told(f"{what}: image {done + 1} of {count}")
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _image(self, index: int, states: Sequence[State], states_key: str) -> ImageFacts:
        subject = self.subject

        def make(target: Path) -> None:
            with target.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **self._computed(index, states))

        key = {
            "diagnosis": VERSION,
            "model": subject.model_sha256,
            "images": subject.images_sha256,
            "image": index,
            "heads": subject.heads,
            "states": states_key,
            "parameters": [repr(subject.options), subject.table.digest],
            "boxes": _decoding(subject),
        }
        stored = self.store.derive(key, ".npz", make)
        with np.load(self.store.path(stored), allow_pickle=False) as found:
            return ImageFacts(**{name: found[name] for name in found.files})

    def _computed(self, index: int, states: Sequence[State]) -> Mapping[str, npt.NDArray[Any]]:
        self.computed += len(states)
        image = self.subject.image(index)
        floats = self.simulator.base(image, FLOAT)
        integers = self.simulator.base(image, self.full)
        reference = self.simulator.heads_of(floats)
        rows: dict[tuple[str, int], npt.NDArray[np.void]] = {}
        sums = np.zeros((len(states), len(self.heads)), SUMS)
        detected = _Detected(self.boxes, index, self._named(reference)) if self.boxes else None
        # Arrays of the two bases live as long as this: what is one of them need not be looked at twice.
        lasting = {
            id(value): number
            for number, base in enumerate((reference, self.simulator.heads_of(integers)))
            for value in base.values()
        }
        lists = np.zeros((len(states), len(detected.variants) if detected else 0), np.int64)
        for place, state in enumerate(states):
            outputs = self.simulator.outputs(state, _nearer(state, floats, integers))
            for number, tensor in enumerate(self.tensors):
                value = outputs[tensor]
                known = (tensor, lasting[id(value)]) if id(value) in lasting else None
                row = rows.get(known) if known else None
                if row is None:
                    row = _sums(value, reference[tensor])
                    if known:
                        rows[known] = row
                sums[place, number] = row
            if detected:
                lists[place] = detected.add(self._named(outputs), lasting)
        return {"sums": sums, "lists": lists, **(detected.arrays() if detected else NO_BOXES)}

    def _named(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        return {head: outputs[tensor] for head, tensor in self.subject.heads}


class _Detected:
    """The boxes of one image in several states; equal outputs are decoded once."""

    def __init__(self, boxes: ImageBoxes, index: int, reference: Mapping[str, Any]) -> None:
        self.how = boxes
        self.index = index
        self.reference = reference
        self.variants = boxes.variants
        self.found: list[Boxes] = []
        self.known: dict[tuple[Any, ...], int] = {}
        self.floats = boxes.detect(reference, index)

    def add(self, outputs: Mapping[str, Any], lasting: Mapping[int, int]) -> list[int]:
        """Returns which list of boxes these outputs give in each variant."""
        return [self._of(outputs, lasting, variant) for variant in self.variants]

    def _of(
        self, outputs: Mapping[str, Any], lasting: Mapping[int, int], variant: tuple[str, ...]
    ) -> int:
        given = {**self.reference, **{head: outputs[head] for head in variant}}
        used = {head: given[head] for head in self.how.heads}
        key = tuple((head, lasting.get(id(value), id(value))) for head, value in used.items())
        passing = [value for value in used.values() if id(value) not in lasting]
        if key in self.known and not passing:
            return self.known[key]
        if all(value is self.reference[head] for head, value in used.items()):
            boxes = self.floats
        else:
            boxes = self.how.detect(used, self.index)
        self.found.append(boxes)
        if not passing:
            self.known[key] = len(self.found) - 1
        return len(self.found) - 1

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        changes = [self.how.changes(self.floats, one) for one in self.found]
        tables = []
        for one in self.found:
            table = np.empty(len(one), BOX)
            table["corners"], table["score"] = one.corners, one.scores
            table["label"], table["head"] = one.classes, one.heads
            tables.append(table)
        return {
            "changes": np.array(changes),
            "starts": np.cumsum([0, *map(len, tables)], dtype=np.int64),
            "boxes": np.concatenate(tables),
        }


NO_BOXES: Mapping[str, npt.NDArray[Any]] = {
    "changes": np.zeros((0, 0, 0)),
    "starts": np.zeros(1, np.int64),
    "boxes": np.zeros(0, BOX),
}


class Evaluated:
    """States over images, to be asked for their errors."""

    def __init__(
        self,
        evaluation: Evaluation,
        states: Sequence[State],
        images: tuple[int, ...],
        facts: Sequence[ImageFacts],
    ) -> None:
        self.evaluation = evaluation
        self.images = images
        self._facts = facts
        self._places = {state: place for place, state in enumerate(states)}
        self.worst = worst_images(evaluation.heads, self.sums(evaluation.full))

    def sums(self, state: State) -> npt.NDArray[np.void]:
        """Returns the sums of a state, shape (images, heads)."""
        place = self._places[state]
        return np.stack([one.sums[place] for one in self._facts])

    def errors(self, state: State, *, precision: bool = True) -> StateErrors:
        """Returns what a state costs.

        Args:
            state: One of those that were evaluated.
            precision: Whether AP is wanted, too, where there are labels: it takes longest.
        """
        boxes = self.evaluation.boxes
        heads = self.evaluation.heads
        if boxes is None:
            return ImageErrors(heads=heads, sums=self.sums(state)).errors(self.worst)
        place = self._places[state]
        changes = np.stack([one.changes[one.lists[place, 0]] for one in self._facts])
        wanted = precision and self.evaluation.subject.labels is not None
        reference = self._precision(FLOAT, 0) if wanted else None
        found = {
            variant: self._precision(state, number)
            for number, variant in enumerate(boxes.variants)
            if wanted
        }
        of_heads, whole = boxes.errors(changes, found, reference)
        made = ImageErrors(heads=heads, sums=self.sums(state), boxes=of_heads, whole=whole)
        return made.errors(self.worst)

    def _precision(self, state: State, variant: int) -> AveragePrecision:
        """Returns the AP of a state's variant; equal boxes are evaluated once."""
        boxes = self.evaluation.boxes
        assert boxes is not None  # noqa: S101 - asked only where boxes are decoded
        place = self._places[state]
        key = id(self), *(int(one.lists[place, variant]) for one in self._facts)
        known = self.evaluation._precision
        if key not in known:
            found = [one.of(place, variant) for one in self._facts]
            known[key] = boxes.precision(self.images, found)
        return known[key]


def _nearer(state: State, one: Base, other: Base) -> Base:
    return one if state.distance(one.state) <= state.distance(other.state) else other


def _sums(value: npt.NDArray[Any], reference: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    flat = [np.asarray(one, np.float32).reshape(1, -1) for one in (value, reference)]
    found: npt.NDArray[np.void] = compare(flat[0], flat[1], EPSILON)[0]
    return found


def _decoding(subject: Subject) -> Any:
    if subject.decode is None:
        return None
    images: Iterable[Any] = (one.model_dump() for one in subject.evaluation)
    return [subject.decode.model_dump(mode="json"), *images]
